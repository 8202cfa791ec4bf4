"""Layers through spectra by compiled kernels: into which tiles they are cut, what they cost, how wrong they can be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

from convkit import codegen, threads
from convkit.algorithms.support.fourier_blocks import (
    FITTED,
    LEAST_PRODUCTS,
    LINE,
    OWN_CACHES,
    RANKS,
    READABLE,
    REAL,
    point_seconds,
    scratch_of,
    unit_of,
)
from convkit.algorithms.support.packing import item_bytes
from convkit.algorithms.support.register_tiles import largest, shared
from convkit.codegen.fourier import Fourier, good_lengths
from convkit.codegen.fourier_lanes import Lanes
from convkit.codegen.fourier_passes import Pass
from convkit.codegen.fourier_products import Products
from convkit.codegen.library import this_machine
from convkit.planner.algorithm import Cost, ErrorBound, Reason, unit_roundoff
from convkit.planner.machine import DEFAULT, Machine
from convkit.planner.problem import Problem

MOST_SPECTRA = 1 << 28
"""Bytes that the spectra of all weights may take."""

MOST_WORK = 1 << 24
"""Bytes that the spectra of a box may take at most, if a box is one tile."""

BOX = 3 << 22
"""Bytes of the spectra of a box, samples and sums, where it has several tiles: with a box's weights passing by they
stay in the cache that cores share."""

OUTPUTS = 2
"""Output channels summed at once."""

TASKS = 32
"""Tasks of each part of the work on a box, roughly."""


@dataclass(frozen=True)
class Tiling:
    """How a layer is cut. All but the box and its groups depends on one sample alone.

    Attributes
    ----------
    lengths : tuple of int
        Samples of a tile along each axis.
    counts : tuple of int
        Outputs of a tile along each axis: those whose window does not wrap around.
    fourier : Fourier
        The transform of a tile; of a real one, modulo ``z**n - i`` along the first axis, which it has twice as many
        rows along as the transform.
    tiles : int
        Tiles of one sample.
    seconds : float
        Predicted time of one sample on the default machine, by two threads, its weights' spectra being there.
    """

    lengths: tuple[int, ...]
    counts: tuple[int, ...]
    fourier: Fourier
    tiles: int
    seconds: float = 0.0

    @property
    def folded(self) -> bool:
        """Whether a tile's second half is the imaginary plane."""
        return self.fourier.modulus == "i"

    @property
    def pair(self) -> int:
        """Bytes of a complex vector."""
        return 2 * self.fourier.lanes * self.fourier.item_bytes

    @property
    def vectors(self) -> int:
        """Complex vectors of a spectrum."""
        return self.fourier.spectrum_size * self.fourier.item_bytes // self.pair

    def weights_vector(self, problem: Problem) -> int:
        """Bytes from a vector of frequencies of all weights to the next: no power of two, see `box_vector`."""
        return problem.in_channels * problem.out_channels * self.pair + LINE

    def weights_bytes(self, problem: Problem) -> int:
        """Bytes of the spectra of one group's weights."""
        return self.vectors * self.weights_vector(problem)

    def box_vector(self, channels: int, tiles: int) -> int:
        """Bytes from a vector of frequencies of so many channels to the next.

        They are not a power of two, since the vectors of one tile would all fall into one set of the caches.
        """
        return channels * tiles * self.pair + LINE

    def box_bytes(self, problem: Problem, tiles: int) -> int:
        """Bytes of the spectra of a box: samples first, then sums."""
        return self.vectors * sum(self.box_vector(n, tiles) for n in (problem.in_channels, problem.out_channels))

    def box(self, problem: Problem) -> tuple[int, int]:
        """Groups and tiles, of all samples, that are done at a time at most."""
        total = problem.batch * self.tiles
        tiles = largest(total, max(1, min(total, BOX // self.box_bytes(problem, 1))))
        if tiles < total:
            return 1, tiles
        return largest(problem.groups, max(1, min(problem.groups, BOX // self.box_bytes(problem, tiles)))), tiles

    def products(self, problem: Problem, tiles: int) -> Products:
        """The kernel that sums over channels."""
        at_once = 4 if this_machine().registers >= 32 else 2
        return Products(self.fourier.dtype, self.panels(problem)[0][0], largest(tiles, at_once))

    def kernels(self, problem: Problem) -> tuple[Products | Lanes | Pass, ...]:
        """The compiled kernels of a layer, that of the products first."""
        lanes = self.fourier.lanes_for("spectrum"), self.fourier.lanes_for("inverse")
        tiles = self.box(problem)[1]
        return self.products(problem, tiles), *lanes, *self.fourier.kernels()[1:]

    @staticmethod
    def panels(problem: Problem) -> list[tuple[int, int]]:
        """The sizes of panels of output channels, and how many there are of each."""
        return shared(problem.out_channels, OUTPUTS)


def why_not(problem: Problem) -> Reason | None:
    """What keeps compiled transforms from doing a layer that other transforms can do."""
    if problem.compute_dtype not in REAL or problem.input_dtype not in READABLE:
        return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
    if problem.compute_dtype.startswith("c") and not problem.input_dtype.startswith("c"):
        return Reason("no-compiled-kernel", dtype=problem.compute_dtype)
    if problem.in_channels == problem.out_channels == 1:
        return Reason("one-channel")
    if any(window.stride > 1 for window in problem.windows):
        return Reason("strided")
    products = problem.terms * problem.outputs * problem.out_channels
    if products < LEAST_PRODUCTS:
        return Reason("too-small", products=products, limit=LEAST_PRODUCTS)
    why_not = codegen.why_not()
    return None if why_not is None else Reason(why_not)


def too_large(problem: Problem) -> Reason | None:
    """Why a layer that compiled transforms could do is left alone: spectra that would take too much memory."""
    if len(problem.windows) > RANKS or why_not(problem) is not None or not all(w.size for w in problem.windows):
        return None
    if tiling_of(problem) is not None:
        return None
    shortest = _cut(problem, tuple(_least(problem)))
    work, weights = shortest.box_bytes(problem, 1), problem.groups * shortest.weights_bytes(problem)
    if work > MOST_WORK:
        return Reason("spectra-too-large", bytes=work, limit=MOST_WORK)
    return Reason("spectra-too-large", bytes=weights, limit=MOST_SPECTRA)


def _least(problem: Problem) -> list[int]:
    """The shortest tile that holds a window."""
    fold = 1 if problem.compute_dtype.startswith("c") else 2
    unit, last = unit_of(REAL[problem.compute_dtype]), len(problem.windows) - 1
    found: list[int] = []
    for axis, window in enumerate(problem.windows):
        step, twice = (unit if axis == last else 1), (fold if axis == 0 else 1)
        lengths = (twice * n for n in good_lengths(4 * (window.reach + step), step))
        found.append(next(n for n in lengths if n >= window.reach))
    return found


def tiling_of(problem: Problem) -> Tiling | None:
    """The tiles that take the least predicted time; None where kernels cannot be compiled, or none fits."""
    return _tiling_of(problem if problem.batch == 1 else problem.derive(batch=1))


@lru_cache(maxsize=1024)
def _tiling_of(problem: Problem) -> Tiling | None:
    if len(problem.windows) > RANKS or why_not(problem) is not None or not all(w.size for w in problem.windows):
        return None
    best: tuple[float, Tiling] | None = None
    for lengths in _candidates(problem):
        tiling = _cut(problem, lengths)
        if problem.groups * tiling.weights_bytes(problem) > MOST_SPECTRA or tiling.box_bytes(problem, 1) > MOST_WORK:
            continue
        tiling = replace(tiling, seconds=run_seconds(problem, tiling))
        price = tiling.seconds + weights_seconds(problem, tiling) / CALLS
        if best is None or price < best[0]:
            best = price, tiling
    return None if best is None else best[1]


def _cut(problem: Problem, lengths: tuple[int, ...]) -> Tiling:
    counts = tuple(n - window.reach + 1 for n, window in zip(lengths, problem.windows, strict=True))
    tiles = math.prod(-(-window.count // n) for window, n in zip(problem.windows, counts, strict=True))
    if problem.compute_dtype.startswith("c"):
        return Tiling(lengths, counts, Fourier.of(lengths, REAL[problem.compute_dtype]), tiles)
    half = (lengths[0] // 2, *lengths[1:])
    return Tiling(lengths, counts, Fourier.of(half, REAL[problem.compute_dtype], "i"), tiles)


def _candidates(problem: Problem) -> Iterator[tuple[int, ...]]:
    """Lengths of tiles from one window to the whole axis, of as many samples as memory allows."""
    item = item_bytes(problem.compute_dtype)
    most = MOST_WORK // (item * (problem.in_channels + problem.out_channels))
    unit, last = unit_of(REAL[problem.compute_dtype]), len(problem.windows) - 1
    choices: list[list[int]] = []
    for axis, window in enumerate(problem.windows):
        fold = 2 if axis == 0 and not problem.compute_dtype.startswith("c") else 1
        lengths = [fold * n for n in good_lengths(most // fold, unit if axis == last else 1)]
        least = [n for n in lengths if n >= window.reach]
        choices.append([n for n in least if n < window.span] + [n for n in least if n >= window.span][:1])
    for lengths in product(*choices):
        if math.prod(lengths) <= most:
            yield lengths


# ---------------------------------------------------------------------------------------------------------------- cost

TRANSFORM, WEIGHTS = {1: 0.33, 2: 0.33, 3: 0.45}, 0.42
"""What a transform there, or back, and that of a kernel in a tile of zeros take of the time that `point_seconds` tells
of a block that is packed, convolved and stored. A volume's tile is many short rows, far from each other."""

PRODUCT = 0.075
"""Nanoseconds of one product of a float32 spectrum's numbers with its weight, by one thread."""

STREAMED, CARRIED = 2.4e10, 3
"""Bytes a second that two threads take from memory; and how often those of a box pass, if it leaves the caches: fetched
to be written, written, and read again."""

NEW = ((1 << 25, 8e9), (1 << 62, 3e9))
"""Bytes that are written for the first time in a second: larger pieces of memory come from the system anew each time,
which zeroes them page by page."""

CALLS = 4
"""Calls that tiles are chosen for: networks keep the spectra of their weights, plain calls make them anew."""

OVERHEAD = 2.5e-5
"""Seconds of a box beside its work: three times threads begin and end."""


def run_seconds(problem: Problem, tiling: Tiling, machine: Machine = DEFAULT) -> float:
    """Predicted seconds of the layer by two threads, its weights' spectra being there."""
    item, points = item_bytes(tiling.fourier.dtype), math.prod(tiling.fourier.lengths)
    tiles = problem.batch * tiling.tiles
    groups, together = tiling.box(problem)
    planes = problem.groups * tiles * (problem.in_channels + problem.out_channels)
    pairs = problem.groups * tiles * problem.in_channels * problem.out_channels
    scale, slower = FITTED / machine.fused, DEFAULT.bandwidth / machine.bandwidth
    passes, carried = -(-tiles // together), 2 * points * item * planes
    streamed = problem.groups * tiling.weights_bytes(problem) * passes / STREAMED
    seconds = scale * TRANSFORM[len(problem.windows)] * planes * _block_seconds(tiling) / 1.85
    seconds += max(scale * 1e-9 * PRODUCT * item / 4 * pairs * points / 1.85, slower * streamed)
    seconds += slower * CARRIED * carried / STREAMED * min(1.0, carried / OWN_CACHES)
    return seconds + OVERHEAD * passes * -(-problem.groups // groups)


def weights_seconds(problem: Problem, tiling: Tiling, machine: Machine = DEFAULT) -> float:
    """Predicted seconds of the weights' spectra by two threads."""
    kernels = problem.groups * problem.in_channels * problem.out_channels
    weights = problem.groups * tiling.weights_bytes(problem)
    rate = next(rate for most, rate in NEW if weights <= most)
    scale, slower = FITTED / machine.fused, DEFAULT.bandwidth / machine.bandwidth
    return scale * WEIGHTS * kernels * _block_seconds(tiling) / 1.85 + slower * weights / rate


def _block_seconds(tiling: Tiling) -> float:
    """Predicted seconds of a block packed, convolved and stored, by one thread."""
    item, lengths = item_bytes(tiling.fourier.dtype), tiling.fourier.lengths
    return point_seconds(lengths, item, unit_of(tiling.fourier.dtype)) * math.prod(lengths)


def cost_of(problem: Problem, tiling: Tiling, machine: Machine) -> Cost:
    """The cost of all tiles, and of the weights' spectra, which a call without kept weights has to make."""
    points = math.prod(tiling.fourier.lengths)
    tiles = problem.batch * tiling.tiles * problem.groups
    pairs = problem.in_channels * problem.out_channels
    transforms = tiles * (problem.in_channels + problem.out_channels) + problem.groups * pairs
    flops = 5.0 * math.log2(max(2, points)) * points * transforms + 8.0 * points * tiles * pairs
    groups, together = tiling.box(problem)
    weights = problem.groups * tiling.weights_bytes(problem)
    moved = float(
        item_bytes(problem.input_dtype) * math.prod(problem.input_shape)
        + item_bytes(problem.compute_dtype) * math.prod(problem.output_shape)
        + weights * -(-problem.batch * tiling.tiles // together)
    )
    held = weights + groups * tiling.box_bytes(problem, together) + scratch_of(tiling.fourier) * threads.num_threads()
    if any(window.dilation > 1 for window in problem.windows):
        held += item_bytes(problem.compute_dtype) * pairs * problem.groups * math.prod(w.reach for w in problem.windows)
    seconds = run_seconds(problem, tiling, machine) + weights_seconds(problem, tiling, machine)
    return Cost(flops, moved, seconds, held)


def bound_of(problem: Problem, tiling: Tiling) -> ErrorBound:
    """Bound by norms of a product of spectra, summed over channels: three transforms and the products.

    Each transform errs by at most ``6.7 u`` relative to the norm for every doubling of its length (Higham, Accuracy and
    Stability, theorem 24.2, with twiddle factors good to u); the twist and the first axis's modulus count as one more
    each. A part of a sum over C channels has ``2 C`` products, and both parts ``sqrt(2)`` times their error; Cauchy and
    Schwarz make norms over all channels of it.
    """
    u = unit_roundoff(problem.compute_dtype)
    levels = math.log2(math.prod(tiling.fourier.lengths)) + 2
    return ErrorBound("norm", math.sqrt(2) * (20.1 * levels + 2 * problem.in_channels + 7) * u)
