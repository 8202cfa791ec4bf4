"""What a kernel's values allow: whether it is one outer product, exactly, or a sum of few of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.errors import AccuracyError, by
from convkit.planner.problem import Structure

Array = NDArray[Any]
Factors = list[list[Array]]
"""For each term, one vector an axis."""


def outer(vectors: list[Array]) -> Array:
    """``product[i, j, ...] = vectors[0][i] * vectors[1][j] * ...``."""
    product = vectors[0]
    for vector in vectors[1:]:
        product = product[..., None] * vector
    return product


def cross_factors(kernel: Array) -> Factors | None:
    """Vectors whose outer product is ``kernel`` within a few units of roundoff of every element, or None.

    With ``p`` the position of the largest element, axis vectors are the lines through it:
    ``kernel[i, j] = kernel[i, p1] * kernel[p0, j] / kernel[p0, p1]``.
    """
    if kernel.ndim < 2 or not np.isfinite(kernel).all():
        return None
    wide = kernel.astype(np.result_type(kernel.dtype, np.float64))
    at = np.unravel_index(int(np.abs(wide).argmax()), wide.shape)
    pivot = wide[at]
    if pivot == 0:
        return [[np.zeros(size, wide.dtype) for size in wide.shape]]
    vectors: list[Array] = []
    for axis in range(wide.ndim):
        line = wide[tuple(slice(None) if i == axis else at[i] for i in range(wide.ndim))]
        vectors.append(line / pivot if axis else line.copy())
    product = outer(vectors)
    # Kernels are usually outer products rounded to their own type: a few units of it are allowed.
    unit = np.finfo(kernel.dtype).eps if kernel.dtype.kind in "fc" else np.finfo(np.float64).eps
    return [vectors] if bool((np.abs(product - wide) <= 4 * unit * np.abs(wide)).all()) else None


def factors_of(kernel: Array) -> Factors:
    """The same of a kernel that is known to be one; of one axis, itself.

    Raises
    ------
    AccuracyError
        ``accuracy.not-separable``.
    """
    found = [[kernel]] if kernel.ndim == 1 else cross_factors(kernel)
    if found is None:
        raise AccuracyError("not-separable", kernel=by(kernel.shape))
    return found


def svd_factors(kernel: Array) -> Factors:
    """Terms of a two-dimensional kernel's singular value decomposition, those above roundoff.

    Dropped terms change the kernel by at most ``max(shape) * eps * largest singular value``.
    """
    wide = kernel.astype(np.result_type(kernel.dtype, np.float64))
    left, values, right = np.linalg.svd(wide, full_matrices=False)
    unit = np.finfo(kernel.dtype).eps if kernel.dtype.kind in "fc" else np.finfo(np.float64).eps
    kept = max(1, int((values > values[0] * unit * max(kernel.shape)).sum()))
    roots = np.sqrt(values[:kept])
    return [[left[:, r] * roots[r], right[r] * roots[r]] for r in range(kept)]


def structure_of(kernel: Array, low_rank: bool = False) -> tuple[Structure, int]:
    """What the planner may know of a kernel's values: ("separable", 1), ("low-rank", r) or ("dense", 0).

    With ``low_rank`` the decomposition is taken whatever its rank, for a caller that asked for it.
    """
    if kernel.ndim < 2 or not np.isfinite(kernel).all():
        return "dense", 0
    if not low_rank and cross_factors(kernel) is not None:
        return "separable", 1
    if kernel.ndim == 2 and np.result_type(kernel.dtype, np.float64).name in ("float64", "complex128"):
        rank = len(svd_factors(kernel))
        if low_rank or rank < min(kernel.shape):
            return "low-rank", rank
    return "dense", 0


def uniform_axes(kernel: Array) -> tuple[int, ...]:
    """The axes along which all elements of ``kernel`` are equal, and there are several of them.

    ``kernel[.., i, ..] = kernel[.., 0, ..]`` for every ``i``: sums along such an axis are running sums.

    Examples
    --------
    >>> uniform_axes(np.outer([1.0, 2.0, 1.0], np.ones(9)))
    (1,)
    """
    if not np.isfinite(kernel).all():
        return ()
    return tuple(
        axis for axis, size in enumerate(kernel.shape) if size > 1 and bool((kernel == kernel.take([0], axis)).all())
    )
