"""`healer backtest` over a genuine Prometheus whose history holds one fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import servers
from typer.testing import CliRunner

from healer.adapters.store import open_store
from healer.cli import backtest
from healer.cli.main import app
from healer.errors import BadInput, Temporary

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
        found.setdefault(name, []).append(f"{name}{{{labels}}} {value:.6g} {at:.0f}")

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
            gpu = (
                f'UUID="GPU-{i}",Hostname="gpu-{i}",exported_pod="{pod}",'
                'exported_namespace="serving"'
            )
            say("DCGM_FI_DEV_POWER_USAGE", gpu, (130 if hung else 600) * wobble, at)
            say("DCGM_FI_DEV_GPU_UTIL", gpu, 100, at)
            say("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", gpu, 0.001 if hung else 0.3, at)
            say("kube_pod_info", info, 1, at)
            say("kube_pod_status_ready", f'{info},condition="true"', 1, at)
    for n in range(0, int(SPAN.total_seconds() + 1800), 60):
        owner = 'namespace="serving",replicaset="llama-7d9f",owner_kind="Deployment"'
        at = START.timestamp() + n - 1800
        say("kube_replicaset_owner", f'{owner},owner_name="llama"', 1, at)
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


def test_an_interrupted_backtest_goes_on_where_it_was(prometheus, tmp_path):
    half = START + timedelta(minutes=20)
    first = run(tmp_path, prometheus, ends=half)
    assert first.exit_code == 0, (first.output, first.stderr)
    store = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    before = store.get(backtest.CURSOR)
    span = json.loads(store.get(backtest.SPAN))
    store.put(
        backtest.SPAN, json.dumps(span | {"until": (START + timedelta(minutes=40)).isoformat()})
    )
    store.close()

    report = json.loads(run(tmp_path, prometheus).stdout)

    store = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    assert half < datetime.fromisoformat(before) <= half + timedelta(minutes=5)
    assert datetime.fromisoformat(store.get(backtest.CURSOR)) > START + timedelta(minutes=40)
    assert report["until"] == (START + timedelta(minutes=40)).isoformat()
    assert report["incidents"] == 0
    store.close()


def test_a_prometheus_that_does_not_answer_is_no_quiet_past(tmp_path):
    with pytest.raises(Temporary):
        run(tmp_path, "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--since", "soon"), "--since: 'soon': expected a duration such as 30d"),
        (("--since", "1h", "--until", "2h"), "--since: '1h': expected a moment before"),
        (("--every", "0s"), "--every: '0s': expected a duration such as 5m"),
    ],
)
def test_a_span_that_is_none_is_refused(tmp_path, wrong, said):
    with pytest.raises(BadInput) as caught:
        run(tmp_path, "http://127.0.0.1:9", *wrong)

    assert said in str(caught.value)
