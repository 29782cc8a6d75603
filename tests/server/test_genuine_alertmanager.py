"""The intake against the real sender: its retries, its resolves, its token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from servers import need, run_alertmanager

from healer.errors import Temporary

pytestmark = pytest.mark.server


def until(what: Callable[[], Any], within_s: float = 120.0) -> Any:
    """The first true answer. The sender is another process with a clock of its own."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing within {within_s} s")


@pytest.fixture
def sender(url: str) -> Iterator[str]:
    need("alertmanager")
    hook = {
        "url": f"{url}/api/v1/intake/alertmanager",
        "send_resolved": True,
        "http_config": {"authorization": {"credentials": "ingest-token"}},
    }
    config = {
        "route": {
            "receiver": "healer",
            "group_by": ["alertname"],
            "group_wait": "100ms",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "healer", "webhook_configs": [hook]}],
    }
    with run_alertmanager(config) as server:
        yield server.url


def fire(sender: str, ends_in_s: float, *pods: str) -> None:
    now = datetime.now(UTC)
    alerts = [
        {
            "labels": {"alertname": "QueueSaturated", "pod": pod, "severity": "warning"},
            "annotations": {"summary": f"{pod} has 120 requests waiting"},
            "startsAt": "2026-03-04T11:58:00Z",
            "endsAt": (now + timedelta(seconds=ends_in_s)).isoformat(),
        }
        for pod in pods
    ]
    requests.post(f"{sender}/api/v2/alerts", json=alerts, timeout=60).raise_for_status()


def episodes(site: Any) -> dict[str, Any]:
    return {e.labels["pod"]: e for e in site.store.episodes(datetime(2026, 1, 1, tzinfo=UTC))}


def test_alerts_fire_join_and_resolve_and_each_is_one_episode(sender: str, site: Any) -> None:
    fire(sender, 600, "llama-0")
    until(lambda: set(episodes(site)) == {"llama-0"})
    fire(sender, 600, "llama-0", "llama-1")
    until(lambda: set(episodes(site)) == {"llama-0", "llama-1"})
    assert all(e.ends_at is None for e in episodes(site).values())
    fire(sender, -1, "llama-0")
    until(lambda: episodes(site)["llama-0"].ends_at is not None)
    assert episodes(site)["llama-1"].ends_at is None
    assert len(episodes(site)) == 2


def test_what_could_not_be_stored_is_sent_again_by_the_sender(sender: str, site: Any) -> None:
    real, refused = site.store.accept, []

    def away(found: Any) -> tuple[int, int]:
        if len(refused) < 2:
            refused.append(found)
            raise Temporary("store: the disk is full")
        accepted: tuple[int, int] = real(found)
        return accepted

    site.store.accept = away
    fire(sender, 600, "llama-0")
    until(lambda: set(episodes(site)) == {"llama-0"})
    assert len(refused) == 2
