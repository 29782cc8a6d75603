"""Hung, busy or idle: tokens, held requests and GPU physics together."""

from datetime import timedelta

import numpy as np
import pytest
from builders import NOW, at, signal

from detectors.stall import Stall
from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

POD = Target(Kind.POD, "llama-8b-7c9d4b6f5-x2k8p", "serving", "uid-1")
OTHER = Target(Kind.POD, "llama-8b-7c9d4b6f5-9qwrt", "serving", "uid-2")
GPU, GPU_2 = Target(Kind.GPU, "GPU-1"), Target(Kind.GPU, "GPU-2")
WORKLOAD = Target(Kind.WORKLOAD, "deployment/llama-8b", "serving")
STEPS = 120
TIMES = NOW.timestamp() - 15.0 * np.arange(STEPS - 1, -1, -1)


def series(before, after, frozen_steps):
    """`before` until the tokens stop, `after` for the newest `frozen_steps`."""
    row = np.full(STEPS, float(before))
    if frozen_steps:
        row[-frozen_steps:] = after
    return row


def one_frame(name, rows, query="rate(x[1m])", labels=()):
    kind = Kind.GPU if name.startswith("gpu") else Kind.POD
    values = np.asarray(list(rows.values()), dtype=np.float32)
    made = signal(name, scope=kind, query=query, unit="tokens/s")
    return Frame(made, TIMES, values, tuple(rows), labels)


def topology(age=timedelta(hours=5), **facts):
    gpus = {g: Entity(g, facts={"model": "H100"}) for g in (GPU, GPU_2)}
    pods = {p: Entity(p, created_at=NOW - age, facts=facts) for p in (POD, OTHER)}
    edges = {(POD, GPU), (OTHER, GPU_2), (POD, WORKLOAD), (OTHER, WORKLOAD)}
    return Topology({**gpus, **pods}, frozenset(edges))


def snapshot(frozen=6, *, world=None, drop=(), **rows):
    """An engine at work that stops for the newest `frozen` samples; `rows` replace signals."""
    given = {
        "generation_tokens": {POD: series(900, 0, frozen), OTHER: series(900, 900, 0)},
        "prompt_tokens": {POD: series(4000, 0, frozen)},
        "requests_running": {POD: series(12, 12, frozen)},
        "requests_waiting": {POD: series(0, 3, frozen)},
        "gpu_util": {GPU: series(95, 100, frozen), GPU_2: series(95, 95, 0)},
        "gpu_power": {GPU: series(560, 130, frozen), GPU_2: series(560, 560, 0)},
        "gpu_tensor_active": {GPU: series(0.3, 0.0, frozen), GPU_2: series(0.3, 0.3, 0)},
        "gpu_dram_active": {GPU: series(0.6, 0.01, frozen), GPU_2: series(0.6, 0.6, 0)},
    } | rows
    frames = {n: one_frame(n, r) for n, r in given.items() if n not in drop}
    return Snapshot(NOW, frames, topology=world or topology())


NO_GPU = ("gpu_util", "gpu_power", "gpu_tensor_active", "gpu_dram_active")


def found(snap, **options):
    return list(Stall(**options).detect(snap, None))


def test_a_hang_is_found_with_its_physics_and_may_act():
    [one] = found(snapshot(6))
    assert one.target == POD
    assert (one.signal, one.detector, one.level) == ("generation_tokens", "stall", Level.ACT)
    assert "130 W" in one.summary
    assert "tensor cores active 0%" in one.summary
    assert one.expected_low == pytest.approx(900)


def test_a_hang_is_found_within_two_minutes_of_the_last_token():
    """The rate over one minute falls to zero a minute late; three zeros make 105 s at most."""
    assert not found(snapshot(1))
    [one] = found(snapshot(4))
    assert (NOW - one.since).total_seconds() <= 105


def test_a_hang_whose_running_count_reads_zero_is_found_by_what_waits():
    assert found(snapshot(8, requests_running={POD: series(12, 0, 8)}))
    assert not found(
        snapshot(8, requests_running={POD: series(12, 0, 8)}, drop=("requests_waiting",))
    )


def test_a_stuck_gpu_at_zero_utilisation_is_found_too():
    assert found(snapshot(8, gpu_util={GPU: series(95, 0, 8)}))


