"""``scipy.signal.upfirdn``: upsample, filter, downsample, without computing a sample that is thrown away.

``y[n] = sum_k h[k] v[n*down - k]`` where ``v`` is the extended ``x`` with ``up - 1`` zeros between its samples. Of the
taps only those with ``k = n*down (mod up)`` meet a sample that is not one of these zeros. With ``g = gcd(up, down)``
that condition repeats every ``up/g`` outputs, so each of these phases is a correlation of ``x`` itself with every
``up``-th tap, at a stride of ``down/g``.
"""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np

from convkit import verbs
from convkit.compat.numpy import Array
from convkit.compat.refusal import refusal
from convkit.compat.scipy_signal.extensions import NAMES, beyond
from convkit.compat.ways import LARGE, sums_as_defined

# The extensions that the verbs know by themselves.
_BOUNDARIES = {"wrap": "wrap", "edge": "edge", "symmetric": "symmetric", "reflect": "reflect"}


def upfirdn(
    h: Any, x: Any, up: int = 1, down: int = 1, axis: int = -1, mode: str = "constant", cval: float = 0
) -> Array:
    """Upsample ``x`` along ``axis``, filter it with ``h``, and keep every ``down``-th sample.

    ``y[n] = sum_k h[k] v[n*down - k]``, n = 0..ceil(((N-1)*up + K)/down)-1, where ``v`` is ``x`` with ``up - 1`` zeros
    put between its N samples.

    Parameters
    ----------
    h : array_like, (K,)
        The filter's impulse response.
    x : array_like
        The signal, or many along the other axes.
    up, down : int
        Upsampling and downsampling factors.
    axis : int
        The axis to filter.
    mode : str
        What stands before and after ``x``: "constant" (``cval``), "wrap", "edge", "symmetric", "reflect",
        "antisymmetric", "antireflect", "line" (through the first and the last sample) or "smooth" (on along the
        slope of the last two). A signal of one sample is continued as it is by all but "constant" and "antisymmetric".
    cval : float
        The value outside under "constant".

    Returns
    -------
    ndarray
        Of the common type of ``h``, ``x`` and float32.

    Raises
    ------
    ValueError
        A filter that is empty or not one-dimensional, factors below 1, an unknown mode.
    TypeError
        Elements or a ``cval`` that are not numbers of up to double precision.
    IndexError
        An axis that ``x`` does not have.

    Examples
    --------
    >>> upfirdn([1, 1, 1], [1, 2, 3], up=3).tolist()
    [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0]
    >>> upfirdn([0.5, 1, 0.5], [1, 2, 3], up=2, down=3).tolist()
    [0.5, 2.0, 1.5]

    Equivalent to ``scipy.signal.upfirdn(h, x, up, down, axis, mode, cval)``.
    """
    taps, signal = np.asarray(h), np.asarray(x)
    if taps.ndim != 1 or taps.size == 0:
        raise refusal(ValueError, "scipy_signal.taps")
    up, down = int(up), int(down)
    if up < 1 or down < 1:
        raise refusal(ValueError, "scipy_signal.factors")
    dtype = np.result_type(taps.dtype, signal.dtype, np.float32)
    if dtype.char not in "fdFD":
        raise refusal(TypeError, "scipy_signal.no-signature", dtype=dtype)
    if signal.ndim == 0 or not -signal.ndim <= axis < signal.ndim:
        raise refusal(IndexError, "scipy_signal.axis", axis=axis, rank=signal.ndim)
    name = mode.lower()
    if name not in NAMES:
        raise refusal(ValueError, "scipy_signal.extension", mode=mode)
    if isinstance(cval, (str, bytes)) or np.iscomplexobj(cval):
        raise refusal(TypeError, "scipy_ndimage.not-real", type=type(cval).__name__)
    fill = float(cval)
    taps = taps.astype(dtype, copy=False)
    lines = np.moveaxis(signal.astype(dtype, copy=False), axis, -1)
    return np.moveaxis(_resampled(lines, taps, up, down, name, fill), -1, axis)


def _resampled(x: Array, h: Array, up: int, down: int, name: str, fill: float) -> Array:
    size = x.shape[-1]
    count = max(0, -(-((size - 1) * up + h.size) // down))
    if size == 0:
        return np.zeros((*x.shape[:-1], count), x.dtype)
    if name == "constant":
        extension = {"boundary": "constant", "fill": fill} if fill else {}
        return _phases(x, h, up, down, 0, count, extension)
    if name in _BOUNDARIES:
        return _phases(x, h, up, down, 0, count, {"boundary": _BOUNDARIES[name]})
    # The filter is linear: the samples that stand outside are a short signal of their own, whose answer is added.
    reach = (h.size - 1) // up
    y = _phases(x, h, up, down, 0, count, {})
    for offset, strip in ((-reach, beyond(x, name, -reach, 0)), (size, beyond(x, name, size, size + reach))):
        if reach:
            first = max(0, -(-offset * up // down))
            last = min(count, ((offset + reach - 1) * up + h.size - 1) // down + 1)
            y[..., first:last] += _phases(strip, h, up, down, first * down - offset * up, last - first, {})
    return y


def _phases(x: Array, h: Array, up: int, down: int, first: int, count: int, extension: dict[str, Any]) -> Array:
    """``y[i] = sum_k h[k] v[first + i*down - k]``, i = 0..count-1, phase by phase; see the module."""
    factor = gcd(up, down)
    phases, stride = up // factor, down // factor
    y = np.zeros((*x.shape[:-1], max(0, count)), x.dtype)
    for phase in range(min(phases, count)):
        start, tap = divmod(first + phase * down, up)
        kernel = h[tap::up]
        if kernel.size:
            y[..., phase::phases] = _strided(x, kernel, start, stride, -(-(count - phase) // phases), extension)
    return y


def _strided(x: Array, kernel: Array, start: int, stride: int, count: int, extension: dict[str, Any]) -> Array:
    """``y[m] = sum_j kernel[j] x[start + m*stride - j]``, m = 0..count-1, as one strided network convolution.

    A network's padding says where the first window starts, but only before the input; a later start is reached by
    letting some windows more come first and dropping them.
    """
    before = kernel.size - 1 - start
    extra = max(0, -(before // stride))
    before += extra * stride
    last = start + (count - 1) * stride
    after = max(0, last + 1 - x.shape[-1])
    lines = x.reshape(-1, 1, x.shape[-1])
    y = verbs.conv(
        lines,
        kernel.reshape(1, 1, -1),
        stride=stride,
        padding=((before, after),),
        operation="convolution",
        **sums_as_defined(lines.shape, kernel.shape, LARGE),
        **extension,
    )
    return y[..., extra : extra + count].reshape(*x.shape[:-1], count)
