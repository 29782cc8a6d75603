"""What to watch: a named query with the meaning a number alone does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from healer.model.target import Kind


class Worse(StrEnum):
    UP = "up"
    DOWN = "down"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class EventRule:
    """Turns a signal's edges into events: each rise of a row is one event of `kind`.

    `attribute` names the label (or, as `value`, the sample itself) that says which.
    """

    kind: str
    attribute: str
    when: str = "increase"
    """`increase` of a counter, or `change` of a gauge to a non-zero value."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One concept (`ttft_p95`) as one source (`vllm`) exposes it.

    Several engines may declare a signal of the same name; unit, scope and
    direction must then agree, and their rows land in one frame.
    """

    name: str
    source: str
    """The serving engine or exporter: the name of the file that declares it."""

    query: str
    """PromQL. Its result labels must identify a target of `scope`."""

    unit: str
    """Prometheus base units: s, bytes, ratio, tokens/s, requests, celsius, watts, …"""

    scope: Kind
    worse: Worse
    matters: float
    """The smallest change, in `unit`, that an operator would care about."""

    title: str = ""
    title_zh: str = ""
    metrics: tuple[str, ...] = ()
    """Metric names the query reads, any of which present makes it worth sending."""

    detect: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Detector name → its options for this signal. Empty: evidence only."""

    event: EventRule | None = None
    keep: tuple[str, ...] = ()
    """Labels beyond the target's own that tell rows of one target apart."""

    @property
    def silent_when_idle(self) -> bool:
        """Whether it has no value while nothing is asked for: a quantile of nothing, or a share
        of nothing that its query leaves out."""
        return "histogram_quantile(" in self.query or "> 0)" in self.query
