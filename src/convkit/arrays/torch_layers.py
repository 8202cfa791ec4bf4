"""Layers on tensors as the verbs call them: past torch's dispatcher where nothing watches it, through it otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import ref

import torch

from convkit.arrays import torch_operators as operators
from convkit.arrays.layers import Direction, Layer, Options, provided
from convkit.arrays.torch_changes import Unwritten
from convkit.arrays.torch_memory import shared
from convkit.arrays.torch_operators import Maps, Maybe, Tensor, differentiated, layer_of
from convkit.arrays.torch_threads import team
from convkit.arrays.torch_transforms import MAPS as TRANSFORMED
from convkit.arrays.torch_transforms import transformed

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_C: Any = torch._C  # what torch does not offer by public names: whether anyone watches the dispatcher


def unwatched(*tensors: Tensor | None) -> bool:
    """Whether these are ordinary CPU tensors, and nobody traces, transforms or records what is done with them.

    Then an operator's arithmetic may be called at once: the dispatcher takes longer than a small layer.
    """
    for tensor in tensors:
        if tensor is not None and (type(tensor) not in _PLAIN or not tensor.is_cpu):
            return False
    return not (
        _C._len_torch_dispatch_stack()
        or _C._functorch.maybe_current_level() is not None
        or _C._get_tracing_state() is not None
        or torch.autograd.forward_ad._current_level >= 0
    )


class _Layer(torch.autograd.Function):
    """``F(x, w) + bias``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, bias: Maybe, layer: Layer, direction: Direction, options: Options
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(x, w)
        ctx.direction, ctx.options, ctx.bias = direction, options, None if bias is None else bias.dtype
        return operators.forward(layer, x, w, bias, None, "")

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        return (*_differentiated("forward", ctx, upstream[0]), None, None, None)


class _InputGradient(torch.autograd.Function):
    """``X(g, w)``."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, w: Tensor, shape: Sequence[int], layer: Layer, direction: Direction, options: Options
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(g, w)
        ctx.direction, ctx.options, ctx.bias = direction, options, None
        return operators.input_gradient(layer, g, w, shape)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        return (*_differentiated("input_gradient", ctx, upstream[0]), None, None, None)


class _WeightGradient(torch.autograd.Function):
    """``K(g, x)``."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format, layer: Layer,
        direction: Direction, options: Options,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(g, x)
        ctx.direction, ctx.options, ctx.bias = direction, options, None
        return operators.weight_gradient(layer, g, x, shape, layout)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        return (*_differentiated("weight_gradient", ctx, upstream[0]), None, None, None, None)


def _differentiated(role: str, ctx: Any, gradient: Tensor) -> list[Maybe]:
    tensors = ctx.saved_tensors
    maps = SHORT if unwatched(gradient, *tensors) else LONG
    return differentiated(role, maps, ctx.direction, tensors, gradient, ctx.needs_input_grad, ctx.bias, ctx.options)


class _Short(Maps):
    """The maps past the dispatcher."""

    def forward(self, direction: Direction, x: Tensor, w: Tensor, bias: Maybe, options: Options) -> Tensor:
        return run(layer_of(direction, x.shape, w.shape, x.dtype, w.dtype, options), direction, x, w, bias, options)

    def input_gradient(
        self, direction: Direction, g: Tensor, w: Tensor, shape: Sequence[int], options: Options
    ) -> Tensor:  # fmt: skip
        layer = layer_of(direction, tuple(shape), w.shape, g.dtype, w.dtype, options)
        if torch.is_grad_enabled() and (g.requires_grad or w.requires_grad):
            return _InputGradient.apply(g, w, shape, layer, direction, options)  # type: ignore[return-value]
        return operators.input_gradient(layer, g, w, shape)

    def weight_gradient(
        self, direction: Direction, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format,
        options: Options,
    ) -> Tensor:  # fmt: skip
        layer = layer_of(direction, x.shape, tuple(shape), x.dtype, g.dtype, options)
        if torch.is_grad_enabled() and (g.requires_grad or x.requires_grad):
            return _WeightGradient.apply(g, x, shape, layout, layer, direction, options)  # type: ignore[return-value]
        return operators.weight_gradient(layer, g, x, shape, layout)


SHORT, LONG = _Short(), Maps()


def run(
    layer: Layer, direction: Direction, x: Tensor, w: Tensor, bias: Maybe, options: Options, add: Maybe = None,
    activation: str = "",
) -> Tensor:  # fmt: skip
    """``activation(layer(x, w) + bias + add)`` past the dispatcher, in one step where no gradient is wanted."""
    differentiable = torch.is_grad_enabled() and (
        x.requires_grad
        or w.requires_grad
        or (bias is not None and bias.requires_grad)
        or (add is not None and add.requires_grad)
    )
    if not differentiable:
        ready = KEPT.ready(layer, w, (bias is not None, "" if add is None else operators.word(add.dtype), activation))
        return operators.forward(layer, x, w, bias, add, activation, ready)
    sums: Tensor = _Layer.apply(x, w, bias, layer, direction, options)  # type: ignore[assignment]
    return ended(sums, bias, add, activation) if add is not None or activation else sums


def ended(sums: Tensor, bias: Maybe, add: Maybe, activation: str) -> Tensor:
    """``activation(sums + add)`` step by step, each of which has its gradient; the sums are new and end here."""
    operators.check_addends(bias, add, activation, sums.shape, operators.word(sums.dtype))
    if add is not None:
        sums = sums.add_(add)
    return operators.activated(activation, sums)


