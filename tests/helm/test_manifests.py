"""What the chart renders is valid for every Kubernetes it says it runs on."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import charts
import kubernetes_validate
import pytest
import servers
import yaml
from charts import Object, armed, rendered

from healer.adapters.kubernetes.toggles import TOGGLES

pytestmark = pytest.mark.server
EXAMPLES = charts.CHART / "examples"
OLDEST_SCHEMA = 25
"""kubernetes-validate has none for 1.24; nothing that the chart uses came or went with 1.25."""
EVERYTHING: Object = {
    **armed(*TOGGLES),
    "replicaCount": 2,
    "existingSecret": "tokens",
    "database": {"existingSecret": "db"},
    "rules": {"causes": {"mine.yaml": "[]"}},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls"},
    "httpRoute": {"enabled": True, "parentRefs": [{"name": "gw"}], "hostnames": ["a.example"]},
    "networkPolicy": {"egress": [{"ports": [{"port": 443, "protocol": "TCP"}]}]},
    "exporter": {"hostPID": True, "runtimeClassName": "nvidia", "privileged": True},
    "priorityClassName": "system-cluster-critical",
    "global": {"imageRegistry": "mirror.example"},
    "imagePullSecrets": [{"name": "pull"}],
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-x"}}
    ],
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "alertmanagerConfig": {"enabled": True},
        "dashboards": {"enabled": True},
    },
}
CASES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "everything": EVERYTHING,
    **{
        file.stem: yaml.safe_load(file.read_text())
        for file in (EXAMPLES / f"{name}.yaml" for name in (
            "observe", "armed", "two-replicas", "exporter-only"
        ))
    },
}  # fmt: skip
FOREIGN = {"monitoring.coreos.com", "gateway.networking.k8s.io", "keda.sh"}
"""Kinds of operators, which Kubernetes' own schemas do not know."""


@pytest.fixture(autouse=True)
def _helm() -> None:
    servers.need("helm")


def newest() -> int:
    return int(kubernetes_validate.latest_version().split(".")[1])


def known(objects: list[Object]) -> Iterator[Object]:
    return (o for o in objects if o["apiVersion"].partition("/")[0] not in FOREIGN)


def faults(objects: list[Object], minor: int) -> list[str]:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in known(objects):
            try:
                kubernetes_validate.validate(each, f"1.{minor}", strict=True)
            except (
                kubernetes_validate.ValidationError,
                kubernetes_validate.SchemaNotFoundError,
            ) as error:
                found.append(f"1.{minor} {each['kind']} {each['metadata']['name']}: {error}")
    return found


@pytest.mark.parametrize("case", CASES)
def test_every_object_is_valid_for_the_newest_kubernetes(case: str) -> None:
    assert newest() >= 37
    assert faults(rendered(CASES[case], "--kube-version", f"1.{newest()}.0"), newest()) == []


def versions() -> list[int]:
    """The oldest, and the first with admission policies; all with HEALER_EVERY_KUBERNETES=1."""
    if os.environ.get("HEALER_EVERY_KUBERNETES"):
        return list(range(OLDEST_SCHEMA, newest()))
    return [OLDEST_SCHEMA, 30]


def test_everything_is_valid_for_older_ones() -> None:
    for minor in versions():
        objects = rendered(EVERYTHING, "--kube-version", f"1.{minor}.0")
        assert faults(objects, minor) == []


def test_a_wrong_object_would_be_noticed() -> None:
    deployment = charts.one(rendered(), "Deployment")
    broken = {**deployment, "spec": {**deployment["spec"], "replicas": "two"}}
    unknown = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    assert faults([broken], 30)
    assert faults([unknown], 30)


def test_the_oldest_kubernetes_of_the_chart_still_renders_and_older_ones_are_refused() -> None:
    assert rendered(EVERYTHING, "--kube-version", "1.24.0")
    done = charts.helm("template", "r", str(charts.CHART), "--kube-version", "1.23.9")
    assert done.returncode != 0
    assert "1.24" in done.stderr


def test_no_two_objects_have_one_name() -> None:
    for values in CASES.values():
        objects = rendered(values, "--kube-version", "1.34.0")
        names = [
            (o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])
            for o in objects
        ]
        assert len(names) == len(set(names))


def test_every_object_of_a_namespace_says_which() -> None:
    for each in rendered(EVERYTHING, "--kube-version", "1.34.0"):
        if each["metadata"]["name"] != "r-x" and not each["kind"].startswith(
            ("ClusterRole", "ValidatingAdmission")
        ):
            assert each["metadata"]["namespace"] in ("watch", "serving", "chat"), each["kind"]


def test_the_autoscaling_examples_are_valid_and_ask_for_what_the_chart_records() -> None:
    hpa = yaml.safe_load((EXAMPLES / "hpa.yaml").read_text())
    assert faults([hpa], OLDEST_SCHEMA) == []
    recorded = {
        rule["record"]
        for rule in yaml.safe_load((charts.CHART / "files" / "recording.yaml").read_text())
    }
    asked = {
        m["external"]["metric"]["name"].replace("llm_", "llm:") for m in hpa["spec"]["metrics"]
    }
    keda = yaml.safe_load((EXAMPLES / "keda.yaml").read_text())
    for trigger in keda["spec"]["triggers"]:
        asked.add(trigger["metadata"]["query"].partition("(")[2].partition("{")[0])
    assert asked == {"llm:requests_waiting", "llm:kv_usage"}
    assert asked <= recorded


def test_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "tools/generate.py", "--check"],
        cwd=charts.ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
