"""Small values for tests, with every field a test does not care about filled in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from healer.model.actions import EvictPod
from healer.model.finding import Finding, Level
from healer.model.frame import Frame
from healer.model.hypothesis import Diagnosis, Hypothesis
from healer.model.incident import Incident, Phase, Severity
from healer.model.intent import Intent, State, Step
from healer.model.plan import Plan, Risk, Success
from healer.model.signal import Signal, Worse
from healer.model.target import Kind, Target

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def pod(name: str = "llama-8b-aaaa", namespace: str = "serving", uid: str = "uid-a") -> Target:
    return Target(Kind.POD, name, namespace, uid)


def node(name: str = "gpu-node-1", uid: str = "uid-n") -> Target:
    return Target(Kind.NODE, name, "", uid)


def workload(name: str = "deployment/llama-8b", namespace: str = "serving") -> Target:
    return Target(Kind.WORKLOAD, name, namespace, "uid-w")


def signal(name: str = "ttft_p95", **changes: Any) -> Signal:
    given: dict[str, Any] = {
        "name": name,
        "source": "vllm",
        "query": f"test_{name}",
        "unit": "s",
        "scope": Kind.POD,
        "worse": Worse.UP,
        "matters": 0.1,
    }
    return Signal(**(given | changes))


def frame(
    values: Any, targets: tuple[Target, ...] | None = None, step_s: float = 15.0, **changes: Any
) -> Frame:
    """Rows × time, ending at NOW."""
    matrix = np.atleast_2d(np.asarray(values, dtype=np.float32))
    times = NOW.timestamp() - step_s * np.arange(matrix.shape[1] - 1, -1, -1, dtype=np.float64)
    rows = targets or tuple(pod(f"pod-{i}", uid=f"uid-{i}") for i in range(len(matrix)))
    return Frame(signal(**changes), times, matrix, rows)


def finding(target: Target | None = None, **changes: Any) -> Finding:
    given: dict[str, Any] = {
        "target": target or pod(),
        "signal": "ttft_p95",
        "detector": "seasonal",
        "level": Level.PAGE,
        "since": at(-120),
        "at": NOW,
        "observed": 4.0,
        "expected_low": 0.2,
        "expected_high": 0.6,
        "score": 5.0,
        "unit": "s",
        "summary": "TTFT p95 4.0 s, expected 0.2–0.6 s",
    }
    return Finding(**(given | changes))


def hypothesis(cause: str = "engine_hang", **changes: Any) -> Hypothesis:
    given: dict[str, Any] = {
        "cause": cause,
        "target": pod(),
        "onset": at(-120),
        "confidence": 0.9,
        "log_odds": 4.0,
        "title": "The engine hangs",
        "proposes": ("restart_pod",),
        "min_confidence": 0.6,
    }
    return Hypothesis(**(given | changes))


def incident(incident_id: str = "inc-1", **changes: Any) -> Incident:
    given: dict[str, Any] = {
        "id": incident_id,
        "opened_at": at(-60),
        "started_at": at(-120),
        "updated_at": NOW,
        "phase": Phase.OPEN,
        "severity": Severity.CRITICAL,
        "title": "llama-8b-aaaa makes no tokens",
        "targets": (pod(),),
        "findings": (finding(),),
    }
    return Incident(**(given | changes))


def diagnosis(*hypotheses: Hypothesis, **changes: Any) -> Diagnosis:
    given: dict[str, Any] = {
        "incident_id": "inc-1",
        "at": NOW,
        "hypotheses": hypotheses or (hypothesis(),),
    }
    return Diagnosis(**(given | changes))


def plan(**changes: Any) -> Plan:
    given: dict[str, Any] = {
        "incident_id": "inc-1",
        "cause": "engine_hang",
        "remediation": "restart_pod",
        "target": pod(),
        "actions": (EvictPod(pod(), workload(), "uid-a"),),
        "success": Success(("ttft_p95",)),
        "risk": Risk.LOW,
        "summary": "Evict pod serving/llama-8b-aaaa",
    }
    return Plan(**(given | changes))


def intent(state: State = State.PLANNED, **changes: Any) -> Intent:
    wanted = changes.pop("plan", None) or plan()
    given: dict[str, Any] = {
        "id": wanted.id,
        "plan": wanted,
        "state": state,
        "steps": tuple(Step(action) for action in wanted.actions),
        "created_at": NOW,
        "updated_at": NOW,
        "digest": wanted.digest,
    }
    return Intent(**(given | changes))
