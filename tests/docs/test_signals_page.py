"""The page on signals shows what ships, and its examples load."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from healer.adapters.signal_catalogue import load_signals
from healer.cli.signals import as_matrix
from healer.plugins import names
from healer.settings import Settings
from healer.stages.detect import Detectors
from healer.values import build

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "signals.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_table_is_what_the_command_writes() -> None:
    _, _, table = PAGE.partition("Written by `healer signals list --matrix`.\n\n")
    assert table == as_matrix(load_signals()), "run healer signals list --matrix and paste it"


def test_the_stanza_of_the_page_is_the_one_that_ships() -> None:
    [stanza] = yaml.safe_load(BLOCKS[0])
    (shipped,) = (s for s in load_signals() if (s.source, s.name) == ("vllm", stanza["name"]))
    assert " ".join(stanza["query"].split()) == shipped.query
    assert stanza["detect"] == shipped.detect
    assert (stanza["unit"], stanza["matters"]) == (shipped.unit, shipped.matters)


def test_the_settings_of_the_page_build_their_detectors() -> None:
    settings = build(Settings, yaml.safe_load(BLOCKS[1]))
    made = Detectors.from_settings(load_signals(), settings.detectors)
    assert {name for name, _ in made.joint} == set(settings.detectors.joint)


def test_every_detector_for_signals_is_on_the_page() -> None:
    told_elsewhere = {"seasonal", "isolation_forest", "replay"}
    assert [n for n in names("detectors") if n not in told_elsewhere and f"`{n}`" not in PAGE] == []
