"""Numbers as Prometheus writes them."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache


def show_number(value: float) -> str:
    """The shortest decimal that reads back as `value`, never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


def show_sample(value: float) -> str:
    """As in a JSON answer: an exponent below 1e-6 and from 1e21 on."""
    if not value:  # zeros of both signs are equal
        return "0" if math.copysign(1.0, value) > 0 else "-0"
    return show_number(value) if math.isnan(value) else _remembered(value)


# A range query tells the same samples again and again.
@lru_cache(maxsize=65_536)
def _remembered(value: float) -> str:
    if math.isfinite(value) and not 1e-6 <= abs(value) < 1e21:
        digits, _, exponent = repr(value).partition("e")
        if exponent:
            return f"{digits.removesuffix('.0')}e{exponent[0]}{exponent[1:].lstrip('0'):0>2}"
    return show_number(value)
