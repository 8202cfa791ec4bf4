"""How large integers, and sums of their products, can be: in Python's integers, however large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convkit.planner.algorithm import Array


def extent(values: Array) -> tuple[int, int]:
    """The smallest and the largest value; zeros if there are none."""
    if not values.size:
        return 0, 0
    return int(np.minimum.reduce(values, axis=None)), int(np.maximum.reduce(values, axis=None))


def peak(values: Array) -> int:
    """The largest magnitude."""
    least, most = extent(values)
    return max(abs(least), abs(most))


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
        rows = kernels.reshape(len(kernels), -1)
        least, most = extent(rows)
        if max(-least, most, 1) * rows.shape[1] < 2**62:
            whole = rows.astype(np.int64)
            positive = np.maximum(whole, 0).sum(axis=1)
            negative = whole.sum(axis=1) - positive
        else:
            numbers = rows.astype(object)
            positive = np.where(numbers > 0, numbers, 0).sum(axis=1)
            negative = np.where(numbers < 0, numbers, 0).sum(axis=1)
        low, high, absolute = negative.min(), positive.max(), (positive - negative).max()
        return cls(least, most, int(low), int(high), int(absolute))

    def sums(self, least: int, most: int) -> tuple[int, int]:
        """The least and the largest sum that samples from ``least`` to ``most``, or zeros, can have."""
        least, most = min(least, 0), max(most, 0)
        return self.positive * least + self.negative * most, self.positive * most + self.negative * least
