"""An HTML report as PDF, printed by a Chromium of this machine. Without one there is no PDF."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from healer.errors import BadInput, Permanent, Temporary

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TIMEOUT_S = 60
_QUEUE_S = 20
_ONE = threading.Lock()


def can_print() -> bool:
    return _browser() is not None


def pdf_of(page: str) -> bytes:
    """`page` printed. One at a time: a browser takes hundreds of megabytes.

    Raises Temporary where another one takes too long, and what `print_pdf` raises.
    """
    if not _ONE.acquire(timeout=_QUEUE_S):
        raise Temporary("another report is being printed")
    try:
        with tempfile.TemporaryDirectory(prefix="healer-pdf-") as folder:
            file = Path(folder) / "report.pdf"
            print_pdf(page, file)
            return file.read_bytes()
    finally:
        _ONE.release()


def print_pdf(page: str, file: Path) -> None:
    """Writes `file` whole or not at all.

    Raises BadInput where no browser is on PATH, Permanent when it prints nothing.
    """
    browser = _browser()
    if browser is None:
        known = ", ".join(BROWSERS)
        raise BadInput(f"expected one of {known} on PATH; or print the html form", path="--form")
    with tempfile.TemporaryDirectory(prefix="healer-report-") as made:
        folder = Path(made)
        (folder / "report.html").write_text(page, encoding="utf-8")
        command = [
            browser,
            "--headless=new",
            "--disable-gpu",
            # The page is ours and its policy allows no script; without user namespaces nothing
            # else starts. To switch scripts off in the browser makes it print nothing at all.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder / 'profile'}",
            f"--print-to-pdf={folder / 'report.pdf'}",
            (folder / "report.html").as_uri(),
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise Permanent(f"{browser} did not print within {_TIMEOUT_S} s") from error
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise Permanent(f"{browser}: {' '.join(said) or error.returncode}") from error
        made_file = folder / "report.pdf"
        if not made_file.is_file():
            raise Permanent(f"{browser} printed nothing")
        shutil.move(made_file, file)


def _browser() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)
