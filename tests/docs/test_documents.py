"""What the documents say is true: links resolve, commands exist, examples load."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from healer.cli.main import app
from healer.lab.faults import KINDS
from healer.lab.scenario import SHIPPED, load_scenario
from healer.settings import Settings
from healer.values import build

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [link for link in links if link and "://" not in link and not link.startswith("mailto")]
    assert [link for link in local if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda r: r.name)
def test_every_command_of_the_readme_exists(readme: Path) -> None:
    commands = set(re.findall(r"`(?:\.venv/bin/)?healer ([a-z][^`]*)`", readme.read_text("utf-8")))
    assert len(commands) > 10
    for command in sorted(commands):
        words = [w for w in shlex.split(command) if re.fullmatch(r"[a-z]+", w)]
        result = CliRunner().invoke(app, [*words, "--help"])
        assert result.exit_code == 0, command


@pytest.mark.parametrize("readme", READMES, ids=lambda r: r.name)
def test_the_settings_of_the_readme_load(readme: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", readme.read_text("utf-8"), flags=re.DOTALL)
    found = [yaml.safe_load(block) for block in blocks]
    plain = [each for each in found if "prometheus" in each]
    values = [each["settings"] for each in found if "settings" in each]
    assert len(plain) == len(values) == 1
    for settings in (*plain, *values):
        assert build(Settings, settings)


def test_both_readmes_have_the_same_shape() -> None:
    shapes = [re.findall(r"^#+|^```\w*|^\| ", r.read_text("utf-8"), flags=re.M) for r in READMES]
    assert shapes[0] == shapes[1]


def test_every_fault_is_documented_and_every_shipped_scenario_loads() -> None:
    text = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []
    for file in SHIPPED.glob("*.yaml"):
        assert load_scenario(file).description
