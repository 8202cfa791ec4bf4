"""What a multiply-add is: of floating-point numbers one by one, also of samples that are converted as they are read."""

from __future__ import annotations

from typing import Literal, Protocol

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element, widen

ElementType = Literal["float32", "float64"]


class Arithmetic(Protocol):
    """How samples, weights and sums lie in registers, and how they meet.

    Attributes
    ----------
    sample, weight, sum : str
        LLVM's types of one lane of each.
    """

    sample: str
    weight: str
    sum: str

    def multiply_add(self, w: Writer, lanes: int, samples: str, weights: str, sums: str) -> str:
        """``sums + samples * weights``."""
        ...


class Floating:
    """``float32`` and ``float64``: fused, rounded once."""

    def __init__(self, scalar: str) -> None:
        self.sample = self.weight = self.sum = scalar

    def multiply_add(self, w: Writer, lanes: int, samples: str, weights: str, sums: str) -> str:
        """``sums + samples * weights``, rounded once."""
        return w.fma(Vector(lanes, self.sum), samples, weights, sums)


class Converted:
    """Integers of few bits as samples, exactly converted to the floating-point type of weights and sums."""

    def __init__(self, source: str, sums: str) -> None:
        self.source, self.floats = Element(source), Element(sums)
        self.sample, self.weight, self.sum = self.source.stored, self.floats.stored, self.floats.stored

    def multiply_add(self, w: Writer, lanes: int, samples: str, weights: str, sums: str) -> str:
        """``sums + samples * weights``, rounded once."""
        return w.fma(Vector(lanes, self.sum), widen(w, samples, lanes, self.source, self.floats), weights, sums)


CONVERTED = ("uint8", "int8", "uint16", "int16")
"""Samples that are converted as they are read."""

ARITHMETIC: dict[str, Arithmetic] = {
    "float32": Floating("float"),
    "float64": Floating("double"),
    **{f"{source}_{sums}": Converted(source, sums) for source in CONVERTED for sums in ("float32", "float64")},
}
"""By the name that schedules give."""
