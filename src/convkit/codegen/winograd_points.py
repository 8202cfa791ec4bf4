"""The matrices of Winograd's minimal filtering, from its points, in exact fractions (Toom and Cook's construction).

A polynomial product is known from its values at as many points as it has coefficients, one of them infinity. Turned
around, that is ``m`` outputs of a kernel of ``r`` elements by ``m + r - 1`` products. Each axis of a tile is done so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

Matrix = tuple[tuple[Fraction, ...], ...]

TAPS = 3
"""Kernel elements along an axis, where nothing else is said."""

POINTS: dict[int, tuple[Fraction, ...]] = {
    4: (Fraction(0), Fraction(1), Fraction(-1)),
    6: (Fraction(0), Fraction(5, 8), Fraction(-5, 8), Fraction(13, 8), Fraction(-13, 8)),
}
"""The finite points for tiles of so many samples along an axis, each beside its negative.

Among pairs of eighths those for six samples have the smallest `spread`, both for four outputs of three elements and for
two outputs of five: in two dimensions 61 and 69, where 0, 1, -1, 2 and -2 have 299 for four outputs. All entries of the
matrices for samples and sums are exact in float32.
"""


FILTERS = {2: (3, 5), 4: (3,)}
"""For tiles of so many outputs along an axis the kernels' elements: together they make up samples of `POINTS`."""


def kernels_of(outputs: int) -> str:
    """The kernels for which there are tiles of so many outputs, in words."""
    return " / ".join(f"{taps} x {taps}" for taps in FILTERS[outputs])


@dataclass(frozen=True, slots=True)
class Transforms:
    """``y = outputs ((kernel g) * (inputs d))`` for ``y[i] = sum_j d[i + j] g[j]``, ``i < m``.

    Attributes
    ----------
    outputs : Matrix, (m, m + r - 1)
        From products to outputs.
    kernel : Matrix, (m + r - 1, r)
        From kernel elements to what is multiplied.
    inputs : Matrix, (m + r - 1, m + r - 1)
        From samples to what is multiplied.
    """

    outputs: Matrix
    kernel: Matrix
    inputs: Matrix

    @property
    def spread(self) -> float:
        """How much larger than the outputs what they are summed from can be, as a factor on norms.

        An output along one axis is ``sum_f A[i,f] (sum_j G[f,j] g[j]) (sum_l B[f,l] d[l])``. With every number by its
        magnitude that is at most ``|d|_2 |g|_2`` times the largest singular value of ``sum_f |B[f]| |A[i,f]| |G[f]|``.
        """
        inputs, kernel = (np.abs(np.array(matrix, float)) for matrix in (self.inputs, self.kernel))
        return max(
            float(np.linalg.norm(inputs.T @ np.diag(np.abs(np.array(row, float))) @ kernel, 2)) for row in self.outputs
        )

    @property
    def adjoint(self) -> Transforms:
        """The gradient of a tile's kernel: that is filtered too, with the gradient of its outputs as the kernel.

        ``dg[j] = sum_i d[i + j] dy[i] = kernel^T ((outputs^T dy) * (inputs d))``.
        """
        return Transforms(_transposed(self.kernel), _transposed(self.outputs), self.inputs)

    @property
    def gathered(self) -> float:
        """The `spread` of sums over all tiles of an axis, whose samples overlap while those of ``kernel`` do not.

        Samples a whole tile apart are at the same place of their tiles, so the places beyond a tile's own fall on the
        first ones of the next: with the matrix's last rows added to its first ones, the largest singular value is
        that of the map from an axis of samples, as many as there are, to sums (it is largest where nothing alternates).
        """
        inputs, kernel = (np.abs(np.array(matrix, float)) for matrix in (self.inputs, self.kernel))
        own = len(self.kernel[0])
        found: list[float] = []
        for row in self.outputs:
            sizes = inputs.T @ np.diag(np.abs(np.array(row, float))) @ kernel
            folded = np.zeros_like(sizes[:own])
            for first in range(0, len(sizes), own):
                part = sizes[first : first + own]
                folded[: len(part)] += part
            found.append(float(np.linalg.norm(folded, 2)))
        return max(found)


@lru_cache(maxsize=8)
def transforms(outputs: int, taps: int = TAPS) -> Transforms:
    """The matrices for ``outputs`` outputs of ``taps`` elements along an axis, with the `POINTS` chosen for them."""
    return construct(POINTS[outputs + taps - 1], outputs, taps)


def construct(points: Sequence[Fraction], outputs: int, taps: int = TAPS) -> Transforms:
    """The matrices for any distinct finite points, ``outputs + taps - 2`` of them; infinity is the last point.

    The row of samples for a point is the polynomial that vanishes at all others; that of the kernel, the powers of the
    point divided by the polynomial's value there.
    """
    inputs = [(*_vanishing([*points[:n], *points[n + 1 :]]), Fraction(0)) for n in range(len(points))]
    values = [
        sum((c * point**k for k, c in enumerate(row)), Fraction(0)) for row, point in zip(inputs, points, strict=True)
    ]
    kernel = [tuple(point**k / value for k in range(taps)) for point, value in zip(points, values, strict=True)]
    infinite = tuple(Fraction(k == taps - 1) for k in range(taps))
    sums = [(*(point**k for point in points), Fraction(k == outputs - 1)) for k in range(outputs)]
    return Transforms(tuple(sums), (*kernel, infinite), (*inputs, _vanishing(points)))


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _vanishing(points: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """The coefficients of the product of all ``x - point``, the constant first."""
    found = [Fraction(1)]
    for point in points:
        found = [a - point * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return tuple(found)
