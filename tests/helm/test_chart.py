"""The chart, rendered by the real Helm: settings, probes, pod security, switches and refusals."""

from __future__ import annotations

import re
from pathlib import Path

import charts
import pytest
import servers
import yaml
from charts import Object, armed, container, of, one, refusal, rendered
from typer.testing import CliRunner

import healer
from healer.adapters.kubernetes.toggles import TOGGLES
from healer.adapters.settings_file import load_settings
from healer.cli.main import app as cli
from healer.settings import Mode, Settings

pytestmark = pytest.mark.server
EXAMPLES = charts.CHART / "examples"


@pytest.fixture(autouse=True)
def _helm() -> None:
    servers.need("helm")


def test_the_chart_passes_the_strict_lint() -> None:
    done = charts.helm("lint", "--strict", str(charts.CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def settings_in(objects: list[Object], folder: Path) -> Settings:
    file = folder / "healer.yaml"
    maps = {each["metadata"]["name"]: each["data"] for each in of(objects, "ConfigMap")}
    file.write_text(maps["r-healer"]["healer.yaml"])
    environment = {
        each["name"]: each.get("value", "sqlite://")
        for each in container(one(objects, "Deployment"))["env"]
    }
    return load_settings(file, environment)


def test_the_default_settings_load_and_observe(tmp_path: Path) -> None:
    settings = settings_in(rendered(), tmp_path)
    assert settings.remediation.mode is Mode.OBSERVE
    assert not settings.remediation.arm
    assert settings.server.host == "0.0.0.0"
    assert settings.server.read_token_file is None
    assert not settings.server.anonymous_read


@pytest.mark.parametrize("example", ["observe", "armed", "two-replicas"])
def test_the_settings_of_the_examples_load(example: str, tmp_path: Path) -> None:
    values = yaml.safe_load((EXAMPLES / f"{example}.yaml").read_text())
    settings = settings_in(rendered(values), tmp_path)
    assert (settings.remediation.mode is Mode.ENFORCE) == (example == "armed")


def test_a_large_number_of_the_values_stays_a_number(tmp_path: Path) -> None:
    """Helm holds numbers as floats; 8e+06 would be text in YAML."""
    objects = rendered({"settings": {"server": {"max_body_bytes": 8_000_000}}})
    assert settings_in(objects, tmp_path).server.max_body_bytes == 8_000_000


def test_a_secret_opens_the_doors_it_has_tokens_for_unless_the_settings_name_others(
    tmp_path: Path,
) -> None:
    own = {"server": {"read_token_file": "/elsewhere/read"}}
    objects = rendered({"existingSecret": "tokens", "settings": own})
    server = settings_in(objects, tmp_path).server
    assert server.read_token_file == Path("/elsewhere/read")
    assert server.ingest_token_file == Path("/etc/healer/secrets/ingest")
    assert server.approve_token_file == Path("/etc/healer/secrets/approve")
    mounts = container(one(objects, "Deployment"))["volumeMounts"]
    assert {"name": "secrets", "mountPath": "/etc/healer/secrets", "readOnly": True} in mounts


def test_a_database_url_comes_from_its_secret_and_stands_in_no_config_map() -> None:
    objects = rendered({"database": {"existingSecret": "db", "key": "dsn"}, "replicaCount": 2})
    variables = {each["name"]: each for each in container(one(objects, "Deployment"))["env"]}
    ref = {"secretKeyRef": {"name": "db", "key": "dsn"}}
    assert variables["HEALER__STORE__URL"]["valueFrom"] == ref
    assert "store" not in yaml.safe_load(one(objects, "ConfigMap")["data"]["healer.yaml"])
    deployment = one(objects, "Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (2, "RollingUpdate")
    assert one(objects, "PodDisruptionBudget")["spec"]["minAvailable"] == 1
    assert not of(objects, "PersistentVolumeClaim")


def test_one_file_has_one_writer() -> None:
    objects = rendered()
    assert one(objects, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    claim = one(objects, "PersistentVolumeClaim")["metadata"]
    assert claim["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not of(objects, "PodDisruptionBudget")  # with one replica it would block every drain


def test_an_upgrade_keeps_the_claim_and_what_selects_the_pods() -> None:
    before = rendered()
    after = rendered({"image": {"tag": "0.9.9"}, "settings": {"log_level": "debug"}})
    for kind in ("PersistentVolumeClaim", "Service"):
        assert one(before, kind) == one(after, kind)
    for kind in ("Deployment", "DaemonSet"):
        assert one(before, kind)["spec"]["selector"] == one(after, kind)["spec"]["selector"]


def test_rules_of_ones_own_reach_the_folder_that_the_settings_name(tmp_path: Path) -> None:
    rules = {"causes": {"mine.yaml": "[]\n"}, "signals": {"mine.yaml": "[]\n"}}
    objects = rendered({"rules": rules, "settings": {"rules": {"folders": ["/also"]}}})
    settings = settings_in(objects, tmp_path)
    assert settings.rules.folders == (Path("/also"), Path("/etc/healer/rules"))
    volumes = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    (found,) = [each["configMap"] for each in volumes if each["name"] == "rules"]
    assert {each["path"] for each in found["items"]} == {"causes/mine.yaml", "signals/mine.yaml"}
    maps = {each["metadata"]["name"]: each["data"] for each in of(objects, "ConfigMap")}
    assert set(maps[found["name"]]) == {each["key"] for each in found["items"]}


def test_changed_settings_restart_the_daemon() -> None:
    sums = [
        one(rendered(values), "Deployment")["spec"]["template"]["metadata"]["annotations"][
            "checksum/settings"
        ]
        for values in (
            {},
            {"settings": {"loop": {"interval": "30s"}}},
            {"existingSecret": "s"},
            {"rules": {"causes": {"mine.yaml": "[]"}}},
        )
    ]
    assert len(set(sums)) == 4


def test_both_programs_are_started_with_options_they_have() -> None:
    more = {"extrasOnly": True, "hostSignals": True, "kernelLog": {"enabled": False}}
    objects = rendered({"exporter": more})
    for kind, count in (("Deployment", 1), ("DaemonSet", 5)):
        command, *arguments = container(one(objects, kind))["args"]
        help_text = CliRunner().invoke(cli, [command, "--help"], env={"COLUMNS": "200"}).output
        options = [each.partition("=")[0] for each in arguments if each.startswith("--")]
        assert len(options) == count
        for option in options:
            assert option in help_text


def test_probes_ask_endpoints_on_the_port_that_is_served() -> None:
    values = {"settings": {"server": {"port": 9000}}, "exporter": {"port": 9500}}
    objects = rendered(values)
    for kind, port in (("Deployment", 9000), ("DaemonSet", 9500)):
        found = container(one(objects, kind))
        ports = {each["name"]: each["containerPort"] for each in found["ports"]}
        asked = {
            name: found[name]["httpGet"]
            for name in ("startupProbe", "livenessProbe", "readinessProbe")
            if name in found
        }
        assert asked["livenessProbe"]["path"] == "/livez"
        assert asked["readinessProbe"]["path"] == "/readyz"
        assert {ports[each["port"]] for each in asked.values()} == {port}
    (service,) = one(objects, "Service")["spec"]["ports"]
    assert service["targetPort"] == "http"


def test_the_daemon_and_the_test_pod_pass_the_restricted_pod_security_standard() -> None:
    objects = rendered(armed(*TOGGLES))
    for pod in (one(objects, "Deployment")["spec"]["template"], one(objects, "Pod")):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert not [each for each in spec.get("volumes", ()) if "hostPath" in each]
        (found,) = spec["containers"]
        assert found["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "limits" in found["resources"]


def test_the_exporter_has_no_more_than_it_needs() -> None:
    spec = one(rendered(), "DaemonSet")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostPID", "hostNetwork"} & set(spec)
    found = spec["containers"][0]
    context = found["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["SYSLOG"]}
    assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
    assert "privileged" not in context
    mounts = {each["mountPath"]: each["readOnly"] for each in found["volumeMounts"]}
    assert mounts == {"/var/lib/kubelet/pod-resources": True, "/dev/kmsg": True}


def test_the_exporters_options_are_options() -> None:
    values = {"kernelLog": {"enabled": False}, "hostPID": True, "runtimeClassName": "nvidia"}
    spec = one(rendered({"exporter": values}), "DaemonSet")["spec"]["template"]["spec"]
    assert (spec["hostPID"], spec["runtimeClassName"]) == (True, "nvidia")
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert [each["name"] for each in spec["volumes"]] == ["pod-resources"]
    privileged = one(rendered({"exporter": {"privileged": True}}), "DaemonSet")
    assert container(privileged)["securityContext"]["privileged"] is True


def test_the_exporter_can_listen_where_pods_have_ipv6_addresses_alone() -> None:
    assert "--host=0.0.0.0" in container(one(rendered(), "DaemonSet"))["args"]
    made = rendered({"exporter": {"host": "::"}, "settings": {"server": {"host": "::"}}})
    assert "--host=::" in container(one(made, "DaemonSet"))["args"]


def test_the_exporter_can_push_to_a_receiver_that_it_is_let_out_to() -> None:
    egress = [{"ports": [{"port": 443, "protocol": "TCP"}]}]
    values = {
        "exporter": {"extraArgs": ["--push=https://receiver.example/api/v1/write"]},
        "networkPolicy": {"exporterEgress": egress},
    }
    objects = rendered(values)
    assert container(one(objects, "DaemonSet"))["args"][-1].startswith("--push=https://")
    policies = {p["metadata"]["name"]: p["spec"] for p in of(objects, "NetworkPolicy")}
    assert policies["r-healer-exporter"]["egress"] == egress
    assert (
        "egress"
        not in {p["metadata"]["name"]: p["spec"] for p in of(rendered(), "NetworkPolicy")}[
            "r-healer-exporter"
        ]
    )


def test_either_part_can_be_left_out() -> None:
    alone = rendered(
        {"exporter": {"enabled": False}, "monitoring": {"podMonitor": {"enabled": True}}}
    )
    assert not of(alone, "DaemonSet")
    assert not of(alone, "PodMonitor")
    assert {each["kind"] for each in rendered({"daemon": {"enabled": False}})} == {
        "DaemonSet",
        "NetworkPolicy",
    }


def test_the_exporter_runs_where_somebody_says_there_are_gpus_or_everywhere_on_request() -> None:
    spec = one(rendered(), "DaemonSet")["spec"]["template"]["spec"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    keys = {e["key"] for t in terms["nodeSelectorTerms"] for e in t["matchExpressions"]}
    assert {"nvidia.com/gpu.present", "cloud.google.com/gke-accelerator"} <= keys
    everywhere = one(rendered({"exporter": {"affinity": None}}), "DaemonSet")
    assert "affinity" not in everywhere["spec"]["template"]["spec"]


def test_the_network_policy_lets_in_nothing_but_the_served_ports() -> None:
    policies = {p["metadata"]["name"]: p["spec"] for p in of(rendered(), "NetworkPolicy")}
    assert policies["r-healer"]["policyTypes"] == ["Ingress"]
    assert policies["r-healer-exporter"]["policyTypes"] == ["Ingress", "Egress"]
    for spec in policies.values():
        (rule,) = spec["ingress"]
        assert [each["port"] for each in rule["ports"]] in (["http"], ["metrics"])
        assert "from" not in rule
    peers = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
    egress = [{"ports": [{"port": 443}]}]
    narrow = of(rendered({"networkPolicy": {"from": peers, "egress": egress}}), "NetworkPolicy")
    assert all(each["spec"]["ingress"][0]["from"] == peers for each in narrow)
    assert narrow[0]["spec"]["egress"] == egress


def test_the_test_pod_runs_a_program_that_compiles_and_asks_the_service() -> None:
    pod = one(rendered({"service": {"port": 80}}), "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (program,) = pod["spec"]["containers"][0]["args"]
    compile(program, "test", "exec")
    assert "http://r-healer:80/readyz" in program


def test_notes_tell_what_is_armed_and_the_next_step() -> None:
    def notes(*flags: str) -> str:
        done = charts.helm("install", "r", str(charts.CHART), "--dry-run=client", *flags)
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("NOTES:")[2]

    assert "Healer observes" in notes()
    assert "create secret generic healer-tokens" in notes()
    assert "Healer may act: drainNode, restartPod in serving." in notes(
        "--values", str(EXAMPLES / "armed.yaml")
    )
    assert "no switch under remediation.actions is on" in notes(
        "--set", "settings.remediation.mode=enforce",
        "--set", "settings.remediation.arm.scale.mode=enforce",
    )  # fmt: skip
    for command in re.findall(r"-- healer (\w+)", notes()):
        assert CliRunner().invoke(cli, [command, "--help"]).exit_code == 0


def test_the_chart_ships_this_version() -> None:
    chart = yaml.safe_load((charts.CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == healer.__version__


def test_every_name_fits_however_long_the_release_is_called() -> None:
    long = "a" * 80
    objects = rendered({"fullnameOverride": long, "monitoring": {"dashboards": {"enabled": True}}})
    assert max(len(o["metadata"]["name"]) for o in objects if "Cluster" not in o["kind"]) <= 63


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"remediation": {"actions": {"restartPods": {"enabled": True}}}}, "'restartPods'"),
        ({"remediation": {"actions": {"scale": {"enabled": "yes"}}}}, "scale/enabled"),
        ({"remediation": {"namespaces": "serving"}}, "want array"),
        ({"remediation": {"namespaces": ["Serving"]}}, "remediation/namespaces/0"),
        ({"settings": {"remediation": {"mode": "armed"}}}, "'observe', 'enforce'"),
        ({"settings": {"remediation": {"cooldwon": "5m"}}}, "'cooldwon' not allowed"),
        ({"settings": {"loop": {"interval": "soon"}}}, "settings/loop/interval"),
        ({"settings": {"server": {"port": 70000}}}, "settings/server/port"),
        ({"settings": {"prometheus": {"url": "prometheus:9090"}}}, "settings/prometheus/url"),
        ({"settings": {"notify": {"channels": {"ops": {}}}}}, "missing property 'notifier'"),
        ({"image": {"digest": "latest"}}, "image/digest"),
        ({"replicaCount": 2}, "replicaCount: 2 with SQLite: expected 1, or PostgreSQL"),
        ({"replicaCount": 0}, "replicaCount"),
        (
            {"monitoring": {"alertmanagerConfig": {"enabled": True}}},
            "alertmanagerConfig.tokenSecret",
        ),
        ({"exporter": {"enable": False}}, "'enable' not allowed"),
        ({"exporter": {"host": "everywhere"}}, "exporter/host"),
        (armed("scale", namespaces=()), "expected the namespaces"),
        (armed("drainNode", namespaces=()), "expected the namespaces"),
    ],
    ids=str,
)
def test_bad_values_are_refused_by_name(values: Object, says: str) -> None:
    assert says in refusal(values)