def test_a_saturated_engine_is_never_called_hung():
    assert not found(snapshot(0, requests_waiting={POD: series(500, 500, 0)}))


def test_a_long_prompt_is_not_called_hung():
    """No tokens for five minutes, but the GPU burns power and its tensor cores are busy."""
    busy = {
        "gpu_power": {GPU: series(560, 650, 20)},
        "gpu_tensor_active": {GPU: series(0.3, 0.7, 20)},
    }
    assert not found(snapshot(20, **busy))
    assert not found(snapshot(20, prompt_tokens={POD: series(4000, 4000, 20)}))


def test_profiling_fields_frozen_at_zero_do_not_make_a_hang_of_a_busy_gpu():
    assert not found(snapshot(20, gpu_power={GPU: series(560, 540, 20)}))


def test_an_idle_night_is_not_called_hung():
    nothing = {
        "requests_running": {POD: series(0, 0, 60)},
        "requests_waiting": {POD: series(0, 0, 60)},
    }
    assert not found(snapshot(60, **nothing))


def test_the_first_request_after_an_idle_night_has_its_time():
    """Zero tokens for an hour; the request is there since half a minute."""
    assert not found(
        snapshot(
            STEPS,
            requests_running={POD: series(0, 1, 2)},
            requests_waiting={POD: series(0, 0, 2)},
        )
    )


def test_a_long_first_prompt_after_an_idle_time_has_its_time():
    """Tokens an hour ago, then idle, then one request for a minute: the rate owes nothing."""
    row = series(0, 0, 4)
    row[:20] = 900
    waited = series(0, 1, 4)
    calm = {"requests_waiting": {POD: series(0, 0, 4)}, "prompt_tokens": {POD: row}}
    tokens = {"generation_tokens": {POD: row, OTHER: series(900, 900, 0)}}
    idle = {
        "gpu_power": {GPU: series(560, 130, 100)},
        "gpu_tensor_active": {GPU: series(0.3, 0, 100)},
    }
    assert not found(snapshot(4, requests_running={POD: waited}, **calm, **tokens, **idle))


def test_the_echo_of_arrivals_when_traffic_ends_is_not_called_hung():
    """Nothing runs or waits any more; the arrival rate of two minutes still reads above zero."""
    nothing = {
        "requests_running": {POD: series(12, 0, 8)},
        "requests_waiting": {POD: series(0, 0, 8)},
        "arrival_rate": {POD: series(3, 0.5, 8)},
    }
    assert not found(snapshot(8, **nothing))


def test_arrivals_that_go_on_are_held_requests_even_when_the_counts_read_zero():
    nothing = {
        "requests_running": {POD: series(12, 0, 20)},
        "requests_waiting": {POD: series(0, 0, 20)},
        "arrival_rate": {POD: series(3, 3, 20)},
    }
    assert found(snapshot(20, **nothing))


def test_a_model_that_loads_is_not_called_hung():
    young = topology(age=timedelta(minutes=6))
    never = {"generation_tokens": {POD: series(0, 0, 30), OTHER: series(900, 900, 0)}}
    assert not found(snapshot(30, world=young, **never))
    assert found(snapshot(30, **never))


def test_a_pod_that_drains_is_not_called_hung():
    assert not found(snapshot(20, world=topology(terminating=True)))


def test_missing_data_is_never_a_hang():
    gone = series(900, np.nan, 10)
    assert not found(snapshot(10, generation_tokens={POD: gone}))
    assert not found(snapshot(10, requests_running={POD: gone}, requests_waiting={POD: gone}))
    snap = snapshot(10)
    blind = Snapshot(NOW, snap.frames, topology=snap.topology, metrics_ok=False)
    assert not found(blind)
    assert not found(Snapshot(NOW))


def test_a_missed_scrape_does_not_hide_a_hang():
    row = series(900, 0, 10)
    row[-5] = np.nan
    assert found(snapshot(10, generation_tokens={POD: row}))


def test_without_gpu_telemetry_it_takes_longer_and_only_pages():
    alone = {"generation_tokens": {POD: series(900, 0, 10)}}
    assert not found(snapshot(10, drop=NO_GPU, **alone))
    [one] = found(snapshot(20, drop=NO_GPU, generation_tokens={POD: series(900, 0, 20)}))
    assert one.level is Level.PAGE
    assert "GPU telemetry absent" in one.summary


