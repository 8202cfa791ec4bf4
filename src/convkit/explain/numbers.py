"""Numbers as people write them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any


def number(value: Any) -> str:
    """A number as people write it: integers and fractions exactly, floats with six digits.

    Examples
    --------
    >>> number(3), number(-0.25), number(1 / 3)
    ('3', '-0.25', '0.333333')
    """
    if isinstance(value, bool | int | Fraction):
        return str(value)
    if isinstance(value, complex):
        return f"({value:.6g})"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
