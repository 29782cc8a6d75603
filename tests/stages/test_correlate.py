"""What becomes one incident, what stays two, and what opens none."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import numpy as np
import pytest
from builders import NOW, at, finding, frame, node, pod, workload

from healer.model.event import Event
from healer.model.finding import Level
from healer.model.incident import Incident, Phase, Severity
from healer.model.snapshot import Snapshot
from healer.model.target import CLUSTER, Kind, Target
from healer.model.topology import Entity, Topology
from healer.settings import LoopSettings
from healer.stages.correlate import correlate, resolve_quiet

SETTINGS = LoopSettings()
GPU = Target(Kind.GPU, "GPU-1")


def ids():
    numbers = count(1)
    return lambda moment: f"inc-{next(numbers)}"


def topology(pods: int = 6, per_workload: int = 3, **facts: object) -> Topology:
    """pod-i on node-i, in workload deployment/w{i // per_workload}; GPU-i under pod-i."""
    entities, edges = {}, set()
    for i in range(pods):
        p, n = pod(f"pod-{i}", uid=f"u{i}"), node(f"node-{i}", uid=f"n{i}")
        g = Target(Kind.GPU, f"GPU-{i}")
        w = workload(f"deployment/w{i // per_workload}")
        entities |= {p: Entity(p, facts={"ready": True}), n: Entity(n, facts=facts), g: Entity(g)}
        entities[w] = Entity(w)
        edges |= {(p, n), (p, g), (g, n), (p, w)}
    return Topology(entities, frozenset(edges))


def snapshot(*events: Event, seconds: float = 0, **changes: object) -> Snapshot:
    given = {"now": at(seconds), "events": events, "topology": topology()}
    return Snapshot(**(given | changes))


def run(findings=(), snap=None, before=(), **more) -> tuple[Incident, ...]:
    return correlate(
        tuple(before),
        tuple(findings),
        snap or snapshot(),
        SETTINGS,
        more.pop("new_id", ids()),
        **more,
    )


def on(i: int, **changes) -> object:
    return finding(pod(f"pod-{i}", uid=f"u{i}"), **changes)


def alert(target: Target = CLUSTER, name: str = "HighLatency", **changes) -> Event:
    given = {"at": at(-60), "attributes": {"alertname": name, "severity": "critical"}}
    return Event("alert", target, **(given | changes))


def test_a_finding_of_level_page_opens_an_incident():
    (incident,) = run([on(0)])

    assert incident.targets == (pod("pod-0"),)
    assert incident.started_at == at(-120)
    assert incident.opened_at == NOW
    assert incident.phase is Phase.OPEN


def test_a_warning_opens_nothing():
    assert run([on(0, level=Level.WARN)]) == ()


def test_a_warning_joins_what_it_hangs_together_with():
    (incident,) = run([on(0), on(0, signal="itl_p95", level=Level.WARN)])

    assert {f.signal for f in incident.findings} == {"ttft_p95", "itl_p95"}


def test_a_warning_does_not_bridge_two_faults():
    shared = finding(node("node-0"), signal="node_load", level=Level.WARN)
    assert len(run([on(0), shared, on(3)])) == 2


def test_replicas_of_one_workload_are_one_incident():
    (incident,) = run([on(0), on(1), on(2)])

    assert len(incident.targets) == 3


def test_two_workloads_are_two_incidents():
    assert len(run([on(0), on(3)])) == 2


def test_a_gpu_and_the_pod_on_it_are_one_incident():
    assert len(run([on(0), finding(Target(Kind.GPU, "GPU-0"), signal="gpu_temp")])) == 1


def test_a_node_and_a_workload_with_a_pod_on_it_are_one_incident():
    late = finding(workload("deployment/w0"), signal="workload_unavailable")
    event = Event("node_not_ready", node("node-0"), at(-60))
    assert len(run([late], snapshot(event))) == 1


def test_symptoms_far_apart_in_time_are_two_incidents():
    old = on(0, since=at(-3600))
    assert len(run([old, on(1)])) == 2


def test_the_same_snapshot_twice_changes_nothing():
    findings = [on(0), on(1)]
    snap = snapshot(alert())
    first = run(findings, snap)
    again = run(findings, snap, first)

    assert again == first
    assert all(a is b for a, b in zip(again, first, strict=True))


def test_a_repeat_joins_and_a_newcomer_of_the_workload_too():
    first = run([on(0)])
    later = snapshot(seconds=60)
    (second,) = run([on(0, at=at(60)), on(1, since=at(30), at=at(60))], later, first)

    assert second.id == first[0].id
    assert len(second.findings) == 2
    assert second.version == 1


def fresh(seconds: float, value: float = 0.3, pods: int = 6) -> dict[str, object]:
    targets = tuple(pod(f"pod-{i}", uid=f"u{i}") for i in range(pods))
    made = frame(np.full((pods, 20), value), targets)
    moved = type(made)(made.signal, made.times + seconds, made.values, made.targets)
    return {"ttft_p95": moved}


def test_an_incident_is_quiet_once_its_symptoms_are_seen_to_be_gone():
    first = run([on(0)])
    (second,) = run([], snapshot(seconds=60, frames=fresh(60)), first)

    assert second.quiet_since == at(60)
    assert resolve_quiet(second, at(60), SETTINGS) is second
    assert resolve_quiet(second, at(180), SETTINGS).phase is Phase.RESOLVED


@pytest.mark.parametrize("blind", [{"metrics_ok": False}, {"frames": {}}])
def test_silence_while_nothing_can_be_seen_is_not_quiet(blind):
    first = run([on(0)])
    (second,) = run([], snapshot(seconds=60, **blind), first)

    assert second.quiet_since is None


def test_a_pod_that_is_gone_took_its_symptoms_with_it():
    first = run([on(0)])
    (second,) = run(
        [],
        snapshot(seconds=60, topology=topology(pods=0).__class__({node(): Entity(node())})),
        first,
    )

    assert second.quiet_since == at(60)


def test_a_flapping_symptom_has_to_stay_away_twice_as_long():
    incident = run([on(0)])
    incident = run([], snapshot(seconds=60, frames=fresh(60)), incident)
    incident = run([on(0, at=at(90))], snapshot(seconds=90, frames=fresh(90)), incident)
    (quiet,) = run([], snapshot(seconds=120, frames=fresh(120)), incident)

    assert quiet.flaps == 1
    assert resolve_quiet(quiet, at(120 + 120), SETTINGS).phase is Phase.OPEN
    assert resolve_quiet(quiet, at(120 + 240), SETTINGS).phase is Phase.RESOLVED


def test_nothing_resolves_while_an_action_is_under_way():
    (incident,) = run([on(0)])
    acting = Incident(
        **{
            f: getattr(incident, f) for f in incident.__slots__ if f not in ("phase", "quiet_since")
        },
        phase=Phase.ACTING,
        quiet_since=at(-3600),
    )

    assert resolve_quiet(acting, NOW, SETTINGS) is acting


def test_an_alert_on_nothing_known_makes_an_incident_of_its_own():
    incidents = run([on(0)], snapshot(alert()))

    assert {i.targets for i in incidents} == {(CLUSTER,), (pod("pod-0"),)}
    assert max(i.severity for i in incidents if i.targets == (CLUSTER,)) is Severity.CRITICAL


def test_different_alerts_on_nothing_known_are_different_incidents():
    assert (
        len(run([], snapshot(alert(name="A"), alert(name="B"), alert(name="A", at=at(-30))))) == 2
    )


def test_an_alert_on_a_pod_joins_its_finding():
    (incident,) = run([on(0)], snapshot(alert(pod("pod-0"))))

    assert len(incident.events) == 1


def test_an_alert_that_resolves_stops_being_a_symptom():
    first = run([], snapshot(alert()))
    over = alert(ended_at=at(30))
    (second,) = run([], snapshot(over, seconds=60), first)

    assert second.events == (over,)
    assert second.quiet_since == at(60)


def test_an_alert_that_ended_long_before_we_looked_opens_nothing():
    assert run([], snapshot(alert(at=at(-900), ended_at=at(-600)))) == ()


def test_an_alert_that_was_over_before_we_looked_is_recorded_as_over():
    event = alert(ended_at=at(-10))
    (incident,) = run([], snapshot(event))

    assert incident.quiet_since == NOW
    over = resolve_quiet(incident, at(130), SETTINGS)
    assert over.phase is Phase.RESOLVED
    assert run([], snapshot(event, seconds=60), recent=(over,)) == ()


def test_what_we_hear_of_hours_late_is_recorded_as_over():
    event = alert(at=at(-9000), ended_at=at(-8000), seen_at=at(-5))
    (incident,) = run([], snapshot(event))
    assert incident.quiet_since == NOW


def test_alerts_of_one_group_on_things_nobody_knows_are_one_incident():
    strangers = [
        alert(Target(Kind.GPU, f"GPU-of-elsewhere-{i}"), group="alertmanager|{}:{node}", at=at(-i))
        for i in range(3)
    ]
    (incident,) = run([], snapshot(*strangers))
    assert len(incident.events) == 3

    latecomer = alert(Target(Kind.GPU, "late"), group="alertmanager|{}:{node}")
    (joined,) = run([], snapshot(*strangers, latecomer, seconds=30), [incident])
    assert len(joined.events) == 4


def test_the_topology_knows_better_than_a_group_of_alerts():
    group = "alertmanager|{}:{alertname}"
    two = [alert(pod("pod-0"), group=group), alert(pod("pod-5"), group=group)]
    assert len(run([], snapshot(*two))) == 2


def test_alerts_of_two_groups_or_of_none_stay_apart():
    apart = [
        alert(Target(Kind.GPU, f"GPU-of-elsewhere-{i}"), group=group)
        for i, group in enumerate(("a", "b", ""))
    ]
    assert len(run([], snapshot(*apart))) == 3


def test_an_event_opens_one_incident_not_one_each_time_it_is_seen():
    event = Event("gpu_lost", Target(Kind.GPU, "GPU-0"), at(-30))
    first = run([], snapshot(event))
    (quiet,) = run([], snapshot(event, seconds=150), first)
    over = resolve_quiet(quiet, at(300), SETTINGS)

    assert over.phase is Phase.RESOLVED
    assert run([], snapshot(event, seconds=300)) == ()
    assert run([], snapshot(event, seconds=30), recent=(over,)) == ()


def test_an_old_event_is_history():
    assert run([], snapshot(Event("gpu_lost", GPU, at(-3000)))) == ()


def test_the_rule_book_says_which_events_are_grave():
    event = Event("xid", GPU, at(-10), attributes={"xid": "79"})

    assert run([], snapshot(event)) == ()
    assert len(run([], snapshot(event), opens=lambda e: Severity.CRITICAL)) == 1


def test_a_storm_is_one_incident_about_what_is_common():
    wide = topology(pods=12, per_workload=1)
    (incident,) = run([on(i) for i in range(8)], snapshot(topology=wide))

    assert "8 of 12 pods" in incident.title


def test_a_latecomer_of_a_storm_joins_it():
    wide = topology(pods=12, per_workload=1)
    first = run([on(0)], snapshot(topology=wide))
    (second,) = run([on(i) for i in range(8)], snapshot(topology=wide), first)

    assert len(second.targets) == 8


def test_most_gpus_of_one_node_that_show_the_same_are_one_incident():
    nodes = [node(f"node-{i}", uid=f"n{i}") for i in range(4)]
    gpus = [[Target(Kind.GPU, f"GPU-{i}-{j}") for j in range(8)] for i in range(4)]
    edges = {(gpu, nodes[i]) for i in range(4) for gpu in gpus[i]}
    wide = Topology({t: Entity(t) for edge in edges for t in edge}, frozenset(edges))
    held = [finding(gpu, signal="gpu_throttle_power_brake") for gpu in gpus[0][:6]]
    (incident,) = run(held, snapshot(topology=wide))
    assert len(incident.targets) == 6
    assert len(run(held[:2], snapshot(topology=wide))) == 2


def test_a_few_of_many_are_no_storm():
    wide = topology(pods=40, per_workload=1)
    assert len(run([on(i) for i in range(4)], snapshot(topology=wide))) == 4


def test_pods_that_leave_a_node_somebody_drains_open_nothing():
    drained = topology(unschedulable=True)
    assert run([on(0, signal="pod_ready")], snapshot(topology=drained)) == ()


def test_pods_that_leave_a_node_healer_cordoned_still_count():
    ours = topology(unschedulable=True, cordon_owner={"id": "x"})
    assert len(run([on(0, signal="pod_ready")], snapshot(topology=ours))) == 1


def test_latency_during_a_drain_still_opens_an_incident():
    drained = topology(unschedulable=True)
    assert len(run([on(0)], snapshot(topology=drained))) == 1


def test_a_fault_that_came_back_lately_starts_out_as_flapping():
    first = run([on(0)])
    (again,) = run([on(0)], recent=first)

    assert again.flaps == 1


def test_an_incident_keeps_its_oldest_onset():
    first = run([on(0)])
    (second,) = run([on(0), on(1, since=at(-400))], snapshot(seconds=15), first)

    assert second.started_at == at(-400)
    assert second.updated_at - NOW == timedelta(seconds=15)


def test_the_successor_of_a_pod_that_is_gone_joins_its_incident():
    first = run([on(0)])
    later = topology()
    without = Topology(
        {t: e for t, e in later.entities.items() if t != pod("pod-0")},
        frozenset(e for e in later.edges if e[0] != pod("pod-0")),
    )
    (second,) = run(
        [on(1, since=at(200), at=at(240))], snapshot(seconds=240, topology=without), first
    )

    assert second.id == first[0].id


def eight_gpus(free: int = 0) -> Topology:
    """GPU-0 to GPU-7 on one node, each under a pod of a workload of its own but the last `free`."""
    box = node("node-x", uid="nx")
    entities, edges = {box: Entity(box, facts={"ready": True})}, set()
    for i in range(8):
        g, p, w = Target(Kind.GPU, f"GPU-{i}"), pod(f"pod-{i}"), workload(f"deployment/w{i}")
        entities |= {g: Entity(g)} | ({} if i >= 8 - free else {p: Entity(p), w: Entity(w)})
        edges |= {(g, box)} | (set() if i >= 8 - free else {(p, box), (p, g), (p, w)})
    return Topology(entities, frozenset(edges))


def brakes(*numbers: int, **changes) -> list:
    known = {"signal": "gpu_throttle_power_brake", **changes}
    return [finding(Target(Kind.GPU, f"GPU-{i}"), **known) for i in numbers]


def test_a_gpu_that_shows_later_what_most_of_its_node_shows_is_no_incident_of_its_own():
    world = eight_gpus(free=1)
    before = run(brakes(0, 1, 2, 3, 4), snapshot(topology=world))
    after = run(brakes(0, 1, 2, 3, 4, 7), snapshot(topology=world, seconds=60), before)

    assert len(before) == len(after) == 1
    assert Target(Kind.GPU, "GPU-7") in after[0].targets


def test_a_gpu_of_the_same_node_with_another_trouble_is_an_incident_of_its_own():
    world = eight_gpus(free=1)
    before = run(brakes(0, 1, 2, 3, 4), snapshot(topology=world))
    more = [*brakes(0, 1, 2, 3, 4), *brakes(7, signal="gpu_temp")]
    after = run(more, snapshot(topology=world, seconds=60), before)

    assert len(after) == 2


def test_gpus_that_are_withheld_are_an_incident_for_as_long_as_they_are():
    event = Event("gpus_withheld", node("node-0", uid="n0"), at(-60))
    (opened,) = run((), snapshot(event))
    (hours_later,) = run((), snapshot(event, seconds=7200), (opened,))
    (over,) = run((), snapshot(seconds=7300), (hours_later,))

    assert hours_later.quiet_since is None
    assert over.quiet_since is not None


def waits(*, others: bool) -> tuple[Incident, Snapshot]:
    """pod-0 could not be scheduled until two minutes ago; its series has ended with that."""
    stuck = finding(pod("pod-0", uid="u0"), signal="pod_unschedulable", at=at(-120))
    (before,) = run([stuck])
    ended = np.concatenate([np.ones((1, 30)), np.full((1, 10), np.nan)], axis=1)
    where = (pod("pod-0", uid="u0"),)
    frames = {"pod_unschedulable": frame(ended, where, name="pod_unschedulable", unit="bool")}
    if others:
        frames["pod_ready"] = frame(np.zeros((1, 40)), where, name="pod_ready", unit="bool")
    return before, snapshot(frames=frames)


def test_a_switch_that_shows_only_while_on_is_off_where_its_source_is_heard():
    before, now = waits(others=True)
    assert run((), now, (before,))[0].quiet_since == NOW


def test_a_switch_that_ends_with_its_source_cannot_be_told():
    before, now = waits(others=False)
    assert run((), now, (before,))[0].quiet_since is None
