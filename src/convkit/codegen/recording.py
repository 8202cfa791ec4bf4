"""Calls of programs written down while they are made, with the memory in which they leave something to each other.

A run that is nothing but calls of programs can be made again from what was written down, at other addresses. Whatever
else it does is not seen here; so whoever makes it again compares once what comes of both.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from numpy.typing import DTypeLike, NDArray

from convkit import memory
from convkit.codegen.memory import address
from convkit.codegen.program import Program


class Made(NamedTuple):
    """One call of a program.

    Attributes
    ----------
    program : Program
        What was done.
    bases : tuple of int
        The addresses that it was given, from ``OUT`` on.
    seconds : float
        A guess at what it takes one thread.
    """

    program: Program
    bases: tuple[int, ...]
    seconds: float


class Laid(NamedTuple):
    """Bytes of memory that are set before any program runs, in any order: copied from ``source``, or cleared (0)."""

    to: int
    source: int
    bytes: int


class Recording:
    """What was done on a thread while it was open.

    Attributes
    ----------
    made : list of Made
        Calls of programs, in order.
    laid : list of Laid
        What was copied into working memory, and what was cleared.
    memory : list of ndarray
        Working memory, held so that no two pieces have had the same addresses.
    """

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.laid: list[Laid] = []
        self.memory: list[NDArray[Any]] = []


class _Here(threading.local):
    recording: Recording | None = None


_here = _Here()


@contextmanager
def recording() -> Iterator[Recording]:
    """Write down what this thread does meanwhile."""
    outer, _here.recording = _here.recording, Recording()
    try:
        yield _here.recording
    finally:
        _here.recording = outer


def note(program: Program, bases: Sequence[int], seconds: float) -> None:
    """Write a call down, if anybody wants to know of it."""
    if _here.recording is not None:
        _here.recording.made.append(Made(program, tuple(bases), seconds))


def working(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Working memory that programs fill before they read it, from a line of the cache on."""
    array = memory.aligned(shape, dtype)
    if _here.recording is not None:
        _here.recording.memory.append(array)
    return array


def cleared(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Working memory full of zeros."""
    array = working(shape, dtype)
    clear(array)
    return array


def clear(array: NDArray[Any]) -> None:
    """Set an array to zeros."""
    array[...] = 0
    if array.transpose(sorted(range(array.ndim), key=lambda axis: -array.strides[axis])).flags.c_contiguous:
        _lay(array, 0, array.nbytes)  # elsewhere it is not seen


def copied(array: NDArray[Any], dtype: DTypeLike, zeros: int = 0) -> NDArray[Any]:
    """The same numbers in working memory, in order; so many zeros more along the first axis."""
    shape = array.shape[0] + zeros, *array.shape[1:]
    copy = working(shape, dtype)
    copy[: array.shape[0]] = array
    if zeros:
        clear(copy[array.shape[0] :])
    if array.dtype == copy.dtype and array.flags.c_contiguous:  # another copy is not seen
        _lay(copy, address(array), array.nbytes)
    return copy


def _lay(array: NDArray[Any], source: int, size: int) -> None:
    if _here.recording is not None:
        _here.recording.laid.append(Laid(address(array), source, size))
