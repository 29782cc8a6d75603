"""How evidence is weighed, rivals are ranked, and when nothing may be done."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import NOW, at, finding, frame, incident, node, pod, signal, workload

from healer.adapters.rulebook import load_file, load_rules
from healer.model.event import Event
from healer.model.frame import Frame
from healer.model.hypothesis import Side
from healer.model.incident import Incident
from healer.model.rule import RuleBook
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.stages.diagnose import diagnose, diagnose_all
from healer.stages.evidence.rank import UNDECIDED_CAP
from healer.stages.evidence.score import weigh

POD = pod("pod-0", uid="u0")
GPU = Target(Kind.GPU, "GPU-0")
NODE = node("node-0", uid="n0")

NULLS = """
- {id: no_fault, scope: incident, prior: 0.05, title: Nothing is broken}
- {id: unknown, scope: incident, prior: 0.12, title: None of the known causes}
"""


def book(tmp_path: Path, text: str) -> RuleBook:
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n" + text + NULLS)
    return RuleBook(load_file(file))


def rule(name: str, *terms: str, more: str = "", scope: str = "pod", prior: float = 0.1) -> str:
    evidence = "".join(f"\n  - {term}" for term in terms)
    return (
        f"- id: {name}\n  scope: {scope}\n  prior: {prior}\n  title: {name}\n"
        f"  explains: [ttft_p95, itl_p95, xid]\n{more}  evidence:{evidence or ' []'}\n"
    )


SEES = '{if: "high(ttft_p95)", for: 3, family: a, decisive: true}'
AND_MORE = '{if: "finding(ttft_p95)", for: 2, family: b}'


def rows(before: float, now: float, gap: bool = False) -> np.ndarray:
    row = np.concatenate([np.full(100, before), np.full(20, np.nan if gap else now)])
    return row.astype(np.float32)


def world(**signals: np.ndarray) -> Snapshot:
    """pod-0 on GPU-0 on node-0, in deployment/w; each signal one row of the pod."""
    w = workload("deployment/w")
    entities = {t: Entity(t, facts={"ready": True}) for t in (POD, NODE, w)} | {GPU: Entity(GPU)}
    edges = frozenset({(POD, NODE), (POD, GPU), (GPU, NODE), (POD, w)})
    frames = {name: frame(row, (POD,), name=name) for name, row in signals.items()}
    return Snapshot(NOW, frames, (), Topology(entities, edges))


def case(**changes: object) -> Incident:
    given = {
        "targets": (POD,),
        "findings": (finding(POD, since=at(-270)),),
        "started_at": at(-270),
    }
    return incident(**(given | changes))


def test_the_leader_cites_what_it_saw_with_its_value(tmp_path):
    found = diagnose(
        case(), world(ttft_p95=rows(0.3, 4.0)), book(tmp_path, rule("slow", SEES, AND_MORE))
    )

    assert found.leader is not None
    assert found.leader.cause == "slow"
    assert found.leader.confidence > 0.8
    assert "4 s, before 0.3 s" in found.leader.evidence_for[0].seen
    assert not found.abstained


def test_the_terms_add_up_to_the_log_odds(tmp_path):
    text = rule("slow", SEES, AND_MORE, '{if: "low(ttft_p95)", for: 1, against: -1, family: a}')
    leader = diagnose(case(), world(ttft_p95=rows(0.3, 4.0)), book(tmp_path, text)).leader

    assert leader is not None
    assert leader.log_odds == pytest.approx(weigh(leader.terms), abs=1e-3)


def test_what_cannot_be_seen_never_speaks_against(tmp_path):
    terms = [SEES, AND_MORE, '{if: "low(itl_p95)", for: 1, against: -3, family: c}']
    rules = book(tmp_path, rule("slow", *terms))
    blind = diagnose(case(), world(ttft_p95=rows(0.3, 4.0)), rules).leader
    seen = diagnose(case(), world(ttft_p95=rows(0.3, 4.0), itl_p95=rows(0.03, 0.03)), rules)

    assert blind is not None
    assert blind.cause == "slow"
    assert [t.weight for t in blind.missing] == [0.0]
    assert seen.hypotheses[0].log_odds < blind.log_odds or seen.leader.cause != "slow"


def test_a_gap_in_the_series_is_missing_not_low(tmp_path):
    text = rule("gone", '{if: "missing(itl_p95)", for: 3, family: a}', SEES) + rule(
        "slow", '{if: "low(itl_p95)", for: 3, family: a}', SEES
    )
    snapshot = world(ttft_p95=rows(0.3, 4.0), itl_p95=rows(0.03, 0.0, gap=True))
    found = diagnose(case(), snapshot, book(tmp_path, text))

    assert found.leader is not None
    assert found.leader.cause == "gone"
    slow = next(h for h in found.hypotheses if h.cause == "slow")
    assert "low(itl_p95)" in {t.asked for t in slow.missing}


def test_a_silent_prometheus_proves_nothing(tmp_path):
    text = rule("gone", '{if: "missing(itl_p95)", for: 3, family: a}')
    snapshot = replace(world(itl_p95=rows(0.03, 0.0, gap=True)), metrics_ok=False)
    gone = next(
        h for h in diagnose(case(), snapshot, book(tmp_path, text)).hypotheses if h.cause == "gone"
    )

    assert gone.missing


def test_no_single_term_is_the_whole_truth(tmp_path):
    alone = diagnose(case(), world(ttft_p95=rows(0.3, 4.0)), book(tmp_path, rule("slow", SEES)))

    assert alone.leader is not None
    assert alone.leader.confidence <= 0.6


def test_terms_of_one_family_count_once_and_the_rest_half(tmp_path):
    text = rule("slow", *(f'{{if: "value(ttft_p95) > {i}", for: 2, family: a}}' for i in range(3)))
    found = diagnose(case(), world(ttft_p95=rows(0.3, 4.0)), book(tmp_path, text))
    slow = next(h for h in found.hypotheses if h.cause == "slow")

    assert weigh(t for t in slow.terms if t.family == "a") == pytest.approx(4.0)


def test_two_causes_that_fit_alike_are_left_to_a_person(tmp_path):
    undecided = '{if: "low(itl_p95)", for: 2, against: -2, family: c}'
    text = rule("one", SEES, AND_MORE, undecided) + rule("two", SEES, AND_MORE)
    found = diagnose(case(), world(ttft_p95=rows(0.3, 4.0)), book(tmp_path, text))

    assert "too close to call" in found.abstained
    assert "low(itl_p95)" in found.would_decide


def test_what_no_rule_explains_is_unknown_and_asks(tmp_path):
    text = rule("slow", '{if: "low(itl_p95)", for: 3}')
    found = diagnose(case(), world(ttft_p95=rows(0.3, 4.0)), book(tmp_path, text))

    assert found.leader is not None
    assert found.leader.cause == "unknown"
    assert found.abstained
    assert "low(itl_p95)" in found.would_decide


def test_every_rival_says_why_it_lost(tmp_path):
    text = rule("slow", SEES, AND_MORE) + rule("other", SEES, '{if: "low(ttft_p95)", against: -2}')
    found = diagnose(case(), world(ttft_p95=rows(0.3, 4.0)), book(tmp_path, text))

    assert all(h.why_not for h in found.hypotheses[1:])
    other = next(h for h in found.hypotheses if h.cause == "other")
    assert "low(ttft_p95)" in other.why_not
    assert "(-2.0 for" in other.why_not


def test_a_rule_that_raises_is_reported_and_the_others_stand(tmp_path):
    broken = rule(
        "broken", '{if: "fact(ready) < 3", for: 1}', "{if: \"fact(ready) ~ '('\", for: 1}"
    )
    with pytest.raises(Exception, match="regular expression"):
        book(tmp_path, broken)
    rules = book(tmp_path, rule("slow", SEES, AND_MORE))
    cut = replace(
        rules.rules[0], id="cut", evidence=(replace(rules.rules[0].evidence[0], test=None),)
    )  # type: ignore[arg-type]
    bad = replace(rules.rules[0], id="bad", prior=1.0)
    diagnoses, problems = diagnose_all(
        [case()], world(ttft_p95=rows(0.3, 4.0)), replace(rules, rules=(cut, bad, *rules.rules))
    )

    assert diagnoses["inc-1"].leader is not None
    assert diagnoses["inc-1"].leader.cause == "slow"
    assert {p.where for p in problems} == {"rule.cut", "rule.bad"}


def test_a_proof_is_one_only_while_its_own_question_holds(tmp_path):
    asked = '{if: "high(ttft_p95)", for: 3, family: a, decisive: "value(itl_p95) < 0.1"}'
    rules = book(tmp_path, rule("slow", asked, AND_MORE))

    def proven(**more: np.ndarray) -> tuple[float, bool]:
        leader = diagnose(case(), world(ttft_p95=rows(0.3, 4.0), **more), rules).leader
        assert leader is not None
        assert leader.cause == "slow"
        term = next(t for t in leader.terms if t.family == "a")
        assert term.weight == 3
        return leader.confidence, term.decisive

    sure, decisive = proven(itl_p95=rows(0.02, 0.02))
    assert decisive
    assert sure > UNDECIDED_CAP
    assert proven(itl_p95=rows(0.02, 0.5)) == (UNDECIDED_CAP, False)
    assert proven() == (UNDECIDED_CAP, False)  # not known is no proof


def test_a_cause_cannot_come_after_what_it_explains(tmp_path):
    text = rule("late", '{if: "event(xid in [79])", for: 3, decisive: true, family: x}', AND_MORE)
    rules = book(tmp_path, text)
    early = Event("xid", POD, at(-300), attributes={"xid": "79"})
    late = replace(early, at=at(-60))
    snapshot = world(ttft_p95=rows(0.3, 4.0))

    def leads(event: Event) -> str:
        leader = diagnose(case(), replace(snapshot, events=(event,)), rules).leader
        return leader.cause if leader else ""

    assert leads(early) == "late"
    assert leads(late) == "unknown"


def test_a_cause_that_showed_first_gains(tmp_path):
    text = rule("early", '{if: "event(xid in [79])", for: 3, decisive: true, family: x}')
    snapshot = replace(world(), events=(Event("xid", POD, at(-400), attributes={"xid": "79"}),))
    leader = diagnose(case(), snapshot, book(tmp_path, text)).leader

    assert leader is not None
    assert [t.weight for t in leader.terms if t.family == "onset"] == [0.5]


def test_people_s_verdicts_lower_a_rule_s_standing(tmp_path):
    rules, snapshot = book(tmp_path, rule("slow", SEES, AND_MORE)), world(ttft_p95=rows(0.3, 4.0))
    fresh = diagnose(case(), snapshot, rules).leader
    wrong = diagnose(case(), snapshot, rules, verdict_counts={"slow": (0, 10)}).leader
    right = diagnose(case(), snapshot, rules, verdict_counts={"slow": (10, 0)}).leader

    assert fresh is not None and wrong is not None and right is not None  # noqa: PT018
    assert wrong.confidence < 0.6 * fresh.confidence
    assert right.confidence == fresh.confidence


def test_a_consequence_is_a_victim_and_no_rival(tmp_path):
    deep = (
        rule("deep", SEES, AND_MORE, more="  via: [pods]\n", scope="gpu")
        .replace("[ttft_p95, itl_p95, xid]", "[ttft_p95, shallow]")
        .replace('high(ttft_p95)"', 'high(ttft_p95) on pods"')
        .replace('finding(ttft_p95)"', 'finding(ttft_p95) on pods"')
    )
    found = diagnose(
        case(),
        world(ttft_p95=rows(0.3, 4.0)),
        book(tmp_path, deep.replace("prior: 0.1", "prior: 0.2") + rule("shallow", SEES, AND_MORE)),
    )

    assert found.leader is not None
    assert found.leader.cause == "deep"
    assert not found.abstained
    victim = next(h for h in found.hypotheses if h.cause == "shallow")
    assert victim.why_not == "follows from deep on gpu:GPU-0"


def test_what_the_leader_leaves_over_opens_a_second_fault(tmp_path):
    other = pod("pod-1", uid="u1")
    snapshot = world(ttft_p95=rows(0.3, 4.0))
    entities = {**snapshot.topology.entities, other: Entity(other)}
    both = frame(np.stack([rows(0.3, 4.0), rows(0.3, 4.0)]), (POD, other), name="ttft_p95")
    snapshot = replace(
        snapshot,
        frames={"ttft_p95": both},
        topology=Topology(entities, snapshot.topology.edges | {(other, workload("deployment/w"))}),
    )
    two = case(
        findings=(finding(POD, since=at(-270)), finding(other, since=at(-270))),
        targets=(POD, other),
    )
    found = diagnose(two, snapshot, book(tmp_path, rule("slow", SEES, AND_MORE)))

    assert [h.target for h in found.hypotheses if h.cause == "slow"] == [POD, other]
    assert "second fault" in next(h.why_not for h in found.hypotheses if h.target == other)


def test_a_shadow_rule_is_ranked_and_proposes_nothing(tmp_path):
    more = "  action: {propose: [restart_pod], min_confidence: 0.5}\n"
    snapshot = world(ttft_p95=rows(0.3, 4.0))
    live = book(tmp_path, rule("slow", SEES, AND_MORE, more=more))
    shadow = book(tmp_path, rule("slow", SEES, AND_MORE, more=more + "  mode: shadow\n"))

    assert diagnose(case(), snapshot, live).hypotheses[0].proposes == ("restart_pod",)
    assert diagnose(case(), snapshot, shadow).hypotheses[0].proposes == ()


def test_an_incident_older_than_the_window_still_knows_what_was_usual(tmp_path):
    old = case(started_at=at(-7200), findings=(finding(POD, since=at(-7200), at=at(-600)),))
    rules = book(tmp_path, rule("slow", SEES))
    sick = diagnose(old, world(ttft_p95=rows(4.0, 4.0)), rules).hypotheses
    slow = next(h for h in sick if h.cause == "slow")

    assert [t.side for t in slow.terms if t.asked == "high(ttft_p95)"] == [Side.FOR]


def test_an_alert_alone_is_explained_by_what_the_frames_show(tmp_path):
    alert = Event("alert", POD, at(-200), attributes={"alertname": "SlowModel"})
    snapshot = world(ttft_p95=rows(0.3, 4.0))
    only = case(findings=(), events=(alert,), started_at=at(-200))
    leader = diagnose(only, snapshot, book(tmp_path, rule("slow", SEES, AND_MORE))).leader

    assert leader is not None
    assert leader.cause == "slow"


def test_without_any_rule_the_diagnosis_abstains():
    found = diagnose(case(), world(), RuleBook())

    assert found.leader is None
    assert found.abstained


def big(nodes: int) -> tuple[Snapshot, tuple[Incident, ...]]:
    """`nodes` × 8 GPUs with a pod on each; 200 findings, one incident each."""
    entities: dict[Target, Entity] = {}
    edges: set[tuple[Target, Target]] = set()
    gpus, pods = [], []
    for n in range(nodes):
        host, rack = node(f"n{n}"), Target(Kind.RACK, f"r{n // 16}")
        entities |= {host: Entity(host, facts={"ready": True}), rack: Entity(rack)}
        edges.add((host, rack))
        for g in range(8):
            gpu, each = Target(Kind.GPU, f"GPU-{n}-{g}"), pod(f"p{n}-{g}")
            owner = workload(f"deployment/w{(8 * n + g) // 4}")
            entities |= {gpu: Entity(gpu), each: Entity(each, facts={"ready": True})}
            entities[owner] = Entity(owner)
            edges |= {(gpu, host), (each, gpu), (each, host), (each, owner)}
            gpus.append(gpu)
            pods.append(each)
    values = np.full((len(pods), 60), 1.0, np.float32)
    times = NOW.timestamp() - 15.0 * np.arange(59, -1, -1)
    frames = {
        name: Frame(signal(name), times, values, tuple(pods))
        for name in (
            "ttft_p95",
            "itl_p95",
            "generation_tokens",
            "requests_running",
            "kv_usage",
            "requests_waiting",
            "arrival_rate",
            "error_ratio",
            "preemptions",
        )
    } | {
        name: Frame(signal(name, scope=Kind.GPU), times, values, tuple(gpus))
        for name in ("gpu_util", "gpu_power", "gpu_temp", "gpu_sm_clock", "gpu_throttle_thermal")
    }
    incidents = tuple(
        case(id=f"inc-{i}", targets=(pods[i],), findings=(finding(pods[i], since=at(-270)),))
        for i in range(200)
    )
    return Snapshot(NOW, frames, (), Topology(entities, frozenset(edges))), incidents


def test_the_cost_of_a_finding_does_not_grow_with_the_cluster():
    rules = load_rules()

    def took(nodes: int) -> float:
        snapshot, incidents = big(nodes)
        snapshot.topology.related(incidents[0].targets[0], Kind.NODE)
        began = time.process_time()
        diagnose_all(incidents, snapshot, rules)
        return time.process_time() - began

    small, large = took(50), took(800)

    assert large < 3 * small + 0.3
