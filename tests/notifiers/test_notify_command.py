"""`healer notify`: whether a channel works is known before it is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from builders import diagnosis, incident
from standins import DingTalkRobot
from typer.testing import CliRunner

from healer.adapters.store import open_store
from healer.cli.notify import notify
from healer.errors import BadInput, Permanent


@pytest.fixture
def robot() -> DingTalkRobot:
    return DingTalkRobot(lambda: datetime.now(UTC))


def settings(folder: Path, url: str, secret: str = "SECtest") -> str:
    (folder / "url").write_text(url)
    (folder / "secret").write_text(secret)
    channel = {
        "notifier": "dingtalk",
        "url_file": str(folder / "url"),
        "secret_file": str(folder / "secret"),
        "options": {"keyword": "healer"},
    }
    content = {
        "store": {"url": f"sqlite:///{folder / 'healer.db'}"},
        "notify": {"channels": {"ops": channel}},
    }
    file = folder / "healer.yaml"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def test_a_channel_that_works_says_so(tmp_path: Path, robot: DingTalkRobot) -> None:
    with robot:
        config = settings(tmp_path, robot.url)
        done = CliRunner().invoke(notify, ["test", "ops", "--config", config])
    assert done.exit_code == 0, done.output
    assert done.stdout == "ops: delivered\n"
    assert "this channel works" in robot.taken[0]["markdown"]["text"]


def test_a_channel_that_does_not_work_says_why(tmp_path: Path, robot: DingTalkRobot) -> None:
    with robot:
        config = settings(tmp_path, robot.url, secret="another")
        done = CliRunner().invoke(notify, ["test", "ops", "--config", config])
    assert isinstance(done.exception, Permanent)
    assert str(done.exception) == "ops: broken 310000 sign not match"


def test_an_unknown_channel_names_the_known_ones(tmp_path: Path) -> None:
    config = settings(tmp_path, "https://x.example/hook")
    done = CliRunner().invoke(notify, ["test", "opps", "--config", config])
    assert isinstance(done.exception, BadInput)
    assert "ops" in str(done.exception)


def test_a_preview_shows_the_message_and_sends_nothing(
    tmp_path: Path, robot: DingTalkRobot
) -> None:
    with robot:
        config = settings(tmp_path, robot.url)
        store = open_store(f"sqlite:///{tmp_path / 'healer.db'}")
        store.put_incident(incident(diagnosis=diagnosis()))
        store.close()
        done = CliRunner().invoke(notify, ["preview", "inc-1", "--config", config])
        missing = CliRunner().invoke(notify, ["preview", "nope", "--config", config])
    assert done.exit_code == 0, done.output
    assert "The engine hangs" in done.stdout
    assert done.stdout.startswith("--- ops, ")
    assert robot.attempts == []
    assert isinstance(missing.exception, BadInput)
