"""What a tick of each unlearned detector costs on a large healthy fleet.

    python bench/tick_detectors.py [--pods 10000] [--limit-ms 500]

Every signal has one row a pod, half an hour at 15 s, and noise; workloads have twenty replicas.
CPU time, the mean of three ticks after one that warms up. Exit status 1 when one costs more than
the limit, or claims anything of a fleet that has nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from detectors.absence import Absence
from detectors.changepoint import Changepoint
from detectors.forecast import Forecast
from detectors.peers import Peers
from detectors.stall import Stall
from detectors.threshold import Threshold
from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.signal import Signal, Worse
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
TIMES: NDArray[np.float64] = NOW.timestamp() - 15.0 * np.arange(120, -1, -1, dtype=np.float64)
REPLICAS = 20
LEVELS = {
    "itl_p95": (0.05, 0.02),
    "ttft_p95": (0.4, 0.25),
    "e2e_p95": (6.0, 1.0),
    "error_ratio": (0.001, 0.01),
    "requests_running": (20.0, 4.0),
    "requests_waiting": (2.0, 5.0),
    "arrival_rate": (3.0, 0.5),
    "prompt_length_mean": (500.0, 200.0),
    "generation_tokens": (900.0, 50.0),
    "prompt_tokens": (4000.0, 200.0),
}
"""Signal → (usual value, what matters)."""


def fleet(count: int) -> Snapshot:
    rng = np.random.default_rng(0)
    pods = tuple(Target(Kind.POD, f"engine-{i}", "serving") for i in range(count))
    edges: set[tuple[Target, Target]] = set()
    for i, pod in enumerate(pods):
        revision = Target(Kind.REVISION, f"model-{i // REPLICAS}-a", "serving")
        edges |= {(pod, revision)}
        edges |= {(revision, Target(Kind.WORKLOAD, f"deployment/model-{i // REPLICAS}", "serving"))}
    frames = {}
    for name, (level, matters) in LEVELS.items():
        values = level * (1 + 0.1 * rng.normal(size=(count, len(TIMES))))
        values[rng.random(values.shape) < 0.01] = np.nan
        made = Signal(name, "vllm", "rate(x[1m])", "", Kind.POD, Worse.UP, matters)
        frames[name] = Frame(made, TIMES, values.astype(np.float32), pods)
    facts = {"phase": "Running", "ready": True}
    world = Topology({pod: Entity(pod, facts=facts) for pod in pods}, frozenset(edges))
    world.above(pods[0])  # the index is made once a tick, by whoever asks first
    return Snapshot(NOW, frames, topology=world)


def cost_ms(look: Callable[[], Iterable[Finding]]) -> tuple[float, int]:
    """Milliseconds of CPU a tick, and findings."""
    found = list(look())
    begun = time.process_time()
    for _ in range(3):
        list(look())
    return (time.process_time() - begun) / 3 * 1000, len(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--limit-ms", type=float, default=500.0)
    given = parser.parse_args()
    seen = fleet(given.pods)
    ttft, itl = seen.frames["ttft_p95"], seen.frames["itl_p95"]
    looks: dict[str, Callable[[], Iterable[Finding]]] = {
        "stall": lambda: Stall().detect(seen, None),
        "peers": lambda: Peers().detect(seen, None),
        "absence": lambda: Absence().detect(seen, None),
        "forecast": lambda: Forecast(limit=10.0).detect(ttft, None),
        "changepoint": lambda: Changepoint().detect(itl, None),
        "threshold": lambda: Threshold(above=10.0).detect(ttft, None),
    }
    good = True
    for name, look in looks.items():
        spent, findings = cost_ms(look)
        good &= spent <= given.limit_ms and not findings
        sys.stdout.write(f"{name}: {spent:.1f} ms, {findings} findings, {given.pods} pods\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
