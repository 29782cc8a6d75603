"""A budget of false alarms is what a healthy fleet costs, by a sample of `bench/budget.py`."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).parents[2] / "bench" / "budget.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_budget", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_healthy_fleet_costs_about_its_budget_of_pages(bench):
    series, days, budget = 36, 1.0, 0.5
    whole = bench.fleet(series, bench.LEARN_DAYS + days, seed=4)
    [pages] = bench.pages_of(whole, [budget], days)
    expected = budget * series * days
    assert 0.25 * expected <= pages <= 1.75 * expected, (
        "18 expected; four sigma of Poisson either way"
    )


def test_what_is_counted_as_healthy_has_no_steps(bench):
    values = bench.fleet(12, 2.0, seed=1).values
    halves = np.median(values[:, :1440], axis=1) - np.median(values[:, 1440:], axis=1)
    assert (np.abs(halves) < 0.6).all()
