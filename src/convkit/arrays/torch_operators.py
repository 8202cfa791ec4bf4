"""Torch's operators ``convkit::conv`` and relatives, which `torch.compile` and `torch.export` put into their graphs.

For either direction ("forward": `ck.conv`; "transposed": `ck.conv_transpose`) there are the layer and its two
gradients. With ``T(x, w, g) = sum g * F(x, w)`` they are the derivatives of ``T`` by its three arguments, so each one's
derivatives are made of the other two, to any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import torch

from convkit.arrays.layers import Direction, Layer, Options, PoolOptions, provided
from convkit.arrays.namespace import Namespace
from convkit.arrays.torch_memory import empty, format_of, laid_out, real, shared
from convkit.errors import DTypeError


class _Types(Namespace):
    """The names of tensors' types."""

    def dtype(self, array: Any) -> str:
        return word(array.dtype)


TYPES = _Types()
Tensor = torch.Tensor
Maybe = torch.Tensor | None

MOST_KEPT = 4096
_layers: dict[Any, Layer] = {}

_PREFIX: dict[Direction, str] = {"forward": "conv", "transposed": "conv_transpose"}
_OPTIONS = (
    "int[] stride, int[] padding, int[] output_padding, int[] dilation, int groups, str[] boundary, Scalar fill, "
    "str operation, str dtype, str overflow, str accuracy, str method"
)
LIBRARY = torch.library.Library("convkit", "DEF")
_AUTOCAST: Any = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)


def layer_of(
    direction: Direction, x_shape: Sequence[int], w_shape: Sequence[int], x: torch.dtype, w: torch.dtype,
    options: Options,
) -> Layer:  # fmt: skip
    """The layer, made now or found again."""
    key = direction, x_shape, w_shape, x, w, options
    known = _layers.get(key)
    if known is None:
        known = provided().layer(direction, tuple(x_shape), tuple(w_shape), word(x), word(w), options)
        if not hasattr(torch, known.dtype):
            raise DTypeError("not-in-torch", dtype=known.dtype)
        if len(_layers) >= MOST_KEPT:
            _layers.clear()
        _layers[key] = known
    return known


def word(dtype: torch.dtype) -> str:
    """A type's name."""
    return str(dtype).removeprefix("torch.")


# ------------------------------------------------------------------------------------------------- arithmetic


def forward(
    layer: Layer, x: Tensor, w: Tensor, bias: Maybe, add: Maybe, activation: str, ready: Any = None
) -> Tensor:  # fmt: skip
    """``activation(layer(x, w) + bias + add)``, on the memory of CPU tensors."""
    alike = bias is None or (bias.dtype is x.dtype and bias.shape == layer.output_shape[1:2])
    if activation or add is not None or not alike:
        check_addends(bias, add, activation, layer.output_shape, layer.stored)
    layout = format_of(x, w)
    out = real(layer.output_shape, layer.stored, layout) if layer.written else None
    result = layer.forward(
        ready, shared(x), shared(w) if ready is None else None, None if bias is None else shared(bias),
        None if add is None else shared(add), activation, None if out is None else shared(out),
    )  # fmt: skip
    return _finished(layer, result, out, layout)


def input_gradient(layer: Layer, g: Tensor, w: Tensor, shape: Sequence[int]) -> Tensor:
    """``X(g, w)``, on the memory of CPU tensors."""
    if g.shape != layer.output_shape:
        provided().check_gradient(g.shape, layer.output_shape, shape, w.shape)
    layout = format_of(g, w)
    out = real(shape, layer.stored, layout) if layer.written else None
    result = layer.input_gradient(shared(g), shared(w), None if out is None else shared(out))
    return _finished(layer, result, out, layout)


def weight_gradient(
    layer: Layer, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format
) -> Tensor:  # fmt: skip
    """``K(g, x)``, on the memory of CPU tensors."""
    if g.shape != layer.output_shape:
        provided().check_gradient(g.shape, layer.output_shape, x.shape, shape)
    # Few numbers, which torch rounds sooner than NumPy.
    out = real(shape, layer.sums, layout) if layer.written else None
    result = layer.weight_gradient(shared(g), shared(x), None if out is None else shared(out))
    done = _finished(layer, result, out, layout)
    return done if layer.sums == layer.dtype else done.to(getattr(torch, layer.dtype))


def _finished(layer: Layer, result: Any, out: Maybe, layout: torch.memory_format) -> Tensor:
    done = laid_out(result, layout) if out is None else out
    return done if layer.stored == layer.dtype else done.to(getattr(torch, layer.dtype))


