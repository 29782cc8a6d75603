"""The suite's figures: what a run counts as, calibration, floors, and what each variant changes."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from healer.cli import suite
from healer.cli.suite_figures import Row, calibration_error, figures, judge
from healer.lab.scenario import FaultSpec, Scenario, find_scenario, load_scenario

GOOD = Row("a/clean", True, True, None, True, 0, True, 0.95)


def result(**more: Any) -> dict[str, Any]:
    main = {
        "hypotheses": [{"cause": "engine_hang", "target": "pod:s/p", "confidence": 0.9}],
        "right_cause": True, "right_third": True, "healed": True, "cited": True,
        "action": "restart_pod",
    }  # fmt: skip
    base = {"job": "a/clean", "negative": False, "unsafe": [], "main": main}
    return {**base, **more}


def test_a_run_that_healed_by_the_right_cause_counts_in_every_figure() -> None:
    row = judge(result())
    assert row == dataclasses.replace(GOOD, confidence=0.9)
    assert not any(f.missed for f in figures([GOOD] * 12) if f.name != "calibration error")


def test_a_negative_is_right_when_nothing_was_said_and_left_alone_when_nothing_was_done() -> None:
    silent = judge(result(negative=True, main=None))
    assert (silent.first, silent.third, silent.left_alone, silent.healed) == (
        True,
        True,
        True,
        None,
    )
    acted = judge(result(negative=True))
    assert acted.left_alone is False
    unsafe = judge(result(negative=True, main=None, unsafe=[{"verb": "cordon"}]))
    assert unsafe.left_alone is False
    assert unsafe.unsafe == 1


def test_a_crash_is_counted_and_misses_every_floor_it_can() -> None:
    crashed = judge({"job": "a/clean", "variant": "clean", "crashed": True})
    missed = {f.name for f in figures([crashed]) if f.missed}
    assert {"runs that crashed", "clean, right cause leads"} <= missed


def test_confidence_is_calibrated_when_it_is_right_as_often_as_it_says() -> None:
    row = dataclasses.replace(GOOD, confidence=0.8)
    honest = [dataclasses.replace(row, first=i < 8) for i in range(10)]
    assert calibration_error(honest) == pytest.approx(0.0)
    boasting = [dataclasses.replace(row, first=False) for _ in range(10)]
    assert calibration_error(boasting) == pytest.approx(0.8)
    assert calibration_error([]) == 0.0


def test_each_variant_disturbs_what_it_is_named_for_and_nothing_else() -> None:
    clean = load_scenario(find_scenario("engine_hang"))
    assert suite.VARIANTS["clean"](clean) == clean
    assert suite.VARIANTS["late"](clean).perturb.late == timedelta(seconds=60)
    assert suite.VARIANTS["missing"](clean).perturb.missing == 0.2
    assert suite.VARIANTS["skew"](clean).perturb.skew == timedelta(seconds=30)
    changed = suite.VARIANTS["change"](clean)
    assert [f.kind for f in changed.faults] == ["unrelated_change", "engine_hang"]
    assert changed.faults[0].target == "service:qwen-72b"
    assert changed.expect[0].fault == "engine_hang"


def test_the_second_fault_hits_another_model_and_may_be_healed() -> None:
    clean = load_scenario(find_scenario("gpu_off_bus"))
    both = suite.VARIANTS["second"](clean)
    assert both.faults[1].target == "pod:qwen-72b/0"
    assert both.faults[1].at == clean.faults[0].at + timedelta(minutes=3)
    assert both.allowed[-1].target == "pod:*/qwen-72b-*"


def test_where_no_fault_is_to_come_nothing_is_put_beside_it() -> None:
    healthy = load_scenario(find_scenario("healthy"))
    assert suite.VARIANTS["second"](healthy) == healthy


def test_runs_of_one_world_share_it_and_those_of_another_do_not() -> None:
    one = Scenario("one", faults=(FaultSpec("engine_hang", timedelta(minutes=1)),))
    other = Scenario("other", duration=timedelta(minutes=9))
    sparse = suite.VARIANTS["missing"](one)
    assert suite.world_of(one) == suite.world_of(other)
    assert suite.world_of(one) != suite.world_of(sparse)


def test_a_run_shares_the_quiet_time_up_to_its_first_fault() -> None:
    hang = load_scenario(find_scenario("engine_hang"))
    healthy = load_scenario(find_scenario("healthy"))

    assert suite.quiet_for(hang) == timedelta(minutes=3)
    assert suite.quiet_for(suite.change(hang)) == timedelta(minutes=1)
    assert suite.quiet_for(suite.second(hang)) == timedelta(minutes=3)
    assert suite.quiet_for(suite.late(hang)) == timedelta(0)
    assert suite.quiet_for(healthy) == timedelta(0)


def test_a_run_that_no_known_cause_leads_has_nothing_to_cite() -> None:
    asked = result()
    asked["main"] |= {
        "hypotheses": [{"cause": "unknown", "target": "pod:s/p", "confidence": 0.8}],
        "cited": False,
    }
    assert judge(asked).cited is None
    named = {figure.name: figure for figure in figures([judge(asked), judge(result())])}
    assert (
        named["hits that cite what decides"].value,
        named["hits that cite what decides"].of,
    ) == (
        1.0,
        1,
    )


def test_silence_is_right_about_a_fault_that_calls_for_nothing_beside_one_that_does() -> None:
    quiet = result()
    quiet["main"] |= {"hypotheses": [], "action": None, "called_for": [], "healed": False}
    quiet["main"] |= {"causes": ["planned"]}
    row = judge(quiet)
    assert (row.first, row.left_alone, row.healed) == (True, True, None)
    broken = {"main": quiet["main"] | {"causes": ["capacity"]}}
    row = judge(quiet | broken)
    assert (row.first, row.left_alone) == (False, True)
    quiet["main"] |= {"called_for": ["restart_pod"]}
    assert not judge(quiet).first
