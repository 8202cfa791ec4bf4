"""ConvInteger and QLinearConv: bytes with zero points, summed exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from convkit import verbs
from convkit.compat.onnx.convolutions import laid
from convkit.compat.onnx.operation import Array, Kept, Operation, Results
from convkit.errors import by


class _Integers(Operation):
    """What both have in common: sums of (sample - zero point) * (weight - zero point), modulo 2^32.

    The padding stands for real zeros, so it is the zero point before, and zero after, that is taken away.
    """

    def __init__(self, onnx_node: Any, run_params: dict[str, Any], schema: Any = None) -> None:
        super().__init__(onnx_node, run_params, schema)
        self._weights = Kept()

    def sums(
        self, x: Array, w: Array, x_zero: Array | None, w_zero: Array | None, bias: Array | None, group: int,
        attributes: dict[str, Any],
    ) -> Array:  # fmt: skip
        """The exact sums as int32."""
        windows = laid(self, x, w, attributes)
        samples = self._centred("x_zero_point", x, x_zero)
        weights = self._weights.of(self._centred_weights, w, w_zero)
        return verbs.conv(
            samples, weights, bias, groups=group, dtype="int32", overflow="wrap", **windows.options
        )  # fmt: skip

    def _centred_weights(self, w: Array, zero: Array | None) -> Array:
        centred = self._centred("w_zero_point", w, zero)
        centred.flags.writeable = False
        return centred

    def _centred(self, name: str, values: Array, zero: Array | None) -> Array:
        """Values minus their zero point: one for all, or one for each output channel of the weights."""
        if zero is None or not np.any(zero):
            return values.view() if name == "w_zero_point" else values
        channels = values.shape[0] if name == "w_zero_point" else 1
        if zero.size not in (1, channels) or zero.ndim > 1:
            raise self.wrong("zero-point", name=name, shape=by(zero.shape), channels=channels)
        column = zero.astype(np.int16).reshape((-1, *([1] * (values.ndim - 1))))
        return values.astype(np.int16) - column


class ConvInteger(_Integers):
    """Sums of bytes as int32."""

    def _run(
        self,
        x: Array,
        w: Array,
        x_zero_point: Array | None = None,
        w_zero_point: Array | None = None,
        *,
        group: int = 1,
        **attributes: Any,
    ) -> Results:
        return (self.sums(x, w, x_zero_point, w_zero_point, None, group, attributes),)


class QLinearConv(_Integers):
    """The same sums, scaled, rounded half to even, shifted by the result's zero point, and saturated."""

    def _run(
        self,
        x: Array,
        x_scale: Array,
        x_zero_point: Array,
        w: Array,
        w_scale: Array,
        w_zero_point: Array,
        y_scale: Array,
        y_zero_point: Array,
        bias: Array | None = None,
        *,
        group: int = 1,
        **attributes: Any,
    ) -> Results:
        sums = self.sums(x, w, x_zero_point, w_zero_point, bias, group, attributes)
        if w_scale.size not in (1, w.shape[0]):
            raise self.wrong("scale", shape=by(w_scale.shape), channels=w.shape[0])
        # float32 from here on, in this order: what runtimes do, so that ties are rounded as they round them.
        factor = (x_scale.astype(np.float32) * w_scale.astype(np.float32)) / y_scale.astype(np.float32)
        scaled = sums.astype(np.float32) * factor.reshape((-1, *([1] * (x.ndim - 2))))
        limits, zero = np.iinfo(y_zero_point.dtype), int(y_zero_point.reshape(()))
        np.rint(scaled, out=scaled)
        np.clip(scaled, limits.min - zero, limits.max - zero, out=scaled)
        scaled += zero
        return (scaled.astype(y_zero_point.dtype),)