def test_siblings_that_serve_are_a_second_witness():
    [one] = found(snapshot(20, drop=NO_GPU))
    assert one.level is Level.ACT
    assert "1 sibling still serving" in one.summary


def test_gpus_are_found_by_the_exporters_labels_without_a_topology():
    snap = snapshot(8)
    labels = ({"exported_namespace": "serving", "exported_pod": POD.name}, {})
    frames = {
        n: Frame(f.signal, f.times, f.values, f.targets, labels if n.startswith("gpu") else ())
        for n, f in snap.frames.items()
    }
    [one] = found(Snapshot(NOW, frames))
    assert one.level is Level.ACT


def test_an_engine_that_came_back_is_not_found():
    row = series(900, 0, 30)
    row[-2:] = 700
    assert not found(snapshot(30, generation_tokens={POD: row}))
    assert at(0) == NOW


def day_of_saturation(seed):
    """24 h at 15 s of an engine at its limit, with all that is ugly about it: (rows, times)."""
    rng = np.random.default_rng(seed)
    count = 24 * 240
    times = NOW.timestamp() + 15.0 * np.arange(count)
    tokens = rng.gamma(20, 45, count)
    for begin in rng.integers(0, count - 40, 60):
        # Nothing but prefill: long prompts came together, up to eight minutes of them.
        tokens[begin : begin + rng.integers(1, 32)] = 0
    power = 640 + 25 * rng.normal(size=count)
    tensor = np.clip(0.35 + 0.1 * rng.normal(size=count), 0.08, 1)
    # Profiling fields that freeze at zero for an hour, as they do after some Xids.
    frozen = rng.integers(0, count - 240)
    tensor[frozen : frozen + 240] = 0
    rows = {
        "generation_tokens": tokens,
        "requests_running": np.full(count, 64.0),
        "requests_waiting": rng.integers(50, 500, count).astype(float),
        "arrival_rate": rng.gamma(9, 1, count),
        "gpu_util": np.full(count, 100.0),
        "gpu_power": power,
        "gpu_tensor_active": tensor,
        "gpu_dram_active": np.where(tensor == 0, 0, 0.7),
    }
    for row in rows.values():
        gaps = rng.integers(0, count - 8, 40)
        row[(gaps[:, None] + np.arange(3)).ravel()] = np.nan
    return rows, times


@pytest.mark.parametrize("seed", range(3))
def test_a_day_of_saturation_gives_not_one_finding(seed):
    """Looked at every half minute; `bench/stall.py` does so every 15 s in the lab."""
    rows, times = day_of_saturation(seed)
    detector = Stall()
    for end in range(STEPS, len(times), 2):
        window = slice(end - STEPS, end)
        frames = {}
        for name, row in rows.items():
            target = GPU if name.startswith("gpu") else POD
            made = signal(name, scope=target.kind, query="rate(x[1m])", unit="tokens/s")
            values = row[window][None].astype(np.float32)
            frames[name] = Frame(made, times[window], values, (target,))
        now = NOW + timedelta(seconds=15.0 * (end - 1))
        found_now = list(detector.detect(Snapshot(now, frames, topology=topology()), None))
        assert not found_now, found_now[0].summary


def test_a_hang_in_the_midst_of_saturation_is_found_within_two_minutes():
    rows, times = day_of_saturation(9)
    end = 3000
    window = slice(end - STEPS, end)
    frozen = {"gpu_power": 140.0, "gpu_tensor_active": 0.0, "gpu_dram_active": 0.01}
    frames = {}
    for name, row in rows.items():
        target = GPU if name.startswith("gpu") else POD
        made = signal(name, scope=target.kind, query="rate(x[1m])", unit="tokens/s")
        values = np.nan_to_num(row[window], nan=600.0)[None].astype(np.float32)
        if name == "generation_tokens":
            values[0, :-3] = np.maximum(values[0, :-3], 400)
            values[0, -3:] = 0  # the rate falls to zero a minute after the last token
        elif name in frozen:
            values[0, -7:] = frozen[name]
        frames[name] = Frame(made, times[window], values, (target,))
    now = NOW + timedelta(seconds=15.0 * (end - 1))
    [one] = Stall().detect(Snapshot(now, frames, topology=topology()), None)
    assert (now - one.since).total_seconds() <= 120
