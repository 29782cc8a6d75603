"""Schedules of faults, crashes, lost answers and people, carried out against the genuine engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from proof_rules import Broken, Rules, no_orphans
from proof_world import NODES, REPLICAS, Cluster, Crash, Store

from healer.adapters.executor import Executor
from healer.guards import standard
from healer.healing import SWITCH, Healing
from healer.model.intent import Intent, State
from healer.model.topology import Topology
from healer.model.verdict import Decision, Verdict
from healer.ports import Guard
from healer.settings import Arming, Freeze, Mode, RemediationSettings
from healer.stages import act
from remediations.drain_node import DrainNode
from remediations.escalate import EscalateRemediation
from remediations.restart_pod import RestartPod
from remediations.scale import Scale

Op = tuple[Any, ...]

FATES = ("refused", "forbidden", "busy", "lost", "lost after", "crash", "crash after")
REMEDIATIONS = {
    "restart_pod": RestartPod(),
    "drain_node": DrainNode(),
    "scale": Scale(),
    "escalate": EscalateRemediation(),
}

_TICKS = st.tuples(st.just("ticks"), st.integers(0, 8))
_BREAK = st.tuples(st.just("break"), st.sampled_from(("hang", "ecc", "surge")), st.integers(0, 11))
_FATE = st.tuples(st.just("fate"), st.sampled_from(FATES))
_PASSING = ("metrics_ok", "cluster_ok", "stale", "observe", "switch", *sorted(REPLICAS), *NODES)
OPS: st.SearchStrategy[Op] = st.one_of(
    *[_BREAK] * 4,
    *[_FATE] * 2,
    st.tuples(st.just("tick"), st.sampled_from((0, 1)), st.sampled_from((0, 1))),
    st.tuples(st.just("crash"), st.integers(0, 3)),
    st.tuples(st.just("unreadable"), st.integers(1, 3)),
    st.tuples(st.just("while"), st.sampled_from(_PASSING), st.integers(1, 6)),
    st.tuples(st.just("budget"), st.sampled_from(sorted(REPLICAS)), st.integers(1, 6)),
    st.tuples(st.just("ask"), st.booleans()),
    st.tuples(st.just("answer"), st.booleans()),
    st.tuples(st.just("meanwhile"), st.booleans()),
    st.tuples(st.just("cordon"), st.sampled_from(NODES)),
    st.tuples(st.just("uncordon"), st.sampled_from(NODES)),
    st.tuples(st.just("jump"), st.sampled_from((5, 20, 70, -20))),
    st.tuples(st.just("mend"), st.integers(0, 3)),
    st.tuples(st.just("echo"), st.integers(0, 3)),
    st.tuples(st.just("swap")),
)
"""What can happen. A `while` holds for so many ticks: blindness, a node that is down, a rollout.
An `echo` is an alert that came twice and became an incident of its own; `swap` turns the order
in which incidents come round."""

_TURN = st.tuples(_TICKS, OPS)
SCHEDULES: st.SearchStrategy[list[Op]] = st.builds(
    lambda first, turns, last: [first, *(op for turn in turns for op in turn), last],
    _BREAK,
    st.lists(_TURN, min_size=1, max_size=20),
    _TICKS,
)
"""A fault, and then things happen with ticks between them."""

TOLD: tuple[list[Op], ...] = (
    [
        *[("break", "surge", 1), ("break", "surge", 2), ("ticks", 4), ("jump", 5)],
        *[("break", "hang", 3), ("break", "hang", 7), ("ticks", 8), ("jump", 5)],
        *[("break", "hang", 2), ("break", "hang", 6), ("ticks", 8), ("jump", 5)],
        *[("break", "ecc", 5), ("ticks", 6)],
    ],
    [
        ("ask", True),
        ("break", "hang", 0),
        ("ticks", 1),
        ("answer", True),
        ("meanwhile", False),
        ("ticks", 3),
    ],
    [("break", "hang", 0), ("fate", "lost"), ("unreadable", 2), ("ticks", 6)],
    [("break", "hang", 0), ("while", "serving/a", 2)],
    [("break", "hang", 0), ("while", "n1", 2)],
    [("break", "ecc", 0), ("break", "ecc", 1), ("break", "ecc", 2), ("ticks", 4)],
    [
        *[("break", "surge", 1), ("fate", "forbidden"), ("ticks", 2), ("mend", 0), ("ticks", 6)],
        *[("break", "surge", 2), ("fate", "forbidden"), ("ticks", 2), ("mend", 1), ("ticks", 6)],
        *[("jump", 20), ("break", "surge", 1), ("ticks", 4)],
    ],
    [
        *[("break", "hang", 0), ("fate", "forbidden"), ("fate", "forbidden"), ("ticks", 8)],
        *[("jump", 5), ("ticks", 8)],
    ],
)
"""Stories that chance seldom tells: a busy hour, a no at the last moment, an answer lost twice,
a rollout, a sibling's node that is down, half of all nodes sick at once, one remediation that
fails and fails, every rung that fails."""


@dataclass(frozen=True)
class Mutant:
    """What is switched off, to see that the proof notices."""

    guards: frozenset[str] = frozenset()
    executor: str = ""


def _settings() -> RemediationSettings:
    names = ("restart_pod", "drain_node", "scale")
    return RemediationSettings(
        mode=Mode.ENFORCE,
        arm={name: Arming(Mode.ENFORCE, ("*",), approval=False) for name in names},
        deny_namespaces=("batch",),
        max_per_hour={"target": 3, "namespace": 4, "cluster": 4},
        cooldown=timedelta(minutes=5),
        settle_for=timedelta(0),
        freezes=(Freeze(cron="0 * * * *", duration=timedelta(minutes=10), zone="UTC"),),
        uncordon=True,
        max_rungs=2,
    )


@dataclass
class Run:
    """One schedule against two replicas that both believe they lead."""

    mutant: Mutant = Mutant()
    cluster: Cluster = field(default_factory=Cluster)
    store: Store = field(default_factory=Store)
    rejected: set[str] = field(default_factory=set)
    approved: set[str] = field(default_factory=set)
    ticks: int = 0
    replicas: list[Healing] = field(default_factory=list)
    settings: RemediationSettings = field(default_factory=_settings)
    _before: Topology | None = None

    def __post_init__(self) -> None:
        self._arm()

    def _arm(self) -> None:
        rules = Rules(
            self.store,
            self.settings,
            lambda: bool(self.store.values.get(SWITCH)),
            self.rejected,
            self.approved,
        )
        self.cluster.rules = rules.all()
        self.cluster.blindly = _blindly
        self.replicas = [self._replica() for _ in range(2)]

    def _replica(self) -> Healing:
        guards = tuple(
            _Off() if type(g).__name__ in self.mutant.guards else g for g in standard(self.settings)
        )
        executor = EXECUTORS.get(self.mutant.executor, Executor)
        return Healing(
            self.store,  # type: ignore[arg-type]
            executor(self.cluster, self.store, _Clock(self.cluster)),
            REMEDIATIONS,
            guards,
            replace(self.settings, max_rungs=9),  # that the guard stands alone
        )

    def tick(self, replica: int, lag: int) -> None:
        self.ticks += 1
        now = self.cluster.topology()
        seen = self._before if lag and self._before is not None else now
        self.cluster.acting = self.cluster.snapshot(seen)
        try:
            _, problems = self.replicas[replica].heal(self.cluster.incidents(), self.cluster.acting)
            for problem in problems:
                if problem.what.startswith("Broken"):
                    raise Broken(*problem.what.removeprefix("Broken: ").split(": ", 1))
        except Crash:
            self.replicas[replica] = self._replica()
            try:
                self.replicas[replica].resume(self.cluster.now)
            except Crash:
                self.replicas[replica] = self._replica()
        self._before = now
        self.cluster.step()

    def perform(self, op: Op) -> None:  # noqa: C901, PLR0912  # one branch an operation
        cluster, what = self.cluster, op[0]
        match op:
            case ("tick", replica, lag):
                self.tick(replica, lag)
            case ("ticks", count):
                self._ticks(count)
            case ("break", kind, index):
                cluster.break_(kind, index)
            case ("fate", fate):
                cluster.script.append(fate)
            case ("crash", writes):
                self.store.crash_in = writes
            case ("unreadable", times):
                cluster.unreadable = times
            case ("while", what_lasts, count):
                self._while(what_lasts, count)
            case ("budget", owner, count):
                cluster.budget_spent.add(owner)
                self._ticks(count)
                cluster.budget_spent.discard(owner)
            case ("ask", yes):
                arm = {n: replace(a, approval=yes) for n, a in self.settings.arm.items()}
                self.settings = replace(self.settings, arm=arm)
                self._arm()
            case ("answer", yes):
                self._answer(yes=yes)
            case ("meanwhile", yes):
                self.store.meanwhile = lambda: self._answer(yes=yes)
            case ("cordon", node):
                cluster.cordoned.setdefault(node, "human")
            case ("uncordon", node):
                cluster.cordoned.pop(node, None)
            case ("jump", minutes):
                cluster.step(timedelta(minutes=minutes))
            case ("mend", number):
                cluster.mend(number)
            case ("echo", number):
                cluster.echoes.add(number)
            case ("swap",):
                cluster.newest_first = not cluster.newest_first
        if what != "tick":
            self._before = None  # a view is late for what we did, not for what others do

    def _ticks(self, count: int) -> None:
        for number in range(count):
            self.tick(number % 2, 0)

    def _while(self, what: str, count: int) -> None:
        """One thing is as it should not be for so many ticks."""
        cluster = self.cluster
        if what in NODES:
            cluster.down.add(what)
        elif what in REPLICAS:
            cluster.rolling.add(what)
        elif what == "observe":
            self.settings = replace(self.settings, mode=Mode.OBSERVE)
            self._arm()
        elif what == "switch":
            self.store.values[SWITCH] = "stop"
        else:
            setattr(cluster, what, not getattr(cluster, what))
        self._before = None
        self._ticks(count)
        cluster.down.discard(what)
        cluster.rolling.discard(what)
        self.store.values[SWITCH] = ""
        cluster.metrics_ok, cluster.cluster_ok, cluster.stale = True, True, False
        if what == "observe":
            self.settings = replace(self.settings, mode=Mode.ENFORCE)
            self._arm()

    def _answer(self, *, yes: bool) -> None:
        for intent in list(self.store.kept.values()):
            waits = intent.state in (State.PLANNED, State.APPROVED) and not intent.compensates
            if waits and self.store.decide(intent, yes=yes, at=self.cluster.now):
                (self.approved if yes else self.rejected).add(intent.id)

    def settle(self) -> None:
        """People mend what is broken, time passes, and what was taken out comes back."""
        cluster = self.cluster
        cluster.metrics_ok, cluster.cluster_ok, cluster.stale = True, True, False
        cluster.down, cluster.rolling, cluster.budget_spent = set(), set(), set()
        cluster.script, cluster.unreadable, self.store.crash_in = [], 0, None
        self.store.meanwhile = None
        for fault in cluster.faults:
            fault.gone_at = fault.gone_at or cluster.now
        self.store.values[SWITCH] = ""
        self.settings = replace(self.settings, mode=Mode.ENFORCE, freezes=())
        self._arm()
        self._before = None
        for _ in range(40):
            self.tick(0, 0)
            cluster.step(timedelta(minutes=5))
            if not any(by != "human" for by in cluster.cordoned.values()):
                return
        no_orphans(cluster, self.store)


def _blindly(action: Any) -> None:
    raise Broken("read back", f"{action.verb} {action.target} again without looking")


def carry_out(schedule: Sequence[Op], mutant: Mutant = Mutant()) -> Run:
    """Raises Broken where a property does not hold."""
    run = Run(mutant)
    for op in schedule:
        run.perform(op)
    run.settle()
    return run


@dataclass
class _Clock:
    cluster: Cluster

    def now(self) -> Any:
        return self.cluster.now

    def monotonic(self) -> float:
        return self.cluster.now.timestamp()

    def sleep(self, span: timedelta) -> None:
        self.cluster.step(span)


@dataclass(frozen=True)
class _Off(Guard):
    def judge(self, plan: Any, case: Any) -> Verdict:
        return Verdict("off", Decision.ALLOW, ("switched off",))


class _AuditAfter(Executor):
    """Writes down what it sent when it has the answer."""

    def _send(self, intent: Intent, at: int) -> Intent:
        sent = act.sending(intent, at, self._clock.now())
        self._keep(sent, intent)
        action = sent.steps[at].action
        receipt = self._hands.carry_out(action, sent.id)
        self._record("step.sent", sent, f"{action.verb} {action.target}", step=at)
        return self._answered(sent, at, receipt)


class _BlindRetry(Executor):
    """Sends again what was not answered."""

    def _read_back(self, intent: Intent, at: int) -> Intent:
        return self._send(intent, at)


class _NoCas(Executor):
    """Writes over whatever somebody else wrote meanwhile."""

    def _keep(self, intent: Intent, was: Intent) -> None:
        self._store.blind_cas = True  # type: ignore[attr-defined]
        super()._keep(intent, was)


EXECUTORS: Mapping[str, Callable[..., Executor]] = {
    "audit after": _AuditAfter,
    "blind retry": _BlindRetry,
    "no compare-and-set": _NoCas,
}
