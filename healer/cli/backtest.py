"""`healer backtest`: what Healer would have done, had it watched the last weeks. No hands.

The daemon's own loop runs over Prometheus' history with a clock that jumps: far while nothing is
wrong, near while something is. All it remembers lies in a file of its own, so that it goes on
where it was interrupted.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from healer.adapters import logs
from healer.adapters.clocks import SteppedClock, SystemClock
from healer.adapters.past_cluster import PastCluster
from healer.app import App, World, open_world
from healer.cli.common import ConfigOption, err, out, settings_of
from healer.errors import BadInput
from healer.model.finding import Level
from healer.model.incident import Incident
from healer.model.intent import Intent
from healer.ports import Store
from healer.settings import Mode, NotifySettings, Settings, StoreSettings
from healer.stages.detect import detect
from healer.values import parse_span

SPAN = "backtest.span"
CURSOR = "backtest.cursor"
LEARN_EVERY = timedelta(days=1)
CLOSE_LOOK = timedelta(minutes=1)
"""Between two ticks while an incident is open: plans wait for a hypothesis to last."""

SHOWN_ACTS = 5


@dataclass(frozen=True, slots=True)
class Span:
    since: datetime
    until: datetime
    every: timedelta


def backtest(
    since: Annotated[str, typer.Option(help="How far back, such as 30d, or an ISO date.")] = "30d",
    until: Annotated[str, typer.Option(help="Where to end: a span ago, or an ISO date.")] = "0s",
    every: Annotated[str, typer.Option(help="Between two looks while all is well.")] = "5m",
    state: Annotated[
        Path, typer.Option(help="File it remembers in; an unfinished one is gone on with.")
    ] = Path("backtest.db"),
    again: Annotated[bool, typer.Option("--again", help="Forget the file, begin afresh.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Run the loop over Prometheus' history: what would have been done, when, to what, and why.

    Nothing is sent to the cluster and nobody is told. Rollouts and events that the API server
    still remembers count as changes.
    """
    settings = settings_of(config)
    if again:
        for file in (state, Path(f"{state}-wal"), Path(f"{state}-shm")):
            file.unlink(missing_ok=True)
    asked = _span(since, until, every)
    settings = _without_hands(settings, state)
    logs.configure("ERROR", settings.log_format)
    world = open_world(settings)
    world.metrics.names()  # one that does not answer is no quiet past
    span, at = _go_on(world.store, asked)
    clock = SteppedClock(at)
    past = PastCluster(world.metrics, clock, world.cluster)
    app = App(settings, World(clock, world.metrics, past, past, world.store))
    try:
        _run(app, clock, span)
        report = summary(app, span)
    finally:
        app.close()
    if as_json:
        sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        _print(report)


def _without_hands(settings: Settings, state: Path) -> Settings:
    return dataclasses.replace(
        settings,
        store=StoreSettings(url=f"sqlite:///{state}"),
        remediation=dataclasses.replace(settings.remediation, mode=Mode.OBSERVE),
        # It is there to be asked before a rule has earned anything.
        rules=dataclasses.replace(settings.rules, shadow_until=0),
        notify=NotifySettings(),
        lease=dataclasses.replace(settings.lease, enabled=False),
    )


def _span(since: str, until: str, every: str) -> Span:
    now = SystemClock().now().replace(microsecond=0)
    pause = parse_span(every)
    if not isinstance(pause, timedelta) or pause <= timedelta(0):
        raise BadInput("expected a duration such as 5m", path="--every", value=every)
    start, end = _moment(since, "--since", now), _moment(until, "--until", now)
    if start >= end:
        raise BadInput("expected a moment before --until", path="--since", value=since)
    return Span(start, end, pause)


def _moment(text: str, path: str, now: datetime) -> datetime:
    try:
        span = parse_span(text)
    except (BadInput, ValueError):
        span = None
    if isinstance(span, timedelta):
        return now - span
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(
            "expected a duration such as 30d, or an ISO date", path=path, value=text
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _go_on(store: Store, asked: Span) -> tuple[Span, datetime]:
    """The span in force and where in it we are: a file that has begun keeps its own span."""
    kept = store.get(SPAN)
    if kept is None:
        spelled = {
            "since": asked.since.isoformat(),
            "until": asked.until.isoformat(),
            "every_s": asked.every.total_seconds(),
        }
        store.put(SPAN, json.dumps(spelled))
        return asked, asked.since
    told = json.loads(kept)
    span = Span(
        datetime.fromisoformat(told["since"]),
        datetime.fromisoformat(told["until"]),
        timedelta(seconds=told["every_s"]),
    )
    cursor = store.get(CURSOR)
    return span, datetime.fromisoformat(cursor) if cursor else span.since


def _run(app: App, clock: SteppedClock, span: Span) -> None:
    total = (span.until - span.since).total_seconds()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err()) as bar:
        task = bar.add_task(f"{span.since:%d %b %H:%M}", total=total)
        app.begin()
        learned: datetime | None = None
        near_until = clock.now()
        while (now := clock.now()) <= span.until:
            if learned is None or now - learned >= LEARN_EVERY:
                app.tick()
                app.learn()
                learned = now
            ahead = now + span.every
            if now >= near_until and not app.store.open_incidents():
                if _is_calm(app, now, ahead):
                    clock.move_to(ahead)
                else:
                    near_until = ahead
            if clock.now() == now:
                clock.move(min(CLOSE_LOOK, span.every))
                app.tick()
            app.store.put(CURSOR, clock.now().isoformat())
            done = (now - span.since).total_seconds()
            bar.update(task, completed=done, description=f"{now:%d %b %H:%M}")
        bar.update(task, completed=total)


