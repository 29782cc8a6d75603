"""Prometheus 2 and 3 make the same of our page: names, types, labels and values.

They ask for it differently (3 prefers OpenMetrics with UTF-8 names), and an exporter that follows
them may answer with other metric names.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from gpu_exporter import process, serving, until
from gpu_node import GpuNode
from gpu_page import read
from servers import Server, binary, need, run_prometheus, tool

CHECKOUT = Path(__file__).resolve().parents[2]
BOTH = ("prometheus", "prometheus3")
MOVING = ("_age_seconds", "_timestamp_seconds", "_sweep_seconds", "sweeps_total")
"""Ends of names whose values differ between two scrapes of one node; so does the host's."""
ACCEPT = {
    "2.42": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1"
    ";q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "3.5": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;"
    "escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
    "protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily",
    "nothing it has": "image/png",
}
COLON = "- {name: 'node:gpu_temperature', type: gauge, help: With a colon., read: gpu_temp_c}\n"


def arguments_as_shipped() -> list[str]:
    """What the DaemonSet of the chart passes to the exporter."""
    command = (str(binary("helm")), "template", "healer", str(CHECKOUT / "helm" / "healer"))
    rendered = subprocess.run(
        [*command, "--show-only", "templates/exporter.yaml"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    container = yaml.safe_load(rendered.stdout)["spec"]["template"]["spec"]["containers"][0]
    first, *rest = container["args"]
    assert first == "exporter"
    return [str(each) for each in rest]


def until_known(url: str) -> None:
    """Until every series that a quiet node has is on the page."""
    wanted = ("healer_gpu_present", "healer_gpu_xid_source_up")
    until(lambda: all(name in requests.get(url, timeout=60).text for name in wanted))


def held(prometheus: Server, job: str) -> tuple[dict[tuple[str, ...], str], dict[str, Any]]:
    """Values by series, and (type, help) by metric, as this Prometheus has them for the job."""
    answer = requests.get(
        f"{prometheus}/api/v1/query", params={"query": f'{{job="{job}"}}'}, timeout=60
    ).json()
    series = {
        tuple(f"{k}={v}" for k, v in sorted(row["metric"].items())): row["value"][1]
        for row in answer["data"]["result"]
        if not row["metric"]["__name__"].startswith(("scrape_", "up"))
    }
    told = requests.get(
        f"{prometheus}/api/v1/targets/metadata",
        params={"match_target": f'{{job="{job}"}}'},
        timeout=60,
    ).json()
    return series, {row["metric"]: (row["type"], row["help"]) for row in told["data"]}


def settled(values: Mapping[tuple[str, ...], str]) -> dict[tuple[str, ...], str]:
    """Those that are the same at any two scrapes."""
    found = {}
    for labels, value in values.items():
        name = next(each for each in labels if each.startswith("__name__="))
        if not name.endswith(MOVING) and "healer_host_" not in name:
            found[labels] = value
    return found


@pytest.mark.server
def test_prometheus_2_and_3_hold_the_same_series_types_and_values(
    node: GpuNode, tmp_path: Path
) -> None:
    need(*BOTH, "helm")
    node.with_gpus(2).set(0, process=["4321 1000000"])
    node.set(1, mig_mode=1, mig=["0 MIG-aaaa 7 1g.10gb 4000 5000"], name='Odd "\\ nämé')
    table = tmp_path / "colon.yaml"
    table.write_text(COLON)
    with ExitStack() as stack:
        shipped = process(tmp_path, node.environment, *arguments_as_shipped())
        jobs = {"as-shipped": stack.enter_context(shipped)[0]}
        variants: dict[str, dict[str, object]] = {
            "beside-dcgm-exporter": {"extras_only": True},
            "without-node-exporter": {"host_signals": True},
            "colon": {"table": table},
        }
        for job, options in variants.items():
            exporter = stack.enter_context(serving(tmp_path, every_s=10.0, **options))
            jobs[job] = f"{exporter.url}/metrics"
        for url in jobs.values():
            until_known(url)
        pages = {job: read(requests.get(url, timeout=60).text) for job, url in jobs.items()}
        config = {
            "scrape_configs": [
                {
                    "job_name": job,
                    "scrape_interval": "1s",
                    "static_configs": [{"targets": [url.split("/")[2]]}],
                }
                for job, url in jobs.items()
            ]
        }
        both = [stack.enter_context(run_prometheus(config, program=name)) for name in BOTH]
        sizes = {job: sum(map(len, page.samples.values())) for job, page in pages.items()}
        found: dict[str, list[tuple[dict[tuple[str, ...], str], dict[str, Any]]]] = {}

        def all_held() -> bool:
            """A scrape that a busy machine lets last too long takes a page away until the next."""
            found.update({job: [held(each, job) for each in both] for job in jobs})
            return all(len(series) == sizes[job] for job in jobs for series, _ in found[job])

        until(all_held)
    for job, ((old, old_types), (new, new_types)) in found.items():
        assert old.keys() == new.keys(), job
        assert old_types == new_types, job
        assert settled(old) == settled(new), job
        shown = pages[job]
        assert len(old) == sum(map(len, shown.samples.values())), job
        assert {dict(each.split("=", 1) for each in k)["__name__"] for k in old} == set(
            shown.samples
        )
    assert "node:gpu_temperature" in found["colon"][0][1]
    assert "DCGM_FI_DEV_GPU_TEMP" not in found["beside-dcgm-exporter"][1][1]
    assert found["as-shipped"][1][1]["DCGM_FI_DEV_PCIE_REPLAY_COUNTER"][0] == "counter"
    assert "healer_host_load1" in found["without-node-exporter"][1][1]


def test_the_page_is_the_same_whatever_the_scraper_prefers(node: GpuNode, tmp_path: Path) -> None:
    node.with_gpus(1)
    table = tmp_path / "colon.yaml"
    table.write_text(COLON)
    with serving(tmp_path, table=table) as exporter:
        for accept in ACCEPT.values():
            url = f"{exporter.url}/metrics"
            answer = requests.get(url, headers={"Accept": accept}, timeout=60)
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert "# TYPE node:gpu_temperature gauge\nnode:gpu_temperature{" in answer.text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list", "# deb http://old.example/debian sid main\ndeb [a=b] {} bookworm main\n"),
        (
            "sources.list.d/debian.sources",
            "Types: deb\n# http://x/debian/2025\nURIs: {}\nSuites: b\n",
        ),
    ],
)
def test_the_newer_server_comes_from_the_machines_own_archive(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "a.list").write_text("deb https://b.example/other stable main\n")
    (tmp_path / name).write_text(text.format("https://mirror.example/debian"))
    assert tool._mirror(tmp_path) == "https://mirror.example/debian"


def test_a_machine_without_a_debian_archive_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(tool.Unavailable, match="no Debian archive"):
        tool._mirror(tmp_path)
