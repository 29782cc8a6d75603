"""Pages as a real browser shows them: both languages, light and dark, wide and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

PHONE = {"width": 390, "height": 844}

OVERFLOW = """() => {
  const wide = document.documentElement.clientWidth
  const inside = e => { for (; e; e = e.parentElement)
    if (getComputedStyle(e).overflowX === 'auto') return true; return false }
  return [...document.body.querySelectorAll('*')]
    .filter(e => e.getBoundingClientRect().right > wide + 1 && !inside(e)
      && !e.classList.contains('skip'))
    .map(e => `${e.tagName}.${e.className.baseVal ?? e.className}: ${e.textContent.slice(0, 40)}`)
}"""
"""What sticks out of the page sideways, apart from tables that scroll in a box of their own."""


class Watched:
    """A page, and what a browser complained about while it was shown."""

    def __init__(self, page: Any, origin: str) -> None:
        self.page, self.origin = page, origin
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text))
        page.on("pageerror", lambda e: self.complaints.append(str(e)))
        page.on("request", self._requested)

    def _requested(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data" and parts.netloc != urlsplit(self.origin).netloc:
            self.elsewhere.append(request.url)

    def open(self, path: str, status: int = 200) -> None:
        answer = self.page.goto(f"{self.origin}{path}")
        assert answer.status == status, path

    def clean(self, path: str) -> None:
        expected = [c for c in self.complaints if "404" not in c]
        assert expected == [], path
        assert self.elsewhere == [], path


@contextmanager
def looking(browser: Any, origin: str, **options: Any) -> Iterator[Watched]:
    context = browser.new_context(**options)
    context.set_default_timeout(300_000)  # ms
    try:
        yield Watched(context.new_page(), origin)
    finally:
        context.close()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_every_page_shows_in_both_languages_with_and_without_script(
    chromium: Any, site_url: str, paths: Any, locale: str, script: bool
) -> None:
    with looking(chromium, site_url, locale=locale, java_script_enabled=script) as seen:
        for path in paths:
            lang = f"?lang={locale[:2]}" if path.startswith("/api") else ""
            seen.open(path + lang, 404 if path.endswith("nobody") else 200)
            assert seen.page.get_attribute("html", "lang") == ("zh-CN" if "zh" in locale else "en")
            assert seen.page.locator("h1").count() == 1, path
            assert seen.page.locator("main").count() == 1, path
            seen.clean(path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_sticks_out_sideways(
    chromium: Any, site_url: str, paths: Any, scheme: str
) -> None:
    options = {"viewport": PHONE, "color_scheme": scheme, "locale": "zh-CN"}
    with looking(chromium, site_url, **options) as seen:
        for path in paths:
            seen.open(path, 404 if path.endswith("nobody") else 200)
            assert seen.page.evaluate(OVERFLOW) == [], path
            wide = seen.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= PHONE["width"], path


def test_the_colours_follow_the_reader(chromium: Any, site_url: str) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        with looking(chromium, site_url, color_scheme=scheme) as seen:
            seen.open("/")
            grounds.append(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]


def test_the_policy_lets_no_foreign_script_run(chromium: Any, site_url: str) -> None:
    with looking(chromium, site_url) as seen:
        seen.open("/")
        seen.page.evaluate(
            """() => { const s = document.createElement('script')
            s.textContent = 'window.ran = 1'; document.body.append(s) }"""
        )
        assert seen.page.evaluate("window.ran") is None
        assert any("Content Security Policy" in each for each in seen.complaints)


def test_a_plan_is_approved_with_the_keyboard_alone(chromium: Any, site_url: str) -> None:
    with looking(chromium, site_url, locale="en-GB", java_script_enabled=False) as seen:
        seen.open("/approvals")
        page = seen.page
        page.keyboard.press("Tab")
        assert page.evaluate_handle("document.activeElement").get_property("textContent")
        page.locator("main a.row").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("form.card")
        assert page.locator("input[name=token]").count() == 1
        page.locator("input[name=by]").focus()
        page.keyboard.type("Ada")
        page.keyboard.press("Tab")
        page.keyboard.type("not the token")
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        assert "not a live token" in page.locator("[role=alert]").first.inner_text()
