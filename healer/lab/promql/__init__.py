"""A PromQL evaluator over `healer.lab.tsdb`, vectorised over the steps of a query.

The `promql-parser` package parses; the rules of evaluation are those of Prometheus 2, checked
against the genuine server. An instant query is a range query of one step.
"""

from healer.lab.promql.evaluator import Answer, Evaluator
from healer.lab.promql.values import PromqlError, Vector

__all__ = ["Answer", "Evaluator", "PromqlError", "Vector"]
