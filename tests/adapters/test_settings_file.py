"""Settings come from a file and the environment, and every mistake is one clear line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from healer.adapters.settings_file import load_settings, read_secret
from healer.errors import BadInput
from healer.settings import Mode, Settings


def write(folder: Path, text: str) -> Path:
    file = folder / "healer.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_defaults_observe_and_arm_nothing() -> None:
    settings = load_settings(None, {})
    assert settings == Settings()
    assert settings.remediation.mode is Mode.OBSERVE
    assert settings.remediation.arm == {}


def test_the_environment_lies_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "loop: {interval: 30s, step: 10s}\n")
    settings = load_settings(file, {"HEALER__LOOP__INTERVAL": "1m30s", "HOME": "/root"})
    assert settings.loop.interval == timedelta(seconds=90)
    assert settings.loop.step == timedelta(seconds=10)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, ""), {}) == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loop: {intervall: 30s}", "loop.intervall: unknown key; did you mean 'interval'?"),
        ("loop: {interval: soon}", "loop.interval: 'soon': expected a duration such as 30s"),
        ("remediation: {mode: heal}", "remediation.mode: 'heal': expected 'observe' or 'enforce'"),
        ("remediation: {max_concurrent: many}", "remediation.max_concurrent: 'many': expected a"),
        ("notify: {channels: {ops: {}}}", "notify.channels.ops.notifier: required and missing"),
        ("- a list", "expected a mapping at the top"),
        ("loop: [", "2: expected the node content"),
    ],
)
def test_a_mistake_names_file_path_value_and_what_was_expected(
    tmp_path: Path, text: str, said: str
) -> None:
    file = write(tmp_path, text + "\n")
    with pytest.raises(BadInput) as caught:
        load_settings(file, {})
    message = str(caught.value)
    assert str(file) in message
    assert said.split("expected the node", maxsplit=1)[0].strip() in message
    assert "\n" not in message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere"):
        load_settings(tmp_path / "nowhere.yaml", {})


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "healer.yaml"
    file.write_bytes(b"loop: \xff\xfe")
    with pytest.raises(BadInput, match="UTF-8"):
        load_settings(file, {})


def test_a_variable_below_a_plain_value_is_refused() -> None:
    with pytest.raises(BadInput, match="log_level is no section"):
        load_settings(None, {"HEALER__LOG_LEVEL": "info", "HEALER__LOG_LEVEL__DEEP": "1"})


def test_a_secret_is_read_without_its_newline(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret\n", encoding="utf-8")
    assert read_secret(file) == "s3cret"
    with pytest.raises(BadInput, match="readable file with the secret"):
        read_secret(tmp_path / "gone")
