"""How the daemon is, as JSON; and the report as PDF where something can print it."""

from __future__ import annotations

import dataclasses
from typing import Any

import builders
import pytest

from healer.adapters import pdf
from healer.errors import HealerError, Permanent, Temporary


def test_the_status_says_what_the_banners_of_the_overview_say(site: Any) -> None:
    site.health.append(
        dataclasses.replace(
            site.health[0],
            mode="enforce",
            breakers=("drain_node",),
            switched_off="maintenance token=abcdefghij",
            problems=("signal.ttft: no answer",),
            last_tick_at=builders.at(-300),
        )
    )
    told = site.get("/api/v1/status").json()
    assert told["breakers"] == ["drain_node"]
    assert told["problems"] == ["signal.ttft: no answer"]
    assert (told["mode"], told["stale"]) == ("enforce", True)
    assert told["switched_off"] == "maintenance token=***"
    page = site.page("/").text
    assert "Circuit breaker open: Drain node" in page


def test_before_the_first_tick_the_status_is_not_stale(site: Any) -> None:
    site.health.append(dataclasses.replace(site.health[0], last_tick_at=None))
    told = site.get("/api/v1/status").json()
    assert (told["last_tick_at"], told["stale"], told["breakers"]) == (None, False, [])


def test_without_a_printer_there_is_no_pdf_and_no_link_to_it(site: Any) -> None:
    site.store.put_incident(builders.incident())
    answer = site.get("/api/v1/incidents/inc-1/report.pdf")
    assert answer.status_code == 404
    assert "report.html" in answer.json()["detail"]
    assert "report.pdf" not in site.page("/incidents/inc-1").text


def test_with_a_printer_the_page_is_printed_and_named_after_its_incident(site: Any) -> None:
    site.store.put_incident(builders.incident())
    printed: list[str] = []

    def to_pdf(page: str) -> bytes:
        printed.append(page)
        return b"%PDF-1.7"

    app = site.client.app
    app.state.deps = dataclasses.replace(app.state.deps, pdf=to_pdf)
    answer = site.get("/api/v1/incidents/inc-1/report.pdf?lang=zh")
    assert (answer.status_code, answer.content) == (200, b"%PDF-1.7")
    assert answer.headers["content-type"] == "application/pdf"
    assert 'filename="inc-1.pdf"' in answer.headers["content-disposition"]
    assert '<html lang="zh' in printed[0]
    assert "report.pdf" in site.page("/incidents/inc-1").text


@pytest.mark.parametrize(
    "error", [Temporary("another report is being printed"), Permanent("chromium printed nothing")]
)
def test_a_printer_that_is_busy_or_broken_is_503_with_the_reason(
    site: Any, error: HealerError
) -> None:
    site.store.put_incident(builders.incident())

    def broken(_page: str) -> bytes:
        raise error

    app = site.client.app
    app.state.deps = dataclasses.replace(app.state.deps, pdf=broken)
    answer = site.get("/api/v1/incidents/inc-1/report.pdf")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert str(error) in answer.json()["detail"]


@pytest.mark.skipif(not pdf.can_print(), reason="no Chromium on PATH")
def test_a_real_browser_prints_a_page() -> None:
    made = pdf.pdf_of("<!doctype html><title>x</title><p>y")
    assert made.startswith(b"%PDF-")
    assert b"/Page" in made
