"""The tables of docs/exporter.md, from the exporter's metric table and dcgm-exporter's defaults."""

from __future__ import annotations

from pathlib import Path

DOCUMENT = Path("docs/exporter.md")


def generated() -> dict[Path, str]:
    from exporters.describe import rewrite  # noqa: PLC0415  # found from the checkout's root

    return {DOCUMENT: rewrite(DOCUMENT.read_text(encoding="utf-8"))}
