"""Prometheus servers that have scraped the pages, started once a session."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import servers
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from signals import made_pages
from signals.signal_pages import history, made, recorded, serve

from healer.ports import Matrix

SCRAPES = 6
"""Enough for rates; the first one comes five seconds after a start."""
SETTLED_S = 3
"""A scrape takes a second at most, so by then it is known how it went."""


@dataclass(frozen=True)
class Asked:
    """A Prometheus to ask, with nothing of Healer's between."""

    url: str
    at_s: int | None = None
    """When; None is now."""

    def instant(self, query: str) -> Matrix:
        given = {"query": query} | ({} if self.at_s is None else {"time": str(self.at_s)})
        answer = requests.get(f"{self.url}/api/v1/query", given, timeout=60).json()
        assert answer["status"] == "success", answer.get("error")
        result = answer["data"]["result"]
        assert not answer.get("warnings")
        return Matrix(
            np.array([time.time()]),
            np.array([[float(each["value"][1])] for each in result]).reshape(len(result), 1),
            tuple(each["metric"] for each in result),
        )

    def range(self, query: str, start: datetime, end: datetime, step: timedelta) -> Matrix:
        step_s = step.total_seconds()
        times = np.arange(start.timestamp(), end.timestamp() + step_s / 2, step_s)
        given = {"query": query, "start": times[0], "end": times[-1], "step": step_s}
        answer = requests.get(f"{self.url}/api/v1/query_range", given, timeout=60).json()
        assert answer["status"] == "success", answer.get("error")
        result = answer["data"]["result"]
        values = np.full((len(result), len(times)), np.nan)
        for row, each in enumerate(result):
            for at_s, value in each["values"]:
                values[row, round((at_s - times[0]) / step_s)] = float(value)
        return Matrix(times, values, tuple(each["metric"] for each in result))

    def names(self) -> frozenset[str]:
        url = f"{self.url}/api/v1/label/__name__/values"
        return frozenset(requests.get(url, timeout=60).json()["data"])


def job(name: str, address: str, **labels: str) -> dict[str, Any]:
    """A scrape of /NAME once a second, its labels as a service discovery would set them."""
    return {
        "job_name": name,
        "scrape_interval": "1s",
        "metrics_path": f"/{name}",
        "static_configs": [{"targets": [address], "labels": labels}],
    }


def wait_for_scrapes(url: str, jobs: int, scrapes: int = SCRAPES) -> Asked:
    """Until each of the jobs has been scraped that often; fails on a page that is refused.

    What it gives asks about that very moment: a busy machine lets a scrape now and then last
    longer than it may, which takes a page's series away until the next.
    """
    query = f"count(sum_over_time(up[1h]) >= {scrapes} and up == 1)"
    deadline = time.monotonic() + 180
    while True:
        asked = Asked(url, int(time.time()) - SETTLED_S)
        found = asked.instant(query).values
        if len(found) and found[0, 0] == jobs:
            return asked
        if time.monotonic() > deadline:
            refused = Asked(url).instant("max_over_time(up[1h]) == 0").labels
            names = [each["job"] for each in refused]
            raise AssertionError(f"{jobs} pages not scraped {scrapes} times; refused: {names}")
        time.sleep(0.2)


TARGET_LABELS: Mapping[str, Mapping[str, str]] = {
    "dcgm": {"namespace": "monitoring", "pod": "dcgm-exporter-x", "instance": "10.0.0.1:9400"},
    "healer_exporter": {"namespace": "monitoring", "pod": "healer-x", "instance": "10.0.0.1:9401"},
    "kube_state_metrics": {"namespace": "monitoring", "pod": "ksm-0"},
    "kubelet": {"node": "gpu-node-1", "instance": "10.0.0.1:10250"},
    "node_exporter": {"namespace": "monitoring", "pod": "ne-x", "instance": "10.0.0.1:9100"},
    "gateway": {"namespace": "gateway", "pod": "epp-0"},
}
"""As a usual service discovery sets them, without honouring the page's own."""


