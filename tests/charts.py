"""The chart, rendered by the real Helm, and what its roles allow whom."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import servers
import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "helm" / "healer"
NAMESPACE = "watch"
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Object = dict[str, Any]
Right = tuple[str, str, str]
"""(verb, API group, resource)."""


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(servers.binary("helm")), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def rendered(values: Mapping[str, Any] | None = None, *flags: str) -> list[Object]:
    """All objects of a release `r` in the namespace `watch`."""
    return [each for each in yaml.load_all(template(values, *flags), Loader=Loader) if each]


def template(values: Mapping[str, Any] | None = None, *flags: str) -> str:
    """Raises AssertionError with Helm's words."""
    done = _template(yaml.safe_dump(dict(values or {})), flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(values: Mapping[str, Any]) -> str:
    """What Helm says to values that it must not take."""
    done = _template(yaml.safe_dump(dict(values)), ())
    assert done.returncode != 0
    return done.stderr


@functools.lru_cache(maxsize=64)
def _template(text: str, flags: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(text)
        return helm(
            "template", "r", str(CHART), "--namespace", NAMESPACE, "--values", str(file), *flags
        )


def many_rights(all_values: Sequence[Mapping[str, Any]], folder: Path) -> list[list[Object]]:
    """The objects of the chart's RBAC templates for each of these values, by one call of Helm.

    The chart is made a dependency of a parent under one alias for each: a process for each would
    take minutes. Templates that hold no permission are left out of the copy.
    """
    chart = folder / "parent" / "charts" / "healer"
    (chart / "templates").mkdir(parents=True)
    for name in ("Chart.yaml", "values.yaml"):
        shutil.copy(CHART / name, chart / name)
    shutil.copytree(CHART / "files", chart / "files")
    for file in (*CHART.glob("templates/*.tpl"), *CHART.glob("templates/*.yaml")):
        if file.suffix == ".tpl" or any(
            word in file.read_text() for word in ("ClusterRole", "RoleBinding", "ServiceAccount\n")
        ):
            shutil.copy(file, chart / "templates" / file.name)
    aliases = [f"c{at:04}" for at in range(len(all_values))]
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    parent = {
        "apiVersion": "v2",
        "name": "parent",
        "version": "0.0.1",
        "dependencies": [
            {"name": "healer", "version": version, "alias": alias} for alias in aliases
        ],
    }
    (folder / "parent" / "Chart.yaml").write_text(yaml.safe_dump(parent))
    given = dict(zip(aliases, all_values, strict=True))
    (folder / "values.yaml").write_text(yaml.safe_dump(given))
    done = helm(
        "template", "r", str(folder / "parent"), "--namespace", NAMESPACE,
        "--values", str(folder / "values.yaml"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Object]] = defaultdict(list)
    for document in done.stdout.split("\n---\n"):
        source = document.partition("# Source: parent/charts/")[2].partition("/")[0]
        if obj := yaml.load(document, Loader=Loader):
            found[source].append(obj)
    return [found[alias] for alias in aliases]


def armed(*toggles: str, namespaces: Iterable[str] = ("serving", "chat")) -> Object:
    actions = {name: {"enabled": True} for name in toggles}
    return {"remediation": {"namespaces": list(namespaces), "actions": actions}}


def of(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def one(objects: list[Object], kind: str) -> Object:
    (found,) = of(objects, kind)
    return found


def container(workload: Object) -> Object:
    (found,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(found)


def bound(objects: list[Object]) -> dict[str, dict[str, set[Right]]]:
    """ServiceAccount → where (`*` for the whole cluster) → what it may do there.

    A right on one named object carries the name behind its resource: `leases:healer`.
    """
    roles = {
        (each["kind"], each["metadata"].get("namespace", "*"), each["metadata"]["name"]): each
        for each in of(objects, "ClusterRole") + of(objects, "Role")
    }
    found: dict[str, dict[str, set[Right]]] = defaultdict(lambda: defaultdict(set))
    for binding in of(objects, "ClusterRoleBinding") + of(objects, "RoleBinding"):
        where = binding["metadata"].get("namespace", "*")
        (subject,) = binding["subjects"]
        assert subject["kind"] == "ServiceAccount"
        assert subject["namespace"] == NAMESPACE
        ref = binding["roleRef"]
        found[subject["name"]][where] |= rights(roles.pop((ref["kind"], where, ref["name"])))
    assert not roles, "every role is bound, and once"
    return {account: dict(places) for account, places in found.items()}


def rights(role: Object) -> set[Right]:
    return {
        (verb, group, resource + name)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in ([f":{each}" for each in rule.get("resourceNames", ())] or [""])
    }
