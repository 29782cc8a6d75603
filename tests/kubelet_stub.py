"""A kubelet's pod-resources socket (v1), as a real gRPC server, and the messages it sends."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from exporters.pods import Holder

Reply = Callable[[bytes, grpc.ServicerContext], bytes]


def field(number: int, value: bytes | str) -> bytes:
    """A length-delimited protobuf field."""
    body = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def device(resource: str, *ids: str) -> bytes:
    topology = field(3, field(1, b"\x08\x01"))
    return field(2, field(1, resource) + b"".join(field(2, i) for i in ids) + topology)


def claim(device_name: str) -> bytes:
    resource = field(2, "gpu.nvidia.com") + field(3, "node-1") + field(4, device_name)
    return field(5, field(2, "claim") + field(3, "serving") + field(4, resource))


def pod(holder: Holder, *parts: bytes) -> bytes:
    container = field(1, holder.container) + b"\x18\x05" + b"".join(parts)
    return field(1, field(1, holder.pod) + field(2, holder.namespace) + field(3, container))


@contextmanager
def kubelet(listed: bytes | Reply, allocatable: bytes | Reply | None = None) -> Iterator[Path]:
    """A socket that answers so; without `allocatable` that call is not implemented."""
    replies = {"List": listed, "GetAllocatableResources": allocatable}

    class Service(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            package, _, method = details.method.rpartition("/")
            reply = replies.get(method) if package == "/v1.PodResourcesLister" else None
            if reply is None:
                return None
            answer = reply if callable(reply) else (lambda _request, _context: reply)
            return grpc.unary_unary_rpc_method_handler(answer)

    # A unix socket's path may be 107 bytes long, which pytest's folders are not.
    with tempfile.TemporaryDirectory(prefix="kubelet-") as folder, ThreadPoolExecutor(2) as pool:
        socket = Path(folder) / "kubelet.sock"
        server = grpc.server(pool, handlers=[Service()])
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        try:
            yield socket
        finally:
            server.stop(None).wait(5)
