"""Object arrays (Fraction, Decimal, Python integers of any size): they run through the oracle, term by term."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from convkit.errors import ConvError, DTypeError, OptionError, ShapeError, by, choose
from convkit.planner.algorithm import Array
from convkit.planner.finishing import activate
from convkit.spec.epilogue import WHOLE, Activation
from convkit.spec.options import OVERFLOWS, Direction
from convkit.verbs.calls import check_out, plain
from convkit.verbs.dtypes import as_dtype
from convkit.verbs.layout import layout_of


def wanted(dtype: Any, *arrays: Any) -> bool:
    """Whether one of the arrays holds objects, or objects are the type asked for."""
    if any(isinstance(array, np.ndarray) and array.dtype.kind == "O" for array in arrays):
        return True
    return dtype is object or (dtype is not None and str(dtype) in ("object", "O"))


def convolve(
    operation: str, x: Array, k: Array, mode: str, axes: Any, dtype: Any, weights: Any, mask: Any, out: Any,
    options: dict[str, Any],
) -> Array:  # fmt: skip
    """``ck.convolve`` or ``ck.correlate`` by the definition, over whatever numbers the arrays hold."""
    from convkit.oracle import adapters

    if weights is not None or mask is not None:
        raise OptionError("objects-complete")
    layout_of(x.shape, k.shape, plain(axes))
    verb = adapters.oracle_convolve if operation == "convolution" else adapters.oracle_correlate
    chosen = {name: plain(options[name]) for name in ("boundary", "fill", "stride", "dilation", "anchor", "nan")}
    chosen["arithmetic"] = _arithmetic(x, k)
    return computed(
        lambda **kept: verb(_own(x), _own(k), mode, axes=plain(axes), **kept, **chosen),
        dtype, options["overflow"], out,
    )  # fmt: skip


def adjoint(y: Array, k: Array, shape: tuple[int, ...], operation: str, mode: str, options: dict[str, Any]) -> Array:
    """``ck.Convolver(k, operation, mode, **options).adjoint(y, shape)`` by the definition."""
    from convkit.oracle import adapters

    chosen = {
        name: options[name] for name in ("boundary", "fill", "stride", "dilation", "anchor", "axes") if name in options
    }
    expected = adapters.operator_of(operation, shape, k.shape, mode, **chosen).output_shape
    if y.shape != expected:
        raise ShapeError("gradient", gradient=by(y.shape), expected=by(expected), input=by(shape), weights=by(k.shape))
    return computed(
        lambda **_: adapters.oracle_adjoint(
            _own(y), _own(k), shape, operation, mode, arithmetic=_arithmetic(y, k), **chosen
        ),
        None, "raise",
    )  # fmt: skip


def layer(
    direction: Direction, x: Any, w: Any, bias: Any, add: Any, activation: Activation | None, out: Any,
    options: dict[str, Any],
) -> Array:  # fmt: skip
    """``ck.conv`` or ``ck.conv_transpose`` by the definition."""
    from convkit.oracle import adapters

    chosen = _network(options)
    chosen["arithmetic"] = _arithmetic(x, w)
    added, kind = None if bias is None else _own(bias), options["dtype"]
    ends = add is not None or activation is not None
    sums = computed(
        lambda **kept: adapters.oracle_conv(_own(x), _own(w), added, direction=direction, **kept, **chosen),
        None if ends else kind, options["overflow"], None if ends else out,
    )  # fmt: skip
    return _ended(sums, add, activation, kind, options["overflow"], out) if ends else sums


def _ended(sums: Array, add: Any, activation: Activation | None, dtype: Any, overflow: str, out: Any) -> Array:
    """A layer's epilogue, in the numbers' own arithmetic; ``dtype`` and ``out`` as everywhere."""
    if activation is not None and activation not in WHOLE:
        raise DTypeError("activation", activation=activation, compute="object", whole=" | ".join(WHOLE))
    total = sums if add is None else sums + _own(add).astype(object)
    return _stored(total if activation is None else activate(activation, total), dtype, overflow, out)


def gradient(role: str, g: Any, other: Any, shape: tuple[int, ...], out: Any, options: dict[str, Any]) -> Array:
    """``ck.conv_input_gradient`` or ``ck.conv_weight_gradient`` by the terms of the forward sum."""
    from convkit.oracle import adapters

    verb = adapters.oracle_conv_input_gradient if role == "input" else adapters.oracle_conv_weight_gradient
    chosen = _network(options)
    arithmetic = _arithmetic(g, other)
    exact = computed(lambda **_: verb(_own(g), _own(other), shape, arithmetic=arithmetic, **chosen), None, "raise")
    return _stored(exact, options["dtype"], options["overflow"], out)


def _stored(exact: Array, dtype: Any, overflow: str, out: Any = None) -> Array:
    """Exact numbers as the type asked for."""
    if dtype is None:
        return computed(lambda **_: exact, None, overflow, out)
    one = np.ones((1,) * exact.ndim, object)  # a product with one stores the sums so
    return convolve(
        "convolution", exact, one, "full", None, dtype, None, None, out,
        {"boundary": "zero", "fill": 0, "stride": 1, "dilation": 1, "anchor": None, "nan": "propagate",
         "overflow": overflow},
    )  # fmt: skip


def pool(
    x: Array, size: tuple[int, ...], kind: str, stride: tuple[int, ...], padding: Any, ceil: bool, dilation: Any = 1
) -> Array:
    """``ck.pool`` by its definition."""
    from convkit.oracle import adapters

    options: dict[str, Any] = {"kind": kind, "stride": stride, "padding": padding, "ceil": ceil, "dilation": dilation}
    return computed(lambda **_: adapters.oracle_pool(_own(x), size, **options), None, "raise")


def _network(options: dict[str, Any]) -> dict[str, Any]:
    left_out = ("dtype", "overflow", "accuracy")
    return {name: plain(value) for name, value in options.items() if name not in left_out}


def computed(work: Callable[..., Array], dtype: Any, overflow: str, out: Any = None) -> Array:
    """The oracle's result in the type asked for, objects by default.

    Raises
    ------
    DTypeError
        ``dtype.mixed-objects`` if the elements cannot be multiplied and added.
    """
    choose("overflow", overflow, OVERFLOWS)
    target = np.dtype(object) if dtype is None else as_dtype(dtype)
    try:
        result = work(dtype=target, overflow=overflow)
    except ConvError:
        raise
    except (TypeError, AttributeError, ArithmeticError, ValueError) as cause:
        raise DTypeError("mixed-objects", cause=cause) from cause
    if out is None:
        return result
    check_out(out, result.shape, result.dtype.name)
    out[...] = result
    return out


def _own(array: Array) -> Array:
    """Objects as Python's own numbers, which neither wrap around nor round; other arrays as they are."""
    if array.dtype.kind != "O":
        return array
    held = np.empty(array.shape, object)
    for at, item in np.ndenumerate(array):
        held[at] = item.item() if isinstance(item, np.generic) else item
    return held


def _arithmetic(*arrays: Array) -> Literal["plain", "exact"]:
    """Floats are taken as the fractions they are; complex arrays stay complex numbers."""
    return "plain" if any(array.dtype.kind == "c" for array in arrays) else "exact"
