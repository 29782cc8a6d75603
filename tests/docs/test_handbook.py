"""The handbook: it builds strictly, and what it tells people to type or write is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import charts
import pytest
import servers
import typer
import yaml

from healer.cli.main import app
from healer.errors import BadInput
from healer.settings import Settings
from healer.values import build

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(DOCS / f"{name}.md" for name in (
        "architecture", "arming", "comparison", "getting-started", "runbooks", "security",
        "settings", "sizing", "one-machine", "writing-a-detector", "writing-a-notifier",
        "writing-a-remediation", "writing-a-rule", "writing-a-signal", "writing-an-accelerator",
    )),
    *sorted((DOCS / "zh").glob("*.md")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")),
]  # fmt: skip
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
SPAN = re.compile(r"`((?:healer|python|make|helm|kubectl) [^`\n]+)`")
FILE = re.compile(
    r"`((?:healer|helm|docs|tests|tools|detectors|remediations|rules|exporters|compose|bench)"
    r"/[A-Za-z0-9_./-]+)`"
)
CHART_KEYS = set(yaml.safe_load((charts.CHART / "values.yaml").read_text()))


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(page: Path) -> Iterator[str]:
    """Every line in a shell block and every command in running text."""
    text = page.read_text("utf-8")
    for language, block in BLOCK.findall(text):
        if language == "sh":
            yield from (line for line in block.splitlines() if line and not line.startswith("#"))
    yield from SPAN.findall(BLOCK.sub("", text))


def healer_part(line: str) -> list[str]:
    """The arguments of our own program in a command line, also inside `kubectl exec`."""
    words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
    words = [w for w in words if not w.startswith("PYTHONPATH=")]
    if "--" in words:
        words = words[words.index("--") + 1 :]
    return words[1:] if words and words[0] == "healer" else []


def complaint(arguments: list[str]) -> str:
    """What our command line would say to these words, without running anything."""
    command = typer.main.get_command(app)
    context = command.make_context("healer", [], resilient_parsing=True)
    words = [w for w in arguments if w != "…"]
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            return ""
        found = command.get_command(context, words.pop(0))
        if found is None:
            return f"no such command: {' '.join(arguments)}"
        command = found
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    unknown = [w for w in words if re.match(r"--?[a-z]", w) and w.split("=")[0] not in known]
    return f"no such option: {unknown}" if unknown else ""


def test_the_handbook_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir",
         str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "zh" / "runbooks" / "index.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_healer_command_exists_with_its_options(page: Path) -> None:
    for line in commands(page):
        if healer_part(line):
            assert complaint(healer_part(line)) == "", line


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert complaint(["audit", "verfiy"])
    assert complaint(["check", "--confg", "x"])
    assert complaint(["audit", "verify", "-c", "x"]) == ""
    assert healer_part("kubectl -n h exec deploy/x -- healer check -c f") == ["check", "-c", "f"]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    made = set(re.findall(r"^`([^`\n]+)`:$", text, flags=re.M))  # by the reader, as it goes on
    assert [n for n in FILE.findall(text) if n not in made and not (ROOT / n).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_make_targets_and_scripts_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in commands(page):
        words = line.split()
        if words[0] == "make":
            assert re.search(rf"^{re.escape(words[1])}:", makefile, re.M), line
        if words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).exists(), line


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_yaml_block_loads_as_what_it_is(page: Path, tmp_path: Path) -> None:
    for language, block in BLOCK.findall(page.read_text("utf-8")):
        if language != "yaml":
            continue
        found = yaml.safe_load(block)
        if not isinstance(found, dict) or "tests" in found or isinstance(found.get("rules"), list):
            continue  # signals, rules and their tests are run by the walkthroughs
        if "apiVersion" in found:
            assert {"kind", "metadata", "spec"} <= set(found), block
            continue
        if "route" in found or "receivers" in found:
            continue  # Alertmanager's own: see below
        if _is_settings(found):
            build(Settings, found)
        else:
            servers.need("helm")
            assert set(found) <= CHART_KEYS, block
            charts.template(found)


@pytest.mark.parametrize("page", ["getting-started", "zh/getting-started", "api"])
def test_alertmanager_takes_what_it_is_given(page: str, tmp_path: Path) -> None:
    servers.need("amtool")
    blocks = [yaml.safe_load(b) for _, b in BLOCK.findall((DOCS / f"{page}.md").read_text("utf-8"))
              if b.startswith(("route:", "receivers:"))]  # fmt: skip
    (given,) = blocks
    given["route"]["receiver"] = "others"
    given["receivers"].append({"name": "others"})
    (tmp_path / "alertmanager.yaml").write_text(yaml.safe_dump(given))
    done = subprocess.run(
        [str(servers.binary("amtool")), "check-config", str(tmp_path / "alertmanager.yaml")],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def _is_settings(found: dict[str, object]) -> bool:
    try:
        build(Settings, found)
    except BadInput:
        return False
    return True


def test_pages_in_two_languages_have_one_shape() -> None:
    """The Chinese chat page is an excerpt and says so."""
    for name in sorted(page.stem for page in (DOCS / "zh").glob("*.md")):
        shapes = [
            re.findall(
                r"^#+|^```\w*|^\| |^\d\. ", (DOCS / folder / f"{name}.md").read_text("utf-8"), re.M
            )
            for folder in ("", "zh")
        ]
        assert shapes[0] == shapes[1], name
        blocks = [
            [
                b
                for language, b in BLOCK.findall((DOCS / f / f"{name}.md").read_text("utf-8"))
                if language == "sh"
            ]
            for f in ("", "zh")
        ]
        assert blocks[0] == blocks[1], name
        said = [
            set(
                re.findall(
                    r"`([a-z_]+(?:\.[a-z_]+)*)`", (DOCS / f / f"{name}.md").read_text("utf-8")
                )
            )
            for f in ("", "zh")
        ]
        assert said[0] - said[1] == set(), f"{name}: not named in Chinese"
