"""The problems that are measured, as data: what is convolved with what, and the least work that takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from convkit.errors import by, choose

Kind = Literal["filter", "layer"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem.

    Attributes
    ----------
    suite : str
        The suite it belongs to.
    kind : {"filter", "layer"}
        A filter correlates one array with one kernel, same size, zeros outside; a layer is batch x channel x space.
    shape, kernel : tuple of int
        Sizes of the input and of the kernel (the weights).
    dtype : str
        Element type of the input and, but for bytes, of the result. Kernels of byte images are float32.
    stride, padding, groups : int
        Options of a layer.
    direction : {"forward", "training"}
        A layer's output, or its output and both gradients.
    """

    suite: str
    kind: Kind
    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: str = "float32"
    stride: int = 1
    padding: int = 0
    groups: int = 1
    direction: Literal["forward", "training"] = "forward"

    @property
    def name(self) -> str:
        """A short name, unique within a suite."""
        parts = [by(self.shape), by(self.kernel), self.dtype]
        if self.stride > 1:
            parts.append(f"stride {self.stride}")
        if self.groups > 1:
            parts.append(f"groups {self.groups}")
        if self.direction == "training":
            parts.append(self.direction)
        return " ".join(parts)

    @property
    def spatial(self) -> tuple[int, ...]:
        """Sizes along the convolved axes."""
        return self.shape if self.kind == "filter" else self.shape[2:]

    @property
    def taps(self) -> tuple[int, ...]:
        """Kernel elements along the convolved axes."""
        return self.kernel if self.kind == "filter" else self.kernel[2:]

    @property
    def output(self) -> tuple[int, ...]:
        """Sizes of the result."""
        if self.kind == "filter":
            return self.shape
        space = [
            (size + 2 * self.padding - taps) // self.stride + 1
            for size, taps in zip(self.spatial, self.taps, strict=True)
        ]
        return (self.shape[0], self.kernel[0], *space)

    @property
    def passes(self) -> int:
        """Convolutions to be done: one forward, three when training."""
        return 3 if self.direction == "training" else 1

    @property
    def flops(self) -> float:
        """Additions and multiplications of the definition."""
        channels = 1 if self.kind == "filter" else self.kernel[1]
        return 2.0 * self.passes * math.prod(self.output) * channels * math.prod(self.taps)

    @property
    def transform_flops(self) -> float:
        """Operations of overlap-save with the best power-of-two tile; infinite for layers, which sum over channels."""
        if self.kind == "layer":
            return math.inf
        rank, outputs = len(self.taps), math.prod(self.output)
        best = math.inf
        for exponent in range(1, 25):
            tiles = [max(1, min(2**exponent, 2 * size) - taps + 1) for size, taps in zip(self.spatial, self.taps)]
            if 2**exponent < 2 * max(self.taps) and 2**exponent < max(self.spatial):
                continue
            samples = float(2 ** (exponent * rank))
            work = 5.0 * samples * math.log2(samples) + 3.0 * samples
            best = min(best, work * outputs / math.prod(tiles))
        return best

    @property
    def bytes(self) -> float:
        """Bytes that must be read and written at least once."""
        size = np.dtype(self.dtype).itemsize
        return float(size * self.passes * (math.prod(self.shape) + math.prod(self.kernel) + math.prod(self.output)))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The input and the kernel: the same numbers every time."""
        rng = np.random.default_rng(20260)
        if self.dtype == "uint8":
            kernel = rng.random(self.kernel, np.float32)
            return rng.integers(0, 256, self.shape, np.uint8), kernel / kernel.sum()
        return tuple(rng.standard_normal(shape).astype(self.dtype) for shape in (self.shape, self.kernel))  # type: ignore[return-value]


def _filters() -> list[Problem]:
    images = [
        Problem("filters", "filter", (2048, 2048), (k, k), dtype)
        for dtype in ("float32", "float64", "uint8")
        for k in (3, 5, 7, 11, 15, 31)
    ]
    signals = [
        Problem("filters", "filter", (1_000_000,), (k,), dtype)
        for dtype in ("float32", "float64")
        for k in (31, 255, 4095)
    ]
    volumes = [
        Problem("filters", "filter", (128, 128, 128), (k, k, k), dtype)
        for dtype in ("float32", "float64")
        for k in (3, 5)
    ]
    return images + signals + volumes


def _layers() -> list[Problem]:
    return [
        Problem("layers", "layer", (8, 64, 56, 56), (64, 64, 3, 3), padding=1),
        Problem("layers", "layer", (8, 64, 56, 56), (64, 64, 3, 3), padding=1, direction="training"),
        Problem("layers", "layer", (8, 128, 56, 56), (128, 1, 3, 3), padding=1, groups=128),
        Problem("layers", "layer", (8, 128, 56, 56), (128, 1, 3, 3), padding=1, groups=128, direction="training"),
        Problem("layers", "layer", (8, 256, 28, 28), (128, 256, 1, 1)),
        Problem("layers", "layer", (4, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3),
        Problem("layers", "layer", (8, 64, 56, 56), (128, 64, 3, 3), stride=2, padding=1),
        Problem("layers", "layer", (1, 512, 7, 7), (512, 512, 3, 3), padding=1),
        Problem("layers", "layer", (4, 64, 4096), (64, 64, 9), padding=4),
        Problem("layers", "layer", (1, 16, 32, 32, 32), (32, 16, 3, 3, 3), padding=1),
        Problem("layers", "layer", (8, 64, 56, 56), (64, 64, 3, 3), "float64", padding=1),
    ]


def _overhead() -> list[Problem]:
    return [Problem("overhead", "filter", (100,), (5,), "float64")]


SUITES = {"filters": _filters, "layers": _layers, "overhead": _overhead}
"""The suites by name."""


def suites(names: Sequence[str]) -> list[Problem]:
    """The problems of the suites named, in order; ``"all"`` stands for every suite."""
    chosen: list[Problem] = []
    for name in names:
        choose("suite", name, (*SUITES, "all"))
        for suite in SUITES if name == "all" else (name,):
            chosen += [problem for problem in SUITES[suite]() if problem not in chosen]
    return chosen
