"""What a multiply-add is: of floating-point numbers one by one."""

from __future__ import annotations

from typing import Literal, Protocol

from convkit.codegen.builder import Vector, Writer

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


ARITHMETIC: dict[str, Arithmetic] = {"float32": Floating("float"), "float64": Floating("double")}
"""By the name that schedules give."""
