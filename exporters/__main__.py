"""`python -m exporters OPTIONS`: the exporter alone, its options as one JSON object.

`healer exporter` becomes this, so that a GPU node does not carry the rest of Healer in memory. This
in turn reads what people wrote and becomes `exporters.process`, which does not carry the means for
that: a fifth of its memory.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from typing import NoReturn

from exporters.options import ExporterOptions
from exporters.rows import Row
from exporters.table import load_table
from healer.errors import BadInput
from healer.values import build

_SPARING = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""Each thread of a connection would get a heap of its own, and a page in the making would lie in
between what stays: either way memory is not given back. glibc only; others ignore it."""


def main(text: str) -> int:
    """2 for what cannot be used, said in one line; else it does not return."""
    try:
        options = build(ExporterOptions, json.loads(text))
        rows = load_table(options.table)
    except BadInput as error:
        sys.stderr.write(f"healer: {error}\n")
        return 2
    return _become(options, rows)


def _become(options: ExporterOptions, rows: tuple[Row, ...]) -> NoReturn:
    handed = os.memfd_create("exporter", 0)
    with os.fdopen(os.dup(handed), "wb") as file:
        pickle.dump((options, rows), file)
    os.lseek(handed, 0, os.SEEK_SET)
    program = [sys.executable, "-m", "exporters.process", str(handed)]
    os.execve(sys.executable, program, _SPARING | os.environ)  # noqa: S606  # no shell


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "{}"))
