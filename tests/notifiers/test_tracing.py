"""Traces of a tick: off by default, and never in the way."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from healer.adapters import logs
from healer.adapters.tracing import Tracing, open_tracing
from healer.errors import BadInput
from healer.settings import TracingSettings


def test_without_an_endpoint_nothing_is_traced() -> None:
    tracing = open_tracing(TracingSettings())
    assert not tracing.on
    with tracing.span("tick"):
        tracing.note(findings=3)
    tracing.close()


def test_spans_hang_together_and_carry_what_is_known_later() -> None:
    kept = InMemorySpanExporter()
    tracing = open_tracing(TracingSettings(), kept)
    with tracing.span("tick"):
        with tracing.span("observe"):
            pass
        tracing.note(findings=3)
    tracing._provider.force_flush()
    observe, tick = kept.get_finished_spans()
    assert (observe.name, tick.name) == ("observe", "tick")
    assert observe.parent is not None
    assert observe.parent.span_id == tick.context.span_id
    assert dict(tick.attributes or {}) == {"findings": 3}
    assert tick.resource.attributes["service.name"] == "healer"
    tracing.close()


def test_an_error_is_recorded_and_goes_on() -> None:
    kept = InMemorySpanExporter()
    tracing = open_tracing(TracingSettings(), kept)
    with pytest.raises(ZeroDivisionError), tracing.span("tick"):
        print(1 / 0)
    tracing._provider.force_flush()
    (tick,) = kept.get_finished_spans()
    assert tick.status.status_code.name == "ERROR"
    assert tick.events[0].name == "exception"
    tracing.close()


def test_log_lines_name_their_trace() -> None:
    root, written = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    logs.configure("info", "json", written)
    kept = InMemorySpanExporter()
    tracing: Tracing = open_tracing(TracingSettings(), kept)
    with tracing.span("tick"):
        structlog.get_logger("healer").info("inside")
    structlog.get_logger("healer").info("outside")
    tracing.close()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    inside, outside = (json.loads(line) for line in written.getvalue().splitlines())
    (tick,) = kept.get_finished_spans()
    assert inside["trace_id"] == f"{tick.context.trace_id:032x}"
    assert "trace_id" not in outside


def test_headers_of_the_collector_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("authorization=Bearer x\nno-value\n")
    settings = TracingSettings("http://127.0.0.1:9/v1/traces", headers_file=file)
    with pytest.raises(BadInput, match="line 2"):
        open_tracing(settings)
    with pytest.raises(BadInput, match=r"tracing\.headers_file"):
        open_tracing(TracingSettings("http://x", headers_file=tmp_path / "none"))
