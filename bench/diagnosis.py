"""What one tick of diagnosis costs, and how it grows with the cluster and with the findings.

    python bench/diagnosis.py [--quick] [--profile]

A simulated fleet: eight GPUs and two pods a node, sixteen nodes a rack, twelve replicas a
workload, half an hour of every signal the shipped rules read. Each finding sits on a pod of
another workload, so that each is an incident of its own: the dearest case (as many as there are
workloads, at most 200). The tick is what the loop does: findings become incidents, and incidents
a ranking, on a topology never seen before. Times are of the processor, not of the clock.
Exit status 1 when 200 findings on 1,500 nodes cost more than a second, or when one more finding
costs more than twice on 6,000 nodes what it costs on 150.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import itertools
import pstats
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.model.event import Event
from healer.model.finding import Finding, Level
from healer.model.frame import Frame
from healer.model.incident import Incident
from healer.model.rule import RuleBook
from healer.model.signal import Signal
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.settings import LoopSettings
from healer.stages.correlate import correlate
from healer.stages.diagnose import diagnose_all

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
GPUS, PODS, REPLICAS, RACK = 8, 2, 12, 16
STEPS, STEP_S = 120, 15.0
FINDINGS, NODES = 200, 1_500
LIMIT_S, LIMIT_GROWTH = 1.0, 2.0
MISHAPS = (
    "throttle",
    "ecc",
    "remap",
    "errors",
    "error_ratio",
    "replays",
    "restarts",
    "absent",
    "missing",
    "preemptions",
    "pressure",
    "waiting",
    "unavailable",
    "maxed",
    "links_down",
    "pcie",
    "oom",
    "unschedulable",
)
"""In the names of signals that are nothing while all is well."""
WHOLE = ("width_ratio", "_ready", "_up")
"""The ends of names of signals that are one while all is well."""
SIZES = (150, NODES, 6_000)


@dataclass(frozen=True, slots=True)
class Fleet:
    entities: dict[Target, Entity]
    edges: frozenset[tuple[Target, Target]]
    by_kind: dict[Kind, tuple[Target, ...]]


def fleet(nodes: int) -> Fleet:
    entities: dict[Target, Entity] = {}
    edges: set[tuple[Target, Target]] = set()

    def add(kind: Kind, name: str, **facts: object) -> Target:
        space = "serving" if kind in (Kind.POD, Kind.REVISION, Kind.WORKLOAD, Kind.SERVICE) else ""
        target = Target(kind, name, space)
        entities.setdefault(target, Entity(target, facts=facts, created_at=NOW - timedelta(days=9)))
        return target

    hosts = [add(Kind.NODE, f"node-{i:05}", ready=True, unschedulable=False) for i in range(nodes)]
    gpus: dict[Target, list[Target]] = {}
    for i, host in enumerate(hosts):
        edges.add((host, add(Kind.RACK, f"rack-{i // RACK:04}")))
        gpus[host] = [add(Kind.GPU, f"GPU-{i:05}-{g}", index=g) for g in range(GPUS)]
        edges.update((gpu, host) for gpu in gpus[host])
    count = nodes * PODS
    for i in range(count):
        group, host = i % (count // REPLICAS), hosts[i // PODS]
        service = add(Kind.SERVICE, f"model-{group:04}")
        workload = add(
            Kind.WORKLOAD,
            f"deployment/model-{group:04}",
            replicas=REPLICAS,
            updated_replicas=REPLICAS,
            ready_replicas=REPLICAS,
        )
        revision = add(Kind.REVISION, f"model-{group:04}-5d9f", number=3)
        pod = add(Kind.POD, f"model-{group:04}-5d9f-{i:05}", phase="Running", ready=True)
        own = gpus[host][i % PODS * GPUS // PODS :][: GPUS // PODS]
        edges.update({(pod, host), (pod, revision), (revision, workload), (workload, service)})
        edges.update((pod, gpu) for gpu in own)
    kinds: dict[Kind, list[Target]] = {}
    for target in entities:
        kinds.setdefault(target.kind, []).append(target)
    return Fleet(entities, frozenset(edges), {k: tuple(v) for k, v in kinds.items()})


def frames(world: Fleet, signals: dict[str, Signal]) -> dict[str, Frame]:
    """One row a target, the same noise under every signal; 0 for what counts mishaps."""
    times = NOW.timestamp() - STEP_S * np.arange(STEPS - 1, -1, -1, dtype=np.float64)
    rng = np.random.default_rng(0)
    noise: dict[int, np.ndarray] = {}
    found = {}
    for name, signal in signals.items():
        targets = world.by_kind.get(signal.scope, ())
        if not targets:
            continue
        if len(targets) not in noise:
            noise[len(targets)] = 0.5 + 0.01 * rng.standard_normal(
                (len(targets), STEPS), dtype=np.float32
            )
        values = noise[len(targets)]
        if name.endswith(WHOLE):
            values = np.ones_like(values)
        elif any(word in name for word in MISHAPS):
            values = np.zeros_like(values)
        found[name] = Frame(signal, times, values, targets)
    return found


def claims(world: Fleet, count: int) -> tuple[Finding, ...]:
    """Findings on pods of different workloads while there are any."""
    pods = sorted(world.by_kind[Kind.POD])
    chosen = [pods[(i * REPLICAS + i // (len(pods) // REPLICAS)) % len(pods)] for i in range(count)]
    return tuple(
        Finding(
            pod,
            signal,
            "seasonal",
            Level.PAGE,
            NOW - timedelta(seconds=90 + 3 * i),
            NOW,
            4.0,
            0.2,
            0.6,
            5.0,
            "s",
        )
        for i, (pod, signal) in enumerate(
            zip(chosen, itertools.cycle(("ttft_p95", "itl_p95", "generation_tokens")), strict=False)
        )
    )


def tick(
    world: Fleet, seen: dict[str, Frame], found: tuple[Finding, ...], rules: RuleBook
) -> tuple[float, float, tuple[Incident, ...]]:
    """(seconds to correlate, seconds to diagnose, incidents) on a topology that is new."""
    events = tuple(
        Event("rollout", target, NOW - timedelta(minutes=20), "revision 3")
        for target in world.by_kind[Kind.WORKLOAD][:50]
    )
    view = Snapshot(NOW, seen, events, Topology(world.entities, world.edges))
    numbers = itertools.count()
    # As the daemon has it: what is there before a tick is not searched for cycles during one.
    gc.collect()
    gc.freeze()
    start = time.process_time()
    incidents = correlate(
        (), found, view, LoopSettings(), lambda _: f"inc-{next(numbers)}", opens=rules.opens
    )
    middle = time.process_time()
    diagnose_all(incidents, view, rules)
    return middle - start, time.process_time() - middle, incidents


def best_of(times: int, *given: object) -> tuple[float, float, int]:
    took = [tick(*given) for _ in range(times)]  # type: ignore[arg-type]
    return min(t[0] for t in took), min(t[1] for t in took), len(took[0][2])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,500 nodes only, once")
    parser.add_argument("--profile", action="store_true", help="where the time goes, 1,500 nodes")
    options = parser.parse_args()
    rules = load_rules()
    signals = {signal.name: signal for signal in load_signals()}
    missed, slopes = [], {}
    print(f"{len(rules.rules)} rules, {len(signals)} signals")
    print(f"{'nodes':>6}{'findings':>10}{'incidents':>11}{'correlate s':>13}{'diagnose s':>12}")
    for nodes in (NODES,) if options.quick or options.profile else SIZES:
        world = fleet(nodes)
        seen = frames(world, signals)
        totals = {}
        most = min(FINDINGS, len(world.by_kind[Kind.WORKLOAD]))
        for count in (most // 10, most):
            given = (world, seen, claims(world, count), rules)
            if options.profile and count == most:
                with cProfile.Profile() as profile:
                    tick(*given)
                pstats.Stats(profile).sort_stats("tottime").print_stats(35)
            bonding, ranking, incidents = best_of(1 if options.quick else 3, *given)
            totals[count] = bonding + ranking
            print(f"{nodes:6}{count:10}{incidents:11}{bonding:13.3f}{ranking:12.3f}", flush=True)
        slopes[nodes] = 1000 * (totals[most] - totals[most // 10]) / (most - most // 10)
        print(f"{'':6}one more finding costs {slopes[nodes]:.2f} ms")
        if nodes == NODES and totals[most] > LIMIT_S:
            missed.append(f"{most} findings on {nodes} nodes: {totals[most]:.2f} s")
    if len(slopes) > 1 and slopes[SIZES[-1]] > LIMIT_GROWTH * slopes[SIZES[0]]:
        missed.append(f"one finding costs {slopes[SIZES[-1]] / slopes[SIZES[0]]:.1f} times as much")
    for name in missed:
        print(f"missed: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
