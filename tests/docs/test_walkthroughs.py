"""The handbook's walkthroughs, done exactly as they are printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from healer.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
FILE = re.compile(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", re.M | re.S)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)


def written(page: str, folder: Path) -> list[str]:
    for name, text in FILE.findall(page):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return [line for block in COMMANDS.findall(page) for line in block.splitlines() if line]


@pytest.mark.parametrize(
    ("name", "files", "commands", "says"),
    [
        ("writing-a-rule", 3, 4, "vector_store_slow on pod:serving/rag-a-1"),
        ("writing-a-detector", 5, 2, "3 passed"),
        ("writing-an-accelerator", 3, 1, "2 passed"),
    ],
)
def test_a_newcomer_gets_through_it(
    name: str, files: int, commands: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text()
    lines = written(page, tmp_path)
    assert len(list(FILE.findall(page))) == files
    assert len(lines) == commands
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    told = ""
    for line in lines:
        code, output = run(line)
        assert code == 0, f"{line}\n{output}"
        told += output
    assert says in told


def run(line: str) -> tuple[int, str]:
    """One printed line: our own program in this process, which spares its start, others apart."""
    words = [w for w in shlex.split(line) if not w.startswith("PYTHONPATH=")]
    if words[0] == "healer":
        done = CliRunner().invoke(app, words[1:])
        return done.exit_code, done.output + (repr(done.exception) if done.exception else "")
    assert words[0] == "python"
    ended = subprocess.run(
        [sys.executable, *words[1:]], capture_output=True, text=True, timeout=300, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr
