"""The exporter for tests: in this process, or as the command that a node runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from gpu_page import Page, read

from exporters.options import ExporterOptions
from exporters.serve import Exporter
from exporters.table import load_table


def until(true: Callable[[], bool], within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.02)


@contextmanager
def serving(tmp_path: Path, **options: object) -> Iterator[Exporter]:
    """The exporter in this process on a free port, after its first sweep."""
    given = {"pod_resources": tmp_path / "absent.sock", "kernel_log": None, "every_s": 0.1}
    made = ExporterOptions(port=0, **{**given, **options})  # type: ignore[arg-type]
    exporter = Exporter(made, load_table(made.table))
    worker = threading.Thread(target=exporter.serve_forever, daemon=True)
    worker.start()
    try:
        until(lambda: exporter.watch.seen().sweep is not None)
        yield exporter
    finally:
        exporter.http.shutdown()
        worker.join(60)
        # What is still in the driver must not be met by the node of the next test.
        exporter.watch.stop(wait_s=60)


def scrape(exporter: Exporter) -> Page:
    answer = requests.get(f"{exporter.url}/metrics", timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return read(answer.text)


@contextmanager
def process(
    tmp_path: Path,
    environment: Mapping[str, str],
    *arguments: str,
    **how: Any,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`healer exporter` on a free port: the address of its page, and the process.

    arguments: of two that say the same the last one counts, and ours come last. how: of Popen.
    """
    own = ["--host", "127.0.0.1", "--port", "0", "--no-kernel-log"]
    if "--pod-resources" not in arguments:
        own += ["--pod-resources", str(tmp_path / "absent.sock")]
    command = (sys.executable, "-c", "from healer.cli import main; main()", "exporter")
    with subprocess.Popen(
        [*command, *arguments, *own],
        env={**os.environ, "NODE_NAME": "node-7", **environment},
        stderr=subprocess.PIPE,
        text=True,
        **how,
    ) as started:
        try:
            assert started.stderr is not None
            line = started.stderr.readline()
            assert "http://" in line, line + started.stderr.read()
            yield "http://" + line.split("http://")[1].strip(), started
        finally:
            started.terminate()
