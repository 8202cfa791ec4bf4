"""Where the arrays of a tile lie: the bases that its steps find them by, and arrays of which some rows are kept."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.algorithms.support.blocks import Range
from convkit.algorithms.support.planes import Strides
from convkit.codegen.step import BIAS, KERNEL, OUT, X

Place = tuple[int, int]
"""A base, and bytes from it."""


@dataclass(frozen=True, slots=True)
class Bases:
    """Where the steps of a tile find what they are done to.

    Attributes
    ----------
    x, out : (int, int)
        The base of samples and of results, and how far from it their arrays begin.
    kernel, bias : int
        The bases of weights and of the bias.
    """

    x: Place = (X, 0)
    out: Place = (OUT, 0)
    kernel: int = KERNEL
    bias: int = BIAS


WHOLE = Bases()


@dataclass(frozen=True, slots=True)
class Strip:
    """An array batch x channel x space, or as many of its rows as there is room for, one taking the place of another.

    A row is everything with one index along the first axis of the space.

    Attributes
    ----------
    place : (int, int)
        Where the first of these rows lies.
    sample, channel : int
        Bytes from sample to sample, and from channel to channel.
    along : tuple of int
        Bytes along the axes of the space, two at least.
    rows : int
        How many rows there is room for; 0: for all.
    first : int
        The row that lies at the beginning.
    """

    place: Place
    sample: int
    channel: int
    along: Strides
    rows: int = 0
    first: int = 0

    def origin(self, row: int) -> Place:
        """Where row 0 would lie if the rows up to ``row`` lay one after another."""
        base, at = self.place
        kept = (row - self.first) % self.rows if self.rows else row
        return base, at + (kept - row) * self.along[0]

    def unbroken(self, rows: Range) -> list[Range]:
        """These rows cut where one does not lie behind the one before."""
        if not self.rows:
            return [rows]
        lo, hi = rows
        ends = [*range(lo + self.rows - (lo - self.first) % self.rows, hi, self.rows), hi]
        return list(zip([lo, *ends[:-1]], ends, strict=True)) if lo < hi else []
