"""``convolve`` and ``correlate``: arrays of any rank, every boundary, exact integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit.arrays import NUMPY, Namespace, namespace_of
from convkit.errors import OptionError
from convkit.planner.plan import Quick
from convkit.verbs import missing, objects
from convkit.verbs.calls import ArrayCall, array_call, check_out

_KEPT = 4096
_quick: dict[tuple[Any, ...], Quick] = {}


def convolve(
    x: Any,
    k: Any,
    mode: str = "full",
    *,
    boundary: Any = "zero",
    fill: Any = 0,
    stride: Any = 1,
    dilation: Any = 1,
    axes: Any = None,
    anchor: Any = None,
    dtype: Any = None,
    overflow: str = "raise",
    nan: str = "propagate",
    weights: Any = None,
    mask: Any = None,
    accuracy: Any = "norm",
    method: str = "auto",
    out: Any = None,
) -> Any:
    """Convolve ``x`` with ``k``: the kernel is flipped.

    ``full[n] = sum_j x[n-j] * k[j]``, n = 0..N+K-2; every axis alike. With ``anchor`` a in mode ``same``:
    ``out[i] = sum_j x[i+a-j] * k[j]``, i = 0..N-1.

    Parameters
    ----------
    x : array_like, any shape
        The input. It is never modified.
    k : array_like
        The kernel, with as many axes as are convolved; or as many as ``x``, the other axes then broadcast.
    mode : {"full", "same", "valid"}
        ``full``: N+K-1 outputs; ``same``: N; ``valid``: N-K+1, those whose window lies inside.
    boundary : {"zero", "constant", "edge", "reflect", "symmetric", "wrap"} or sequence
        What stands outside, with the names of ``numpy.pad``; one for all, or one an axis, each a name or a pair
        (before, after).
    fill : number
        The value outside under ``constant``.
    stride, dilation : int or sequence of int
        Every ``stride``-th output is computed; kernel elements stand ``dilation`` samples apart.
    axes : int or sequence of int, optional
        Axes of ``x`` to convolve along; all by default.
    anchor : int or sequence of int, optional
        Kernel element that lies on the output sample in mode ``same``; ``(K-1)//2`` by default.
    dtype : dtype, optional
        Type of the result. Without it integers give int64 (uint64 if both are unsigned), the rest
        ``numpy.result_type``. Floats stored as integers are rounded half to even and saturated.
    overflow : {"raise", "saturate", "wrap"}
        What happens to an exact integer result that does not fit.
    nan : {"propagate", "omit"}
        ``omit``: missing samples take the mean of the window's finite ones, weighted by ``|k|``.
    weights, mask : array_like, optional
        Confidence in each sample (0 to 1), or True where a sample counts; broadcast to ``x``.
    accuracy : {"norm", "elementwise"} or float
        How the error is bounded: by norms, output by output, or by a factor of ``|x| |k|``.
    method : str
        ``"auto"``, ``"measure"``, or the name of an algorithm.
    out : ndarray, optional
        Where to put the result; it may overlap ``x``.

    Returns
    -------
    ndarray or torch.Tensor
        The kind of array that came in.

    Raises
    ------
    ShapeError, OptionError, DTypeError, IntegerOverflowError, AccuracyError
        Each says the fact, the rule with its numbers, and a fix.

    See Also
    --------
    correlate : the same without the flip.
    Convolver : the same with a kernel prepared once.

    Notes
    -----
    Equivalent to ``scipy.signal.convolve(x, k, "full")`` for boundary ``zero``, and to ``scipy.ndimage.convolve`` for
    mode ``same`` and odd kernels with the boundary names translated. Definition: Oppenheim and Schafer, Discrete-Time
    Signal Processing, section 2.3.

    Examples
    --------
    >>> import convkit as ck
    >>> ck.convolve([1, 2, 3, 4, 5, 6], [1, 2, 3], "valid")
    array([10, 16, 22, 28])
    >>> ck.convolve([1, 2, 3], [1, 0, -1], "same", boundary="reflect")
    array([0, 2, 0])
    """
    return _verb(
        "convolution", x, k, mode, boundary, fill, stride, dilation, axes, anchor, dtype, overflow, nan, weights, mask,
        accuracy, method, out,
    )  # fmt: skip


def correlate(
    x: Any,
    k: Any,
    mode: str = "full",
    *,
    boundary: Any = "zero",
    fill: Any = 0,
    stride: Any = 1,
    dilation: Any = 1,
    axes: Any = None,
    anchor: Any = None,
    dtype: Any = None,
    overflow: str = "raise",
    nan: str = "propagate",
    weights: Any = None,
    mask: Any = None,
    accuracy: Any = "norm",
    method: str = "auto",
    out: Any = None,
) -> Any:
    """Correlate ``x`` with ``k``: the kernel is not flipped, and conjugated.

    ``correlate(x, k) = convolve(x, conj(reverse(k)))``. With ``anchor`` a in mode ``same``:
    ``out[i] = sum_j x[i+j-a] * conj(k[j])``, a = ``K//2`` by default.

    Parameters
    ----------
    x, k, mode, boundary, fill, stride, dilation, axes, anchor, dtype, overflow, nan, weights, mask, accuracy, method,
    out
        As in `convolve`.

    Returns
    -------
    ndarray or torch.Tensor
        The kind of array that came in.

    Raises
    ------
    ShapeError, OptionError, DTypeError, IntegerOverflowError, AccuracyError
        As `convolve`.

    Notes
    -----
    Equivalent to ``numpy.correlate(x, k, mode)`` for one axis and N >= K, and to ``scipy.signal.correlate``.

    Examples
    --------
    >>> import convkit as ck
    >>> ck.correlate([1, 2, 3, 4, 5, 6], [1, 2, 3], "valid")
    array([14, 20, 26, 32])
    """
    return _verb(
        "correlation", x, k, mode, boundary, fill, stride, dilation, axes, anchor, dtype, overflow, nan, weights, mask,
        accuracy, method, out,
    )  # fmt: skip


def _verb(
    operation: str, x: Any, k: Any, mode: str, boundary: Any, fill: Any, stride: Any, dilation: Any, axes: Any,
    anchor: Any, dtype: Any, overflow: str, nan: str, weights: Any, mask: Any, accuracy: Any, method: str, out: Any,
) -> Any:  # fmt: skip
    """Either verb: a short row asked for before goes straight to its arithmetic."""
    key = None
    if type(x) is np.ndarray and type(k) is np.ndarray and weights is None and mask is None:
        key = (
            operation, x.shape, k.shape, x.dtype, k.dtype, mode, boundary, fill, stride, dilation, axes, anchor, dtype,
            overflow, nan, accuracy, method,
        )  # fmt: skip
        try:
            quick = _quick.get(key)
        except TypeError:  # an option given as a list
            key = quick = None
        result = quick(x, k, out) if quick is not None and (out is None or type(out) is np.ndarray) else None
        if result is not None:
            return result
    options = {
        "boundary": boundary, "fill": fill, "stride": stride, "dilation": dilation, "anchor": anchor,
        "overflow": overflow, "nan": nan, "accuracy": accuracy,
    }  # fmt: skip
    call, result = _convolve(operation, x, k, mode, axes, dtype, method, weights, mask, out, options)
    native = x.dtype.isnative and k.dtype.isnative if key is not None else False
    if key is not None and native and call is not None and call.quick is not None:
        if len(_quick) >= _KEPT:
            _quick.clear()
        _quick[key] = call.quick
    return result


def _convolve(
    operation: str, x: Any, k: Any, mode: str, axes: Any, dtype: Any, method: str, weights: Any, mask: Any, out: Any,
    options: dict[str, Any],
) -> tuple[ArrayCall | None, Any]:  # fmt: skip
    """The general way: arrays of any kind, every option."""
    xp = namespace_of(x, k)
    samples, kernel = xp.array(x, "x"), xp.array(k, "k")
    if xp is NUMPY and objects.wanted(dtype, samples, kernel):
        return None, objects.convolve(operation, samples, kernel, mode, axes, dtype, weights, mask, out, options)
    if options["nan"] == "omit" or weights is not None or mask is not None:
        result = missing.convolve(xp, operation, samples, kernel, mode, axes, dtype, method, weights, mask, options)
        return None, _store(xp, result, out)
    call = array_call(
        tuple(samples.shape), tuple(kernel.shape), xp.dtype(samples), xp.dtype(kernel), operation, mode,
        axes=axes, dtype=dtype, method=method, **options,
    )  # fmt: skip
    if out is not None:
        if xp is not NUMPY:
            raise OptionError("out-with-tensors")
        check_out(out, call.output_shape(), call.types.result)
    return call, call.run(xp, samples, kernel, out)


def _store(xp: Namespace, result: Any, out: Any) -> Any:
    if out is None:
        return result
    if xp is not NUMPY:
        raise OptionError("out-with-tensors")
    check_out(out, result.shape, result.dtype.name)
    out[...] = result
    return out
