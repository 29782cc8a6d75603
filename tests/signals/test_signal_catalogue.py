"""What ships is whole, and what a user writes wrongly is told with file, path and value."""

from __future__ import annotations

from pathlib import Path

import pytest

from healer.adapters.signal_catalogue import load_signals, shipped
from healer.errors import BadInput
from healer.model.signal import EventRule, Worse
from healer.model.target import Kind

GOOD = """
- name: my_latency
  query: max by (namespace, pod) (my_latency_seconds or my_old_latency_seconds)
  unit: s
  scope: pod
  worse: up
  matters: 0.5
"""

CANONICAL = set(
    """
requests_running requests_waiting arrival_rate completion_rate error_ratio ttft_p95 itl_p95
e2e_p95 queue_time_p95 generation_tokens prompt_tokens prompt_length_mean kv_usage preemptions
prefix_hit_ratio gpu_util gpu_power gpu_temp gpu_mem_temp gpu_sm_clock gpu_mem_used
gpu_tensor_active gpu_dram_active gpu_throttle_thermal gpu_throttle_power_brake
gpu_ecc_uncorrected gpu_row_remap_pending gpu_row_remap_failure gpu_pcie_replays
gpu_nvlink_errors gpu_xid node_gpus_present node_gpus_missing node_ready node_cpu_busy
node_memory_available node_disk_free node_load node_disk_io exporter_up pod_restarts pod_ready
pod_waiting_reason pod_oom_killed pod_unschedulable workload_unavailable workload_hpa_maxed
""".split()  # noqa: SIM905 - a list to read, not to edit
)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "signals").mkdir()
    return tmp_path


def write(folder: Path, text: str, name: str = "mine") -> Path:
    file = folder / "signals" / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_canonical_signal_ships_with_both_titles() -> None:
    signals = load_signals()
    assert not CANONICAL - {each.name for each in signals}
    assert all(each.title and each.title_zh and each.unit and each.metrics for each in signals)


def test_high_gpu_utilisation_alone_has_no_detector() -> None:
    assert not any(each.detect for each in load_signals() if each.name == "gpu_util")


def test_xids_are_events_of_our_counter_and_of_the_sticky_gauge() -> None:
    rules = {each.name: each.event for each in load_signals() if each.event}
    assert rules == {
        "gpu_xid": EventRule("xid", "xid", "increase"),
        "gpu_xid_last": EventRule("xid", "value", "change"),
    }


def test_every_file_that_ships_has_signals() -> None:
    files = {file.stem for file in shipped().glob("*.yaml")}
    assert files == {each.source for each in load_signals()}


def test_a_folder_of_ones_own_adds_signals(own: Path) -> None:
    write(own, GOOD)
    (mine,) = (each for each in load_signals([own]) if each.source == "mine")
    assert (mine.name, mine.scope, mine.worse) == ("my_latency", Kind.POD, Worse.UP)
    assert mine.metrics == ("my_latency_seconds", "my_old_latency_seconds")
    assert mine.title == "my latency"


def test_a_stanza_of_ones_own_replaces_the_shipped_one(own: Path) -> None:
    text = (shipped() / "node_exporter.yaml").read_text(encoding="utf-8")
    first = text.split("\n\n")[1].replace("hold: 5m", "hold: 9s")
    write(own, first, "node_exporter")
    busy = [each for each in load_signals([own]) if each.name == "node_cpu_busy"]
    assert len(busy) == 2
    assert {each.detect["threshold"]["hold"] for each in busy} == {"9s"}, "those like it as well"
    assert len(load_signals([own])) == len(load_signals())


def test_like_takes_all_but_the_query(own: Path) -> None:
    write(own, "- {name: kv_usage, query: my_kv, like: vllm, matters: 0.3}")
    signals = {each.source: each for each in load_signals([own]) if each.name == "kv_usage"}
    mine, theirs = signals["mine"], signals["vllm"]
    assert (mine.unit, mine.detect, mine.title_zh) == (theirs.unit, theirs.detect, theirs.title_zh)
    assert (mine.query, mine.metrics, mine.matters) == ("my_kv", ("my_kv",), 0.3)


@pytest.mark.parametrize("off", ["ttft_p95", "sglang", "vllm.kv_usage"])
def test_signals_are_disabled_by_name_source_or_both(off: str) -> None:
    left = {(each.source, each.name) for each in load_signals(disabled=[off])}
    all_ = {(each.source, each.name) for each in load_signals()}
    gone = all_ - left
    assert gone
    assert all(off in (source, name, f"{source}.{name}") for source, name in gone)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (GOOD.replace("scope", "skope"), "my_latency.skope", "did you mean 'scope'?"),
        (GOOD.replace("pod\n", "podd\n"), "my_latency.scope", "'podd'"),
        (GOOD.replace("  unit: s\n", ""), "my_latency.unit", "required and missing"),
        (GOOD.replace("- name", "- nam"), "[0].name", "required and missing"),
        (GOOD.replace("max by (", "max by (("), "my_latency.query", "expected PromQL"),
        (GOOD.replace(" or ", "[5m] or "), "my_latency.query", "expected PromQL"),
        ("- {name: a, query: 'x[5m]', unit: s, scope: pod, worse: up, matters: 1}", "a.query",
         "instant vector"),
        (GOOD + "  detect: {treshold: {above: 1}}", "my_latency.detect.treshold",
         "did you mean 'threshold'?"),
        (GOOD + "  detect: {threshold: {abov: 1}}", "my_latency.detect.threshold.abov",
         "did you mean 'above'?"),
        (GOOD + "  event: {kind: xid, attribute: xid, when: rise}", "my_latency.event.when",
         "'increase' or 'change'"),
        (GOOD + GOOD, "my_latency", "named twice"),
        ("- {name: kv_usage, query: x, like: vlm}", "kv_usage.like", "did you mean 'vllm'?"),
        ("- {name: kv_usage, query: x, like: vllm, unit: percent}", "kv_usage.unit",
         "expected 'ratio'"),
        ("name: x", "", "expected a list of signals"),
        ("- 7", "[0]", "expected a signal"),
        ("- [", "", "valid YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line_with_its_place(
    text: str, path: str, said: str, own: Path
) -> None:
    file = write(own, text)
    with pytest.raises(BadInput) as caught:
        load_signals([own])
    line = str(caught.value)
    assert line.startswith(str(file))
    assert "\n" not in line
    assert path in line
    assert said in line
