"""The exporter as a process: its page, Prometheus reading it, its bad days."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
import requests
from gpu_exporter import process, scrape, serving, until
from gpu_node import GpuNode
from gpu_page import read
from servers import binary, need

from exporters.describe import defaults, rewrite
from exporters.exposition import Family, render
from exporters.options import ExporterOptions
from exporters.rows import DCGM_ONLY
from exporters.serve import Exporter
from exporters.table import OWN, load_table
from healer.errors import BadInput

CHECKOUT = Path(__file__).resolve().parents[2]


def test_every_default_counter_that_nvml_can_give_has_the_name_and_type_of_dcgm_exporter(
    node: GpuNode, tmp_path: Path
) -> None:
    node.with_gpus(1)
    with serving(tmp_path) as exporter:
        page = scrape(exporter)
    types = dict(line.split()[2:4] for line in page.text.splitlines() if line.startswith("# TYPE"))
    only_dcgm = {row.name for row in load_table() if row.read in DCGM_ONLY}
    given = {each.name: each.type for each in defaults() if each.name not in only_dcgm}
    assert {name: types.get(name) for name in given} == given
    assert len(given) >= 19


def test_the_tables_of_the_documentation_are_up_to_date() -> None:
    document = (CHECKOUT / "docs" / "exporter.md").read_text(encoding="utf-8")
    assert rewrite(document) == document, "run: python tools/generate.py"
    assert "| missing |" not in document
    assert all(f"`{name}`" in document for name in OWN if name.startswith("healer_"))


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(BadInput, match="table: same"):
        rewrite("# Nothing here\n")


@pytest.mark.server
def test_promtool_finds_no_error_in_a_full_page(node: GpuNode, tmp_path: Path) -> None:
    need("promtool")
    node.with_gpus(2).set(0, process=["4321 1000000"])
    with serving(tmp_path, host_signals=True) as exporter:
        until(lambda: exporter.watch.seen().sources.get("nvml", False))
        node.xid(1, 79)
        until(lambda: len(exporter.watch.seen().xids) == 1)
        page = requests.get(f"{exporter.url}/metrics", timeout=60).text
    checked = subprocess.run(
        [str(binary("promtool")), "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # Names and labels of dcgm-exporter are against promtool's advice, and status 3 is advice only.
    assert checked.returncode in (0, 3), checked.stderr
    assert "error while linting" not in checked.stderr
    advice = [
        line
        for line in checked.stderr.splitlines()
        if not line.startswith("DCGM_") and "camelCase" not in line
    ]
    # The driver counts in nanoseconds, and so do the fields of DCGM beside it.
    assert [line for line in advice if 'instead of "nanoseconds"' not in line] == []


def test_a_blocked_driver_does_not_block_the_endpoint(node: GpuNode, tmp_path: Path) -> None:
    node.with_gpus(1)
    with serving(tmp_path, deadline_s=0.2) as exporter:
        node.say("block nvmlDeviceGetUtilizationRates")
        until(lambda: scrape(exporter).value("healer_gpu_driver_blocked") > 0.2)
        page = scrape(exporter)  # while the driver is blocked, and so it stays
        assert page.value("healer_gpu_state", state="blocked") == 1
        assert requests.get(f"{exporter.url}/livez", timeout=60).status_code == 200
        node.say()
        until(lambda: scrape(exporter).value("healer_gpu_driver_blocked") == 0)


def test_a_scraper_that_hangs_up_and_one_that_sends_noise_are_survived(
    node: GpuNode, tmp_path: Path
) -> None:
    node.with_gpus(1)
    with serving(tmp_path) as exporter:
        host, port = exporter.http.server_address[:2]
        for sent in (b"GET /metrics HTTP/1.1\r\n\r\n", b"\x00\xff\x16\x03noise\r\n\r\n"):
            with socket.create_connection((str(host), int(port)), timeout=60) as connection:
                connection.sendall(sent)
        assert scrape(exporter).value("healer_gpu_present") == 1
        assert requests.get(f"{exporter.url}/other", timeout=60).status_code == 404
        assert requests.post(f"{exporter.url}/metrics", timeout=60).status_code == 501


def test_host_signals_are_off_unless_asked_for(node: GpuNode, tmp_path: Path) -> None:
    with serving(tmp_path) as exporter:
        assert not [name for name in scrape(exporter).samples if name.startswith("healer_host")]
    with serving(tmp_path, host_signals=True) as exporter:
        page = scrape(exporter)
    assert page.value("healer_host_memory_total_bytes") > 1e6
    assert page.value("healer_host_cpu_seconds_total", mode="user") > 0


def test_an_address_in_use_is_refused_in_one_line(node: GpuNode, tmp_path: Path) -> None:
    with serving(tmp_path) as exporter:
        port = int(exporter.http.server_address[1])
        with pytest.raises(BadInput, match=f"127.0.0.1:{port}.*free address"):
            Exporter(ExporterOptions(port=port), load_table())


def test_labels_with_quotes_backslashes_and_newlines_are_escaped() -> None:
    family = Family("m", "gauge", "A\\b\nc")
    family.add(1.5, {"a": 'x"y\\z\nw'})
    assert render([family]) == ('# HELP m A\\\\b\\nc\n# TYPE m gauge\nm{a="x\\"y\\\\z\\nw"} 1.5\n')
    assert read(render([family]))["m"] == [({"a": 'x"y\\z\nw'}, 1.5)]


def test_the_command_finds_the_library_by_its_path_and_serves(
    node: GpuNode, tmp_path: Path
) -> None:
    node.with_gpus(2)
    with process(tmp_path, node.environment, "--every", "0.2") as (url, _):
        until(lambda: "DCGM_FI_DEV_GPU_TEMP" in read(requests.get(url, timeout=60).text))
        page = read(requests.get(url, timeout=60).text)
        assert page.value("healer_gpu_present") == 2
        assert {ls["Hostname"] for ls, _ in page["healer_gpu_present"]} == {"node-7"}


def test_the_command_without_any_driver_says_no_driver(tmp_path: Path) -> None:
    with process(tmp_path, {"LD_LIBRARY_PATH": str(tmp_path)}) as (url, _):
        until(lambda: "healer_gpu_driver_state" in read(requests.get(url, timeout=60).text))
        page = read(requests.get(url, timeout=60).text)
    if page.value("healer_gpu_driver_state", state="ok"):
        pytest.skip("this machine has a driver")
    assert page.value("healer_gpu_driver_state", state="no_driver") == 1
    assert page.value("healer_gpu_present") == 0


def test_every_metric_that_our_signals_ask_for_is_on_the_page() -> None:
    text = (CHECKOUT / "rules" / "signals" / "healer_exporter.yaml").read_text(encoding="utf-8")
    asked = {word for word in _words(text) if word.startswith("healer_gpu_")}
    assert asked
    assert asked <= {row.name for row in load_table()} | set(OWN)


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in text).split()
