"""An invented incident with everything in it that a message can tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from healer.model.actions import EvictPod
from healer.model.finding import Finding, Level
from healer.model.hypothesis import Diagnosis, Hypothesis, Side, Term
from healer.model.incident import Incident, Phase, Severity
from healer.model.intent import Intent, State, Step
from healer.model.message import Notice, Occasion
from healer.model.plan import Plan, Risk, Success
from healer.model.target import Kind, Target

_PHASES = {
    Occasion.RESOLVED: Phase.RESOLVED,
    Occasion.ESCALATED: Phase.ESCALATED,
    Occasion.PROPOSED: Phase.AWAITING_APPROVAL,
}
_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def sample_notice(occasion: Occasion, now: datetime = _NOW) -> Notice:
    """For trying a channel or a template; nothing of it exists."""
    start = now - timedelta(minutes=3)
    pod = Target(Kind.POD, "example-7d9f", "example", "uid-1")
    owner = Target(Kind.WORKLOAD, "deployment/example", "example", "uid-2")
    seen = Finding(
        pod, "generation_tokens", "stall", Level.PAGE, start, now, 0.0, 800.0, 1200.0, 9.0,
        unit="tokens/s", summary="0 tokens/s, expected 800 … 1200",
    )  # fmt: skip
    evidence = Term("tokens frozen", Side.FOR, 3.0, "0 tokens/s for 95 s")
    cause = Hypothesis(
        "engine_hang", pod, start, 0.93, 2.6, title="The engine hangs", title_zh="推理引擎卡死",
        terms=(evidence,),
    )  # fmt: skip
    wanted = Plan(
        "example", "engine_hang", "restart_pod", pod, (EvictPod(pod, owner, "uid-1"),),
        Success(("generation_tokens",)), Risk.LOW, summary="Evict pod example/example-7d9f",
    )  # fmt: skip
    asked = occasion in (Occasion.PROPOSED, Occasion.ACTED)
    intent = Intent(
        id=wanted.id,
        plan=wanted,
        state=State.PLANNED if occasion is Occasion.PROPOSED else State.VERIFYING,
        steps=tuple(Step(action) for action in wanted.actions),
        created_at=now,
        updated_at=now,
        expires_at=now + timedelta(minutes=15),
        digest=wanted.digest,
    )
    incident = Incident(
        "example", now, start, now, _PHASES.get(occasion, Phase.DIAGNOSED), Severity.CRITICAL,
        "example-7d9f makes no tokens", (pod,), (seen,),
        diagnosis=Diagnosis("example", now, (cause,)),
        resolved_at=now if occasion is Occasion.RESOLVED else None,
        resolution="restart_pod was effective" if occasion is Occasion.RESOLVED else "",
    )  # fmt: skip
    return Notice(occasion, incident, now, (intent,) if asked else (), "")
