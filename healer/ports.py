"""The seams: what the engine asks of plugins and of the world.

Plugins (detectors, remediations, guards, notifiers) are frozen dataclasses derived
from the small classes here; their fields are their options. The world (clock,
metrics, cluster, store, post) sits behind protocols that adapters fulfil.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from healer.model.actions import Action
from healer.model.audit import AuditEntry
from healer.model.event import Event
from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.intent import Intent, Receipt
from healer.model.message import DeliveryResult, Notice, Parcel
from healer.model.opinion import Opinion, Standings
from healer.model.plan import Plan
from healer.model.snapshot import Problem, Snapshot
from healer.model.tally import Tally
from healer.model.topology import Topology
from healer.model.verdict import Verdict

# --------------------------------------------------------------------------- plugins


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a detector learned, as plain arrays: saved as npz, never as a pickle.

    `version` is the detector's own; a baseline of another version is relearned.
    """

    detector: str
    signal: str
    """Signal name, or a group's name for joint detectors."""
    version: int
    fitted_at: datetime
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON values."""


class Detector(ABC):
    """Looks at one signal's frame at a time."""

    history: ClassVar[timedelta | None] = None
    """How much history `fit` wants; None for detectors that learn nothing."""
    history_step: ClassVar[timedelta] = timedelta(minutes=1)
    refit_every: ClassVar[timedelta] = timedelta(hours=6)
    version: ClassVar[int] = 1

    def fit(self, frame: Frame) -> Baseline | None:
        """Learn from history, off the tick. None while there is too little of it."""
        return None

    @abstractmethod
    def detect(self, frame: Frame, baseline: Baseline | None) -> Iterator[Finding]:
        """Claims about the newest moment of `frame`; nothing after its last column exists."""


class JointDetector(ABC):
    """Looks at several signals, events and the topology together."""

    history: ClassVar[timedelta | None] = None
    history_step: ClassVar[timedelta] = timedelta(minutes=1)
    refit_every: ClassVar[timedelta] = timedelta(hours=6)
    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def wants(self) -> tuple[str, ...]:
        """Signals it reads. Missing ones are its own business."""

    def fit(self, frames: Mapping[str, Frame], topology: Topology) -> Baseline | None:
        return None

    @abstractmethod
    def detect(self, snapshot: Snapshot, baseline: Baseline | None) -> Iterator[Finding]: ...


