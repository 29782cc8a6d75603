"""`healer exporter`: GPU metrics for Prometheus, on every GPU node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exporters.pods import SOCKET
from exporters.serve import Exporter, ExporterOptions
from exporters.table import SHIPPED
from healer.cli.common import err


def exporter(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 9401,
    extras_only: Annotated[
        bool, typer.Option("--extras-only", help="Leave out what dcgm-exporter shows already.")
    ] = False,
    table: Annotated[Path, typer.Option(help="Metric table (YAML).")] = SHIPPED,
    pod_resources: Annotated[Path, typer.Option(help="Kubelet's pod-resources socket.")] = SOCKET,
    every: Annotated[float, typer.Option(help="Seconds between two sweeps.")] = 5.0,
    deadline: Annotated[
        float, typer.Option(help="Seconds after which the driver counts as blocked.")
    ] = 10.0,
) -> None:
    """Serve NVML metrics under dcgm-exporter's names, and what it hides."""
    serving = Exporter(
        ExporterOptions(host, port, extras_only, table, pod_resources, every, deadline)
    )
    err().print(f"exporter: {serving.url}/metrics")
    serving.serve_forever()
