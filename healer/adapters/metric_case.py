"""Reads a localisation case: `metrics.csv[.gz]`, `case.json` and its call graph."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from healer.errors import BadInput
from healer.stages.shift import MetricCase


def read_case(folder: Path) -> MetricCase:
    """The case in `folder`. Raises BadInput naming file, line and what was expected.

    metrics.csv: header `time,<service>_<metric>,…`, seconds since the epoch, blank = no sample.
    case.json: `inject_time`, `slo` {entity, metric}, `topology` (a path, optional).
    """
    file = folder / "case.json"
    told = _json(file)
    when = told.get("inject_time")
    if not isinstance(when, int | float) or isinstance(when, bool):
        raise BadInput("seconds since the epoch", file=file, path="inject_time", value=when)
    times, columns, values = _metrics(folder)
    services = {service for service, _ in columns}
    return MetricCase(
        times, columns, values, float(when), _slo(told, file), _calls(folder, told, services)
    )


def _metrics(
    folder: Path,
) -> tuple[np.ndarray[Any, Any], tuple[tuple[str, str], ...], np.ndarray[Any, Any]]:
    plain, packed = folder / "metrics.csv", folder / "metrics.csv.gz"
    file = packed if packed.is_file() else plain
    if not file.is_file():
        raise BadInput("metrics.csv or metrics.csv.gz", file=folder)
    try:
        text = gzip.decompress(file.read_bytes()) if file is packed else file.read_bytes()
        rows = list(csv.reader(text.decode("utf-8-sig").splitlines()))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"a readable CSV table ({error})", file=file) from error
    if not rows or rows[0][:1] != ["time"]:
        raise BadInput("a header `time,<service>_<metric>,…`", file=file, line=1)
    header = rows[0]
    columns = tuple(_column(name, file) for name in header[1:])
    found = np.full((len(rows) - 1, len(header)), np.nan)
    for at, row in enumerate(rows[1:]):
        if len(row) != len(header):
            raise BadInput(f"{len(header)} fields, found {len(row)}", file=file, line=at + 2)
        for i, cell in enumerate(row):
            found[at, i] = _number(cell, file, at + 2, header[i])
    if not len(found) or np.isnan(found[:, 0]).any():
        raise BadInput("a time in every row", file=file)
    order = np.argsort(found[:, 0], kind="stable")
    return found[order, 0], columns, found[order, 1:]


def _column(name: str, file: Path) -> tuple[str, str]:
    """A column without `_` is a service of which one thing is measured."""
    service, _, metric = name.rpartition("_")
    if not name.strip() or ("_" in name and not (service and metric)):
        raise BadInput("a column `<service>_<metric>`", file=file, line=1, value=name)
    return (service, metric) if service else (name, "")


def _number(cell: str, file: Path, line: int, column: str) -> float:
    if not cell.strip():
        return math.nan
    try:
        value = float(cell)
    except ValueError as error:
        raise BadInput("a number", file=file, line=line, path=column, value=cell) from error
    return value if math.isfinite(value) else math.nan


def _json(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"a readable file ({error.strerror})", file=file) from error
    except ValueError as error:
        raise BadInput(f"JSON ({error})", file=file) from error
    if not isinstance(found, Mapping):
        raise BadInput("a JSON object", file=file)
    return found


def _slo(told: Mapping[str, Any], file: Path) -> tuple[str, str] | None:
    slo = told.get("slo")
    if slo is None:
        return None
    if not isinstance(slo, Mapping) or not isinstance(slo.get("entity"), str):
        raise BadInput("{entity, metric}", file=file, path="slo", value=slo)
    return str(slo["entity"]), str(slo.get("metric", ""))


def _calls(
    folder: Path, told: Mapping[str, Any], services: set[str]
) -> tuple[tuple[str, str], ...]:
    """Caller → callee. A case without a call graph is one with unknown calls."""
    file = folder / str(told.get("topology") or "../topology.json")
    if not file.is_file():
        return ()
    edges = _json(file).get("edges")
    if not isinstance(edges, list):
        raise BadInput("a list of [caller, callee]", file=file, path="edges", value=edges)
    found = []
    for at, edge in enumerate(edges):
        if not isinstance(edge, list) or len(edge) != 2:
            raise BadInput("[caller, callee]", file=file, path=f"edges[{at}]", value=edge)
        found.append((_service(str(edge[0]), services), _service(str(edge[1]), services)))
    return tuple(found)


def _service(name: str, services: set[str]) -> str:
    return name if name in services or "_" not in name else _known(name, services)


def _known(name: str, services: set[str]) -> str:
    """Graphs sometimes name `service_metric` nodes."""
    service = name.rpartition("_")[0]
    return service if service in services else name
