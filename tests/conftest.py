"""Fixtures that every area shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from hypothesis import HealthCheck, settings

CHECKOUT = Path(__file__).resolve().parent.parent

# The same examples in every run, however slow the machine: what fails by chance tells nothing.
# `--hypothesis-profile=search --hypothesis-seed=N` looks for others.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Recordings and data sets: HEALER_TEST_DATA, else `shared/data` beside the checkout."""
    folder = Path(os.environ.get("HEALER_TEST_DATA") or CHECKOUT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}: set HEALER_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A genuine PostgreSQL; `servers.new_database` makes an empty database on it."""
    servers.need("postgres", "initdb")
    with servers.run_postgres() as url:
        yield url
