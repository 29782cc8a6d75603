"""An exporter's page: `page["name"]` is a list of (labels, value).

Read here, for prometheus_client's parser appends `_total` to counters that have none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from exporters.collector import Exposition
from exporters.exposition import render
from exporters.pods import Allotted, Holder
from exporters.table import load_table
from exporters.watch import Watch

_LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(?P<name>\w+)="(?P<value>(?:[^"\\]|\\.)*)"')

Samples = list[tuple[dict[str, str], float]]


@dataclass(frozen=True)
class Page:
    text: str
    samples: dict[str, Samples]

    def __getitem__(self, name: str) -> Samples:
        return self.samples.get(name, [])

    def __contains__(self, name: str) -> bool:
        return name in self.samples

    def value(self, name: str, **labels: str) -> float:
        """The only sample with these labels."""
        found = [v for ls, v in self[name] if labels.items() <= ls.items()]
        assert len(found) == 1, f"{name}{labels}: {found} of {self[name]}"
        return found[0]


def read(text: str) -> Page:
    """A line that is none, and a series told twice, are refused as Prometheus refuses them."""
    samples: dict[str, Samples] = {}
    series = set()
    for line in text.splitlines():
        if not line.startswith("#"):
            found = _LINE.fullmatch(line)
            assert found is not None, line
            labels = {m["name"]: _plain(m["value"]) for m in _LABEL.finditer(found["labels"] or "")}
            key = (found["name"], frozenset(labels.items()))
            assert key not in series, f"twice: {line}"
            series.add(key)
            samples.setdefault(found["name"], []).append((labels, float(found["value"])))
    return Page(text, samples)


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)


def page_of(
    watch: Watch,
    *,
    holders: dict[str, tuple[Holder, ...]] | None = None,
    allocatable: frozenset[str] = frozenset(),
    uids: dict[int, str] | None = None,
    commands: dict[int, str] | None = None,
    on_bus: frozenset[str] = frozenset(),
    extras_only: bool = False,
    table: Path | None = None,
) -> Page:
    """What a scrape gets from a watch that has swept."""
    known = Allotted(holders or {}, allocatable), True
    exposition = Exposition(
        rows=load_table(table) if table else load_table(),
        seen=watch.seen,
        allotted=lambda: known,
        hostname="gpu-node-1",
        extras_only=extras_only,
        uid_of=lambda pid: (uids or {}).get(pid, ""),
        command_of=lambda pid: (commands or {}).get(pid, ""),
        on_bus=lambda: on_bus,
    )
    return read(render(exposition.collect()))
