"""The chart, rendered by the real Helm: rights, settings, probes and pod security."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import servers
import yaml
from typer.testing import CliRunner

import healer
from healer.adapters.kubernetes.listing import SOURCES
from healer.adapters.kubernetes.permissions import NEEDED
from healer.adapters.settings_file import load_settings
from healer.cli.main import app as cli
from healer.settings import Mode, Settings

pytestmark = pytest.mark.server

CHART = Path(__file__).resolve().parents[2] / "helm" / "healer"
READS = {"get", "list", "watch"}
VERBS = {
    "restartPod": ("evict_pod",),
    "cordonNode": ("cordon_node", "uncordon_node"),
    "drainNode": ("cordon_node", "uncordon_node", "evict_pod"),
    "scale": ("scale_workload",),
    "rollback": ("rollback_workload",),
}
"""Toggle → verbs of that remediation's plan and of its undo."""

Rights = set[tuple[str, str, str]]
"""(verb, API group, resource)."""
Object = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(servers.binary("helm")), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def rendered(values: Mapping[str, Any], folder: Path) -> list[Object]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)))
    done = helm("template", "r", str(CHART), "--namespace", "watch", "--values", str(file))
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def refusal(values: Mapping[str, Any], folder: Path) -> str:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)))
    done = helm("template", "r", str(CHART), "--values", str(file))
    assert done.returncode != 0
    return done.stderr


def armed(*toggles: str, namespaces: tuple[str, ...] = ("serving", "chat")) -> Object:
    actions = {name: {"enabled": True} for name in toggles}
    return {"remediation": {"namespaces": list(namespaces), "actions": actions}}


