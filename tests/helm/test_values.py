"""No value is silently ignored: each one of values.yaml changes what is rendered."""

from __future__ import annotations

import copy
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import charts
import pytest
import servers
import yaml

pytestmark = pytest.mark.server

Path_ = tuple[str, ...]
Values = dict[str, Any]

ON: Values = {
    "fullnameOverride": "x",
    "existingSecret": "healer",
    "remediation": {"namespaces": ["serving"]},
    "serviceAccount": {"name": "somebody"},
    "ingress": {"enabled": True, "tlsSecret": "tls"},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "gate"}], "hostnames": ["h"]},
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "runbooks": "https://docs"},
        "alertmanagerConfig": {"enabled": True},
    },
}
"""Most parts are there, so that what belongs to a part can be seen."""
NODES: Values = {"remediation": {"actions": {"cordonNode": {"enabled": True}}}}
SHARED: Values = {
    "replicaCount": 2,
    "database": {"existingSecret": "db"},
    "remediation": {"actions": {"restartPod": {"enabled": True}}},
}
DASHBOARDS: Values = {"monitoring": {"dashboards": {"enabled": True}}}

OTHER: dict[Path_, Any] = {
    ("image", "digest"): "sha256:" + "0" * 64,
    ("image", "pullPolicy"): "Always",
    ("imagePullSecrets",): [{"name": "pull"}],
    ("service", "type"): "NodePort",
    ("persistence", "size"): "5Gi",
    ("networkPolicy", "from"): [{"podSelector": {}}],
    ("networkPolicy", "egress"): [{"to": []}],
    ("networkPolicy", "exporterEgress"): [{"to": []}],
    ("httpRoute", "parentRefs"): [{"name": "other"}],
    ("httpRoute", "hostnames"): ["other"],
    ("remediation", "namespaces"): ["other"],
    ("tolerations",): [{"operator": "Exists"}],
    ("topologySpreadConstraints",): [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    ("extraEnv",): [{"name": "HEALER__LOG_LEVEL", "value": "debug"}],
    ("extraVolumes",): [{"name": "v", "emptyDir": {}}],
    ("extraVolumeMounts",): [{"name": "v", "mountPath": "/v"}],
    ("extraObjects",): [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}}],
    ("affinity",): {"nodeAffinity": {}},
    ("resources", "requests"): {"cpu": "1"},
    ("resources", "limits"): {"memory": "3Gi"},
    ("exporter", "host"): "::",
    ("exporter", "extraArgs"): ["--push=http://push/api/v1/write"],
    ("exporter", "extraVolumes"): [{"name": "v", "emptyDir": {}}],
    ("exporter", "extraVolumeMounts"): [{"name": "v", "mountPath": "/v"}],
    ("exporter", "affinity"): None,
    ("exporter", "tolerations"): [],
    ("exporter", "resources"): {"limits": {"memory": "3Gi"}},
    ("rules", "signals"): {"mine.yaml": "signals: []"},
    ("rules", "causes"): {"mine.yaml": "causes: []"},
    ("monitoring", "serviceMonitor", "interval"): "77s",
    ("monitoring", "podMonitor", "interval"): "77s",
    ("settings",): {"log_level": "debug"},
    ("fullnameOverride",): "another",
    ("monitoring", "prometheusRule", "errorRatio"): 0.5,
}
WHOLE = {
    ("settings",),
    ("resources", "requests"),
    ("resources", "limits"),
    ("exporter", "resources"),
    ("exporter", "affinity"),
    ("exporter", "tolerations"),
}
"""Handed on as they are."""


