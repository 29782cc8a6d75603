"""Prometheus' text format 0.0.4, written plainly.

prometheus_client appends `_total` to the type line of every counter, and dcgm-exporter's counters
have none: existing dashboards need the names as they are. The plain format also keeps clear of the
OpenMetrics escaping that renames metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Family:
    """One metric while a page is being put together."""

    name: str
    type: str
    help: str
    samples: list[tuple[Mapping[str, str], float]] = field(default_factory=list)

    def add(self, value: float, labels: Mapping[str, str]) -> None:
        self.samples.append((labels, value))


def render(families: Iterable[Family]) -> str:
    """One page; families without samples are left out: absent is absent."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines.append(f"# HELP {family.name} {_escape_help(family.help)}")
            lines.append(f"# TYPE {family.name} {family.type}")
            lines += [f"{family.name}{_labels(ls)} {_number(v)}" for ls, v in family.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    inner = ",".join([_pair(name, value) for name, value in labels.items()])
    return f"{{{inner}}}" if inner else ""


@lru_cache(maxsize=512)
def _pair(name: str, value: str) -> str:
    """Most series of a page have most labels in common, page after page."""
    return f'{name}="{_escape(value)}"'


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _escape_help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