class _Entry:
    """Weights made ready, and what must be unchanged for them to be used again."""

    __slots__ = ("end", "layer", "ready", "tensor", "unwritten")

    def __init__(self, tensor: Any, w: Tensor, layer: Layer, end: tuple[bool, str, str]) -> None:
        self.tensor, self.layer, self.end, self.unwritten = tensor, layer, end, Unwritten((w,))
        self.ready = layer.prepare(shared(w.detach()), *end)


class _Kept:
    """Weights made ready, for as long as the tensor that holds them lives and is not written to."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}

    def ready(self, layer: Layer, w: Tensor, end: tuple[bool, str, str]) -> Any:
        """What the layer makes of ``w``, made now or found again; None for weights that say nothing of changes."""
        number = id(w)
        entry = self._entries.get(number)
        if (
            entry is not None
            and entry.tensor() is w
            and entry.layer is layer
            and entry.end == end
            and entry.unwritten.holds((w,))
        ):
            return entry.ready
        if w.is_inference() or w.is_complex() or not layer.written or w.numel() == 0:
            return None
        self._entries[number] = entry = _Entry(ref(w, lambda _: self._entries.pop(number, None)), w, layer, end)
        return entry.ready


KEPT = _Kept()


class _Cast:
    """Weights as `torch.autocast` has them, for as long as they live and are not written to.

    Where gradients are wanted they are made anew, so that each graph has its own.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[int, torch.dtype], tuple[Any, Unwritten, Tensor]] = {}

    def lowered(self, x: Tensor, w: Tensor, bias: Maybe, add: Maybe) -> Sequence[Any]:
        """A layer's tensors in the type of the region."""
        dtype = torch.get_autocast_dtype("cpu")
        wanted = torch.is_grad_enabled() and w.requires_grad
        if wanted or torch.compiler.is_compiling() or w.dtype is not torch.float32 or not unwatched(w):
            return operators.lowered(x, w, bias, add)
        number = id(w), dtype
        entry = self._entries.get(number)
        if entry is None or entry[0]() is not w or not entry[1].holds((w,)):
            if w.is_inference() or w.numel() == 0:
                return operators.lowered(x, w, bias, add)
            gone = ref(w, lambda _: self._entries.pop(number, None))
            entry = self._entries[number] = gone, Unwritten((w,)), w.detach().to(dtype)
        samples, *addends = operators.lowered(x, bias, add)
        return samples, entry[2], *addends


CAST = _Cast()


class Called:
    """The two network verbs on tensors, shapes and options seen before found at once."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Layer, Options]] = {}

    def __call__(
        self, direction: Direction, x: Tensor, w: Tensor, bias: Maybe, add: Maybe, activation: str, method: str,
        given: dict[str, Any],
    ) -> Tensor:  # fmt: skip
        if torch.is_autocast_enabled("cpu"):
            x, w, bias, add = CAST.lowered(x, w, bias, add)
        if torch.compiler.is_compiling() or not unwatched(x, w, bias, add):
            return watched(direction, x, w, bias, add, activation, method, tuple(given), tuple(given.values()))
        key: Any = (direction, x.shape, w.shape, x.dtype, w.dtype, method, *given.values())
        try:
            known = self._known.get(key)
        except TypeError:  # options given as lists or arrays
            key = known = None
        if known is None:
            options = provided().options(direction, w.ndim - 2, method, given)
            known = layer_of(direction, x.shape, w.shape, x.dtype, w.dtype, options), options
            if key is not None:
                if len(self._known) >= operators.MOST_KEPT:
                    self._known.clear()
                self._known[key] = known
        layer, options = known
        return run(layer, direction, x, w, bias, options, add, activation)


CALLED = Called()
provided().lend(team())


@torch.compiler.allow_in_graph
def watched(
    direction: Direction, x: Tensor, w: Tensor, bias: Maybe, add: Maybe, activation: str, method: str,
    names: tuple[str, ...], values: tuple[Any, ...],
) -> Tensor:  # fmt: skip
    """The same by operators, as whoever watches sees it."""
    options = provided().options(direction, w.ndim - 2, method, dict(zip(names, values, strict=True)))
    if transformed():
        return TRANSFORMED.fused(direction, x, w, bias, add, activation, options)
    if add is None and not activation:
        return LONG.forward(direction, x, w, bias, options)
    tensors = [tensor for tensor in (x, w, bias, add) if tensor is not None]
    if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors):
        return LONG.fused(direction, x, w, bias, add, activation, options)
    return ended(LONG.forward(direction, x, w, bias, options), bias, add, activation)


_known_options: dict[Any, Options] = {}


def _options_of(rank: int, method: str, names: tuple[str, ...], values: tuple[Any, ...]) -> Options:
    """The options of a gradient; those seen before found at once."""
    try:
        known = _known_options.get((rank, method, values))
    except TypeError:  # given as lists or arrays
        return provided().options("forward", rank, method, dict(zip(names, values, strict=True)))
    if known is None:
        if len(_known_options) >= operators.MOST_KEPT:
            _known_options.clear()
        known = provided().options("forward", rank, method, dict(zip(names, values, strict=True)))
        _known_options[rank, method, values] = known
    return known


@torch.compiler.allow_in_graph
def gradient(
    of: str, g: Tensor, other: Tensor, shape: Sequence[int], method: str, names: tuple[str, ...],
    values: tuple[Any, ...],
) -> Tensor:  # fmt: skip
    """The gradient of the ``"input"`` or the ``"weights"`` of a forward layer; ``other`` is the other of the two."""
    options = _options_of(g.ndim - 2, method, names, values)
    maps = SHORT if unwatched(g, other) else TRANSFORMED if transformed() else LONG
    if of == "input":
        return maps.input_gradient("forward", g, other, tuple(shape), options)
    return maps.weight_gradient("forward", g, other, tuple(shape), torch.contiguous_format, options)
