"""Which type sums are formed in, which type the result has, and how one becomes the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from convkit.arrays import NUMPY
from convkit.errors import DTypeError, IntegerOverflowError, OptionError
from convkit.planner.algorithm import Array
from convkit.planner.narrowing import narrowed
from convkit.spec.options import Overflow


@dataclass(frozen=True, slots=True)
class ElementTypes:
    """Types of one call.

    Attributes
    ----------
    compute : str
        Sums are formed in this type.
    result : str
        The result is stored in this type.
    """

    compute: str
    result: str


def as_dtype(value: object) -> np.dtype[Any]:
    """A NumPy dtype from a dtype, a name, or a torch dtype.

    Raises
    ------
    DTypeError
        ``dtype.unknown``.
    """
    name = str(value).removeprefix("torch.") if type(value).__module__ == "torch" else value
    try:
        found = np.dtype(name)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise DTypeError("unknown", dtype=repr(value)) from None
    if found.kind not in "biufcO":
        raise DTypeError("not-a-number", dtype=found.name)
    return found


def result_name(value: object) -> str | None:
    """The name of the result type asked for; bfloat16, which NumPy lacks, is known by name."""
    if value is None:
        return None
    if str(value).removeprefix("torch.") == "bfloat16":
        return "bfloat16"
    return as_dtype(value).name


@lru_cache(maxsize=1024)
def element_types(x: str, k: str, asked: str | None) -> ElementTypes:
    """Compute and result type for inputs of types ``x`` and ``k``.

    Integers (bool included) sum exactly in int64, or uint64 if both are unsigned. float16 and bfloat16 sum in float32.
    Everything else sums in ``numpy.result_type`` of the two, and of the result type asked for.

    Raises
    ------
    DTypeError
        ``dtype.not-a-number``, ``dtype.complex-to-real``.
    """
    kinds = [_kind(x), _kind(k)]
    integers = all(kind in "iub" for kind in kinds)
    if integers:
        natural = "uint64" if kinds == ["u", "u"] else "int64"
        compute = natural
    else:
        natural = _half_aware(x, k)
        compute = "float32" if natural in ("float16", "bfloat16") else natural
    if asked is None:
        return ElementTypes(compute, natural)
    kind = _kind(asked)
    if kind == "b":
        raise DTypeError("no-bool-result", natural=natural)
    if kind in "iu":
        if np.dtype(compute).kind == "c":
            raise DTypeError("complex-to-real", natural=natural, dtype=asked)
        if integers:
            compute = "uint64" if asked == "uint64" else "int64"
        return ElementTypes(compute, asked)
    if kind != "c" and np.dtype(compute).kind == "c":
        raise DTypeError("complex-to-real", natural=natural, dtype=asked)
    wide = "float32" if asked in ("float16", "bfloat16") else asked
    if integers:
        return ElementTypes(np.result_type(np.dtype(wide), np.float32).name, asked)
    real = np.dtype(NUMPY.real_name(wide))
    return ElementTypes(np.result_type(np.dtype(compute), real).name, asked)


def _kind(name: str) -> str:
    if name == "bfloat16":
        return "f"
    try:
        kind = np.dtype(name).kind
    except TypeError:  # a torch type without a NumPy counterpart
        kind = ""
    if not kind or kind not in "biufc":
        raise DTypeError("not-a-number", dtype=name)
    return kind


def _half_aware(x: str, k: str) -> str:
    """``numpy.result_type`` extended to bfloat16: with float16 it gives float32, with integers itself."""
    if "bfloat16" not in (x, k):
        return np.result_type(np.dtype(x), np.dtype(k)).name
    other = k if x == "bfloat16" else x
    if other == "bfloat16" or _kind(other) in "biu":
        return "bfloat16"
    return np.result_type(np.dtype(other), np.float32).name


def finish(sums: Array, result: str, overflow: Overflow) -> Array:
    """Turn sums into the result type: round once, or store integers exactly.

    Floats become integers by rounding half to even and saturating. Integers that do not fit follow ``overflow``.

    Raises
    ------
    IntegerOverflowError
        ``integer.does-not-fit`` under ``overflow="raise"``, ``integer.nan`` where a NaN would have to become a number.
    """
    target = np.dtype(result)
    if sums.dtype == target:
        return sums
    if target.kind not in "iu":
        with np.errstate(over="ignore"):
            return sums.astype(target)
    limits = np.iinfo(target)
    if sums.dtype.kind in "iu":
        return narrowed(sums, target, overflow)
    if np.isnan(sums).any():
        raise IntegerOverflowError("nan", dtype=result, count=int(np.isnan(sums).sum()))
    rounded = np.rint(sums)
    # float(limits.max) may round up to the first number that does not fit, so the comparison is >=.
    stored = np.clip(rounded, float(limits.min), np.nextafter(float(limits.max), 0)).astype(target)
    stored[rounded >= float(limits.max)] = limits.max
    return stored


def add_exactly(sums: Array, bias: Array, overflow: Overflow) -> Array:
    """``sums + bias`` in the type of the sums, overflow seen by the signs.

    Raises
    ------
    IntegerOverflowError
        ``integer.does-not-fit`` under ``overflow="raise"``.
    """
    total = sums + bias.astype(sums.dtype)
    if overflow == "wrap":
        return total
    upwards = np.broadcast_to(bias, total.shape) > 0
    too_large, too_small = (total < sums) & upwards, (total > sums) & ~upwards
    count = int(too_large.sum() + too_small.sum())
    if count and overflow == "raise":
        limits = np.iinfo(sums.dtype)
        worst = int(np.abs(sums).max()) + int(np.abs(bias).max())
        raise IntegerOverflowError(
            "does-not-fit",
            dtype=sums.dtype.name,
            count=count,
            least=limits.min,
            largest=limits.max,
            worst=worst,
        )
    total[too_large], total[too_small] = np.iinfo(sums.dtype).max, np.iinfo(sums.dtype).min
    return total


def check_fill(fill: object, compute: str) -> complex:
    """``fill`` as a plain number that the compute type can hold.

    Raises
    ------
    OptionError
        ``option.fill`` for what is no number, or none of the compute type's.
    """
    refusal = OptionError("fill", value=repr(fill), dtype=compute)
    try:
        number = complex(fill)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise refusal from None
    kind = np.dtype(compute).kind
    if kind == "c":
        return number
    if number.imag:
        raise refusal
    if kind == "f":
        return number.real
    if number.real != number.real // 1:
        raise refusal
    whole = int(number.real) if isinstance(fill, complex) else int(fill)  # type: ignore[call-overload]
    limits = np.iinfo(compute)
    if not limits.min <= whole <= limits.max:
        raise refusal
    return whole
