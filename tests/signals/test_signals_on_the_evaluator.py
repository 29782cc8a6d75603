"""The lab's PromQL and a real Prometheus, holding the same samples, answer alike."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from signals.conftest import END_S, Asked
from signals.signal_pages import parse_line

from healer.adapters.signal_catalogue import load_signals
from healer.lab.promql import Evaluator, Vector
from healer.lab.tsdb import Tsdb
from healer.model.signal import Signal

pytestmark = pytest.mark.server

START_S = END_S - 600
RANGE_STEP_S = 22
"""No multiple of the scrape interval, so that windows fall between samples."""

SIGNALS = tuple(each for each in load_signals() if each.name != "exporter_up")

Rows = dict[frozenset[tuple[str, str]], np.ndarray]


@pytest.fixture(scope="module")
def evaluator(openmetrics: str) -> Evaluator:
    rows: dict[frozenset[tuple[str, str]], dict[float, float]] = {}
    for name, labels, value, at_s in map(parse_line, openmetrics.splitlines()):
        key = frozenset({"__name__": name, **labels}.items())
        rows.setdefault(key, {})[at_s] = value
    times = np.array(sorted({at_s for row in rows.values() for at_s in row}))
    values = np.array([[row.get(at_s, np.nan) for at_s in times] for row in rows.values()])
    tsdb = Tsdb()
    tsdb.add_block([dict(key) for key in rows], times, values)
    return Evaluator(tsdb)


def _times() -> np.ndarray:
    return np.arange(START_S, END_S + 1, RANGE_STEP_S, dtype=np.float64)


def _real(asked: Asked, query: str) -> Rows:
    start, end = (datetime.fromtimestamp(each, UTC) for each in (START_S, _times()[-1]))
    answer = asked.range(query, start, end, timedelta(seconds=RANGE_STEP_S))
    return {
        frozenset(labels.items()): row
        for labels, row in zip(answer.labels, answer.values, strict=True)
    }


def _ours(evaluator: Evaluator, query: str) -> Rows:
    answer = evaluator.range(query, START_S, float(_times()[-1]), RANGE_STEP_S).value
    assert isinstance(answer, Vector)
    rows = zip(answer.labels, answer.values, answer.present, strict=True)
    return {
        frozenset(dict(labels).items()): np.where(there, values, np.nan)
        for labels, values, there in rows
        if there.any()
    }


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda each: f"{each.source}.{each.name}")
def test_a_signal_answers_alike_on_both(
    signal: Signal, evaluator: Evaluator, backfilled: Asked
) -> None:
    real, ours = _real(backfilled, signal.query), _ours(evaluator, signal.query)
    assert ours.keys() == real.keys()
    assert real, "nothing to compare"
    for labels, row in real.items():
        np.testing.assert_allclose(ours[labels], row, rtol=1e-9, atol=1e-12, err_msg=str(labels))


def test_the_samples_are_the_same_on_both(openmetrics: str, backfilled: Asked) -> None:
    names = {re.split(r"[{ ]", each)[0] for each in openmetrics.splitlines()}
    assert names <= backfilled.names()
