"""The HTTP side: intake of alerts, the read-only report API, pages, approvals, operations."""

from healer.server.app import create_app
from healer.server.charts import Chart, charts_of
from healer.server.deps import Health, ServerDeps
from healer.server.report import render_report_html, render_report_md

__all__ = [
    "Chart",
    "Health",
    "ServerDeps",
    "charts_of",
    "create_app",
    "render_report_html",
    "render_report_md",
]
