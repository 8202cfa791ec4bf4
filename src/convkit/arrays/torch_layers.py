"""Layers on tensors as the verbs call them: past torch's dispatcher where nothing watches it, through it otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import ref

import torch

from convkit.arrays import torch_operators as operators
from convkit.arrays.layers import Direction, Layer, Options, provided
from convkit.arrays.torch_changes import Unwritten
from convkit.arrays.torch_jobs import Jobs
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
        if tensor is not None and (
            type(tensor) not in _PLAIN or not tensor.is_cpu or tensor.layout is not torch.strided or tensor.is_quantized
        ):
            return False
    return not (
        _C._len_torch_dispatch_stack()
        or _C._functorch.maybe_current_level() is not None
        or _C._get_tracing_state() is not None
        or torch.autograd.forward_ad._current_level >= 0
    )


def free(*tensors: Any) -> bool:
    """The same, and no compiler looks on."""
    return not torch.compiler.is_compiling() and unwatched(*tensors)


class _Layer(torch.autograd.Function):
    """``F(x, w) + bias``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, bias: Maybe, layer: Layer, direction: Direction, options: Options
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(x, w)
        ctx.direction, ctx.options, ctx.bias = direction, options, None if bias is None else bias.dtype
        ctx.maps = _Gradients(layer, x.dtype, w.dtype, options)
        return operators.forward(layer, x, w, bias, None, "")

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        return (*_differentiated("forward", ctx, upstream[0], ctx.maps), None, None, None)


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


def _differentiated(role: str, ctx: Any, gradient: Tensor, short: Maps | None = None) -> list[Maybe]:
    tensors = ctx.saved_tensors
    maps = (short or SHORT) if unwatched(gradient, *tensors) else LONG
    return differentiated(role, maps, ctx.direction, tensors, gradient, ctx.needs_input_grad, ctx.bias, ctx.options)


class _Short(Maps):
    """The maps past the dispatcher."""

    _layer = staticmethod(layer_of)

    def forward(self, direction: Direction, x: Tensor, w: Tensor, bias: Maybe, options: Options) -> Tensor:
        return run(self._layer(direction, x.shape, w.shape, x.dtype, w.dtype, options), direction, x, w, bias, options)

    def input_gradient(
        self, direction: Direction, g: Tensor, w: Tensor, shape: Sequence[int], options: Options
    ) -> Tensor:  # fmt: skip
        layer = self._layer(direction, tuple(shape), w.shape, g.dtype, w.dtype, options)
        return run_input_gradient(layer, direction, g, w, shape, options)

    def weight_gradient(
        self, direction: Direction, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format,
        options: Options,
    ) -> Tensor:  # fmt: skip
        layer = self._layer(direction, x.shape, tuple(shape), x.dtype, g.dtype, options)
        return run_weight_gradient(layer, direction, g, x, shape, layout, options)


class _Gradients(_Short):
    """The gradients of one layer: they have its record, unless their types or options are others."""

    def __init__(self, layer: Layer, x: torch.dtype, w: torch.dtype, options: Options) -> None:
        self._known, self._x, self._w, self._options = layer, x, w, options

    def _layer(
        self, direction: Direction, x_shape: Sequence[int], w_shape: Sequence[int], x: torch.dtype, w: torch.dtype,
        options: Options,
    ) -> Layer:  # fmt: skip
        if options is self._options and x is self._x and w is self._w:
            return self._known
        return layer_of(direction, x_shape, w_shape, x, w, options)


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
        added = "" if add is None else operators.word(add.dtype)
        kept = KEPT.find(layer, w, (bias is not None, added, activation))
        if kept is None:
            return operators.forward(layer, x, w, bias, add, activation)
        return operators.forward(layer, x, w, bias, add, activation, kept.ready, kept.jobs)
    sums: Tensor = _Layer.apply(x, w, bias, layer, direction, options)  # type: ignore[assignment]
    return ended(sums, bias, add, activation) if add is not None or activation else sums


def run_input_gradient(
    layer: Layer, direction: Direction, g: Tensor, w: Tensor, shape: Sequence[int], options: Options
) -> Tensor:  # fmt: skip
    """``X(g, w)`` past the dispatcher."""
    if torch.is_grad_enabled() and (g.requires_grad or w.requires_grad):
        return _InputGradient.apply(g, w, shape, layer, direction, options)  # type: ignore[return-value]
    return operators.input_gradient(layer, g, w, shape)


def run_weight_gradient(
    layer: Layer, direction: Direction, g: Tensor, x: Tensor, shape: Sequence[int], layout: torch.memory_format,
    options: Options,
) -> Tensor:  # fmt: skip
    """``K(g, x)`` past the dispatcher."""
    if torch.is_grad_enabled() and (g.requires_grad or x.requires_grad):
        return _WeightGradient.apply(g, x, shape, layout, layer, direction, options)  # type: ignore[return-value]
    return operators.weight_gradient(layer, g, x, shape, layout)


