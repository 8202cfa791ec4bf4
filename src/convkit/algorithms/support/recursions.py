"""Recursions: how problems are cut for them, which kernels they take, what they cost and how wrong they can be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from convkit.algorithms.support.packing import item_bytes
from convkit.algorithms.support.passes import READABLE, STREAM, UNSURE
from convkit.codegen.library import this_machine
from convkit.codegen.recursive import BLANK, TERM, Recursion, recursion_for
from convkit.planner.algorithm import Array, unit_roundoff
from convkit.planner.exponentials import fit_of
from convkit.planner.machine import DEFAULT, Machine, on_two_threads
from convkit.planner.problem import Problem, Smooth

BAND = 16
"""Rows of a band at least: the columns of what it is transposed into, two vectors of sums."""

BAND_SAMPLES = 1 << 14
"""Samples of a band of narrow images, about."""

WIDEST = 1 << 14
"""Outputs of a strip of columns at most."""

LONGEST = 1 << 14
"""Positions that a kernel reaches at most: more would take much scratch memory."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cut:
    """Which outputs are done together: by the problem alone, so that threads do not change how sums are formed.

    Attributes
    ----------
    band : int
        Rows done along the last axis together; pieces of a signal that lie side by side.
    columns : tuple of pairs
        Outputs of each strip of columns, or of each tile of a signal.
    blocks : tuple of tuples of pairs
        For each row of the first dilation, blocks of the rows from there on: state is made anew for each of them.
    """

    band: int
    columns: tuple[Range, ...]
    blocks: tuple[tuple[Range, ...], ...] = ()

    @property
    def longest(self) -> int:
        """Outputs of the longest piece of a signal."""
        return max(-(-(hi - lo) // self.band) for lo, hi in self.columns)

    @property
    def steps(self) -> int:
        """Steps of a program for one sample, about."""
        return len(self.columns) * max(1, sum(6 * -(-(hi - lo) // self.band) for b in self.blocks for lo, hi in b))

    def rows(self, phase: int) -> tuple[Range, ...]:
        """The blocks of one phase of the dilation."""
        return self.blocks[phase]


def _pieces(count: int, number: int) -> tuple[Range, ...]:
    edges = [count * piece // number for piece in range(number + 1)]
    return tuple((lo, hi) for lo, hi in pairwise(edges) if hi > lo)


@lru_cache(maxsize=1024)
def cut_of(problem: Problem, pixel: int = 1) -> Cut:
    """How a problem is cut."""
    *others, last = problem.windows
    if not others:
        # A piece three times as long as what it begins with, shorter where there would be a single tile.
        piece = min(max(1024, 3 * last.reach), LONGEST, max(256, last.count // (2 * BAND)))
        return Cut(BAND, _pieces(last.count, -(-last.count // (BAND * piece))))
    (down,) = others
    columns = _pieces(last.count, -(-last.count // (WIDEST * pixel)))
    width = min(last.count, last.size)
    band = BAND * min(64, max(1, BAND_SAMPLES // (BAND * width)))
    blocks: list[tuple[Range, ...]] = []
    for phase in range(min(down.dilation, down.count)):
        count = len(range(phase, down.count, down.dilation))
        number = 1 << max(1, int(math.log2(max(1.0, count / (3 * down.kernel)))))
        blocks.append(_pieces(count, min(number, -(-count // band)) if down.dilation == 1 else 1))
    return Cut(band, columns, tuple(blocks))


# -------------------------------------------------------------------------------------------- kernels and their weights


def read_in_place(problem: Problem) -> bool:
    """Whether samples whose neighbours lie side by side are read where they are: the fill is one of their type."""
    if not problem.fill or not any("constant" in window.sides for window in problem.windows):
        return True
    with np.errstate(all="ignore"):
        held = np.array(problem.fill.real).astype(problem.input_dtype)
    return bool(held == problem.fill.real)


def kernels_of(problem: Problem, in_place: bool = True) -> tuple[Recursion, ...]:
    """The kernel of each axis; none if one of them does not fit the registers."""
    found: list[Recursion] = []
    dtype = problem.compute_dtype
    for axis, smooth in enumerate(problem.smooth):
        source = problem.input_dtype if in_place and axis < len(problem.smooth) - 1 else dtype
        nest = recursion_for(this_machine(), source, dtype, smooth.terms, smooth.parity)
        if nest is None:
            return ()
        found.append(nest)
    return tuple(found)


def weights_bytes(smooth: Smooth) -> int:
    """Bytes of the numbers of one factor."""
    return 8 * len(TERM) * smooth.terms


def transposed_fill(problem: Problem) -> int:
    """Where, after the numbers of all factors, zeros and what becomes of the fill down the columns stand."""
    return sum(weights_bytes(smooth) for smooth in problem.smooth)


def weights_of(problem: Problem, factors: Sequence[Array]) -> Array:
    """The numbers of all factors' terms, a vector of zeros, and one of the fill summed down the columns."""
    fits = [fit_of(vector, smooth) for vector, smooth in zip(factors, problem.smooth, strict=True)]
    total = fits[0].total if len(fits) > 1 else 1.0
    fill = np.full(BLANK // np.dtype(problem.compute_dtype).itemsize, problem.fill.real * total, problem.compute_dtype)
    zeros = np.zeros(BLANK // 8)
    return np.concatenate([*(fit.terms.ravel() for fit in fits), zeros, fill.view(np.float64)])


def stored_type(problem: Problem) -> str:
    """The result's type, unless a NaN would have to become an integer, which is not for a kernel to refuse."""
    result = problem.result_dtype
    if result not in READABLE - {"bool", "bfloat16"}:
        return problem.compute_dtype
    return problem.compute_dtype if np.dtype(result).kind in "iu" and problem.input_dtype in UNSURE else result


# ---------------------------------------------------------------------------------------------- what it takes and gives


def error_of(problem: Problem) -> float:
    """The distance of the result from the definition, by norms.

    The fits are off by so much of the kernel; a recursion adds units of float64's roundoff at every step, each carried
    on to the end of its block; results of each pass are rounded once to the type of the sums.
    """
    kernel = rounding = 0.0
    for window, smooth in zip(problem.windows, problem.smooth, strict=True):
        kernel += smooth.error + kernel * smooth.error
        steps = longest_run(problem, window is problem.windows[-1]) + window.kernel
        rounding += smooth.growth * steps * 2.0**-53
    u = unit_roundoff(problem.compute_dtype)
    stored = unit_roundoff(problem.kernel_dtype) if np.dtype(problem.kernel_dtype).kind == "f" else 0.0
    return 1.01 * (kernel + rounding) + (2 * len(problem.windows) + 2) * u + 8 * stored * (len(problem.windows) > 1)


def longest_run(problem: Problem, last: bool) -> int:
    """Outputs from one beginning of the state to the next, at most."""
    cut = cut_of(problem)
    if len(problem.windows) == 1:
        return cut.longest
    if last:
        return max(hi - lo for lo, hi in cut.columns)
    return max(hi - lo for block in cut.blocks for lo, hi in block)


@lru_cache(maxsize=1024)
def seconds_of(problem: Problem, machine: Machine) -> tuple[float, float, float]:
    """Operations, bytes moved, and the seconds that they are predicted to take."""
    outputs, size = float(problem.batch * problem.outputs), np.dtype(problem.compute_dtype).itemsize
    cut = cut_of(problem)
    work = vectors = 0.0
    for axis, (window, smooth) in enumerate(zip(problem.windows, problem.smooth, strict=True)):
        operations = 4 * smooth.terms + 4 if smooth.parity != "none" else 7 * smooth.terms + 3
        again = 1 + window.kernel * window.dilation / max(1, longest_run(problem, axis == len(problem.windows) - 1))
        wide = min(window.span, window.size) / max(1, window.count) if axis == len(problem.windows) - 1 else 1.0
        work += 2 * operations * again
        # One operation on a vector of float64 takes as long as a multiply-add on one of float32.
        vectors += operations * again * max(1.0, wide) + 5 * size / 4
    seconds = outputs * vectors * 4 / machine.fused * COST
    moved = item_bytes(problem.input_dtype) * math.prod(problem.input_shape) + size * outputs
    tasks = len(cut.columns) * max(1, sum(map(len, cut.blocks))) * problem.batch
    seconds = on_two_threads(seconds + moved / STREAM, tasks)
    return work * outputs, moved, max(seconds, moved / machine.bandwidth / 3) + 1e-5 + 2e-7 * cut.steps


COST = 0.7
"""Measured time of a pass compared with its vector operations."""


def workspace_of(problem: Problem) -> int:
    """Bytes of scratch memory of one thread, about."""
    cut, size = cut_of(problem), np.dtype(problem.compute_dtype).itemsize
    last = problem.windows[-1]
    if len(problem.windows) == 1:
        return cut.band * size * (3 * cut.longest + 2 * last.reach)
    width = max(hi - lo for lo, hi in cut.columns) + last.reach
    state = 16 * (problem.smooth[0].terms + 1) * width
    return cut.band * size * width * 5 + state


def one_thread(problem: Problem) -> float:
    """Seconds that one thread takes, roughly."""
    return 1.8 * seconds_of(problem, DEFAULT)[2]
