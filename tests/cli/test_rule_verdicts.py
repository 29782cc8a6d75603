"""People's word on a diagnosis, and how a new rule earns its way out of the shadow."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import builders
import pytest
import structlog.testing
from typer.testing import CliRunner

from healer.adapters.rulebook import load_rules
from healer.adapters.store import SqlStore, open_store
from healer.cli.main import app
from healer.cli.run import _Wishes
from healer.errors import BadInput
from healer.model.opinion import has_earned
from healer.model.snapshot import Snapshot
from healer.model.topology import Entity, Topology
from healer.settings import Settings
from healer.stages.diagnose import diagnose

RULE = """rules:
- id: mine
  scope: pod
  prior: 0.4
  title: Mine
  reference: https://example.com
  evidence: [{if: "finding(ttft_p95)", for: 3, decisive: true, family: a}]
  explains: [ttft_p95]
  action: {propose: [restart_pod], min_confidence: 0.3}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine" / "causes").mkdir(parents=True)
    (tmp_path / "mine" / "causes" / "mine.yaml").write_text(RULE)
    return tmp_path / "mine"


@pytest.fixture
def store(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    url = f"sqlite:///{tmp_path / 'healer.db'}"
    monkeypatch.setenv("HEALER__STORE__URL", url)
    monkeypatch.setenv("HEALER__RULES__FOLDERS", f'["{folder}"]')
    opened = open_store(url)
    found = builders.diagnosis(builders.hypothesis("mine"))
    for number in range(6):
        opened.put_incident(
            dataclasses.replace(builders.incident(f"inc-{number}"), diagnosis=found)
        )
    yield opened
    opened.close()


def healer(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def proposed(folder: Path, store: SqlStore, **given: Any) -> tuple[str, ...]:
    rules = load_rules((folder,), **{"shadow_until": 3} | given)
    pod = builders.pod()
    frames = {"ttft_p95": builders.frame([[0.3] * 120], (pod,))}
    world = Snapshot(builders.NOW, frames, (), Topology({pod: Entity(pod)}))
    found = diagnose(builders.incident(), world, rules, verdict_counts=store.standings())
    return next(h.proposes for h in found.hypotheses if h.cause == "mine")


def test_a_new_rule_proposes_nothing_until_it_was_right_often_enough(
    folder: Path, store: SqlStore
) -> None:
    assert proposed(folder, store) == ()
    for number in range(3):
        assert proposed(folder, store) == ()
        done = healer("rules", "verdict", f"inc-{number}", "right", "--as", "ada")
        assert done.exit_code == 0, done.output
        assert done.stdout == f"mine: {number + 1} right, 0 wrong\n"
    assert proposed(folder, store) == ("restart_pod",)
    healer("rules", "verdict", "inc-4", "wrong", "--as", "ada", "--note", "it was the network")
    assert proposed(folder, store) == ()
    told = [entry for _, entry in store.audit() if entry.kind == "diagnosis.judged"]
    assert [(e.actor, e.message) for e in told[-1:]] == [
        ("ada", "mine was wrong: it was the network")
    ]
    assert len(told) == 4


def test_saying_the_same_of_one_incident_again_earns_nothing(folder: Path, store: SqlStore) -> None:
    for _ in range(5):
        healer("rules", "verdict", "inc-0", "right")
    assert store.standings() == {"mine": (1, 0)}
    assert proposed(folder, store) == ()


def test_a_rule_that_names_its_mode_has_it(folder: Path, store: SqlStore) -> None:
    file = folder / "causes" / "mine.yaml"
    file.write_text(RULE + "  mode: active\n")
    assert proposed(folder, store) == ("restart_pod",)
    file.write_text(RULE + "  mode: shadow\n")
    assert proposed(folder, store, shadow_until=0) == ()


def test_our_own_rules_are_never_on_probation() -> None:
    assert {rule.earns for rule in load_rules(shadow_until=9).rules} == {0}


@pytest.mark.parametrize(
    ("standing", "earned"),
    [((4, 0), False), ((5, 0), True), ((5, 1), True), ((5, 2), False), ((8, 2), True)],
)
def test_a_rule_has_earned_it_when_seldom_wrong(standing: tuple[int, int], earned: bool) -> None:
    assert has_earned(standing, 5) is earned


def test_the_list_shows_the_standing_of_every_rule(store: SqlStore) -> None:
    healer("rules", "verdict", "inc-0", "right")
    listed = healer("rules", "list", "-o", "json")
    assert listed.exit_code == 0, listed.output
    assert '"mode": "shadow until 5 right"' in listed.stdout
    assert '"right": 1' in listed.stdout


def test_a_verdict_on_nothing_is_refused(store: SqlStore) -> None:
    with pytest.raises(BadInput, match="id of a stored incident"):
        raise healer("rules", "verdict", "inc-99", "right").exception
    store.put_incident(builders.incident("inc-new"))
    with pytest.raises(BadInput, match="an incident with a diagnosis"):
        raise healer("rules", "verdict", "inc-new", "right").exception
    assert store.standings() == {}


def test_a_wrong_rule_file_is_refused_on_reload_and_the_last_good_set_stays(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "healer.yaml"
    file.write_text(f"rules: {{folders: ['{folder}']}}\n")
    wishes, good = _Wishes(file), Settings()
    wishes._again.set()
    assert wishes.changed(good) is not None
    rules = folder / "causes" / "mine.yaml"
    rules.write_text(RULE.replace("finding(ttft_p95)", "finding(ttft_p95"))
    wishes._again.set()
    with structlog.testing.capture_logs() as logs:
        assert wishes.changed(good) is None
    said = logs[-1]["error"]
    assert "the last good ones stay" in logs[-1]["event"]
    assert f"{rules}:7" in said
    assert "expected `)`" in said
