"""Whether a scenario can be played at all, said before anything is simulated."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from healer.errors import BadInput
from healer.lab.faults import KINDS
from healer.lab.faults.base import Fault
from healer.lab.faults.releases import RankDeath
from healer.lab.scenario import FaultSpec, ModelSpec, Scenario
from healer.values import build

SHORTEST_SCRAPE = timedelta(seconds=5)
"""A step of the world: nothing changes in between."""

VERBS = ("evict", "delete", "cordon", "uncordon", "scale", "rollback", "restart")
SHARES = ("share", "errors", "through", "missing")
"""Options that are a part of a whole."""

_GPU, _POD, _SERVICE = ("gpu",), ("pod",), ("service",)
_PLACE = ("gpu", "node", "rack")
TARGETS: Mapping[str, tuple[str, ...]] = {
    "engine_hang": _POD,
    "traffic_surge": _SERVICE,
    "long_prompts": _SERVICE,
    "bad_revision": _SERVICE,
    "batch_load": _SERVICE,
    "gpu_off_bus": _GPU,
    "ecc_uncontained": _GPU,
    "thermal_throttle": _PLACE,
    "power_brake": _PLACE,
    "xid_benign": _GPU,
    "telemetry_loss": ("node",),
    "node_down": ("node",),
    "bad_image": _SERVICE,
    "admin_drain": ("node",),
    "slow_model_store": (),
    "unrelated_change": _SERVICE,
    "ecc_contained": _GPU,
    "gpu_degrading": _GPU,
    "nvlink_errors": _GPU,
    "gpu_flaky": _GPU,
    "config_change": _SERVICE,
    "crashing_revision": _SERVICE,
    "memory_leak": _SERVICE,
    "rank_death": _POD,
    "driver_change": ("node",),
    "no_capacity": _SERVICE,
    "device_plugin": ("node",),
    "routing_skew": _POD,
    "slow_gateway": _SERVICE,
    "misled_exporter": (),
    "garbage_output": _SERVICE,
}
"""What each kind of fault breaks; the first is meant where no target is given."""

ONE_OF: Mapping[str, tuple[str, ...]] = {"exporter": ("dcgm", "node", "engine")}
"""Options that are words."""

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?")
_FORMS = {
    "pod": "pod:MODEL/INDEX",
    "gpu": "gpu:MODEL/INDEX",
    "service": "service:MODEL",
    "node": "node:INDEX or node:MODEL/INDEX",
    "rack": "rack:INDEX",
}


@dataclass(frozen=True, slots=True)
class _Wrong:
    path: str
    value: object
    told: str


def check(scenario: Scenario, file: Path) -> None:
    """Raises BadInput naming file, path, value and what was expected."""
    for wrong in _all(scenario, file):
        raise BadInput(wrong.told, file=file, path=wrong.path, value=wrong.value)


def _all(scenario: Scenario, file: Path) -> Iterator[_Wrong]:
    if scenario.start.tzinfo is None:
        yield _Wrong("start", str(scenario.start), "expected a time with its zone")
    yield from _world(scenario)
    for at, model in enumerate(scenario.models):
        yield from _model(scenario, model, f"models.{at}")
    names = [fault.name or fault.kind for fault in scenario.faults]
    for at, fault in enumerate(scenario.faults):
        yield from _fault(scenario, fault, f"faults.{at}", file)
        if names.index(names[at]) != at:
            told = "expected names that differ: give one of the two a `name`"
            yield _Wrong(f"faults.{at}", names[at], told)
    for at, expected in enumerate(scenario.expect):
        if expected.fault and expected.fault not in names:
            known = ", ".join(names) or "no fault, as there is none"
            yield _Wrong(f"expect.{at}.fault", expected.fault, f"expected one of {known}")
        if not expected.fault and len(names) > 1:
            told = f"expected one of {', '.join(names)}, as there are several faults"
            yield _Wrong(f"expect.{at}.fault", "", told)
    for at, allowed in enumerate(scenario.allowed):
        if allowed.verb not in VERBS:
            yield _Wrong(f"allowed.{at}.verb", allowed.verb, f"expected one of {', '.join(VERBS)}")


def _world(scenario: Scenario) -> Iterator[_Wrong]:
    cluster, perturb, history = scenario.cluster, scenario.perturb, scenario.history
    for name, count in (("nodes", cluster.nodes), ("gpus", cluster.gpus), ("racks", cluster.racks)):
        if count < 1:
            yield _Wrong(f"cluster.{name}", count, "expected at least 1")
    yield from _positive(cluster.gpu, "cluster.gpu")
    for path, span, least in (
        ("duration", scenario.duration, timedelta(seconds=1)),
        ("scrape", scenario.scrape, SHORTEST_SCRAPE),
        ("history.span", history.span, timedelta(hours=1)),
        ("history.step", history.step, SHORTEST_SCRAPE),
        ("perturb.skew", perturb.skew, timedelta(0)),
        ("perturb.late", perturb.late, timedelta(0)),
    ):
        if span < least:
            yield _Wrong(path, str(span), f"expected at least {least}")
    if not 0.0 <= perturb.missing < 1.0:
        yield _Wrong("perturb.missing", perturb.missing, "expected a share from 0 to below 1")
    if not scenario.models:
        yield _Wrong("models", [], "expected at least one model")
    names = [model.name for model in scenario.models]
    if len(set(names)) != len(names):
        yield _Wrong("models", ", ".join(names), "expected names that differ")
    needed = sum(m.replicas * m.gpus for m in scenario.models)
    have = cluster.nodes * cluster.gpus
    if needed > have:
        yield _Wrong("models", needed, f"expected at most the {have} GPUs of the cluster")


def _model(scenario: Scenario, model: ModelSpec, path: str) -> Iterator[_Wrong]:
    if not _NAME.fullmatch(model.name):
        told = "expected small letters, digits and dashes, as Kubernetes asks of a Service"
        yield _Wrong(f"{path}.name", model.name, told)
    if model.replicas < 1:
        yield _Wrong(f"{path}.replicas", model.replicas, "expected at least 1")
    if not 1 <= model.gpus <= scenario.cluster.gpus:
        told = f"expected from 1 to the {scenario.cluster.gpus} GPUs of a node"
        yield _Wrong(f"{path}.gpus", model.gpus, told)
    yield from _positive(model.engine, f"{path}.engine")
    yield from _positive(model.traffic, f"{path}.traffic", zero=("swing", "peak_hour", "per_s"))
    if not 0.0 <= model.traffic.swing <= 1.0:
        yield _Wrong(f"{path}.traffic.swing", model.traffic.swing, "expected a share from 0 to 1")


def _fault(scenario: Scenario, fault: FaultSpec, path: str, file: Path) -> Iterator[_Wrong]:
    kind = KINDS.get(fault.kind)
    if kind is None:
        yield _Wrong(f"{path}.kind", fault.kind, f"expected one of {', '.join(sorted(KINDS))}")
        return
    if not timedelta(0) <= fault.at < scenario.duration:
        yield _Wrong(f"{path}.at", str(fault.at), "expected a moment within the duration")
    if fault.duration is not None and fault.duration <= timedelta(0):
        yield _Wrong(f"{path}.duration", str(fault.duration), "expected more than nothing")
    given = build(kind, fault.options, path=f"{path}.options", file=file)
    yield from _options(given, f"{path}.options")
    told = target_trouble(scenario, TARGETS[fault.kind], fault.target)
    if told:
        yield _Wrong(f"{path}.target", fault.target, told)
    elif isinstance(given, RankDeath):
        name = fault.target.partition(":")[2].partition("/")[0] or scenario.models[0].name
        ranks = next(m.gpus for m in scenario.models if m.name == name)
        if not -ranks <= given.rank < ranks:
            told = f"expected from {-ranks} to {ranks - 1}, the ranks of {name}"
            yield _Wrong(f"{path}.options.rank", given.rank, told)


def _options(given: Fault, path: str) -> Iterator[_Wrong]:
    for name in (field.name for field in dataclasses.fields(given)):  # type: ignore[arg-type]
        value = getattr(given, name)
        if name in SHARES and not 0.0 <= value <= 1.0:
            yield _Wrong(f"{path}.{name}", value, "expected a share from 0 to 1")
        elif name in ONE_OF and value not in ONE_OF[name]:
            told = f"expected one of {', '.join(ONE_OF[name])}"
            yield _Wrong(f"{path}.{name}", value, told)
        elif isinstance(value, float) and name not in SHARES and not 0 < value < math.inf:
            yield _Wrong(f"{path}.{name}", value, "expected a number above 0")


def target_trouble(scenario: Scenario, forms: Sequence[str], target: str) -> str:
    """What is wrong with a fault's target; empty for nothing. forms: keys of `_FORMS`."""
    models = {model.name: model for model in scenario.models}
    if not target:
        return ""
    expected = " or ".join(_FORMS[form] for form in forms) or "no target"
    kind, colon, text = target.partition(":")
    if not colon or kind not in forms:
        return f"expected {expected}"
    model, slash, index = text.partition("/")
    if kind == "service":
        return "" if text in models else f"expected one of {', '.join(models)} after service:"
    if kind in ("node", "rack") and not slash:
        nodes = scenario.cluster.nodes
        count = nodes if kind == "node" else min(scenario.cluster.racks, nodes)
        right = text.isdigit() and int(text) < count
        return "" if right else f"expected {kind}:0 to {kind}:{count - 1}"
    if kind == "rack" or model not in models:
        return f"expected {expected}, MODEL one of {', '.join(models)}"
    if slash and not (index.isdigit() and int(index) < models[model].replicas):
        return f"expected INDEX from 0 to {models[model].replicas - 1}, the replicas of {model}"
    return ""


def _positive(spec: Any, path: str, zero: Sequence[str] = ()) -> Iterator[_Wrong]:
    """Every number and span of a spec; names in `zero` may be 0."""
    for name in spec.__dataclass_fields__:
        value = getattr(spec, name)
        number = value.total_seconds() if isinstance(value, timedelta) else value
        if isinstance(number, int | float) and not (
            0 < number < math.inf or (number == 0 and name in zero)
        ):
            told = "expected a number from 0 on" if name in zero else "expected more than 0"
            yield _Wrong(f"{path}.{name}", str(value), told)
