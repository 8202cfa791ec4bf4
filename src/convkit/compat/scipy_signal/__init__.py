"""``scipy.signal``'s convolutions on convkit's verbs: the same arguments, dtypes and results."""

from convkit.compat.scipy_signal.arrays import convolve, correlate
from convkit.compat.scipy_signal.fourier import fftconvolve, oaconvolve
from convkit.compat.scipy_signal.planes import convolve2d, correlate2d
from convkit.compat.scipy_signal.resampling import upfirdn

__all__ = [
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "fftconvolve",
    "oaconvolve",
    "upfirdn",
]
