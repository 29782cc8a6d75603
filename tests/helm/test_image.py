"""The image, as far as it can be shown without a container engine: its lock file and its wheel.

`python tools/try_image.py FOLDER` does every step of the Dockerfile and starts the daemon.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import healer

ROOT = Path(__file__).resolve().parents[2]
DEVELOPMENT = {"pytest", "mypy", "ruff", "playwright", "schemathesis", "kubernetes-validate"}


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("try_image", ROOT / "tools" / "try_image.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wheel_brings_every_file_of_the_packages(tmp_path: Path) -> None:
    given = tool()
    given.copy_context(tmp_path / "src")
    wanted = {str(file) for file in given.data_files(tmp_path / "src")}
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--wheel-dir", str(tmp_path), str(tmp_path / "src")],
        check=True, timeout=300,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    kinds = {Path(name).suffix for name in wanted}
    assert {".yaml", ".html", ".css", ".j2", ".mako", ".py"} <= kinds
    assert wanted - names == set()
    assert any(name.endswith("licenses/LICENSE") for name in names)


def locked(file: str) -> dict[str, str]:
    text = (ROOT / file).read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, flags=re.M))


def test_the_image_has_the_locked_versions_and_nothing_of_development() -> None:
    image, everything = locked("requirements-image.lock"), locked("requirements.lock")
    assert image.items() <= everything.items()
    assert not DEVELOPMENT & set(image)
    assert {"scikit-learn", "statsmodels", "fastapi", "kubernetes", "psycopg"} <= set(image)
    for block in re.split(
        r"^(?=[A-Za-z0-9])", (ROOT / "requirements-image.lock").read_text(), flags=re.M
    )[1:]:
        assert "--hash=sha256:" in block


def test_the_dockerfile_copies_and_runs_what_there_is() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, flags=re.M):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name
    assert "--require-hashes -r requirements-image.lock" in text
    assert re.search(r"^USER 65532:65532$", text, flags=re.M)
    assert f"ARG VERSION={healer.__version__}" in text
    assert text.count("\nFROM ") == 2
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "tests"} <= set(ignored)
    for needed in (*tool().PACKAGES, *tool().CONTEXT):
        assert needed not in ignored
