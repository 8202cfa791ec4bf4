"""Missing samples: ``nan="omit"``, ``mask`` and ``weights``.

With confidences ``w``, 1 for a sample that counts in full, each missing share of a sample takes the mean of what the
window holds, weighted by ``|k|``:

``out = sum k w x + (sum k (1-w)) * (sum |k| w x) / (sum |k| w)``

For a kernel of one sign that is ``sum(k w x) / sum(k w) * sum(k)``, the renormalised sum; for kernels that sum to
zero it stays defined, and a constant stays what the kernel makes of a constant. Samples outside the array count as
present. An output whose window is missing altogether is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit.arrays import Namespace
from convkit.errors import DTypeError, OptionError, ShapeError, by
from convkit.verbs.calls import array_call
from convkit.verbs.dtypes import element_types, finish, result_name


def convolve(
    xp: Namespace,
    operation: str,
    x: Any,
    k: Any,
    mode: str,
    axes: Any,
    dtype: Any,
    method: str,
    weights: Any,
    mask: Any,
    options: dict[str, Any],
) -> Any:
    """The convolution of the samples that are there."""
    asked = result_name(dtype)
    result = element_types(_float_name(xp.dtype(x)), xp.dtype(k), asked).result
    compute = element_types(_float_name(xp.dtype(x)), xp.dtype(k), None).compute
    confidence = _confidence(xp, x, weights, mask, options["nan"])

    def sums(samples: Any, kernel: Any, **changes: Any) -> Any:
        chosen = {**options, "nan": "propagate", "method": method, **changes}
        types = xp.dtype(samples), xp.dtype(kernel)
        call = array_call(tuple(samples.shape), tuple(kernel.shape), *types, operation, mode, axes=axes, **chosen)
        return call.run(xp, samples, kernel)

    x, k = xp.cast(x, element_types(_float_name(xp.dtype(x)), "float32", None).compute), _wide(xp, k)
    present = confidence > 0
    counted = xp.where(present, x, xp.zeros_like(x))
    if bool(((confidence != 1) & present).any()):
        counted = counted * xp.cast(confidence, xp.real_name(xp.dtype(x)))
    total = sums(counted, k)
    lost = 1 - confidence
    if bool((lost != 0).any()):
        size, bounded = xp.absolute(k), {"accuracy": "elementwise", "method": "auto"}
        # Outside the array samples count as present, whatever their value.
        outside = {"boundary": _present_outside(options["boundary"]), "fill": 1}
        everywhere = xp.cast(xp.zeros_like(k) == 0, "int64")
        touched = sums(xp.cast(lost != 0, "int64"), everywhere, fill=0, method="auto", accuracy="norm") > 0
        there = sums(xp.cast(present, "int64"), xp.cast(k != 0, "int64"), **outside, method="auto", accuracy="norm") > 0
        weight = sums(confidence, size, **outside, **bounded)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = sums(counted, size, **bounded) / xp.where(there, weight, weight * 0 + 1)
            repaired = total + sums(lost, k, **bounded, fill=0) * mean
        total = xp.where(touched, xp.where(there, repaired, xp.zeros_like(repaired) + float("nan")), total)
    return xp.finish(xp.cast(total, compute), result, lambda array: finish(array, result, options["overflow"]))


def _float_name(dtype: str) -> str:
    """Integers with missing samples are averaged, so they are counted in float64."""
    return "float64" if dtype.startswith(("int", "uint", "bool")) else dtype


def _wide(xp: Namespace, k: Any) -> Any:
    return xp.cast(k, "float32") if xp.dtype(k) in ("float16", "bfloat16") else k


def _present_outside(boundary: Any) -> Any:
    """The same boundary for confidences: where no sample stands, ``constant`` (filled with one) instead of ``zero``."""
    if isinstance(boundary, str):
        return "constant" if boundary == "zero" else boundary
    return tuple(map(_present_outside, boundary))


def _confidence(xp: Namespace, x: Any, weights: Any, mask: Any, nan: str) -> Any:
    """One confidence for every sample, from all three sources together."""
    confidence = xp.cast(xp.zeros_like(x) == 0, "float64")
    if weights is not None:
        given = xp.array(weights, "weights")
        if xp.dtype(given).startswith("c"):
            raise DTypeError("complex-weights", dtype=xp.dtype(given))
        _check_broadcast("weights", given.shape, x.shape)
        least = xp.smallest(given)
        if not least >= 0:
            raise OptionError("weights-range", least=least)
        confidence = confidence * given
    if mask is not None:
        chosen = xp.array(mask, "mask")
        if xp.dtype(chosen) != "bool":
            raise OptionError("mask-not-bool", dtype=xp.dtype(chosen))
        _check_broadcast("mask", chosen.shape, x.shape)
        confidence = xp.where(chosen, confidence, confidence * 0)
    if nan == "omit":
        confidence = xp.where(xp.finite(x), confidence, confidence * 0)
    return confidence


def _check_broadcast(option: str, shape: Any, target: Any) -> None:
    pairs = zip(reversed(shape), reversed(target), strict=False)
    if len(shape) > len(target) or any(one not in (1, other) for one, other in pairs):
        raise ShapeError("weights-shape", option=option, shape=by(shape), input=by(target))
