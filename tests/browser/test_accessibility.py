"""Pages that everybody can use: what axe-core finds, and what a screen reader needs by hand."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "axe_playwright_python"
RULES = {
    "light": {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast"]}},
}
"""Colour scheme → what to look at: in the dark only the colours are others, and all of them are
on four pages."""

UNFOLD = """() => [...document.querySelectorAll('details')].slice(0, 6)
  .forEach(d => { d.open = true })"""
LABELS = """() => [...document.querySelectorAll('input:not([hidden]):not([type=hidden]), select')]
  .filter(e => !e.labels.length && !e.getAttribute('aria-label'))
  .map(e => e.outerHTML)"""
HEADINGS = """() => [...document.querySelectorAll('h1, h2, h3, h4')].map(e => +e.tagName[1])"""


def axe_source() -> str:
    """axe-core as the test extra carries it."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        reason = f"{PACKAGE} is not installed: pip install '.[test]'"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", sorted(RULES))
def test_axe_finds_no_fault_on_any_page(
    chromium: Any, site_url: str, paths: Any, scheme: str
) -> None:
    source = axe_source()
    context = chromium.new_context(color_scheme=scheme, locale="zh-CN")
    context.set_default_timeout(300_000)  # ms
    page = context.new_page()
    faults = {}
    for path in paths if scheme == "light" else ("/", "/incidents/inc-hang", "/rules", paths[-1]):
        page.goto(f"{site_url}{path}")
        page.evaluate(UNFOLD)
        page.evaluate(source)
        found = page.evaluate(f"() => axe.run(document, {json.dumps(RULES[scheme])})")
        for each in found["violations"]:
            places = [" ".join(node["target"]) for node in each["nodes"][:3]]
            faults[f"{path} {each['id']} ({each['impact']})"] = places
    context.close()
    assert faults == {}


def test_fields_have_labels_and_headings_skip_no_level(
    chromium: Any, site_url: str, paths: Any
) -> None:
    context = chromium.new_context()
    context.set_default_timeout(300_000)  # ms
    page = context.new_page()
    for path in paths:
        page.goto(f"{site_url}{path}")
        assert page.evaluate(LABELS) == [], path
        levels = page.evaluate(HEADINGS)
        assert levels[0] == 1, path
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), (path, levels)
    context.close()


def test_an_alert_is_announced_and_the_current_page_marked(chromium: Any, site_url: str) -> None:
    context = chromium.new_context()
    context.set_default_timeout(300_000)  # ms
    page = context.new_page()
    page.goto(f"{site_url}/incidents/inc-hang")
    assert page.locator("[role=alert]").count() == 1
    page.goto(f"{site_url}/rules")
    assert page.locator("[aria-current=page]").inner_text() == "Rules"
    context.close()
