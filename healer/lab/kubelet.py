"""Plays every node's kubelet: gives pods their GPUs, loads models, ends pods, beats hearts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from healer.lab.control.common import tell
from healer.lab.engine import Engine
from healer.lab.gpu import Gpu
from healer.lab.kube.store import ObjectStore, stamp, unstamp
from healer.lab.objects import GPU, node_name
from healer.lab.scenario import ModelSpec, Scenario

Obj = dict[str, Any]
HEARTBEAT = timedelta(seconds=10)


BACKOFF = timedelta(seconds=10)
LONGEST_BACKOFF = timedelta(minutes=5)
"""The kubelet waits twice as long before each restart of a container."""


@dataclass(frozen=True, slots=True)
class Doom:
    """What ends containers of its kind, each so long after it began."""

    marks: str
    """Part of the image or of an argument, or the UUID of a GPU that the pod holds."""
    after: timedelta
    reason: str
    code: int
    message: str = ""
    xid: int = 0
    """Logged for the pod's first GPU, or for the one that is meant."""

    def meets(self, replica: Replica) -> bool:
        given = (replica.image, *replica.args, *(gpu.uuid for gpu in replica.gpus))
        return any(self.marks in each for each in given)


@dataclass(slots=True)
class Replica:
    """A pod that runs on a node, and the engine in it."""

    uid: str
    namespace: str
    name: str
    model: ModelSpec
    node: str
    ip: str
    engine: Engine
    gpus: tuple[Gpu, ...]
    image: str
    args: tuple[str, ...]
    started: datetime
    ready_at: datetime
    ready: bool = False
    ending: bool = False
    """Terminating: it finishes what it has, and gets nothing new."""
    crashed: bool = False
    restarts: int = 0
    begun: datetime | None = None
    """When its container did; None for when the pod did."""
    restart_at: datetime | None = None
    """When the kubelet tries again; None where it would be in vain."""
    memory_share: float = 0.3
    """Host memory it uses, of its limit."""

    @property
    def loading(self) -> bool:
        return not self.ready and not self.crashed and not self.ending


