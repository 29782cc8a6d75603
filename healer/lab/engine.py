"""One serving replica: admission queue, continuous batching, KV cache, and what vLLM counts of it.

Nothing here is a wish list: a step spends its seconds on prefill and decode, and latencies, queues
and cache use are what comes of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from healer.lab.scenario import EngineSpec, TrafficSpec

TTFT = np.array(
    [
        0.001,
        0.005,
        0.01,
        0.02,
        0.04,
        0.06,
        0.08,
        0.1,
        0.25,
        0.5,
        0.75,
        1.0,
        2.5,
        5.0,
        7.5,
        10.0,
        20.0,
        40.0,
        80.0,
        160.0,
        640.0,
        2560.0,
    ]
)
ITL = np.array(
    [
        0.01,
        0.025,
        0.05,
        0.075,
        0.1,
        0.15,
        0.2,
        0.3,
        0.4,
        0.5,
        0.75,
        1.0,
        2.5,
        5.0,
        7.5,
        10.0,
        20.0,
        40.0,
        80.0,
    ]
)
E2E = np.array(
    [
        0.3,
        0.5,
        0.8,
        1.0,
        1.5,
        2.0,
        2.5,
        5.0,
        10.0,
        15.0,
        20.0,
        30.0,
        40.0,
        50.0,
        60.0,
        120.0,
        240.0,
        480.0,
        960.0,
        1920.0,
        7680.0,
    ]
)
PROMPT = np.array(
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000], dtype=float
)
"""Upper bounds of vLLM V1's histograms."""
ITL_SIGMA = 0.25
"""Spread of single decode steps around their mean."""
MOST_PREFILL = 0.75
"""Share of a step's time that prefill may take from decode: chunked prefill."""


@dataclass(slots=True)
class Histogram:
    bounds: NDArray[np.float64]
    counts: NDArray[np.float64] = field(init=False)
    """Per bucket, not cumulative; the last is +Inf."""
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.bounds) + 1)

    def observe(self, values: NDArray[np.float64], weight: float = 1.0) -> None:
        at = np.searchsorted(self.bounds, values, side="left")
        np.add.at(self.counts, at, weight)
        self.total += float(values.sum()) * weight

    def observe_lognormal(self, median: float, sigma: float, count: float) -> None:
        """`count` observations at once, by the distribution's share of each bucket."""
        self.counts += count * shares(self.bounds, np.array([median]), sigma)[0]
        self.total += count * median * float(np.exp(sigma * sigma / 2))


def shares(
    bounds: NDArray[np.float64], medians: NDArray[np.float64], sigma: float
) -> NDArray[np.float64]:
    """Share of a lognormal in each bucket, shape (len(medians), buckets)."""
    from scipy.special import ndtr  # noqa: PLC0415  # heavy, and only the lab needs it

    z = (np.log(bounds)[None, :] - np.log(np.maximum(medians, 1e-9))[:, None]) / sigma
    edges = np.concatenate(
        [np.zeros((len(medians), 1)), ndtr(z), np.ones((len(medians), 1))], axis=1
    )
    return np.diff(edges, axis=1)


@dataclass(slots=True)
class Request:
    arrived_s: float
    prompt: float
    output: float
    done: float = 0.0
    """Tokens generated; a preempted request keeps them and is prefilled again."""
    first_s: float = 0.0


@dataclass(slots=True)
class Counters:
    """vLLM's own, from the start of its process."""

    prompt_tokens: float = 0.0
    generation_tokens: float = 0.0
    preemptions: float = 0.0
    prefix_queries: float = 0.0
    prefix_hits: float = 0.0
    finished: dict[str, float] = field(
        default_factory=lambda: {"stop": 0.0, "length": 0.0, "abort": 0.0, "error": 0.0}
    )
    ttft: Histogram = field(default_factory=lambda: Histogram(TTFT))
    itl: Histogram = field(default_factory=lambda: Histogram(ITL))
    e2e: Histogram = field(default_factory=lambda: Histogram(E2E))
    queue: Histogram = field(default_factory=lambda: Histogram(E2E))
    prompt: Histogram = field(default_factory=lambda: Histogram(PROMPT))


@dataclass(slots=True)
class Work:
    """What a step spent its time on, as shares of it."""

    prefill: float = 0.0
    decode: float = 0.0
    batch: float = 0.0
    """Running sequences against the most allowed."""
    spinning: float = 0.0
    """Kernels that wait for one another: busy to the driver, no work done."""

    @classmethod
    def mean(cls, parts: list[Work]) -> Work:
        count = len(parts)
        return cls(
            sum(p.prefill for p in parts) / count,
            sum(p.decode for p in parts) / count,
            sum(p.batch for p in parts) / count,
            sum(p.spinning for p in parts) / count,
        )


