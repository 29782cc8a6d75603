"""OpenTelemetry spans of a tick. Off unless an endpoint is set; then the extra is needed.

Nothing is registered globally, and a collector that does not answer slows nothing down: spans are
exported by a thread of the SDK's own, which drops them when it cannot keep up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from healer import __version__
from healer.errors import BadInput
from healer.settings import TracingSettings


class Tracing:
    """`with tracing.span("tick"): …`, whether anything is traced or not. See `ports.Spans`."""

    def __init__(self, tracer: Any = None, provider: Any = None) -> None:
        self._tracer, self._provider = tracer, provider

    @property
    def on(self) -> bool:
        return self._tracer is not None

    @contextmanager
    def span(self, name: str, /, **attributes: str | int | float) -> Iterator[None]:
        """Log lines inside carry its `trace_id`. An error is recorded and goes on."""
        if self._tracer is None:
            yield
            return
        with self._tracer.start_as_current_span(name, attributes=attributes) as span:
            trace_id = f"{span.get_span_context().trace_id:032x}"
            with structlog.contextvars.bound_contextvars(trace_id=trace_id):
                yield

    def note(self, **attributes: str | int | float) -> None:
        """Attributes of the span that is open, known only now."""
        if self._tracer is not None:
            from opentelemetry import trace  # noqa: PLC0415  the extra is there by now

            trace.get_current_span().set_attributes(attributes)

    def close(self) -> None:
        """Sends what is left, for five seconds at most."""
        if self._provider is not None:
            self._provider.force_flush(5000)
            self._provider.shutdown()


def open_tracing(settings: TracingSettings, exporter: Any = None) -> Tracing:
    """`exporter` replaces the one for OTLP. Raises BadInput when the extra is not installed."""
    if not settings.endpoint and exporter is None:
        return Tracing()
    try:
        # Only here: without the extra everything else has to work.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise BadInput(
            "expected the extra to be installed: pip install 'llm-healer[tracing]'",
            path="tracing.endpoint",
            value=settings.endpoint,
        ) from error
    resource = Resource.create({"service.name": settings.service, "service.version": __version__})
    provider = TracerProvider(resource=resource)
    chosen = exporter or OTLPSpanExporter(
        endpoint=settings.endpoint, headers=dict(_headers(settings)), timeout=5
    )
    provider.add_span_processor(BatchSpanProcessor(chosen))
    return Tracing(provider.get_tracer("healer"), provider)


def _headers(settings: TracingSettings) -> Mapping[str, str]:
    file = settings.headers_file
    if file is None:
        return {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInput(
            f"expected a readable file ({error.strerror})", file=file, path="tracing.headers_file"
        ) from error
    pairs = [line.partition("=") for line in lines if line.strip()]
    for number, (name, joint, _) in enumerate(pairs, start=1):
        if not name.strip() or not joint:
            raise BadInput("expected name=value", file=file, path=f"line {number}")
    return {name.strip(): value.strip() for name, _, value in pairs}
