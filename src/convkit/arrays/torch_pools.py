"""Pooling of tensors: torch's operators ``convkit::max_pool`` and ``convkit::mean_pool``, with every derivative."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from convkit.arrays.layers import PoolOptions, provided
from convkit.arrays.torch_layers import unwatched
from convkit.arrays.torch_memory import format_of, laid_out, shared
from convkit.arrays.torch_operators import LIBRARY, options_of

Tensor = torch.Tensor
_OPTIONS = "int[] size, int[] stride, int[] padding, str rounding"

LIBRARY.define(f"max_pool(Tensor x, {_OPTIONS}) -> (Tensor, Tensor)")
LIBRARY.define(f"mean_pool(Tensor x, {_OPTIONS}) -> Tensor")
LIBRARY.define(f"mean_pool_gradient(Tensor g, SymInt[] shape, {_OPTIONS}) -> Tensor")


def _options(arguments: Sequence[Any]) -> PoolOptions:
    return options_of(PoolOptions, arguments)


def largest(x: Tensor, options: PoolOptions) -> Tensor:
    """The largest value of each window."""
    return laid_out(provided().largest(shared(x), options), format_of(x)).to(x.dtype)


def mean(x: Tensor, options: PoolOptions) -> Tensor:
    """The mean of each window."""
    result = laid_out(provided().mean(shared(x), options), format_of(x))
    return result.to(x.dtype) if x.dtype is torch.bfloat16 else result


# ------------------------------------------------------------------------------------------------- on memory


@torch.library.impl("convkit::max_pool", "CPU", lib=LIBRARY)
def _max_pool(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    places = torch.from_numpy(provided().places(shared(x), _options(arguments)))
    flat, at = _flat(x, places, len(arguments[0]))
    return flat.gather(-1, at).reshape(places.shape).contiguous(memory_format=format_of(x)), places


@torch.library.impl("convkit::mean_pool", "CPU", lib=LIBRARY)
def _mean_pool(x: Tensor, *arguments: Any) -> Tensor:
    return mean(x, _options(arguments))


@torch.library.impl("convkit::mean_pool_gradient", "CPU", lib=LIBRARY)
def _mean_pool_gradient(g: Tensor, shape: Sequence[int], *arguments: Any) -> Tensor:
    result = provided().mean_gradient(shared(g), tuple(shape), _options(arguments))
    return laid_out(result, format_of(g)).to(g.dtype)


def _flat(x: Tensor, places: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Samples and places with the pooled axes as one."""
    lead = x.shape[: x.ndim - rank]
    return x.reshape((*lead, math.prod(x.shape[x.ndim - rank :]))), places.reshape(
        (*lead, math.prod(places.shape[x.ndim - rank :]))
    )


# ------------------------------------------------------------------------------------------------- shapes alone


@torch.library.register_fake("convkit::max_pool", lib=LIBRARY)
def _described_max_pool(x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    shape = provided().pooled(x.shape, _options(arguments))
    places = torch.empty(shape, dtype=torch.int64, device=x.device)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=format_of(x)), places


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
    ctx.inputs, ctx.shape = inputs[1:], inputs[0].shape
    if isinstance(output, tuple):
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])


def _max_pool_backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Any, ...]:
    (places,) = ctx.saved_tensors
    rank = len(ctx.inputs[0])
    parts, at = _flat(gradient, places, rank)
    lead = ctx.shape[: len(ctx.shape) - rank]
    sums = gradient.new_zeros((*lead, math.prod(ctx.shape[len(lead) :]))).scatter_add(-1, at, parts)
    return (sums.reshape(ctx.shape), *[None] * len(ctx.inputs))


def _mean_pool_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return (torch.ops.convkit.mean_pool_gradient(gradient, ctx.shape, *ctx.inputs), *[None] * len(ctx.inputs))


def _mean_pool_gradient_backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return (torch.ops.convkit.mean_pool(gradient, *ctx.inputs[1:]), *[None] * len(ctx.inputs))


torch.library.register_autograd("convkit::max_pool", _max_pool_backward, setup_context=_setup, lib=LIBRARY)
torch.library.register_autograd("convkit::mean_pool", _mean_pool_backward, setup_context=_setup, lib=LIBRARY)
torch.library.register_autograd(
    "convkit::mean_pool_gradient", _mean_pool_gradient_backward, setup_context=_setup, lib=LIBRARY
)  # fmt: skip


@torch.compiler.allow_in_graph
def called(kind: str, x: Tensor, options: Any) -> Tensor:
    """The largest value or the mean of each window."""
    options = PoolOptions(*options)
    if unwatched(x) and not (torch.is_grad_enabled() and x.requires_grad):
        return largest(x, options) if kind == "max" else mean(x, options)
    return torch.ops.convkit.max_pool(x, *options)[0] if kind == "max" else torch.ops.convkit.mean_pool(x, *options)
