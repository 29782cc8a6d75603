"""An HTML report as PDF, printed by a Chromium of this machine. Without one there is no PDF."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from healer.errors import BadInput, Permanent

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TIMEOUT_S = 60


def print_pdf(page: str, file: Path) -> None:
    """Writes `file` whole or not at all.

    Raises BadInput where no browser is on PATH, Permanent when it prints nothing.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
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
            # The page is ours and has no script; without user namespaces nothing else starts.
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
