"""The epilogue of a layer, for algorithms that leave it to others: in place, in one pass over the sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.spec.epilogue import Epilogue

Array = NDArray[Any]

PIECE = 1 << 15
"""Numbers that NumPy takes through all steps at a time, roughly: they stay in the cache."""


@dataclass(frozen=True, slots=True)
class Operands:
    """The arrays of an epilogue: the bias in the type of the sums, the other as the epilogue says.

    Attributes
    ----------
    bias : ndarray (groups, out_channels), optional
        One number for each output channel, side by side.
    add : ndarray (batch, groups, out_channels, *count), optional
        Of any strides; it shares no memory with the result.
    """

    bias: Array | None = None
    add: Array | None = None


NOTHING = Operands()

Finisher = Callable[[Epilogue, Array, Operands], bool]
"""From an epilogue, the sums in place and the operands to whether it has been done."""

_finishers: list[Finisher] = []


def register(finisher: Finisher) -> None:
    """Give a faster way than NumPy's, which may decline arrays that it cannot do."""
    _finishers.append(finisher)


def finish_in_place(epilogue: Epilogue, sums: Array, operands: Operands) -> None:
    """``sums[...] = activation(sums + bias + add)``."""
    if sums.size and not any(finisher(epilogue, sums, operands) for finisher in _finishers):
        finish_by_numpy(epilogue, sums, operands)


def finish_apart(
    epilogue: Epilogue | None, compute: str, out: Array, operands: Operands, run: Callable[[Array], Any]
) -> Any:  # fmt: skip
    """Have ``run`` form sums and do their epilogue: where the result stands, or apart if it is of another type."""
    sums = out if out.dtype == compute else np.empty(out.shape, compute)
    seen = run(sums)
    if epilogue is not None:
        finish_in_place(epilogue, sums, operands)
    if sums is not out:
        with np.errstate(over="ignore"):
            out[...] = sums
    return seen


def finish_by_numpy(epilogue: Epilogue, sums: Array, operands: Operands) -> None:
    """The same, by NumPy."""
    with np.errstate(over="ignore", invalid="ignore"):
        for at in _pieces(sums.shape):
            part = sums[at]
            if operands.bias is not None:
                part += operands.bias[at[1:]].reshape(part.shape[:1] + (1,) * (part.ndim - 1))
            if operands.add is not None:
                part += operands.add[at].astype(part.dtype, copy=False)
            if epilogue.activation is not None:
                part[...] = activate(epilogue.activation, part)


def _pieces(shape: tuple[int, ...]) -> Iterator[tuple[int, int, slice]]:
    """Some channels of one group of one sample each."""
    batch, groups, channels, *space = shape
    at_once = max(1, PIECE // max(1, int(np.prod(space))))
    for sample, group in np.ndindex(batch, groups):
        for first in range(0, channels, at_once):
            yield sample, group, slice(first, first + at_once)


def _relu(x: Array) -> Array:
    return np.maximum(x, x.dtype.type(0))


def _relu6(x: Array) -> Array:
    return np.minimum(_relu(x), x.dtype.type(6))


def _hardsigmoid(x: Array) -> Array:
    return _relu6(x + x.dtype.type(3)) / x.dtype.type(6)


def _sigmoid(x: Array) -> Array:
    return x.dtype.type(1) / (x.dtype.type(1) + np.exp(-x))


_tail = np.frompyfunc(lambda x: math.erfc(-x * math.sqrt(0.5)) / 2, 1, 1)
"""The normal distribution up to a number, number by number: NumPy has no such function."""


def _gelu(x: Array) -> Array:
    return np.asarray(x * np.asarray(_tail(x.astype(np.float64)), np.float64), x.dtype)


def _gelu_tanh(x: Array) -> Array:
    scale = 2 * math.sqrt(2 / math.pi)
    return x / (x.dtype.type(1) + np.exp(-x * (x.dtype.type(0.044715 * scale) * x * x + x.dtype.type(scale))))


_BY_NUMPY: dict[str, Callable[[Array], Array]] = {
    "relu": _relu,
    "relu6": _relu6,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": lambda x: x / (x.dtype.type(1) + np.exp(-x)),
    "hardsigmoid": _hardsigmoid,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "hardswish": lambda x: x * _relu6(x + x.dtype.type(3)) / x.dtype.type(6),
}


def activate(activation: str, values: Array) -> Array:
    """The activation of every number, in a new array."""
    return _BY_NUMPY[activation](values)
