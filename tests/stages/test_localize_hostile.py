"""Tables as other people keep them: other names, units, steps, gaps, and days without a fault."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

from healer.stages.localize import Localized, localize
from healer.stages.shift import MetricCase

CALLS = (("web-ui", "cart_api"), ("cart_api", "redis"), ("web-ui", "user-svc"), ("cart_api", "mq"))
SERVICES = ("web-ui", "cart_api", "redis", "user-svc", "mq")
NAMES = {
    "plain": {"cpu": "cpu", "mem": "mem", "lat": "latency", "req": "workload", "err": "error"},
    "prometheus": {
        "cpu": "container-cpu-usage-seconds-total",
        "mem": "container-memory-working-set-bytes",
        "lat": "istio-latency-95",
        "req": "istio-request-total",
        "err": "istio-error-total",
    },
    "cloud": {
        "cpu": "CPUUtilization",
        "mem": "MemoryUtilization",
        "lat": "Duration_p90".replace("_", "-"),
        "req": "RequestCount",
        "err": "Faults5xx",
    },
}
LEVELS = {"cpu": 0.2, "mem": 3e8, "lat": 0.05, "req": 40.0, "err": 0.0}


def table(
    fault: dict[tuple[str, str], float],
    *,
    names: str = "plain",
    step: float = 5.0,
    told_off: float = 0.0,
    seed: int = 0,
    calls: tuple[tuple[str, str], ...] = CALLS,
    minutes: float = 20.0,
    growth: float = 1.0,
    noise: float = 0.05,
) -> MetricCase:
    """Ten quiet minutes before, the rest after: what is in `fault` is multiplied, errors added."""
    rng = np.random.default_rng(seed)
    times = np.arange(0.0, 60 * minutes, step) + 1.7e9
    told = times[0] + 600.0
    late = times >= told
    columns, rows = [], []
    for service in SERVICES:
        for kind, name in NAMES[names].items():
            scale = 1 + 3 * rng.random()
            row = np.full(len(times), LEVELS[kind] * scale)
            row = row * (1 + noise * rng.standard_normal(len(times)))
            if kind in ("req", "cpu"):
                row = np.where(late, row * growth, row)
            if kind == "err":
                row = np.where(late, fault.get((service, kind), 0.0), 0.0)
            else:
                row = np.where(late, row * fault.get((service, kind), 1.0), row)
            if name.endswith("seconds-total"):
                row = 1e4 + np.cumsum(row * step)
            columns.append((service, name))
            rows.append(row)
    slo = ("web-ui", NAMES[names]["lat"])
    return MetricCase(times, tuple(columns), np.stack(rows, 1), told + told_off, slo, calls)


CPU = {
    ("redis", "cpu"): 4.0,
    ("redis", "lat"): 6.0,
    ("cart_api", "lat"): 4.0,
    ("web-ui", "lat"): 4.0,
}
MEMORY = {("mq", "mem"): 2.5, ("mq", "lat"): 5.0, ("cart_api", "lat"): 4.0, ("web-ui", "lat"): 4.0}
DELAY = {("user-svc", "lat"): 9.0, ("web-ui", "lat"): 5.0}


def blamed(found: Localized) -> str:
    return found.suspects[0].service if found.confidence >= 0.5 else ""


FAULTS = [(CPU, "redis"), (MEMORY, "mq"), (DELAY, "user-svc")]


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("step", [1.0, 5.0, 15.0, 60.0])
@pytest.mark.parametrize(("fault", "root"), FAULTS, ids=["cpu", "memory", "delay"])
def test_the_root_is_found_whatever_things_are_called_and_however_often_they_are_read(
    names, step, fault, root
):
    assert blamed(localize(table(fault, names=names, step=step))) == root


@pytest.mark.parametrize("told_off", [-60.0, -30.0, 30.0, 60.0])
@pytest.mark.parametrize("step", [1.0, 15.0, 60.0])
@pytest.mark.parametrize(("fault", "root"), FAULTS, ids=["cpu", "memory", "delay"])
def test_told_a_minute_early_or_late_it_blames_the_same(told_off, step, fault, root):
    assert blamed(localize(table(fault, step=step, told_off=told_off))) == root


@pytest.mark.parametrize("minutes", [11.0, 12.0, 15.0])
@pytest.mark.parametrize(("fault", "root"), FAULTS, ids=["cpu", "memory", "delay"])
def test_a_minute_or_two_of_the_fault_are_enough_to_rank_it_first(minutes, fault, root):
    found = localize(table(fault, step=15.0, minutes=minutes))
    assert found.suspects[0].service == root


@pytest.mark.parametrize(("fault", "root"), FAULTS[:2], ids=["cpu", "memory"])
def test_without_a_call_graph_a_resource_of_its_own_still_tells(fault, root):
    assert blamed(localize(table(fault, calls=()))) == root


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("calls", [CALLS, ()], ids=["graph", "none"])
def test_twice_the_traffic_is_no_fault(seed, names, calls):
    assert blamed(localize(table({}, names=names, growth=2.0, seed=seed, calls=calls))) == ""


@pytest.mark.parametrize("seed", range(6))
def test_twice_the_traffic_that_makes_everything_a_little_slower_is_no_ones_fault(seed):
    slower = {(service, "lat"): 1.25 for service in SERVICES}
    assert blamed(localize(table(slower, growth=2.0, seed=seed))) == ""


def test_a_starved_service_is_found_while_traffic_doubles():
    assert blamed(localize(table(CPU, growth=2.0))) == "redis"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("step", [1.0, 60.0])
@pytest.mark.parametrize("names", NAMES)
def test_a_quiet_day_blames_nobody(seed, step, names):
    assert blamed(localize(table({}, names=names, step=step, seed=seed))) == ""


def spoilt(case: MetricCase, how: str) -> MetricCase:
    rng = np.random.default_rng(3)
    values = case.values.copy()
    columns = list(case.columns)
    extra = {
        "constant": np.full(len(values), 7.0),
        "zero": np.zeros(len(values)),
        "nan": np.full(len(values), np.nan),
        "one": np.where(np.arange(len(values)) == 5, 1.0, np.nan),
        "late": np.where(case.times > case.told_at, 3.0, np.nan),
        "huge": 1e300 * (1 + 0.01 * rng.standard_normal(len(values))),
        "tiny": 1e-300 * (1 + 0.01 * rng.standard_normal(len(values))),
        "reset": np.concatenate(
            [np.arange(len(values) // 2), np.arange(len(values) - len(values) // 2)]
        ),
    }
    if how == "gaps":
        values[rng.random(values.shape) < 0.3] = np.nan
        return dataclasses.replace(case, values=values)
    for name, row in extra.items():
        if how in (name, "all"):
            for service in SERVICES:
                columns.append((service, f"{name}-thing"))
                values = np.column_stack([values, row])
    return dataclasses.replace(case, columns=tuple(columns), values=values)


@pytest.mark.parametrize(
    "how", ["gaps", "constant", "zero", "nan", "one", "late", "huge", "tiny", "reset", "all"]
)
@pytest.mark.parametrize(("fault", "root"), [(CPU, "redis"), ({}, "")], ids=["fault", "quiet"])
def test_columns_that_tell_nothing_change_nothing(how, fault, root):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert blamed(localize(spoilt(table(fault), how))) == root


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
@pytest.mark.parametrize("side", ["before", "after"])
def test_hardly_any_sample_on_one_side_is_borne_and_blames_nobody(rows, side):
    case = table(CPU)
    late = case.times >= case.told_at
    keep = np.flatnonzero(~late)[-rows:] if side == "before" else np.flatnonzero(late)[:rows]
    keep = keep if rows else np.empty(0, int)
    keep = np.sort(np.concatenate([np.flatnonzero(late if side == "before" else ~late), keep]))
    found = localize(dataclasses.replace(case, times=case.times[keep], values=case.values[keep]))
    if rows == 0:
        assert found.confidence < 0.5


@pytest.mark.parametrize("off", [-1e6, 1e6])
def test_a_moment_outside_the_table_blames_nobody(off):
    case = table(CPU)
    assert localize(dataclasses.replace(case, told_at=case.told_at + off)).confidence < 0.5


def test_milliseconds_of_one_and_seconds_of_another_are_the_same_time():
    case = table(DELAY)
    values, columns = case.values.copy(), list(case.columns)
    for i, (service, metric) in enumerate(columns):
        if metric == "latency" and service != "web-ui":
            values[:, i] *= 1000
            columns[i] = (service, "latency-ms")
        elif metric == "latency":
            columns[i] = (service, "latency-seconds")
    mixed = dataclasses.replace(
        case, values=values, columns=tuple(columns), slo=("web-ui", "latency-seconds")
    )
    assert blamed(localize(mixed)) == "user-svc"


def test_a_call_graph_of_names_nobody_measures_is_no_call_graph():
    strangers = tuple((f"x-{a}", f"x-{b}") for a, b in CALLS)
    assert blamed(localize(table(CPU, calls=strangers))) == "redis"