def activated(activation: str, x: Tensor) -> Tensor:
    """The activation by torch's own function; the sums as they are for ``""``."""
    if activation == "gelu_tanh":
        return torch.nn.functional.gelu(x, approximate="tanh")
    return getattr(torch.nn.functional, activation)(x) if activation else x


def check_addends(bias: Maybe, add: Maybe, activation: str, shape: Sequence[Any], compute: str) -> None:
    """Raise unless addends and activation go with sums of this shape and type."""
    provided().check_addends(TYPES, bias, add, activation, shape, compute)


def _forward(
    direction: Direction, x: Tensor, w: Tensor, bias: Maybe, add: Maybe, activation: str, options: Options
) -> Tensor:  # fmt: skip
    layer = layer_of(direction, x.shape, w.shape, x.dtype, w.dtype, options)
    check_addends(bias, add, activation, layer.output_shape, layer.stored)
    return forward(layer, x, w, bias, add, activation)


def _input_gradient(direction: Direction, g: Tensor, w: Tensor, shape: Sequence[int], options: Options) -> Tensor:
    layer = layer_of(direction, tuple(shape), w.shape, g.dtype, w.dtype, options)
    return input_gradient(layer, g, w, shape)


def _weight_gradient(
    direction: Direction, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format, options: Options
) -> Tensor:
    layer = layer_of(direction, x.shape, tuple(shape), x.dtype, g.dtype, options)
    return weight_gradient(layer, g, x, shape, layout)


def lowered(*tensors: Maybe) -> list[Maybe]:
    """What `torch.autocast` makes of a layer's tensors: all but float64 in its type."""
    dtype = torch.get_autocast_dtype("cpu")
    return [one.to(dtype) if one is not None and _lowers(one) else one for one in tensors]


