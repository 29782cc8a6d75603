"""One look at the world: incremental queries, and a tick that goes on whatever fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import builders
import numpy as np
import pytest

from healer.adapters.observer import Observer
from healer.errors import Permanent, Temporary
from healer.model.event import Event
from healer.model.frame import Frame
from healer.model.signal import EventRule, Signal
from healer.model.snapshot import Problem, Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import ClusterView, Episode, Matrix
from healer.settings import LoopSettings

STEP = timedelta(seconds=15)
SETTINGS = LoopSettings(window=timedelta(minutes=5), step=STEP)
POD = Target(Kind.POD, "vllm-0", "serving", "uid-v")
LABELS = {"namespace": "serving", "pod": "vllm-0"}
CPU = builders.signal("node_cpu_busy", query="cpu", scope=Kind.NODE, source="node_exporter")
TTFT = builders.signal("ttft_p95", query="ttft", metrics=("ttft_bucket",))
NAN = float("nan")

Series = Callable[[float], float]


@dataclass
class ScriptedMetrics:
    """Answers with functions of time, and writes down what it was asked."""

    series: dict[str, list[tuple[Mapping[str, str], Series]]] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    known: frozenset[str] | Exception = frozenset({"ttft_bucket"})
    asked: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    asked_names: int = 0

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> Matrix:
        self.asked.append((query, start, end))
        if error := self.errors.get(query):
            raise error
        times = np.arange(start.timestamp(), end.timestamp() + 1, step.total_seconds())
        rows = [(labels, [at(t) for t in times]) for labels, at in self.series.get(query, [])]
        rows = [(labels, values) for labels, values in rows if np.isfinite(values).any()]
        values = np.array([values for _, values in rows], np.float64).reshape(-1, len(times))
        return Matrix(times, values, tuple(labels for labels, _ in rows))

    def instant(self, query: str, at: datetime | None = None) -> Matrix:
        raise AssertionError("the observer asks ranges only")

    def names(self) -> frozenset[str]:
        self.asked_names += 1
        if isinstance(self.known, Exception):
            raise self.known
        return self.known


@dataclass
class StillCluster:
    seen: ClusterView = field(
        default_factory=lambda: ClusterView(Topology({POD: Entity(POD, facts={"ip": "10.0.0.7"})}))
    )

    def view(self) -> ClusterView:
        return self.seen

    def denied(self) -> Mapping[str, str]:
        return {}


@dataclass
class Episodes:
    """The one thing of the store that is read here."""

    held: tuple[Episode, ...] = ()
    error: Exception | None = None

    def episodes(self, since: datetime) -> tuple[Episode, ...]:
        if self.error:
            raise self.error
        return self.held


def observer(
    metrics: ScriptedMetrics,
    *signals: Signal,
    cluster: StillCluster | None = None,
    store: Episodes | None = None,
) -> Observer:
    return Observer(
        metrics,
        cluster or StillCluster(),
        signals or (TTFT,),
        SETTINGS,
        store or Episodes(),  # type: ignore[arg-type]
    )


def at(tick: int) -> datetime:
    return builders.NOW + tick * STEP


def ramp(t: float) -> float:
    return (t - builders.NOW.timestamp()) / STEP.total_seconds()


def steps(snapshot: Snapshot, name: str = "ttft_p95") -> list[float]:
    return [float(each) for each in snapshot.frames[name].values[0]]


def test_the_first_tick_asks_the_window_and_the_next_only_what_is_new() -> None:
    metrics = ScriptedMetrics({"ttft": [(LABELS, ramp)]})
    watch = observer(metrics)
    assert steps(watch.snapshot(at(0))) == list(range(-20, 1))
    assert steps(watch.snapshot(at(1))) == list(range(-19, 2))
    (_, start, end), (_, next_start, next_end) = metrics.asked
    assert end - start == SETTINGS.window
    assert next_end - next_start == 4 * STEP
    assert next_end == at(1)


def test_a_sample_that_came_late_replaces_the_gap() -> None:
    known = {0}
    metrics = ScriptedMetrics({"ttft": [(LABELS, lambda t: 1.0 if ramp(t) in known else NAN)]})
    watch = observer(metrics)
    watch.snapshot(at(0))
    assert np.isnan(steps(watch.snapshot(at(1)))[-1])
    known |= {1, 2}
    assert steps(watch.snapshot(at(2)))[-3:] == [1, 1, 1]


def test_missed_ticks_are_caught_up() -> None:
    watch = observer(ScriptedMetrics({"ttft": [(LABELS, ramp)]}))
    watch.snapshot(at(0))
    assert steps(watch.snapshot(at(7))) == list(range(-13, 8))
    assert steps(watch.snapshot(at(500))) == list(range(480, 501))


def test_a_clock_set_back_begins_anew() -> None:
    watch = observer(ScriptedMetrics({"ttft": [(LABELS, ramp)]}))
    watch.snapshot(at(10))
    assert steps(watch.snapshot(at(3))) == list(range(-17, 4))


def test_ticks_between_two_steps_stay_on_the_grid() -> None:
    watch = observer(ScriptedMetrics({"ttft": [(LABELS, ramp)]}))
    for seconds in (1, 8, 14):
        found = watch.snapshot(at(0) + timedelta(seconds=seconds))
        assert steps(found)[-1] == 0
    assert steps(watch.snapshot(at(1)))[-1] == 1


def test_series_come_and_go_with_their_pods() -> None:
    other = {"namespace": "serving", "pod": "vllm-1"}
    metrics = ScriptedMetrics(
        {
            "ttft": [
                (LABELS, lambda t: 1.0 if ramp(t) <= 0 else NAN),
                (other, lambda t: 2.0 if ramp(t) > 0 else NAN),
            ]
        }
    )
    watch = observer(metrics)
    assert [each.name for each in watch.snapshot(at(0)).frames["ttft_p95"].targets] == ["vllm-0"]
    both = watch.snapshot(at(1)).frames["ttft_p95"]
    assert [each.name for each in both.targets] == ["vllm-0", "vllm-1"]
    later = [watch.snapshot(at(tick)) for tick in range(2, 30)][-1]
    assert [each.name for each in later.frames["ttft_p95"].targets] == ["vllm-1"]


def test_rows_carry_the_uid_of_the_topology() -> None:
    watch = observer(ScriptedMetrics({"ttft": [({"instance": "10.0.0.7:8000"}, ramp)]}))
    (target,) = watch.snapshot(at(0)).frames["ttft_p95"].targets
    assert (target, target.uid) == (POD, "uid-v")


def test_a_signal_without_series_has_no_frame() -> None:
    assert not observer(ScriptedMetrics()).snapshot(at(0)).frames


def test_a_query_without_metrics_costs_nothing_and_names_are_asked_ever_less() -> None:
    metrics = ScriptedMetrics({"ttft": [(LABELS, ramp)]}, known=frozenset({"other"}))
    watch = observer(metrics)
    for tick in range(240):
        watch.snapshot(at(tick))
    assert not metrics.asked
    assert metrics.asked_names == 16, "six within eight minutes, then one in five"
    metrics.known = frozenset({"ttft_bucket"})
    found = [bool(watch.snapshot(at(tick)).frames) for tick in range(240, 262)]
    assert found[-1], "a new engine is seen within five minutes"


def test_engines_that_come_up_with_the_daemon_are_seen_at_once() -> None:
    metrics = ScriptedMetrics({"ttft": [(LABELS, ramp)]}, known=frozenset())
    watch = observer(metrics)
    watch.snapshot(at(0))
    metrics.known = frozenset({"ttft_bucket"})
    assert watch.snapshot(at(1)).frames


def test_one_refused_query_is_a_problem_and_the_others_go_on() -> None:
    metrics = ScriptedMetrics(
        {"ttft": [(LABELS, ramp)]}, errors={"cpu": Permanent("parse error at 1")}
    )
    found = observer(metrics, CPU, TTFT).snapshot(at(0))
    assert found.problems == (Problem("signal.node_cpu_busy", "parse error at 1", at(0)),)
    assert "ttft_p95" in found.frames
    assert found.metrics_ok


def test_a_silent_prometheus_is_asked_a_few_times_and_told_once() -> None:
    gone = Temporary("connection refused")
    many = [builders.signal(f"s{n}", query=f"q{n}") for n in range(60)]
    metrics = ScriptedMetrics(errors={each.query: gone for each in many}, known=gone)
    found = observer(metrics, *many).snapshot(at(0))
    assert not found.metrics_ok
    assert found.problems == (Problem("prometheus", "connection refused", at(0)),)
    assert len(metrics.asked) <= 3


def test_silence_leaves_holes_and_recovers_by_itself() -> None:
    metrics = ScriptedMetrics({"ttft": [(LABELS, ramp)]})
    watch = observer(metrics)
    watch.snapshot(at(0))
    metrics.errors["ttft"] = Temporary("timeout")
    silent = watch.snapshot(at(4))
    assert not silent.metrics_ok
    assert steps(silent)[-6:-4] == [-1, 0]
    assert np.isnan(steps(silent)[-4:]).all()
    metrics.errors.clear()
    back = watch.snapshot(at(5))
    assert back.metrics_ok
    assert steps(back)[-6:] == [0, 1, 2, 3, 4, 5]


def test_a_single_slow_query_does_not_make_prometheus_silent() -> None:
    metrics = ScriptedMetrics({"ttft": [(LABELS, ramp)]}, errors={"cpu": Temporary("timeout")})
    found = observer(metrics, CPU, TTFT).snapshot(at(0))
    assert found.metrics_ok
    assert [each.where for each in found.problems] == ["signal.node_cpu_busy"]


def test_a_silent_api_server_leaves_rows_where_they_were() -> None:
    cluster = StillCluster()
    watch = observer(
        ScriptedMetrics({"ttft": [({"instance": "10.0.0.7:8000"}, ramp)]}), cluster=cluster
    )
    watch.snapshot(at(0))
    problem = Problem("kubernetes", "unreachable", at(1))
    cluster.seen = ClusterView(Topology(complete=False), problems=(problem,), ok=False)
    found = watch.snapshot(at(1))
    assert found.frames["ttft_p95"].targets == (POD,)
    assert (found.cluster_ok, found.problems) == (False, (problem,))


def test_a_broken_store_is_a_problem_and_no_end() -> None:
    store = Episodes(error=Temporary("database is locked"))
    found = observer(ScriptedMetrics({"ttft": [(LABELS, ramp)]}), store=store).snapshot(at(0))
    assert [each.where for each in found.problems] == ["store.episodes"]
    assert "ttft_p95" in found.frames


XID = builders.signal(
    "gpu_xid",
    query="xid",
    scope=Kind.GPU,
    source="healer_exporter",
    event=EventRule("xid", "xid"),
    keep=("xid",),
)
TEMP = builders.signal("gpu_temp", query="temp", scope=Kind.GPU, source="dcgm")
GPU = {"UUID": "GPU-a"}


def xids(snapshot: Snapshot) -> list[Event]:
    return [event for event in snapshot.events if event.kind == "xid"]


def test_an_xid_is_told_with_the_same_key_until_it_is_two_hours_old() -> None:
    counter = ({**GPU, "xid": "79"}, lambda t: 1.0 if ramp(t) >= 3 else NAN)
    metrics = ScriptedMetrics({"xid": [counter], "temp": [(GPU, lambda t: 60.0)]})
    watch = observer(metrics, XID, TEMP)
    assert not xids(watch.snapshot(at(2)))
    keys = {tick: [event.key for event in xids(watch.snapshot(at(tick)))] for tick in range(3, 60)}
    assert {len(each) for each in keys.values()} == {1}
    assert len({each[0] for each in keys.values()}) == 1
    assert not xids(watch.snapshot(at(3) + timedelta(hours=2, seconds=15)))


def test_old_xids_of_an_exporter_just_found_are_no_news() -> None:
    counter = ({**GPU, "xid": "79"}, lambda t: 4.0 if ramp(t) >= -5 else NAN)
    temp = (GPU, lambda t: 60.0 if ramp(t) >= -5 else NAN)
    watch = observer(ScriptedMetrics({"xid": [counter], "temp": [temp]}), XID, TEMP)
    assert not xids(watch.snapshot(at(0)))


def test_alerts_and_cluster_events_stand_beside_them_oldest_first() -> None:
    alert = Episode("alertmanager", "f", at(-1), {"alertname": "Slow", **LABELS})
    rollout = Event("rollout", POD, at(-4), source="kubernetes")
    view = ClusterView(Topology({POD: Entity(POD)}), (rollout,))
    found = observer(
        ScriptedMetrics(), cluster=StillCluster(view), store=Episodes((alert,))
    ).snapshot(at(0))
    assert [event.kind for event in found.events] == ["rollout", "alert"]
    assert found.events[1].target == POD


def test_history_is_a_frame_on_its_own_grid() -> None:
    metrics = ScriptedMetrics({"ttft": [(LABELS, ramp)]})
    watch = observer(metrics)
    step = timedelta(minutes=1)
    frame = watch.history(TTFT, at(0), timedelta(days=14), step)
    assert frame.values.shape == (1, 14 * 24 * 60 + 1)
    assert frame.step_s == 60
    np.testing.assert_allclose(frame.values[0], [ramp(t) for t in frame.times], rtol=1e-6)


def test_history_covers_every_source_of_the_name() -> None:
    sglang = builders.signal("ttft_p95", query="sg", source="sglang")
    other = {"namespace": "serving", "pod": "sg-0"}
    metrics = ScriptedMetrics({"ttft": [(LABELS, ramp)], "sg": [(other, ramp)]})
    frame: Frame = observer(metrics, TTFT, sglang).history(
        TTFT, at(0), timedelta(hours=1), timedelta(minutes=1)
    )
    assert [each.name for each in frame.targets] == ["vllm-0", "sg-0"]


def test_history_tells_when_there_is_no_answer() -> None:
    watch = observer(ScriptedMetrics(errors={"ttft": Temporary("timeout")}))
    with pytest.raises(Temporary):
        watch.history(TTFT, at(0), timedelta(hours=1), timedelta(minutes=1))
