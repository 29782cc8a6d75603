"""GPU → pod, from the kubelet's pod-resources socket (v1, stable since Kubernetes 1.21).

Devices are matched by their own id, whatever the resource is called: a cluster may rename it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from exporters.protobuf import messages, text
from healer.errors import Temporary

SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
_SERVICE = "/v1.PodResourcesLister/"
_UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
_WHOLE = re.compile(r"GPU-.+|nvidia\d+")
_OPTIONS = (
    # A strict server refuses the percent-encoded path that would be the authority otherwise.
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    # 4 MiB by default, which the pods of a large node with their devices pass.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    namespace: str
    pod: str
    container: str
    pod_uid: str = ""
    """The kubelet does not say; see `exporters.cgroups`."""

    @property
    def labels(self) -> dict[str, str]:
        own = {"namespace": self.namespace, "pod": self.pod, "container": self.container}
        if self.pod_uid:
            own["pod_uid"] = self.pod_uid
        return {name: value for name, value in own.items() if value}


@dataclass(frozen=True, slots=True)
class Allotted:
    """What the kubelet has given to whom."""

    holders: Mapping[str, tuple[Holder, ...]] = field(default_factory=dict)
    """By device id: several where a GPU is shared in turns."""
    allocatable: frozenset[str] = frozenset()
    """Ids of whole GPUs that may be given; empty where the kubelet does not say."""


def ask_kubelet(socket: Path = SOCKET, timeout_s: float = 5.0) -> Allotted:
    """Raises Temporary when the kubelet does not answer, or not properly."""
    try:
        socket.stat()
    except OSError as error:
        raise Temporary(f"pod-resources: no socket at {socket}: {error.strerror}") from error
    with grpc.insecure_channel(f"unix:{socket.absolute()}", options=_OPTIONS) as channel:
        try:
            holders = parse_list(_call(channel, "List", timeout_s))
            return Allotted(holders, _allocatable(channel, timeout_s))
        except grpc.RpcError as error:
            raise Temporary(f"pod-resources: {error.code().name}: {error.details()}") from error
        except ValueError as error:
            raise Temporary(f"pod-resources: {error}") from error


def _call(channel: grpc.Channel, method: str, timeout_s: float) -> bytes:
    reply: bytes = channel.unary_unary(_SERVICE + method)(b"", timeout=timeout_s)
    return reply


def _allocatable(channel: grpc.Channel, timeout_s: float) -> frozenset[str]:
    try:
        return parse_allocatable(_call(channel, "GetAllocatableResources", timeout_s))
    except grpc.RpcError as error:
        if error.code() is _UNIMPLEMENTED:  # a kubelet before 1.28 with the gate off
            return frozenset()
        raise


def parse_list(reply: bytes) -> dict[str, tuple[Holder, ...]]:
    """ListPodResourcesResponse: pod_resources=1 {name=1 namespace=2 containers=3 {name=1
    devices=2 {device_ids=2} dynamic_resources=5 {claim_resources=4 {device_name=4}}}}.

    Raises ValueError on what is no such message.
    """
    found: dict[str, set[Holder]] = {}
    for pod in messages(reply, 1):
        namespace, name = text(pod, 2), text(pod, 1)
        for container in messages(pod, 3):
            holder = Holder(namespace, name, text(container, 1))
            ids = [_plain(i) for device in messages(container, 2) for i in messages(device, 2)]
            for claim in messages(container, 5):
                ids += [text(resource, 4) for resource in messages(claim, 4)]
            for identity in ids:
                found.setdefault(identity, set()).add(holder)
    return {identity: tuple(sorted(holders)) for identity, holders in found.items()}


def parse_allocatable(reply: bytes) -> frozenset[str]:
    """AllocatableResourcesResponse: devices=1 {device_ids=2}. Raises ValueError."""
    ids = (_plain(i) for device in messages(reply, 1) for i in messages(device, 2))
    return frozenset(identity for identity in ids if _WHOLE.fullmatch(identity))


def _plain(identity: bytes) -> str:
    """Sharing in turns appends `::N` to the id of the device, or `/vgpuN` on Google's nodes."""
    return identity.decode().split("::")[0].split("/vgpu")[0]
