"""The tables of docs/exporter.md, made from the metric table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from exporters.collector import LAST_XID
from exporters.rows import DCGM_ONLY, Row
from exporters.table import load_table
from healer.errors import BadInput
from healer.values import build, read_yaml

DEFAULTS = Path(__file__).parent / "dcgm_defaults.yaml"


@dataclass(frozen=True, slots=True)
class Default:
    """A metric that dcgm-exporter shows as it is shipped."""

    name: str
    type: str


def defaults() -> tuple[Default, ...]:
    """Raises BadInput."""
    rows = read_yaml(DEFAULTS)
    return tuple(build(Default, row, path=f"[{at}]", file=DEFAULTS) for at, row in enumerate(rows))


def same_table() -> str:
    """dcgm-exporter's default counters and how each is met."""
    own = {row.name: row for row in load_table()}
    lines = ["| Metric | Type | Here |", "|---|---|---|"]
    lines += [f"| `{each.name}` | {each.type} | {_met(each, own)} |" for each in defaults()]
    return "\n".join(lines)


def extra_table() -> str:
    """What is shown beyond them."""
    lines = ["| Metric | Type | Meaning |", "|---|---|---|"]
    lines += [f"| `{row.name}` | {row.type} | {row.help} |" for row in load_table() if row.extra]
    return "\n".join(lines)


def dcgm_table() -> str:
    """What comes from DCGM alone and is not among its default counters."""
    usual = {each.name for each in defaults()}
    lines = ["| Metric | Type | Meaning |", "|---|---|---|"]
    lines += [
        f"| `{row.name}` | {row.type} | {row.help} |"
        for row in load_table()
        if row.read in DCGM_ONLY and row.name not in usual
    ]
    return "\n".join(lines)


def rewrite(text: str) -> str:
    """The document with fresh tables. Raises BadInput where a mark is missing."""
    tables = {"same": same_table(), "extra": extra_table(), "dcgm": dcgm_table()}
    for name, table in tables.items():
        mark = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not mark.search(text):
            raise BadInput(f"expected a line <!-- table: {name} --> and one <!-- end -->")
        text = mark.sub(lambda m, made=table: f"{m[1]}{made}\n{m[2]}", text)  # type: ignore[misc]
    return text


def _met(default: Default, own: dict[str, Row]) -> str:
    row = own.get(default.name)
    if default.name == LAST_XID:
        return "same (`err_msg` is left out)"
    if row is None or row.type != default.type:
        return "missing"
    if row.read in DCGM_ONLY:
        return "same, with `--dcgm`: NVML cannot read it"
    return "same"
