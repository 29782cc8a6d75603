"""The same samples in the lab and in a genuine Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import servers
from lab_prometheus import remote_write, samples
from lab_prometheus.remote_write import Row

from healer.lab.prometheus import PrometheusApi
from healer.lab.tsdb import Tsdb


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    return samples.rows()


@pytest.fixture(scope="session")
def api(rows: list[Row]) -> PrometheusApi:
    tsdb = Tsdb()
    samples.fill(tsdb, rows)
    return PrometheusApi(tsdb, lambda: samples.END_S + 86_400.0)


@pytest.fixture(scope="session")
def genuine(rows: list[Row]) -> Iterator[str]:
    """URL of a Prometheus that holds the samples."""
    servers.need("prometheus")
    with servers.run_prometheus({"scrape_configs": []}) as prometheus:
        remote_write.write(prometheus.url, rows)
        yield prometheus.url
