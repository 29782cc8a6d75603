"""The chart's Grafana dashboards, made from the table of panels in dashboards.yaml."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

TABLE = Path("tools/dashboards.yaml")
FOLDER = Path("helm/healer/dashboards")
WIDTH = 24
"""Grafana's grid."""

Panel = Mapping[str, Any]


def generated() -> Mapping[Path, str]:
    boards = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {
        FOLDER / f"{board['uid']}.json": json.dumps(rendered(board), indent=1, ensure_ascii=False)
        + "\n"
        for board in boards
    }


def rendered(board: Mapping[str, Any]) -> dict[str, Any]:
    """Grafana's JSON model."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in board["rows"]:
        panels.append(
            {
                "type": "row",
                "id": len(panels) + 1,
                "title": row["title"],
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            }
        )
        y = _placed(row["panels"], panels, y + 1)
    return {
        "uid": board["uid"],
        "title": board["title"],
        "tags": ["healer"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [_source(), *(_variable(*each) for each in board["variables"].items())]
        },
        "annotations": {"list": []},
        "panels": panels,
    }


def _placed(row: Sequence[Panel], panels: list[dict[str, Any]], y: int) -> int:
    """Puts a row's panels onto the grid; returns the first free line."""
    x, height = 0, 0
    for panel in row:
        if x + panel.get("width", 8) > WIDTH:
            x, y = 0, y + height
        height = 4 if panel.get("kind") == "stat" else 8
        place = {"x": x, "y": y, "w": panel.get("width", 8), "h": height}
        panels.append(_panel(panel, len(panels) + 1, place))
        x += panel.get("width", 8)
    return y + height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    defaults: dict[str, Any] = {"unit": panel.get("unit", "short"), "min": 0}
    kind, limit = panel.get("kind", "timeseries"), panel.get("limit")
    if limit is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": limit}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if kind == "timeseries":
            defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    return {
        "type": kind,
        "id": number,
        "title": panel["title"],
        "description": panel.get("help", ""),
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"colorMode": "value"} if kind == "stat" else {},
        "targets": [
            {
                "refId": chr(65 + at),
                "expr": query["expr"],
                "legendFormat": query["legend"],
                "datasource": source,
            }
            for at, query in enumerate(panel["queries"])
        ],
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source"}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "label": name,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
