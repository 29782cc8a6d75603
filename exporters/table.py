"""The metric table, as a person writes it."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from exporters.readers import READERS
from exporters.rows import DCGM_ONLY, SHIPPED, Row
from healer.errors import BadInput
from healer.values import build, read_yaml

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

OWN = (
    "DCGM_FI_DEV_XID_ERRORS",
    "healer_gpu_xid_errors_total",
    "healer_gpu_xid_bursts_total",
    "healer_gpu_xid_last_seen_timestamp_seconds",
    "healer_gpu_xid_source_up",
    "healer_gpu_nvswitch_errors_total",
    "healer_gpu_state",
    "healer_gpu_info",
    "healer_gpu_holder",
    "healer_gpu_last_answer_timestamp_seconds",
    "healer_gpu_present",
    "healer_gpu_expected",
    "healer_gpu_driver_state",
    "healer_gpu_driver_blocked",
    "healer_gpu_sweep_age_seconds",
    "healer_gpu_sweep_seconds",
    "healer_gpu_sweeps_total",
    "healer_gpu_silent",
    "healer_gpu_exporter_info",
    "healer_gpu_kubelet_up",
    "healer_gpu_dcgm_up",
    "healer_gpu_dcgm_health",
)
"""What is on every page beside the table: no row may take one of these names."""


def load_table(file: Path = SHIPPED) -> tuple[Row, ...]:
    """Raises BadInput naming file, row, value and what was expected."""
    data = read_yaml(file)
    if not isinstance(data, list):
        raise BadInput("expected a list of rows", file=file, value=data)
    rows: list[Row] = []
    for at, item in enumerate(data):
        if not isinstance(item, dict):
            raise BadInput("expected a mapping", file=file, path=f"[{at}]", value=item)
        row = build(Row, item, path=f"[{at}]", file=file)
        for key, expected in _wrong(row, rows):
            value = getattr(row, key)
            raise BadInput(expected, file=file, path=f"[{at}].{key}", value=value)
        rows.append(row)
    return tuple(rows)


def _wrong(row: Row, before: list[Row]) -> list[tuple[str, str]]:
    """Keys whose values cannot be used, with what was expected."""
    found: list[tuple[str, str]] = []
    if not _NAME.fullmatch(row.name):
        found.append(("name", "expected a metric name of letters, digits, _ and :"))
    if any(row.name == other.name for other in before):
        found.append(("name", "expected each metric once"))
    if row.name in OWN:
        found.append(("name", "expected another name; this one is always on the page"))
    if row.type not in ("gauge", "counter"):
        found.append(("type", "expected gauge or counter"))
    if row.read not in (*READERS, *DCGM_ONLY):
        close = difflib.get_close_matches(row.read, (*READERS, *DCGM_ONLY), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {_known()}"
        found.append(("read", hint))
    return found


def _known() -> str:
    return ", ".join(sorted((*READERS, *DCGM_ONLY)))
