"""Overlap-save by compiled kernels: into which blocks a problem is cut, what they cost, how wrong they can be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from convkit import codegen, threads
from convkit.algorithms.support.packing import item_bytes
from convkit.codegen.fourier import Fourier, good_lengths, lanes_of, radices
from convkit.planner.algorithm import Cost, ErrorBound, Reason, unit_roundoff
from convkit.planner.machine import Machine, on_two_threads
from convkit.planner.problem import Problem

REAL = {"float32": "float32", "float64": "float64", "complex64": "float32", "complex128": "float64"}
"""What the planes of a block hold, by compute type."""

WHOLE = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
"""Integer types that kernels can store."""

READABLE = {"bool", "float16", "bfloat16", *WHOLE, *REAL}
"""Types of samples that kernels can read."""

LARGEST = 1 << 22
"""Bytes of both planes of a block at most: what one thread needs beside. Only long kernels make blocks so large."""

LEAST_PRODUCTS = 1 << 14
"""Products of one sample below which neither loading the compiler nor its kernels would be paid back."""

RANKS = 3
"""Axes of a block at most."""

LINE = 64
"""Bytes of a cache line."""

# Nanoseconds for each point of a float32 block, there and back, measured on the default machine: the innermost levels
# with the product; a stage by its radix; what leaves the first-level cache, or the second, and comes back; packing and
# unpacking, rows and images.
_INNERMOST, _STAGE = 0.65, {8: 0.23, 4: 0.2, 3: 0.22, 2: 0.17}
_AWAY = ((16 << 10, 0.0), (64 << 10, 0.15), (512 << 10, 0.3), (1 << 62, 1.0))
_PACKED = (0.25, 0.7)
_TASK = 3e-7
"""Seconds that a task takes beside."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a problem is cut into blocks.

    Attributes
    ----------
    lengths : tuple of int
        Length of a block along each axis.
    counts : tuple of int
        Outputs of a block along each axis: those whose window does not wrap around.
    tasks : int
        Transforms of one sample: two real blocks make one, a complex block is one.
    seconds : float
        Predicted time of one sample on the default machine, by one thread.
    """

    lengths: tuple[int, ...]
    counts: tuple[int, ...]
    tasks: int
    seconds: float


def why_not(problem: Problem) -> Reason | None:
    """What keeps compiled transforms from doing a problem that other transforms can do."""
    if problem.compute_dtype not in REAL or problem.input_dtype not in READABLE:
        return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
    if problem.compute_dtype.startswith("c") and not problem.input_dtype.startswith("c"):
        return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
    if problem.in_channels > 1 or problem.out_channels > 1:
        return Reason("mixed-channels")
    if any(window.stride > 1 for window in problem.windows):
        return Reason("strided")
    products = problem.taps * problem.outputs
    if products < LEAST_PRODUCTS:
        return Reason("too-small", products=products, limit=LEAST_PRODUCTS)
    why_not = codegen.why_not()
    return None if why_not is None else Reason(why_not)


@lru_cache(maxsize=2048)
def blocks_of(problem: Problem) -> Blocks | None:
    """The blocks that take the least predicted time; None where none fits the cache, or kernels cannot be compiled.

    The prediction is for the default machine, so that measuring one does not change results.
    """
    if len(problem.windows) > RANKS or why_not(problem) is not None or not all(w.size for w in problem.windows):
        return None
    real = REAL[problem.compute_dtype]
    item = np.dtype(real).itemsize
    unit = unit_of(real)
    best: Blocks | None = None
    for lengths in _candidates(problem, LARGEST // (2 * item), unit):
        counts = tuple(n - window.reach + 1 for n, window in zip(lengths, problem.windows, strict=True))
        blocks = math.prod(-(-window.count // n) for window, n in zip(problem.windows, counts, strict=True))
        tasks = blocks if problem.compute_dtype.startswith("c") else -(-blocks // 2)
        # Two threads are thought of, whatever their number is: an odd task keeps one of them waiting.
        shared = tasks + tasks % 2 if tasks > 1 else 1
        seconds = shared * (point_seconds(lengths, item, unit) * math.prod(lengths) + _TASK)
        if best is None or seconds < best.seconds:
            best = Blocks(lengths, counts, tasks, seconds)
    return best


def unit_of(real: str) -> int:
    """Numbers that the last axis of a block is a multiple of."""
    return 4 * lanes_of(real)


def _candidates(problem: Problem, points: int, unit: int) -> Iterator[tuple[int, ...]]:
    """Lengths of blocks of at most so many points: from one window to the whole axis."""
    choices: list[list[int]] = []
    last = len(problem.windows) - 1
    for axis, window in enumerate(problem.windows):
        lengths = good_lengths(points, unit if axis == last else 1)
        least = [n for n in lengths if n >= window.reach]
        useful = [n for n in least if n < window.span] + [n for n in least if n >= window.span][:1]
        choices.append(useful)
    for lengths in product(*choices):
        if math.prod(lengths) <= points:
            yield lengths


def point_seconds(lengths: Sequence[int], item: int, unit: int) -> float:
    """Predicted seconds for one point of a block."""
    stages = [radix for n in lengths[:-1] for radix in radices(n, 8)] + radices(lengths[-1] // unit, 8)
    away = next(cost for most, cost in _AWAY if 2 * item * math.prod(lengths) <= most)
    nanoseconds = _INNERMOST + sum(_STAGE[radix] for radix in stages) + away + _PACKED[len(lengths) > 1]
    return 1e-9 * nanoseconds * item / 4


FITTED = 1.0e11
"""The rate of compiled loops for which the nanoseconds above hold."""

OWN_CACHES, SHARED_CACHE = 1 << 22, 1 << 24
"""Bytes from which samples and results come from the cache that cores share, and from memory, roughly."""


def cost_of(problem: Problem, blocks: Blocks, machine: Machine) -> Cost:
    """The cost of all blocks, and of the kernel's own transform."""
    points, images = math.prod(blocks.lengths), problem.batch * problem.groups
    flops = images * blocks.tasks * (10.0 * math.log2(points) + 6) * points
    scale = FITTED / machine.fused
    seconds = images * blocks.seconds * scale
    # Blocks of a volume are many short rows, far from each other.
    seconds = on_two_threads((0.82 if len(blocks.lengths) > 2 else 0.62) * seconds, blocks.tasks)
    moved = float(
        item_bytes(problem.input_dtype) * math.prod(problem.input_shape)
        + item_bytes(problem.result_dtype or problem.compute_dtype) * math.prod(problem.output_shape)
    )
    fourier = fourier_of(problem, blocks)
    kernel = problem.groups * (0.3 * blocks.seconds / blocks.tasks * scale + 1e-6)
    held = scratch_of(fourier) * threads.num_threads() + 2 * problem.groups * fourier.spectrum_size * fourier.item_bytes
    # Tiles come from memory in bursts, between which it rests, and short rows keep it from reading ahead.
    waits = 1.1
    if len(blocks.lengths) > 1:
        waits = (2.1 if moved > SHARED_CACHE else 1.4) * min(1.0, moved / OWN_CACHES)
    return Cost(flops, moved, seconds + waits * moved / machine.bandwidth + kernel + 5.5e-6, held)


def bound_of(problem: Problem, blocks: Blocks) -> ErrorBound:
    """Bound by norms of a product of spectra: three transforms and one product.

    Each transform errs by at most ``6.7 u`` relative to the norm for every doubling of its length (Higham, Accuracy and
    Stability, theorem 24.2, with twiddle factors good to u), the twist counted as one more. Two blocks that overlap are
    one complex block, whose norm is at most ``sqrt(2)`` times that of the samples.
    """
    u = unit_roundoff(problem.compute_dtype)
    levels = math.log2(math.prod(blocks.lengths)) + 1
    return ErrorBound("norm", math.sqrt(2) * (20.1 * levels + 7) * u)


def fourier_of(problem: Problem, blocks: Blocks) -> Fourier:
    """The transform of a block."""
    return Fourier.of(blocks.lengths, REAL[problem.compute_dtype])


def scratch_of(fourier: Fourier) -> int:
    """Bytes of both planes of a block in scratch memory."""
    return 2 * plane_bytes(fourier)


def plane_bytes(fourier: Fourier) -> int:
    """Bytes from the real to the imaginary plane: not a power of two, so that they do not share a set of the cache."""
    return -(-fourier.plane_bytes // LINE) * LINE + 9 * LINE
