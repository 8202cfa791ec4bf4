"""Small matrices times vectors, as instructions: points beside their negatives share their even and odd parts."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.target import Target
from convkit.codegen.winograd_points import Matrix

Row = Sequence[Fraction]

FEW = 32
"""Vector registers that are enough to transform two rows of a tile at once."""


def groups_of(matrix: Matrix, target: Target | None) -> list[tuple[int, ...]]:
    """The rows in groups: two that differ in the sign of their odd coefficients alone, or one.

    A target with few registers cannot hold what two rows share, and has every row in a group of its own.
    """
    if target is not None and target.registers < FEW:
        return [(row,) for row in range(len(matrix))]
    groups: list[tuple[int, ...]] = []
    row = 0
    while row < len(matrix):
        mirrored = row + 1 < len(matrix) and all(
            a == (-b if k % 2 else b) for k, (a, b) in enumerate(zip(matrix[row], matrix[row + 1], strict=True))
        )
        groups.append((row, row + 1) if mirrored else (row,))
        row += len(groups[-1])
    return groups


class Forms:
    """Writes linear forms of vectors of one kind."""

    def __init__(self, writer: Writer, kind: Vector) -> None:
        self.w, self.kind = writer, kind

    def constant(self, number: Fraction) -> str:
        """A vector whose lanes all hold ``number``, rounded to their type, as LLVM writes constants."""
        kind = "<d" if self.kind.scalar == "double" else "<f"
        (rounded,) = struct.unpack(kind, struct.pack(kind, float(number)))
        (bits,) = struct.unpack("<Q", struct.pack("<d", rounded))
        lanes = ", ".join([f"{self.kind.scalar} 0x{bits:016X}"] * self.kind.lanes)
        return f"<{lanes}>"

    def add(self, a: str, b: str) -> str:
        """``a + b``."""
        return self.w.value(f"fadd {self.kind} {a}, {b}")

    def subtract(self, a: str, b: str) -> str:
        """``a - b``."""
        return self.w.value(f"fsub {self.kind} {a}, {b}")

    def multiply_add(self, a: Fraction, b: str, c: str) -> str:
        """``a * b + c``."""
        if a == 1:
            return self.add(c, b)
        return self.subtract(c, b) if a == -1 else self.w.fma(self.kind, b, self.constant(a), c)

    def linear(self, row: Row, values: Callable[[int], str]) -> str:
        """``sum_k row[k] values(k)``, beginning with a coefficient of one if there is one."""
        present = [k for k, coefficient in enumerate(row) if coefficient]
        first = next((k for k in present if row[k] == 1), present[0])
        total = values(first)
        if row[first] != 1:
            total = self.w.value(f"fmul {self.kind} {total}, {self.constant(row[first])}")
        for k in present:
            if k != first:
                total = self.multiply_add(row[k], values(k), total)
        return total

    def parts(self, row: Row, values: Callable[[int], str]) -> tuple[str, Fraction, str]:
        """The even part of a form; a factor and what it multiplies for the odd one."""
        even = [coefficient if k % 2 == 0 else Fraction(0) for k, coefficient in enumerate(row)]
        odd = [coefficient if k % 2 else Fraction(0) for k, coefficient in enumerate(row)]
        factors = [coefficient for coefficient in reversed(odd) if coefficient]
        factor = next((f for f in factors if all(_exact(c / f) for c in odd)), factors[0])
        return self.linear(even, values), factor, self.linear([c / factor for c in odd], values)

    def rows(self, matrix: Matrix, group: tuple[int, ...], values: Callable[[int], str]) -> list[str]:
        """The forms of one group of `groups_of`."""
        if len(group) == 1:
            return [self.linear(matrix[group[0]], values)]
        even, factor, odd = self.parts(matrix[group[0]], values)
        return [self.multiply_add(factor, odd, even), self.multiply_add(-factor, odd, even)]


def _exact(number: Fraction) -> bool:
    """Whether it is a number of few binary digits: what the points' own powers are, and most of their quotients not."""
    return number.denominator & (number.denominator - 1) == 0
