"""Fixtures that every area shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers

CHECKOUT = Path(__file__).resolve().parent.parent


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
