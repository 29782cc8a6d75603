"""A server with something on every page, behind a real socket: for browsers and for pictures."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from builders import (
    NOW,
    at,
    diagnosis,
    finding,
    frame,
    hypothesis,
    incident,
    intent,
    node,
    pod,
    workload,
)
from builders import plan as plan_of

from healer.adapters.clocks import SteppedClock
from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.adapters.store import open_store
from healer.lexicon import lexicon_of
from healer.model.actions import CordonNode, EvictPod
from healer.model.audit import AuditEntry
from healer.model.event import Event
from healer.model.hypothesis import Side, Term
from healer.model.incident import Phase, Severity
from healer.model.intent import Effect, Outcome, Receipt, State, Step
from healer.model.message import Delivery, DeliveryResult
from healer.model.plan import Risk
from healer.model.snapshot import Snapshot
from healer.model.verdict import Decision, Verdict
from healer.server import Chart, Health, ServerDeps, create_app
from healer.settings import NotifySettings, ServerSettings

OPEN_ID, ENDED_ID = "inc-hang", "inc-evicted"
LONG = "a-very-long-deployment-name-that-nobody-would-choose-but-somebody-has-chosen-7f9c8d6b5c"

FROZEN = (
    "No tokens for 95 s with requests held; GPU utilisation 100 %, power 98 W (28% of busy), "
    "tensor cores active 0%; 2 siblings still serving (before: 1,120 tokens/s)"
)
TERMS = (
    Term("ratio(generation_tokens) < 0.05 and value(requests_running) > 0", Side.FOR, 3.0,
         "requests are held and no token comes out: generation_tokens 0 tokens/s, before 1,120 "
         "tokens/s; requests_running 7 requests, before 7 requests",
         source="generation_tokens", decisive=True),
    Term("low(gpu_power) on gpus all", Side.FOR, 1.6, "gpu_power 98 W, before 352 W",
         source="gpu_power"),
    Term("event(gpu_lost) within 30m", Side.AGAINST, -0.5, "no gpu_lost event", source="gpu_lost"),
    Term("memory clock", Side.MISSING, 0.0, "", source="gpu_memory_clock"),
)  # fmt: skip


def shown_deps(folder: Path) -> ServerDeps:
    """An open incident that waits for a person, one healed, one noticed; all of it invented."""
    store = open_store(f"sqlite:///{folder / 'healer.db'}")
    broken = incident(
        OPEN_ID,
        phase=Phase.AWAITING_APPROVAL,
        title=FROZEN,
        targets=(node("gpu-node-7"), pod(f"{LONG}-x2x4z"), pod("qwen-72b-6d9f8-k2k7p")),
        findings=(
            finding(pod("qwen-72b-6d9f8-k2k7p"), signal="generation_tokens", detector="stall",
                    observed=0.0, expected_low=850.0, expected_high=1400.0, unit="tokens/s",
                    summary=FROZEN),
            finding(node("gpu-node-7"), signal="ttft_p95", observed=31.0,
                    summary="TTFT p95 31 s, limit 10 s, for 2 min"),
        ),
        events=(Event("xid", node("gpu-node-7"), at(-130), "Xid 79: GPU has fallen off the bus",
                      {"xid": "79"}, "kernel"),),
        diagnosis=diagnosis(
            hypothesis("gpu_off_bus", target=node("gpu-node-7"),
                       title="The GPU has fallen off the bus", title_zh="GPU 掉卡（从总线脱落）",
                       confidence=0.94, terms=TERMS,
                       proposes=("drain_node",), reference="https://docs.nvidia.com/deploy/xid-errors/"),
            hypothesis("engine_hang", title_zh="推理引擎卡死", confidence=0.05, terms=TERMS[:2],
                       why_not="leaves 1 of 3 symptoms unexplained"),
            incident_id=OPEN_ID,
        ),
    )  # fmt: skip
    wanted = plan_of(
        incident_id=OPEN_ID,
        cause="gpu_off_bus",
        remediation="drain_node",
        target=node("gpu-node-7"),
        actions=(
            CordonNode(node("gpu-node-7")),
            EvictPod(pod("qwen-72b-6d9f8-k2k7p"), workload("deployment/qwen-72b"), "uid-a"),
        ),
        risk=Risk.MEDIUM,
        confidence=0.94,
        affected_pods=(pod("qwen-72b-6d9f8-k2k7p"),),
        summary="Cordon node:gpu-node-7 and move 1 GPU pods: The GPU has fallen off the bus",
    )
    asked = intent(
        State.PLANNED,
        plan=wanted,
        expires_at=at(900),
        verdicts=(
            Verdict("approval", Decision.APPROVE, ("A person is needed: it moves pods",)),
            Verdict("blast_radius", Decision.ALLOW, ("1 of 6 nodes would be out, 2 may",)),
        ),
    )
    healed = incident(
        ENDED_ID,
        opened_at=at(-3600),
        started_at=at(-3660),
        phase=Phase.RESOLVED,
        resolved_at=at(-3300),
        resolution="restart_pod was effective",
        title=FROZEN,
        findings=(finding(signal="generation_tokens", summary=FROZEN),),
        diagnosis=diagnosis(hypothesis(title_zh="推理引擎卡死", terms=TERMS), incident_id=ENDED_ID),
    )
    evicted = plan_of(incident_id=ENDED_ID)
    receipt = Receipt(
        True, at(-3500), "evicted", before={"phase": "Running"}, after={"phase": "gone"}
    )
    helped = intent(
        State.SUCCEEDED,
        plan=evicted,
        executed_at=at(-3500),
        steps=(Step(evicted.actions[0], at(-3501), receipt),),
        outcome=Outcome(
            Effect.EFFECTIVE, at(-3310), ("generation_tokens is back in its band on 1 targets",)
        ),
    )
    noticed = incident(
        "inc-queue", severity=Severity.WARNING,
        title="Requests waiting 74 requests, limit 50 requests, for 3 min",
        targets=(workload(f"deployment/{LONG}"),),
    )  # fmt: skip
    for each in (broken, healed, noticed):
        store.put_incident(each)
        store.record(AuditEntry("incident.opened", each.opened_at, "healer", each.id,
                                target=str(each.targets[0]), message=each.title))  # fmt: skip
        for occasion in ("opened", "diagnosed"):
            store.enqueue("ops", f"{each.id}|{occasion}|", each.id, "{}", each.opened_at)
    for parcel in store.due("ops", NOW):
        result = DeliveryResult(Delivery.DELIVERED, "0")
        if parcel.incident_id == "inc-queue":
            result = DeliveryResult(Delivery.BROKEN, "310000", "sign not match")
        store.settle(parcel.id, result, NOW, None)
    store.claim_intent(asked)
    store.claim_intent(helped)
    tokens = {"read": "read-token", "ingest": "ingest-token", "approve": "approve-token"}
    for scope, token in tokens.items():
        (folder / scope).write_text(f"{token}\n")
    settings = ServerSettings(
        anonymous_read=True,
        read_token_file=folder / "read",
        ingest_token_file=folder / "ingest",
        approve_token_file=folder / "approve",
    )
    health = Health(
        last_tick_at=at(-9),
        breakers=("scale",),
        broken_channels=("wecom: 93000 invalid webhook url",),
        problems=("signal.xid: query timed out after 20 s",),
        sentence="2 incidents, 1 waits for approval",
    )
    signals = load_signals((), (), ("detectors",))[:40]
    named = {s.name: s for s in signals}
    frames = {
        name: replace(frame([[0.4] * 9, [1.9] * 9], name=name), signal=named[name])
        for name in sorted(named)[::2]
    }
    rules = load_rules((), ())
    return ServerDeps(
        store,
        settings,
        SteppedClock(NOW),
        lambda: health,
        series=lambda _: charts(),
        notify=NotifySettings(timezone="Asia/Shanghai"),
        signals=signals,
        rules=rules,
        lexicon=lexicon_of(signals, rules.rules),
        snapshot=lambda: Snapshot(NOW, frames),
    )


def charts() -> tuple[Chart, ...]:
    """Tokens that stop and a latency that climbs, half an hour of each."""
    times = tuple(at(15 * n).timestamp() for n in range(-120, 1))
    stop, moved = 104, at(-100).timestamp()
    tokens = tuple(
        1100 + 120 * math.sin(n / 5) + 60 * math.sin(n * 1.7) if n < stop else 0.0
        for n in range(121)
    )
    late = tuple(0.4 + 0.05 * math.sin(n) + max(0, n - stop) ** 1.3 for n in range(121))
    span = ((times[stop], times[-1]),)
    marks = ((moved, "evict_pod"),)
    return (
        Chart("generation_tokens", "pod:serving/qwen-72b-6d9f8-k2k7p", "tokens/s", times, tokens,
              (850.0,) * 121, (1400.0,) * 121, span, marks, "Tokens generated", "生成 token 速率"),
        Chart("ttft_p95", "node:gpu-node-7", "s", times, late, (0.2,) * 121, (0.6,) * 121, span,
              (), "TTFT p95", "首 token 延迟 p95"),
    )  # fmt: skip


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The app behind a free port of this machine."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def shown_site(folder: Path) -> Iterator[tuple[str, ServerDeps]]:
    """(base URL, what it serves)."""
    deps = shown_deps(folder)
    with serving(create_app(deps)) as url:
        yield url, deps
    deps.store.close()
