"""What was done once as a recorded job: calls of programs worked out for some arrays, and made on others in one call.

A job knows how far every address lies from the array that it belongs to. So chains of a model's layers, a layer seen
before and its gradients are the same thing: fill in where the arrays are, and let the programs run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from convkit import threads
from convkit.codegen import look, memory, parallel, pool, zeros
from convkit.codegen.memory import address
from convkit.codegen.recording import Recording, recording
from convkit.codegen.stages import Stages
from convkit.codegen.step import STATUS, TABLES
from convkit.planner.algorithm import Array, Call

LINE = 64
"""Bytes of a cache line, on which the first array of a recorded job and all that stays inside begin."""

STATUS_AT = STATUS - 2
"""Where the status stands among the bases of a call, which lack scratch memory and tables."""


class Extent(NamedTuple):
    """Memory whose place changes from run to run.

    Attributes
    ----------
    first, end : int
        Addresses.
    origin : int
        What lies at the place that a run is given.
    """

    first: int
    end: int
    origin: int

    @classmethod
    def of(cls, array: Array) -> Extent:
        """All that an array reaches."""
        at = address(array)
        steps = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
        first = at + sum(step for step in steps if step < 0)
        return cls(first, at + sum(step for step in steps if step > 0) + array.itemsize, at)


class Laid(NamedTuple):
    """Bytes that are copied before the programs run.

    Arrays go by their numbers; the memory inside comes after the last of them.
    """

    array: int
    at: int
    source: int
    by: int
    bytes: int


class _Copy:
    """The stages of a job: one run at a time has them, and finds the addresses of the run before."""

    __slots__ = ("found", "places", "stages")

    def __init__(self, calls: Sequence[Call], places: int) -> None:
        self.found, self.places = ctypes.c_int64(0), [0] * places
        self.stages = Stages([(call.program, call.bases, call.seconds) for call in calls])
        for n, call in enumerate(calls):
            if call.status >= 0:
                self.stages.words[_word(n, STATUS_AT)] = ctypes.addressof(self.found)


class Job:
    """Calls that are made again on arrays of the same shapes and strides.

    Parameters
    ----------
    calls : sequence of Call
        As they were worked out.
    arrays : sequence of Extent
        The memory of the arrays that every run is given.
    inside : sequence of Extent
        Memory that is lent to each run: places in one piece of ``size`` bytes.
    laid : sequence of Laid
        What is copied first.
    """

    def __init__(
        self, calls: Sequence[Call], arrays: Sequence[Extent], inside: Sequence[Extent] = (), size: int = 0,
        laid: Sequence[Laid] = (),
    ) -> None:  # fmt: skip
        self._calls, self._size, self._laid = calls, size, laid
        self._moving = [_found(calls, [extent]) for extent in arrays] + [_found(calls, inside)]
        self._free: list[_Copy] = []

    def run(self, places: Sequence[int]) -> bool:
        """Make the calls; ``places``: the addresses of the arrays.

        Returns False where infinite numbers were met that the calls may have spread: then what they give is not to be
        used.
        """
        try:
            copy = self._free.pop()
        except IndexError:  # others run it at this moment, or nobody ever did
            copy = _Copy(self._calls, len(self._moving))
        copy.found.value = 0
        if self._size:
            piece = memory.borrow(self._size)
            self._follow(copy, [*places, piece.at])
            memory.give_back(piece)
        else:
            self._follow(copy, places)
        finite = not copy.found.value
        self._free.append(copy)
        return finite

    def _follow(self, copy: _Copy, places: Sequence[int]) -> None:
        words, held = copy.stages.words, copy.places
        for n, place in enumerate(places):
            if place != held[n]:
                for at, by in self._moving[n]:
                    words[at] = place + by
                held[n] = place
        for array, at, source, by, count in self._laid:
            ctypes.memmove(places[array] + at, places[source] + by, count)
        pool.follow(copy.stages, threads.num_threads())


def _word(call: int, base: int) -> int:
    """Which word of the stages holds a base."""
    return call * parallel.STAGE_WORDS + parallel.ENTERED + 1 + base + (base + 1 >= TABLES)


def _found(calls: Sequence[Call], extents: Iterable[Extent]) -> list[tuple[int, int]]:
    """The words that hold addresses in this memory, and how far these lie from its place."""
    return [
        (_word(n, m), base - extent.origin)
        for n, call in enumerate(calls)
        for m, base in enumerate(call.bases)
        for extent in extents
        if m != call.status and extent.first <= base < extent.end
    ]


Verdict = Literal["never", "later"]
"""Whether something is more than calls of programs, or cannot be told from what it was done to this time."""


def recorded(do: Callable[[], Sequence[Call] | None], arrays: Sequence[Array], looked: Array | None) -> Job | Verdict:
    """Do something to arrays, and write it down as a job that does it to others.

    Nothing but calls of programs is written down, so the job is run once more and believed if it gives the same bits.

    Parameters
    ----------
    do : callable
        Writes the first of the arrays, reading the others; or gives the calls that do, made of nothing else.
    arrays : sequence of ndarray
        Those that the job's runs are to be given.
    looked : ndarray, optional
        One of them, dense, of which every run sees whether all numbers are finite: otherwise more may have to be done.
    """
    extents = [Extent.of(array) for array in arrays]
    with recording() as seen:
        given = do()
    ordered = sorted(extents)
    if (given is not None and seen.made) or any(a.end > b.first for a, b in pairwise(ordered)):
        return "later"
    calls = _calls(seen) if given is None else list(given)
    inside, size = _inside(seen)
    laid = _laid(seen, extents, inside)
    strange = given is None and any(
        base and m != call.status and not any(extent.first <= base < extent.end for extent in (*extents, *inside))
        for call in calls
        for m, base in enumerate(call.bases)
    )
    if not calls or strange or laid is None:
        return "never"
    if looked is not None:
        seconds = looked.size * look.SECONDS
        bases = 0, Extent.of(looked).first, 0, 1
        calls.append(Call(look.program(looked.dtype.name, looked.size), bases, seconds, STATUS_AT))
    return _believed(Job(calls, extents, inside, size, laid), do, arrays, size)


def _calls(seen: Recording) -> list[Call]:
    found = [
        Call(zeros.program(size), (to, 0, 0), size * zeros.SECONDS) for to, source, size in seen.laid if not source
    ]
    for program, bases, seconds in seen.made:
        told = len(bases) > STATUS_AT and bases[STATUS_AT]
        found.append(Call(program, bases, seconds, STATUS_AT if told else -1))
    return found


def _inside(seen: Recording) -> tuple[list[Extent], int]:
    """Working memory, each array at a line of its own; and bytes of all."""
    extents: list[Extent] = []
    size = 0
    for array in seen.memory:
        at = address(array)
        extents.append(Extent(at, at + array.nbytes, at - size))
        size += -(-array.nbytes // LINE) * LINE
    return extents, size


def _laid(seen: Recording, arrays: Sequence[Extent], inside: Sequence[Extent]) -> list[Laid] | None:
    """None if something came from elsewhere."""
    memories = [(extent, min(n, len(arrays))) for n, extent in enumerate((*arrays, *inside))]

    def place(at: int, count: int) -> tuple[Extent, int] | None:
        return next((one for one in memories if one[0].first <= at and at + count <= one[0].end), None)

    found: list[Laid] = []
    for to, source, count in seen.laid:
        if source:
            into, of = place(to, count), place(source, count)
            if into is None or of is None:
                return None
            found.append(Laid(into[1], to - into[0].origin, of[1], source - of[0].origin, count))
    return found


def _believed(job: Job, do: Callable[[], Any], arrays: Sequence[Array], size: int) -> Job | Verdict:
    """The job, if run on other memory, whose bits are all set before, it gives what was to be done."""
    out, *others = arrays
    room = np.empty(out.nbytes + LINE, np.uint8)
    room.fill(255)
    again = np.ndarray(out.shape, out.dtype, room, -address(room) % LINE, out.strides)
    if size:
        piece = memory.borrow(size)
        piece.bytes.fill(255)
        memory.give_back(piece)
    if not job.run([address(array) for array in (again, *others)]):
        return "later"
    bits = f"u{out.itemsize}"
    return job if np.array_equal(out.view(bits), again.view(bits)) else "never"
