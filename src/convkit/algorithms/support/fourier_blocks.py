"""Overlap-save by compiled kernels: which blocks, two real ones in one complex transform, and the program for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from convkit import codegen, threads
from convkit.algorithms.support.packing import Packed, Source, packing
from convkit.codegen import pool, sequence, unpack
from convkit.codegen.fourier import Fourier, good_lengths, lanes_of, radices
from convkit.codegen.library import address_of
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, TABLES, WORDS, Steps, X
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, unit_roundoff
from convkit.planner.machine import DEFAULT, Machine
from convkit.planner.problem import Problem

REAL = {"float32": "float32", "float64": "float64", "complex64": "float32", "complex128": "float64"}
"""What the planes of a block hold, by compute type."""

WHOLE = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
"""Integer types that kernels can store."""

READABLE = {"bool", "float16", "bfloat16", *WHOLE, *REAL}
"""Types of samples that kernels can read."""

LARGEST = 1 << 19
"""Bytes of both planes of a block at most: with the spectrum, which is as large, they fill a second-level cache."""

RANKS = 3
"""Axes of a block at most."""

LINE = 64

# Nanoseconds for each point of a float32 block, there and back, measured on the default machine: the innermost levels
# with the product; a stage by its radix; what leaves the first-level cache and comes back; packing and unpacking, rows
# and images.
_INNERMOST, _STAGE = 0.8, {8: 0.27, 4: 0.21, 3: 0.24, 2: 0.17}
_AWAY = ((16 << 10, 0.0), (64 << 10, 0.2), (1 << 62, 0.45))
_PACKED = (0.25, 0.7)
_TASK = 3e-7
"""Seconds that a task takes beside."""

FOR_THREADS = 3e-5
"""Seconds of work below which a second thread is not worth waking."""

Range = tuple[int, int]


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
        seconds = tasks * (_point_seconds(lengths, item, unit) * math.prod(lengths) + _TASK)
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


def _point_seconds(lengths: Sequence[int], item: int, unit: int) -> float:
    """Predicted seconds for one point of a block."""
    stages = [radix for n in lengths[:-1] for radix in radices(n, 8)] + radices(lengths[-1] // unit, 8)
    away = next(cost for most, cost in _AWAY if 2 * item * math.prod(lengths) <= most)
    nanoseconds = _INNERMOST + sum(_STAGE[radix] for radix in stages) + away + _PACKED[len(lengths) > 1]
    return 1e-9 * nanoseconds * item / 4


def cost_of(problem: Problem, blocks: Blocks, machine: Machine) -> Cost:
    """The cost of all blocks, and of the kernel's own transform."""
    points, images = math.prod(blocks.lengths), problem.batch * problem.groups
    flops = images * blocks.tasks * (10.0 * math.log2(points) + 6) * points
    scale = DEFAULT.fused / machine.fused
    seconds = images * blocks.seconds * scale
    # The model describes two threads, whatever their number is, so that it does not decide how sums are formed.
    seconds /= 1.8 if blocks.tasks > 1 else 1.0
    size = np.dtype(problem.compute_dtype).itemsize
    moved = float(size * (math.prod(problem.input_shape) + math.prod(problem.output_shape)))
    fourier = fourier_of(problem, blocks)
    kernel = problem.groups * (0.6 * blocks.seconds / blocks.tasks * scale + 1e-5)
    held = scratch_of(fourier) * threads.num_threads() + 2 * problem.groups * fourier.spectrum_size * fourier.item_bytes
    return Cost(flops, moved, max(seconds, moved / machine.bandwidth) + kernel + 2e-5, held)


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
    return 2 * _plane(fourier)


