"""Who is to blame, on worlds made up here and on a real application's recorded faults."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from healer.adapters.metric_case import read_case
from healer.errors import BadInput
from healer.stages.localize import Localized, localize
from healer.stages.shift import MetricCase, family_of

CALLS = (("front", "orders"), ("orders", "carts"), ("orders", "db"), ("front", "users"))
SERVICES = ("front", "orders", "carts", "db", "users")
USUAL = {"cpu": 20.0, "mem": 500.0, "latency": 0.1, "requests": 100.0}
TOLD = 600.0


def world(
    changes: dict[tuple[str, str], float],
    seed: int = 0,
    told: float = TOLD,
    metrics: tuple[str, ...] = ("cpu", "mem", "latency", "requests"),
    calls: tuple[tuple[str, str], ...] = CALLS,
) -> MetricCase:
    """Twenty minutes by the 5 s; from 600 s on `changes` are added to what is usual."""
    noise = np.random.default_rng(seed)
    times = np.arange(0.0, 1200.0, 5.0)
    columns = tuple((s, m) for s in SERVICES for m in metrics)
    values = np.stack(
        [
            USUAL[m] * (1 + 0.05 * noise.standard_normal(len(times)))
            + np.where(times >= TOLD, changes.get((s, m), 0.0), 0.0)
            for s, m in columns
        ],
        axis=1,
    )
    return MetricCase(times, columns, values, told, ("front", "latency"), calls)


def blamed(found: Localized) -> str:
    return found.suspects[0].service


CPU_HOG = {
    ("carts", "cpu"): 70.0,
    ("carts", "latency"): 0.5,
    ("orders", "latency"): 0.52,
    ("front", "latency"): 0.55,
}


def test_a_starved_service_is_blamed_by_its_own_resource():
    found = localize(world(CPU_HOG))

    assert (blamed(found), found.suspects[0].metric) == ("carts", "cpu")
    assert found.confidence > 0.8


def test_latency_is_traced_to_the_service_that_adds_it():
    slow_leaf = {("db", "latency"): 0.5, ("orders", "latency"): 0.5, ("front", "latency"): 0.5}
    slow_middle = {("orders", "latency"): 0.5, ("front", "latency"): 0.5}

    assert blamed(localize(world(slow_leaf))) == "db"
    assert blamed(localize(world(slow_middle))) == "orders"


def test_a_huge_deviation_that_costs_nobody_anything_is_not_the_cause():
    case = world({("orders", "latency"): 0.5, ("front", "latency"): 0.5})
    quiet = case.columns.index(("db", "latency"))
    case.values[:, quiet] = np.where(case.times >= TOLD, 0.003, 0.001)

    assert blamed(localize(case)) == "orders"


def test_a_first_sign_of_life_in_a_constant_series_is_not_dropped():
    slow = {("front", "latency"): 0.5, ("users", "latency"): 0.5}
    case = world(slow, metrics=("cpu", "latency"))
    silent = case.columns.index(("users", "cpu"))
    case.values[:, silent] = np.where(case.times >= TOLD, 90.0, 0.0)

    found = localize(case).suspects[0]
    assert (found.service, found.metric) == ("users", "cpu")


def test_told_a_minute_late_it_blames_the_same():
    found = localize(world(CPU_HOG, told=TOLD + 60))

    assert blamed(found) == "carts"
    assert found.confidence > 0.5


def test_without_a_call_graph_a_resource_still_tells():
    assert blamed(localize(world(CPU_HOG, calls=()))) == "carts"


@pytest.mark.parametrize("seed", range(8))
def test_nobody_is_blamed_on_a_quiet_day(seed):
    assert localize(world({}, seed)).confidence < 0.5


def test_nobody_is_blamed_while_the_slo_stands():
    assert localize(world({("db", "cpu"): 8.0})).confidence < 0.5


def test_one_spike_is_no_fault():
    case = world({})
    case.values[-3, case.columns.index(("carts", "cpu"))] = 100.0
    case.values[-3, case.columns.index(("front", "latency"))] = 9.0

    assert localize(case).confidence < 0.5


def test_gaps_and_empty_columns_are_borne():
    case = world(CPU_HOG)
    case.values[::3] = np.nan
    case.values[:, case.columns.index(("users", "mem"))] = np.nan

    assert blamed(localize(case)) == "carts"


def test_nothing_at_all_blames_nobody():
    case = world({})
    empty = dataclasses.replace(case, values=np.full_like(case.values, np.nan))

    assert localize(empty).confidence == 0.0


@pytest.mark.parametrize(
    ("metric", "family"),
    [
        ("latp99", "latency"),
        ("availability", "errors"),
        ("cpu_usage", "cpu"),
        ("container-memory", "memory"),
        ("requests", "traffic"),
        ("xyz", "other"),
    ],
)
def test_a_metric_is_known_by_its_name(metric, family):
    assert family_of(metric) == family


def write(folder: Path, table: str = "time,a_b_cpu\n1,2\n", case: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.csv").write_text(table)
    (folder / "case.json").write_text(case if case is not None else '{"inject_time": 5}')
    return folder


def test_a_service_may_hold_underscores(tmp_path):
    assert read_case(write(tmp_path / "c")).columns == (("a_b", "cpu"),)


@pytest.mark.parametrize(
    ("table", "case", "said"),
    [
        ("when,a_cpu\n1,2\n", None, "metrics.csv:1: a header"),
        ("time,a_cpu\n1,x\n", None, "metrics.csv:2: a_cpu: 'x': a number"),
        ("time,a_cpu\n1\n", None, "metrics.csv:2: 2 fields, found 1"),
        ("time,_cpu\n1,2\n", None, "'_cpu': a column `<service>_<metric>`"),
        ("time,a_cpu\n1,2\n", "{}", "case.json: inject_time: seconds since the epoch"),
        ("time,a_cpu\n1,2\n", "{", "case.json: JSON"),
        ("time,a_cpu\n1,2\n", '{"inject_time": 5, "slo": 3}', "slo: 3: {entity, metric}"),
    ],
)
def test_a_broken_case_says_where(tmp_path, table, case, said):
    with pytest.raises(BadInput) as caught:
        read_case(write(tmp_path / "c", table, case))

    assert said in str(caught.value).replace("  ", " ")


def test_a_column_may_be_a_service_of_which_one_thing_is_measured(tmp_path):
    assert read_case(write(tmp_path / "c", "time,carts\n1,2\n")).columns == (("carts", ""),)


SLOW_LEAF = {("db", "latency"): 0.5, ("orders", "latency"): 0.5, ("front", "latency"): 0.5}


def test_without_a_call_graph_the_service_that_grew_most_in_proportion_is_blamed_with_doubt():
    case = world(SLOW_LEAF, calls=())
    leaf = case.columns.index(("db", "latency"))
    case.values[:, leaf] -= 0.09  # a leaf answers sooner than those who wait for it

    found = localize(case)

    assert blamed(found) == "db"
    assert found.confidence <= 0.7 < localize(dataclasses.replace(case, calls=CALLS)).confidence


def test_a_counter_is_judged_by_how_fast_it_rises():
    case = world(CPU_HOG)
    for i, (_, metric) in enumerate(case.columns):
        if metric in ("cpu", "requests"):
            case.values[:, i] = np.cumsum(case.values[:, i])

    assert blamed(localize(case)) == "carts"
    assert localize(world({})).confidence < 0.5


def test_a_service_that_falls_silent_while_others_speak_is_blamed():
    case = world({("orders", "latency"): 0.5, ("front", "latency"): 0.5})
    for i, (service, _) in enumerate(case.columns):
        if service == "carts":
            case.values[case.times >= TOLD, i] = np.nan

    assert blamed(localize(case)) == "carts"


def test_when_everything_falls_silent_nobody_is_blamed():
    case = world({})
    case.values[case.times >= TOLD] = np.nan

    assert localize(case).confidence < 0.5


def test_whoever_only_watches_is_never_the_cause():
    case = world(SLOW_LEAF | {("users", "latency"): 3.0})
    renamed = tuple(("USER" if s == "users" else s, m) for s, m in case.columns)
    kept = [i for i, (s, m) in enumerate(renamed) if s != "USER" or m == "latency"]
    calls = tuple(each for each in CALLS if "users" not in each)
    seen = MetricCase(
        case.times,
        tuple(renamed[i] for i in kept),
        case.values[:, kept],
        case.told_at,
        ("USER", "latency"),
        calls,
    )

    assert blamed(localize(seen)) == "db"
    assert blamed(localize(dataclasses.replace(seen, calls=()))) != "USER"


@pytest.mark.parametrize(
    ("metric", "family"),
    [
        ("latency-90", "latency"),
        ("request-latency", "latency"),
        ("istio-request-duration-p99", "latency"),
        ("requests-failed", "errors"),
        ("container-memory-working-set-bytes", "memory"),
        ("CpuUsageRate", "cpu"),
        ("workload", "traffic"),
        ("diskio", "disk"),
        ("socket", "network"),
        ("shoe-size", "other"),
    ],
)
def test_what_a_metric_measures_is_read_from_its_name(metric, family):
    assert family_of(metric) == family


DATA = Path(os.environ.get("HEALER_TEST_DATA", Path(__file__).parents[2] / "../shared/data"))
REAL = DATA / "rca" / "petshop-low"


@pytest.mark.parametrize("late_s", [0, 60])
def test_faults_of_a_real_application_are_found_and_quiet_windows_left_alone(late_s):
    if not REAL.is_dir():
        pytest.skip(f"the data set {REAL} is not there (HEALER_TEST_DATA)")
    labels = json.loads((REAL / "labels.json").read_text())
    hits = faults = false_alarms = 0
    for name, label in labels.items():
        case = read_case(REAL / name)
        found = localize(dataclasses.replace(case, told_at=case.told_at + late_s))
        spoke = found.confidence >= 0.5
        faults += label["service"] is not None
        hits += spoke and blamed(found) == label["service"]
        false_alarms += spoke and label["service"] is None

    assert hits / faults >= 0.92
    assert false_alarms == 0