@dataclass(slots=True)
class Kubelets:
    scenario: Scenario
    store: ObjectStore
    gpus: list[Gpu]
    replicas: dict[str, Replica] = field(default_factory=dict)
    """By pod UID."""
    silent: set[str] = field(default_factory=set)
    """Nodes whose kubelet does not answer any more."""
    load_factor: float = 1.0
    """How much longer than usual a model takes to load."""
    missing_images: set[str] = field(default_factory=set)
    dooms: list[Doom] = field(default_factory=list)
    unplugged: set[str] = field(default_factory=set)
    """Nodes whose device plugin offers nothing."""
    _next_ip: int = 1
    _beat_at: datetime | None = None

    def step(self, now: datetime) -> None:
        pods = {p["metadata"]["uid"]: p for p in self.store.list("pods")}
        for uid in [uid for uid in self.replicas if uid not in pods]:
            self._release(self.replicas.pop(uid))
        for uid, pod in pods.items():
            node = pod.get("spec", {}).get("nodeName")
            if node and node not in self.silent and "app" in pod["metadata"].get("labels", {}):
                self._sync(uid, pod, node, now)
        for replica in self.replicas.values():
            self._keep_running(replica, now)
            if replica.node in self.silent and replica.ready:
                replica.ready = False  # the node controller takes it out of its endpoints
                replica.engine.hung = True
                self._status(replica, now)
        if self._beat_at is None or now - self._beat_at >= HEARTBEAT:
            self._beat(now)

    def of(self, model: str) -> list[Replica]:
        """Replicas of a model, oldest first."""
        return sorted(
            (r for r in self.replicas.values() if r.model.name == model),
            key=lambda r: (r.started, r.name),
        )

    def crash(
        self, replica: Replica, now: datetime, reason: str, code: int, *, for_good: bool = True
    ) -> None:
        """The container ends. for_good: it cannot start again where it is, as without its GPU."""
        replica.crashed, replica.ready = True, False
        wait = min(BACKOFF * 2 ** min(replica.restarts, 6), LONGEST_BACKOFF)
        replica.restart_at = None if for_good else now + wait
        replica.restarts += 1
        lost = len(replica.engine.running) + len(replica.engine.waiting)
        replica.engine.left += lost
        replica.engine.running.clear()
        replica.engine.waiting.clear()
        self._status(replica, now, waiting="CrashLoopBackOff", last=(reason, code))

    def _keep_running(self, replica: Replica, now: datetime) -> None:
        """What is doomed ends, what ended begins again."""
        if replica.ending or replica.node in self.silent:
            return
        if replica.crashed:
            if replica.restart_at is not None and now >= replica.restart_at:
                replica.crashed, replica.restart_at, replica.begun = False, None, now
                replica.ready_at = now + replica.model.engine.load * self.load_factor
                replica.engine, replica.memory_share = Engine(replica.model.engine), 0.3
                self._status(replica, now)
            return
        for doom in self.dooms:
            if doom.meets(replica) and now >= (replica.begun or replica.started) + doom.after:
                meant = next((g for g in replica.gpus if g.uuid == doom.marks), replica.gpus[0])
                if doom.xid:
                    meant.xid(doom.xid)
                self.say(replica, now, doom.message)
                self.crash(replica, now, doom.reason, doom.code, for_good=False)
                return

    def say(self, replica: Replica, now: datetime, message: str) -> None:
        """The kubelet's event about a container that ended, with what it said last."""
        pod = self.store.get("pods", replica.namespace, replica.name)
        if message and pod is not None:
            tell(self.store, pod, "Failed", message, "kubelet", now, "Warning")

    def _sync(self, uid: str, pod: Obj, node: str, now: datetime) -> None:
        replica = self.replicas.get(uid)
        ending = pod["metadata"].get("deletionTimestamp")
        if ending:
            self._end(uid, pod, replica, now, unstamp(ending))
            return
        if replica is None:
            self._start(uid, pod, node, now)
            return
        if replica.loading and now >= replica.ready_at:
            replica.ready = True
            self._status(replica, now)

    def _start(self, uid: str, pod: Obj, node: str, now: datetime) -> None:
        container = pod["spec"]["containers"][0]
        if container["image"] in self.missing_images:
            self._pull_fails(pod, now)
            return
        model = next(m for m in self.scenario.models if m.name == pod["metadata"]["labels"]["app"])
        wanted = int(container["resources"]["limits"][GPU])
        free = [g for g in self.gpus if g.node == node and g.present and g.holder is None]
        free = [] if node in self.unplugged else free
        if len(free) < wanted:
            return  # the device plugin has none to give: the pod waits
        taken = tuple(free[:wanted])
        meta = pod["metadata"]
        for gpu in taken:
            gpu.holder = (meta["namespace"], meta["name"], container["name"])
        self._next_ip += 1
        self.replicas[uid] = Replica(
            uid=uid,
            namespace=meta["namespace"],
            name=meta["name"],
            model=model,
            node=node,
            ip=f"10.1.{self._next_ip // 250}.{self._next_ip % 250 + 1}",
            engine=Engine(model.engine),
            gpus=taken,
            image=container["image"],
            args=tuple(container.get("args", ())),
            started=now,
            ready_at=now + model.engine.load * self.load_factor,
        )
        self._status(self.replicas[uid], now)

    def _end(
        self, uid: str, pod: Obj, replica: Replica | None, now: datetime, until: datetime
    ) -> None:
        """Ready no more at once; gone when its requests are done, or its grace is over."""
        if replica is not None:
            if not replica.ending:
                replica.ready, replica.ending = False, True
                self._status(replica, now)
            idle = not replica.engine.running and not replica.engine.waiting
            if not idle and now < until:
                return
            self._release(replica)
            self.replicas.pop(uid, None)
        meta = pod["metadata"]
        self.store.delete("pods", meta["namespace"], meta["name"])

    def _release(self, replica: Replica) -> None:
        lost = len(replica.engine.running) + len(replica.engine.waiting)
        replica.engine.left += lost
        for gpu in replica.gpus:
            gpu.holder, gpu.dead = None, False

    def _status(
        self,
        replica: Replica,
        now: datetime,
        waiting: str = "",
        last: tuple[str, int] | None = None,
    ) -> None:
        state: Obj = {"running": {"startedAt": stamp(replica.started)}}
        if waiting:
            state = {"waiting": {"reason": waiting, "message": "back-off restarting"}}
        container: Obj = {
            "name": "vllm",
            "image": replica.image,
            "imageID": replica.image,
            "ready": replica.ready,
            "started": not waiting,
            "restartCount": replica.restarts,
            "state": state,
        }
        if last:
            container["lastState"] = {
                "terminated": {"reason": last[0], "exitCode": last[1], "finishedAt": stamp(now)}
            }
        ready = "True" if replica.ready else "False"
        self.store.patch_status(
            "pods",
            replica.namespace,
            replica.name,
            {
                "phase": "Running",
                "podIP": replica.ip,
                "hostIP": "10.0.0.1",
                "startTime": stamp(replica.started),
                "conditions": _conditions(now, ready),
                "containerStatuses": [container],
            },
        )

    def _pull_fails(self, pod: Obj, now: datetime) -> None:
        container = pod["spec"]["containers"][0]
        statuses = pod.get("status", {}).get("containerStatuses") or [{}]
        if statuses[0].get("state", {}).get("waiting"):
            return
        image = container["image"]
        for reason, message in (
            ("Failed", f'Failed to pull image "{image}": {image}: not found: manifest unknown'),
            ("Failed", "Error: ErrImagePull"),
            ("BackOff", f'Back-off pulling image "{image}"'),
            ("Failed", "Error: ImagePullBackOff"),
        ):
            tell(self.store, pod, reason, message, "kubelet", now, "Warning")
        self.store.patch_status(
            "pods",
            pod["metadata"]["namespace"],
            pod["metadata"]["name"],
            {
                "phase": "Pending",
                "conditions": _conditions(now, "False"),
                "containerStatuses": [
                    {
                        "name": container["name"],
                        "image": container["image"],
                        "imageID": "",
                        "ready": False,
                        "restartCount": 0,
                        "state": {
                            "waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}
                        },
                    }
                ],
            },
        )

    def _beat(self, now: datetime) -> None:
        self._beat_at = now
        for index in range(self.scenario.cluster.nodes):
            name = node_name(index)
            silent = name in self.silent
            status = "Unknown" if silent else "True"
            present = sum(g.present for g in self.gpus if g.node == name)
            present = 0 if name in self.unplugged else present
            node = self.store.get("nodes", "", name)
            if node is None:
                continue
            old = {c["type"]: c for c in node.get("status", {}).get("conditions", [])}
            since = old.get("Ready", {}).get("lastTransitionTime", stamp(now))
            if old.get("Ready", {}).get("status") != status:
                since = stamp(now)
            beat = old.get("Ready", {}).get("lastHeartbeatTime") if silent else stamp(now)
            conditions = [
                {
                    "type": "Ready",
                    "status": status,
                    "reason": "NodeStatusUnknown" if silent else "KubeletReady",
                    "lastHeartbeatTime": beat,
                    "lastTransitionTime": since,
                },
                *(
                    {
                        "type": kind,
                        "status": "Unknown" if silent else "False",
                        "lastHeartbeatTime": beat,
                        "lastTransitionTime": since,
                    }
                    for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
                ),
            ]
            allocatable = {**node["status"]["allocatable"], GPU: str(present)}
            self.store.patch_status(
                "nodes", "", name, {"conditions": conditions, "allocatable": allocatable}
            )


def _conditions(now: datetime, ready: str) -> list[Obj]:
    at = stamp(now)
    return [
        {"type": kind, "status": status, "lastTransitionTime": at}
        for kind, status in (
            ("PodScheduled", "True"),
            ("Initialized", "True"),
            ("ContainersReady", ready),
            ("Ready", ready),
        )
    ]