class TableDetector(ABC):
    """Looks at a whole recorded table, row by row as if it came in live."""

    @abstractmethod
    def score(self, times: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evidence per row, shape (T,); row t depends on rows up to t only.

        times: (T,) seconds since the epoch, never falling. values: (T, C), NaN where blank.
        """

    @abstractmethod
    def flags(self, scores: NDArray[np.float64], level: str) -> NDArray[np.bool_]:
        """Which rows reach `warn`, `page` or `act`."""


class Remediation(ABC):
    """A way to heal: a hypothesis in, a whole plan out. Never acts itself."""

    @abstractmethod
    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        """Concrete actions with UIDs and end states, or a plan that says why it is refused."""


@dataclass(frozen=True, slots=True)
class Case:
    """All a guard may look at besides the plan."""

    now: datetime
    incident: Incident
    hypothesis: Hypothesis
    snapshot: Snapshot
    history: tuple[Intent, ...]
    """Every intent not older than a day, open or ended, this plan's own excepted."""
    switched_off: str = ""
    """Reason of the kill switch; empty while it is not pulled."""
    approved_by: str = ""
    """Who approved exactly this plan digest; empty for nobody."""
    others: tuple[Incident, ...] = ()
    """The other incidents that are open."""


class Guard(ABC):
    """One admission check. A guard that raises is a denial."""

    @abstractmethod
    def judge(self, plan: Plan, case: Case) -> Verdict: ...


class Notifier(ABC):
    """One channel's way to say it: renders notices, and reads the provider's answer."""

    @abstractmethod
    def render(self, notice: Notice) -> str:
        """The payload as JSON, within the channel's byte limit, without credentials."""

    @abstractmethod
    def request(self, body: str, now: datetime) -> PostRequest:
        """The signed HTTP request that delivers `body`."""

    @abstractmethod
    def classify(self, status: int, body: str) -> DeliveryResult:
        """What the answer means. Only the provider's own success code is success."""

    def digest(self, notices: Sequence[Notice], now: datetime) -> str | None:
        """One payload that tells many at once; None where the channel wants each by itself."""
        return None


@dataclass(frozen=True, slots=True)
class PostRequest:
    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_parts: tuple[str, ...] = ()
    """Strings that must never reach a log: tokens, keys, signatures."""


# --------------------------------------------------------------------------- the world


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds; only differences mean anything."""
        ...

    def sleep(self, span: timedelta) -> None: ...


@dataclass(frozen=True, slots=True)
class Matrix:
    """The answer to a range query on an even grid; NaN where a series had no sample."""

    times: NDArray[np.float64]
    values: NDArray[np.float64]
    """Shape (N, T)."""
    labels: tuple[Mapping[str, str], ...]
    warnings: tuple[str, ...] = ()


class Metrics(Protocol):
    """Prometheus or what speaks like it. Raises Temporary or Permanent, nothing else."""

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> Matrix: ...

    def instant(self, query: str, at: datetime | None = None) -> Matrix:
        """A vector (or scalar) as a matrix of one column."""
        ...

    def names(self) -> frozenset[str]:
        """All metric names known, for skipping queries that cannot have data."""
        ...


@dataclass(frozen=True, slots=True)
class ClusterView:
    topology: Topology
    events: tuple[Event, ...] = ()
    problems: tuple[Problem, ...] = ()
    ok: bool = True
    denied: Mapping[str, str] = field(default_factory=dict)
    """Verb → the permission that the acting identity lacks for it."""


class Cluster(Protocol):
    """The read side of the Kubernetes API."""

    def view(self) -> ClusterView:
        """The world afresh. Never raises: what failed is in `problems` and `ok`."""
        ...

    def denied(self) -> Mapping[str, str]:
        """Verb of `healer.model.actions.VERBS` → which permission it lacks."""
        ...


class Remembers(Protocol):
    """A cluster adapter that learns what a single look does not show."""

    def healthy_revisions(self) -> frozenset[str]:
        """UIDs of the revisions that were seen healthy."""
        ...

    def trust_revisions(self, uids: frozenset[str]) -> None:
        """What was known of them before a restart."""
        ...


class Hands(Protocol):
    """The write side. Every call carries UID and resourceVersion; none is ever retried here."""

    def rehearse(self, action: Action, intent_id: str) -> Receipt:
        """Server-side dry run: authorisation, admission, validation, budgets. Changes nothing."""
        ...

    def carry_out(self, action: Action, intent_id: str) -> Receipt:
        """Do it. Raises UnknownOutcome when the request was sent and its answer lost."""
        ...

    def holds(self, action: Action, intent_id: str) -> bool | None:
        """Read back: is the end state of `action` there? None when that cannot be told."""
        ...


class Leadership(Protocol):
    """Which of several replicas acts. Whoever mutates asks right before each call."""

    def epoch(self) -> str:
        """The term of office, while it is certain to outlast one more request; empty when this
        replica may not act. Never blocks; another term is another epoch, never one used before.
        """
        ...


class Spans(Protocol):
    """Where the time of a tick goes: `with span("detect"): …`, one for each stage."""

    def __call__(
        self, name: str, /, **attributes: str | int | float
    ) -> AbstractContextManager[object]: ...


def untraced(_name: str, /, **_attributes: str | int | float) -> AbstractContextManager[object]:
    """Nobody watches."""
    return nullcontext()


class Post(Protocol):
    """Sends chat messages. Raises Temporary when no answer came."""

    def send(self, request: PostRequest) -> tuple[int, str]:
        """HTTP status and body of the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert as received: fingerprint and start identify it; repeats only bump `last_seen`."""

    source: str
    fingerprint: str
    starts_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    ends_at: datetime | None = None
    generator_url: str = ""
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    incident_id: str = ""
    group: str = ""
    """The sender's group it came in; empty where that says nothing about what hangs together."""


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of incidents, newest first, and the cursor of the next."""

    items: tuple[Incident, ...]
    next_cursor: str | None = None


class Store(Protocol):
    """What must survive a restart. Every method is one transaction; failures raise Temporary."""

    # incidents
    def put_incident(self, incident: Incident) -> None: ...
    def incident(self, incident_id: str) -> Incident | None: ...
    def open_incidents(self) -> tuple[Incident, ...]: ...
    def incidents(
        self,
        *,
        phase: Sequence[str] = (),
        severity: Sequence[str] = (),
        cause: Sequence[str] = (),
        namespace: Sequence[str] = (),
        node: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        text: str = "",
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page: ...

    # intents
    def claim_intent(self, intent: Intent) -> bool:
        """Write it down for the first time; False when that id was claimed before."""
        ...

    def put_intent(self, intent: Intent) -> None: ...
    def replace_intent(self, intent: Intent, was: Intent) -> bool:
        """Write it down in place of `was`; False, and nothing written, where that has changed."""
        ...

    def intent(self, intent_id: str) -> Intent | None: ...
    def intents(
        self, *, incident_id: str = "", since: datetime | None = None, open_only: bool = False
    ) -> tuple[Intent, ...]: ...

    def tally(self, since: datetime) -> Tally:
        """What is counted of incidents opened since then, and of the actions for them."""
        ...

    # approvals
    def decide(self, intent_id: str, digest: str, who: str, *, yes: bool, at: datetime) -> bool:
        """Record a person's answer; False when the intent is not waiting for one, or its digest
        is another by now. A yes counts once; a no also takes a yes back until the first call."""
        ...

    # people's word on diagnoses
    def put_opinion(self, opinion: Opinion) -> None:
        """In place of what was said before of the same incident and cause."""
        ...

    def opinions(
        self, *, incident_id: str = "", cause: str = "", limit: int = 200
    ) -> tuple[Opinion, ...]:
        """Newest first."""
        ...

    def standings(self) -> Standings:
        """Cause → (incidents judged right, judged wrong); causes nobody judged are absent."""
        ...

    # audit
    def record(self, *entries: AuditEntry) -> None:
        """Append to the chain, durable on return."""
        ...

    def audit(
        self, *, incident_id: str = "", after: int = 0, limit: int = 500
    ) -> tuple[tuple[int, AuditEntry], ...]: ...

    def verify_audit(self) -> tuple[int, str]:
        """(entries checked, what is wrong); an empty string when the chain holds."""
        ...

    # intake
    def accept(self, episodes: Sequence[Episode]) -> tuple[int, int]:
        """Durably take in alerts: (new or changed, duplicates). Unique by source, fingerprint,
        startsAt."""
        ...

    def accept_all(self, batches: Sequence[Sequence[Episode]]) -> tuple[tuple[int, int], ...]:
        """`accept` of several webhooks in one transaction, with the counts of each."""
        ...

    def episodes(self, since: datetime) -> tuple[Episode, ...]:
        """Firing now, or ended since `since`."""
        ...

    # outbox
    def enqueue(
        self, channel: str, notice_key: str, incident_id: str, body: str, at: datetime
    ) -> bool:
        """False when this notice was enqueued on this channel before."""
        ...

    def due(self, channel: str, now: datetime, limit: int = 20) -> tuple[Parcel, ...]: ...
    def settle(
        self, parcel_id: int, result: DeliveryResult, at: datetime, next_try_at: datetime | None
    ) -> None: ...
    def deliveries(
        self, *, incident_id: str = "", limit: int = 200
    ) -> tuple[Mapping[str, Any], ...]: ...

    # baselines and small things
    def put_baseline(self, baseline: Baseline) -> None: ...
    def baselines(self) -> tuple[Baseline, ...]: ...
    def get(self, key: str) -> str | None: ...
    def put(self, key: str, value: str) -> None: ...
    def prune(self, before: datetime, keep: Collection[str] = ()) -> int:
        """Forget ended incidents, deliveries and episodes older than that. Never the audit, nor
        the incidents of the intents with the ids in `keep`."""
        ...
