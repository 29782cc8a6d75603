"""What the chart renders is taken by an API server from the genuine kubectl, twice over."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import charts
import pytest
import servers
import yaml
from charts import NAMESPACE, Object, armed, rendered
from kube_world import World

from healer.adapters.kubernetes.toggles import TOGGLES
from healer.lab.kube.resources import TABLE
from healer.lab.web import Server

pytestmark = pytest.mark.server


def known(objects: list[Object]) -> list[Object]:
    """Those of kinds that the simulated API server has; roles and policies are not among them."""
    kinds = {resource.kind for resource in TABLE}
    return [
        each
        for each in objects
        if each["kind"] in kinds and each["metadata"].get("namespace") == NAMESPACE
    ]


def test_kubectl_applies_what_the_chart_renders_and_an_upgrade_over_it(tmp_path: Path) -> None:
    servers.need("helm", "kubectl")
    world = World()
    world.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
    first = known(rendered(armed(*TOGGLES)))
    second = known(rendered({**armed(*TOGGLES), "image": {"tag": "0.9.9"}}))
    assert {"Deployment", "DaemonSet", "Service", "PersistentVolumeClaim"} <= {
        each["kind"] for each in first
    }
    with Server(world.server.handle) as server:

        def kubectl(*arguments: str) -> str:
            done = subprocess.run(
                [str(servers.binary("kubectl")), "--server", server.url, "-n", NAMESPACE,
                 *arguments],
                capture_output=True, text=True, timeout=300, check=False,
                env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "KUBECONFIG": os.devnull},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout

        for name, objects in (("first", first), ("second", second)):
            (tmp_path / name).write_text(yaml.safe_dump_all(objects))
        file = str(tmp_path / "first")
        tried = kubectl("apply", "--validate=false", "--dry-run=server", "-f", file)
        assert tried.count("created (server dry run)") == len(first)
        assert world.store.list("apps/deployments", NAMESPACE) == []
        assert kubectl("apply", "--validate=false", "-f", file).count("created") == len(first)
        claim = json.loads(kubectl("get", "persistentvolumeclaims", "r-healer", "-o", "json"))[
            "metadata"
        ]["uid"]
        upgraded = kubectl("apply", "--validate=false", "-f", str(tmp_path / "second"))
        changed = {line.split()[0] for line in upgraded.splitlines() if "configured" in line}
        assert {"deployment.apps/r-healer", "daemonset.apps/r-healer-exporter"} <= changed
        assert "persistentvolumeclaim/r-healer unchanged" in upgraded
        found = json.loads(kubectl("get", "deployments,persistentvolumeclaims", "-o", "json"))[
            "items"
        ]
        images = [charts.container(o)["image"] for o in found if o["kind"] == "Deployment"]
        assert images == ["healer:0.9.9"]
        assert [o["metadata"]["uid"] for o in found if o["kind"] != "Deployment"] == [claim]