@dataclass(slots=True)
class Engine:
    spec: EngineSpec
    counters: Counters = field(default_factory=Counters)
    waiting: deque[Request] = field(default_factory=deque)
    running: list[Request] = field(default_factory=list)
    hung: bool = False
    work: Work = field(default_factory=Work)
    prefix_share: float = 0.35
    arrived: int = 0
    left: int = 0
    """Requests that came, and that went one way or the other: nothing is lost between."""

    @property
    def kv_used(self) -> float:
        return sum(r.prompt + r.done for r in self.running) / self.spec.kv_tokens

    def submit(self, request: Request) -> None:
        self.arrived += 1
        self.waiting.append(request)

    def step(
        self,
        start_s: float,
        dt_s: float,
        *,
        speed: float,
        error_share: float,
        patience_s: float,
        rng: np.random.Generator,
    ) -> None:
        """`speed` scales all work: clocks, a slower revision. Time is spent, not invented."""
        end_s = start_s + dt_s
        self._give_up(end_s, patience_s)
        if self.hung:
            busy = bool(self.running)
            self.work = Work(
                batch=len(self.running) / self.spec.max_running, spinning=1.0 if busy else 0.0
            )
            return
        prefill_s = self._admit(start_s, dt_s, speed, rng)
        self._decode(end_s, dt_s, prefill_s, speed, error_share, rng)

    def _give_up(self, now_s: float, patience_s: float) -> None:
        kept = deque(r for r in self.waiting if now_s - r.arrived_s < patience_s)
        gone = len(self.waiting) - len(kept)
        self.waiting = kept
        stuck = [r for r in self.running if now_s - r.arrived_s >= 2 * patience_s]
        if stuck and not self.hung:
            self.running = [r for r in self.running if r not in stuck]
            gone += len(stuck)
        self.counters.finished["abort"] += gone
        self.left += gone

    def _admit(self, start_s: float, dt_s: float, speed: float, rng: np.random.Generator) -> float:
        """Prefill what fits; returns the seconds it took."""
        spent = 0.0
        rate = self.spec.prefill_tokens_per_s * speed
        used = sum(r.prompt + r.done for r in self.running)
        counters = self.counters
        while self.waiting and len(self.running) < self.spec.max_running:
            request = self.waiting[0]
            tokens = request.prompt + request.done
            if used + tokens > self.spec.kv_tokens and self.running:
                break
            hits = tokens * self.prefix_share if request.done == 0 else 0.0
            cost = (tokens - hits) / rate
            if spent + cost > dt_s * MOST_PREFILL and spent > 0:
                break
            self.waiting.popleft()
            began = max(request.arrived_s, start_s + spent)
            spent += cost
            used += tokens
            if request.done == 0:
                share = min(0.9, 0.3 + len(self.running) / self.spec.max_running * 0.5)
                request.first_s = began + cost / (1 - share) + self._token_s(speed)
                counters.ttft.observe(np.array([request.first_s - request.arrived_s]))
                counters.queue.observe(np.array([max(began - request.arrived_s, 1e-4)]))
                counters.prompt.observe(np.array([request.prompt]))
                counters.prompt_tokens += request.prompt
                counters.prefix_queries += tokens
                counters.prefix_hits += hits
            self.running.append(request)
        return min(spent, dt_s)

    def _token_s(self, speed: float) -> float:
        return (self.spec.token_s + self.spec.token_s_per_running * len(self.running)) / speed

    def _decode(
        self,
        end_s: float,
        dt_s: float,
        prefill_s: float,
        speed: float,
        error_share: float,
        rng: np.random.Generator,
    ) -> None:
        self._preempt()
        token_s = self._token_s(speed)
        share = (dt_s - prefill_s) / dt_s
        seen_s = token_s / max(share, 0.05)  # what a client sees between two tokens
        finished: list[Request] = []
        made = 0.0
        for request in self.running:
            left_s = end_s - max(request.first_s, end_s - dt_s)
            tokens = min(max(left_s, 0.0) / seen_s, request.output - request.done)
            request.done += tokens
            made += tokens
            if request.done >= request.output - 1e-6:
                finished.append(request)
        counters = self.counters
        counters.generation_tokens += made
        counters.itl.observe_lognormal(seen_s, ITL_SIGMA, made)
        for request in finished:
            failed = rng.random() < error_share
            reason = "error" if failed else ("length" if rng.random() < 0.1 else "stop")
            counters.finished[reason] += 1
            took = request.first_s - request.arrived_s + request.output * seen_s
            counters.e2e.observe(np.array([min(took, end_s - request.arrived_s)]))
        self.left += len(finished)
        batch = len(self.running) / self.spec.max_running
        self.running = [r for r in self.running if r.done < r.output - 1e-6]
        self.work = Work(prefill=prefill_s / dt_s, decode=share if batch else 0.0, batch=batch)

    def _preempt(self) -> None:
        """The newest go back to the front of the queue until the cache holds the rest."""
        used = sum(r.prompt + r.done for r in self.running)
        while used > self.spec.kv_tokens and len(self.running) > 1:
            request = self.running.pop()
            used -= request.prompt + request.done
            self.waiting.appendleft(request)
            self.counters.preemptions += 1


def sample(
    traffic: TrafficSpec, count: int, rng: np.random.Generator, longer: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Prompt and output lengths of `count` requests, tokens."""
    prompts = traffic.prompt_tokens * longer * rng.lognormal(0.0, traffic.prompt_sigma, count)
    outputs = traffic.output_tokens * rng.lognormal(0.0, traffic.output_sigma, count)
    return np.clip(prompts, 8, 30_000), np.clip(outputs, 1, 4_000)
