"""Pooling of tensors: torch's operators ``convkit::max_pool`` and ``convkit::mean_pool``, with every derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from convkit.arrays.layers import PoolOptions, provided
from convkit.arrays.torch_layers import unwatched
from convkit.arrays.torch_memory import format_of, laid_out, shared, tensor_of
from convkit.arrays.torch_operators import LIBRARY, options_of

Tensor = torch.Tensor
_OPTIONS = "int[] size, int[] stride, int[] padding, str rounding"

LIBRARY.define(f"max_pool(Tensor x, {_OPTIONS}) -> Tensor")
LIBRARY.define(f"max_pool_selected(Tensor x, Tensor values, {_OPTIONS}) -> Tensor")
LIBRARY.define(f"max_pool_gradient(Tensor x, Tensor g, {_OPTIONS}) -> Tensor")
LIBRARY.define(f"mean_pool(Tensor x, {_OPTIONS}) -> Tensor")
LIBRARY.define(f"mean_pool_gradient(Tensor g, SymInt[] shape, {_OPTIONS}) -> Tensor")


def _options(arguments: Sequence[Any]) -> PoolOptions:
    return options_of(PoolOptions, arguments)


def largest(x: Tensor, options: PoolOptions) -> Tensor:
    """The largest value of each window."""
    return _stored(provided().largest(shared(x), options), x)


def mean(x: Tensor, options: PoolOptions) -> Tensor:
    """The mean of each window."""
    result = provided().mean(shared(x), options)
    return _stored(result, x) if x.dtype is torch.bfloat16 else laid_out(result, format_of(x))


def _stored(result: Any, like: Tensor) -> Tensor:
    """In the layout and the type of another tensor."""
    return laid_out(result, format_of(like)).to(like.dtype)


# ------------------------------------------------------------------------------------------------- on memory


@torch.library.impl("convkit::max_pool", "CPU", lib=LIBRARY)
def _max_pool(x: Tensor, *arguments: Any) -> Tensor:
    return largest(x, _options(arguments))


@torch.library.impl("convkit::max_pool_selected", "CPU", lib=LIBRARY)
def _max_pool_selected(x: Tensor, values: Tensor, *arguments: Any) -> Tensor:
    return _stored(provided().selected(shared(x), shared(values), _options(arguments)), values)


@torch.library.impl("convkit::max_pool_gradient", "CPU", lib=LIBRARY)
def _max_pool_gradient(x: Tensor, g: Tensor, *arguments: Any) -> Tensor:
    return _stored(provided().selected_gradient(shared(x), shared(g), _options(arguments)), g)


@torch.library.impl("convkit::mean_pool", "CPU", lib=LIBRARY)
def _mean_pool(x: Tensor, *arguments: Any) -> Tensor:
    return mean(x, _options(arguments))


@torch.library.impl("convkit::mean_pool_gradient", "CPU", lib=LIBRARY)
def _mean_pool_gradient(g: Tensor, shape: Sequence[int], *arguments: Any) -> Tensor:
    result = provided().mean_gradient(shared(g), tuple(shape), _options(arguments))
    return laid_out(result, format_of(g)).to(g.dtype)


# ------------------------------------------------------------------------------------------------- shapes alone


@torch.library.register_fake("convkit::max_pool", lib=LIBRARY)
def _described_max_pool(x: Tensor, *arguments: Any) -> Tensor:
    shape = provided().pooled(x.shape, _options(arguments))
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=format_of(x))


@torch.library.register_fake("convkit::max_pool_selected", lib=LIBRARY)
def _described_max_pool_selected(x: Tensor, values: Tensor, *arguments: Any) -> Tensor:
    return _described_max_pool(values, *arguments)


@torch.library.register_fake("convkit::max_pool_gradient", lib=LIBRARY)
def _described_max_pool_gradient(x: Tensor, g: Tensor, *arguments: Any) -> Tensor:
    return torch.empty(x.shape, dtype=g.dtype, device=g.device, memory_format=format_of(g))


@torch.library.register_fake("convkit::mean_pool", lib=LIBRARY)
def _described_mean_pool(x: Tensor, *arguments: Any) -> Tensor:
    shape = provided().pooled(x.shape, _options(arguments))
    dtype = x.dtype if x.is_floating_point() or x.is_complex() else torch.float64
    return torch.empty(shape, dtype=dtype, device=x.device, memory_format=format_of(x))


@torch.library.register_fake("convkit::mean_pool_gradient", lib=LIBRARY)
def _described_mean_pool_gradient(g: Tensor, shape: Sequence[Any], *arguments: Any) -> Tensor:
    return torch.empty(shape, dtype=g.dtype, device=g.device, memory_format=format_of(g))


# ------------------------------------------------------------------------------------------------- derivatives


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    tensors = sum(isinstance(one, Tensor) for one in inputs)
    ctx.inputs, ctx.shape = inputs[tensors:], inputs[0].shape


def _setup_max(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _setup(ctx, inputs, output)
    ctx.save_for_backward(inputs[0])


def _max_pool_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    (x,) = ctx.saved_tensors
    grad = torch.ops.convkit.max_pool_gradient(x.detach(), gradient, *ctx.inputs)
    return (grad, *[None] * len(ctx.inputs))


def _max_pool_selected_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return (None, *_max_pool_backward(ctx, gradient))


def _max_pool_gradient_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    (x,) = ctx.saved_tensors
    grad = torch.ops.convkit.max_pool_selected(x.detach(), gradient, *ctx.inputs)
    return (None, grad, *[None] * len(ctx.inputs))


def _mean_pool_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return (torch.ops.convkit.mean_pool_gradient(gradient, ctx.shape, *ctx.inputs), *[None] * len(ctx.inputs))


def _mean_pool_gradient_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return (torch.ops.convkit.mean_pool(gradient, *ctx.inputs[1:]), *[None] * len(ctx.inputs))


for name, backward in (
    ("max_pool", _max_pool_backward),
    ("max_pool_selected", _max_pool_selected_backward),
    ("max_pool_gradient", _max_pool_gradient_backward),
    ("mean_pool", _mean_pool_backward),
    ("mean_pool_gradient", _mean_pool_gradient_backward),
):
    setup = _setup_max if name.startswith("max") else _setup
    torch.library.register_autograd(f"convkit::{name}", backward, setup_context=setup, lib=LIBRARY)


class _Kept(torch.autograd.Function):
    """The largest value of each window; its places were kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Any, places: Any, options: PoolOptions) -> Tensor:
        ctx.save_for_backward(x)
        ctx.places, ctx.options = places, options
        return tensor_of(values)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        (x,), (g,) = ctx.saved_tensors, upstream
        if torch.is_grad_enabled() or not unwatched(g):
            gradient = torch.ops.convkit.max_pool_gradient(x.detach(), g, *ctx.options)
        else:
            gradient = tensor_of(provided().kept_gradient(shared(g), ctx.places, tuple(x.shape), ctx.options))
        return gradient, None, None, None


@torch.compiler.allow_in_graph
def called(kind: str, x: Tensor, options: Any) -> Tensor:
    """The largest value or the mean of each window."""
    options = PoolOptions(*options)
    if unwatched(x):
        if not (torch.is_grad_enabled() and x.requires_grad):
            return largest(x, options) if kind == "max" else mean(x, options)
        kept = provided().largest_kept(shared(x), options) if kind == "max" and x.dtype in _WHOLE else None
        if kept is not None:
            return _Kept.apply(x, *kept, options)  # type: ignore[return-value]
    return torch.ops.convkit.max_pool(x, *options) if kind == "max" else torch.ops.convkit.mean_pool(x, *options)


_WHOLE = (torch.float32, torch.float64)
"""Types that kernels read as they are."""