def leaves(values: Values, at: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    for name, value in values.items():
        path = (*at, name)
        if isinstance(value, dict) and value and path not in WHOLE:
            yield from leaves(value, path)
        else:
            yield path, value


def other(path: Path_, value: Any) -> Any:
    if path in OTHER:
        return OTHER[path]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return "other"
    assert value == {}, path
    return {"key": "other"}


def laid_over(base: Values, path: Path_, value: Any) -> Values:
    made = copy.deepcopy(base)
    inner = made
    for name in path[:-1]:
        inner = inner.setdefault(name, {})
    inner[path[-1]] = value
    return made


def at(values: Values, path: Path_) -> Any:
    found: Any = values
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def merged(*parts: Values) -> Values:
    made: Values = {}
    for part in parts:
        for path, value in leaves(part):
            made = laid_over(made, path, value)
    return made


def rendered_all(cases: list[Values], folder: Path) -> list[str]:
    """What the whole chart makes of each, by one call of Helm, under one alias each."""
    shutil.copytree(charts.CHART, folder / "parent" / "charts" / "healer")
    aliases = [f"c{number:04}" for number in range(len(cases))]
    version = yaml.safe_load((charts.CHART / "Chart.yaml").read_text())["version"]
    needed = [{"name": "healer", "version": version, "alias": alias} for alias in aliases]
    parent = {"apiVersion": "v2", "name": "parent", "version": "0.0.1", "dependencies": needed}
    (folder / "parent" / "Chart.yaml").write_text(yaml.safe_dump(parent))
    (folder / "values.yaml").write_text(yaml.safe_dump(dict(zip(aliases, cases, strict=True))))
    done = charts.helm(
        "template", "r", str(folder / "parent"), "--values", str(folder / "values.yaml"),
        "--kube-version", "1.33.0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = defaultdict(list)
    for document in done.stdout.split("\n---\n"):
        source, _, text = document.partition("# Source: parent/charts/")[2].partition("\n")
        alias, _, template = source.partition("/")
        found[alias].append(f"{template}\n{text.replace(alias, 'healer')}")
    return ["\n---\n".join(sorted(found[alias])) for alias in aliases]


def test_every_value_changes_what_is_rendered(tmp_path: Path) -> None:
    servers.need("helm")
    values = yaml.safe_load((charts.CHART / "values.yaml").read_text())
    worlds = [merged(ON, NODES), merged(ON, SHARED), merged(ON, DASHBOARDS)]
    known = list(leaves(values))
    cases, asked = list(worlds), []
    for path, value in known:
        for number, world in enumerate(worlds):
            if path == ("replicaCount",) and number != 1:
                continue  # refused with SQLite, by name
            if (number == 2) == (path[:2] == ("monitoring", "dashboards")):
                given = at(world, path)
                asked.append((path, number, len(cases)))
                new = other(path, value if given is None else given)
                cases.append(laid_over(world, path, new))
    texts = rendered_all(cases, tmp_path)
    told = {path for path, number, case in asked if texts[case] != texts[number]}
    assert {".".join(path) for path, _ in known if path not in told} == set()
    assert len(known) > 90


@pytest.mark.parametrize(
    ("typo", "named"),
    [
        ({"remediaton": {}}, "remediaton"),
        ({"exporter": {"hostPid": True}}, "hostPid"),
        ({"settings": {"notfy": {}}}, "notfy"),
        ({"settings": {"tracing": {"endpiont": "http://x"}}}, "endpiont"),
        ({"settings": {"lease": {"durations": "12s"}}}, "durations"),
        (
            {"settings": {"notify": {"channels": {"ops": {"notifier": "slack", "quite": ""}}}}},
            "quite",
        ),
        ({"monitoring": {"prometheusRule": {"latencyP95": 5}}}, "latencyP95"),
    ],
)
def test_a_misspelt_value_is_refused_by_name(typo: Values, named: str) -> None:
    servers.need("helm")
    said = charts.refusal(typo)
    assert "additional properties" in said
    assert f"'{named}'" in said


def test_settings_of_every_section_reach_the_file_that_the_daemon_reads(tmp_path: Path) -> None:
    servers.need("helm")
    settings = {
        "lease": {"duration": "20s"},
        "tracing": {"endpoint": "http://otel:4318/v1/traces"},
        "server": {"kubernetes_audience": "healer", "max_pending": 32},
        "notify": {
            "escalation": ["ops"],
            "channels": {
                "ops": {
                    "notifier": "wecom",
                    "url_file": "/etc/healer/secrets/wecom",
                    "namespaces": ["serving"],
                    "quiet_hours": "22:00-08:00 Asia/Shanghai",
                }
            },
        },
        "loop": {"interval": "30s"},
    }
    (config,) = [
        each
        for each in charts.of(charts.rendered({"settings": settings}), "ConfigMap")
        if "healer.yaml" in each["data"]
    ]
    given = yaml.safe_load(config["data"]["healer.yaml"])
    for path, value in leaves(settings):
        assert at(given, path) == value, path
