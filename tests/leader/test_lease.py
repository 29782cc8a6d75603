"""The elector on a clock moved by hand, against the simulated API server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from kube_world import NAMESPACE, World

from healer.adapters.clocks import SteppedClock
from healer.adapters.kubernetes import connect
from healer.adapters.lease import LeaseElector
from healer.adapters.lease_limits import acting_s, check, own_namespace
from healer.errors import BadInput
from healer.lab.kube.faults import Fault
from healer.lab.mount import MountedPool
from healer.lab.web import Request, Response
from healer.settings import KubernetesSettings, LeaseSettings

LEASES = "coordination/leases"
SETTINGS = LeaseSettings(namespace=NAMESPACE)


class Replica:
    """An elector with a line of its own to the API server, which can be cut."""

    def __init__(self, world: World, name: str, settings: LeaseSettings = SETTINGS) -> None:
        self.cut = False
        self.told: list[str] = []
        self._world = world
        api = connect(KubernetesSettings(url="http://mounted"))
        api.rest_client.pool_manager = MountedPool(self._handle)
        self.elector = LeaseElector(
            api, world.clock, replace(settings, identity=name), self.told.append
        )

    def _handle(self, request: Request) -> Response:
        return Response(0, drop=True) if self.cut else self._world.server.handle(request)


def lease(world: World) -> dict[str, Any]:
    return dict(world.get(LEASES, "healer")["spec"])


def move(world: World, seconds: float) -> None:
    world.clock.move(timedelta(seconds=seconds))


@pytest.fixture
def two(world: World) -> tuple[World, Replica, Replica]:
    return world, Replica(world, "one"), Replica(world, "two")


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_takes_the_lease_and_the_second_stands_by(
    two: tuple[World, Replica, Replica],
) -> None:
    world, one, other = two
    one.elector.step()
    other.elector.step()
    uid = world.get(LEASES, "healer")["metadata"]["uid"]
    assert one.elector.epoch() == f"{uid}:0"
    assert other.elector.epoch() == ""
    assert other.elector.holder == "one"
    assert lease(world)["holderIdentity"] == "one"


def test_a_leader_that_renews_stays_for_hours(two: tuple[World, Replica, Replica]) -> None:
    world, one, other = two
    for _ in range(3000):
        one.elector.step()
        other.elector.step()
        assert one.elector.epoch()
        assert not other.elector.epoch()
        move(world, 2)
    assert lease(world)["leaseTransitions"] == 0
    assert len(one.told) == 1


def test_a_leader_that_died_is_followed_within_the_lease(
    two: tuple[World, Replica, Replica],
) -> None:
    world, one, other = two
    one.elector.step()
    waited, pause = 0.0, other.elector.step()
    while not other.elector.epoch():
        move(world, pause)
        waited += pause
        pause = other.elector.step()
    assert 11.99 < waited < 12.5
    assert lease(world)["leaseTransitions"] == 1


def test_two_never_lead_at_once_whatever_lines_are_cut(
    two: tuple[World, Replica, Replica],
) -> None:
    world, one, other = two
    for second in range(600):
        one.cut, other.cut = (second // 17) % 3 == 1, (second // 29) % 3 == 2
        one.elector.step()
        other.elector.step()
        for _ in range(4):
            assert not (one.elector.epoch() and other.elector.epoch())
            move(world, 0.25)
    assert lease(world)["leaseTransitions"] > 5


def test_a_leader_stops_before_anybody_else_may_begin_by_the_length_of_a_request(
    two: tuple[World, Replica, Replica],
) -> None:
    world, one, _ = two
    one.elector.step()
    one.cut = True
    move(world, acting_s(SETTINGS) - 0.1)
    assert one.elector.epoch()
    move(world, 0.2)
    assert not one.elector.epoch()
    one.elector.step()
    assert one.told[-1] == ""


def test_another_term_is_another_epoch(two: tuple[World, Replica, Replica]) -> None:
    world, one, other = two
    one.elector.step()
    first = one.elector.epoch()
    other.elector.step()
    move(world, 13)
    other.elector.step()
    second = other.elector.epoch()
    one.elector.step()
    move(world, 13)
    one.elector.step()
    third = one.elector.epoch()
    assert len({first, second, third}) == 3
    assert other.elector.epoch() == ""


def test_a_lease_made_anew_is_another_epoch(two: tuple[World, Replica, Replica]) -> None:
    world, one, _ = two
    one.elector.step()
    before = one.elector.epoch()
    world.store.delete(LEASES, NAMESPACE, "healer")
    one.elector.step()
    assert one.elector.epoch() not in ("", before)


def test_resigning_hands_over_at_once(two: tuple[World, Replica, Replica]) -> None:
    world, one, other = two
    one.elector.step()
    other.elector.step()
    one.elector.resign()
    assert one.elector.epoch() == ""
    assert one.told[-1] == ""
    move(world, 0.1)
    other.elector.step()
    assert other.elector.epoch()
    assert lease(world)["leaseTransitions"] == 1


def test_one_that_does_not_lead_resigns_without_a_word(
    two: tuple[World, Replica, Replica],
) -> None:
    world, one, other = two
    one.elector.step()
    other.elector.step()
    writes = len(world.server.write_log)
    other.elector.resign()
    assert len(world.server.write_log) == writes
    assert one.elector.epoch()


def test_a_lost_answer_to_a_renewal_is_not_taken_for_one(
    two: tuple[World, Replica, Replica],
) -> None:
    world, one, _ = two
    one.elector.step()
    move(world, 5.5)
    world.server.faults.add(Fault("lose_answer", method="PUT"))
    one.elector.step()
    move(world, 1)
    assert one.elector.epoch() == ""
    one.elector.step()
    assert one.elector.epoch().endswith(":0")


def test_of_two_that_grasp_at_once_one_gets_it(two: tuple[World, Replica, Replica]) -> None:
    world, one, other = two
    one.elector.step()
    other.elector.step()
    move(world, 13)
    world.server.faults.add(Fault("conflict", method="PUT"))
    other.elector.step()
    assert other.elector.epoch() == ""
    other.elector.step()
    assert other.elector.epoch()


def test_the_wall_clock_does_not_matter(world: World) -> None:
    """A holder whose clock is an hour slow looks expired by its own words, and is not."""
    one = Replica(world, "one")
    slow = SteppedClock(world.clock.now() - timedelta(hours=1))
    one.elector._clock = slow
    other = Replica(world, "two")
    for _ in range(30):
        one.elector.step()
        other.elector.step()
        assert not other.elector.epoch()
        move(world, 2)
        slow.move(timedelta(seconds=2))


def test_a_denied_lease_leaves_everybody_standing_by(world: World) -> None:
    world.server.access.deny("create", "leases")
    one = Replica(world, "one")
    one.elector.step()
    assert one.elector.epoch() == ""


def test_a_missing_digit_of_a_second_does_not_upset_the_server(world: World) -> None:
    """The server's parser wants six digits even where the microseconds are none."""
    one = Replica(world, "one")
    assert world.clock.now().microsecond == 0
    one.elector.step()
    assert lease(world)["renewTime"].endswith(".000000Z")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (replace(SETTINGS, renew_deadline=timedelta(seconds=12)), "lease.renew_deadline"),
        (replace(SETTINGS, retry_every=timedelta(seconds=9)), "lease.retry_every"),
        (
            replace(SETTINGS, duration=timedelta(seconds=8), renew_deadline=timedelta(seconds=7)),
            "lease.duration",
        ),
    ],
)
def test_times_that_leave_no_moment_to_act_are_refused(given: LeaseSettings, path: str) -> None:
    with pytest.raises(BadInput, match=path):
        check(given)


def test_the_namespace_is_the_pods_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_NAMESPACE", raising=False)
    (tmp_path / "namespace").write_text("healing\n")
    assert own_namespace(tmp_path / "namespace") == "healing"
    with pytest.raises(BadInput, match=r"lease\.namespace"):
        own_namespace(tmp_path / "none")