@contextmanager
def python_client() -> Iterator[str]:
    """An engine that shows its metrics through the Python client, in the format that is asked
    for; yields host:port."""
    registry = CollectorRegistry()
    names = ["model_name"]
    waiting = Gauge("vllm:num_requests_waiting", "Waiting.", names, registry=registry)
    waiting.labels("llama-8b").set(3)
    tokens = Counter("vllm:generation_tokens", "Tokens.", names, registry=registry)
    ttft = Histogram("vllm:time_to_first_token_seconds", "TTFT.", names, registry=registry)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.2):
            tokens.labels("llama-8b").inc(180)
            ttft.labels("llama-8b").observe(0.4)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        stop.set()
        worker.join()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def scraped() -> Iterator[Asked]:
    """A Prometheus that scraped every made page; the engines' pods are named after the page."""
    servers.need("prometheus")
    pages = {
        **{name: made(each) for name, each in made_pages.SOURCES.items()},
        **{name: made(each) for name, (_, each) in made_pages.VARIANTS.items()},
        "dcgm-bits": made(made_pages.dcgm_bits),
    }
    with serve(pages) as address, python_client() as client:
        jobs = [
            job(name, address, **TARGET_LABELS.get(name, {"namespace": "serving", "pod": name}))
            for name in pages
        ]
        jobs.append(job("python-client", client, namespace="serving", pod="python-client"))
        for each in jobs:
            each["honor_labels"] = each["job_name"] == "kubelet"
        with servers.run_prometheus({"scrape_configs": jobs}) as prometheus:
            yield wait_for_scrapes(prometheus.url, len(jobs))


END_S = 1_772_625_600
STEP_S = 15


@pytest.fixture(scope="session")
def openmetrics() -> str:
    """Twelve minutes of the made pages, scraped every fifteen seconds, until END_S."""
    pages = {
        **made_pages.SOURCES,
        **{name: each for name, (_, each) in made_pages.VARIANTS.items()},
        "dcgm-bits": made_pages.dcgm_bits,
    }
    lines = [
        each
        for name, samples in pages.items()
        for each in history(
            made(samples), target_labels(name), end_s=END_S, steps=49, step_s=STEP_S
        )
    ]
    # OpenMetrics wants the samples of one metric together.
    return "\n".join(sorted(lines, key=lambda each: each.partition("{")[0]))


def target_labels(page: str) -> dict[str, str]:
    own = TARGET_LABELS.get(page, {"namespace": "serving", "pod": page})
    return {"job": page, "instance": f"{page}:80", **own}


@pytest.fixture(scope="session")
def backfilled(openmetrics: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A Prometheus that holds exactly those samples."""
    servers.need("prometheus", "promtool")
    data = servers.backfill(openmetrics, tmp_path_factory.mktemp("tsdb"))
    with servers.run_prometheus({"scrape_configs": []}, data=data) as prometheus:
        yield Asked(prometheus.url, END_S)


ROUNDS: tuple[tuple[str, ...], ...] = (
    (
        "vllm/0.5-kubeai",
        "sglang/0.4-2025-03-loaded",
        "triton/trtllm-backend-2026",
        "dynamo/runtime-system-metrics",
        "epp/llm-d-router-llm_d_epp",
        "dcgm-exporter/mig-a100-4-active",
        "kube-state-metrics/k8s-1.35",
        "cadvisor/kubelet-1.35",
        "node-exporter/e2e-output",
    ),
    (
        "sglang/0.4-2024-12",
        "triton/trtllm-backend-23.11",
        "epp/llm-d-router-inference_extension",
        "dcgm-exporter/a100-mig-off-idle-1",
        "cadvisor/cadvisor-testdata",
        "dynamo/trtllm-doc-example",
    ),
    (
        "triton/server-docs-queue-summary",
        "dcgm-exporter/readme-blank-values-pod-labels",
        "dynamo/vllm-doc-example",
        "dynamo/sglang-doc-example",
    ),
)
"""Pages of one source are scraped by different servers, or their rows would meet."""


@pytest.fixture(scope="session")
def recorded_pages(data_folder: Path) -> Iterator[Mapping[str, Asked]]:
    """Recorded page → a Prometheus that scraped it."""
    servers.need("prometheus")
    folder = data_folder / "scrapes"
    found: dict[str, Asked] = {}
    with ExitStack() as stack:
        for names in ROUNDS:
            pages = {name.replace("/", "--"): recorded(folder / f"{name}.txt") for name in names}
            address = stack.enter_context(serve(pages))
            jobs = [job(name, address, namespace="serving", pod="recorded") for name in pages]
            for each in jobs:
                # The kubelet's page names the pods itself.
                each["honor_labels"] = each["job_name"].startswith("cadvisor")
            server = stack.enter_context(servers.run_prometheus({"scrape_configs": jobs}))
            found |= dict.fromkeys(names, Asked(server.url))
        for names in ROUNDS:
            settled = wait_for_scrapes(found[names[0]].url, len(names))
            found |= dict.fromkeys(names, settled)
        yield found
