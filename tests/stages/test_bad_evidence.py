"""What is wrong with the evidence is said, and the rest of the diagnosis stands."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from builders import NOW, at, diagnosis, finding, frame, incident, node, pod, signal, workload

from healer.adapters.rulebook import load_file, load_rules
from healer.model.event import Event
from healer.model.frame import Frame
from healer.model.hypothesis import Side
from healer.model.incident import Incident
from healer.model.rule import RuleBook
from healer.model.signal import EventRule
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.stages.diagnose import diagnose, diagnose_all
from healer.stages.evidence import functions

PODS = tuple(pod(f"pod-{i}", uid=f"u{i}") for i in range(4))
NODE, OWNER = node("node-0", uid="n0"), workload("deployment/w")
GPUS = tuple(Target(Kind.GPU, f"GPU-{i}") for i in range(4))


def world(frames: dict[str, Frame], *more: tuple[Target, Target]) -> Snapshot:
    edges = {(p, NODE) for p in PODS} | {(p, OWNER) for p in PODS} | {*zip(PODS, GPUS, strict=True)}
    everyone = (*PODS, *GPUS, NODE, OWNER)
    entities = {t: Entity(t, facts={"ready": True}) for t in everyone}
    return Snapshot(NOW, frames, (), Topology(entities, frozenset(edges | {*more})))


def case() -> Incident:
    return incident(
        targets=(PODS[0],), findings=(finding(PODS[0], since=at(-270)),), started_at=at(-270)
    )


def row(before: float, now: float) -> np.ndarray:
    return np.concatenate([np.full(100, before), np.full(20, now)]).astype(np.float32)


def slow() -> dict[str, Frame]:
    rows = np.array([row(0.3, 4.0), row(0.3, 0.3), row(0.3, 0.3), row(0.3, 0.3)])
    return {"ttft_p95": frame(rows, PODS, name="ttft_p95")}


def book(tmp_path: Path, *stanzas: str) -> RuleBook:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "rules:\n- {id: no_fault, scope: incident, prior: 0.05, title: Nothing}\n"
        + "".join(f"- {stanza}\n" for stanza in stanzas)
    )
    return RuleBook(load_file(file))


def rule(name: str, *, require: str = "", scope: str = "pod", evidence: str = "") -> str:
    term = evidence or '{if: "high(ttft_p95)", for: 3, family: a, decisive: true}'
    needs = f'require: ["{require}"], ' if require else ""
    return (
        f"{{id: {name}, scope: {scope}, prior: 0.2, title: {name}, explains: [ttft_p95], "
        f"via: [pods], {needs}evidence: [{term}]}}"
    )


def test_a_rule_that_raises_on_one_target_of_many_still_judges_the_others(tmp_path, monkeypatch):
    def fails_on_one(place, args):
        if place.targets == (GPUS[2],):
            raise ZeroDivisionError("nothing to divide by")
        return functions.value(place, args)

    monkeypatch.setitem(functions.FUNCTIONS, "before", fails_on_one)
    frames = slow() | {
        "gpu_temp": Frame(
            signal("gpu_temp", scope=Kind.GPU),
            slow()["ttft_p95"].times,
            np.full((4, 120), 90.0),
            GPUS,
        )
    }
    everyone = dataclasses.replace(
        case(), findings=tuple(finding(p, since=at(-270)) for p in PODS), targets=PODS
    )
    rules = book(tmp_path, rule("hot", require="before(gpu_temp) > 80", scope="gpu"), rule("slow"))
    found, problems = diagnose_all((everyone,), world(frames), rules)

    judged = {h.target for h in found["inc-1"].hypotheses if h.cause == "hot"}
    assert judged
    assert judged <= {GPUS[0], GPUS[1], GPUS[3]}
    assert [(p.where, p.what) for p in problems] == [
        ("rule.hot", "ZeroDivisionError: nothing to divide by")
    ]


@pytest.mark.parametrize("back", [PODS[0], GPUS[0], OWNER])
def test_a_topology_that_goes_in_a_circle_is_said_and_the_diagnosis_stands(tmp_path, back):
    whole = diagnose(case(), world(slow()), book(tmp_path, rule("slow")))
    found, problems = diagnose_all(
        (case(),), world(slow(), (NODE, back), (back, PODS[0])), book(tmp_path, rule("slow"))
    )

    assert found["inc-1"].leader.cause == whole.leader.cause == "slow"
    assert [p.where for p in problems] == ["topology"]
    assert "depends on itself" in problems[0].what


def test_the_shipped_rules_survive_a_topology_in_a_circle():
    circle = (NODE, PODS[0]), (OWNER, GPUS[1]), (NODE, NODE)
    found, problems = diagnose_all((case(),), world(slow(), *circle), load_rules())

    assert found["inc-1"].leader is not None
    assert {p.where for p in problems} == {"topology"}


def test_one_incident_that_cannot_be_ranked_leaves_the_others_their_diagnosis(tmp_path):
    nowhere = dataclasses.replace(case(), id="inc-2", targets=(), findings=())
    found, problems = diagnose_all((nowhere, case()), world(slow()), book(tmp_path, rule("slow")))

    assert found["inc-1"].leader.cause == "slow"
    assert "inc-2" not in found
    assert any("inc-2" in p.where for p in problems)


def test_a_signal_that_vanished_is_missing_evidence_and_no_proof(tmp_path):
    asks = '{if: "low(gpu_power) on gpus all", for: 3, against: -3, family: power}'
    with_power = rule("slow", evidence=asks + ', {if: "high(ttft_p95)", for: 3, decisive: true}')
    leader = diagnose(case(), world(slow()), book(tmp_path, with_power)).leader

    assert leader.cause == "slow"
    assert [(t.asked, t.weight) for t in leader.missing] == [("low(gpu_power) on gpus all", 0.0)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_gaps_and_impossible_values_change_no_verdict(tmp_path, bad, share):
    rng = np.random.default_rng(7)
    given = slow()["ttft_p95"]
    values = given.values.copy()
    values[rng.random(values.shape) < share] = bad
    values[:, -1] = given.values[:, -1]
    holed = {"ttft_p95": Frame(given.signal, given.times, values, PODS)}
    sees = rule("slow", evidence='{if: "high(ttft_p95) on siblings any", against: -2, for: 1}')
    found = diagnose(case(), world(holed), book(tmp_path, rule("sick"), sees))

    assert found.leader.cause == "sick"
    others = next(h for h in found.hypotheses if h.cause == "slow")
    assert [t.side for t in others.evidence_against if t.family != "prior"] == ["against"]


def test_a_series_of_nothing_but_nan_says_nothing(tmp_path):
    frames = slow() | {"gpu_power": frame(np.full((4, 120), np.nan), GPUS, name="gpu_power")}
    silent = rule("silent", require="missing(gpu_power)", scope="gpu")
    found, problems = diagnose_all((case(),), world(frames), book(tmp_path, silent, rule("slow")))

    assert found["inc-1"].leader.cause == "slow"
    assert all(h.cause != "silent" for h in found["inc-1"].hypotheses)
    assert problems == ()


def test_a_counter_that_begins_again_is_no_growth(tmp_path):
    """What is asked of counters goes through rate(); one that slips through falls, never rises."""
    counter = np.concatenate([1e6 + np.arange(100), np.arange(20)]).astype(np.float32)
    frames = slow() | {"arrival_rate": frame(np.array([counter] * 4), PODS, name="arrival_rate")}
    surge = rule("surge", require="growth(siblings, arrival_rate) >= 1.1")
    found = diagnose(case(), world(frames), book(tmp_path, surge, rule("slow")))

    assert [h.cause for h in found.hypotheses if h.cause == "surge"] == []


def shows_xids(*targets: Target) -> dict[str, Frame]:
    gauge = signal(
        "gpu_xid_last", scope=Kind.GPU, event=EventRule("xid", "value", "change"), unit="xid"
    )
    return {
        "gpu_xid_last": Frame(
            gauge, slow()["ttft_p95"].times, np.zeros((len(targets), 120)), targets
        )
    }


XIDS = "event(xid in [31]) on gpus"


@pytest.mark.parametrize(
    ("test", "weight"),
    [
        (f"not {XIDS}", 0.0),
        ("count(gpus, event(xid in [31])) == 0", 0.0),
        ("count(gpus, event(xid in [31])) != 1", 0.0),
        ("count(gpus, event(xid in [31])) < 2", 1.0),
        ("count(gpus, event(xid in [31])) >= 1", 0.0),
    ],
)
def test_a_gpu_whose_xids_are_not_shown_may_have_had_one(tmp_path, test, weight):
    frames = slow() | shows_xids(*GPUS[1:])
    asks = rule("slow", evidence=f'{{if: "{test}", for: 1, against: -2, family: xid}}')
    leader = next(
        h
        for h in diagnose(case(), world(frames), book(tmp_path, asks)).hypotheses
        if h.cause == "slow"
    )
    told = next(t for t in leader.terms if t.asked == test)

    assert (told.weight, told.side is Side.MISSING) == (weight, weight == 0.0)


def test_a_gpu_whose_xids_are_shown_had_none(tmp_path):
    frames = slow() | shows_xids(*GPUS)
    asks = rule("slow", evidence=f'{{if: "not {XIDS}", for: 1, against: -2, family: xid}}')
    leader = diagnose(case(), world(frames), book(tmp_path, asks)).leader

    assert [t.weight for t in leader.terms if t.family == "xid"] == [1.0]


def rolled_out_after_a_blip(**changes) -> tuple[Incident, Snapshot]:
    """A blip opened the incident, the rollout came two minutes after it, the slowness with that."""
    blip = finding(PODS[1], signal="kv_usage", since=at(-600), at=at(-540))
    slowness = finding(PODS[0], since=at(-450))
    rollout = Event("rollout", OWNER, at(-470), "deployment/w went from a to b", {}, "kubernetes")
    told = incident(
        targets=(PODS[1], PODS[0]),
        findings=(blip, slowness),
        started_at=at(-600),
        **changes,
    )
    return told, dataclasses.replace(world(slow()), events=(rollout,))


def test_a_change_after_a_blip_that_went_away_may_have_caused_what_stays(tmp_path):
    told, seen = rolled_out_after_a_blip()
    blames = rule("release", require="changed within 30m", scope="workload")
    causes = {h.cause for h in diagnose(told, seen, book(tmp_path, blames)).hypotheses}

    assert "release" in causes


def test_what_was_changed_after_we_acted_is_no_cause(tmp_path):
    told, seen = rolled_out_after_a_blip(acted_on=diagnosis())
    blames = rule("release", require="changed within 30m", scope="workload")
    causes = {h.cause for h in diagnose(told, seen, book(tmp_path, blames)).hypotheses}

    assert "release" not in causes
