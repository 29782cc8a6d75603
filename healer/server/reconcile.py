"""Alerts that a webhook left out, and ends that nobody told us of.

Alertmanager cuts long groups (`max_alerts`) and says only how many it left out, so their ends never
arrive. Where its API is known, it is asked; where it is not, an alert that was not repeated for
long enough is taken as over. An alert has to be missing for a while before it counts as ended, for
Alertmanager forgets all alerts when it restarts and hears of them again within a minute or two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import requests
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from healer.errors import Temporary
from healer.ports import Clock, Episode, Store
from healer.server.alerts import OWN, Beginning, Labels, Text, key_of
from healer.settings import ServerSettings

RECEIVERS = "alertmanager.receivers"
"""Key in the store: names of the receivers that Alertmanager calls us, one a line."""
MISSING_FOR = timedelta(minutes=5)
SOURCE = "alertmanager"
MOST_BYTES = 64_000_000


class Status(BaseModel):
    model_config = ConfigDict(extra="allow")

    state: str = "active"


class Receiver(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str


class Listed(BaseModel):
    """One alert as `/api/v2/alerts` lists it."""

    model_config = ConfigDict(extra="allow")

    labels: Labels
    annotations: Labels = {}
    startsAt: Beginning  # noqa: N815  the sender's spelling
    fingerprint: Text = ""
    generatorURL: Text = ""  # noqa: N815
    status: Status = Status()
    receivers: list[Receiver] = []


_LIST = TypeAdapter(list[Listed])


class Reconciler:
    """Run it once a minute; what is missing since when is its only memory."""

    def __init__(self, store: Store, settings: ServerSettings, clock: Clock) -> None:
        self._store, self._settings, self._clock = store, settings, clock
        self._session = requests.Session()
        self._missing: dict[tuple[str, datetime], datetime] = {}

    def run(self) -> tuple[int, int]:
        """(alerts taken in that no webhook brought, alerts ended). Raises Temporary."""
        now = self._clock.now()
        firing = [e for e in self._store.episodes(now) if e.ends_at is None]
        over = [e for e in firing if self._expired(e, now)]
        late: list[Episode] = []
        if self._settings.alertmanager_url:
            listed = self._ask()
            gone = {id(e) for e in over}
            over += [e for e in self._gone(firing, listed, now) if id(e) not in gone]
            late = list(self._unheard(firing, listed, now))
        ended = [replace(e, ends_at=now) for e in over]
        if late or ended:
            self._store.accept([*late, *ended])
        return len(late), len(ended)

    def _expired(self, episode: Episode, now: datetime) -> bool:
        heard = episode.last_seen or episode.first_seen or episode.starts_at
        return now - heard >= self._settings.alerts_expire_after

    def _gone(
        self, firing: list[Episode], listed: list[Listed], now: datetime
    ) -> Iterator[Episode]:
        """Those that Alertmanager has not known for a while."""
        known = {(_fingerprint(a), a.startsAt) for a in listed}
        ours = {_place(e): e for e in firing if e.source == SOURCE}
        self._missing = {
            place: self._missing.get(place, now) for place in ours if place not in known
        }
        for place, since in self._missing.items():
            if now - since >= MISSING_FOR:
                yield ours[place]

    def _unheard(
        self, firing: list[Episode], listed: list[Listed], now: datetime
    ) -> Iterator[Episode]:
        """Those routed to us, active, and told by no webhook."""
        receivers = set((self._store.get(RECEIVERS) or "").splitlines())
        known = {_place(e) for e in firing if e.source == SOURCE}
        for alert in listed:
            place = (_fingerprint(alert), alert.startsAt)
            routed = any(r.name in receivers for r in alert.receivers)
            own = alert.labels.get("source") == OWN
            if place in known or not routed or own or alert.status.state != "active":
                continue
            yield Episode(
                SOURCE,
                *place,
                labels=dict(alert.labels),
                annotations=dict(alert.annotations),
                generator_url=alert.generatorURL,
                first_seen=now,
                last_seen=now,
            )

    def _ask(self) -> list[Listed]:
        url = f"{self._settings.alertmanager_url.rstrip('/')}/api/v2/alerts"
        try:
            answer = self._session.get(
                url,
                headers=alertmanager_headers(self._settings),
                timeout=(3.05, 20),
                allow_redirects=False,
            )
            if answer.status_code != requests.codes.ok:
                raise Temporary(f"alertmanager: {url} answered {answer.status_code}")
            return _LIST.validate_json(answer.content[:MOST_BYTES])
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            path = ".".join(map(str, first["loc"]))
            raise Temporary(f"alertmanager: {url}: {path}: {first['msg']}") from error
        except requests.RequestException as error:
            raise Temporary(f"alertmanager: {url}: {type(error).__name__}") from error


def alertmanager_headers(settings: ServerSettings) -> dict[str, str]:
    """With the token, where there is one. Raises Temporary."""
    file = settings.alertmanager_token_file
    if file is None:
        return {}
    try:
        return {"Authorization": f"Bearer {file.read_text(encoding='utf-8').strip()}"}
    except OSError as error:
        raise Temporary(f"{file}: {error.strerror}") from error


def _place(episode: Episode) -> tuple[str, datetime]:
    return episode.fingerprint, episode.starts_at


def _fingerprint(alert: Listed) -> str:
    return key_of(alert.fingerprint, alert.labels)
