"""The steps of the Dockerfile without a container engine, and the daemon started from the result.

    python tools/try_image.py FOLDER

Builds the environment in FOLDER from the image's lock file, installs the wheel, and starts the
daemon and the exporter there as the image would: as uid 65532 (where this runs as root), with
nothing writable but a volume for its data and a temporary folder. Prints the size and what it
found; exit status 1 says that something is missing.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UID = 65532
READY_WITHIN_S = 60.0
CONTEXT = ("pyproject.toml", "README.md", "LICENSE")
PACKAGES = ("healer", "detectors", "remediations", "rules", "exporters")

IMPORT_ALL = """
import importlib, pkgutil
for name in {packages}:
    for found in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
        if not found.name.endswith("__main__") and "migrations" not in found.name:
            importlib.import_module(found.name)
import sklearn.ensemble, statsmodels.tsa.seasonal, statsmodels.api, scipy.stats, psycopg
"""
"""Everything can be imported from what the image holds."""


def main(arguments: Sequence[str]) -> int:
    folder = Path(arguments[0]).resolve()
    environment = folder / "opt" / "healer"
    source = folder / "src"
    copy_context(source)
    wanted = list(data_files(source))
    run(sys.executable, "-m", "venv", str(environment))
    python = str(environment / "bin" / "python")
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--require-hashes", "-r", str(ROOT / "requirements-image.lock"))
    run(*pip, "install", "--no-deps", "--no-build-isolation", str(source))
    run(*pip, "uninstall", "--yes", "setuptools", "pip")
    for tests in [f for f in environment.rglob("tests") if f.is_dir()]:
        shutil.rmtree(tests, ignore_errors=True)  # one may lie in another
    run(sys.executable, "-m", "compileall", "-q", str(environment / "lib"))
    shutil.rmtree(source)
    say(f"environment: {size_mb(environment):.0f} MB")
    run(python, "-B", "-c", IMPORT_ALL.format(packages=PACKAGES))
    absent = missing(environment, wanted)
    say(f"data files missing: {absent or 'none'}")
    written = serve(folder, environment)
    say(f"written outside its volume: {written or 'nothing'}")
    return 1 if absent or written else 0


def copy_context(to: Path) -> None:
    to.mkdir(parents=True)
    for name in CONTEXT:
        shutil.copy(ROOT / name, to / name)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))


def data_files(source: Path) -> Iterator[Path]:
    """Every file of the packages, modules and data."""
    for name in PACKAGES:
        for file in (source / name).rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                yield file.relative_to(source)


def missing(environment: Path, wanted: Sequence[Path]) -> list[str]:
    (site,) = environment.glob("lib/python*/site-packages")
    return [str(file) for file in wanted if not (site / file).exists()]


def serve(folder: Path, environment: Path) -> list[str]:
    """Starts both programs until they are ready. Returns what they wrote where they should not."""
    volume, temporary = folder / "volume", folder / "tmp"
    for each in (volume, temporary):
        each.mkdir()
    port, metrics = free_port(), free_port()
    settings = folder / "healer.yaml"
    settings.write_text(
        f"prometheus: {{url: 'http://127.0.0.1:9'}}\nkubernetes: {{enabled: false}}\n"
        f"server: {{port: {port}}}\nstore: {{url: 'sqlite:///{volume}/healer.db'}}\n"
    )
    prefix: list[str] = []
    if os.geteuid() == 0:
        for each in (volume, temporary):
            os.chown(each, UID, UID)
        prefix = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs"]
    before = newest(environment)
    programs = {
        "daemon": (port, ("run", "--config", str(settings))),
        "exporter": (metrics, ("exporter", f"--port={metrics}")),
    }
    for name, (at, arguments) in programs.items():
        process = subprocess.Popen(  # noqa: S603  # our own program, no shell
            [*prefix, str(environment / "bin" / "healer"), *arguments],
            cwd=volume,
            env={
                "PATH": f"{environment}/bin:/usr/bin:/bin",
                "HOME": str(temporary),
                "TMPDIR": str(temporary),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stderr=subprocess.STDOUT,
            stdout=(folder / f"{name}.log").open("wb"),
        )
        try:
            probe = ready(name, at, process)
        finally:
            process.terminate()
            code = process.wait(30)
        say(f"{name} ready as uid {UID if prefix else os.geteuid()}: {probe}; ended with {code}")
    say(f"the volume holds {sorted(p.name for p in volume.iterdir())}")
    return [str(f) for f in environment.rglob("*") if f.lstat().st_mtime > before]


def ready(name: str, port: int, process: subprocess.Popen[bytes]) -> str:
    """Raises SystemExit where the program ends or does not answer in time."""
    end = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                return str(answer.read().decode()).strip()
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{name} was not ready in {READY_WITHIN_S:g} s (status {process.poll()})")


def newest(folder: Path) -> float:
    return max(f.lstat().st_mtime for f in folder.rglob("*"))


def size_mb(folder: Path) -> float:
    return sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def run(*command: str) -> None:
    """Raises CalledProcessError."""
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    subprocess.run(command, check=True, env=environment)  # noqa: S603  # no shell


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
