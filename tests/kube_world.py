"""A small simulated cluster on a clock moved by hand, with somebody playing its kubelets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from healer.adapters.clocks import SteppedClock
from healer.lab.apiserver import ApiServer
from healer.lab.controllers import Controllers
from healer.lab.kube.store import stamp
from healer.lab.web import Request, Response

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
NAMESPACE = "llm"


@dataclass
class World:
    """`step` moves the clock and lets controllers and kubelets work."""

    clock: SteppedClock = field(default_factory=lambda: SteppedClock(START))
    hpa_desired: int | None = None
    broken_images: set[str] = field(default_factory=lambda: {"vllm:bad"})
    stuck: set[str] = field(default_factory=set)
    """Names of pods whose kubelet never confirms their end."""

    def __post_init__(self) -> None:
        self.server = ApiServer(self.clock.now)
        self.store = self.server.store
        self.controllers = Controllers(self.store, lambda _: self.hpa_desired)
        self.store.create("namespaces", {"metadata": {"name": NAMESPACE}})

    def step(self, times: int = 1, seconds: float = 5) -> None:
        for _ in range(times):
            with self.store.transaction():
                self.controllers.step(self.clock.now())
                self._kubelets()
                self.controllers.step(self.clock.now())
            self.clock.move(timedelta(seconds=seconds))

    def _kubelets(self) -> None:
        for pod in self.store.list("pods"):
            meta = pod["metadata"]
            if "deletionTimestamp" in meta:
                if meta["name"] not in self.stuck:
                    self.store.delete("pods", meta["namespace"], meta["name"])
            elif pod["spec"].get("nodeName") and pod["status"]["phase"] == "Pending":
                image = pod["spec"]["containers"][0]["image"]
                self.set_ready(meta["name"], image not in self.broken_images)

    def set_ready(self, name: str, ready: bool) -> None:
        def change(pod: dict[str, Any]) -> None:
            kept = [c for c in pod["status"].get("conditions", []) if c["type"] != "Ready"]
            now = {
                "type": "Ready",
                "status": str(ready),
                "lastTransitionTime": stamp(self.clock.now()),
            }
            pod["status"] |= {
                "phase": "Running",
                "conditions": [*kept, now],
                "containerStatuses": [{"name": "vllm", "ready": ready, "restartCount": 0}],
            }

        self.store.modify("pods", NAMESPACE, name, change)

    def node(self, name: str, gpus: int = 8, **labels: str) -> dict[str, Any]:
        amounts = {"cpu": "64", "memory": "512Gi", "nvidia.com/gpu": str(gpus), "pods": "110"}
        return self.store.create(
            "nodes",
            {
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name} | labels},
                "spec": {},
                "status": {
                    "capacity": amounts,
                    "allocatable": amounts,
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            },
        )

    def deployment(self, name: str = "llama", replicas: int = 3, **spec: Any) -> dict[str, Any]:
        return self.store.create("apps/deployments", deployment(name, replicas, **spec))

    def budget(self, name: str = "llama", **spec: Any) -> dict[str, Any]:
        selector = {"matchLabels": {"app": name}}
        return self.store.create(
            "policy/poddisruptionbudgets",
            {
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"selector": selector} | spec,
            },
        )

    def set_image(self, image: str, name: str = "llama") -> None:
        def change(obj: dict[str, Any]) -> None:
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = image

        self.store.modify("apps/deployments", NAMESPACE, name, change)

    def pods(self) -> list[dict[str, Any]]:
        return self.store.list("pods", NAMESPACE)

    def get(self, resource: str, name: str) -> dict[str, Any]:
        found = self.store.get(resource, NAMESPACE, name)
        assert found is not None, f"no {resource} {name}"
        return found

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        **query: str,
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """One request in process: status, decoded body, headers."""
        response = self.server.handle(
            Request(
                method,
                path,
                tuple(query.items()),
                {"content-type": content_type, "user-agent": "tests"},
                b"" if body is None else json.dumps(body).encode(),
            )
        )
        assert isinstance(response.body, bytes)
        decoded = json.loads(response.body) if response.body else {}
        return response.status, decoded, dict(response.headers)


class Door:
    """One socket for many worlds: a server takes half a second to close."""

    def __init__(self) -> None:
        self.world: World | None = None

    def handle(self, request: Request) -> Response:
        assert self.world is not None, "nobody is behind the door"
        return self.world.server.handle(request)


def deployment(name: str = "llama", replicas: int = 3, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name),
        }
        | spec,
    }


def template(name: str = "llama", image: str = "vllm:1", gpus: int = 4) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)}
    container = {"name": "vllm", "image": image, "resources": {"limits": limits}}
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
