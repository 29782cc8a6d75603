"""A genuine control plane out of KUBEBUILDER_ASSETS, and somebody who plays its kubelets.

The folder is envtest's: etcd and kube-apiserver, and here also kube-controller-manager and
kube-scheduler, for without controllers there is nothing to heal. Nodes are objects only: `Agents`
says over the API what kubelets would, so that nothing has to run.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import servers
import yaml
from kubernetes.client import ApiClient

from healer.adapters.kubernetes.errors import read, write

BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
MERGE = "application/merge-patch+json"
READY_WITHIN_S = 60.0


def missing(folder: str) -> list[str]:
    """Which of the programs that are needed are not in `folder`."""
    return [name for name in BINARIES if not os.access(Path(folder) / name, os.X_OK)]


@contextmanager
def control_plane(assets: str) -> Iterator[Path]:
    """etcd, API server, controllers and scheduler on loopback; yields a kubeconfig."""
    folder = Path(assets)
    with tempfile.TemporaryDirectory(prefix="control-plane-") as made, ExitStack() as stack:
        home = Path(made)
        etcd, peer, port = (servers.free_port() for _ in range(3))
        subprocess.run(
            ["openssl", "genrsa", "-out", str(home / "sa.key"), "2048"],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        (home / "tokens.csv").write_text("healer-tests,tester,1,system:masters\n")
        config = home / "kubeconfig"
        config.write_text(yaml.safe_dump(_kubeconfig(port, home / "certs" / "apiserver.crt")))
        at = f"http://127.0.0.1:{etcd}"
        commands = {
            "etcd": [
                f"--data-dir={home}/etcd", f"--listen-client-urls={at}",
                f"--advertise-client-urls={at}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
            ],
            "kube-apiserver": [
                f"--etcd-servers={at}", f"--cert-dir={home}/certs", f"--secure-port={port}",
                "--bind-address=127.0.0.1", "--authorization-mode=RBAC",
                f"--token-auth-file={home}/tokens.csv", "--service-cluster-ip-range=10.0.0.0/24",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={home}/sa.key",
                f"--service-account-signing-key-file={home}/sa.key",
                "--disable-admission-plugins=ServiceAccount",
            ],
            "kube-controller-manager": [
                f"--kubeconfig={config}", "--leader-elect=false",
                f"--service-account-private-key-file={home}/sa.key", "--secure-port=0",
                # Nodes without kubelets would be tainted and emptied for want of heartbeats.
                "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller",
            ],
            "kube-scheduler": [f"--kubeconfig={config}", "--leader-elect=false",
                               "--secure-port=0"],
        }  # fmt: skip
        for name, flags in commands.items():
            stack.enter_context(_running(folder / name, flags, home))
            if name == "kube-apiserver":
                _until_ready(f"https://127.0.0.1:{port}/readyz", home / "kube-apiserver.log")
        yield config


@contextmanager
def _running(program: Path, flags: list[str], home: Path) -> Iterator[None]:
    with (home / f"{program.name}.log").open("wb") as sink:
        process = subprocess.Popen([program, *flags], stdout=sink, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    asked = ["curl", "-skf", "-H", "Authorization: Bearer healer-tests", url]
    while subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode:
        tail = log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < deadline, f"the API server is not ready:\n{tail}"
        time.sleep(0.2)


def _kubeconfig(port: int, authority: Path) -> dict[str, Any]:
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority": str(authority),  # the server writes its own
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "tests", "user": {"token": "healer-tests"}}],
    }


class Agents:
    """Kubelets of one namespace and of nodes that exist as objects only, played over the API."""

    def __init__(self, api: ApiClient, namespace: str, broken: frozenset[str]) -> None:
        self._api, self._broken = api, broken
        self._pods = f"/api/v1/namespaces/{namespace}/pods"

    def node(self, name: str, *, ready: bool = True) -> None:
        amounts = {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": "8"}
        labels = {"kubernetes.io/hostname": name}
        answer = write(
            self._api, "POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}}
        )
        assert answer.ok, answer.message
        status = {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": str(ready), "reason": "Played"}],
        }
        path = f"/api/v1/nodes/{name}/status"
        answer = write(self._api, "PATCH", path, {"status": status}, content_type=MERGE)
        assert answer.ok, answer.message
        if ready:
            taints = {"spec": {"taints": None}}  # admission taints a node that is new
            write(self._api, "PATCH", f"/api/v1/nodes/{name}", taints, content_type=MERGE)

    def work(self) -> None:
        """Start what is placed and let go of what is to end."""
        for pod in read(self._api, self._pods).body["items"]:
            meta = pod["metadata"]
            path = f"{self._pods}/{meta['name']}"
            if meta.get("deletionTimestamp"):
                write(self._api, "DELETE", path, {"gracePeriodSeconds": 0})
            elif pod["spec"].get("nodeName") and pod["status"].get("phase") == "Pending":
                status = {"status": self._started(pod)}
                write(self._api, "PATCH", f"{path}/status", status, content_type=MERGE)

    def _started(self, pod: dict[str, Any]) -> dict[str, Any]:
        ready = pod["spec"]["containers"][0]["image"] not in self._broken
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {
            "phase": "Running",
            "conditions": [
                {"type": each, "status": str(ready), "lastTransitionTime": since}
                for each in ("Ready", "ContainersReady")
            ],
        }
