"""A metric table that a person wrote wrongly: one line says where and what was expected."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from exporters.table import load_table
from healer.errors import BadInput

ROW = "- {name: my_metric, type: gauge, help: Mine., read: gpu_temp_c}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            ROW.replace("gpu_temp_c", "gpu_tmp_c"),
            "'gpu_tmp_c': did you mean 'gpu_temp_c'",
        ),
        (ROW.replace("gpu_temp_c", "zzz"), "[0].read: 'zzz': expected one of bar1_total"),
        (ROW + ROW, "[1].name: 'my_metric': expected each metric once"),
        (ROW.replace("my_metric", "my-metric"), "[0].name: 'my-metric': expected a metric name"),
        (ROW.replace("my_metric", "healer_gpu_state"), "[0].name: 'healer_gpu_state'"),
        (ROW.replace("gauge", "histogram"), "[0].type: 'histogram': expected gauge or counter"),
        (ROW.replace("}", ", extr: true}"), "[0].extr: unknown key; did you mean 'extra'"),
        ("- {name: my_metric, type: gauge, help: Mine.}\n", "[0].read: required and missing"),
        ("- just text\n", "[0]: 'just text': expected a mapping"),
        ("name: my_metric\n", "expected a list of rows"),
        ("", "expected a list of rows"),
        ("- {name: [\n", ":2: valid YAML"),
    ],
)
def test_a_wrong_table_is_refused_with_file_path_and_value(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "metrics.yaml"
    file.write_text(text)
    with pytest.raises(BadInput) as refused:
        load_table(file)
    assert str(refused.value).startswith(str(file))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a readable file"):
        load_table(tmp_path / "absent.yaml")


def test_a_table_of_ones_own_is_what_is_served(tmp_path: Path) -> None:
    file = tmp_path / "metrics.yaml"
    file.write_text(ROW)
    assert [row.name for row in load_table(file)] == ["my_metric"]


def test_the_command_with_a_wrong_table_says_so_in_one_line_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "metrics.yaml"
    file.write_text(ROW.replace("gpu_temp_c", "gpu_tmp_c"))
    done = subprocess.run(
        [sys.executable, "-m", "exporters", json.dumps({"port": 0, "table": str(file)})],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"healer: {file}: [0].read: 'gpu_tmp_c': did you mean")
    assert done.stderr.count("\n") == 1
