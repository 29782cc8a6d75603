"""The metric table: which metric is read by which reader, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exporters.readers import READERS
from healer.errors import BadInput
from healer.values import build, read_yaml

SHIPPED = Path(__file__).parent / "metrics.yaml"


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    type: str
    help: str
    read: str
    """Name of a reader."""
    extra: bool = False
    """Not shown by dcgm-exporter."""


def load_table(file: Path = SHIPPED) -> tuple[Row, ...]:
    """Raises BadInput naming file, row, value and what was expected."""
    data = read_yaml(file)
    if not isinstance(data, list):
        raise BadInput("expected a list of rows", file=file, value=data)
    rows: list[Row] = []
    for at, item in enumerate(data):
        path = f"[{at}]"
        if not isinstance(item, dict):
            raise BadInput("expected a mapping", file=file, path=path, value=item)
        row = build(Row, item, path=path, file=file)
        if row.type not in ("gauge", "counter"):
            raise BadInput(
                "expected gauge or counter", file=file, path=f"{path}.type", value=row.type
            )
        if row.read not in READERS:
            raise BadInput(
                f"expected one of {', '.join(sorted(READERS))}",
                file=file,
                path=f"{path}.read",
                value=row.read,
            )
        if any(row.name == other.name for other in rows):
            raise BadInput(
                "expected each metric once", file=file, path=f"{path}.name", value=row.name
            )
        rows.append(row)
    return tuple(rows)