def _lowers(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype is not torch.float64 and tensor.is_cpu


# ------------------------------------------------------------------------------------------------- shapes alone


def _described(
    direction: Direction, x: Tensor, w: Tensor, bias: Maybe, add: Maybe, activation: str, options: Options
) -> Tensor:  # fmt: skip
    shape, dtype = provided().result(direction, x.shape, w.shape, word(x.dtype), word(w.dtype), options)
    check_addends(bias, add, activation, shape, dtype)
    return empty(x, shape, dtype, format_of(x, w))


def _described_input_gradient(
    direction: Direction, g: Tensor, w: Tensor, shape: Sequence[int], options: Options
) -> Tensor:  # fmt: skip
    expected, dtype = provided().result(direction, shape, w.shape, word(g.dtype), word(w.dtype), options)
    provided().check_gradient(g.shape, expected, shape, w.shape)
    return empty(g, shape, dtype, format_of(g, w))


def _described_weight_gradient(
    direction: Direction, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format, options: Options
) -> Tensor:
    expected, dtype = provided().result(direction, x.shape, shape, word(x.dtype), word(g.dtype), options)
    provided().check_gradient(g.shape, expected, x.shape, shape)
    return empty(g, shape, dtype, layout)


# ------------------------------------------------------------------------------------------------- derivatives


class Maps:
    """The layer and its gradients as torch calls them: by the dispatcher, or past it; see `differentiated`."""

    def forward(self, direction: Direction, x: Tensor, w: Tensor, bias: Maybe, options: Options) -> Tensor:
        return OPERATORS[direction, "forward"](x, w, bias, *options)

    def fused(
        self, direction: Direction, x: Tensor, w: Tensor, bias: Maybe, add: Maybe, activation: str, options: Options
    ) -> Tensor:  # fmt: skip
        return OPERATORS[direction, "fused"](x, w, bias, add, activation, *options)

    def input_gradient(
        self, direction: Direction, g: Tensor, w: Tensor, shape: Sequence[int], options: Options
    ) -> Tensor:  # fmt: skip
        return OPERATORS[direction, "input_gradient"](g, w, shape, *options)

    def weight_gradient(
        self, direction: Direction, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format,
        options: Options,
    ) -> Tensor:  # fmt: skip
        return OPERATORS[direction, "weight_gradient"](g, x, shape, layout, *options)


def differentiated(
    role: str, maps: Maps, direction: Direction, tensors: Sequence[Tensor], gradient: Tensor, wanted: Sequence[bool],
    bias: Any, options: Options,
) -> list[Maybe]:  # fmt: skip
    """Derivatives of one map by its tensors, made of the other maps; ``bias`` is the type of a layer's bias."""
    a, b = tensors
    options, linear = _of_derivatives(options)
    first = second = third = None
    if role == "forward":
        first = wanted[0] and maps.input_gradient(direction, gradient, b.conj(), a.shape, linear)
        second = wanted[1] and maps.weight_gradient(direction, gradient, a.conj(), b.shape, format_of(b), options)
        if wanted[2]:
            third = like(gradient.sum((0, *range(2, gradient.ndim))), bias)
    elif role == "input_gradient":
        first = wanted[0] and maps.forward(direction, gradient, b.conj(), None, linear)
        second = wanted[1] and maps.weight_gradient(direction, a.conj(), gradient, b.shape, format_of(b), linear)
    else:
        first = wanted[0] and maps.forward(direction, b.conj(), gradient, None, options)
        second = wanted[1] and maps.input_gradient(direction, a.conj(), gradient, b.shape, linear)
    return [like(first, a.dtype) if wanted[0] else None, like(second, b.dtype) if wanted[1] else None, third]


@lru_cache(maxsize=1024)
def _of_derivatives(options: Options) -> tuple[Options, Options]:
    """The options without a type of the result, and what is linear in the input: without what ``fill`` adds."""
    natural = options._replace(dtype="")
    return natural, natural._replace(fill=0)


def like(gradient: Any, dtype: torch.dtype) -> Tensor:
    """The gradient in the type of what it belongs to: real where that is real."""
    if gradient.is_complex() and not dtype.is_complex:
        gradient = gradient.real
    return gradient.to(dtype)


# ------------------------------------------------------------------------------------------------- registration

OPERATORS: dict[tuple[str, str], Any] = {}
"""The operators, by direction and role."""

_EXTRA = {"forward": 1, "fused": 3, "input_gradient": 1, "weight_gradient": 2}
"""Arguments between the two tensors and the options."""


def _register(direction: Direction, role: str, name: str, extra: str, real: Any, described: Any) -> None:
    own = _EXTRA[role] + 2
    two = {"forward": "Tensor x, Tensor w", "fused": "Tensor x, Tensor w", "input_gradient": "Tensor g, Tensor w"}
    LIBRARY.define(f"{name}({two.get(role, 'Tensor g, Tensor x')}, {extra}, {_OPTIONS}) -> Tensor")
    LIBRARY.impl(name, _called(direction, real, role, own), "CPU")
    torch.library.register_fake(f"convkit::{name}", _called(direction, described, role, own), lib=LIBRARY)
    OPERATORS[direction, role] = getattr(torch.ops.convkit, name).default
    if role in ("forward", "fused"):
        LIBRARY.impl(name, _autocast(OPERATORS[direction, role], role), "AutocastCPU")
    if role == "fused":
        return

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.options, ctx.count = options_of(Options, inputs[own:]), len(inputs)
        ctx.bias = inputs[2].dtype if role == "forward" and inputs[2] is not None else None

    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        grads = differentiated(
            role, Maps(), direction, ctx.saved_tensors, gradient, ctx.needs_input_grad, ctx.bias, ctx.options
        )  # fmt: skip
        return (*grads, *[None] * (ctx.count - 3))

    torch.library.register_autograd(f"convkit::{name}", backward, setup_context=setup, lib=LIBRARY)


def _autocast(operator: Any, role: str) -> Callable[..., Tensor]:
    tensors = 3 if role == "forward" else 4

    def call(*arguments: Any) -> Tensor:
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            return operator(*lowered(*arguments[:tensors]), *arguments[tensors:])

    return call


def _called(direction: Direction, map_: Callable[..., Tensor], role: str, own: int) -> Callable[..., Tensor]:
    def call(*arguments: Any) -> Tensor:
        tensors, options = arguments[:own], options_of(Options, arguments[own:])
        if role == "forward":
            tensors = (*tensors, None, "")
        return map_(direction, *tensors, options)

    return call


Kind = TypeVar("Kind", Options, PoolOptions)


def options_of(kind: type[Kind], arguments: Sequence[Any]) -> Kind:
    """The options of an operator's arguments: lists become tuples again."""
    spelled: list[Any] = [tuple(one) if isinstance(one, (list, tuple)) else one for one in arguments]
    return kind(*spelled)


def _all() -> None:
    for direction, prefix in _PREFIX.items():
        _register(direction, "forward", prefix, "Tensor? bias", _forward, _described)
        _register(
            direction, "fused", f"{prefix}_fused", "Tensor? bias, Tensor? add, str activation", _forward, _described
        )  # fmt: skip
        _register(
            direction, "input_gradient", f"{prefix}_input_gradient", "SymInt[] shape", _input_gradient,
            _described_input_gradient,
        )  # fmt: skip
        _register(
            direction, "weight_gradient", f"{prefix}_weight_gradient", "SymInt[] shape, MemoryFormat layout",
            _weight_gradient, _described_weight_gradient,
        )  # fmt: skip


_all()
