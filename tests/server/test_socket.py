"""The same server behind a real socket, as the daemon runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

DATA = Path(__file__).parents[1] / "data" / "alertmanager"


def test_an_alert_goes_in_and_a_report_comes_out_over_a_socket(url: str, site: Any) -> None:
    payload = next(DATA.glob("am-0.33*/webhook_v4_firing_grouped.json")).read_bytes()
    headers = {"Authorization": "Bearer ingest-token", "Content-Type": "application/json"}
    with requests.Session() as session:
        for expected in (2, 0):
            answer = session.post(
                f"{url}/api/v1/intake/alertmanager", data=payload, headers=headers, timeout=60
            )
            assert answer.status_code == 202
            assert answer.json()["accepted"] == expected
        read = {"Authorization": "Bearer read-token"}
        assert session.get(f"{url}/api/v1/incidents", headers=read, timeout=60).ok
        assert session.get(f"{url}/livez", timeout=60).ok


def test_a_body_that_never_ends_is_cut_off(url: str, site: Any) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(2000):
            yield b" " * 65_536

    headers = {"Authorization": "Bearer ingest-token", "Content-Type": "application/json"}
    with requests.Session() as session:
        try:
            answer = session.post(
                f"{url}/api/v1/intake/alertmanager", data=endless(), headers=headers, timeout=60
            )
        except requests.ConnectionError:
            pass  # the server hung up while we were still sending, which is as good
        else:
            assert answer.status_code == 413
        assert session.get(f"{url}/livez", timeout=60).ok
