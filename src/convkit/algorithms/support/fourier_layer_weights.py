"""The spectra of a layer's weights, in the order in which the sums over channels read them."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit import threads
from convkit.algorithms.support.fourier_blocks import plane_bytes, scratch_of
from convkit.algorithms.support.fourier_layers import Tiling
from convkit.algorithms.support.fourier_program import Tile, aligned, aligned_copy, words
from convkit.algorithms.support.packing import Source, packing
from convkit.codegen import pool, sequence
from convkit.codegen.library import address_of
from convkit.codegen.memory import address
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import OUT, SCRATCH, TABLES, Steps, X
from convkit.planner.problem import Problem
from convkit.spec.window import Window

Weights = NDArray[Any]

SECONDS = 1e-9
"""Of one number of a spectrum."""


def kernel_spectra(problem: Problem, tiling: Tiling, kernel: NDArray[Any]) -> Weights:
    """For each group, the spectra of all its kernels, laid down from a tile's first sample on.

    ``out[i] = sum_j v[i + j*dilation] * w[j]`` is a product with the conjugate of the spectrum of ``conj(w)``.
    """
    kernel = np.asarray(kernel, problem.compute_dtype)
    if kernel.dtype.kind == "c":
        kernel = np.conj(kernel)
    if any(window.dilation > 1 for window in problem.windows):
        spread = np.zeros((*kernel.shape[:3], *(window.reach for window in problem.windows)), kernel.dtype)
        spread[(..., *(slice(None, None, window.dilation) for window in problem.windows))] = kernel
        kernel = spread
    spectra = aligned(problem.groups * tiling.weights_bytes(problem)).view(tiling.fourier.dtype)
    program = _program(problem.derive(batch=1), tiling, kernel.shape[3:], kernel.strides)
    pool.run(program, (address(spectra), address(kernel), 0), threads.num_threads(), SECONDS * spectra.size)
    return spectra


def scale_of(tiling: Tiling) -> NDArray[Any]:
    """What sums of products are scaled by, since no transform is: 1 by the points of a transform."""
    return np.array([1 / math.prod(tiling.fourier.lengths)], tiling.fourier.dtype)


@lru_cache(maxsize=64)
def _program(problem: Problem, tiling: Tiling, shape: tuple[int, ...], strides: tuple[int, ...]) -> Program:
    """One task for each output channel of each group, which goes through its input channels."""
    fourier = tiling.fourier
    tables = Tables()
    tables.add(words(fourier.table))  # first, where vectors are aligned
    steps = [*_packed(tables, tiling, shape, strides[3:])]
    real, imaginary = (SCRATCH, 0), (SCRATCH, plane_bytes(fourier))
    steps += fourier.steps(
        real, imaginary, (sequence.GIVEN, 0), (TABLES, 0), "spectrum", tiling.weights_vector(problem)
    )
    sizes = [size for size, count in tiling.panels(problem) for _ in range(count)]
    begins = [0, *accumulate(sizes)]
    panel = [(begin, size, n) for begin, size in zip(begins, sizes, strict=False) for n in range(size)]
    begin, size, number = np.array(panel * problem.groups, np.int64).T
    group = np.repeat(np.arange(problem.groups), problem.out_channels)
    place = group * tiling.weights_bytes(problem) + (begin * problem.in_channels + number) * tiling.pair
    each = sequence.ARGUMENTS.steps(
        address_of(sequence.Sequence()), len(place), steps=(TABLES, tables.add(np.concatenate(steps).ravel())),
        given=(OUT, place), out=(OUT, 0), x=(X, group * strides[0] + (begin + number) * strides[1]),
        length=sum(map(len, steps)), times=problem.in_channels, given_step=size * tiling.pair, out_step=0,
        x_step=strides[2],
    )  # fmt: skip
    program = join([[each]], tables.array(), scratch_of(fourier))
    return Program(program.steps, program.starts, aligned_copy(program.tables), program.scratch)


def _packed(tables: Tables, tiling: Tiling, shape: tuple[int, ...], strides: tuple[int, ...]) -> list[Steps]:
    """Steps that lay one kernel down in a tile of zeros."""
    fourier = tiling.fourier
    source = Source(fourier.dtype, strides, fourier.item_bytes)
    windows = [Window(size, 1, size) for size in shape]
    done: list[Steps] = []
    for half in range(2 if tiling.folded else 1):
        plane = Tile(half * plane_bytes(fourier), fourier, plane_bytes(fourier), 1 if tiling.folded else 2)
        first = fourier.lengths[0]
        spans = [(half * first, (half + 1) * first), *((0, n) for n in fourier.lengths[1:])]
        done += packing(tables, windows, spans, source, plane, fourier.dtype, 0, np.zeros(1, np.int64))
    return done
