"""Samples with every trap of the evaluator: gaps, resets, NaN, infinities, vanished series,
uneven scrapes, histograms with missing and odd buckets. The same for the lab and Prometheus."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from lab_prometheus.remote_write import Row

from healer.lab.tsdb import Tsdb

START_S = 1_772_600_000
"""In the fourth of March 2026; no multiple of any step the tests use."""
SPAN_S = 3600
END_S = START_S + SPAN_S

STALE: float = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
NAN: float = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
INF = float("inf")

LE = ("0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")

EVEN = np.arange(START_S, END_S + 1, 15)


def rows() -> list[Row]:
    rng = np.random.default_rng(42)
    return [*_pods(rng), *_gauges(rng), *_histograms(rng)]


def row(name: str, times_s: np.ndarray, values: np.ndarray, **labels: str) -> Row:
    pairs = [(round(at * 1000), float(v)) for at, v in zip(times_s, values, strict=True)]
    return {"__name__": name, **labels}, pairs


def _pods(rng: np.random.Generator) -> Iterator[Row]:
    for i in range(6):
        pod = {"pod": f"llama-{i}", "namespace": "serving" if i % 2 else "batch", "n": str(i)}
        steady = np.cumsum(rng.poisson(4 + i, len(EVEN))).astype(float)
        yield row("requests_total", EVEN, steady, **pod, code="200")
        torn = steady.copy()
        for at in rng.choice(len(EVEN), 4, replace=False):
            torn[at:] -= torn[at] * rng.choice([1.0, 0.5])
        yield row("requests_total", EVEN, torn, **pod, code="500")
        # Scrapes never come exactly on time.
        late = EVEN + rng.normal(0, 0.4, len(EVEN)).round(3)
        yield row("temperature", late, 60 + 8 * rng.standard_normal(len(EVEN)), **pod)
        yield row(
            "info", EVEN[::2], np.ones(len(EVEN[::2])), **pod, node=f"node-{i % 2}", model="m"
        )


def _gauges(rng: np.random.Generator) -> Iterator[Row]:
    level = 50 + np.cumsum(rng.standard_normal(len(EVEN)))
    yield row("level", EVEN, level, kind="walk")
    yield row("level", EVEN, np.round(level / 5), kind="steps")
    yield row("level", EVEN, np.full(len(EVEN), 7.0), kind="flat")
    yield row("level", EVEN, -level, kind="negative")
    yield row("level", EVEN[60:100], level[60:100], kind="short")
    yield row("level", EVEN[70:71], level[70:71], kind="single")
    odd = level.copy()
    odd[rng.choice(len(EVEN), 60, replace=False)] = NAN
    yield row("odd", EVEN, odd, kind="nan")
    odd = level.copy()
    odd[40], odd[41], odd[120] = INF, -INF, INF
    yield row("odd", EVEN, odd, kind="inf")
    yield row("odd", EVEN, np.full(len(EVEN), NAN), kind="never")
    yield row("odd", EVEN, np.full(len(EVEN), INF), kind="always")
    # A gap longer than the lookback, a blip, and a series that vanishes and comes back.
    gappy = np.concatenate([np.arange(60), np.arange(100, 130), np.arange(131, 241)])
    yield row("gappy", EVEN[gappy], level[gappy], kind="gap")
    holes = rng.random(len(EVEN)) < 0.4
    yield row("gappy", EVEN[~holes], level[~holes], kind="holes")
    gone = level.copy()
    gone[80], gone[200] = STALE, STALE
    kept = np.r_[0:81, 140:201]
    yield row("gappy", EVEN[kept], gone[kept], kind="stale")
    blink = level.copy()
    blink[::7] = STALE
    yield row("gappy", EVEN, blink, kind="blink")
    yield row("one_of", EVEN[:120], level[:120], side="a", same="x")
    yield row("one_of", EVEN[121:], level[121:], side="b", same="x")

    yield row("vllm:queue", EVEN, level, model="x-7b")
    yield row("empty_label", EVEN, level, a="", b="there")
    yield row("fast", np.arange(START_S, END_S, 1.0), rng.standard_normal(SPAN_S), kind="second")
    yield row("huge", EVEN, level * 1e300, kind="over")
    yield row("tiny", EVEN, level * 1e-300, kind="under")


def _histograms(rng: np.random.Generator) -> Iterator[Row]:
    for pod in ("a", "b", "c"):
        for le, rate in zip(LE, np.cumsum(rng.uniform(0, 3, len(LE))), strict=True):
            counts = np.cumsum(rng.poisson(rate, len(EVEN))).astype(float)
            skip = 150 if (pod, le) == ("b", "1") else 0
            yield row("latency_bucket", EVEN[skip:], counts[skip:], pod=pod, le=le, job="j")
    for le, total in (("-1", 2.0), ("0", 3.0), ("1", 3.0), ("1.0", 1.0), ("5", 4.0), ("+Inf", 9.0)):
        yield row("signed_bucket", EVEN, np.full(len(EVEN), total), le=le)
    for le, total in (("1", 5.0), ("2", 4.0), ("4", 8.0), ("+Inf", 8.0)):
        yield row("dented_bucket", EVEN, np.full(len(EVEN), total), le=le)
    for le in ("1", "2", "4"):
        yield row("endless_bucket", EVEN, np.full(len(EVEN), 3.0), le=le)
    yield row("lonely_bucket", EVEN, np.full(len(EVEN), 3.0), le="+Inf")
    for le in ("1", "2", "+Inf"):
        yield row("idle_bucket", EVEN, np.zeros(len(EVEN)), le=le)
    yield row("broken_bucket", EVEN, np.full(len(EVEN), 3.0), le="many")


def fill(tsdb: Tsdb, given: list[Row]) -> None:
    """Scrape by scrape, as the lab does it: all samples of one moment together."""
    moments: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for labels, samples in given:
        handle = tsdb.handle(labels)
        for at_ms, value in samples:
            moments[at_ms].append((handle, value))
    for at_ms in sorted(moments):
        handles = np.array([handle for handle, _ in moments[at_ms]], np.int64)
        values = np.array([value for _, value in moments[at_ms]], np.float64)
        tsdb.append(at_ms / 1000, handles, values)
