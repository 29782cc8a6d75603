"""Plugins are found by name; a wrong name or option is answered with what was meant."""

from __future__ import annotations

from datetime import timedelta

import pytest

from healer.errors import BadInput
from healer.plugins import find, make, names
from healer.ports import Detector, JointDetector, Remediation


def test_every_detector_is_a_module_with_one_class() -> None:
    for name in names("detectors"):
        if name != "replay":
            assert issubclass(find(("detectors",), name, (Detector, JointDetector)), object)


def test_every_remediation_is_found_and_built_from_nothing() -> None:
    for name in names("remediations"):
        made = make(("remediations",), name, {}, Remediation)  # type: ignore[type-abstract]
        assert made.__class__.__module__ == f"remediations.{name}"


def test_options_take_durations_as_people_write_them() -> None:
    made = make(("detectors",), "threshold", {"above": 1.0, "hold": "2m30s"}, Detector)  # type: ignore[type-abstract]
    assert getattr(made, "hold") == timedelta(seconds=150)  # noqa: B009


def test_a_misspelt_plugin_is_suggested() -> None:
    with pytest.raises(BadInput, match="did you mean 'threshold'"):
        find(("detectors",), "treshold", Detector)


def test_a_misspelt_option_is_suggested() -> None:
    with pytest.raises(BadInput, match="did you mean 'hold'"):
        make(("detectors",), "threshold", {"above": 1, "holdd": "2m"}, Detector)  # type: ignore[type-abstract]
