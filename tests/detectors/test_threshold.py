"""A limit with hold and hysteresis."""

from datetime import timedelta

import numpy as np
import pytest
from builders import NOW, at, frame

from detectors.threshold import Threshold
from healer.errors import BadInput
from healer.model.finding import Level
from healer.plugins import make
from healer.ports import Detector

HOT = Threshold(above=85.0, hold=timedelta(minutes=2))


def temps(*values: float, step_s: float = 15.0):
    lead = [60.0] * max(0, 40 - len(values))
    return frame([*lead, *values], step_s=step_s, name="gpu_temp", unit="celsius", title="GPU")


def found(detector, given):
    return list(detector.detect(given, None))


def test_a_healthy_fleet_is_not_found():
    rng = np.random.default_rng(1)
    assert not found(HOT, frame(rng.normal(60, 3, (50, 120)), name="gpu_temp"))


def test_a_gpu_that_stays_hot_is_found_with_its_start():
    [one] = found(HOT, temps(*[90.0] * 12))
    assert one.since == at(-11 * 15)
    assert (one.observed, one.expected_high, one.level) == (90.0, 85.0, Level.PAGE)
    assert one.summary == "GPU 90 °C, limit 85 °C, for 3 min"


def test_a_blip_shorter_than_the_hold_is_not_found():
    assert not found(HOT, temps(*[90.0] * 8))
    assert not found(HOT, temps(*[90.0] * 6, 60.0, *[90.0] * 6))


def test_a_gpu_that_cooled_down_is_not_found():
    assert not found(HOT, temps(*[90.0] * 20, 60.0))


def test_hysteresis_keeps_it_until_it_is_really_back():
    sticky = Threshold(above=85.0, clear=80.0, hold=timedelta(minutes=2))
    assert found(sticky, temps(*[90.0] * 12, 83.0, 84.0))
    assert not found(sticky, temps(*[90.0] * 12, 79.0))
    assert not found(sticky, temps(*[83.0] * 30))


def test_a_missed_scrape_neither_breaches_nor_recovers():
    gap = [90.0] * 5 + [np.nan] + [90.0] * 5
    assert found(HOT, temps(*gap))
    assert not found(HOT, temps(90.0, *[np.nan] * 8, 90.0, 90.0))


def test_a_series_that_ended_is_not_found():
    assert not found(HOT, temps(*[90.0] * 20, *[np.nan] * 8))
    assert found(HOT, temps(*[90.0] * 20, np.nan))


def test_infinite_and_missing_values_are_no_breach():
    assert not found(HOT, temps(*[np.inf] * 20))
    assert not found(HOT, frame(np.full((3, 40), np.nan)))


def test_too_little_is_found_below():
    low = Threshold(below=0.1, hold=timedelta(minutes=1), level="act")
    [one] = found(low, frame([0.5] * 30 + [0.05] * 8, name="node_disk_free", unit="ratio"))
    assert one.level is Level.ACT
    assert one.expected_low == pytest.approx(0.1)
    assert one.at == NOW


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "exactly one of"),
        ({"above": 1, "below": 0}, "exactly one of"),
        ({"above": 1, "clear": 2}, "good side"),
        ({"above": "far"}, "number"),
        ({"abov": 1}, "did you mean 'above'"),
        ({"above": 1, "level": "panic"}, "'warn', 'page' or 'act'"),
    ],
)
def test_bad_options_are_refused_with_their_path(options, said):
    with pytest.raises(BadInput, match=said) as error:
        make(["detectors"], "threshold", options, Detector, "signals.gpu_temp.detect.threshold")
    assert "signals.gpu_temp.detect.threshold" in str(error.value)
