"""Round the circle, and into frequency."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

import convkit as ck
from convkit import kernels
from convkit.scenes.figures import Plot, Table, caption, cells, curve, number
from convkit.scenes.scene import Example, Outcome, equal, scene


def around(x: NDArray[np.int64], k: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Circular convolution over ``size`` places: ``y[n] = sum_j x[(n-j) mod size] k[j]``."""
    padded = np.pad(x, (0, size - x.size))
    return ck.convolve(padded, k, mode="same", boundary="wrap", anchor=0)


@scene("circular", "signals")
def circular() -> Outcome:
    """Linear and circular convolution, and when they agree."""
    x, k = np.array([1, 2, 3, 4]), np.array([1, 1, 1])
    linear = ck.convolve(x, k)
    rounds = {size: around(x, k, size) for size in range(4, 9)}
    agree = [size for size, y in rounds.items() if np.array_equal(y, np.pad(linear, (0, max(0, size - 6)))[:size])]
    by_fft = np.fft.ifft(np.fft.fft(x, 4) * np.fft.fft(k, 4)).real
    words = partial(caption, "circular")
    return Outcome(
        [
            equal("four", [8, 7, 6, 9], rounds[4]),
            equal("six", [1, 3, 6, 9, 7, 4], rounds[6]),
            equal("linear", [1, 3, 6, 9, 7, 4], linear),
            equal("agree", [6, 7, 8], agree),
            equal("fft", rounds[4], by_fft, 1e-12),
        ],
        [
            Table(
                words("table"),
                [cells(y)[0] + [""] * (8 - size) for size, y in rounds.items()],
                columns=[str(n) for n in range(8)],
                names=[f"N = {size}" for size in rounds],
            )
        ],
        Example(x, k, {"mode": "same", "boundary": "wrap", "anchor": 0}),
    )


@scene("theorem", "signals")
def theorem() -> Outcome:
    """Convolution in time is a product in frequency; a kernel selects frequencies."""
    x = ck.data.photograph()[128].astype(np.float64) / 255
    k = kernels.gaussian(2.0, rank=1)
    size = x.size + k.size - 1
    in_time = ck.convolve(x, k)
    in_frequency = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(k, size), size)
    mean, slope = np.full(3, 1 / 3), np.array([1, 0, -1])
    smooth = np.array([1, 2, 1])
    words = partial(caption, "theorem")
    names = [words("mean"), words("smooth"), words("slope")]
    measured = np.array([[gain(kernel, f) for f in (0.0, 0.25, 0.5)] for kernel in (mean, smooth, slope)])
    frequency = np.linspace(0, 0.5, 129)
    curves = [
        curve(name, np.abs([transfer(kernel, f) for f in frequency]) / np.abs(kernel).sum(), frequency)
        for name, kernel in zip(names, (mean, smooth, slope), strict=True)
    ]
    return Outcome(
        [
            equal("product", np.zeros(size), in_time - in_frequency, 1e-12),
            equal("gains", [[1, 1 / 3, 1 / 3], [4, 2, 0], [0, 2, 0]], measured, 1e-12),
            equal(
                "sobel",
                np.outer([1, 2, 1], [-1, 0, 1]),
                ck.convolve(np.array([[1], [2], [1]]), np.array([[-1, 0, 1]])),
            ),
        ],
        [
            Table(
                words("table"),
                [[number(round(v, 12)) for v in row] for row in measured],
                columns=["0", "1/4", words("nyquist")],
                names=names,
            ),
            Plot(words("plot"), curves, across=words("axis")),
        ],
    )


def transfer(kernel: NDArray[np.float64], frequency: float) -> complex:
    """The frequency response ``sum_j k[j] exp(-2 pi i f j)``."""
    return complex((kernel * np.exp(-2j * np.pi * frequency * np.arange(kernel.size))).sum())


def gain(kernel: NDArray[np.float64], frequency: float) -> float:
    """How much stronger a wave of that frequency (cycles a sample) leaves the kernel than it entered."""
    wave = np.exp(2j * np.pi * frequency * np.arange(16))
    return float(np.abs(ck.convolve(wave, kernel.astype(complex), mode="valid")[4]))
