"""What stands between convolutions, value by value: NumPy without temporary arrays, into an array that is used up."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from convkit.compat.onnx.operation import Array, Kept, Operation, Results, wide


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """``1 / (1 + exp(-x))``, without overflow on either side."""
    small = np.exp(-np.abs(x))
    top = np.where(x >= 0, x.dtype.type(1), small)
    small += 1
    return np.divide(top, small, out=out)


def hardswish(x: Array) -> Array:
    """``x * max(0, min(1, x/6 + 1/2))``."""
    y = x * x.dtype.type(1 / 6)
    y += x.dtype.type(0.5)
    np.clip(y, 0, 1, out=y)
    y *= x
    return y


def activated(x: Array, activation: str | None) -> Array:
    """What an activation of the verbs makes of ``x``."""
    if activation in ("relu", "relu6"):
        return np.clip(x, 0, 6 if activation == "relu6" else None)
    if activation == "silu":
        return x * sigmoid(x)
    named = {"sigmoid": sigmoid, "tanh": np.tanh, "hardswish": hardswish}
    return x if activation is None else named[activation](x)


class _InPlace(Operation):
    in_place = True


class Relu(_InPlace):
    """``max(x, 0)``."""

    def _run(self, x: Array, out: Array | None = None, **_: Any) -> Results:
        return (np.maximum(x, x.dtype.type(0), out=out),)


class LeakyRelu(_InPlace):
    """``x`` where it is positive, ``alpha * x`` elsewhere."""

    def _run(self, x: Array, *, alpha: float = 0.01, out: Array | None = None) -> Results:
        falling = x * x.dtype.type(alpha)
        if 0 <= alpha <= 1:
            return (np.maximum(x, falling, out=out),)
        return (np.where(x >= 0, x, falling),)


class Clip(_InPlace):
    """``min(max(x, least), most)``; the limits are inputs, or attributes before operator set 11."""

    def _run(
        self,
        x: Array,
        least: Array | None = None,
        most: Array | None = None,
        *,
        min: float | None = None,  # noqa: A002 - ONNX's names
        max: float | None = None,  # noqa: A002
        out: Array | None = None,
        **_: Any,
    ) -> Results:
        low = min if least is None else least
        high = max if most is None else most
        kind = x.dtype.type
        if low is None and high is None:
            return (x.copy() if out is None else out,)
        if low is not None:
            x = out = np.maximum(x, kind(low), out=out)
        if high is not None:
            x = np.minimum(x, kind(high), out=out)
        return (x,)


class Sigmoid(_InPlace):
    """``1 / (1 + exp(-x))``, without overflow on either side."""

    def _run(self, x: Array, out: Array | None = None) -> Results:
        return (sigmoid(x, out),)


class HardSigmoid(_InPlace):
    """``max(0, min(1, alpha * x + beta))``."""

    def _run(self, x: Array, *, alpha: float = 0.2, beta: float = 0.5, out: Array | None = None, **_: Any) -> Results:
        y = np.multiply(x, x.dtype.type(alpha), out=out)
        y += x.dtype.type(beta)
        return (np.clip(y, 0, 1, out=y),)


class HardSwish(Operation):
    """``x * max(0, min(1, x/6 + 1/2))``."""

    def _run(self, x: Array) -> Results:
        return (hardswish(x),)


class Tanh(_InPlace):
    """``tanh(x)``."""

    def _run(self, x: Array, out: Array | None = None) -> Results:
        return (np.tanh(x, out=out),)


class _Binary(_InPlace):
    """A function of two arrays that are broadcast against each other, as NumPy does since operator set 7."""

    function: ClassVar[np.ufunc]

    @classmethod
    def takes(cls, node: Any, version: int) -> bool:
        """Not the older form, which names an axis."""
        return version >= 7

    def _run(self, a: Array, b: Array, out: Array | None = None) -> Results:
        if out is not None and np.broadcast_shapes(a.shape, b.shape) != a.shape:
            out = None
        return (self.function(a, b, out=out),)


class Add(_Binary):
    """``a + b``."""

    function = np.add


class Sub(_Binary):
    """``a - b``."""

    function = np.subtract


class Mul(_Binary):
    """``a * b``."""

    function = np.multiply


class Softmax(_InPlace):
    """``exp(x) / sum exp(x)`` along an axis; before operator set 13 along it and all that follow it."""

    def _run(self, x: Array, *, axis: int | None = None, out: Array | None = None) -> Results:
        if self.version >= 13:
            axes: tuple[int, ...] = (-1 if axis is None else axis,)
        else:
            first = 1 if axis is None or "axis" not in self._given else axis
            axes = tuple(range(first % x.ndim, x.ndim))
        y = np.subtract(x, x.max(axis=axes, keepdims=True, initial=-np.inf), out=out)
        np.exp(y, out=y)
        y /= y.sum(axis=axes, keepdims=True)
        return (y,)

    @property
    def _given(self) -> set[str]:
        return {attribute.name for attribute in self.onnx_node.attribute}


class BatchNormalization(_InPlace):
    """Inference: ``x * scale/sqrt(variance + epsilon) + (bias - mean * scale/sqrt(variance + epsilon))``."""

    def __init__(self, onnx_node: Any, run_params: dict[str, Any], schema: Any = None) -> None:
        super().__init__(onnx_node, run_params, schema)
        self._line = Kept()

    @classmethod
    def takes(cls, node: Any, version: int) -> bool:
        """Not the training mode, whose statistics the reference implementation works out."""
        given = {attribute.name: attribute.i for attribute in node.attribute}
        outputs = [name for name in node.output if name]
        return version >= 9 and not given.get("training_mode") and len(outputs) == 1

    def _run(
        self,
        x: Array,
        scale: Array,
        bias: Array,
        mean: Array,
        variance: Array,
        *,
        epsilon: float = 1e-5,
        out: Array | None = None,
        **_: Any,
    ) -> Results:
        def line(scale: Array, bias: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
            compute = np.result_type(wide(x), wide(mean), wide(scale))
            slope = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + float(epsilon))
            shift = bias.astype(np.float64) - mean.astype(np.float64) * slope
            column = (-1, *([1] * (x.ndim - 2)))
            return slope.astype(compute).reshape(column), shift.astype(compute).reshape(column)

        slope, shift = self._line.of(line, scale, bias, mean, variance)
        y = np.multiply(wide(x), slope, out=out if out is not None and out.dtype == slope.dtype else None)
        y += shift
        return (y.astype(x.dtype, copy=False),)
