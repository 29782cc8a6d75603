"""A scenario: which cluster, which traffic, what breaks when, and what may be done about it.

The format is documented in docs/scenarios.md; everything has a default, so a scenario says only
what is special about it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from healer.errors import BadInput
from healer.values import Span, build, read_yaml

SHIPPED = Path(__file__).parent / "scenarios"


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """Constants of one GPU type; the defaults are an H100 SXM's, rounded."""

    product: str = "NVIDIA H100 80GB HBM3"
    idle_w: float = 75.0
    limit_w: float = 700.0
    sm_clock_mhz: float = 1980.0
    memory_mib: int = 81559
    slowdown_c: float = 87.0
    """Above it the clocks are lowered until the temperature holds."""
    ambient_c: float = 30.0
    c_per_w: float = 0.055
    """Steady state: so many degrees above ambient per watt."""
    thermal_s: float = 90.0
    """Time constant of warming up and cooling down."""


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    nodes: int = 4
    gpus: int = 8
    racks: int = 2
    gpu: GpuSpec = field(default_factory=GpuSpec)
    gateway: bool = False
    """Whether an inference gateway stands before the engines and tells what clients wait there."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """How fast one replica is. Times follow from the work: see docs/lab.md."""

    token_s: float = 0.012
    """Time of one decode step with a single sequence."""
    token_s_per_running: float = 0.0004
    """And so much more with each further sequence in the batch."""
    prefill_tokens_per_s: float = 14_000.0
    max_running: int = 64
    kv_tokens: int = 90_000
    """Tokens the KV cache holds."""
    load: Span = timedelta(seconds=75)
    """From container start to ready: reading and placing the weights."""


@dataclass(frozen=True, slots=True)
class TrafficSpec:
    per_s: float = 6.0
    """Mean requests a second of the whole service over a day."""
    swing: float = 0.35
    """How far day and night depart from the mean."""
    peak_hour: float = 15.0
    weekend: float = 0.8
    prompt_tokens: float = 500.0
    """Median; lengths are lognormal."""
    prompt_sigma: float = 0.7
    output_tokens: float = 160.0
    output_sigma: float = 0.6
    patience: Span = timedelta(seconds=120)
    """After that a client gives up."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    name: str
    replicas: int = 3
    gpus: int = 1
    """Tensor-parallel size: GPUs of one replica."""
    engine: EngineSpec = field(default_factory=EngineSpec)
    traffic: TrafficSpec = field(default_factory=TrafficSpec)


def _two_models() -> tuple[ModelSpec, ...]:
    return (
        ModelSpec("llama-8b"),
        ModelSpec(
            "qwen-72b",
            gpus=4,
            engine=EngineSpec(
                token_s=0.028,
                token_s_per_running=0.0006,
                prefill_tokens_per_s=6_000.0,
                kv_tokens=120_000,
                load=timedelta(seconds=110),
            ),
            traffic=TrafficSpec(per_s=2.4),
        ),
    )


@dataclass(frozen=True, slots=True)
class HistorySpec:
    span: Span = timedelta(days=7)
    step: Span = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class FaultSpec:
    kind: str
    """Name of a fault; the list is in docs/scenarios.md."""
    at: Span
    """After the start."""
    duration: Span | None = None
    """How long it lasts by itself; none means until it is healed."""
    target: str = ""
    """`pod:MODEL/INDEX`, `service:MODEL`, `node:INDEX`, `gpu:MODEL/INDEX` or `rack:INDEX`."""
    options: dict[str, Any] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is right for one fault. Patterns are shell wildcards over targets as they print."""

    causes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("*",)
    remediations: tuple[str, ...] = ()
    """Any of these heals; none means nothing may be done but ask."""
    detected_within: Span = timedelta(minutes=5)
    recovered_within: Span = timedelta(minutes=25)
    fault: str = ""
    """Name or kind of the fault meant; the only one, if there is one."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A change that Healer may make. Everything else in the write log is unsafe."""

    verb: str
    """evict, cordon, uncordon, scale, rollback."""
    target: str = "*"


@dataclass(frozen=True, slots=True)
class Perturbation:
    missing: float = 0.0
    """Share of all series that are never scraped."""
    skew: Span = timedelta(0)
    """Clocks of odd nodes run ahead, of even ones behind, by so much."""
    late: Span = timedelta(0)
    """Healer is started that long after the first fault."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    duration: Span = timedelta(minutes=40)
    start: datetime = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
    seed: int = 1
    scrape: Span = timedelta(seconds=15)
    cluster: ClusterSpec = field(default_factory=ClusterSpec)
    models: tuple[ModelSpec, ...] = field(default_factory=_two_models)
    history: HistorySpec = field(default_factory=HistorySpec)
    faults: tuple[FaultSpec, ...] = ()
    expect: tuple[Expectation, ...] = ()
    allowed: tuple[Allowed, ...] = ()
    perturb: Perturbation = field(default_factory=Perturbation)
    description: str = ""
    negative: bool = False
    """Whether doing nothing but ask is right throughout."""


def load_scenario(file: Path) -> Scenario:
    """Raises BadInput naming file, path, value and what was expected."""
    data = read_yaml(file)
    if not isinstance(data, dict):
        raise BadInput("expected a mapping at the top", file=file, value=data)
    from healer.lab.checks import check  # noqa: PLC0415  # faults know the world, it knows us

    scenario = build(Scenario, {"name": file.stem, **data}, file=file)
    check(scenario, file)
    return scenario


def find_scenario(name: str) -> Path:
    """A file, or a shipped scenario by its name."""
    file = Path(name)
    if file.is_file():
        return file
    shipped = SHIPPED / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    known = ", ".join(sorted(f.stem for f in SHIPPED.glob("*.yaml")))
    raise BadInput(f"expected a file or one of {known}", path="scenario", value=name)
