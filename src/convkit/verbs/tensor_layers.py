"""Layers handed down to the adapter of tensors: results are written into the tensors' own memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from convkit.arrays import NUMPY, Namespace
from convkit.arrays.layers import Map, Options, provide
from convkit.arrays.namespace import stored_name
from convkit.codegen import pool
from convkit.errors import ShapeError, by, choose
from convkit.planner.algorithm import Array, Call
from convkit.planner.bands import Part
from convkit.planner.finishing import Operands
from convkit.planner.halves import HALVES
from convkit.planner.plan import Plan, Prepared
from convkit.spec import sizes
from convkit.spec.conv import ConvSpec
from convkit.spec.epilogue import ACTIVATIONS, Activation, Epilogue
from convkit.spec.options import Direction
from convkit.verbs.addends import check_addends, check_gradient, check_types
from convkit.verbs.bilinear import placed, run
from convkit.verbs.calls import plain
from convkit.verbs.dtypes import element_types, result_name
from convkit.verbs.jobs import Extent, Job, Verdict, recorded
from convkit.verbs.network_calls import NetworkCall, check_channels, network_call
from convkit.verbs.pooling import Pools


class TensorLayer:
    """One layer for one set of shapes, types and options; see `convkit.arrays.layers.Layer`."""

    __slots__ = ("call", "dtype", "output_shape", "stored", "sums", "written")

    def __init__(self, call: NetworkCall, dtype: str) -> None:
        self.call = call
        self.output_shape = call.output_shape()
        self.dtype, self.stored, self.sums = dtype, call.types.result, call.types.compute
        self.written = self.stored in (call.types.compute, call.operator.problem.result_dtype)
        self.written = self.written and not call.operator.problem.exact

    def prepare(self, w: Array, bias: bool, add: str, activation: str) -> tuple[Plan, Prepared]:
        """The weights made ready for an epilogue, with the plan of a layer that ends so.

        Whatever the weights are: a network's change, and its layers are not to change their ways with them.
        """
        plan = self.plan(bias, add, activation)
        return plan, plan.prepare(self.call.canonical_kernel(NUMPY, w))

    def plan(self, bias: bool, add: str, activation: str) -> Plan:
        """The plan of the layer with an epilogue."""
        added = add if add in HALVES else ""
        return self.call.with_epilogue(Epilogue(bias, bool(add), _activation(activation), added)).plan()

    def forward(
        self, ready: tuple[Plan, Prepared] | None, x: Array, w: Array, bias: Array | None, add: Array | None,
        activation: str, out: Array | None,
    ) -> Array:  # fmt: skip
        """``activation(layer(x, w) + bias + add)``, written into ``out`` if there is one."""
        call = self.call
        if out is None:
            return call.forward(NUMPY, x, w, bias, add, _activation(activation), None)
        plan, prepared = ready or self.prepare(w, bias is not None, "" if add is None else add.dtype.name, activation)
        problem = call.operator.problem
        kind, channels = call.types.compute, problem.out_channels
        if bias is not None:
            bias = np.ascontiguousarray(bias, kind).reshape((call.groups, channels))
        if add is not None:
            added = plan.problem.epilogue.added if plan.problem.epilogue else ""
            add = call.canonical(add.astype(added or kind, copy=False), channels, call.counts)
        x = call.canonical(x, problem.in_channels, call.x_shape[2:])
        target = call.canonical(out, channels, call.counts)
        placed(run(plan, prepared, x, target, Operands(bias, add)), target)
        return out

    def calls(
        self, ready: tuple[Plan, Prepared], x: Array, bias: Array | None, add: Array | None, out: Array
    ) -> Sequence[Call] | None:  # fmt: skip
        """`forward` as calls of programs on these arrays; None where it would do more, or make a copy of one.

        The plan may be one that pools what it stores.
        """
        call, (plan, prepared) = self.call, ready
        problem = call.operator.problem
        kind, channels = call.types.compute, problem.out_channels
        alike = all(one is None or one.dtype == kind for one in (bias, add))
        if not self.written or not alike or x.dtype != problem.input_dtype or out.dtype != prepared.plan.stored:
            return None
        if bias is not None:
            bias = np.ascontiguousarray(bias).reshape((call.groups, channels))
        out, add = self.results(out, add)
        return plan.calls(prepared, self.samples(x), out, Operands(bias, add))

    def samples(self, x: Array) -> Array:
        """The input as algorithms see it: batch x group x channel x space."""
        return self.call.canonical(x, self.call.operator.problem.in_channels, self.call.x_shape[2:])

    def results(self, out: Array, add: Array | None) -> tuple[Array, Array | None]:
        """The result, and what is added to it, likewise."""
        call, channels = self.call, self.call.operator.problem.out_channels
        added = None if add is None else call.canonical(add, channels, call.counts)
        return call.canonical(out, channels, out.shape[2:]), added

    def in_rows(self, ready: tuple[Plan, Prepared], bias: Array | None) -> Part | None:
        """As a layer that can be joined with others; None where it cannot."""
        (plan, prepared), kind = ready, self.call.types.compute
        if not self.written or (bias is not None and bias.dtype != kind):
            return None
        if bias is not None:
            bias = np.ascontiguousarray(bias).reshape((self.call.groups, plan.problem.out_channels))
        return plan.in_rows(prepared, bias)

    def recorded(
        self, of: Map, arrays: Sequence[Any], activation: str = "", ready: tuple[Plan, Prepared] | None = None
    ) -> Job | Verdict:  # fmt: skip
        """A map done to arrays, the first of which it writes, and made a job for others that lie as they do.

        The addresses that it is given are those of the arrays that are there. Weights that are ready belong to it.
        """
        operands: list[Any] = [*arrays, None, None]
        out, first, second, bias, add = operands[:5]
        given = [array for array in arrays if array is not None]
        if ready is not None:
            self.forward(ready, first, second, bias, add, activation, out)
            return recorded(lambda: self.calls(ready, first, bias, add, out) or [], given, None)

        def do() -> None:
            if of == "forward":
                self.forward(None, first, second, bias, add, activation, out)
            else:
                (self.input_gradient if of == "input_gradient" else self.weight_gradient)(first, second, out)

        # Something infinite in what stands for weights would be seen, and all be done in another way. What it spoils is
        # NaN in what comes of it, which an activation keeps; so either may be looked at, and the result is dense.
        kernel = first if of == "weight_gradient" else second
        return recorded(do, given, kernel if kernel.size < out.size and _dense(kernel) else out)

    def input_gradient(self, g: Array, w: Array, out: Array | None) -> Array:
        """Gradient of the input, written into ``out`` if there is one."""
        return self.call.input_gradient(NUMPY, g, w, out)

    def weight_gradient(self, g: Array, x: Array, out: Array | None) -> Array:
        """Gradient of the weights, likewise."""
        return self.call.weight_gradient(NUMPY, g, x, out)


class TensorLayers(Pools):
    """Layers of all kinds; see `convkit.arrays.layers.Layers`."""

    def lend(self, team: Any, number: int) -> None:
        """Have the work done by threads of the tensors' library."""
        pool.lend(team, number)

    def options(self, direction: Direction, rank: int, method: str, given: dict[str, Any]) -> Options:
        """The options of a verb, checked and spelled out."""
        given = {name: plain(value) for name, value in given.items()}
        key = (direction, rank, method, *given.items())
        known = _options.get(key)
        if known is None:
            chosen = {**given, "dtype": result_name(given["dtype"])}
            spec = ConvSpec.of_network(rank, direction=direction, **chosen)
            known = _options[key] = _spelled_out(spec, method)
        return known

    def layer(
        self, direction: Direction, x_shape: tuple[int, ...], w_shape: tuple[int, ...], x_dtype: str, w_dtype: str,
        options: Options,
    ) -> TensorLayer:  # fmt: skip
        """The layer, made now or found again."""
        types = element_types(x_dtype, w_dtype, options.dtype or None)
        given = _given(direction, options)
        if stored_name(types.result) != types.result:  # torch rounds what NumPy has no name for
            given["dtype"] = types.compute
        call = network_call(direction, x_shape, w_shape, x_dtype, w_dtype, options.method, given)
        return TensorLayer(call, types.result)

    def result(
        self, direction: Direction, x_shape: Sequence[Any], w_shape: Sequence[Any], x_dtype: str, w_dtype: str,
        options: Options,
    ) -> tuple[tuple[Any, ...], str]:  # fmt: skip
        """Shape and type of the output; sizes may be symbols."""
        if len(x_shape) != len(w_shape) or len(x_shape) < 3:
            raise ShapeError("network-rank", input=by(x_shape), weights=by(w_shape))
        spec = ConvSpec.of_network(len(x_shape) - 2, direction=direction, **_given(direction, options))
        _, channels = check_channels(spec, tuple(x_shape), tuple(w_shape))
        types = element_types(x_dtype, w_dtype, options.dtype or None)
        return (x_shape[0], spec.groups * channels, *_counts(spec, x_shape[2:], w_shape[2:])), types.result

    def check_addends(
        self, xp: Namespace, bias: Any, add: Any, activation: str, shape: Sequence[Any], compute: str
    ) -> None:  # fmt: skip
        """Raise unless addends and activation go with sums of this shape and type."""
        check_addends(bias, add, shape)
        check_types(xp, bias, add, _activation(activation), compute)

    def check_gradient(self, shape: Sequence[Any], expected: Sequence[Any], x: Sequence[Any], w: Sequence[Any]) -> None:
        """Raise unless a gradient has the shape of the layer's output."""
        check_gradient(shape, expected, x, w)


