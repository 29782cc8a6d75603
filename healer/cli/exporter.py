"""`healer exporter`: GPU metrics for Prometheus, on every GPU node.

It becomes a process of `exporters` alone: the rest of Healer would triple its memory.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from exporters.kernel_log import KMSG
from exporters.pods import SOCKET
from exporters.rows import SHIPPED
from healer.errors import BadInput


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise BadInput("expected NAME=VALUE", path="--push-label", value=text)
    return name, value


def exporter(  # noqa: PLR0917  # typer's options are parameters
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 9401,
    extras_only: Annotated[
        bool, typer.Option("--extras-only", help="Leave out what dcgm-exporter shows already.")
    ] = False,
    table: Annotated[Path, typer.Option(help="Metric table (YAML).")] = SHIPPED,
    pod_resources: Annotated[Path, typer.Option(help="Kubelet's pod-resources socket.")] = SOCKET,
    every: Annotated[float, typer.Option(help="Seconds between two sweeps.", min=0.1)] = 10.0,
    deadline: Annotated[
        float, typer.Option(help="Seconds after which the driver counts as blocked.", min=0.1)
    ] = 10.0,
    kernel_log: Annotated[
        Path, typer.Option(help="Kernel log to read Xids from; unreadable is no error.")
    ] = KMSG,
    no_kernel_log: Annotated[
        bool, typer.Option("--no-kernel-log", help="Take Xids from NVML's events alone.")
    ] = False,
    push: Annotated[
        str, typer.Option(help="Send the page to this remote-write receiver, as well.")
    ] = "",
    push_queue: Annotated[
        Path, typer.Option(help="File that keeps what could not be sent yet.")
    ] = Path("healer-exporter.queue"),
    push_token_file: Annotated[
        Path | None, typer.Option(help="File with the receiver's bearer token.")
    ] = None,
    push_label: Annotated[
        list[str] | None, typer.Option(help="Label of all series sent, NAME=VALUE.")
    ] = None,
    dcgm: Annotated[
        str, typer.Option(help="Ask DCGM's host engine there too, as localhost:5555.")
    ] = "",
    dcgm_bindings: Annotated[
        Path | None, typer.Option(help="Folder of DCGM's Python bindings, if not the usual one.")
    ] = None,
    host_signals: Annotated[
        bool, typer.Option("--host-signals", help="Also the node's CPU, memory, disk, pressure.")
    ] = False,
) -> None:
    """Serve NVML metrics under dcgm-exporter's names, and what it hides."""
    options: dict[str, object] = {
        "host": host,
        "port": port,
        "extras_only": extras_only,
        "table": str(table),
        "pod_resources": str(pod_resources),
        "every_s": every,
        "deadline_s": deadline,
        "kernel_log": None if no_kernel_log else str(kernel_log),
        "host_signals": host_signals,
        "dcgm": dcgm,
        "dcgm_bindings": None if dcgm_bindings is None else str(dcgm_bindings),
    }
    if push:
        options["push"] = {
            "url": push,
            "queue": str(push_queue),
            "token_file": None if push_token_file is None else str(push_token_file),
            "labels": dict(_label(text) for text in push_label or ()),
        }
    arguments = [sys.executable, "-m", "exporters", json.dumps(options)]
    os.execv(sys.executable, arguments)  # noqa: S606  # our own program, no shell
