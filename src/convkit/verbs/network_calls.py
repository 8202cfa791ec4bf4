"""A layer's call worked out once: from shapes, types and options to something that takes arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from convkit import algorithms as _algorithms  # noqa: F401  (registers the algorithms)
from convkit.arrays import NUMPY
from convkit.arrays.namespace import stored_name
from convkit.errors import ShapeError, by
from convkit.planner.algorithm import Array
from convkit.planner.finishing import activate
from convkit.planner.halves import HALVES
from convkit.planner.problem import Problem
from convkit.spec.conv import ConvSpec
from convkit.spec.epilogue import Activation, Epilogue
from convkit.spec.options import Direction
from convkit.verbs.bilinear import Bilinear
from convkit.verbs.calls import check_out, plain, widened_name
from convkit.verbs.dtypes import ElementTypes, add_exactly, check_fill, element_types, finish, result_name

_KEPT = 4096


class NetworkCall:
    """``conv`` or ``conv_transpose`` for one set of shapes, types and options."""

    __slots__ = ("_ends", "groups", "operator", "spec", "types", "w_shape", "x_shape")

    def __init__(
        self,
        spec: ConvSpec,
        x_shape: tuple[int, ...],
        w_shape: tuple[int, ...],
        types: ElementTypes,
        stored: tuple[str, str],
        method: str,
    ) -> None:
        self.spec, self.types, self.groups = spec, types, spec.groups
        self.x_shape, self.w_shape = x_shape, w_shape
        channels = check_channels(spec, x_shape, w_shape)
        problem = Problem(
            windows=spec.windows(x_shape[2:], w_shape[2:]), batch=x_shape[0], groups=spec.groups,
            in_channels=channels[0], out_channels=channels[1], input_dtype=stored[0], kernel_dtype=stored[1],
            compute_dtype=types.compute, fill=check_fill(spec.fill, types.compute), accuracy=spec.accuracy,
            overflow=spec.overflow, result_dtype=types.result if stored_name(types.result) in HALVES else "",
        )  # fmt: skip
        self.operator = Bilinear(problem, method)
        self._ends: dict[Epilogue, Bilinear] = {}

    @property
    def counts(self) -> tuple[int, ...]:
        """Output sizes along space."""
        return tuple(window.count for window in self.operator.problem.windows)

    def output_shape(self) -> tuple[int, ...]:
        """(batch, channel, *space) of the result."""
        return (self.x_shape[0], self.groups * self.operator.problem.out_channels, *self.counts)

    def canonical(self, array: Any, channels: int, sizes: Sequence[int]) -> Any:
        """(batch, channel, ...) as (batch, group, channel in group, ...)."""
        return array.reshape((array.shape[0], self.groups, channels, *sizes))

    def canonical_kernel(self, w: Array) -> Array:
        """The weights as (group, out, in, ...), in the order in which they are laid down."""
        problem = self.operator.problem
        if self.spec.direction == "transposed":  # (in, out/groups, ...)
            laid = w.reshape((self.groups, problem.in_channels, problem.out_channels, *self.w_shape[2:]))
            laid = np.moveaxis(laid, 1, 2)
        else:
            laid = w.reshape((self.groups, problem.out_channels, problem.in_channels, *self.w_shape[2:]))
        return NUMPY.flip(laid, self.spec.rank) if self.spec.flips else laid

    def forward(
        self, x: Array, w: Array, bias: Array | None, add: Array | None, activation: Activation | None,
        out: Array | None,
    ) -> Array:  # fmt: skip
        """The layer's output."""
        problem = self.operator.problem
        x, w = self.canonical(x, problem.in_channels, self.x_shape[2:]), self.canonical_kernel(w)
        epilogue = Epilogue(bias is not None, add is not None, activation, added_as(add, self.types.compute))
        if problem.exact:
            sums = self.operator.forward(x, w).reshape(self.output_shape())
            addends = [np.asarray(addend) for addend in (_column(bias, self.spec.rank), add) if addend is not None]
            return self._finished(sums, out, lambda exact: self._ended(exact, addends, activation))
        channels, kind = problem.out_channels, self.types.compute
        target = self._target(self.output_shape(), out, x, w, bias, add)
        sums = self.with_epilogue(epilogue).forward(
            x, w, None if target is None else self.canonical(target, channels, self.counts),
            None if bias is None else bias.astype(kind).reshape((self.groups, channels)),
            None if add is None else self.canonical(add.astype(epilogue.added or kind), channels, self.counts),
        )  # fmt: skip
        return self._finished(sums.reshape(self.output_shape()), out) if target is None else target

    def with_epilogue(self, epilogue: Epilogue) -> Bilinear:
        """The operator that ends so."""
        if epilogue.empty:
            return self.operator
        known = self._ends.get(epilogue)
        if known is None:
            problem = self.operator.problem.derive(epilogue=epilogue)
            known = self._ends[epilogue] = Bilinear(problem, self.operator.method)
        return known

    def _ended(self, sums: Array, addends: list[Array], activation: Activation | None) -> Array:
        """Integers with theirs added, one after another, and the activation taken."""
        for addend in addends:
            sums = add_exactly(sums, addend, self.spec.overflow)
        return sums if activation is None else activate(activation, sums)

    def input_gradient(self, g: Array, w: Array, out: Array | None = None) -> Array:
        """Gradient of the input."""
        problem, target = self.operator.problem, self._target(self.x_shape, out, g, w)
        gradient = self.operator.input_gradient(
            self.canonical(g, problem.out_channels, self.counts), self.canonical_kernel(w),
            None if target is None else self.canonical(target, problem.in_channels, self.x_shape[2:]),
        )  # fmt: skip
        return self._finished(gradient.reshape(self.x_shape), out) if target is None else target

    def weight_gradient(self, g: Array, x: Array, out: Array | None = None) -> Array:
        """Gradient of the weights, in their own layout; ``out`` may be of the type of the sums."""
        problem, types = self.operator.problem, self.types
        dtype = types.compute if out is not None and out.dtype == types.compute else types.result
        target = self._target(self.w_shape, out, g, x, dtype=dtype)
        gradient = self.operator.kernel_gradient(
            self.canonical(g, problem.out_channels, self.counts),
            self.canonical(x, problem.in_channels, self.x_shape[2:]),
            None if target is None else self.canonical_kernel(target),
        )
        if target is not None:
            return target
        if self.spec.flips:
            gradient = NUMPY.flip(gradient, self.spec.rank)
        if self.spec.direction == "transposed":
            gradient = np.moveaxis(gradient, 1, 2)
        return self._finished(gradient.reshape(self.w_shape), out)

    def _target(
        self, shape: tuple[int, ...], out: Array | None, *used: Array | None, dtype: str = ""
    ) -> Array | None:  # fmt: skip
        """``out`` if it can be written at once: of a type of the sums, holding nothing that is still read."""
        if out is None:
            return None
        check_out(out, shape, dtype or self.types.result)
        shared = any(array is not None and np.may_share_memory(out, array) for array in used)
        fits = self.types.result in (self.types.compute, self.operator.problem.result_dtype)
        return out if fits and not shared else None

    def _finished(self, sums: Array, out: Array | None, first: Callable[[Array], Array] = np.asarray) -> Array:
        """Sums in the type of the result, in ``out`` if there is one; ``first`` is done to them before."""
        result = self.types.result
        done = NUMPY.finish(sums, result, lambda array: finish(first(array), result, self.spec.overflow))
        if out is None:
            return done
        check_out(out, done.shape, result)
        out[...] = done
        return out


