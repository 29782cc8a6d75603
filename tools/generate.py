"""Writes every generated file, or with `--check` says which are out of date.

python tools/generate.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT / "tools"))
    import chart  # noqa: PLC0415  # found once the folder is on the path
    import dashboards  # noqa: PLC0415
    import exporter_tables  # noqa: PLC0415
    import image_lock  # noqa: PLC0415
    import monitoring  # noqa: PLC0415
    import pages  # noqa: PLC0415

    makers = (chart, monitoring, dashboards, exporter_tables, image_lock, pages)
    made = {file: text for maker in makers for file, text in maker.generated().items()}
    stale = []
    for file, text in made.items():
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(str(file))
        if "--check" not in arguments:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        sys.stderr.write("out of date, run python tools/generate.py: " + ", ".join(stale) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
