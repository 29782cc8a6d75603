"""What senders of alerts write, and the episodes it means.

Extra fields are tolerated: senders grow. What is needed is checked, with the path of what is
wrong. A firing alert carries an end of the year 1, which means none.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from healer.ports import Episode
from healer.redaction import redact
from healer.server.problems import Fault, Refusal, expectation, short

MOST_CHARACTERS = 4096
"""Of one label's or annotation's value; the rest is cut, not refused."""
CACHED_CHARACTERS = 200
MOST_ALERTS = 20_000
"""In one webhook. Four million bytes hold fewer of any real kind."""
MOST_LABELS = 200
"""Of one alert; the rest is left out."""
MOST_FAULTS = 20
OWN = "healer"
"""`source` label of alerts that are about us or made by us: taking them in would be a loop."""


_DATE = re.compile(r"\s*\d{4}-\d\d-\d\d")


def _clean(value: object) -> object:
    """Databases refuse NUL, JSON allows half a surrogate pair; senders send numbers as labels."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str):
        return _seen_before(value) if len(value) <= CACHED_CHARACTERS else clean_text(value)
    return value


def storable(text: str) -> str:
    """As every database takes it, and no longer than anybody reads."""
    kept = text[:MOST_CHARACTERS].replace("\x00", "")
    return kept if kept.isascii() else "".join(c for c in kept if unicodedata.category(c) != "Cs")


def clean_text(text: str) -> str:
    """Storable, and without secrets."""
    return redact(storable(text))


_seen_before = lru_cache(maxsize=20_000)(clean_text)
"""Label names and values come again and again, and looking for secrets in each costs the most of
all that is done with an alert."""


def _counted(value: object) -> object:
    """A count is a number: pydantic would take `false` and `"3"` for one."""
    if isinstance(value, bool | str):
        raise ValueError("an integer")  # noqa: TRY004  pydantic reports ValueError
    return value


Text = Annotated[
    str,
    BeforeValidator(_clean),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]
"""Anything that can be said in a line."""


def _written(value: object) -> object:
    """Times are RFC 3339; pydantic would take a bare number, quoted or not, for seconds."""
    if value is None or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("a date and time as RFC 3339 text")


EARLIEST, LATEST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
OLDEST, FURTHEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Beginnings of alerts beyond these are nonsense, and would be one wherever they are reckoned with.
Fixed, so that the same nonsense sent again is the same episode."""


AHEAD = timedelta(minutes=5)
"""How far another machine's clock may be ahead of ours; what has ended has ended by now."""


def _utc(moment: datetime) -> datetime:
    """The first and the last day of the calendar are not there in every time zone."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return EARLIEST if moment.year == EARLIEST.year else LATEST


def _plausible(moment: datetime) -> datetime:
    return min(max(_utc(moment), OLDEST), FURTHEST)


Time = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_utc)]
Beginning = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_plausible)]


def _few(value: object) -> object:
    """Checked before anything in it: each thing wrong with a million alerts would be noted."""
    if isinstance(value, list) and len(value) > MOST_ALERTS:
        raise ValueError(f"at most {MOST_ALERTS} alerts")
    return value


def _some(value: object) -> object:
    """The first labels of a great many."""
    if isinstance(value, dict) and len(value) > MOST_LABELS:
        return dict(itertools.islice(value.items(), MOST_LABELS))
    return value


Labels = Annotated[dict[Text, Text], BeforeValidator(_some)]


class Alert(BaseModel):
    """One alert of Alertmanager's or Grafana's webhook."""

    model_config = ConfigDict(extra="allow")

    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Labels | None = None
    startsAt: Beginning  # noqa: N815  the sender's spelling
    endsAt: Time | None = None  # noqa: N815
    generatorURL: Text = ""  # noqa: N815
    fingerprint: Text = ""


class Webhook(BaseModel):
    """Alertmanager's payload of version 4, and Grafana's, which is a superset."""

    model_config = ConfigDict(extra="allow")

    version: Literal["4"] = "4"
    alerts: Annotated[list[Alert], BeforeValidator(_few)]
    receiver: Text = ""
    groupKey: Text = ""  # noqa: N815
    groupLabels: Labels | None = None  # noqa: N815
    truncatedAlerts: Annotated[int, Field(ge=0, le=2**53), BeforeValidator(_counted)] = 0  # noqa: N815


class GrafanaWebhook(Webhook):
    version: Literal["1"] = "1"  # type: ignore[assignment]  # Grafana counts its own payload


class GenericEvent(BaseModel):
    """Anything else that wants to tell us something."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(min_length=1), AfterValidator(_clean)]
    starts_at: Beginning
    id: Text = ""
    """What makes it the same when it is sent again; its labels otherwise."""
    severity: Literal["info", "warning", "critical"] = "warning"
    message: Text = ""
    labels: Labels = {}
    ends_at: Time | None = None
    url: Text = ""


