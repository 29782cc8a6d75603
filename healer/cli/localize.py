"""`healer localize CASE_DIR`: which service is to blame, from a metrics table and a call graph."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from healer.adapters.metric_case import read_case
from healer.stages.localize import localize as blame


def localize(
    case: Annotated[Path, typer.Argument(help="Folder with metrics.csv[.gz] and case.json.")],
    top: Annotated[int, typer.Option(min=1, help="How many suspects to print.")] = 10,
) -> None:
    """Rank services and metrics of a plain metrics table by how likely they are the root cause.

    Prints {"ranking": [[entity, score], …], "confidence": c}; below a confidence of 0.5 nobody
    should be blamed.
    """
    found = blame(read_case(case))
    ranking = [
        [f"{s.service}_{s.metric}" if s.metric else s.service, round(s.score, 4)]
        for s in found.suspects[:top]
    ]
    sys.stdout.write(json.dumps({"ranking": ranking, "confidence": found.confidence}) + "\n")