def _dense(array: Array) -> bool:
    """Whether numbers fill their memory."""
    extent = Extent.of(array)
    return extent.end - extent.first == array.nbytes and 0 not in array.strides


def _activation(word: str) -> Activation | None:
    return choose("activation", word, ACTIVATIONS) if word else None  # type: ignore[return-value]


_options: dict[Any, Options] = {}


def _counts(spec: ConvSpec, space: Sequence[Any], kernel: Sequence[Any]) -> Iterator[Any]:
    """Output sizes, by formulas that symbols can go through: of windows nothing else is asked."""
    if spec.direction == "forward" and spec.padding == "same":
        yield from (sizes.same_size(n, s).value for n, s in zip(space, spec.stride, strict=True))
        return
    pads: Any = spec.padding
    axes = list(zip(space, kernel, spec.stride, spec.dilation, pads, strict=True))
    if spec.direction == "transposed":
        for axis, spare in zip(axes, spec.output_padding, strict=True):
            yield sizes.transposed_size(*axis, spare).value
        return
    sizes.check_fit(tuple(n + sum(pad) for n, *_, pad in axes), tuple(kernel), spec.dilation)
    yield from (sizes.padded_size(*axis).value for axis in axes)


def _spelled_out(spec: ConvSpec, method: str) -> Options:
    padding = () if spec.padding == "same" else tuple(pad for pair in spec.padding or () for pad in pair)
    return Options(
        spec.stride, padding, spec.output_padding, spec.dilation, spec.groups,
        tuple(side for sides in spec.boundary for side in sides), spec.fill, spec.operation, spec.dtype or "",
        spec.overflow, spec.accuracy if isinstance(spec.accuracy, str) else repr(spec.accuracy), method,
    )  # fmt: skip


def _given(direction: Direction, options: Options) -> dict[str, Any]:
    """The options as the verbs take them."""
    accuracy = options.accuracy
    if accuracy not in ("norm", "elementwise"):
        accuracy = float(accuracy)
    given: dict[str, Any] = {
        "stride": options.stride, "padding": _pairs(options.padding) or "same", "dilation": options.dilation,
        "groups": options.groups, "operation": options.operation, "dtype": options.dtype or None,
        "overflow": options.overflow, "accuracy": accuracy,
    }  # fmt: skip
    if direction == "transposed":
        return {**given, "output_padding": options.output_padding}
    return {**given, "boundary": _pairs(options.boundary), "fill": options.fill}


def _pairs(sides: tuple[Any, ...]) -> tuple[tuple[Any, Any], ...]:
    return tuple(zip(sides[::2], sides[1::2], strict=True))


LAYERS = TensorLayers()
provide(LAYERS)