def added_as(add: Any, compute: str) -> str:
    """The type in which an array is added as it lies, if it is not that of the sums."""
    return add.dtype.name if add is not None and compute in ("float32", "float64") and add.dtype.name in HALVES else ""


def _column(bias: Any, rank: int) -> Any:
    """One number for each channel, as it goes with (batch, channel, *space)."""
    return None if bias is None else bias.reshape((1, bias.shape[0], *([1] * rank)))


def check_channels(spec: ConvSpec, x_shape: tuple[int, ...], w_shape: tuple[int, ...]) -> tuple[int, int]:
    """Channels in and out of one group.

    Raises
    ------
    ShapeError
        ``shape.groups``, ``shape.channels``.
    """
    groups, transposed = spec.groups, spec.direction == "transposed"
    divided = ("input channels", x_shape[1]), ("weights", w_shape[0])
    for what, count in divided:
        if count % groups:
            raise ShapeError("groups", what=what, count=count, groups=groups, rest=count % groups)
    expected = w_shape[0] if transposed else w_shape[1] * groups
    if x_shape[1] != expected:
        raise ShapeError(
            "channels", channels=x_shape[1], weights=by(w_shape), expected=expected, groups=groups,
            per_group=x_shape[1] // groups,
        )  # fmt: skip
    if transposed:
        return w_shape[0] // groups, w_shape[1]
    return w_shape[1], w_shape[0] // groups


_calls: dict[Hashable, NetworkCall] = {}


def network_call(
    direction: Direction, x_shape: tuple[int, ...], w_shape: tuple[int, ...], x_dtype: str, w_dtype: str, method: str,
    options: dict[str, Any],
) -> NetworkCall:  # fmt: skip
    """The record of one layer's call, made now or found again."""
    options = {name: plain(value) for name, value in options.items()}
    key = (direction, x_shape, w_shape, x_dtype, w_dtype, method, *options.values())
    known = _calls.get(key)
    if known is not None:
        return known
    if len(x_shape) != len(w_shape) or len(x_shape) < 3:
        raise ShapeError("network-rank", input=by(x_shape), weights=by(w_shape))
    asked = result_name(options["dtype"])
    chosen = {**options, "dtype": asked}
    spec = ConvSpec.of_network(len(x_shape) - 2, direction=direction, **chosen)  # type: ignore[arg-type]
    stored = stored_name(x_dtype), widened_name(w_dtype)
    call = NetworkCall(spec, x_shape, w_shape, element_types(x_dtype, w_dtype, asked), stored, method)
    call.operator.plan()
    if len(_calls) >= _KEPT:
        _calls.clear()
    _calls[key] = call
    return call
