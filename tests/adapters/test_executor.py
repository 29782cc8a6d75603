"""Written down, then sent, then the answer written down; nothing is sent twice on a guess."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta

import builders
import healing_worlds as worlds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from healer.adapters.clocks import SteppedClock
from healer.adapters.executor import Executor
from healer.adapters.store import SqlStore, open_store
from healer.errors import Permanent, Temporary, UnknownOutcome
from healer.guards import standard
from healer.model.actions import Action, CordonNode, EvictPod
from healer.model.audit import AuditEntry
from healer.model.intent import ACTIVE_STATES, Effect, Intent, Outcome, Receipt, State
from healer.model.plan import Plan
from healer.model.target import Kind, Target
from healer.model.verdict import Decision, Judgement, Verdict
from healer.stages.guard import judge

QUARTER = timedelta(minutes=15)
YES = Receipt(True, builders.NOW, "done")


class FakeHands:
    """Answers from a script, an exception being raised; remembers what it was asked to do."""

    def __init__(self, *script: Receipt | Exception, holds: bool | None = None) -> None:
        self.script, self.holding = list(script), holds
        self.done: list[Action] = []
        self.rehearsed: list[Action] = []
        self.before: Callable[[str], None] = lambda _: None

    def rehearse(self, action: Action, intent_id: str) -> Receipt:
        self.rehearsed.append(action)
        return Receipt(True, builders.NOW, "would be done", dry_run=True)

    def carry_out(self, action: Action, intent_id: str) -> Receipt:
        self.before(intent_id)
        self.done.append(action)
        answer = self.script.pop(0) if self.script else YES
        if isinstance(answer, Exception):
            raise answer
        return answer

    def holds(self, action: Action, intent_id: str) -> bool | None:
        return self.holding


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = open_store("sqlite://")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(builders.NOW)


def says(decision: Decision = Decision.ALLOW) -> Judgement:
    return Judgement("p", (Verdict("test", decision, ("because",)),))


def drain() -> Plan:
    node, pod = worlds.NODES[0], worlds.PODS[0]
    actions = (CordonNode(node, node.uid, "7"), EvictPod(pod, worlds.WORKLOAD, pod.uid))
    return builders.plan(remediation="drain_node", target=node, actions=actions)


def begin(executor: Executor, plan: Plan | None = None, judged: Judgement | None = None) -> Intent:
    started = executor.start(plan or builders.plan(), judged or says(), QUARTER)
    assert started is not None
    return started


def kinds(store: SqlStore) -> list[str]:
    return [entry.kind for _, entry in store.audit()]


def test_intent_and_audit_are_durable_before_the_call(store: SqlStore, clock: SteppedClock) -> None:
    hands = FakeHands()
    seen: list[tuple[State, bool, str]] = []

    def look(intent_id: str) -> None:
        found = store.intent(intent_id)
        assert found is not None
        seen.append((found.state, found.steps[0].sent_at is not None, kinds(store)[-1]))

    hands.before = look
    after = begin(Executor(hands, store, clock))
    assert seen == [(State.EXECUTING, True, "step.sent")]
    assert after.state is State.VERIFYING
    assert store.intent(after.id) == after
    assert kinds(store) == ["plan.proposed", "step.sent", "step.answered"]
    assert store.verify_audit() == (3, "")


@pytest.mark.parametrize("broken", ["claim_intent", "record", "replace_intent"])
def test_where_nothing_can_be_written_nothing_is_sent(
    broken: str, store: SqlStore, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Temporary("store: disk is full")

    hands = FakeHands()
    monkeypatch.setattr(store, broken, full)
    with pytest.raises(Temporary):
        begin(Executor(hands, store, clock))
    assert hands.done == []


def test_a_plan_is_claimed_once(store: SqlStore, clock: SteppedClock) -> None:
    hands = FakeHands()
    begin(Executor(hands, store, clock))
    assert Executor(hands, store, clock).start(builders.plan(), says(), QUARTER) is None
    assert len(hands.done) == 1


def test_observing_rehearses_and_never_carries_out(store: SqlStore, clock: SteppedClock) -> None:
    hands = FakeHands()
    after = begin(Executor(hands, store, clock), drain(), says(Decision.OBSERVE))
    assert after.state is State.REHEARSED
    assert [a.verb for a in hands.rehearsed] == ["cordon_node", "evict_pod"]
    assert hands.done == []
    assert [step.receipt is not None and step.receipt.dry_run for step in after.steps] == [True] * 2
    assert not any(step.done for step in after.steps)


def test_hands_that_do_not_call_a_rehearsal_one_are_still_not_believed_to_have_acted(
    store: SqlStore, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = FakeHands()
    monkeypatch.setattr(hands, "rehearse", lambda action, intent_id: Receipt(True, builders.NOW))
    after = begin(Executor(hands, store, clock), drain(), says(Decision.OBSERVE))
    assert after.state is State.REHEARSED
    assert not any(step.done for step in after.steps)


@pytest.mark.parametrize(
    ("decision", "state"),
    [
        (Decision.DENY, State.ABORTED),
        (Decision.DEFER, State.PLANNED),
        (Decision.APPROVE, State.PLANNED),
    ],
)
def test_what_is_not_allowed_is_written_down_and_not_sent(
    decision: Decision, state: State, store: SqlStore, clock: SteppedClock
) -> None:
    hands = FakeHands()
    assert begin(Executor(hands, store, clock), judged=says(decision)).state is state
    assert hands.done == hands.rehearsed == []
    assert len(kinds(store)) == 1


def test_a_plan_that_waited_goes_once_it_may(store: SqlStore, clock: SteppedClock) -> None:
    hands = FakeHands()
    executor = Executor(hands, store, clock)
    waiting = begin(executor, judged=says(Decision.DEFER))
    clock.move(timedelta(minutes=1))
    assert executor.rejudge(waiting, says(), QUARTER).state is State.VERIFYING
    assert len(hands.done) == 1


def test_a_lost_answer_is_read_back_and_not_sent_again(
    store: SqlStore, clock: SteppedClock
) -> None:
    hands = FakeHands(UnknownOutcome("connection dropped"), holds=True)
    assert begin(Executor(hands, store, clock)).state is State.VERIFYING
    assert len(hands.done) == 1


def test_when_the_world_does_not_tell_a_person_has_to_look(
    store: SqlStore, clock: SteppedClock
) -> None:
    hands = FakeHands(UnknownOutcome("connection dropped"), holds=None)
    executor = Executor(hands, store, clock)
    after = begin(executor)
    for _ in range(20):
        assert after.state is State.EXECUTING
        clock.move(timedelta(seconds=15))
        after = executor.advance(after, says())
        if after.state is not State.EXECUTING:
            break
    else:
        clock.move(after.plan.success.deadline)
        after = executor.advance(after, says())
    assert after.state is State.UNKNOWN
    assert executor.advance(after, says()) == after
    assert len(hands.done) == 1


def test_what_could_not_be_read_back_at_once_is_read_again(
    store: SqlStore, clock: SteppedClock
) -> None:
    hands = FakeHands(UnknownOutcome("connection dropped"), holds=None)
    executor = Executor(hands, store, clock)
    after = begin(executor)
    assert after.state is State.EXECUTING
    hands.holding = True
    clock.move(timedelta(seconds=15))
    assert executor.advance(after, says()).state is State.VERIFYING
    assert len(hands.done) == 1


def test_a_no_that_came_while_it_was_being_judged_stands(
    store: SqlStore, clock: SteppedClock
) -> None:
    hands = FakeHands()
    executor = Executor(hands, store, clock)
    waiting = begin(executor, judged=says(Decision.APPROVE))
    now = clock.now()
    assert store.decide(waiting.id, waiting.digest, "wang", yes=True, at=now)
    approved = store.intent(waiting.id)
    assert approved is not None
    # the loop has read the yes, and somebody takes it back before the loop acts on it
    assert store.decide(waiting.id, waiting.digest, "li", yes=False, at=now)
    with pytest.raises(Temporary, match="changed meanwhile"):
        executor.rejudge(approved, says(), QUARTER)
    assert hands.done == []
    kept = store.intent(waiting.id)
    assert kept is not None
    assert (kept.state, kept.note) == (State.ABORTED, "rejected by li")


def test_after_the_first_call_a_yes_cannot_be_taken_back(
    store: SqlStore, clock: SteppedClock
) -> None:
    executor = Executor(FakeHands(), store, clock)
    half = begin(executor, drain())
    assert not store.decide(half.id, half.digest, "li", yes=False, at=clock.now())


def test_what_provably_changed_nothing_is_sent_a_bounded_number_of_times(
    store: SqlStore, clock: SteppedClock
) -> None:
    hands = FakeHands(*[UnknownOutcome("dropped")] * 9, holds=False)
    executor = Executor(hands, store, clock)
    after = begin(executor)
    assert len(hands.done) == 1
    for _ in range(9):
        clock.move(timedelta(seconds=15))
        after = executor.advance(after, says())
    assert after.state is State.UNKNOWN
    assert len(hands.done) == 3


def test_a_step_that_has_to_go_again_is_remembered_as_sent(
    store: SqlStore, clock: SteppedClock
) -> None:
    hands = FakeHands(UnknownOutcome("dropped"), holds=False)
    after = begin(Executor(hands, store, clock))
    assert after.steps[0].sent_at is not None
    assert after.executed_at is not None


def test_a_target_that_changed_meanwhile_aborts(store: SqlStore, clock: SteppedClock) -> None:
    hands = FakeHands(Receipt(False, builders.NOW, "another UID", gone=True))
    assert begin(Executor(hands, store, clock)).state is State.ABORTED
    assert kinds(store)[-1] == "intent.aborted"


def test_a_pod_of_a_drain_that_went_by_itself_is_what_was_wanted(
    store: SqlStore, clock: SteppedClock
) -> None:
    hands = FakeHands(YES, Receipt(False, builders.NOW, "not found", gone=True))
    executor = Executor(hands, store, clock)
    assert executor.advance(begin(executor, drain()), says()).state is State.VERIFYING


def test_later_means_later_and_not_for_ever(store: SqlStore, clock: SteppedClock) -> None:
    later = [Receipt(False, builders.at(s), "budget", retry_after_s=30) for s in (0, 30, 700)]
    hands = FakeHands(*later)
    executor = Executor(hands, store, clock)
    after = executor.advance(begin(executor), says())
    assert len(hands.done) == 1
    clock.move(timedelta(seconds=30))
    after = executor.advance(after, says())
    assert (len(hands.done), after.state) == (2, State.EXECUTING)
    clock.move(timedelta(seconds=670))
    assert executor.advance(after, says()).state is State.FAILED


def test_a_no_of_the_api_server_fails_and_is_not_repeated(
    store: SqlStore, clock: SteppedClock
) -> None:
    hands = FakeHands(Permanent("403 forbidden"))
    executor = Executor(hands, store, clock)
    after = executor.advance(begin(executor), says())
    assert (after.state, after.note) == (State.FAILED, "403 forbidden")
    assert len(hands.done) == 1


def test_guards_that_turn_against_a_half_done_drain_stop_it_in_time(
    store: SqlStore, clock: SteppedClock
) -> None:
    hands = FakeHands()
    executor = Executor(hands, store, clock)
    half = begin(executor, drain())
    assert executor.advance(half, says(Decision.DEFER)) == half
    clock.move(half.plan.success.deadline)
    assert executor.advance(half, says(Decision.OBSERVE)).state is State.FAILED
    assert [a.verb for a in hands.done] == ["cordon_node"]


@pytest.mark.parametrize(("holds", "expected"), [(True, State.VERIFYING), (None, State.EXECUTING)])
def test_a_crash_after_sending_is_read_back_on_resume(
    holds: bool | None, expected: State, store: SqlStore, clock: SteppedClock
) -> None:
    def die(_: str) -> None:
        raise Crash

    hands = FakeHands(holds=holds)
    hands.before = die
    with pytest.raises(Crash):
        begin(Executor(hands, store, clock))
    after = FakeHands(holds=holds)
    (left,) = store.intents(open_only=True)
    assert Executor(after, store, clock).resume(left).state is expected
    assert after.done == []


@pytest.mark.parametrize("write", ["claim_intent", "record", "replace_intent"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_crash_after_any_write_never_sends_an_action_twice(
    write: str, nth: int, store: SqlStore, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = getattr(store, write), []

    def once_then_die(*given: object) -> object:
        answer = real(*given)
        calls.append(given)
        if len(calls) == nth:
            raise Crash
        return answer

    hands = FakeHands(holds=True)
    with monkeypatch.context() as dying, contextlib.suppress(Crash):
        dying.setattr(store, write, once_then_die)
        executor = Executor(hands, store, clock)
        executor.advance(begin(executor, drain()), says())
    (left,) = store.intents()
    executor = Executor(hands, store, clock)
    after = executor.resume(left)
    for _ in range(3):
        after = executor.advance(after, says())
    assert after.state is State.VERIFYING
    assert len(hands.done) == len(set(hands.done))
    assert store.verify_audit()[1] == ""


def test_an_answer_that_could_not_be_written_is_read_back_next_time(
    store: SqlStore, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = FakeHands(holds=True)
    executor = Executor(hands, store, clock)

    def full(*_: object) -> None:
        raise Temporary("store: disk is full")

    hands.before = lambda _: monkeypatch.setattr(store, "replace_intent", full)
    with pytest.raises(Temporary):
        begin(executor)
    monkeypatch.undo()
    (left,) = store.intents()
    assert executor.advance(left, says()).state is State.VERIFYING
    assert len(hands.done) == 1


def test_a_verification_ends_the_intent_and_is_recorded(
    store: SqlStore, clock: SteppedClock
) -> None:
    executor = Executor(FakeHands(), store, clock)
    outcome = Outcome(Effect.INCONCLUSIVE, builders.NOW, ("no samples",))
    assert executor.conclude(begin(executor), outcome).state is State.FAILED
    assert kinds(store)[-1] == "intent.verified"


class Fleet:
    """Hands that change a fleet at once, and lose answers as told."""

    def __init__(self) -> None:
        self.cordoned: set[Target] = set()
        self.evicted: set[Target] = set()
        self.lose = False

    def rehearse(self, action: Action, intent_id: str) -> Receipt:
        return YES

    def carry_out(self, action: Action, intent_id: str) -> Receipt:
        (self.cordoned if action.verb == "cordon_node" else self.evicted).add(action.target)
        if self.lose:
            raise UnknownOutcome("dropped")
        return YES

    def holds(self, action: Action, intent_id: str) -> bool | None:
        return None


class Memory:
    """The part of a store that carrying out needs: a fresh database for each example is slow."""

    def __init__(self) -> None:
        self.kept: dict[str, Intent] = {}

    def claim_intent(self, intent: Intent) -> bool:
        return self.kept.setdefault(intent.id, intent) is intent

    def replace_intent(self, intent: Intent, was: Intent) -> bool:
        if self.kept[intent.id] != was:
            return False
        self.kept[intent.id] = intent
        return True

    def record(self, *entries: AuditEntry) -> None:
        """Kept nowhere: another test looks at the chain."""


MOVE = st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.booleans(), st.booleans())


@settings(max_examples=60, deadline=None)
@given(moves=st.lists(MOVE, min_size=2, max_size=12), concurrent=st.integers(1, 3))
def test_no_interleaving_of_incidents_takes_out_more_than_allowed(
    moves: list[tuple[int, bool, bool, bool, bool]], concurrent: int
) -> None:
    armed = worlds.armed(max_concurrent=concurrent, cooldown=timedelta(0), max_per_hour={})
    guards, fleet, memory = standard(armed), Fleet(), Memory()
    clock = SteppedClock(builders.NOW)
    executor = Executor(fleet, memory, clock)  # type: ignore[arg-type]
    world = worlds.topology()
    for number, (which, nodes, lose, look, finish) in enumerate(moves):
        target = (worlds.NODES if nodes else worlds.PODS)[which]
        action: Action = (
            CordonNode(target, target.uid, "7")
            if nodes
            else EvictPod(target, worlds.WORKLOAD, target.uid)
        )
        plan = builders.plan(
            incident_id=f"inc-{number}",
            remediation="cordon_node" if nodes else "restart_pod",
            target=target,
            actions=(action,),
            affected_pods=() if nodes else (target,),
        )
        if look:  # the view of the cluster catches up with the deeds, or lags behind
            facts: dict[Target, dict[str, object]] = {
                n: {"unschedulable": True} for n in fleet.cordoned
            }
            world = worlds.topology(facts | {p: {"ready": False} for p in fleet.evicted})
        history = tuple(memory.kept.values())
        case = worlds.case(
            world,
            now=clock.now(),
            snapshot=worlds.snapshot(world, now=clock.now()),
            history=history,
        )
        fleet.lose = lose
        executor.start(plan, judge(plan, case, guards), QUARTER)
        busy = [i for i in memory.kept.values() if i.state in ACTIVE_STATES]
        assert len(busy) <= concurrent
        assert len(fleet.cordoned) <= 1, "a third of four nodes, rounded down, is one"
        assert len(fleet.evicted) <= 1, "a third of four replicas, rounded down, is one"
        assert all(t.kind is Kind.NODE for t in fleet.cordoned)
        if finish and busy:
            executor.conclude(busy[0], Outcome(Effect.EFFECTIVE, clock.now()))
        clock.move(timedelta(seconds=5))


class Term:
    """Leadership for a while."""

    def __init__(self, epoch: str) -> None:
        self.now = epoch

    def epoch(self) -> str:
        return self.now


def test_who_does_not_lead_sends_nothing_and_the_next_leader_goes_on(
    store: SqlStore, clock: SteppedClock
) -> None:
    hands, term = FakeHands(), Term("lease-7")
    executor = Executor(hands, store, clock, leading=term)
    half = begin(executor, drain())
    assert half.epoch == "lease-7"
    term.now = ""
    assert executor.advance(half, says()) == half
    assert [a.verb for a in hands.done] == ["cordon_node"]
    after = Executor(hands, store, clock, leading=Term("lease-8")).advance(half, says())
    assert (after.epoch, after.state) == ("lease-8", State.VERIFYING)
    assert [a.verb for a in hands.done] == ["cordon_node", "evict_pod"]
