"""`healer detect`: a table in, the same rows out."""

import csv
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from healer.cli.detect import detect
from healer.errors import BadInput

START = datetime(2026, 2, 1, tzinfo=UTC)


def run(*arguments):
    app = typer.Typer()
    app.command()(detect)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def series(count=900, fault=True):
    rng = np.random.default_rng(0)
    values = 5 + rng.normal(0, 0.2, count)
    if fault:
        values[700:715] += 4
    stamps = [(START + timedelta(minutes=5 * i)).isoformat() for i in range(count)]
    return stamps, values


@pytest.mark.parametrize("columns", ["timestamp,value", "timestamp,value,other"])
def test_the_same_rows_come_back_scored(tmp_path, columns):
    stamps, values = series()
    extra = ",1.5" if columns.endswith("other") else ""
    lines = [columns, *(f"{s},{v:.4f}{extra}" for s, v in zip(stamps, values, strict=True))]
    lines[40] = f"{stamps[39]},{',' if extra else ''}"
    lines[41] = lines[42]
    result = run(write(tmp_path / "in.csv", lines), tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["timestamp"] for r in rows] == [line.split(",")[0] for line in lines[1:]]
    flagged = [i for i, r in enumerate(rows) if r["is_anomaly"] == "1"]
    assert flagged
    assert set(flagged) <= set(range(700, 715 + 12))
    assert float(rows[705]["score"]) > 2


def test_levels_and_pictures(tmp_path):
    stamps, values = series()
    lines = ["timestamp,value", *(f"{s},{v:.4f}" for s, v in zip(stamps, values, strict=True))]
    source = write(tmp_path / "in.csv", lines)
    counts = []
    for level in ("warn", "page", "act"):
        out, picture = tmp_path / f"{level}.csv", tmp_path / f"{level}.html"
        assert run(source, out, "--level", level, "--plot", picture).exit_code == 0
        counts.append(out.read_text().count(",1\n"))
        assert "<svg" in picture.read_text()
    assert counts == sorted(counts, reverse=True)
    assert run(source, tmp_path / "o.csv", "--plot", tmp_path / "p.png").exit_code == 0
    assert (tmp_path / "p.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "o.csv").read_text() == (tmp_path / "warn.csv").read_text()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["time,value", "2026-01-01T00:00:00Z,1"], "in.csv:1: 'time,value': header"),
        (["timestamp", "2026-01-01T00:00:00Z"], "in.csv:1: 'timestamp': header"),
        (["timestamp,value,value"], "in.csv:1: 'timestamp,value,value': column names"),
        (["timestamp,value"], "in.csv:2: at least one row"),
        (["timestamp,value", "yesterday,1"], "in.csv:2: timestamp: 'yesterday': an ISO 8601"),
        (["timestamp,value", "2026-01-01T00:00:00Z,many"], "in.csv:2: value: 'many': a number"),
        (["timestamp,value", "2026-01-01T00:00:00Z,1,2"], "in.csv:2: 3: 2 columns"),
        (
            ["timestamp,value", "2026-01-01T00:05:00Z,1", "2026-01-01T00:00:00Z,1"],
            "in.csv:3: '2026-01-01T00:00:00Z': times that never fall",
        ),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path, lines, said):
    result = run(write(tmp_path / "in.csv", lines), tmp_path / "out.csv")
    assert isinstance(result.exception, BadInput)
    assert said in str(result.exception)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--level", "panic"), "one of warn, page, act"),
        (("--plot", "p.gif"), "ends in .html or .png"),
    ],
)
def test_bad_options_are_refused(tmp_path, arguments, said):
    source = write(tmp_path / "in.csv", ["timestamp,value", "2026-01-01T00:00:00Z,1"])
    result = run(source, tmp_path / "out.csv", *arguments)
    assert isinstance(result.exception, BadInput)
    assert said in str(result.exception)


def test_files_that_are_not_there_are_named(tmp_path):
    result = run(tmp_path / "none.csv", tmp_path / "out.csv")
    assert "none.csv" in str(result.exception)
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"timestamp,value\n\xff\xfe,1\n")
    assert "UTF-8" in str(run(bad, tmp_path / "out.csv").exception)
    good = write(tmp_path / "in.csv", ["timestamp,value", "2026-01-01T00:00:00Z,1"])
    assert "written" in str(run(good, tmp_path / "no" / "out.csv").exception)


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_times_may_be_numbers_since_1970(tmp_path, unit):
    stamps, values = series(300, fault=False)
    told = [f"{round(datetime.fromisoformat(s).timestamp() * unit)}" for s in stamps]
    plain = write(tmp_path / "iso.csv", ["timestamp,value", *map(",".join, _rows(stamps, values))])
    source = write(tmp_path / "in.csv", ["timestamp,value", *map(",".join, _rows(told, values))])
    for file in (plain, source):
        assert run(file, file.with_suffix(".out")).exit_code == 0
    scores = [
        [line.split(",")[1] for line in file.with_suffix(".out").read_text().splitlines()]
        for file in (plain, source)
    ]
    assert scores[0] == scores[1]


def _rows(stamps, values):
    return [(stamp, f"{value:.4f}") for stamp, value in zip(stamps, values, strict=True)]


@pytest.mark.parametrize("rows", [1, 10])
def test_a_very_short_table_comes_back_unflagged(tmp_path, rows):
    stamps, values = series(rows, fault=False)
    source = write(tmp_path / "in.csv", ["timestamp,value", *map(",".join, _rows(stamps, values))])
    assert run(source, tmp_path / "out.csv").exit_code == 0
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert len(lines) == rows + 1
    assert all(line.endswith(",0,0") for line in lines[1:])


def test_a_column_without_any_value_changes_nothing_else(tmp_path):
    stamps, values = series()
    lines = ["timestamp,value,blank", *(f"{s},{v:.4f}," for s, v in _pairs(stamps, values))]
    assert run(write(tmp_path / "in.csv", lines), tmp_path / "out.csv").exit_code == 0
    flags = [line.endswith(",1") for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert any(flags[700:715])
    assert not any(flags[:700])


def _pairs(stamps, values):
    return list(zip(stamps, values, strict=True))
