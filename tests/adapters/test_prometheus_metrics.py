"""`PrometheusMetrics` keeps the contract of `Metrics` on the lab, behind a socket and mounted, and
on a genuine Prometheus: one suite for the three."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import requests
import servers
from lab_prometheus import remote_write, samples

from healer.adapters.prometheus import PrometheusMetrics
from healer.errors import Permanent, Temporary
from healer.lab.mount import MountedAdapter
from healer.lab.prometheus import PrometheusApi
from healer.lab.tsdb import Tsdb
from healer.lab.web import Server
from healer.ports import Metrics
from healer.settings import PrometheusSettings

STEP = timedelta(seconds=15)
ROWS = [
    row for row in samples.rows() if row[0]["__name__"] in ("level", "odd", "gappy", "vllm:queue")
]


def at(offset_s: float) -> datetime:
    return datetime.fromtimestamp(samples.START_S + offset_s, UTC)


@pytest.fixture(scope="module")
def api() -> PrometheusApi:
    tsdb = Tsdb()
    samples.fill(tsdb, ROWS)
    return PrometheusApi(tsdb, lambda: samples.END_S + 10.0)


@pytest.fixture(scope="module")
def urls(api: PrometheusApi) -> Iterator[dict[str, Callable[[], str]]]:
    with Server(api.handle) as server:
        yield {"socket": lambda: server.url, "mounted": lambda: "http://lab"}


@pytest.fixture(scope="module")
def genuine_url() -> Iterator[str]:
    servers.need("prometheus")
    with servers.run_prometheus({"scrape_configs": []}) as prometheus:
        remote_write.write(prometheus.url, ROWS)
        yield prometheus.url


@pytest.fixture(params=["mounted", "socket", pytest.param("genuine", marks=pytest.mark.server)])
def metrics(request: pytest.FixtureRequest, api: PrometheusApi) -> Iterator[Metrics]:
    with requests.Session() as session:
        if request.param == "genuine":
            url = request.getfixturevalue("genuine_url")
        else:
            url = request.getfixturevalue("urls")[request.param]()
        if request.param == "mounted":
            session.mount(url, MountedAdapter(api.handle))
        yield PrometheusMetrics(PrometheusSettings(url=url), session)


def test_a_range_lies_on_the_grid_that_was_asked_for(metrics: Metrics) -> None:
    found = metrics.range('level{kind="flat"}', at(7.25), at(307.25), STEP)
    np.testing.assert_allclose(found.times, samples.START_S + 7.25 + 15 * np.arange(21), rtol=0)
    np.testing.assert_array_equal(found.values, np.full((1, 21), 7.0))
    assert found.labels == ({"__name__": "level", "kind": "flat"},)
    assert found.warnings == ()


def test_an_end_off_the_grid_is_left_out(metrics: Metrics) -> None:
    found = metrics.range("level", at(0), at(29.9), STEP)
    np.testing.assert_array_equal(found.times, samples.START_S + np.array([0.0, 15.0]))


def test_one_moment_is_a_range_too(metrics: Metrics) -> None:
    found = metrics.range('level{kind="flat"}', at(60), at(60), STEP)
    assert found.values.tolist() == [[7.0]]


def test_where_there_is_no_sample_there_is_nan_and_never_zero(metrics: Metrics) -> None:
    found = metrics.range('gappy{kind="gap"}', at(0), at(3600), STEP)
    (row,) = found.values
    # 60 samples of 15 s, then five minutes of looking back, then nothing until the hundredth.
    assert np.isnan(row[80:100]).all()
    assert np.isfinite(row[:80]).all()
    assert np.isfinite(row[100:]).all()


def test_nan_and_infinity_are_kept(metrics: Metrics) -> None:
    always = metrics.range('odd{kind="always"}', at(0), at(60), STEP)
    never = metrics.range('odd{kind="never"}', at(0), at(60), STEP)
    minus = metrics.range('-odd{kind="always"}', at(0), at(60), STEP)
    assert np.isposinf(always.values).all()
    assert np.isneginf(minus.values).all()
    assert never.values.shape == (1, 5)
    assert np.isnan(never.values).all()


def test_nothing_found_is_an_empty_matrix_on_the_grid(metrics: Metrics) -> None:
    found = metrics.range("missing", at(0), at(60), STEP)
    assert (found.values.shape, found.times.shape, found.labels) == ((0, 5), (5,), ())


def test_a_range_too_long_for_one_request_comes_joined(metrics: Metrics) -> None:
    step = timedelta(milliseconds=250)
    found = metrics.range('level{kind=~"flat|short"}', at(0), at(3600), step)
    assert found.values.shape == (2, 14_401)
    rows = {labels["kind"]: row for labels, row in zip(found.labels, found.values, strict=True)}
    assert (rows["flat"] == 7.0).all()
    begins, ends = 900 * 4, (99 * 15 + 300) * 4
    assert np.isnan(rows["short"][:begins]).all()
    assert np.isfinite(rows["short"][begins : ends + 1]).all()
    assert np.isnan(rows["short"][ends + 1 :]).all()


def test_a_query_longer_than_a_url_is_answered(metrics: Metrics) -> None:
    query = " or ".join(f'level{{kind="flat",unused!="{number}"}}' for number in range(400))
    assert len(query) > 10_000
    assert metrics.range(query, at(0), at(15), STEP).values.tolist() == [[7.0, 7.0]]
    assert metrics.instant(query, at(15)).values.tolist() == [[7.0]]


def test_an_instant_is_one_column(metrics: Metrics) -> None:
    found = metrics.instant('vllm:queue or level{kind="flat"}', at(100.5))
    assert found.values.shape == (2, 1)
    np.testing.assert_allclose(found.times, [samples.START_S + 100.5])
    assert {labels["__name__"] for labels in found.labels} == {"vllm:queue", "level"}


def test_a_scalar_is_one_row_without_labels(metrics: Metrics) -> None:
    found = metrics.instant("1 + 2", at(0))
    assert (found.values.tolist(), found.labels) == ([[3.0]], ({},))


def test_an_instant_without_a_time_is_the_servers_now(metrics: Metrics) -> None:
    found = metrics.instant("vector(time())")
    np.testing.assert_allclose(found.values[0], found.times, atol=0.002)


def test_an_empty_instant_has_one_column_and_no_rows(metrics: Metrics) -> None:
    found = metrics.instant("missing")
    assert (found.values.shape, found.times.shape) == ((0, 1), (1,))


def test_names_are_all_metric_names(metrics: Metrics) -> None:
    assert metrics.names() == {"level", "odd", "gappy", "vllm:queue"}


@pytest.mark.parametrize(
    "query", ["sum(", "", "rate(level)", "level + on () odd", '"text"', "level[5m]"]
)
def test_a_query_that_cannot_be_answered_is_permanent(metrics: Metrics, query: str) -> None:
    with pytest.raises(Permanent):
        metrics.instant(query, at(60))
    with pytest.raises(Permanent):
        metrics.range(query, at(0), at(60), STEP)


def test_the_error_names_the_query_and_the_servers_reason(metrics: Metrics) -> None:
    with pytest.raises(Permanent, match=r"query_range.*bad_data.*parse error.*\(sum\(\)"):
        metrics.range("sum(", at(0), at(60), STEP)


def test_a_range_without_points_is_refused_before_it_is_asked(metrics: Metrics) -> None:
    with pytest.raises(Permanent, match="no points"):
        metrics.range("level", at(60), at(0), STEP)
    with pytest.raises(Permanent, match="no points"):
        metrics.range("level", at(0), at(60), timedelta(0))


def test_an_outage_is_temporary_and_ends(api: PrometheusApi) -> None:
    with requests.Session() as session:
        session.mount("http://lab", MountedAdapter(api.handle))
        metrics = PrometheusMetrics(PrometheusSettings(url="http://lab"), session)
        api.outage = True
        try:
            with pytest.raises(Temporary, match="503"):
                metrics.names()
        finally:
            api.outage = False
        assert metrics.names()
