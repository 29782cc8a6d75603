"""SIGKILL at each state of an intent, in the middle of a drain, read off the API server's log."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from killable import Daemon, called_once_each, daemon

from healer.adapters.store import open_store
from healer.lab.lab import Lab
from healer.lab.scenario import Allowed, Expectation, FaultSpec, HistorySpec, Scenario
from healer.lab.scoring import changes
from healer.lab.web import Request, Response, Server
from healer.model.intent import Intent, State
from healer.ports import Store

TICK = timedelta(seconds=15)
LOST = Scenario(
    "killed",
    duration=timedelta(minutes=25),
    history=HistorySpec(span=timedelta(days=1)),
    faults=(FaultSpec("gpu_off_bus", at=timedelta(minutes=1), target="gpu:llama-8b/0"),),
    expect=(Expectation(causes=("gpu_off_bus",), remediations=("drain_node",)),),
    allowed=(Allowed("cordon", "node:*"), Allowed("evict", "pod:serving/*")),
)
ENDED = (State.SUCCEEDED, State.FAILED, State.ABORTED, State.UNKNOWN)
thorough = pytest.mark.skipif(
    not os.environ.get("HEALER_FAILOVER"), reason="takes long: `make test-failover`"
)

Until = Callable[[Intent], bool]


def never(_intent: Intent) -> bool:
    return False


def in_state(state: State, steps_done: int) -> Until:
    return lambda intent: intent.state is state and sum(s.done for s in intent.steps) == steps_done


@dataclass
class Story:
    """A daemon in a process of its own beside the lab, and what kills it."""

    database: str
    asking: bool = False
    """Whether the drain waits for somebody's yes."""
    lab: Lab = field(default_factory=lambda: Lab(LOST))
    deadly: Callable[[Request], bool] = lambda _request: False
    before: bool = False
    """Whether who sends the deadly request dies before it is carried out."""
    _victim: Daemon | None = None

    def answer(self, request: Request) -> Response:
        victim = self._victim if self.deadly(request) else None
        if victim is not None and victim.alive:
            if self.before:
                victim.kill()
                return Response(0, drop=True)
            answer = self.lab.kubernetes(request)
            victim.kill()
            return answer
        return self.lab.kubernetes(request)

    def run(self, until: Until) -> None:
        """A daemon ticks until its drain has come so far, or it is dead; then it is killed."""
        with (
            Server(self.lab.prometheus) as prometheus,
            Server(self.answer) as kubernetes,
            daemon(prometheus.url, kubernetes.url, self.database, asking=self.asking) as healer,
            self.store() as store,
        ):
            self._victim = healer
            while self.lab.now < LOST.start + LOST.duration:
                self.lab.advance(self.lab.now + TICK)
                lived = healer.tick(self.lab.now)
                if not lived or any(until(intent) for intent in drains(store)):
                    healer.kill()
                    return
        raise AssertionError("it never came to that")

    @contextmanager
    def store(self) -> Iterator[Store]:
        store = open_store(self.database)
        try:
            yield store
        finally:
            store.close()


def drains(store: Store) -> list[Intent]:
    return [i for i in store.intents() if i.plan.remediation == "drain_node"]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(f"sqlite:///{tmp_path / 'healer.db'}")


def goes_on(story: Story) -> None:
    """Another daemon ends what was begun: each call of the drain reaches the cluster once."""
    story.deadly = lambda _request: False
    story.run(lambda intent: intent.state in ENDED)
    with story.store() as store:
        (intent,) = drains(store)
        assert intent.state is State.SUCCEEDED, intent.note
        assert store.verify_audit()[1] == ""
    assert called_once_each(intent, story.lab.write_log)


def test_killed_while_it_waits_for_a_yes_it_waits_on_and_acts_once(story: Story) -> None:
    story.asking = True
    story.run(in_state(State.PLANNED, 0))
    assert changes(story.lab.write_log) == []
    with story.store() as store:
        (intent,) = drains(store)
        assert store.decide(intent.id, intent.digest, "ann", yes=True, at=story.lab.now)
    goes_on(story)


@pytest.mark.parametrize(
    ("state", "steps_done"),
    [(State.EXECUTING, 1), pytest.param(State.VERIFYING, 3, marks=thorough)],
    ids=["a part of it done", "all of it done"],
)
def test_killed_between_two_ticks_it_goes_on_where_it_stood(
    story: Story, state: State, steps_done: int
) -> None:
    story.run(in_state(state, steps_done))
    goes_on(story)


@pytest.mark.parametrize(
    ("call", "verb", "before"),
    [
        ("/nodes/", "cordon_node", True),
        pytest.param("/nodes/", "cordon_node", False, marks=thorough),
        pytest.param("/eviction", "evict_pod", True, marks=thorough),
        ("/eviction", "evict_pod", False),
    ],
)
def test_killed_in_a_call_it_looks_before_it_calls_again(
    story: Story, call: str, verb: str, before: bool
) -> None:
    story.deadly = lambda request: (
        call in request.path and request.method != "GET" and request.param("dryRun") != "All"
    )
    story.before = before
    story.run(never)
    with story.store() as store:
        (intent,) = drains(store)
    assert intent.state is State.EXECUTING
    at = next(n for n, step in enumerate(intent.steps) if step.receipt is None)
    assert intent.steps[at].sent_at is not None, "written down before it was sent"
    assert intent.steps[at].action.verb == verb
    goes_on(story)
