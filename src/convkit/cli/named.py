"""Kernels by name, as the command line calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convkit.errors import OptionError, choose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WITH_SIZE = {"box": 3, "binomial": 3, "sobel-x": 3, "sobel-y": 3, "motion-blur": 9}
_WITH_SIGMA = ("gaussian", "unsharp", "laplacian-of-gaussian")
_TWO_AXES = ("emboss", "motion-blur")
_PLAIN = ("prewitt-x", "prewitt-y", "scharr-x", "scharr-y", "laplacian", "outline", "sharpen", "emboss", "identity")
KERNEL_NAMES = (*_WITH_SIZE, *_WITH_SIGMA, *_PLAIN)


def named(name: str, *, size: int | None = None, sigma: float | None = None, rank: int = 2) -> NDArray[np.generic]:
    """The kernel of that name, for ``rank`` axes, as it is laid on the picture (for correlation).

    Kernels of whole numbers are integers, so that whole numbers stay exact. ``-x`` measures along the last axis,
    ``-y`` along the first.

    Raises
    ------
    OptionError
        ``option.unknown-value``, ``option.not-for-this-kernel``, ``option.two-axes-only``, and those of
        `convkit.kernels`.

    Examples
    --------
    >>> named("sobel-x")
    array([[-1,  0,  1],
           [-2,  0,  2],
           [-1,  0,  1]])
    """
    choose("kernel", name, KERNEL_NAMES)
    for option, value, takers in (("size", size, tuple(_WITH_SIZE)), ("sigma", sigma, _WITH_SIGMA)):
        if value is not None and name not in takers:
            raise OptionError("not-for-this-kernel", option=option, kernel=name, takers=", ".join(takers))
    if name in _TWO_AXES and rank != 2:
        others = ", ".join(other for other in KERNEL_NAMES if other not in _TWO_AXES)
        raise OptionError("two-axes-only", kernel=name, rank=rank, others=others)
    return _makers(rank, _WITH_SIZE.get(name, 3) if size is None else size, sigma)[name]()


def _makers(rank: int, size: int, sigma: float | None) -> dict[str, Callable[[], Any]]:
    import numpy as np

    from convkit import kernels

    spread = 1.0 if sigma is None else sigma
    whole = {"rank": rank, "dtype": np.int64}
    return {
        "box": lambda: kernels.box(size, rank=rank),
        "binomial": lambda: kernels.binomial(size, rank=rank),
        "sobel-x": lambda: kernels.sobel(-1, size=size, **whole),
        "sobel-y": lambda: kernels.sobel(0, size=size, **whole),
        "motion-blur": lambda: kernels.motion_blur(size),
        "gaussian": lambda: kernels.gaussian(spread, rank=rank),
        "unsharp": lambda: kernels.unsharp(spread, rank=rank),
        "laplacian-of-gaussian": lambda: kernels.laplacian_of_gaussian(spread, rank=rank),
        "prewitt-x": lambda: kernels.prewitt(-1, **whole),
        "prewitt-y": lambda: kernels.prewitt(0, **whole),
        "scharr-x": lambda: kernels.scharr(-1, **whole),
        "scharr-y": lambda: kernels.scharr(0, **whole),
        "laplacian": lambda: kernels.laplacian(**whole),
        "outline": lambda: kernels.outline(**whole),
        "sharpen": lambda: kernels.sharpen(**whole),
        "emboss": lambda: kernels.emboss(dtype=np.int64),
        "identity": lambda: kernels.identity(1, **whole),
    }
