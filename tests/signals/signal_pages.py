"""Metrics pages for a Prometheus to scrape: made ones, one a source, and recorded ones.

Each scrape sees counters that have grown, so rates and quantiles have values. Text format
0.0.4 throughout: the newer one may change a name with a colon.
"""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

Labels = Mapping[str, str]
Page = Callable[[int], str]
"""What the page shows at its n-th scrape."""

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{.*\})?\s+(\S+)(?:\s+\d+)?$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_STAMPED = re.compile(r"^([a-zA-Z_:][\w:]*)\{(.*)\} (\S+) (\S+)$")
_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$")
_GROWING = ("counter", "histogram", "summary")


@contextmanager
def serve(pages: Mapping[str, Page]) -> Iterator[str]:
    """The pages at /NAME on a free port; yields host:port."""
    scrapes = dict.fromkeys(pages, 0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            if name not in pages:
                self.send_error(404)
                return
            scrapes[name] += 1
            body = pages[name](scrapes[name]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Quiet: the test's output is the test's."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def recorded(file: Path) -> Page:
    """A recorded page whose counters grow by a twentieth of themselves a scrape."""
    lines = file.read_text().splitlines()
    types = dict(found.groups() for line in lines if (found := _TYPE.match(line)))

    def render(scrape: int) -> str:
        return "\n".join(_grown(line, types, scrape) for line in lines) + "\n"

    return render


def _grown(line: str, types: Mapping[str, str], scrape: int) -> str:
    found = _SAMPLE.match(line)
    if found is None:
        return line
    name, labels, value = found.groups()
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    kind = types.get(name) or types.get(base)
    grows = kind in _GROWING and (kind != "summary" or name != base)
    # Recorded timestamps are in the past and would be refused.
    shown = float(value) * (1 + 0.05 * scrape) if grows else value
    return f"{name}{labels or ''} {shown}"


def made(samples: Callable[[int], Iterator[str]]) -> Page:
    return lambda scrape: "\n".join(samples(scrape)) + "\n"


def line(name: str, value: float, /, **labels: str) -> str:
    inside = ",".join(f'{key}="{each}"' for key, each in labels.items())
    return f"{name}{{{inside}}} {value}"


def histogram(
    name: str,
    scrape: int,
    per_scrape: int,
    at: float,
    /,
    bounds: tuple[float, ...] = (),
    **labels: str,
) -> Iterator[str]:
    """Every observation is `at`; the buckets are 1, 2, 4 … times a tenth of it, or `bounds`."""
    count = per_scrape * scrape
    for bound in bounds or tuple(at / 10 * 2**power for power in range(6)):
        yield line(f"{name}_bucket", count if bound >= at else 0, **labels, le=f"{bound:g}")
    yield line(f"{name}_bucket", count, **labels, le="+Inf")
    yield line(f"{name}_sum", count * at, **labels)
    yield line(f"{name}_count", count, **labels)


def history(page: Page, target: Labels, *, end_s: int, steps: int, step_s: int) -> Iterator[str]:
    """The page as it was scraped every `step_s`, with timestamps: lines for a backfill.

    A label that the page and the target share becomes `exported_…`, as Prometheus does it. The
    page is asked for the seconds gone by, so that its steps a scrape are rates a second.
    """
    for step in range(steps):
        at = end_s - (steps - 1 - step) * step_s
        for each in page(step * step_s).splitlines():
            found = _SAMPLE.match(each)
            if found is not None:
                name, inside, value = found.groups()
                own = dict(_LABEL.findall(inside or ""))
                labels = {
                    (f"exported_{key}" if key in target else key): each for key, each in own.items()
                }
                yield f"{line(name, float(value), **labels, **target)} {at}"


def parse_line(text: str) -> tuple[str, dict[str, str], float, float]:
    """Name, labels, value and seconds of one line of `history`."""
    found = _STAMPED.match(text)
    assert found is not None, text
    name, inside, value, at_s = found.groups()
    return name, dict(_LABEL.findall(inside)), float(value), float(at_s)
