"""How large integers, and sums of their products, can be: in Python's integers, however large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convkit.planner.algorithm import Array


def extent(values: Array) -> tuple[int, int]:
    """The smallest and the largest value; zeros if there are none."""
    return (int(values.min()), int(values.max())) if values.size else (0, 0)


def peak(values: Array) -> int:
    """The largest magnitude."""
    least, most = extent(values)
    return max(abs(least), abs(most))


def one_sided_sums(values: Array) -> tuple[int, int]:
    """The sum of all negative values, and of all positive ones."""
    if values.size * max(1, peak(values)) < 2**62:
        whole = values.astype(np.int64)
        return int(whole[whole < 0].sum()), int(whole[whole > 0].sum())
    numbers = [int(value) for value in values.ravel()]
    return sum(n for n in numbers if n < 0), sum(n for n in numbers if n > 0)


@dataclass(frozen=True, slots=True)
class KernelRange:
    """What bounds on the sums need to know of kernels.

    Attributes
    ----------
    least, most : int
        Of all weights.
    negative, positive : int
        The furthest sums of one kernel's negative weights, and of its positive ones.
    absolute : int
        The largest sum of one kernel's magnitudes.
    """

    least: int
    most: int
    negative: int
    positive: int
    absolute: int

    @classmethod
    def of(cls, kernels: Array) -> KernelRange:
        """Of kernels along the first axis."""
        kernels = kernels.view(np.uint8) if kernels.dtype == bool else kernels
        sums = [one_sided_sums(kernel) for kernel in kernels]
        least, most = extent(kernels)
        return cls(
            least, most, min(low for low, _ in sums), max(high for _, high in sums),
            max(high - low for low, high in sums),
        )  # fmt: skip

    def sums(self, least: int, most: int) -> tuple[int, int]:
        """The least and the largest sum that samples from ``least`` to ``most``, or zeros, can have."""
        least, most = min(least, 0), max(most, 0)
        return self.positive * least + self.negative * most, self.positive * most + self.negative * least
