"""Leader election by a Lease of coordination.k8s.io/v1, with a term of office as fencing epoch.

Expiry is judged as client-go does: by what this replica saw change, on its own monotonic clock,
so that clocks of other machines do not matter. Kubernetes checks no fencing token; hence nothing
is sent that might still be under way when another replica takes over: `epoch()` falls silent
before the lease can be lost, by the length of one request.
"""

from __future__ import annotations

import random
import socket
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import structlog
from kubernetes.client import ApiClient

from healer.adapters.kubernetes import errors
from healer.adapters.kubernetes.errors import Answer, Obj
from healer.adapters.lease_limits import acting_s, check, own_namespace
from healer.errors import HealerError, Permanent
from healer.ports import Clock
from healer.settings import LeaseSettings

log = structlog.get_logger("healer.lease")

JITTER = 0.2
"""Share of the pause by which replicas drift apart."""

SHORTEST_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Seen:
    """The lease when it was last seen to change, and when that was on our own clock."""

    uid: str
    version: str
    holder: str
    duration_s: float
    at: float


class LeaseElector:
    """Fulfils `healer.ports.Leadership`. `step` is one round; `start` runs it in a thread.

    changed: called with the new epoch whenever this replica gains (non-empty) or loses (empty)
    the office, from the elector's own thread; must return at once.
    """

    def __init__(
        self,
        api: ApiClient,
        clock: Clock,
        settings: LeaseSettings,
        changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        check(settings)
        self._api, self._clock, self._settings = api, clock, settings
        self.changed = changed
        self.identity = settings.identity or _identity()
        namespace = settings.namespace or own_namespace()
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
        self._namespace = namespace
        self._seen: Seen | None = None
        self._lock = threading.Lock()
        self._term = ""
        self._act_until = 0.0
        self._told = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # what others ask

    def epoch(self) -> str:
        with self._lock:
            return self._term if self._clock.monotonic() < self._act_until else ""

    @property
    def holder(self) -> str:
        """Who held the lease when it was last seen; empty for nobody."""
        return self._seen.holder if self._seen else ""

    # one round

    def step(self) -> float:
        """Take or keep the lease if that may be done. Seconds until the next round is due."""
        try:
            self._round()
        except HealerError as error:
            log.warning("lease", problem=str(error))
        self._tell()
        return self._pause()

    def resign(self) -> None:
        """Hand the lease over, so that nobody has to wait for its end. Never raises."""
        with self._lock:
            held, self._term, self._act_until = self._term, "", 0.0
        if held:
            try:
                found = self._read()
                if found is not None and _spec(found).get("holderIdentity") == self.identity:
                    self._put(
                        found, _spec(found) | {"holderIdentity": "", "leaseDurationSeconds": 1}
                    )
            except HealerError as error:
                log.warning("lease", problem=f"not handed over: {error}")
        self._tell()

    # its thread

    def start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and hands over. Whoever acts has to have ended before."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.resign()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                pause = self.step()
            except Exception as error:  # an elector that dies would never say so
                log.exception("lease", problem=type(error).__name__)
                pause = self._settings.retry_every.total_seconds()
            self._stop.wait(pause)

    # how

    def _round(self) -> None:
        found = self._read()
        if found is None:
            self._forget()
            self._take(self._create())
            return
        now = self._clock.monotonic()
        self._observe(found, now)
        spec, seen = _spec(found), self._seen
        assert seen is not None
        if seen.holder == self.identity:
            self._take(self._put(found, spec | self._held(spec, anew=False)))
        elif not seen.holder or now >= seen.at + seen.duration_s:
            self._forget()
            self._take(self._put(found, spec | self._held(spec, anew=True)))
        else:
            self._forget()

    def _read(self) -> Obj | None:
        answer = errors.read(self._api, self._path, timeout_s=self._timeout)
        if answer.ok:
            return answer.body
        if answer.code == 404:
            return None
        raise Permanent(f"{answer.code}: {answer.message}")

    def _create(self) -> tuple[float, Answer]:
        sent = self._clock.monotonic()
        body: Obj = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._settings.name, "namespace": self._namespace},
            "spec": self._held({"leaseTransitions": -1}, anew=True),
        }
        return sent, errors.write(self._api, "POST", self._folder, body, timeout_s=self._timeout)

    def _put(self, found: Obj, spec: Obj) -> tuple[float, Answer]:
        """A write under the version just read: of two replicas one gets 409."""
        sent = self._clock.monotonic()
        body = found | {"spec": spec}
        return sent, errors.write(self._api, "PUT", self._path, body, timeout_s=self._timeout)

    def _held(self, spec: Obj, *, anew: bool) -> Obj:
        now = micro_time(self._clock.now())
        duration_s = int(self._settings.duration.total_seconds())
        kept: Obj = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": duration_s,
            "renewTime": now,
        }
        if anew:
            kept |= {
                "acquireTime": now,
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1,
            }
        return kept

    def _take(self, sent_and_answer: tuple[float, Answer]) -> None:
        """The lease is ours from the moment the request was sent, if it was granted."""
        sent, answer = sent_and_answer
        if answer.code == 409:
            return  # somebody was faster; the next round sees whom
        if not answer.ok:
            raise Permanent(f"{answer.code}: {answer.message}")
        self._observe(answer.body, self._clock.monotonic())
        transitions = _spec(answer.body).get("leaseTransitions") or 0
        with self._lock:
            self._term = f"{answer.body['metadata']['uid']}:{transitions}"
            self._act_until = sent + acting_s(self._settings)

    def _observe(self, found: Obj, now: float) -> None:
        meta, spec = found["metadata"], _spec(found)
        uid, version = str(meta.get("uid", "")), str(meta.get("resourceVersion", ""))
        if self._seen is not None and (self._seen.uid, self._seen.version) == (uid, version):
            return
        duration_s = max(
            float(spec.get("leaseDurationSeconds") or 0), self._settings.duration.total_seconds()
        )
        self._seen = Seen(uid, version, str(spec.get("holderIdentity") or ""), duration_s, now)

    def _forget(self) -> None:
        with self._lock:
            self._term, self._act_until = "", 0.0

    def _tell(self) -> None:
        epoch = self.epoch()
        if epoch != self._told:
            self._told = epoch
            log.info("lease", leads=bool(epoch), epoch=epoch, holder=self.holder)
            self.changed(epoch)

    def _pause(self) -> float:
        """Until the next round: sooner where somebody else's lease runs out before."""
        pause = self._settings.retry_every.total_seconds()
        if self.epoch():
            return pause
        pause *= 1 + JITTER * random.random()
        if self._seen is not None and self._seen.holder not in ("", self.identity):
            ends_in = self._seen.at + self._seen.duration_s - self._clock.monotonic()
            pause = min(pause, ends_in) if ends_in > 0 else pause
        return max(pause, SHORTEST_PAUSE_S)

    @property
    def _path(self) -> str:
        return f"{self._folder}/{quote(self._settings.name, safe='')}"

    @property
    def _timeout(self) -> tuple[float, float]:
        """A hanging API server must not use up the time in which we could still renew."""
        each = self._settings.retry_every.total_seconds()
        return min(1.0, each), each


def micro_time(moment: datetime) -> str:
    """Kubernetes' MicroTime: its parser wants six digits."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _identity() -> str:
    """Never used twice: a restarted process is another candidate."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"


def _spec(lease: Obj) -> Obj:
    return lease.get("spec") or {}
