"""The program of overlap-save by compiled kernels: blocks packed, convolved where they lie, their valid part stored."""

from __future__ import annotations

import ctypes
import math
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convkit import threads
from convkit.algorithms.support.alone import alone
from convkit.algorithms.support.fourier_blocks import LINE, REAL, Blocks, fourier_of, plane_bytes, scratch_of
from convkit.algorithms.support.packing import Packed, Source, packing
from convkit.codegen import fourier_check, pool, sequence, unpack
from convkit.codegen.fourier import Fourier
from convkit.codegen.library import address_of
from convkit.codegen.memory import address, type_name
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import KERNEL, OUT, SCRATCH, STATUS, TABLES, WORDS, Steps, X
from convkit.planner.algorithm import Alone, Array
from convkit.planner.problem import Problem
from convkit.spec.window import Window

Range = tuple[int, int]


def run(problem: Problem, blocks: Blocks, spectra: Array, x: Array, out: Array) -> Literal["finite"] | None:
    """Convolve ``x`` with the kernels of ``spectra``; say so if every output is finite for certain."""
    if problem.compute_dtype.startswith("c") and out.strides[-1] != out.itemsize and out.shape[-1] > 1:
        whole = np.empty(out.shape, out.dtype)  # parts are stored as pairs side by side
        seen = run(problem, blocks, spectra, x, whole)
        out[...] = whole
        return seen
    program = program_of(problem, blocks, x.strides, out.strides, type_name(out.dtype))
    found = ctypes.c_int64(0)
    bases = address(out), address(x), address(spectra), ctypes.addressof(found)
    pool.run(program, bases, threads.num_threads(), _one_thread(problem, blocks))
    return None if found.value else "finite"


def alone_in_blocks(problem: Problem, blocks: Blocks, spectra: Array, dtype: str) -> Alone:
    """The same for one sample, all else worked out before; nothing where some output is not finite."""

    def made(x_strides: tuple[int, ...], out_strides: tuple[int, ...]) -> Program:
        return program_of(problem, blocks, x_strides, out_strides, dtype)

    return alone(problem, dtype, made, spectra, _one_thread(problem, blocks), "not-finite")


def _one_thread(problem: Problem, blocks: Blocks) -> float:
    """Seconds that one thread takes, roughly."""
    return blocks.seconds * problem.batch * problem.groups


# ---------------------------------------------------------------------------------------------------------- the kernel


def kernel_spectra(problem: Problem, blocks: Blocks, kernel: Array) -> Array:
    """For each group, the spectrum of its kernel, laid out so that the first outputs of a block do not wrap around.

    ``out[i] = sum_j v[i + j*dilation] * w[j]`` is a circular convolution with ``h[-j*dilation mod length] = w[j]``.
    """
    fourier = fourier_of(problem, blocks)
    memory = aligned(problem.groups * fourier.spectrum_size * fourier.item_bytes).view(fourier.dtype)
    spectra = memory.reshape(problem.groups, fourier.spectrum_size)
    planes = np.empty((2, *blocks.lengths[:-1], fourier.pitch), fourier.dtype)
    program = _spectrum_program(fourier)
    for group in range(problem.groups):
        planes[...] = 0
        weights = kernel[group, 0, 0]
        for pieces in product(*map(_backwards, problem.windows, blocks.lengths)):
            there, here = zip(*pieces, strict=True)
            planes[(0, *there)] = weights[here].real
            if weights.dtype.kind == "c":
                planes[(1, *there)] = weights[here].imag
        pool.run(program, (address(spectra[group]), address(planes), 0))
    spectra *= 1 / math.prod(blocks.lengths)
    return spectra


def _backwards(window: Window, length: int) -> list[tuple[slice, slice]]:
    """Where a kernel's elements lie along an axis, and which they are: the first at 0, the others back from the end."""
    first = slice(0, 1), slice(0, 1)
    if window.kernel == 1:
        return [first]
    return [first, (slice(length - window.reach + 1, length, window.dilation), slice(None, 0, -1))]


