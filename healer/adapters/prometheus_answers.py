"""Prometheus' JSON answers as arrays.

Absent cells are NaN, as are samples that are NaN: to Healer both say that nothing is known.
Native histograms have no number and are left out, with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from healer.errors import Permanent, Temporary

Labels = Mapping[str, str]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answer:
    """What every endpoint's answer has."""

    data: Any
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """Series over a grid, or over a single time."""

    labels: tuple[Labels, ...]
    values: Floats
    """[N, T]"""
    warnings: tuple[str, ...] = ()


def read(document: Any) -> Answer:
    """Of a JSON document. Raises Temporary or Permanent, as its errorType says."""
    if not isinstance(document, Mapping) or document.get("status") not in ("success", "error"):
        raise Temporary("the answer is not Prometheus' JSON")
    if document["status"] == "error":
        raise failure(document)
    warnings = [str(each) for each in document.get("warnings") or ()]
    if document.get("isPartial"):  # VictoriaMetrics in a cluster says it this way
        warnings.append("partial answer: some storage nodes did not answer")
    return Answer(document.get("data"), tuple(warnings))


def failure(document: Mapping[str, Any]) -> Temporary | Permanent:
    told = f"{document.get('errorType') or 'error'}: {document.get('error') or 'no reason given'}"
    final = str(document.get("errorType")) in _FINAL
    return Permanent(told) if final else Temporary(told)


_FINAL = frozenset({"bad_data", "execution", "not_found", "not_acceptable", "422", "400"})
"""VictoriaMetrics writes the status code as the type."""


def matrix(answer: Answer, grid_ms: NDArray[np.int64]) -> Rows:
    """The answer to a range query on the grid that was asked for."""
    found = _result(answer, "matrix")
    step_ms = int(grid_ms[1] - grid_ms[0]) if len(grid_ms) > 1 else 1
    series = [each for each in found if "values" in each]
    try:
        samples = [sample for each in series for sample in each["values"]]
        times = np.array([at for at, _ in samples], np.float64)
        numbers = np.fromiter((float(text) for _, text in samples), np.float64, len(samples))
    except (TypeError, ValueError) as error:
        raise Temporary("a series of the answer is not readable") from error
    rows = np.repeat(np.arange(len(series)), [len(each["values"]) for each in series])
    columns = np.rint((times * 1000 - grid_ms[0]) / step_ms).astype(np.int64)
    inside = (columns >= 0) & (columns < len(grid_ms))
    values = np.full((len(series), len(grid_ms)), np.nan)
    values[rows[inside], columns[inside]] = numbers[inside]
    return Rows(_labels(series), values, _told(answer, len(found) - len(series)))


def vector(answer: Answer) -> tuple[float | None, Rows]:
    """The answer to an instant query, and its time in seconds; None where it has none."""
    data = answer.data if isinstance(answer.data, Mapping) else {}
    if data.get("resultType") == "scalar":
        series: Sequence[Any] = [{"metric": {}, "value": data.get("result")}]
        found: Sequence[Any] = series
    else:
        found = _result(answer, "vector")
        series = [each for each in found if "value" in each]
    try:
        values = np.array([float(each["value"][1]) for each in series], np.float64)
        at_s = float(series[0]["value"][0]) if series else None
    except (TypeError, ValueError, IndexError) as error:
        raise Temporary("a sample of the answer is not readable") from error
    warnings = _told(answer, len(found) - len(series))
    return at_s, Rows(_labels(series), values.reshape(-1, 1), warnings)


def texts(answer: Answer) -> list[str]:
    """The answer to a question for label values."""
    if not isinstance(answer.data, list):
        raise Temporary("the answer is no list")
    return [str(each) for each in answer.data]


def joined(parts: Sequence[Rows]) -> Rows:
    """Neighbouring spans of one query, in order; a series may be missing in some of them."""
    if len(parts) == 1:
        return parts[0]
    row_of: dict[frozenset[tuple[str, str]], int] = {}
    labels: list[Labels] = []
    for part in parts:
        for each in part.labels:
            if (key := frozenset(each.items())) not in row_of:
                row_of[key] = len(labels)
                labels.append(each)
    values = np.full((len(labels), sum(part.values.shape[1] for part in parts)), np.nan)
    begin = 0
    for part in parts:
        end = begin + part.values.shape[1]
        index = [row_of[frozenset(each.items())] for each in part.labels]
        values[index, begin:end] = part.values
        begin = end
    warnings = dict.fromkeys(each for part in parts for each in part.warnings)
    return replace(parts[0], labels=tuple(labels), values=values, warnings=tuple(warnings))


def _result(answer: Answer, kind: str) -> Sequence[Any]:
    data = answer.data
    if not isinstance(data, Mapping) or not isinstance(data.get("result"), list):
        raise Temporary("the answer has no result")
    if data.get("resultType") != kind:
        raise Permanent(f"the query gives a {data.get('resultType')}, expected a {kind}")
    if not all(isinstance(each, Mapping) for each in data["result"]):
        raise Temporary("a series of the answer is not readable")
    result: Sequence[Any] = data["result"]
    return result


def _labels(series: Sequence[Any]) -> tuple[Labels, ...]:
    return tuple(dict(each.get("metric") or {}) for each in series)


def _told(answer: Answer, left_out: int) -> tuple[str, ...]:
    if not left_out:
        return answer.warnings
    return (*answer.warnings, f"{left_out} native histograms left out: they have no number")