def of(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def one(objects: list[Object], kind: str) -> Object:
    (found,) = of(objects, kind)
    return found


def rights(role: Object) -> Rights:
    return {
        (verb, group, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def bound(objects: list[Object]) -> dict[str, Rights]:
    """Where → what the daemon's account may do there; `*` for the whole cluster."""
    account = {"kind": "ServiceAccount", "name": "r-healer", "namespace": "watch"}
    roles = {
        (each["kind"], each["metadata"].get("namespace", "*"), each["metadata"]["name"]): each
        for each in of(objects, "ClusterRole") + of(objects, "Role")
    }
    found: dict[str, Rights] = {}
    for binding in of(objects, "ClusterRoleBinding") + of(objects, "RoleBinding"):
        where = binding["metadata"].get("namespace", "*")
        assert binding["subjects"] == [account]
        ref = binding["roleRef"]
        role = roles[ref["kind"], where, ref["name"]]
        found[where] = found.get(where, set()) | rights(role)
    return found


def reads_of_the_watch() -> Rights:
    return {
        (verb, path[2] if path[1] == "apis" else "", path[-1])
        for source in SOURCES
        for path in [source.path.split("/")]
        for verb in READS
    }


def needed(toggles: tuple[str, ...], *, nodes: bool) -> Rights:
    """Beyond what observing reads already, on nodes or on what lives in a namespace."""
    wanted = {
        (permission.verb, permission.group, permission.resource)
        for toggle in toggles
        for verb in VERBS[toggle]
        for permission in NEEDED[verb]
    }
    return {each for each in wanted - reads_of_the_watch() if (each[2] == "nodes") is nodes}


@pytest.fixture(autouse=True)
def _helm() -> None:
    servers.need("helm")


def test_the_chart_passes_the_strict_lint() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_default_install_reads_what_the_daemon_lists_and_can_change_nothing(
    tmp_path: Path,
) -> None:
    objects = rendered({}, tmp_path)
    assert bound(objects) == {"*": reads_of_the_watch()}
    assert not of(objects, "Role")


@pytest.mark.parametrize(
    "toggles",
    [
        *((name,) for name in VERBS),
        *itertools.combinations(("drainNode", "scale", "rollback"), 2),
        tuple(VERBS),
    ],
    ids=" and ".join,
)
def test_armed_remediations_get_exactly_the_rights_of_their_verbs(
    toggles: tuple[str, ...], tmp_path: Path
) -> None:
    may = bound(rendered(armed(*toggles), tmp_path))

    assert may.pop("*") == reads_of_the_watch() | needed(toggles, nodes=True)
    inside = needed(toggles, nodes=False)
    assert may == ({"serving": inside, "chat": inside} if inside else {})


def test_every_verb_that_writes_has_a_toggle() -> None:
    assert {verb for verbs in VERBS.values() for verb in verbs} == {
        verb for verb, permissions in NEEDED.items() if permissions
    }
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values["remediation"]["actions"]) == set(VERBS)


def settings_in(objects: list[Object], folder: Path) -> Settings:
    file = folder / "healer.yaml"
    file.write_text(one(objects, "ConfigMap")["data"]["healer.yaml"])
    return load_settings(file, {})


def test_the_default_settings_load_and_observe(tmp_path: Path) -> None:
    settings = settings_in(rendered({}, tmp_path), tmp_path)
    assert settings.remediation.mode is Mode.OBSERVE
    assert not settings.remediation.arm
    assert settings.server.host == "0.0.0.0"
    assert settings.server.read_token_file is None
    assert not settings.server.anonymous_read


def test_a_secret_opens_the_doors_it_has_tokens_for_unless_the_settings_name_others(
    tmp_path: Path,
) -> None:
    own = {"server": {"read_token_file": "/elsewhere/read"}}
    objects = rendered({"existingSecret": "tokens", "settings": own}, tmp_path)
    server = settings_in(objects, tmp_path).server
    assert server.read_token_file == Path("/elsewhere/read")
    assert server.ingest_token_file == Path("/etc/healer/secrets/ingest")
    assert server.approve_token_file == Path("/etc/healer/secrets/approve")
    mounts = _container(one(objects, "Deployment"))["volumeMounts"]
    assert {"name": "secrets", "mountPath": "/etc/healer/secrets", "readOnly": True} in mounts


def test_changed_settings_restart_the_daemon(tmp_path: Path) -> None:
    sums = [
        one(rendered(values, tmp_path), "Deployment")["spec"]["template"]["metadata"][
            "annotations"
        ]["checksum/settings"]
        for values in ({}, {"settings": {"loop": {"interval": "30s"}}}, {"existingSecret": "s"})
    ]
    assert len(set(sums)) == 3


def test_sections_that_the_schema_allows_are_those_of_the_settings() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    sections = schema["properties"]["settings"]["properties"]
    assert set(sections) == set(Settings.__dataclass_fields__)


def _container(workload: Object) -> Object:
    (found,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_both_programs_are_started_with_options_they_have(tmp_path: Path) -> None:
    objects = rendered({"exporter": {"extrasOnly": True}}, tmp_path)
    for kind in ("Deployment", "DaemonSet"):
        command, *arguments = _container(one(objects, kind))["args"]
        help_text = CliRunner().invoke(cli, [command, "--help"], env={"COLUMNS": "200"}).output
        options = [each.partition("=")[0] for each in arguments if each.startswith("--")]
        assert options
        for option in options:
            assert option in help_text


def test_probes_ask_endpoints_on_the_port_that_is_served(tmp_path: Path) -> None:
    values = {"settings": {"server": {"port": 9000}}, "exporter": {"port": 9500}}
    objects = rendered(values, tmp_path)
    for kind, port in (("Deployment", 9000), ("DaemonSet", 9500)):
        container = _container(one(objects, kind))
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        asked = {
            name: container[name]["httpGet"]
            for name in ("startupProbe", "livenessProbe", "readinessProbe")
            if name in container
        }
        assert asked["livenessProbe"]["path"] == "/livez"
        assert asked["readinessProbe"]["path"] == "/readyz"
        assert {ports[each["port"]] for each in asked.values()} == {port}
    (service,) = one(objects, "Service")["spec"]["ports"]
    assert service["targetPort"] == "http"


def test_pods_run_without_privileges(tmp_path: Path) -> None:
    objects = rendered(armed(*VERBS), tmp_path)
    for kind in ("Deployment", "DaemonSet"):
        workload = one(objects, kind)
        container = _container(workload)
        context = {
            **workload["spec"]["template"]["spec"].get("securityContext", {}),
            **container["securityContext"],
        }
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert "limits" in container["resources"]
    daemon = one(objects, "Deployment")["spec"]["template"]["spec"]
    assert daemon["securityContext"]["runAsNonRoot"] is True
    exporter = one(objects, "DaemonSet")["spec"]["template"]["spec"]
    assert exporter["automountServiceAccountToken"] is False
    assert all(each["readOnly"] for each in exporter["containers"][0]["volumeMounts"])


def test_the_chart_ships_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == healer.__version__


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"remediation": {"actions": {"restartPods": {"enabled": True}}}}, "'restartPods'"),
        ({"remediation": {"actions": {"scale": {"enabled": "yes"}}}}, "scale/enabled"),
        ({"remediation": {"namespaces": "serving"}}, "want array"),
        ({"settings": {"remediation": {"mode": "armed"}}}, "'observe', 'enforce'"),
        ({"settings": {"server": {"port": 70000}}}, "settings/server/port"),
        ({"image": {"digest": "latest"}}, "image/digest"),
        (armed("scale", namespaces=()), "expected the namespaces"),
        (armed("drainNode", namespaces=()), "expected the namespaces"),
    ],
    ids=str,
)
def test_bad_values_are_refused_by_name(values: Object, says: str, tmp_path: Path) -> None:
    assert says in refusal(values, tmp_path)
