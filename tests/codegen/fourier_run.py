"""Runs the steps of a transform on arrays."""

from __future__ import annotations

import numpy as np

from convkit.codegen import pool
from convkit.codegen.fourier import Fourier
from convkit.codegen.program import Program, join
from convkit.codegen.step import KERNEL, OUT, X

TABLE = KERNEL + 2
"""The first base that is free for others."""


def transform(
    f: Fourier, real: np.ndarray, imaginary: np.ndarray, spectrum: np.ndarray, table: np.ndarray, task: str,
    apart: int = 0,
) -> None:  # fmt: skip
    """Transform the block in two planes; ``task`` and ``apart`` as in `Fourier.steps`."""
    steps = f.steps((OUT, 0), (X, 0), (KERNEL, 0), (TABLE, 0), task, apart)
    program: Program = join([steps], np.zeros(1, np.int64), 64)
    pool.run(program, [array.ctypes.data for array in (real, imaginary, spectrum, table)])


def convolved(f: Fourier, a: np.ndarray, b: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The circular convolutions of two real blocks with a kernel, or of the complex block ``a + ib``."""
    inside = (..., slice(0, f.lengths[-1]))
    planes = np.zeros((2, *f.lengths[:-1], f.pitch), f.dtype)
    spectrum = np.zeros(f.spectrum_size, f.dtype)
    planes[0][inside], planes[1][inside] = kernel.real, kernel.imag
    transform(f, *planes, spectrum, f.table, "spectrum")
    spectrum /= np.prod(f.lengths)
    planes[:] = np.nan  # what lies between rows is not read
    planes[0][inside], planes[1][inside] = a, b
    transform(f, *planes, spectrum, f.table, "convolve")
    return planes[0][inside], planes[1][inside]
