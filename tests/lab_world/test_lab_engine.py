"""The simulated engine and GPU obey their own physics, whatever is asked of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from healer.lab.engine import Engine, Request, Work
from healer.lab.gpu import Gpu
from healer.lab.scenario import EngineSpec, GpuSpec

SPEC = EngineSpec()


def step(engine: Engine, at: int, speed: float = 1.0, errors: float = 0.0) -> None:
    rng = np.random.default_rng(at)
    engine.step(float(at), 1.0, speed=speed, error_share=errors, patience_s=60.0, rng=rng)


def gpu() -> Gpu:
    return Gpu(GpuSpec(), "GPU-1", 0, "gpu-node-0", "00000000:18:00.0")


def warm(device: Gpu, work: Work | None, seconds: int = 900) -> Gpu:
    for _ in range(seconds // 5):
        device.step(5.0, work)
    return device


@given(
    st.lists(st.tuples(st.integers(0, 60), st.floats(8, 20_000), st.floats(1, 800)), max_size=120),
    st.floats(0.2, 1.0),
)
@settings(max_examples=40, deadline=None)
def test_no_request_is_lost_and_tokens_only_grow(
    arrivals: list[tuple[int, float, float]], speed: float
) -> None:
    engine, made = Engine(SPEC), 0.0
    for second in range(90):
        for at, prompt, output in arrivals:
            if at == second:
                engine.submit(Request(float(at), prompt, output))
        step(engine, second, speed)
        assert engine.arrived == engine.left + len(engine.waiting) + len(engine.running)
        assert engine.counters.generation_tokens >= made
        made = engine.counters.generation_tokens
        assert len(engine.running) <= SPEC.max_running
        assert 0.0 <= engine.work.prefill + engine.work.decode <= 1.0 + 1e-9


def test_a_full_cache_preempts_and_holds_what_it_can() -> None:
    engine = Engine(EngineSpec(kv_tokens=10_000))
    for second in range(30):
        engine.submit(Request(float(second), 2_000.0, 700.0))
        step(engine, second)
        assert engine.kv_used <= 1.0 + 700 / 10_000 or len(engine.running) == 1
    assert engine.counters.preemptions > 0
    assert engine.waiting


def test_more_in_the_batch_makes_each_token_slower() -> None:
    lone, crowd = Engine(SPEC), Engine(SPEC)
    lone.submit(Request(0.0, 100.0, 500.0))
    for _ in range(50):
        crowd.submit(Request(0.0, 100.0, 500.0))
    for second in range(4):
        step(lone, second)
        step(crowd, second)
    assert lone.running[0].done > 1.5 * crowd.running[0].done


def test_a_hung_engine_holds_its_requests_and_makes_nothing() -> None:
    engine = Engine(SPEC)
    engine.submit(Request(0.0, 100.0, 500.0))
    step(engine, 0)
    made, engine.hung = engine.counters.generation_tokens, True
    for second in range(1, 30):
        step(engine, second)
    assert engine.counters.generation_tokens == made
    assert engine.running
    assert engine.work.spinning == 1.0


def test_clients_that_wait_too_long_give_up_and_are_counted() -> None:
    engine = Engine(SPEC, hung=True)
    for _ in range(5):
        engine.submit(Request(0.0, 100.0, 100.0))
    step(engine, 61)
    assert engine.counters.finished["abort"] == 5
    assert not engine.waiting


def test_failing_requests_are_counted_as_errors() -> None:
    engine = Engine(SPEC)
    for second in range(40):
        engine.submit(Request(float(second), 50.0, 20.0))
        step(engine, second, errors=1.0)
    assert engine.counters.finished["error"] > 0
    assert engine.counters.finished["stop"] == 0


def test_a_busy_gpu_draws_power_and_a_hung_one_only_spins() -> None:
    busy = warm(gpu(), Work(prefill=0.2, decode=0.8, batch=0.6))
    hung = warm(gpu(), Work(batch=0.6, spinning=1.0))
    idle = warm(gpu(), Work())
    assert busy.util == hung.util == 100.0
    assert hung.power_w < 0.5 * busy.power_w
    assert hung.tensor == 0.0
    assert idle.util == 0.0
    assert idle.temp_c < hung.temp_c < busy.temp_c


def test_hot_air_lowers_the_clock_until_the_chip_stays_below_its_limit() -> None:
    device = gpu()
    device.ambient_c = 75.0
    warm(device, Work(prefill=0.2, decode=0.8, batch=0.6), 1800)
    assert device.clock < 0.9
    assert device.thermal_ns > 0
    assert device.temp_c < device.spec.slowdown_c + 3
    device.ambient_c = 30.0
    warm(device, Work(prefill=0.2, decode=0.8, batch=0.6), 1800)
    assert device.clock == 1.0


def test_a_power_brake_halves_the_speed_at_normal_temperature() -> None:
    device = gpu()
    device.brake = True
    warm(device, Work(decode=0.5, batch=0.2))
    assert device.speed == 0.5
    assert device.temp_c < 60
    assert device.brake_ns > 0
