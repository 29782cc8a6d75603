"""The stage: detectors run side by side, and one that raises stops nobody else."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pytest
from builders import NOW, frame, signal

from healer.adapters.fitter import Fitter
from healer.errors import BadInput
from healer.model.snapshot import Snapshot
from healer.model.topology import Topology
from healer.ports import Baseline, Detector
from healer.settings import DetectorSettings
from healer.stages.detect import Detectors, check_names, detect, due, fit

HOT = signal("gpu_temp", detect={"threshold": {"above": 85, "hold": "1m"}}, unit="celsius")
SLOW = signal("ttft_p95", detect={"seasonal": {"page_per_day": 0.05}, "threshold": {"above": 9}})


@dataclass(frozen=True, slots=True)
class Broken(Detector):
    def detect(self, frame, baseline):
        raise RuntimeError("no such column")


def snapshot(temps=60.0):
    return Snapshot(
        NOW,
        {
            "gpu_temp": frame(np.full((2, 60), temps), name="gpu_temp"),
            "ttft_p95": frame(np.full((2, 60), 0.4), name="ttft_p95"),
        },
    )


def made(**changes):
    return Detectors.from_settings([HOT, SLOW, signal("kv_usage")], DetectorSettings(**changes))


def test_each_signal_gets_its_detectors_with_its_options():
    detectors = made(options={"threshold": {"hold": "10m", "level": "warn"}})
    [(name, threshold)] = detectors.by_signal["gpu_temp"]
    assert name == "threshold"
    assert (threshold.above, threshold.hold, threshold.level) == (85, timedelta(minutes=1), "warn")
    seasonal = dict(detectors.by_signal["ttft_p95"])["seasonal"]
    assert seasonal.page_per_day == 0.05
    assert "kv_usage" not in detectors.by_signal
    joint = {"isolation_forest", "stall", "absence", "peers", "burn_rate"}
    assert {name for name, _ in detectors.joint} == joint


def test_disabled_detectors_do_not_run():
    detectors = made(disabled=("seasonal", "stall", "absence", "peers", "burn_rate"))
    assert {name for name, _, _ in detectors.each()} == {"threshold", "isolation_forest"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"joint": {"stal": {}}}, "did you mean 'stall'"),
        ({"joint": {"stall": {"frozn": "1m"}}}, "detectors.joint.stall.frozn"),
        ({"options": {"seasonal": {"page_per_day": "few"}}}, None),
        ({"options": {"seasonal": {"holding": "1m"}}}, "signals.ttft_p95.detect.seasonal.holding"),
    ],
)
def test_bad_settings_are_refused_with_their_path(settings, said):
    if said is None:
        assert made(**settings)  # the signal's own option lies above
        return
    with pytest.raises(BadInput, match=said.replace(".", r"\.")):
        made(**settings)


def test_names_of_detectors_nobody_has_are_refused():
    check_names(DetectorSettings(disabled=("stall",)))
    with pytest.raises(BadInput, match="did you mean 'seasonal'"):
        check_names(DetectorSettings(disabled=("seasonel",)))


def test_findings_come_with_what_still_learns():
    findings, problems, learning = detect(snapshot(95.0), made(), {})
    assert [f.signal for f in findings] == ["gpu_temp", "gpu_temp"]
    assert not problems
    assert learning == ("seasonal of ttft_p95", "isolation_forest", "absence")


def test_one_detector_that_raises_is_a_problem_and_the_rest_goes_on():
    detectors = Detectors({"gpu_temp": (("broken", Broken()), *made().by_signal["gpu_temp"])})
    findings, problems, _ = detect(snapshot(95.0), detectors, {})
    assert len(findings) == 2
    [problem] = problems
    assert problem.where == "detector.broken"
    assert problem.what == "gpu_temp: RuntimeError: no such column"


def test_a_baseline_of_another_version_is_relearned_not_misread():
    stale = Baseline("seasonal", "ttft_p95", 999, NOW)
    baselines = {("seasonal", "ttft_p95"): stale}
    _, problems, learning = detect(snapshot(), made(), baselines)
    assert not problems
    assert "seasonal of ttft_p95" in learning
    assert any(job.name == "seasonal" for job in due(made(), baselines, NOW, ("ttft_p95",)))


def test_what_is_due_comes_oldest_first_and_only_where_there_is_data():
    detectors = made()
    version = dict(detectors.by_signal["ttft_p95"])["seasonal"].version
    known = Baseline("seasonal", "ttft_p95", version, NOW - timedelta(hours=7))
    jobs = due(detectors, {("seasonal", "ttft_p95"): known}, NOW, ("ttft_p95", "kv_usage"))
    assert [job.name for job in jobs] == ["isolation_forest", "seasonal"]
    assert jobs[0].wants == ("ttft_p95", "kv_usage")
    fresh = Baseline("seasonal", "ttft_p95", version, NOW - timedelta(hours=1))
    assert not due(detectors, {("seasonal", "ttft_p95"): fresh}, NOW, ("node_load",))


def history():
    rng = np.random.default_rng(0)
    return {"ttft_p95": frame(rng.normal(1, 0.1, (3, 900)), name="ttft_p95", step_s=300.0)}


def seasonal_job():
    return next(j for j in due(made(), {}, NOW, ("ttft_p95",)) if j.name == "seasonal")


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_fits_run_off_the_tick_and_answer_with_baselines(backend):
    job = seasonal_job()
    direct = fit(job, history(), Topology())
    settings = DetectorSettings(backend=backend)
    tasks = [(job.name, job.signal, job.detector, history())]
    [learned], problems = Fitter(settings).fit(tasks, Topology(), NOW)
    assert not problems
    assert (learned.detector, learned.signal) == ("seasonal", "ttft_p95")
    assert all(np.array_equal(learned.arrays[k], direct.arrays[k]) for k in direct.arrays)


def test_a_fit_that_fails_costs_only_itself():
    @dataclass(frozen=True, slots=True)
    class Unfit(Broken):
        def fit(self, frame):
            raise ValueError("singular")

    job = seasonal_job()
    tasks = [
        ("unfit", "ttft_p95", Unfit(), history()),
        (job.name, job.signal, job.detector, history()),
        (job.name, "kv_usage", job.detector, {}),
    ]
    learned, problems = Fitter(DetectorSettings(backend="threading")).fit(tasks, Topology(), NOW)
    assert len(learned) == 1
    assert [(p.where, p.what) for p in problems] == [
        ("detector.unfit", "fit of ttft_p95: ValueError: singular")
    ]


def test_a_backend_that_is_not_there_is_reported():
    tasks = [("seasonal", "ttft_p95", seasonal_job().detector, history())]
    settings = DetectorSettings(backend="ray")
    learned, problems = Fitter(settings).fit(tasks, Topology(), NOW)
    assert not learned
    assert "needs the package 'ray'" in problems[0].what
