"""One Chromium and one server for all pages. Without Chromium: skipped, or failed in CI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from servers import binary, need
from shown_site import shown_site

from healer.server import ServerDeps

PATHS = (
    "/",
    "/incidents",
    "/incidents/inc-hang",
    "/incidents/inc-evicted",
    "/incidents/nobody",
    "/approvals",
    "/signals",
    "/rules",
    "/audit",
    "/sign-in",
    "/api/v1/incidents/inc-hang/report.html",
)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ServerDeps]]:
    folder: Path = tmp_path_factory.mktemp("shown")
    with shown_site(folder) as made:
        yield made


@pytest.fixture(scope="session")
def site_url(site: tuple[str, ServerDeps]) -> str:
    return site[0]


@pytest.fixture(scope="session")
def paths(site: tuple[str, ServerDeps]) -> tuple[str, ...]:
    """Every page; the plan that waits has an id of its own."""
    (asked,) = site[1].store.intents(incident_id="inc-hang")
    return (*PATHS, f"/approvals/{asked.id}")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The machine's own browser: nothing is downloaded."""
    need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(binary("chromium")),
            args=["--no-sandbox", "--disable-gpu"],
            timeout=300_000,  # ms
        )
        yield browser
        browser.close()
