"""Grid: a shape and a flat list of numbers, the only container the oracle needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any, TypeAlias, cast

Number: TypeAlias = Any
"""Anything with ``+`` and ``*``: int, Fraction, Decimal, complex, float, a symbol."""

Index: TypeAlias = tuple[int, ...]


def indices(shape: Sequence[int]) -> Iterator[Index]:
    """Every index of ``shape``, the last axis fastest.

    Examples
    --------
    >>> list(indices((2, 2)))
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    return product(*map(range, shape))


class Grid:
    """Numbers on a rectangular grid of any rank, in C order.

    Parameters
    ----------
    shape : sequence of int
        Sizes of the axes; ``()`` holds a single number.
    values : sequence of numbers
        ``prod(shape)`` of them.

    Examples
    --------
    >>> Grid.of([[1, 2, 3], [4, 5, 6]])[1, 0]
    4
    """

    __slots__ = ("shape", "values")

    def __init__(self, shape: Sequence[int], values: Sequence[Number]) -> None:
        self.shape: Index = tuple(shape)
        self.values: list[Number] = list(values)
        if len(self.values) != prod(self.shape):
            raise ValueError(f"{len(self.values)} values do not fill a grid of {self.shape}")

    @classmethod
    def full(cls, shape: Sequence[int], value: Number) -> Grid:
        """A grid holding ``value`` everywhere."""
        return cls(shape, [value] * prod(shape))

    @classmethod
    def of(cls, nested: Number) -> Grid:
        """A grid from nested lists of equal lengths; anything that is not a list is a number."""
        shape: list[int] = []
        level: list[Number] = [nested]
        while level and isinstance(level[0], list):
            rows = cast("list[list[Number]]", level)
            shape.append(len(rows[0]))
            if any(len(row) != shape[-1] for row in rows):
                raise ValueError("nested lists of unequal lengths")
            level = [item for row in rows for item in row]
        return cls(shape, level)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def nested(self) -> Number:
        """The numbers as nested lists; `Grid.of` backwards."""
        level = self.values
        for size in reversed(self.shape[1:]):
            count = len(level) // size if size else prod(self.shape[:-1])
            level = [level[i * size : (i + 1) * size] for i in range(count)]
        return level if self.shape else self.values[0]

    def indices(self) -> Iterator[Index]:
        """Every index, the last axis fastest."""
        return indices(self.shape)

    def _flat(self, index: Index) -> int:
        flat = 0
        for position, size in zip(index, self.shape, strict=True):
            if not 0 <= position < size:
                raise IndexError(f"{index} lies outside a grid of {self.shape}")
            flat = flat * size + position
        return flat

    def __getitem__(self, index: Index) -> Number:
        return self.values[self._flat(index)]

    def __setitem__(self, index: Index, value: Number) -> None:
        self.values[self._flat(index)] = value

    def add(self, index: Index, value: Number) -> None:
        """Add ``value`` to what stands at ``index``; the first one added replaces an integer 0.

        So a sum needs no zero of its own kind, and ``+`` is only ever asked of the numbers given.
        """
        flat = self._flat(index)
        before = self.values[flat]
        self.values[flat] = value if type(before) is int and before == 0 else before + value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.shape == other.shape and self.values == other.values

    def __repr__(self) -> str:
        return f"Grid({list(self.shape)}, {self.values})"