@lru_cache(maxsize=64)
def _spectrum_program(fourier: Fourier) -> Program:
    steps = fourier.steps((X, 0), (X, fourier.plane_bytes), (OUT, 0), (TABLES, 0), "spectrum")
    return join([steps], aligned_copy(fourier.table), LINE)


def aligned(size: int) -> NDArray[np.uint8]:
    """Memory that begins at a cache line."""
    memory = np.empty(size + LINE, np.uint8)
    first = -address(memory) % LINE
    return memory[first : first + size]


def aligned_copy(array: Array) -> Array:
    """The same numbers in memory that begins at a cache line."""
    copy = aligned(array.nbytes).view(array.dtype)
    copy[...] = array
    return copy


# --------------------------------------------------------------------------------------------------------- the program


class Tile(Packed):
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


@lru_cache(maxsize=32)
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
        self.tables.add(words(self.fourier.table))  # first, where vectors are aligned
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
            groups += [*self.packed(one, 0, 1), *self.packed(other, plane_bytes(self.fourier), 1)]
        groups += self.convolved(tasks)
        groups += self.stored(one, 0, np.ones(tasks, np.int64))
        if not self.complex:
            groups += self.stored(other, plane_bytes(self.fourier), (np.arange(tasks) < tasks - alone).astype(np.int64))
        program = join([groups], self.tables.array(), scratch_of(self.fourier))
        assert program.tasks == tasks * images
        return Program(program.steps, program.starts, aligned_copy(program.tables), program.scratch)

    def packed(self, first: NDArray[np.int64], place: int, parts: int) -> list[Steps]:
        """Steps that lay down the blocks whose first outputs are given, for every sample and group."""
        windows, lengths = self.problem.windows, self.blocks.lengths
        dtype = REAL.get(self.problem.input_dtype, self.problem.input_dtype)
        source = Source(dtype, self.x_space, np.dtype(dtype).itemsize if dtype != "bfloat16" else 2)
        tile = Tile(place, self.fourier, plane_bytes(self.fourier), parts)
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
        """One step for each task, which runs the steps of a block: the same for all but for the spectrum."""
        real, imaginary = (SCRATCH, 0), (SCRATCH, plane_bytes(self.fourier))
        fourier = self.fourier
        check = fourier_check.ARGUMENTS.steps(
            address_of(fourier_check.Check(fourier.dtype)), 1, real=real, imaginary=imaginary, found=(STATUS, 0),
            rows=fourier.rows, row=fourier.pitch * fourier.item_bytes,
            blocks=fourier.lengths[-1] // (fourier_check.VECTORS * fourier.lanes),
        )  # fmt: skip
        steps = np.concatenate([*fourier.steps(real, imaginary, (sequence.GIVEN, 0), (TABLES, 0), "convolve"), check])
        return [
            sequence.ARGUMENTS.steps(
                address_of(sequence.Sequence()), tasks * len(self.x_at), steps=(TABLES, self.tables.add(steps.ravel())),
                given=(KERNEL, np.tile(self.spectrum_at, tasks)), out=(OUT, 0), x=(X, 0), length=len(steps), times=1,
                given_step=0, out_step=0, x_step=0,
            )
        ]  # fmt: skip

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
                imaginary=(SCRATCH, place + plane_bytes(fourier) * self.complex), planes=planes, out_plane=strides[0],
                sums_plane=row * fourier.lengths[-2] if rank > 1 else 0, rows=block_rows, out_row=strides[1],
                sums_row=row, columns=columns, out_step=strides[2],
            )
        ]  # fmt: skip


def words(table: Array) -> NDArray[np.int64]:
    """Any numbers as 64-bit words."""
    size = -(-table.nbytes // LINE) * LINE
    return np.frombuffer(table.tobytes().ljust(size, b"\0"), np.int64)
