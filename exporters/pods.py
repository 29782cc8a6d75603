"""GPU → pod, from the kubelet's pod-resources socket (v1, stable since Kubernetes 1.21).

The messages are read by field number with a minimal protobuf reader, so no generated stub has to
follow the kubelet's version. Device ids are GPU or MIG UUIDs; time slicing appends `::N`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from healer.errors import Temporary

SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
RESOURCES = ("nvidia.com/", "amd.com/", "huawei.com/")


@dataclass(frozen=True, slots=True)
class Holder:
    namespace: str
    pod: str
    container: str


def holders(socket: Path = SOCKET, timeout_s: float = 2.0) -> Mapping[str, Holder]:
    """Device id → who holds it. Raises Temporary when the kubelet does not answer properly."""
    if not socket.exists():
        return {}
    options = (("grpc.default_authority", "localhost"),)  # the path percent-encoded is refused
    with grpc.insecure_channel(f"unix://{socket}", options=options) as channel:
        call = channel.unary_unary("/v1.PodResourcesLister/List")
        try:
            return parse(call(b"", timeout=timeout_s))
        except grpc.RpcError as error:
            raise Temporary(f"kubelet pod-resources: {error.code().name}") from error


def parse(reply: bytes) -> Mapping[str, Holder]:
    """ListPodResourcesResponse: pods=1{name=1 namespace=2 containers=3{name=1 devices=2{
    resource_name=1 device_ids=2}}}. Raises Temporary on anything else."""
    found: dict[str, Holder] = {}
    for pod in _messages(reply, 1):
        name, namespace = _text(pod, 1), _text(pod, 2)
        for container in _messages(pod, 3):
            holder = Holder(namespace, name, _text(container, 1))
            for device in _messages(container, 2):
                if _text(device, 1).startswith(RESOURCES):
                    for identity in _messages(device, 2):
                        found[identity.decode(errors="replace").split("::")[0]] = holder
    return found


def _text(message: bytes, number: int) -> str:
    return next((m.decode(errors="replace") for m in _messages(message, number)), "")


def _messages(message: bytes, number: int) -> Iterator[bytes]:
    """Length-delimited fields of that number."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                size, at = _varint(message, at)
                if at + size > len(message):
                    raise Temporary("kubelet pod-resources: the answer is cut short")
                if key >> 3 == number:
                    yield message[at : at + size]
                at += size
            case 5:
                at += 4
            case wire:
                raise Temporary(f"kubelet pod-resources: wire type {wire} is no protobuf")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
    raise Temporary("kubelet pod-resources: the answer is cut short")
