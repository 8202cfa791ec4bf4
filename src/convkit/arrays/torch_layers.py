"""Layers on tensors as the verbs call them: past torch's dispatcher where nothing watches it, through it otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import ref

import torch

from convkit.arrays import torch_operators as operators
from convkit.arrays.layers import Direction, Layer, Options, provided
from convkit.arrays.torch_memory import shared
from convkit.arrays.torch_operators import Maps, Maybe, Tensor, differentiated, layer_of

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_C: Any = torch._C  # what torch does not offer by public names: whether anyone watches the dispatcher


def unwatched(*tensors: Tensor) -> bool:
    """Whether these are ordinary CPU tensors, and nobody traces, transforms or records what is done with them.

    Then an operator's arithmetic may be called at once: the dispatcher takes longer than a small layer.
    """
    for tensor in tensors:
        if type(tensor) not in _PLAIN or not tensor.is_cpu:
            return False
    return not (
        _C._len_torch_dispatch_stack()
        or _C._functorch.maybe_current_level() is not None
        or _C._get_tracing_state() is not None
        or torch.autograd.forward_ad._current_level >= 0
        or torch.compiler.is_compiling()
    )


class _Layer(torch.autograd.Function):
    """``F(x, w) + bias``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, bias: Maybe, direction: Direction, options: Options
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(x, w)
        ctx.direction, ctx.options = direction, options
        return operators.forward(direction, x, w, bias, None, "", options)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        return (*_differentiated("forward", ctx, upstream[0]), None, None)


class _InputGradient(torch.autograd.Function):
    """``X(g, w)``."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, w: Tensor, shape: Sequence[int], direction: Direction, options: Options
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(g, w)
        ctx.direction, ctx.options = direction, options
        return operators.input_gradient(direction, g, w, shape, options)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        return (*_differentiated("input_gradient", ctx, upstream[0]), None, None)


class _WeightGradient(torch.autograd.Function):
    """``K(g, x)``."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format, direction: Direction,
        options: Options,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(g, x)
        ctx.direction, ctx.options = direction, options
        return operators.weight_gradient(direction, g, x, shape, layout, options)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        return (*_differentiated("weight_gradient", ctx, upstream[0]), None, None, None)


def _differentiated(role: str, ctx: Any, gradient: Tensor) -> list[Maybe]:
    maps = SHORT if unwatched(gradient, *ctx.saved_tensors) else LONG
    return differentiated(
        role, maps, ctx.direction, ctx.saved_tensors, gradient, ctx.needs_input_grad, ctx.options
    )  # fmt: skip


class _Short(Maps):
    """The maps past the dispatcher."""

    def forward(self, direction: Direction, x: Tensor, w: Tensor, bias: Maybe, options: Options) -> Tensor:
        if torch.is_grad_enabled() and (
            x.requires_grad or w.requires_grad or (bias is not None and bias.requires_grad)
        ):  # fmt: skip
            return _Layer.apply(x, w, bias, direction, options)  # type: ignore[return-value]
        return self.fused(direction, x, w, bias, None, "", options)

    def fused(
        self, direction: Direction, x: Tensor, w: Tensor, bias: Maybe, add: Maybe, activation: str, options: Options
    ) -> Tensor:  # fmt: skip
        ready = KEPT.ready(direction, x, w, (bias is not None, add is not None, activation), options)
        return operators.forward(direction, x, w, bias, add, activation, options, ready)

    def input_gradient(
        self, direction: Direction, g: Tensor, w: Tensor, shape: Sequence[int], options: Options
    ) -> Tensor:  # fmt: skip
        if torch.is_grad_enabled() and (g.requires_grad or w.requires_grad):
            return _InputGradient.apply(g, w, shape, direction, options)  # type: ignore[return-value]
        return operators.input_gradient(direction, g, w, shape, options)

    def weight_gradient(
        self, direction: Direction, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format,
        options: Options,
    ) -> Tensor:  # fmt: skip
        if torch.is_grad_enabled() and (g.requires_grad or x.requires_grad):
            return _WeightGradient.apply(g, x, shape, layout, direction, options)  # type: ignore[return-value]
        return operators.weight_gradient(direction, g, x, shape, layout, options)


SHORT, LONG = _Short(), Maps()


class _Kept:
    """Weights made ready, for as long as the tensor that holds them lives and is not written to."""

    SAMPLES = 16
    """Elements compared as well: writing through ``.data`` leaves a tensor's version as it is."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Any, Layer, tuple[Any, ...], Any]] = {}

    def ready(
        self, direction: Direction, x: Tensor, w: Tensor, end: tuple[bool, bool, str], options: Options
    ) -> Any:  # fmt: skip
        """What the layer makes of ``w``, made now or found again; None for weights that say nothing of changes."""
        if w.is_inference() or w.is_complex() or w.numel() == 0:
            return None
        layer = layer_of(direction, x.shape, w.shape, x.dtype, w.dtype, options)
        if not layer.written:
            return None
        held = w.detach()  # an array of `w` itself would keep it alive
        if held.dtype is torch.bfloat16:
            held = held.view(torch.int16)
        flat = held.numpy().reshape(-1) if held.is_contiguous() else held.numpy()[0].reshape(-1)
        state = end, w._version, w.data_ptr(), w.stride(), flat[:: max(1, flat.size // self.SAMPLES)].tobytes()
        number = id(w)
        entry = self._entries.get(number)
        if entry is not None and entry[0]() is w and entry[1] is layer and entry[2] == state:
            return entry[3]
        ready = layer.prepare(shared(w.detach()), *end)
        self._entries[number] = ref(w, lambda _: self._entries.pop(number, None)), layer, state, ready
        return ready


KEPT = _Kept()


@torch.compiler.allow_in_graph
def called(
    direction: Direction, x: Tensor, w: Tensor, bias: Maybe, add: Maybe, activation: str, options: Any
) -> Tensor:  # fmt: skip
    """``activation(layer(x, w) + bias + add)``, in one step where no gradient is wanted."""
    options = Options(*options)
    tensors = [tensor for tensor in (x, w, bias, add) if tensor is not None]
    maps = SHORT if unwatched(*tensors) else LONG
    if add is None and not activation:
        return maps.forward(direction, x, w, bias, options)
    if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors):
        return maps.fused(direction, x, w, bias, add, activation, options)
    # Step by step, each of which has its gradient; the sums are new, so that another array may be added where they are.
    sums = maps.forward(direction, x, w, bias, options)
    operators.check_addends(bias, add, activation, sums.shape, operators.word(sums.dtype))
    if add is not None:
        sums = sums.add_(add)
    return getattr(torch.nn.functional, activation)(sums) if activation else sums


@torch.compiler.allow_in_graph
def gradient(of: str, g: Tensor, other: Tensor, shape: Sequence[int], options: Any) -> Tensor:
    """The gradient of the ``"input"`` or the ``"weights"`` of a forward layer; ``other`` is the other of the two."""
    options, shape = Options(*options), tuple(shape)
    maps = SHORT if unwatched(g, other) else LONG
    if of == "input":
        return maps.input_gradient("forward", g, other, shape, options)
    return maps.weight_gradient("forward", g, other, shape, torch.contiguous_format, options)


def spelled_out(direction: Direction, rank: int, method: str, given: dict[str, Any]) -> Options:
    """The options of a verb, checked and spelled out."""
    return provided().options(direction, rank, method, given)
