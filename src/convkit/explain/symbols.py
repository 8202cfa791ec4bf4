"""Sizes in source text: an int where it is known, an expression such as ``k.shape[0]`` where it is not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Symbol:
    """An integer expression; arithmetic with ints and other symbols gives longer expressions.

    Examples
    --------
    >>> (Symbol("k.shape[0]") - 1) // 2
    (k.shape[0] - 1) // 2
    """

    text: str
    simple: bool = True

    def __add__(self, other: Size) -> Size:
        return self if other == 0 else Symbol(f"{self.text} {_signed(other)}", simple=False)

    def __radd__(self, other: int) -> Size:
        return self if other == 0 else Symbol(f"{other} + {self.text}", simple=False)

    def __sub__(self, other: Size) -> Size:
        if other == 0:
            return self
        if self == other:
            return 0
        return self + -other if isinstance(other, int) else Symbol(f"{self.text} - {other._group()}", simple=False)

    def __rsub__(self, other: int) -> Size:
        return Symbol(f"{other} - {self._group()}", simple=False)

    def __mul__(self, other: int) -> Size:
        if other == 0:
            return 0
        return self if other == 1 else Symbol(f"{other} * {self._group()}")

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> Size:
        return self if other == 1 else Symbol(f"{self._group()} // {other}", simple=False)

    def _group(self) -> str:
        return self.text if self.simple else f"({self.text})"

    def __repr__(self) -> str:
        return self.text


Size = int | Symbol
"""A number, or the text of one."""


def _signed(value: Size) -> str:
    if isinstance(value, int):
        return f"+ {value}" if value >= 0 else f"- {-value}"
    return f"+ {value.text}"


def sequence(values: list[Size] | tuple[Size, ...]) -> str:
    """The values as source text of a tuple."""
    inner = ", ".join(map(str, values))
    return f"({inner},)" if len(values) == 1 else f"({inner})"


def scalar_or_sequence(values: list[Size] | tuple[Size, ...]) -> str:
    """One number where all values are the same number, otherwise a tuple."""
    same = len(set(values)) == 1 and isinstance(values[0], int)
    return str(values[0]) if same or len(values) == 1 else sequence(values)
