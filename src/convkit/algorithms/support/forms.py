"""In which forms integers can be multiplied and added without error, fast ones first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from convkit.algorithms.support.ranges import KernelRange
from convkit.codegen.arithmetic import ARITHMETIC, Dots
from convkit.planner.algorithm import Array

EXACT = {"int32": 1 << 31, "float32": 1 << 24, "float64": 1 << 53}
"""Sums of integers are exact in these types while none reaches this."""


@cache
def _limits(name: str) -> tuple[int, int]:
    """The numbers that an integer type holds."""
    limits = np.iinfo(name)
    return int(limits.min), int(limits.max)


@dataclass(frozen=True, slots=True)
class Form:
    """What samples, weights and sums are turned into.

    Attributes
    ----------
    arithmetic : str
        Of `convkit.codegen.arithmetic`.
    sample, weight, sums : str
        Element types, by NumPy's names.
    """

    arithmetic: str
    sample: str
    weight: str
    sums: str

    @property
    def group(self) -> int:
        """Neighbours along the last axis that are multiplied and added at once."""
        return ARITHMETIC[self.arithmetic].group

    @property
    def item(self) -> int:
        """Bytes of one sample."""
        return np.dtype(self.sample).itemsize

    @property
    def speed(self) -> float:
        """Products at once, compared with float32."""
        return 0.5 if self.sums == "float64" else float(self.group)

    def span(self, kernel: KernelRange) -> tuple[int, int]:
        """From which to which number samples have exact sums with these weights; an empty range where none have."""
        most = (EXACT[self.sums] - 1) // max(kernel.absolute, 1)
        if most < 1:
            return 0, -1
        least = -most
        if self.weight not in EXACT:  # floats hold integers as far as their sums
            low, high = _limits(self.weight)
            if kernel.least < low or kernel.most > high:
                return 0, -1
        if self.sample not in EXACT:
            low, high = _limits(self.sample)
            least, most = max(least, low), min(most, high)
        return least, most

    def pack(self, kernels: Array, dilation: int, order: Array) -> Array:
        """Weights of ``kernels``, (groups, *kernel), as the compiled loops read them: one row for each group.

        Where several are multiplied at once, zeros stand for what a ``dilation`` along the last axis leaves out.
        """
        arithmetic = ARITHMETIC[self.arithmetic]
        if not isinstance(arithmetic, Dots):
            return np.take(kernels.reshape(len(kernels), -1), order, axis=1).astype(self.weight)
        reach = dilation * (kernels.shape[-1] - 1) + 1
        whole = np.zeros((*kernels.shape[:-1], -(-reach // self.group) * self.group), self.weight)
        whole[..., :reach:dilation] = kernels
        groups = whole.view(np.int32).reshape(len(kernels), -1)
        sums = whole.reshape(len(kernels), -1).sum(axis=1, dtype=np.int64)
        starts = (-arithmetic.moved * sums).astype(np.int32)
        return np.concatenate([starts[:, None], np.take(groups, order, axis=1)], axis=1)


DOTS = tuple(
    Form(name, arithmetic.samples, arithmetic.weights, "int32")
    for name, arithmetic in ARITHMETIC.items()
    if isinstance(arithmetic, Dots)
)
"""Dot products, bytes before words."""

FLOATS = tuple(Form(name, name, name, name) for name in ("float32", "float64"))


def form_for(least: int, most: int, kernel: KernelRange, forms: tuple[Form, ...]) -> Form | None:
    """The first of ``forms`` that is exact for samples from ``least`` to ``most``; None if none is."""
    return next((form for form in forms if _within(form.span(kernel), least, most)), None)


def _within(span: tuple[int, int], least: int, most: int) -> bool:
    return span[0] <= least and most <= span[1]