class Receipt(BaseModel):
    """What became of a webhook. It is durable by the time this is sent."""

    accepted: int
    """New, or changed."""
    duplicates: int
    """Known already."""
    dropped: int = 0
    """Our own alerts come back."""
    truncated: int = 0
    """Left out by the sender; set `max_alerts: 0` there."""


M = TypeVar("M", bound=BaseModel)


def parse(raw: bytes, model: type[M]) -> M:
    """The body as `model`. Raises Refusal 422 that names each offending path."""
    try:
        data = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _unreadable(f"UTF-8 (byte {error.start} is not)") from error
    except RecursionError as error:
        raise _unreadable("JSON nested less deeply") from error
    except ValueError as error:
        raise _unreadable(f"JSON ({error})") from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [
            Fault(
                path=".".join(map(str, each["loc"])) or "$",
                expected=expectation(each["type"], each["msg"]),
                value="" if each["type"] == "missing" else short(each["input"]),
            )
            for each in error.errors(include_url=False, include_context=False)[:MOST_FAULTS]
        ]
        first = faults[0]
        shown = f" {first.value}:" if first.value else ""
        raise Refusal(
            422, f"{first.path}:{shown} expected {first.expected}", errors=faults
        ) from error
    except RecursionError as error:
        raise _unreadable("JSON nested less deeply") from error


def episodes_of(source: str, webhook: Webhook, now: datetime) -> tuple[tuple[Episode, ...], int]:
    """(episodes, how many were our own and dropped). An alert without a fingerprint gets one."""
    theirs = [a for a in webhook.alerts if a.labels.get("source") != OWN]
    # Without group labels everything is in the one group, which says nothing.
    group = webhook.groupKey if webhook.groupLabels else ""
    found = tuple(
        Episode(
            source=source,
            fingerprint=key_of(a.fingerprint, a.labels),
            starts_at=a.startsAt,
            labels=dict(a.labels),
            annotations=dict(a.annotations or {}),
            ends_at=_end(a, now),
            generator_url=a.generatorURL,
            first_seen=now,
            last_seen=now,
            group=group,
        )
        for a in theirs
    )
    return found, len(webhook.alerts) - len(theirs)


def episode_of(event: GenericEvent, now: datetime) -> Episode:
    labels = {"alertname": event.title, "severity": event.severity, **event.labels}
    return Episode(
        source="event",
        fingerprint=key_of(event.id, labels),
        starts_at=event.starts_at,
        labels=labels,
        annotations={"summary": event.message or event.title},
        ends_at=event.ends_at and _not_before(event.ends_at, event.starts_at, now),
        generator_url=event.url,
        first_seen=now,
        last_seen=now,
    )


def _end(alert: Alert, now: datetime) -> datetime | None:
    if alert.status == "firing":
        return None
    if alert.endsAt is None or alert.endsAt < OLDEST:
        return now
    ended = alert.endsAt if alert.endsAt - now < AHEAD else now
    return _not_before(ended, alert.startsAt, now)


def _not_before(ended: datetime, began: datetime, now: datetime) -> datetime:
    """Nothing ends before it began; a beginning that is still to come is a wrong clock."""
    return max(ended, min(began, now))


def key_of(given: str, labels: Mapping[str, str]) -> str:
    """At most 64 characters, the width of its column."""
    if given and len(given) <= 64:
        return given
    text = given or json.dumps(sorted(labels.items()), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _unreadable(expected: str) -> Refusal:
    return Refusal(422, f"$: expected {expected}", errors=[Fault(path="$", expected=expected)])
