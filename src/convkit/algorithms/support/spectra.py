"""Transforms: correlation of one block with a kernel through its spectrum, and sizes that transform fast (ducc0)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ducc0.fft
import numpy as np

from convkit.algorithms.support.blocks import SPACE, Range, extended
from convkit.planner import probes
from convkit.planner.algorithm import Array, Cost, ErrorBound, Reason, unit_roundoff
from convkit.planner.machine import Machine, width
from convkit.planner.problem import Problem

BLOCK_CALLS = 120
"""NumPy calls that one block takes beside its transforms."""

FLOATS = ("float32", "float64", "complex64", "complex128")


def good_size(least: int, real: bool) -> int:
    """The smallest length >= ``least`` that the transform does fast."""
    return int(ducc0.fft.good_size(max(1, least), real))


@dataclass(frozen=True, slots=True)
class Transform:
    """A real or complex FFT over the block's convolved axes.

    Attributes
    ----------
    lengths : tuple of int
        Transform length of each convolved axis.
    real : bool
        Whether only half of the spectrum is kept.
    """

    lengths: tuple[int, ...]
    real: bool

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.lengths), 0))

    def forward(self, block: Array) -> Array:
        """Spectrum of a block whose convolved axes already have the transform's lengths."""
        if self.real:
            return ducc0.fft.r2c(block, axes=self._axes, nthreads=1)
        return ducc0.fft.c2c(block, axes=self._axes, nthreads=1)

    def backward(self, spectrum: Array) -> Array:
        """The block of a spectrum, scaled so that it undoes `forward`."""
        if self.real:
            return ducc0.fft.c2r(
                spectrum, axes=self._axes, lastsize=self.lengths[-1], forward=False, inorm=2, nthreads=1,
                allow_overwriting_input=True,
            )  # fmt: skip
        return ducc0.fft.c2c(spectrum, axes=self._axes, forward=False, inorm=2, nthreads=1, out=spectrum)

    @property
    def points(self) -> int:
        """Samples of one block."""
        return math.prod(self.lengths)

    def bytes(self, dtype: str) -> int:
        """Bytes of one block or of its spectrum, whichever is larger."""
        return (self.points + 2 * self.points // max(1, self.lengths[-1])) * np.dtype(dtype).itemsize

    def seconds(self, machine: Machine, dtype: str) -> float:
        """Predicted time of one transform."""
        # Transforms suffer less from wide types than elementwise passes do: they wait for memory less.
        slower = width(dtype) ** 0.7
        return 2.5 * self.points * math.log2(self.points + 1) * slower / machine.transform + 4 * machine.call


def make_transform(lengths: Sequence[int], dtype: str) -> Transform:
    """The transform of a compute dtype."""
    return Transform(tuple(lengths), not dtype.startswith("c"))


def kernel_spectrum(problem: Problem, transform: Transform, kernel: Array) -> Array:
    """Conjugated spectrum of the dilated kernel, so that a product of spectra is a correlation."""
    laid = np.zeros(kernel.shape[:SPACE] + transform.lengths, problem.compute_dtype)
    at = tuple(slice(0, window.reach, window.dilation) for window in problem.windows)
    laid[(..., *at)] = kernel if transform.real else np.conj(kernel)
    return np.conj(transform.forward(laid))


def correlate_block(
    problem: Problem, transform: Transform, spectrum: Array, x: Array, out: Array, box: Sequence[Range]
) -> None:
    """Compute the outputs of ``box`` from one transform-sized block: the positions where it does not wrap around."""
    windows = problem.windows
    spans = [
        (window.start + lo * window.stride, window.start + (hi - 1) * window.stride + window.reach)
        for window, (lo, hi) in zip(windows, box, strict=True)
    ]
    dtype = np.dtype(problem.compute_dtype)
    at = (..., *(slice(lo, hi) for lo, hi in box))
    used = (
        ...,
        *(slice(0, (hi - lo - 1) * w.stride + 1, w.stride) for w, (lo, hi) in zip(windows, box, strict=True)),
    )
    filled = (..., *(slice(0, last - first) for first, last in spans))
    block = np.zeros((1, 1, problem.in_channels, *transform.lengths), dtype)
    for b in range(problem.batch):
        for g in range(problem.groups):
            block[filled] = extended(x[b : b + 1, g : g + 1], windows, spans, problem.fill, dtype)
            samples = transform.forward(block)[0, 0]
            for o in range(problem.out_channels):
                product = samples[0] * spectrum[g, o, 0]
                for c in range(1, problem.in_channels):
                    product += samples[c] * spectrum[g, o, c]
                out[(b, g, o, *at)] = transform.backward(product)[used]


def why_not(problem: Problem) -> Reason | None:
    """What keeps every transform from doing a problem."""
    if problem.upsampled:
        return Reason("upsampled")
    if problem.compute_dtype not in FLOATS:
        return Reason("no-transform", dtype=problem.compute_dtype)
    return Reason("nothing-to-do") if problem.outputs == 0 or problem.images == 0 else None


def transform_bound(problem: Problem, transform: Transform) -> ErrorBound:
    """Bound by norms of a product of spectra: three transforms and one product.

    Each transform errs by at most ``log2(L) * 6.7 u`` relative to the norm (Higham, Accuracy and Stability, theorem
    24.2, with twiddle factors good to u); sums over channels add one u each.
    """
    u = unit_roundoff(problem.compute_dtype)
    return ErrorBound("norm", (20.1 * math.log2(max(2, transform.points)) + 6 + problem.in_channels) * u)


SHORT = 1 << 14
"""Products of one channel below which transforms are avoided."""

NOT_EXACT = 2e-4
"""Seconds that it is worth, for so few products, to have sums of small numbers exact, as those of terms are."""


def transform_cost(problem: Problem, machine: Machine, transform: Transform, blocks: int, workspace: int) -> Cost:
    """Cost of ``blocks`` transforms forth and back for each channel, the kernel's own, and the products between."""
    pairs = problem.batch * problem.groups
    kernels = problem.groups * problem.in_channels * problem.out_channels
    count = blocks * pairs * (problem.in_channels + problem.out_channels) + kernels
    products = blocks * pairs * problem.in_channels * problem.out_channels * transform.points
    one = transform.seconds(machine, problem.compute_dtype)
    through_memory = transform.bytes(problem.compute_dtype) > (1 << 20)
    passes = blocks * pairs * (problem.in_channels + problem.out_channels) * transform.bytes(problem.compute_dtype)
    seconds = count * one + 1.5 * products * width(problem.compute_dtype) / machine.elementwise
    seconds += blocks * pairs * BLOCK_CALLS * machine.call
    # A long line is transformed in several sweeps through memory, an image in two.
    sweeps = (10 if len(transform.lengths) == 1 else 4) if through_memory else 1
    seconds += sweeps * passes / machine.bandwidth
    if problem.taps * problem.outputs < SHORT:
        seconds += NOT_EXACT
    flops = 2.5 * transform.points * max(1, transform.points).bit_length() * count + 3 * products
    return Cost(flops, float(passes * 2), seconds, workspace)


def _rate(timer: Any) -> float:
    block = np.ones((1, 4096), np.float32)
    transform = Transform((4096,), real=True)
    return 2.5 * 4096 * 12 / timer(lambda: transform.forward(block))


probes.register("transform", _rate)
