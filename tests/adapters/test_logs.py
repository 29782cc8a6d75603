"""Logs are JSON with keys, whoever writes them, and secrets never reach them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from healer.adapters import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    written = io.StringIO()
    logs.configure("info", "json", written)
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_our_events_and_the_standard_librarys_look_alike(stream: io.StringIO) -> None:
    structlog.get_logger("healer").info("tick", incident="inc-1")
    logging.getLogger("somebody.else").warning("as %s", "usual")
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (ours["event"], ours["incident"], ours["level"]) == ("tick", "inc-1", "info")
    assert (theirs["event"], theirs["level"]) == ("as usual", "warning")
    assert "ts" in ours


def test_tokens_and_robot_addresses_are_blotted_out(stream: io.StringIO) -> None:
    structlog.get_logger("healer").error(
        "failed",
        url="https://oapi.dingtalk.com/robot/send?access_token=abc123def&sign=aZLLrriXgn05",
    )
    assert "abc123def" not in stream.getvalue()
    assert "aZLLrri" not in stream.getvalue()


def test_debug_stays_away_at_info(stream: io.StringIO) -> None:
    structlog.get_logger("healer").debug("detail")
    assert stream.getvalue() == ""
