"""The GPU exporter: what dcgm-exporter shows under its names, and what it hides under ours."""
