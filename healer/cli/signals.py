"""`healer signals`: what is watched, and whether a cluster's Prometheus has it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from healer.adapters.prometheus import PrometheusMetrics
from healer.adapters.signal_catalogue import load_signals
from healer.adapters.signal_lint import lint
from healer.cli.common import ConfigOption, Form, FormOption, settings_of, show
from healer.errors import HealerError
from healer.model.signal import Signal
from healer.model.topology import Topology
from healer.ports import Metrics
from healer.stages.locate import Places
from healer.stages.observe import plan_queries, to_frame

signals = typer.Typer(no_args_is_help=True, help="Signals: list them, check your own.")

FoldersArgument = Annotated[
    list[Path] | None, typer.Argument(help="Folders of your own, with `signals/`.")
]
SourceOption = Annotated[
    list[str] | None, typer.Option("--source", "-s", help="Only of these engines and exporters.")
]
LIST = ("source", "name", "scope", "unit", "worse", "matters", "detect")
CHECK = ("source", "name", "has", "rows", "detail")


@signals.command("list")
def list_signals(
    folders: FoldersArgument = None,
    source: SourceOption = None,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Signals × sources, as a Markdown table.")
    ] = False,
    config: ConfigOption = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Every signal that is watched: shipped ones, the settings' folders and those given."""
    found = _loaded(config, folders, source)
    if matrix:
        sys.stdout.write(as_matrix(found))
        return
    show([_row(signal) for signal in found], LIST, output)


@signals.command("check")
def check_signals(
    folders: FoldersArgument = None,
    prometheus: Annotated[
        str, typer.Option("--prometheus", "-p", help="URL; also ask which signals have data.")
    ] = "",
    source: SourceOption = None,
    config: ConfigOption = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Say what can never work; with a Prometheus, also what has data there and what has not.

    Exit status 1 when anything is wrong. A signal without data is not wrong: nobody runs every
    engine.
    """
    found = _loaded(config, folders, source)
    complaints = list(lint(found, settings_of(config).loop.step))
    for line in complaints:
        sys.stderr.write(line + "\n")
    if prometheus:
        settings = dataclasses.replace(settings_of(config).prometheus, url=prometheus)
        show(asked(found, PrometheusMetrics(settings)), CHECK, output)
    sys.stderr.write(f"{len(found)} signals, {len(complaints)} complaints\n")
    if complaints:
        raise typer.Exit(1)


def asked(found: Sequence[Signal], metrics: Metrics) -> list[dict[str, Any]]:
    """A row a signal: whether it has `data`, only a `name`, or `nothing` there, and why.

    Without a cluster beside it an instance stands for its pod, and a host for its node.
    """
    names = metrics.names()
    planned = {id(signal) for signal in plan_queries(found, names)}
    places = Places.of(Topology(), alone=True)
    return [
        {
            "source": signal.source,
            "name": signal.name,
            **(
                _answer(signal, metrics, places)
                if id(signal) in planned
                else {"has": "nothing", "rows": 0, "detail": _lacking(signal)}
            ),
        }
        for signal in found
    ]


def _answer(signal: Signal, metrics: Metrics, places: Places) -> Mapping[str, Any]:
    try:
        matrix = metrics.instant(signal.query)
    except HealerError as error:
        return {"has": "error", "rows": 0, "detail": str(error)}
    frame = to_frame(signal, matrix, places)
    with_data = int(np.isfinite(frame.values).any(axis=1).sum())
    if with_data:
        return {"has": "data", "rows": with_data, "detail": ""}
    if len(matrix.labels) and not len(frame):
        labels = ", ".join(sorted(matrix.labels[0])) or "none"
        detail = f"no row names a {signal.scope}; labels of the first: {labels}"
    elif len(matrix.labels):
        detail = "rows without a value now"
    else:
        detail = "its metrics exist, the query gives no row now"
    return {"has": "name", "rows": 0, "detail": detail}


def _lacking(signal: Signal) -> str:
    more = f" and {len(signal.metrics) - 1} more" if len(signal.metrics) > 1 else ""
    return f"no metric {signal.metrics[0]}{more}: not asked"


def _loaded(
    config: Path | None, folders: Sequence[Path] | None, source: Sequence[str] | None
) -> list[Signal]:
    settings = settings_of(config)
    mine = (*settings.rules.folders, *(folders or ()))
    found = load_signals(mine, settings.rules.disabled, settings.detectors.packages)
    return [signal for signal in found if not source or signal.source in source]


def _row(signal: Signal) -> dict[str, Any]:
    return {
        "source": signal.source,
        "name": signal.name,
        "scope": str(signal.scope),
        "unit": signal.unit,
        "worse": str(signal.worse),
        "matters": signal.matters,
        "detect": ", ".join(signal.detect),
        "title": signal.title,
        "title_zh": signal.title_zh,
        "metrics": list(signal.metrics),
        "query": signal.query,
    }


def as_matrix(found: Sequence[Signal]) -> str:
    """Markdown: a row a signal name with unit, scope and detectors, and who provides it."""
    by_name: dict[str, list[Signal]] = {}
    for signal in found:
        by_name.setdefault(signal.name, []).append(signal)
    lines = ["| signal | unit | scope | worse | detectors | sources |", "|---|---|---|---|---|---|"]
    for name, alike in by_name.items():
        first = alike[0]
        detectors = ", ".join(dict.fromkeys(d for each in alike for d in each.detect)) or "–"
        sources = ", ".join(each.source for each in alike)
        lines.append(
            f"| `{name}` | {first.unit} | {first.scope} | {first.worse} | {detectors} | {sources} |"
        )
    return "\n".join(lines) + "\n"