def _is_calm(app: App, last: datetime, ahead: datetime) -> bool:
    """Whether a look at `ahead` shows nothing that opens an incident; remembers nothing."""
    snapshot = app.observer.snapshot(ahead)
    found, _, _ = detect(snapshot, app.detectors, app.learning.baselines())
    if any(finding.level >= Level.PAGE for finding in found):
        return False
    return not any(e.at > last and app.rules.opens(e) is not None for e in snapshot.events)


def summary(app: App, span: Span) -> dict[str, Any]:
    """Per rule, what it led to; plain values."""
    incidents = {i.id: i for i in _incidents(app.store)}
    acts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    asked: dict[str, set[str]] = defaultdict(set)
    for intent in sorted(app.store.intents(), key=lambda each: each.created_at):
        incident = incidents.get(intent.plan.incident_id)
        if intent.compensates:
            continue
        if intent.plan.remediation == "escalate":
            asked[intent.plan.cause].add(intent.plan.incident_id)
        else:
            acts[intent.plan.cause].append(_act(intent, incident))
    led: dict[str, list[Incident]] = defaultdict(list)
    for incident in incidents.values():
        leader = incident.diagnosis.leader if incident.diagnosis else None
        if leader:
            led[leader.cause].append(incident)
    names = [rule.id for rule in app.rules.rules if rule.id in {*acts, *asked, *led}]
    rules = [
        {
            "rule": name,
            "incidents": len(led[name]),
            "would_have_acted": len(acts[name]),
            "would_have_asked": len(asked[name]),
            "acts": acts[name],
        }
        for name in names
    ]
    return {
        "since": span.since.isoformat(),
        "until": span.until.isoformat(),
        "incidents": len(incidents),
        "rules": sorted(rules, key=lambda r: (-r["would_have_acted"], -r["incidents"])),
    }


def _incidents(store: Store) -> Iterable[Incident]:
    cursor: str | None = None
    while True:
        page = store.incidents(limit=200, cursor=cursor)
        yield from page.items
        cursor = page.next_cursor
        if not cursor:
            return


def _act(intent: Intent, incident: Incident | None) -> dict[str, Any]:
    ranking = (incident.acted_on or incident.diagnosis) if incident else None
    named = (
        next((h for h in ranking.hypotheses if h.cause == intent.plan.cause), None)
        if (ranking)
        else None
    )
    spoke = [t for t in named.terms if t.weight > 0 and t.family != "prior"] if named else []
    held = [str(v) for v in intent.verdicts if v.decision.name in ("DEFER", "DENY")]
    return {
        "at": intent.created_at.isoformat(),
        "incident": intent.plan.incident_id,
        "remediation": intent.plan.remediation,
        "target": str(intent.plan.target),
        "actions": [str(action) for action in intent.plan.actions],
        "summary": intent.plan.summary,
        "confidence": round(intent.plan.confidence, 3),
        "evidence": [t.seen for t in spoke],
        "held_back_by": held,
    }


def _print(report: dict[str, Any]) -> None:
    console = out()
    console.print(f"{report['since']} to {report['until']}: {report['incidents']} incidents")
    table = Table("rule", "incidents", "would act", "would ask", box=None, header_style="bold")
    for rule in report["rules"]:
        table.add_row(
            rule["rule"],
            str(rule["incidents"]),
            str(rule["would_have_acted"]),
            str(rule["would_have_asked"]),
        )
    console.print(table)
    for rule in report["rules"]:
        for act in rule["acts"][:SHOWN_ACTS]:
            console.print(
                f"\n{act['at']}  {rule['rule']}: {act['remediation']} on {act['target']}"
                f" (confidence {act['confidence']:.2f})",
                markup=False,
            )
            for said in act["evidence"][:SHOWN_ACTS]:
                console.print(f"    {said}", markup=False)
            for held in act["held_back_by"]:
                console.print(f"    held back: {held}", markup=False)
        if len(rule["acts"]) > SHOWN_ACTS:
            console.print(f"\n… {len(rule['acts']) - SHOWN_ACTS} more of {rule['rule']} (--json)")
