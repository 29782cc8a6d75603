"""What the deciding half costs on a large cluster: 1,500 nodes, 12,000 pods.

    python bench/hands.py [--nodes 1500 --pods 12000 --alerts 100]

The simulated API server runs in a process of its own. Measured are the memory of list and watch,
node decisions a second (a drain planned, and all guards asked about it), and the time from an
alert's webhook to its incident, durable in SQLite, through the whole daemon. Metrics are empty:
what detection costs is measured by bench/tick.py. Exit status 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import multiprocessing
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import requests

from healer.adapters import logs
from healer.adapters.clocks import SystemClock
from healer.adapters.kubernetes import KubernetesCluster, KubernetesHands, connect
from healer.adapters.store import open_store
from healer.app import App, World
from healer.daemon import Daemon
from healer.guards import standard
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident, Phase, Severity
from healer.model.snapshot import Snapshot
from healer.model.target import Kind
from healer.model.topology import Topology
from healer.ports import Case, Matrix
from healer.settings import (
    Arming,
    KubernetesSettings,
    Mode,
    RemediationSettings,
    ServerSettings,
    Settings,
)
from healer.stages.guard import judge
from remediations.drain_node import DrainNode

MEMORY_MB, DECISIONS_PER_S, DECIDED_S = 300.0, 10.0, 1.0
NAMESPACE = "serving"
PER_DEPLOYMENT = 40


def serve(nodes: int, pods: int, say: Connection) -> None:
    """The cluster, in a process of its own, until it is told to end."""
    from healer.lab.apiserver import ApiServer  # noqa: PLC0415 - its memory is not ours
    from healer.lab.web import Server  # noqa: PLC0415

    age = timedelta(days=30)
    api = ApiServer(lambda: datetime.now(UTC) - age)
    api.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
    for at in range(nodes):
        api.store.create("nodes", _node(at))
    for at in range(pods // PER_DEPLOYMENT):
        _deployment(api.store, at, nodes)
    age = timedelta(0)
    with Server(api.handle) as server:
        say.send(server.url)
        say.recv()


def _node(at: int) -> dict[str, Any]:
    amounts = {"cpu": "128", "memory": "1Ti", "nvidia.com/gpu": "16", "pods": "110"}
    labels = {"kubernetes.io/hostname": f"gpu-{at}", "nvidia.com/gpu.product": f"H200-{at % 4}"}
    return {
        "metadata": {"name": f"gpu-{at}", "labels": labels},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [
                {"type": each, "status": "True" if each == "Ready" else "False"}
                for each in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
            ],
        },
    }


def _deployment(store: Any, at: int, nodes: int) -> None:
    name, labels = f"model-{at}", {"app": f"model-{at}"}
    arguments = ["--model", f"org/model-{at}", "--max-num-seqs", "256", "--port", "8000"]
    container = {
        "name": "vllm",
        "image": "registry.example/vllm:0.11.2",
        "args": arguments,
        "env": [{"name": f"SETTING_{n}", "value": "x" * 24} for n in range(12)],
        "resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "8", "memory": "64Gi"}},
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": PER_DEPLOYMENT, "selector": {"matchLabels": labels}, "template": template}
    meta = {"name": name, "namespace": NAMESPACE, "labels": labels}
    top = store.create("apps/deployments", {"metadata": dict(meta), "spec": spec})
    ours = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "controller": True}
    made = store.create(
        "apps/replicasets",
        {
            "metadata": meta | {
                "name": f"{name}-1",
                "annotations": {"deployment.kubernetes.io/revision": "1"},
                "ownerReferences": [ours | {"uid": top["metadata"]["uid"]}],
            },
            "spec": spec,
        },
    )  # fmt: skip
    owner = ours | {"kind": "ReplicaSet", "name": f"{name}-1", "uid": made["metadata"]["uid"]}
    fields: dict[str, Any] = {f"f:field{n}": {"f:inner": {}} for n in range(40)}
    for number in range(PER_DEPLOYMENT):
        index = at * PER_DEPLOYMENT + number
        store.create(
            "pods",
            {
                "metadata": {
                    "name": f"{name}-1-{number}",
                    "namespace": NAMESPACE,
                    "labels": labels,
                    "ownerReferences": [owner],
                    "managedFields": [{"manager": "kubelet", "fieldsV1": fields}],
                },
                "spec": {"nodeName": f"gpu-{index % nodes}", "containers": [container]},
                "status": {
                    "phase": "Running",
                    "podIP": f"10.{index // 65536}.{index // 256 % 256}.{index % 256}",
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [{"name": "vllm", "ready": True, "restartCount": 0}],
                },
            },
        )


class NoMetrics:
    """A Prometheus that knows nothing."""

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> Matrix:
        return Matrix(np.empty(0), np.empty((0, 0)), ())

    def instant(self, query: str, at: datetime | None = None) -> Matrix:
        return Matrix(np.empty(0), np.empty((0, 0)), ())

    def names(self) -> frozenset[str]:
        return frozenset()


def resident_mb() -> float:
    text = Path("/proc/self/status").read_text()
    return next(int(row.split()[1]) for row in text.splitlines() if row.startswith("VmRSS")) / 1024


def watched(cluster: KubernetesCluster, pods: int) -> tuple[Topology, float]:
    """The topology once everything is in step, and how long that took."""
    began = time.monotonic()
    cluster.start()
    while any(m.objects() is None for kind, m in cluster.mirrors.items() if kind != "Rollout"):
        time.sleep(0.1)
    view = cluster.view()
    assert len(view.topology.of(Kind.POD)) == pods
    return view.topology, time.monotonic() - began


def decisions_per_s(topology: Topology, count: int = 200) -> float:
    arming = Arming(Mode.ENFORCE, (NAMESPACE, "*"), approval=False)
    settings = RemediationSettings(mode=Mode.ENFORCE, arm={"drain_node": arming})
    guards, now, drain = standard(settings), datetime.now(UTC), DrainNode()
    nodes = [entity.target for entity in topology.of(Kind.NODE)][:count]
    began = time.perf_counter()
    for at, node in enumerate(nodes):
        leader = Hypothesis("gpu_fallen_off_bus", node, now, 0.95, 0.0)
        incident = Incident(
            f"inc-{at}", now, now, now, Phase.OPEN, Severity.CRITICAL, "GPU gone", (node,)
        )
        plan = drain.plan(incident, leader, topology, now)
        assert plan.actions, plan.refused
        snapshot = Snapshot(now=now, frames={}, topology=topology)
        judge(plan, Case(now, incident, leader, snapshot, ()), guards)
    return len(nodes) / (time.perf_counter() - began)


def decided_s(daemon: Daemon, file: Path, topology: Topology, alerts: int) -> list[float]:
    """Seconds from each webhook until the incident it opens is durable."""
    took = []
    pods = [entity.target for entity in topology.of(Kind.POD)][:: PER_DEPLOYMENT * 3][:alerts]
    for at, pod in enumerate(pods):
        known = count(file)
        began = time.perf_counter()
        answer = requests.post(
            f"{daemon.url}/api/v1/intake/alertmanager",
            json=_alert(at, pod.name, pod.namespace),
            headers={"Authorization": "Bearer give"},
            timeout=10,
        )
        answer.raise_for_status()
        while count(file) == known:
            assert time.perf_counter() - began < 60, "no incident"
            time.sleep(0.01)
        took.append(time.perf_counter() - began)
    return took


def count(file: Path) -> int:
    """Incidents that are durable, as another process sees them."""
    with closing(sqlite3.connect(file)) as raw:
        return int(raw.execute("SELECT count(*) FROM incidents").fetchone()[0])


def _alert(at: int, pod: str, namespace: str) -> dict[str, Any]:
    labels = {"alertname": "VllmDown", "severity": "critical", "pod": pod, "namespace": namespace}
    now = datetime.now(UTC).isoformat()
    one = {
        "status": "firing", "labels": labels, "annotations": {}, "startsAt": now,
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": f"{at:016x}",
    }  # fmt: skip
    return {
        "version": "4", "groupKey": str(at), "truncatedAlerts": 0, "status": "firing",
        "receiver": "healer", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager", "alerts": [one],
    }  # fmt: skip


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--nodes", type=int, default=1500)
    asked.add_argument("--pods", type=int, default=12000)
    asked.add_argument("--alerts", type=int, default=100)
    given = asked.parse_args()
    logs.configure("error", "text")
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=serve, args=(given.nodes, given.pods, theirs), daemon=True
    )
    child.start()
    url = ours.recv()
    try:
        return report(url, given)
    finally:
        ours.send("end")
        child.join(5)
        child.kill()


def report(url: str, given: argparse.Namespace) -> int:
    clock, settings = SystemClock(), KubernetesSettings(url=url)
    api = connect(settings)
    cluster = KubernetesCluster(api, settings, clock)
    gc.collect()
    before = resident_mb()
    topology, in_step_s = watched(cluster, given.pods)
    began = time.perf_counter()
    topology = cluster.look().topology
    view_s = time.perf_counter() - began
    gc.collect()
    memory = resident_mb() - before
    rate = decisions_per_s(topology)
    with tempfile.TemporaryDirectory() as folder:
        token = Path(folder) / "token"
        token.write_text("give\n")
        wanted = Settings(
            kubernetes=settings,
            server=ServerSettings(port=0, ingest_token_file=token),
            store=dataclasses.replace(Settings().store, url=f"sqlite:///{folder}/healer.db"),
        )
        hands, store = KubernetesHands(api, clock), open_store(wanted.store.url)
        app = App(wanted, World(clock, NoMetrics(), cluster, hands, store))
        with Daemon(app) as daemon:
            took = sorted(decided_s(daemon, Path(folder) / "healer.db", topology, given.alerts))
    cluster.stop()
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    rows = (
        ("list and watch, resident", f"{memory:.0f} MB", memory <= MEMORY_MB, "300 MB"),
        ("node decisions", f"{rate:.0f} a second", rate >= DECISIONS_PER_S, "10 a second"),
        ("webhook to durable incident, p99", f"{p99:.2f} s", p99 <= DECIDED_S, "1 s"),
    )
    print(f"{given.nodes} nodes, {given.pods} pods, {len(took)} alerts")
    print(f"in step after {in_step_s:.1f} s; a view takes {view_s:.2f} s; ", end="")
    print(f"webhook to incident, median {statistics.median(took):.2f} s")
    for name, value, well, limit in rows:
        print(f"{'ok  ' if well else 'MISS'} {name:34} {value:>14}   limit {limit}")
    return 0 if all(well for _, _, well, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
