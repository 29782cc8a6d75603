"""`healer signals`, as a person runs it, and what the lint says of one's own."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from signals.conftest import Asked
from typer.testing import CliRunner

from healer.adapters.signal_catalogue import load_signals
from healer.adapters.signal_lint import lint
from healer.cli.main import app
from healer.cli.signals import asked
from healer.errors import BadInput

RUN = CliRunner()
STEP = timedelta(seconds=15)
GOOD = {
    "name": "my_latency",
    "query": "max by (namespace, pod) (my_latency_seconds)",
    "unit": "s",
    "scope": "pod",
    "worse": "up",
    "matters": 0.5,
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "signals").mkdir()
    return tmp_path


def write(folder: Path, **changes: object) -> Path:
    file = folder / "signals" / "mine.yaml"
    file.write_text(yaml.safe_dump([GOOD | changes]), encoding="utf-8")
    return folder


def complaints(folder: Path) -> list[str]:
    mine = [signal for signal in load_signals([folder]) if signal.source == "mine"]
    return [line.removeprefix("mine.my_latency: ") for line in lint(mine, STEP)]


def test_what_ships_gives_no_complaint() -> None:
    assert not list(lint(load_signals(), STEP))
    found = RUN.invoke(app, ["signals", "check"])
    assert found.exit_code == 0, found.output
    assert "0 complaints" in found.stderr


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_the_list_says_every_signal_whole(form: str) -> None:
    found = RUN.invoke(app, ["signals", "list", "-o", form, "--source", "vllm"])
    assert found.exit_code == 0, found.output
    rows = yaml.safe_load(found.stdout) if form == "yaml" else json.loads(found.stdout)
    assert {row["source"] for row in rows} == {"vllm"}
    (waiting,) = (row for row in rows if row["name"] == "requests_waiting")
    assert (waiting["unit"], waiting["scope"], waiting["worse"]) == ("requests", "pod", "up")
    assert "vllm_num_requests_waiting" in waiting["metrics"]


def test_the_table_and_the_matrix_name_sources_and_detectors() -> None:
    table = RUN.invoke(app, ["signals", "list"])
    assert "requests_waiting" in table.stdout
    matrix = RUN.invoke(app, ["signals", "list", "--matrix"])
    (row,) = (line for line in matrix.stdout.splitlines() if line.startswith("| `kv_usage`"))
    for word in ("vllm", "triton", "seasonal", "forecast"):
        assert word in row


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"query": "sum by (team) (my_x)"}, "of which none names a pod"),
        ({"query": "sum(my_x)"}, "of which none names a pod"),
        ({"query": "sum by (team) (rate(my_x[2m])) / 60"}, "of which none names a pod"),
        (
            {"query": "histogram_quantile(0.9, sum by (le, team) (rate(my_x_bucket[2m])))"},
            "of which none names a pod",
        ),
        ({"keep": ["reason"]}, "keep: reason: not among the labels that the query leaves"),
        ({"query": "max by (pod) (rate(my_x[20s]))"}, "[20s] holds fewer than two samples"),
        ({"query": "max by (pod) (my:x)"}, "write `my:x or my_x`"),
        ({"matters": 0}, "expected more than 0"),
        ({"scope": "rack"}, "no labels name a rack"),
        ({"name": "My-Latency"}, "expected lower case"),
    ],
)
def test_what_can_never_work_is_told(own: Path, changes: dict[str, object], said: str) -> None:
    write(own, **changes)
    mine = [signal for signal in load_signals([own]) if signal.source == "mine"]
    lines = list(lint(mine, STEP))
    assert any(said in line for line in lines), lines
    found = RUN.invoke(app, ["signals", "check", str(own)])
    assert found.exit_code == 1
    assert said in found.stderr


def test_a_good_signal_and_labels_that_nobody_says_give_no_complaint(own: Path) -> None:
    write(own)
    assert not complaints(own)
    write(own, query="my_x * 2 > 0")
    assert not complaints(own)
    query = 'label_replace(max by (pod) (my_x) or max by (pod, why) (my_y), "w", "1", "", "")'
    write(own, query=query, keep=["w", "why"])
    assert not complaints(own)


def test_a_file_that_does_not_load_is_told_with_file_path_and_value(own: Path) -> None:
    write(own, worse="sideways")
    found = RUN.invoke(app, ["signals", "check", str(own)])
    assert found.exit_code != 0
    assert isinstance(found.exception, BadInput)
    assert "mine.yaml" in str(found.exception)
    assert "sideways" in str(found.exception)


@pytest.mark.server
def test_a_prometheus_says_what_has_data(scraped: Asked, own: Path) -> None:
    write(own)
    arguments = ["signals", "check", str(own), "--prometheus", scraped.url, "-o", "json"]
    for _ in range(10):  # it asks about now, when a scrape may just have come too late
        found = RUN.invoke(app, arguments)
        assert found.exit_code == 0, found.output
        rows = {(row["source"], row["name"]): row for row in json.loads(found.stdout)}
        if rows["vllm", "requests_waiting"]["has"] == "data":
            break
        time.sleep(1)
    assert rows["vllm", "requests_waiting"]["has"] == "data"
    assert rows["vllm", "requests_waiting"]["rows"] >= 3
    assert rows["mine", "my_latency"]["has"] == "nothing"
    assert "no metric my_latency_seconds: not asked" in rows["mine", "my_latency"]["detail"]


@pytest.mark.server
def test_rows_that_name_no_target_are_told_with_their_labels(scraped: Asked, own: Path) -> None:
    write(own, query="max without (pod, instance) (up)", metrics=["up"])
    (signal,) = (each for each in load_signals([own]) if each.source == "mine")
    [row] = asked([signal], scraped)  # type: ignore[arg-type]
    assert row["has"] == "name"
    assert "no row names a pod; labels of the first: job" in row["detail"]
