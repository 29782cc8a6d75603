"""A LabelSelector against labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """None selects nothing, an empty selector everything; an unknown operator nothing."""
    if selector is None:
        return False
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(want, labels) for want in selector.get("matchExpressions") or ())


def _holds(want: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = str(want.get("key")), want.get("values") or ()
    match want.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False
