"""One way of doing a problem, and what several libraries need to describe theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.cli.bench.problems import Problem

Results = tuple[np.ndarray, ...]
Run = Callable[[], Any]


def one(value: object) -> Results:
    """A single result as an array."""
    return (np.asarray(value),)


@dataclass(frozen=True, slots=True)
class Way:
    """One way of one library.

    Attributes
    ----------
    name : str
        The function, as printed after the library's name.
    run : callable
        What is timed.
    read : callable
        Turns what ``run`` returned into the problem's layout, outside the timing.
    allowance : float
        What the library rounds away by its own documentation, in units of the last place of whole results.
    threads : str
        Whose threads do the work, if not the library's own.
    """

    name: str
    run: Run
    read: Callable[[Any], Results] = one
    allowance: float = 0.0
    threads: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a filter's windows reach, and its kernel with the dilation's zeros written out.

    Attributes
    ----------
    before, after : tuple of int
        Samples before and after the output's own place, for every axis of the input.
    kernel : ndarray
        With as many axes as the input.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    kernel: np.ndarray

    @classmethod
    def of(cls, problem: Problem, kernel: np.ndarray) -> Reach:
        """That of a filter."""
        step = problem.dilation
        before = tuple((taps // 2) * step for taps in problem.along)
        after = tuple((taps - 1) * step - gone for taps, gone in zip(problem.along, before, strict=True))
        wide = np.zeros([(taps - 1) * step + 1 for taps in problem.along], kernel.dtype)
        wide[tuple(slice(None, None, step if taps > 1 else 1) for taps in problem.along)] = kernel.reshape(
            problem.along
        )
        return cls(before, after, wide)

    @property
    def centred(self) -> bool:
        """Whether the output's place is where centred filters have it."""
        return all(gone == size // 2 for gone, size in zip(self.before, self.kernel.shape, strict=True))

    def padded(self, x: np.ndarray, boundary: str) -> np.ndarray:
        """``x`` with its surroundings, as far as windows reach."""
        return np.pad(x, list(zip(self.before, self.after)), mode="constant" if boundary == "zero" else boundary)  # type: ignore[call-overload]


def thinned(problem: Problem) -> tuple[slice, ...]:
    """The outputs that a stride leaves."""
    steps = problem.filter_axes
    return tuple(slice(None, None, problem.stride if axis in steps else 1) for axis in range(len(problem.shape)))


def bytes_of(sums: np.ndarray) -> np.ndarray:
    """Sums rounded and cut to bytes."""
    return np.clip(np.rint(sums), 0, 255).astype(np.uint8)
