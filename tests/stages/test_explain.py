"""Whatever was diagnosed, it is explained on one screen, and the runner-up knows why it lost."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import builders
import pytest
from typer.testing import CliRunner

from healer.adapters.rule_tests import load_tests
from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.adapters.store import open_store
from healer.cli.main import app
from healer.model.hypothesis import Diagnosis, Side, Term
from healer.stages.explain import COLUMNS, LINES, screen
from healer.stages.rehearse import rehearse

RULES = Path(__file__).parents[1] / "rules"


@cache
def known():
    return load_rules(), {s.name: s for s in load_signals()}


def told(diagnosis: Diagnosis) -> str:
    lines = screen(diagnosis)
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    assert all(line.isprintable() for line in lines)
    return "\n".join(lines)


@pytest.mark.parametrize("file", sorted(RULES.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_case_of_the_rules_fits_and_names_why_the_runner_up_lost(file):
    given = load_tests(file)
    diagnoses = [
        d for test in given.tests for d in rehearse(test, *known(), given.interval).diagnoses
    ]
    assert diagnoses
    for diagnosis in diagnoses:
        text = told(diagnosis)
        leader, *rivals = diagnosis.hypotheses
        assert text.startswith(f"{leader.cause} on {leader.target}")
        assert f"runner-up: {rivals[0].cause}" in text
        assert rivals[0].why_not[:40] in text
        if diagnosis.abstained:
            assert f"abstains: {diagnosis.abstained[:60]}" in text


def crowded(terms: int, rivals: int) -> Diagnosis:
    long = "value(some_signal_with_a_very_long_name) > 0.123 on pods all and " * 12
    sides = (Side.FOR, Side.AGAINST, Side.MISSING)
    found = tuple(
        Term(long, sides[i % 3], 3.0 - i / 10, f"第{i}项\n{long}", f"family_{i}" * 4, i == 0)
        for i in range(terms)
    )
    leader = builders.hypothesis("a" * 60, terms=found)
    others = [builders.hypothesis(f"rival_{i}" * 8, why_not=long) for i in range(rivals)]
    return builders.diagnosis(leader, *others, abstained=long, would_decide=long)


@pytest.mark.parametrize(("terms", "rivals"), [(0, 0), (1, 1), (20, 7), (90, 30)])
def test_the_most_crowded_diagnosis_fits_as_well(terms, rivals):
    text = told(crowded(terms, rivals))
    assert ("smaller terms" in text) == (terms == 90)
    assert ("… and 23 more" in text) == (rivals == 30)


def test_nothing_at_all_is_said_so():
    assert screen(Diagnosis("inc-1", builders.NOW, ())) == ("no hypothesis: no rule applies",)


def test_a_stored_incident_is_explained_by_its_id(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'healer.db'}"
    monkeypatch.setenv("HEALER__STORE__URL", url)
    store = open_store(url)
    store.put_incident(dataclasses.replace(builders.incident(), diagnosis=crowded(90, 30)))
    store.close()
    shown = CliRunner().invoke(app, ["rules", "explain", "inc-1"])

    assert shown.exit_code == 0, shown.output
    assert len(shown.output.splitlines()) <= LINES
    assert "runner-up: rival_0" in shown.output
