"""While we repair something, its alerts need not wake anybody: a silence, bounded and taken back.

Off unless `server.silence_for` says how long one may last. One silence stands for one alert, by
all of its labels, so nothing else falls silent with it. Alertmanager's peers share it. Ours ends
with the repair, and by itself when we do not live to take it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import requests

from healer.errors import Temporary
from healer.guards.common import was_sent
from healer.model.audit import AuditEntry
from healer.model.intent import Intent, State
from healer.ports import Clock, Episode, Store
from healer.server.reconcile import SOURCE, alertmanager_headers
from healer.settings import ServerSettings

SILENCES = "alertmanager.silences"
"""Key in the store: intent → ids of its silences, as JSON."""
MOST_ALERTS = 30
"""Of one incident. Beyond that somebody should hear of it in any case."""
UNDER_WAY = (State.EXECUTING, State.VERIFYING)
_TIMEOUT_S = (3.05, 10)


class Silencer:
    """Run it every few seconds; what it has set is in the store."""

    def __init__(self, store: Store, settings: ServerSettings, clock: Clock) -> None:
        self._store, self._settings, self._clock = store, settings, clock
        self._session = requests.Session()
        self._url = settings.alertmanager_url.rstrip("/")

    def run(self) -> tuple[int, int]:
        """(silences set, silences taken back). Raises Temporary."""
        if not self._url or self._settings.silence_for <= timedelta(0):
            return 0, 0
        held: dict[str, list[str]] = json.loads(self._store.get(SILENCES) or "{}")
        acting = {i.id: i for i in self._store.intents(open_only=True) if _is_acting(i)}
        lifted = sum(self._lift(held, each) for each in sorted(set(held) - set(acting)))
        made = sum(self._set(held, acting[each]) for each in sorted(set(acting) - set(held)))
        return made, lifted

    def _set(self, held: dict[str, list[str]], intent: Intent) -> int:
        alerts = list(self._alerts(intent))[:MOST_ALERTS]
        held[intent.id] = []
        for alert in alerts:
            held[intent.id].append(self._silence(intent, alert))
            self._keep(held)  # each by itself: what is not written down is not taken back
        if alerts:
            self._record("alerts.silenced", intent, len(alerts))
        else:
            self._keep(held)
        return len(alerts)

    def _lift(self, held: dict[str, list[str]], intent_id: str) -> int:
        ids = held[intent_id]
        count = len(ids)
        for each in list(ids):
            self._call("DELETE", f"/api/v2/silence/{each}", (200, 404))
            ids.remove(each)
            self._keep(held)
        del held[intent_id]
        self._keep(held)
        return count

    def _alerts(self, intent: Intent) -> Iterator[Episode]:
        """Alerts of the incident that fire now."""
        incident = self._store.incident(intent.plan.incident_id)
        if incident is None:
            return
        wanted = {e.attributes.get("fingerprint") for e in incident.events if e.kind == "alert"}
        for episode in self._store.episodes(self._clock.now()):
            fires = episode.source == SOURCE and episode.ends_at is None
            if fires and episode.fingerprint in wanted:
                yield episode

    def _silence(self, intent: Intent, alert: Episode) -> str:
        now = self._clock.now()
        end = now + self._settings.silence_for
        answer = self._call(
            "POST",
            "/api/v2/silences",
            (200, 202),
            {
                "matchers": [
                    {"name": name, "value": value, "isRegex": False, "isEqual": True}
                    for name, value in sorted(alert.labels.items())
                ],
                "startsAt": _rfc3339(now),
                "endsAt": _rfc3339(end),
                "createdBy": "healer",
                "comment": f"{intent.plan.remediation} on {intent.plan.target}: {intent.id}",
            },
        )
        try:
            return str(answer.json()["silenceID"])
        except (ValueError, KeyError, TypeError) as error:
            raise Temporary("alertmanager: a silence was set and its id not told") from error

    def _call(
        self,
        method: str,
        path: str,
        good: tuple[int, ...],
        body: Mapping[str, object] | None = None,
    ) -> requests.Response:
        url = f"{self._url}{path}"
        try:
            answer = self._session.request(
                method,
                url,
                json=body,
                headers=alertmanager_headers(self._settings),
                timeout=_TIMEOUT_S,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise Temporary(f"alertmanager: {url}: {type(error).__name__}") from error
        if answer.status_code not in good:
            raise Temporary(f"alertmanager: {method} {url} answered {answer.status_code}")
        return answer

    def _keep(self, held: Mapping[str, list[str]]) -> None:
        self._store.put(SILENCES, json.dumps(held, sort_keys=True))

    def _record(self, kind: str, intent: Intent, count: int) -> None:
        self._store.record(
            AuditEntry(
                kind=kind,
                at=self._clock.now(),
                actor="healer",
                incident_id=intent.plan.incident_id,
                intent_id=intent.id,
                target=str(intent.plan.target),
                message=f"{count} alerts, {self._settings.silence_for} at most",
            )
        )


def _is_acting(intent: Intent) -> bool:
    """Something was sent, and it is not known yet whether it helped."""
    return (
        intent.state in UNDER_WAY
        and intent.plan.remediation != "escalate"
        and not intent.compensates
        and was_sent(intent)
    )


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
