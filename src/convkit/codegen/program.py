"""Programs: steps in order, cut into tasks that may run on any thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from convkit.codegen.step import Steps

Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be done, but for the arrays that it is done to.

    It is worked out once from sizes and strides; to run it, the addresses of the arrays are all that is missing.

    Attributes
    ----------
    steps : ndarray of int64, (steps, WORDS)
        One kernel call each, see `convkit.codegen.step`.
    starts : ndarray of int64, (tasks + 1,)
        The first step of each task, and one past the last step.
    tables : ndarray
        What steps point to under the base ``TABLES``.
    scratch : int
        Bytes of memory that each thread needs for itself.
    tasks : int
        How many tasks there are.
    places : tuple of int
        Where steps, starts and tables begin: asking an array for its address takes longer than a small task.
    """

    steps: Steps
    starts: NDArray[np.int64]
    tables: Array
    scratch: int
    tasks: int = field(init=False)
    places: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", len(self.starts) - 1)
        places = tuple(array.ctypes.data for array in (self.steps, self.starts, self.tables))
        object.__setattr__(self, "places", places)


def join(pieces: Sequence[Sequence[Steps]], tables: Array, scratch: int) -> Program:
    """A program of several pieces. Task ``t`` of a piece is row ``t`` of each of its groups of steps, in turn."""
    parts: list[Steps] = []
    counts: list[NDArray[np.int64]] = []
    for groups in pieces:
        together = np.stack(groups, axis=1)
        tasks, steps, words = together.shape
        parts.append(together.reshape(-1, words))
        counts.append(np.full(tasks, steps, np.int64))
    starts = np.concatenate(([0], np.cumsum(np.concatenate(counts)))).astype(np.int64)
    return Program(np.ascontiguousarray(np.concatenate(parts)), starts, tables, scratch)


class Tables:
    """Tables being collected into one array: equal ones are kept once."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.int64]] = []
        self._known: dict[bytes, int] = {}
        self._size = 0

    def add(self, table: Sequence[int] | NDArray[np.int64]) -> int:
        """Where the table begins, in bytes."""
        numbers = np.ascontiguousarray(table, np.int64).ravel()
        key = numbers.tobytes()
        if key not in self._known:
            self._known[key] = self._size
            self._parts.append(numbers)
            self._size += numbers.nbytes
        return self._known[key]

    def array(self) -> NDArray[np.int64]:
        """All of them, one after another."""
        return np.concatenate(self._parts) if self._parts else np.zeros(1, np.int64)
