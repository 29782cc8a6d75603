"""`healer detect IN.csv OUT.csv`: the learned detectors over a recorded table.

In: header `timestamp,value[,more columns]`, ISO 8601 times (or numbers since 1970) that never
fall; repeated or missing times and blank values are ordinary. Out: `timestamp,score,is_anomaly`,
the same rows in the same order; what is said of a row depends on it and earlier rows only.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Annotated, Any

import click
import numpy as np
import typer
from numpy.typing import NDArray

from healer.cli._plot import draw
from healer.cli._table import Table, read_table
from healer.errors import BadInput
from healer.plugins import find
from healer.ports import TableDetector

LEVELS = ("warn", "page", "act")
SLOW_SAMPLES = 50_000
"""About three seconds of scoring."""


def detect(
    source: Annotated[Path, typer.Argument(metavar="IN.csv", help="timestamp,value[,more]")],
    target: Annotated[Path, typer.Argument(metavar="OUT.csv", help="timestamp,score,is_anomaly")],
    level: Annotated[str, typer.Option(help="Level that counts as anomaly: warn, page or act.")] = (
        "warn"
    ),
    plot: Annotated[
        Path | None,
        typer.Option(help="Also draw the series with its flags: an .html or .png file."),
    ] = None,
) -> None:
    """Score every row of a table, as if it came in live."""
    if level not in LEVELS:
        raise BadInput(f"one of {', '.join(LEVELS)}", path="--level", value=level)
    if plot is not None and plot.suffix.lower() not in (".html", ".png"):
        raise BadInput("a file that ends in .html or .png", path="--plot", value=str(plot))
    table = read_table(source)
    base: type[Any] = TableDetector
    with _bar(table.values.size) as bar:
        detector: TableDetector = find(("detectors",), "replay", base)(
            told=lambda share: bar.update(max(0, round(1000 * share) - bar.pos))
        )
        scores = detector.score(table.times, table.values)
    flags = detector.flags(scores, level)
    _write(target, table, scores, flags)
    if plot is not None:
        draw(plot, table, scores, flags)


def _bar(samples: int) -> Any:
    """A progress bar of a thousand steps, on a terminal and for tables that take a while."""
    hidden = samples < SLOW_SAMPLES or not sys.stderr.isatty()
    return click.progressbar(
        length=1000, label="scoring", file=io.StringIO() if hidden else sys.stderr
    )


def _write(
    target: Path, table: Table, scores: NDArray[np.float64], flags: NDArray[np.bool_]
) -> None:
    try:
        with target.open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(("timestamp", "score", "is_anomaly"))
            out.writerows(
                (stamp, f"{score:.6g}", int(flag))
                for stamp, score, flag in zip(table.stamps, scores, flags, strict=True)
            )
    except OSError as error:
        raise BadInput(f"a file that can be written ({error.strerror})", file=target) from error
