"""`healer rules` and `healer localize`, as a person runs them."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from typer.testing import CliRunner

from healer.cli.main import app
from healer.errors import BadInput

RULES = Path(__file__).parents[1] / "rules"
RUN = CliRunner()


def test_our_rules_lint_clean_with_their_tests():
    found = RUN.invoke(app, ["rules", "lint", "--tests", str(RULES)])

    assert found.exit_code == 0, found.output
    assert "0 complaints" in found.output


def test_a_complaint_is_an_exit_status(tmp_path):
    (tmp_path / "causes").mkdir()
    (tmp_path / "causes" / "mine.yaml").write_text(
        "rules:\n- {id: mine, scope: pod, prior: 0.1, title: Mine, explains: [nothing_known]}\n"
    )
    found = RUN.invoke(app, ["rules", "lint", str(tmp_path)])

    assert found.exit_code == 1
    assert "unknown signal, event or cause 'nothing_known'" in found.output


def test_rule_tests_that_pass_are_counted():
    file = RULES / "gpu.yaml"
    found = RUN.invoke(app, ["rules", "test", str(file)])

    assert found.exit_code == 0, found.output
    told = len(yaml.safe_load(file.read_text())["tests"])
    assert f"{told} tests, 0 failed" in found.output


def test_a_rule_test_that_fails_says_what_differs(tmp_path):
    text = (RULES / "gpu.yaml").read_text().replace("top1: gpu_off_bus", "top1: load_surge")
    (tmp_path / "gpu.yaml").write_text(text)
    found = RUN.invoke(app, ["rules", "test", str(tmp_path / "gpu.yaml")])

    assert found.exit_code == 1
    assert "expected load_surge to lead" in found.output


def test_a_case_is_explained_on_one_screen():
    found = RUN.invoke(
        app, ["rules", "explain", str(RULES / "gpu.yaml"), "Xid 79"], env={"COLUMNS": "160"}
    )

    assert found.exit_code == 0, found.output
    assert "gpu_off_bus on gpu:GPU-11" in found.output
    assert "it lost: " in found.output
    assert len(found.output.splitlines()) < 50


def test_a_case_nobody_wrote_is_bad_input():
    found = RUN.invoke(app, ["rules", "explain", str(RULES / "gpu.yaml"), "no such case"])

    assert isinstance(found.exception, BadInput)


def test_localize_prints_a_ranking_and_how_sure_it_is(tmp_path):
    rows = ["time,a_latency,b_latency,b_cpu"]
    rows += [f"{t},{0.1 + 0.001 * (t % 7)},{0.1},{10 + t % 3}" for t in range(0, 600, 10)]
    rows += [f"{t},{1.1},{1.1},{95}" for t in range(600, 900, 10)]
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "graph.json").write_text('{"edges": [["a", "b"]]}')
    slo = {"entity": "a", "metric": "latency"}
    (tmp_path / "case.json").write_text(
        json.dumps({"inject_time": 600, "slo": slo, "topology": "graph.json"})
    )
    found = RUN.invoke(app, ["localize", str(tmp_path)])
    said = json.loads(found.output)

    assert said["ranking"][0][0] == "b_cpu"
    assert said["confidence"] > 0.5