def _plane(fourier: Fourier) -> int:
    """Bytes from the real to the imaginary plane: not a power of two, so that they do not share a set of the cache."""
    return -(-fourier.plane_bytes // LINE) * LINE + 9 * LINE


def run(problem: Problem, blocks: Blocks, spectra: Array, x: Array, out: Array) -> None:
    """Convolve ``x`` with the kernels of ``spectra``."""
    if problem.compute_dtype.startswith("c") and out.strides[-1] != out.itemsize and out.shape[-1] > 1:
        whole = np.empty(out.shape, out.dtype)  # parts are stored as pairs side by side
        run(problem, blocks, spectra, x, whole)
        out[...] = whole
        return
    program = program_of(problem, blocks, x.strides, out.strides, out.dtype.name)
    count = threads.num_threads() if blocks.seconds * problem.batch * problem.groups > FOR_THREADS else 1
    pool.run(program, (out.ctypes.data, x.ctypes.data, spectra.ctypes.data), count)


# ---------------------------------------------------------------------------------------------------------- the kernel


def kernel_spectra(problem: Problem, blocks: Blocks, kernel: Array) -> Array:
    """For each group, the spectrum of its kernel, laid out so that the first outputs of a block do not wrap around.

    ``out[i] = sum_j v[i + j*dilation] * w[j]`` is a circular convolution with ``h[-j*dilation mod length] = w[j]``.
    """
    fourier = fourier_of(problem, blocks)
    windows = problem.windows
    at = [-np.arange(window.kernel) * window.dilation % n for window, n in zip(windows, blocks.lengths, strict=True)]
    memory = _aligned(problem.groups * fourier.spectrum_size * fourier.item_bytes).view(fourier.dtype)
    spectra = memory.reshape(problem.groups, fourier.spectrum_size)
    planes = np.empty((2, fourier.rows, fourier.pitch), fourier.dtype)
    laid = planes.reshape((2, *blocks.lengths[:-1], fourier.pitch))
    program = _spectrum_program(fourier)
    for group in range(problem.groups):
        planes[...] = 0
        weights = kernel[group, 0, 0]
        laid[(0, *np.ix_(*at))] = weights.real
        if weights.dtype.kind == "c":
            laid[(1, *np.ix_(*at))] = weights.imag
        pool.run(program, (spectra[group].ctypes.data, planes.ctypes.data, 0))
    spectra *= 1 / math.prod(blocks.lengths)
    return spectra


@lru_cache(maxsize=64)
def _spectrum_program(fourier: Fourier) -> Program:
    steps = fourier.steps((X, 0), (X, fourier.plane_bytes), (OUT, 0), (TABLES, 0), "spectrum")
    return join([steps], _aligned_copy(fourier.table), LINE)


def _aligned(size: int) -> NDArray[np.uint8]:
    """Memory that begins at a cache line."""
    memory = np.empty(size + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + size]


def _aligned_copy(array: Array) -> Array:
    copy = _aligned(array.nbytes).view(array.dtype)
    copy[...] = array
    return copy


# --------------------------------------------------------------------------------------------------------- the program


class _Tile(Packed):
    """A block in scratch memory, whose rows are further apart than they are long."""

    __slots__ = ("_row",)

    def __init__(self, place: int, fourier: Fourier, part: int, parts: int) -> None:
        Packed.__init__(self, place, fourier.lengths, 1, fourier.item_bytes, parts)
        object.__setattr__(self, "_row", (fourier.pitch * fourier.item_bytes, part))

    @property
    def row(self) -> int:
        return self._row[0]

    @property
    def part(self) -> int:
        return self._row[1]


@lru_cache(maxsize=128)
def program_of(
    problem: Problem, blocks: Blocks, x_strides: tuple[int, ...], out_strides: tuple[int, ...], out_dtype: str
) -> Program:
    """One task for each transform: its blocks are packed, convolved where they lie, and what is valid is stored."""
    return _Build(problem, blocks, x_strides, out_strides, out_dtype).program()


class _Build:
    def __init__(
        self, problem: Problem, blocks: Blocks, x_strides: tuple[int, ...], out_strides: tuple[int, ...], out_dtype: str
    ) -> None:
        self.problem, self.blocks, self.out_dtype = problem, blocks, out_dtype
        self.fourier = fourier_of(problem, blocks)
        self.complex = problem.compute_dtype.startswith("c")
        self.x_space, self.out_space = x_strides[3:], out_strides[3:]
        samples, groups = np.arange(problem.batch)[:, None], np.arange(problem.groups)[None]
        self.x_at = (samples * x_strides[0] + groups * x_strides[1]).ravel()
        self.out_at = (samples * out_strides[0] + groups * out_strides[1]).ravel()
        spectrum = self.fourier.spectrum_size * self.fourier.item_bytes
        self.spectrum_at = np.broadcast_to(groups * spectrum, (problem.batch, problem.groups)).ravel()
        self.tables = Tables()
        self.tables.add(_words(self.fourier.table))  # first, where vectors are aligned
        every = [range(0, window.count, n) for window, n in zip(problem.windows, blocks.counts, strict=True)]
        self.first = np.array(list(product(*every)), np.int64)  # the first output of each block

    def program(self) -> Program:
        images = len(self.x_at)
        step = 1 if self.complex else 2
        one, other = self.first[::step], self.first[step - 1 :: step]
        tasks, alone = len(one), len(one) - len(other)
        other = np.concatenate([other, one[tasks - alone :]])  # an odd block is its own partner, and stored once
        groups: list[Steps] = []
        if self.complex:
            groups += self.packed(one, 0, 2)
        else:
            groups += [*self.packed(one, 0, 1), *self.packed(other, _plane(self.fourier), 1)]
        groups += self.convolved(tasks)
        groups += self.stored(one, 0, np.ones(tasks, np.int64))
        if not self.complex:
            groups += self.stored(other, _plane(self.fourier), (np.arange(tasks) < tasks - alone).astype(np.int64))
        program = join([groups], self.tables.array(), scratch_of(self.fourier))
        assert program.tasks == tasks * images
        return Program(program.steps, program.starts, _aligned_copy(program.tables), program.scratch)

    def packed(self, first: NDArray[np.int64], place: int, parts: int) -> list[Steps]:
        """Steps that lay down the blocks whose first outputs are given, for every sample and group."""
        windows, lengths = self.problem.windows, self.blocks.lengths
        dtype = REAL.get(self.problem.input_dtype, self.problem.input_dtype)
        source = Source(dtype, self.x_space, np.dtype(dtype).itemsize if dtype != "bfloat16" else 2)
        tile = _Tile(place, self.fourier, _plane(self.fourier), parts)
        begin = first + np.array([window.start for window in windows])
        size, length = np.array([window.size for window in windows]), np.array(lengths)
        inside = ((begin >= 0) & (begin + length <= size)).all(axis=1)
        images = len(self.x_at)
        done = [np.zeros((len(first), images, WORDS), np.int64) for _ in range(parts)]

        def lay(which: NDArray[np.intp], spans: list[Range], shifts: NDArray[np.int64]) -> None:
            at = (shifts[:, None] + self.x_at).ravel()
            groups = packing(self.tables, windows, spans, source, tile, self.fourier.dtype, self.problem.fill, at)
            for part, group in enumerate(groups):
                done[part][which] = group.reshape(len(which), images, WORDS)

        plain = np.flatnonzero(inside)
        if len(plain):
            lay(plain, [(0, n) for n in lengths], begin[plain] @ np.array(self.x_space, np.int64))
        for n in np.flatnonzero(~inside):
            spans = [(int(lo), int(lo) + extent) for lo, extent in zip(begin[n], lengths, strict=True)]
            lay(np.array([n]), spans, np.zeros(1, np.int64))
        return [group.reshape(-1, WORDS) for group in done]

    def convolved(self, tasks: int) -> list[Steps]:
        """One step for each task, which runs the steps of a block; they are the same for all but for the spectrum."""
        real, imaginary = (SCRATCH, 0), (SCRATCH, _plane(self.fourier))
        address = address_of(sequence.Sequence())
        spectra = np.unique(self.spectrum_at)
        places, count = np.zeros(len(spectra), np.int64), 0
        for n, spectrum in enumerate(spectra):
            steps = np.concatenate(
                self.fourier.steps(real, imaginary, (KERNEL, int(spectrum)), (TABLES, 0), "convolve")
            )
            places[n], count = self.tables.add(steps.ravel()), len(steps)
        at = places[np.searchsorted(spectra, self.spectrum_at)]
        every = np.tile(at, tasks)
        return [sequence.ARGUMENTS.steps(address, len(every), steps=(TABLES, every), length=count)]

    def stored(self, first: NDArray[np.int64], place: int, whether: NDArray[np.int64]) -> list[Steps]:
        """Steps that store the valid outputs of the blocks whose first outputs are given."""
        fourier, windows = self.fourier, self.problem.windows
        rank, images = len(windows), len(self.out_at)
        counts = np.minimum(first + np.array(self.blocks.counts), np.array([w.count for w in windows])) - first
        counts[:, 0] *= whether
        counts = np.concatenate([np.ones((len(first), 3 - rank), np.int64), counts], axis=1)
        planes, block_rows, columns = (np.repeat(counts[:, axis], images) for axis in range(3))
        if rank == 1:
            planes = np.repeat(whether, images)
        strides = (0,) * (3 - rank) + self.out_space
        at = ((first @ np.array(self.out_space, np.int64))[:, None] + self.out_at).ravel()
        target = REAL.get(self.out_dtype, self.out_dtype)
        item = np.dtype(target).itemsize if target != "bfloat16" else 2
        layout = "complex" if self.complex else "contiguous" if strides[-1] == item else "strided"
        row = fourier.pitch * fourier.item_bytes
        return [
            unpack.ARGUMENTS.steps(
                address_of(unpack.Unpack(fourier.dtype, target, layout)), len(at), out=(OUT, at), sums=(SCRATCH, place),
                imaginary=(SCRATCH, place + _plane(fourier) * self.complex), planes=planes, out_plane=strides[0],
                sums_plane=row * fourier.lengths[-2] if rank > 1 else 0, rows=block_rows, out_row=strides[1],
                sums_row=row, columns=columns, out_step=strides[2],
            )
        ]  # fmt: skip


def _words(table: Array) -> NDArray[np.int64]:
    """Any numbers as 64-bit words."""
    size = -(-table.nbytes // LINE) * LINE
    return np.frombuffer(table.tobytes().ljust(size, b"\0"), np.int64)
