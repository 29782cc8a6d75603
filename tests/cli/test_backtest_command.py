"""`healer backtest` over a genuine Prometheus whose history holds one fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import servers
from typer.testing import CliRunner

from healer.cli.main import app

pytestmark = pytest.mark.server

START = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)
SPAN = timedelta(hours=2)
STEP_S = 15
HANGS_AT_S, MENDED_AT_S = 4500, 5700
PODS = ("llama-7d9f-aaaaa", "llama-7d9f-bbbbb", "llama-7d9f-ccccc")


def history() -> str:
    """Three replicas; the second makes no tokens for twenty minutes while requests wait in it."""
    found: dict[str, list[str]] = {}

    def say(name: str, labels: str, value: float, at: float) -> None:
        found.setdefault(name, []).append(f"{name}{{{labels}}} {value:g} {at:g}")

    for i, pod in enumerate(PODS):
        labels = f'pod="{pod}",namespace="serving",model_name="llama",instance="10.0.0.{i}:8000"'
        info = (
            f'pod="{pod}",namespace="serving",node="gpu-{i}",uid="u{i}",pod_ip="10.0.0.{i}",'
            'created_by_kind="ReplicaSet",created_by_name="llama-7d9f"'
        )
        tokens = asked = done = 0.0
        for n in range(int((SPAN.total_seconds() + 1800) / STEP_S)):
            after = n * STEP_S - 1800
            at = START.timestamp() + after
            hung = i == 1 and HANGS_AT_S <= after < MENDED_AT_S
            wobble = 1 + 0.03 * ((n * 7919 + i * 31) % 13 - 6) / 6
            tokens += 0 if hung else 900 * STEP_S * wobble
            asked += 6 * STEP_S * wobble
            done += 0 if hung else 3 * STEP_S * wobble
            say("vllm:generation_tokens_total", labels, tokens, at)
            say("vllm:prompt_tokens_total", labels, asked * 100, at)
            say("vllm:num_requests_running", labels, 12 if hung else 6, at)
            say("vllm:num_requests_waiting", labels, 30 if hung else 0, at)
            say("vllm:request_success_total", f'{labels},finished_reason="stop"', done, at)
            say("kube_pod_info", info, 1, at)
            say("kube_pod_status_ready", f'{info},condition="true"', 1, at)
    lines = []
    for name, rows in found.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# TYPE {name.removesuffix('_total')} {kind}", *rows]
    return "\n".join(lines) + "\n# EOF\n"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    servers.need("prometheus", "promtool")
    data = servers.backfill(history(), tmp_path_factory.mktemp("history") / "tsdb")
    with servers.run_prometheus("global: {}\n", data=data) as server:
        yield server.url


def run(folder: Path, url: str, *more: str, ends: datetime = START + SPAN):
    file = folder / "healer.yaml"
    file.write_text(f"prometheus: {{url: {url}}}\nkubernetes: {{enabled: false}}\n")
    asked = ("--since", START.isoformat(), "--until", ends.isoformat(), "--json")
    state = ("--state", str(folder / "state.db"), "--config", str(file))
    return CliRunner().invoke(app, ["backtest", *asked, *state, *more], catch_exceptions=False)


def test_the_one_fault_of_the_past_is_found_explained_and_not_touched(prometheus, tmp_path):
    done = run(tmp_path, prometheus)

    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert report["incidents"] == 1
    rule = report["rules"][0]
    assert rule["rule"] == "engine_hang"
    assert rule["would_have_acted"] == 1
    act = rule["acts"][0]
    assert act["target"] == f"pod:serving/{PODS[1]}"
    assert act["remediation"] == "restart_pod"
    began = START + timedelta(seconds=HANGS_AT_S)
    assert began < datetime.fromisoformat(act["at"]) < began + timedelta(minutes=10)
    assert act["evidence"]
