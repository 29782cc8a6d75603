"""A counter that begins anew with its process is neither a flood nor a debt."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import servers
import yaml

from healer.adapters.signal_catalogue import load_signals

SIGNALS = tuple(load_signals())
COUNTER = re.compile(r"\b[a-zA-Z_:][\w:]*_total\b")
COUNTED = re.compile(r"\bcount(?: by \([^)]*\))?\s*\([^)]*\)")
GUARDED = re.compile(r"\b(?:rate|irate|increase|resets|changes)\(\s*[a-zA-Z_:][\w:]*_total\b")


def query_of(source: str, name: str) -> str:
    return next(s.query for s in SIGNALS if s.source == source and s.name == name)


@pytest.mark.parametrize(
    ("source", "name", "counter"),
    [
        ("vllm", "generation_tokens", "vllm:generation_tokens_total"),
        ("sglang", "generation_tokens", "sglang:generation_tokens_total"),
    ],
)
def test_an_engine_that_restarts_makes_no_flood_of_tokens(
    tmp_path: Path, source: str, name: str, counter: str
) -> None:
    servers.need("promtool")
    query = query_of(source, name)
    times = [f"{seconds}s" for seconds in range(300, 1200, 30)]
    wild = [
        {"expr": f"({query}) > 61 or ({query}) < 0", "eval_time": at, "exp_samples": []}
        for at in times
    ]
    steady = [
        {
            "expr": f"round(sum({query}))",
            "eval_time": at,
            "exp_samples": [{"labels": "{}", "value": 60}],
        }
        for at in ("5m", "19m")
    ]
    labels = '{namespace="serving",pod="llama-0",model_name="llama"}'
    story = {
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": counter + labels, "values": "1000000+900x40 0+900x40"}],
                "promql_expr_test": [*wild, *steady],
            }
        ],
    }
    file = tmp_path / "story.yaml"
    file.write_text(yaml.safe_dump(story), encoding="utf-8")
    said = servers.promtool("test", "rules", str(file))
    assert said.returncode == 0, said.stdout + said.stderr


def test_no_signal_reads_a_counter_bare() -> None:
    """Events watch for a rise themselves; counting series does not read their values."""
    bare = []
    for signal in SIGNALS:
        read = COUNTED.sub("", signal.query)
        if signal.event is None and len(COUNTER.findall(read)) != len(GUARDED.findall(read)):
            bare.append(f"{signal.source}.{signal.name}: {signal.query}")
    assert len(SIGNALS) > 200
    assert not bare
