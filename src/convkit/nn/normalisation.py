"""Torch's batch norms, computed with the addition and the activation after them in two passes, and two back."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from convkit.verbs import tensor_layers as tensor_layers  # registers algorithms, and hands layers down to arrays

# isort: split
from convkit.arrays.torch_layers import unwatched
from convkit.arrays.torch_memory import format_of, real
from convkit.nn.layers import same_module
from convkit.planner.normalising import Array, Ending, Form, Normaliser, normaliser

ACTIVATIONS = ("relu", "relu6")
"""What is taken of the norm in the same passes: activations whose result tells where they let gradients pass."""


class _Norm(_BatchNorm):
    """What the norms of all ranks share: torch's module keeps weights and statistics."""

    def forward(self, input: Tensor, add: Tensor | None = None, activation: str | None = None) -> Tensor:  # noqa: A002
        """``activation(norm(input) + add)``; ``activation`` is ``"relu"``, ``"relu6"`` or None."""
        if isinstance(input, Proxy):
            given = (input, *(() if add is None else (add,)))
            named = {} if activation is None else {"activation": activation}
            return input.tracer.create_proxy("call_module", input.tracer.path_of_module(self), given, named)  # type: ignore[return-value]
        own = self.training or self.running_mean is None or self.running_var is None
        way = _way(input, add, self.weight, self.bias, self.running_mean) if own else None
        if way is None:
            return _ended(super().forward(input), add, activation)
        self._check_input_dim(input)
        _check_samples(input)
        y, mean, variance = _normalised(way, input, self.weight, self.bias, add, activation or "", self.eps)
        if self.training and self.track_running_stats:
            self._keep(mean, variance, input.numel() // input.shape[1])
        return y

    def _keep(self, mean: Array, variance: Array, count: int) -> None:
        """Move the running statistics by what was found; without a momentum they are the mean of all batches."""
        assert self.running_mean is not None
        assert self.running_var is not None
        part = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if part is None:
                part = 1.0 / float(self.num_batches_tracked)
        with torch.no_grad(), np.errstate(over="ignore", invalid="ignore"):
            unbiased = variance * (count / (count - 1))
            self.running_mean.lerp_(torch.from_numpy(mean.astype(np.float32)), part or 0.0)
            self.running_var.lerp_(torch.from_numpy(unbiased.astype(np.float32)), part or 0.0)


class BatchNorm1d(_Norm, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d`: the same arguments, the same ``state_dict``; an addition and an activation with it.

    Examples
    --------
    >>> import torch
    >>> BatchNorm1d(3)(torch.randn(5, 3, 7), activation="relu").shape
    torch.Size([5, 3, 7])
    """


class BatchNorm2d(_Norm, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`: the same arguments, the same ``state_dict``; an addition and an activation with it.

    ``activation((x - mean) / sqrt(variance + eps) * weight + bias + add)`` with the mean and the variance of the batch
    while it learns. They are summed in float64, in an order that the shape alone decides.

    Examples
    --------
    >>> import torch
    >>> norm, x = BatchNorm2d(3), torch.randn(2, 3, 5, 6)
    >>> norm(x, add=x, activation="relu6").amin() >= 0
    tensor(True)
    """


class BatchNorm3d(_Norm, nn.BatchNorm3d):
    """`torch.nn.BatchNorm3d`: the same arguments, the same ``state_dict``; an addition and an activation with it.

    Examples
    --------
    >>> import torch
    >>> BatchNorm3d(3)(torch.randn(2, 3, 4, 5, 6)).shape
    torch.Size([2, 3, 4, 5, 6])
    """


TORCH_NORMS: dict[type, type[_Norm]] = {
    nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d,
}  # fmt: skip
NORMS = frozenset(TORCH_NORMS.values())


def same_norm(norm: nn.Module) -> nn.Module | None:
    """Torch's batch norm as this room's, on the same weights and statistics; None for any other module."""
    kind = TORCH_NORMS.get(type(norm))
    return None if kind is None else same_module(norm, kind, {})


def _ended(norm: Tensor, add: Tensor | None, activation: str | None) -> Tensor:
    """The same by torch, step by step."""
    if add is not None:
        norm = norm + add
    return getattr(functional, activation)(norm) if activation else norm


def _check_samples(x: Tensor) -> None:
    """Refuse one number a channel, in torch's words: its variance says nothing."""
    if x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.size()}")


class _Way(NamedTuple):
    """Who computes a norm, and how its input lies."""

    kernels: Normaliser
    form: Form
    layout: torch.memory_format


def _way(x: Tensor, add: Tensor | None, *parameters: Tensor | None) -> _Way | None:
    """How compiled passes do it; None for what is left to torch: other types and devices, tracers, spread memory."""
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or not unwatched(x, add, *parameters):
        return None
    if x.dtype is not torch.float32 or x.ndim < 2 or not x.numel() or x.is_neg():
        return None
    if any(one is not None and one.dtype is not torch.float32 for one in parameters):
        return None
    if add is not None and (add.dtype is not torch.float32 or add.shape != x.shape):
        return None
    form, kernels = _form_of(x), normaliser()
    return None if form is None or kernels is None else _Way(kernels, form, format_of(x))


def _form_of(x: Tensor) -> Form | None:
    batch, channels, *space = x.shape
    numbers = math.prod(space)
    if x.is_contiguous():
        return Form("pixels" if numbers == 1 else "planes", batch, channels, numbers)
    return None if format_of(x) is torch.contiguous_format else Form("pixels", batch, channels, numbers)


class _Found(NamedTuple):
    """What the way back needs of the way there: statistics in float64, the kernel's constants, and what follows."""

    way: _Way
    ending: Ending
    constants: Array
    mean: Array
    deviation: Array  # one over it
    eps: float


def _normalised(
    way: _Way, x: Tensor, weight: Tensor | None, bias: Tensor | None, add: Tensor | None, activation: str, eps: float
) -> tuple[Tensor, Array, Array]:
    """The result, and the batch's mean and variance."""
    form = way.form
    sums = way.kernels.sums(form, x.detach().numpy())
    with np.errstate(invalid="ignore", over="ignore"):
        mean, squares = sums / (form.batch * form.numbers)
        variance = np.maximum(squares - mean * mean, 0.0)  # of equal numbers, roundings may leave less than nothing
        deviation = 1 / np.sqrt(variance + eps)
        constants = np.empty((5, form.channels), np.float32)
        scale = deviation if weight is None else deviation * weight.detach().numpy()
        constants[0] = scale
        constants[1] = -mean * scale if bias is None else bias.detach().numpy() - mean * scale
        constants[2] = mean
    found = _Found(way, Ending(activation, "none" if add is None else "array"), constants, mean, deviation, eps)
    return _Normalised.apply(x, weight, bias, add, found), mean, variance  # type: ignore[return-value]


class _Normalised(torch.autograd.Function):
    """``activation((x - mean(x)) / sqrt(variance(x) + eps) * weight + bias + add)``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, add: Tensor | None, found: _Found
    ) -> Tensor:  # fmt: skip
        way, ending = found.way, found.ending
        y = real(x.shape, "float32", way.layout)
        way.kernels.apply(way.form, ending, _array(x), _laid(add, way), found.constants, _array(y))
        ctx.found = found
        ctx.save_for_backward(x, weight, bias, y if ending.activation and add is not None else None)
        return y

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        x, weight, bias, y = ctx.saved_tensors
        if torch.is_grad_enabled() or not unwatched(upstream[0], x):
            return _by_torch(ctx.found, x, weight, bias, y, upstream[0], ctx.needs_input_grad)
        return _gradients(ctx.found, x, weight, bias, y, upstream[0], ctx.needs_input_grad)


def _gradients(
    found: _Found, x: Tensor, weight: Tensor | None, bias: Tensor | None, y: Tensor | None, upstream: Tensor,
    wanted: tuple[bool, ...],
) -> tuple[Any, ...]:  # fmt: skip
    """By the compiled passes."""
    (kernels, form, layout), ending, constants, mean, deviation, _ = found
    samples, g, result = _array(x), _laid(upstream, found.way), None if y is None else _array(y)
    assert g is not None
    with np.errstate(invalid="ignore", over="ignore"):
        first, second = kernels.gradient_sums(form, ending, samples, g, result, constants)
        # The kernel takes from the samples a mean of float32.
        off = constants[2] - mean
        normed = (second + first * off) * deviation
        scale = deviation if weight is None else deviation * weight.detach().numpy()
        count = form.batch * form.numbers
        slope = -scale * deviation * normed / count
        constants[3], constants[4] = slope, slope * off - scale * first / count
    dx = added = None
    if wanted[0] or wanted[3]:
        masked = bool(ending.activation) and ending.add == "array"
        out = real(x.shape, "float32", layout)
        added = real(x.shape, "float32", layout) if masked else upstream
        kernels.gradient(form, ending, samples, g, result, constants, _array(out), _array(added) if masked else None)
        dx = out if wanted[0] else None
    dw = torch.from_numpy(normed.astype(np.float32)) if wanted[1] else None
    db = torch.from_numpy(first.astype(np.float32)) if wanted[2] else None
    return dx, dw, db, added if wanted[3] else None, None


def _by_torch(
    found: _Found, x: Tensor, weight: Tensor | None, bias: Tensor | None, y: Tensor | None, upstream: Tensor,
    wanted: tuple[bool, ...],
) -> tuple[Any, ...]:  # fmt: skip
    """The same in torch's steps, which can be differentiated again; where activations let pass is constant."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        norm = functional.batch_norm(x, None, None, weight, bias, training=True, eps=found.eps)
        h = upstream
        if found.ending.activation:
            z = (norm if y is None else y).detach()
            blocked = z <= 0 if found.ending.activation == "relu" else (z <= 0) | (z >= 6)
            h = upstream.masked_fill(blocked, 0.0)
        given = zip((x, weight, bias), wanted, strict=False)
        inputs = [one for one, want in given if want and one is not None]
        found_gradients = iter(torch.autograd.grad(norm, inputs, h, create_graph=again) if inputs else ())
    gradients = [next(found_gradients) if want else None for want in wanted[:3]]
    return *gradients, h if wanted[3] else None, None


def _array(tensor: Tensor) -> Array:
    return tensor.detach().numpy()


def _laid(tensor: Tensor | None, way: _Way) -> Array | None:
    """As the input lies."""
    if tensor is None:
        return None
    return tensor.detach().resolve_neg().contiguous(memory_format=way.layout).numpy()
