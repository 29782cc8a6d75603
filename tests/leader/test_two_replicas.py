"""Two replicas in one process on a stepped clock: deaths and partitions at chosen moments."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import requests
import servers
from killable import called_once_each
from kube_world import NAMESPACE, World

from healer.adapters.clocks import SteppedClock
from healer.adapters.kubernetes import KubernetesHands, connect
from healer.adapters.lease import LeaseElector
from healer.app import App, open_world
from healer.cli.simulation import MOUNTED, lab_settings
from healer.errors import Temporary
from healer.lab.lab import Lab
from healer.lab.mount import MountedAdapter, MountedPool
from healer.lab.scenario import FaultSpec, HistorySpec, Scenario
from healer.lab.scoring import changes
from healer.lab.web import Request, Response
from healer.model.actions import EvictPod
from healer.model.intent import State
from healer.model.target import Kind, Target
from healer.settings import KubernetesSettings, LeaseSettings

STORY = Scenario(
    "replicas",
    duration=timedelta(minutes=20),
    history=HistorySpec(span=timedelta(hours=2)),
    faults=(FaultSpec("engine_hang", at=timedelta(minutes=2), target="pod:llama-8b/1"),),
)
LOST = dataclasses.replace(
    STORY, faults=(FaultSpec("gpu_off_bus", at=timedelta(minutes=2), target="gpu:llama-8b/0"),)
)
BEAT = timedelta(seconds=3)


class Killed(BaseException):
    """SIGKILL: nothing of the replica runs any more, no `except` and no `finally` of ours."""


class Replica:
    def __init__(self, lab: Lab, clock: SteppedClock, store_url: str, name: str) -> None:
        self.name, self.dead, self.partitioned = name, False, False
        self.at_eviction: Callable[[Callable[[], Response]], Response] | None = None
        self._lab = lab
        settings = dataclasses.replace(
            lab_settings(store_url), lease=LeaseSettings(namespace="serving", identity=name)
        )
        session = requests.Session()
        session.mount(MOUNTED, MountedAdapter(lab.prometheus))
        api = connect(settings.kubernetes)
        api.rest_client.pool_manager = MountedPool(self._kubernetes)
        self.app = App(settings, open_world(settings, clock, session, api))
        elector = self.app.world.leading
        assert isinstance(elector, LeaseElector)
        self.elector = elector

    def beat(self, *, tick: bool) -> None:
        if self.dead:
            return
        try:
            self.elector.step()
            if tick and self.app.in_office():
                self.app.tick()
        except Killed:
            self.dead = True

    def _kubernetes(self, request: Request) -> Response:
        if self.partitioned:
            return Response(0, drop=True)

        def answer() -> Response:
            return self._lab.kubernetes(request)

        real = not any(key == "dryRun" for key, _ in request.query)
        if self.at_eviction and real and request.path.endswith("/eviction"):
            react, self.at_eviction = self.at_eviction, None
            return react(answer)
        return answer()


class Pair:
    def __init__(self, store_url: str, story: Scenario = STORY) -> None:
        self.lab = Lab(story)
        self.clock = SteppedClock(self.lab.now)
        self.two = [Replica(self.lab, self.clock, store_url, name) for name in ("one", "two")]
        self.beats = 0

    def run(self, span: timedelta) -> None:
        for _ in range(int(span / BEAT)):
            self.beats += 1
            self.clock.move(BEAT)
            self.lab.advance(self.clock.now())
            for each in self.two:
                each.beat(tick=self.beats % 5 == 0)

    def leaders(self) -> list[str]:
        return [each.name for each in self.two if not each.dead and each.elector.epoch()]

    def evictions(self) -> int:
        return [verb for _, verb, _ in changes(self.lab.write_log)].count("evict")


@pytest.fixture
def pair(postgres: str) -> Iterator[Pair]:
    made = Pair(servers.new_database(postgres))
    yield made
    for each in made.two:
        each.app.close()


def before(answer: Callable[[], Response]) -> Response:
    raise Killed


def after(answer: Callable[[], Response]) -> Response:
    answer()
    raise Killed


thorough = pytest.mark.skipif(
    not os.environ.get("HEALER_FAILOVER"), reason="takes long: `make test-failover`"
)


@pytest.mark.server
@pytest.mark.parametrize("moment", [pytest.param(before, marks=thorough), after])
def test_a_leader_that_dies_in_its_eviction_is_followed_and_the_pod_evicted_once(
    pair: Pair, moment: Callable[[Callable[[], Response]], Response]
) -> None:
    pair.run(timedelta(seconds=30))
    assert pair.leaders() == ["one"]
    for each in pair.two:
        each.at_eviction = moment if each.name == "one" else None
    store = pair.two[1].app.store
    for _ in range(48):
        pair.run(timedelta(seconds=15))
        if any(i.outcome for i in store.intents()):
            break
    assert pair.two[0].dead
    assert pair.leaders() == ["two"]
    assert pair.evictions() == 1
    (epoch,) = {i.epoch for i in store.intents() if i.plan.remediation == "restart_pod"}
    assert epoch.endswith(":0" if moment is after else ":1"), "who sent it, in which term"
    assert [i.state for i in store.intents() if i.plan.remediation == "restart_pod"] == [
        State.SUCCEEDED
    ]
    assert store.verify_audit()[1] == ""


@thorough
@pytest.mark.server
def test_a_partitioned_leader_falls_silent_and_heals_nothing_twice_when_it_is_back(
    pair: Pair,
) -> None:
    pair.run(timedelta(minutes=2))
    pair.two[0].partitioned = True
    pair.run(timedelta(minutes=6))
    assert pair.leaders() == ["two"]
    pair.two[0].partitioned = False
    pair.run(timedelta(minutes=6))
    assert pair.leaders() == ["two"]
    assert pair.evictions() == 1
    assert pair.two[1].app.store.verify_audit()[1] == ""


@thorough
@pytest.mark.server
@pytest.mark.parametrize("arrived", [True, False])
def test_a_drain_whose_leader_is_cut_off_half_way_is_ended_by_the_other(
    postgres: str, *, arrived: bool
) -> None:
    pair = Pair(servers.new_database(postgres), LOST)
    one, two = pair.two

    def cut(answer: Callable[[], Response]) -> Response:
        one.partitioned = True
        if arrived:
            answer()
        return Response(0, drop=True)

    pair.run(timedelta(seconds=30))
    assert pair.leaders() == ["one"]
    one.at_eviction = cut
    pair.run(timedelta(minutes=12))
    assert one.partitioned
    assert pair.leaders() == ["two"]
    one.partitioned = False
    pair.run(timedelta(minutes=1))
    (drain,) = [i for i in two.app.store.intents() if i.plan.remediation == "drain_node"]
    assert drain.state is State.SUCCEEDED, drain.note
    assert called_once_each(drain, pair.lab.write_log)
    assert two.app.store.verify_audit()[1] == ""
    for each in pair.two:
        each.app.close()


def test_a_lease_lost_in_the_middle_of_a_drain_stops_it_before_the_next_call() -> None:
    world = World()
    world.node("gpu-a", 32)
    world.deployment(replicas=3)
    world.step(3)
    cut = False

    def answer(request: Request) -> Response:
        return (
            Response(0, drop=True)
            if cut and "leases" in request.path
            else world.server.handle(request)
        )

    api = connect(KubernetesSettings(url=MOUNTED))
    api.rest_client.pool_manager = MountedPool(answer)
    elector = LeaseElector(api, world.clock, LeaseSettings(namespace=NAMESPACE, identity="one"))
    elector.step()
    hands = KubernetesHands(api, world.clock, leading=elector)
    owner = Target(Kind.WORKLOAD, "deployment/llama", NAMESPACE)
    drain = [
        EvictPod(
            Target(Kind.POD, pod["metadata"]["name"], NAMESPACE), owner, pod["metadata"]["uid"]
        )
        for pod in world.pods()
    ]
    assert hands.carry_out(drain[0], "i").ok
    cut = True
    for _ in range(3):
        world.clock.move(timedelta(seconds=3))
        elector.step()
    with pytest.raises(Temporary, match="another replica may lead"):
        hands.carry_out(drain[1], "i")
    assert hands.rehearse(drain[1], "i").ok
    sent = [w for w in world.server.write_log if w.path.endswith("/eviction") and not w.dry_run]
    assert len(sent) == 1
