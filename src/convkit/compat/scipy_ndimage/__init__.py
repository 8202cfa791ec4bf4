"""``scipy.ndimage``'s linear filters on convkit's verbs: the same arguments, dtypes, rounding and results."""

from convkit.compat.scipy_ndimage.correlation import convolve, convolve1d, correlate, correlate1d
from convkit.compat.scipy_ndimage.derivatives import (
    gaussian_gradient_magnitude,
    gaussian_laplace,
    laplace,
    prewitt,
    sobel,
)
from convkit.compat.scipy_ndimage.smoothing import (
    gaussian_filter,
    gaussian_filter1d,
    uniform_filter,
    uniform_filter1d,
)

__all__ = [
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_gradient_magnitude",
    "gaussian_laplace",
    "laplace",
    "prewitt",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
]