def ended(sums: Tensor, bias: Maybe, add: Maybe, activation: str) -> Tensor:
    """``activation(sums + add)`` step by step, each of which has its gradient; the sums are new and end here."""
    operators.check_addends(bias, add, activation, sums.shape, operators.word(sums.dtype))
    if add is not None:
        sums = sums.add_(add)
    return operators.activated(activation, sums)


MOST_LAYOUTS = 8
"""Ways in which inputs of a layer may lie in memory, and what is added to it, that its weights remember."""

MOST_READY = 2
"""Layers that one tensor of weights is kept ready for: inputs of two sizes, or two epilogues, taking turns."""


class _Ready:
    """Weights made ready for a layer and its epilogue, and the jobs that they are part of."""

    __slots__ = ("jobs", "ready")

    def __init__(self, layer: Layer, w: Tensor, end: tuple[bool, str, str]) -> None:
        self.ready = layer.prepare(shared(w.detach()), *end)
        self.jobs = Jobs(MOST_LAYOUTS)


class _Entry:
    """Weights made ready, and what must be unchanged for them to be used again."""

    __slots__ = ("made", "tensor", "unwritten")

    def __init__(self, tensor: Any, w: Tensor) -> None:
        self.tensor, self.unwritten = tensor, Unwritten((w,))
        self.made: dict[tuple[Layer, tuple[bool, str, str]], _Ready] = {}


class _Kept:
    """Weights made ready, for as long as the tensor that holds them lives and is not written to."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}

    def ready(self, layer: Layer, w: Tensor, end: tuple[bool, str, str]) -> Any:
        """What the layer makes of ``w``; None for weights that say nothing of changes."""
        found = self.find(layer, w, end)
        return None if found is None else found.ready

    def find(self, layer: Layer, w: Tensor, end: tuple[bool, str, str]) -> _Ready | None:
        """The same with its jobs, made now or found again."""
        number = id(w)
        entry = self._entries.get(number)
        if entry is None or entry.tensor() is not w or not entry.unwritten.holds((w,)):
            if w.is_inference() or w.is_complex() or not layer.written or w.numel() == 0:
                return None
            self._entries[number] = entry = _Entry(ref(w, lambda _: self._entries.pop(number, None)), w)
        known = entry.made.get((layer, end))
        if known is None and layer.written:
            known = _Ready(layer, w, end)
            if len(entry.made) >= MOST_READY:
                entry.made.clear()
            entry.made[layer, end] = known
        return known


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


_known: dict[Any, tuple[Layer, Options]] = {}


def _found(
    direction: Direction, x_shape: Sequence[int], w_shape: Sequence[int], x: torch.dtype, w: torch.dtype, method: str,
    given: dict[str, Any],
) -> tuple[Layer, Options]:  # fmt: skip
    """The layer and its options; for what a verb was given before, found at once."""
    key: Any = (direction, x_shape, w_shape, x, w, method, *given.values())
    try:
        known = _known.get(key)
    except TypeError:  # options given as lists or arrays
        key = known = None
    if known is None:
        options = provided().options(direction, len(w_shape) - 2, method, given)
        known = layer_of(direction, x_shape, w_shape, x, w, options), options
        if key is not None:
            if len(_known) >= operators.MOST_KEPT:
                _known.clear()
            _known[key] = known
    return known


def called(
    direction: Direction, x: Tensor, w: Tensor, bias: Maybe, add: Maybe, activation: str, method: str,
    given: dict[str, Any],
) -> Tensor:  # fmt: skip
    """A network verb on tensors that are `free`."""
    layer, options = _found(direction, x.shape, w.shape, x.dtype, w.dtype, method, given)
    return run(layer, direction, x, w, bias, options, add, activation)


def called_gradient(
    of: str, g: Tensor, other: Tensor, shape: tuple[int, ...], method: str, given: dict[str, Any]
) -> Tensor:  # fmt: skip
    """The gradient of the ``"input"`` or the ``"weights"`` of a forward layer; ``other`` is the other of the two."""
    if of == "input":
        layer, options = _found("forward", shape, other.shape, g.dtype, other.dtype, method, given)
        return run_input_gradient(layer, "forward", g, other, shape, options)
    layer, options = _found("forward", other.shape, shape, other.dtype, g.dtype, method, given)
    return run_weight_gradient(layer, "forward", g, other, shape, torch.contiguous_format, options)


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


@torch.compiler.allow_in_graph
def watched_gradient(
    of: str, g: Tensor, other: Tensor, shape: tuple[int, ...], method: str, names: tuple[str, ...],
    values: tuple[Any, ...],
) -> Tensor:  # fmt: skip
    """A gradient by operators, likewise."""
    options = provided().options("forward", g.ndim - 2, method, dict(zip(names, values, strict=True)))
    maps = TRANSFORMED if transformed() else LONG
    if of == "input":
        return maps.input_gradient("forward", g, other, shape, options)
    return maps.weight_gradient("forward", g, other, shape, torch.contiguous_format, options)


provided().lend(*team())
