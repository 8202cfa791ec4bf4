"""What every layer costs: numbers learned, multiply-adds, what it sees of the picture, and the time it takes here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_WHOLE = (nn.Linear, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One layer for one picture.

    Attributes
    ----------
    name, kind : str
        Its name in the network, and the class of the module.
    out : tuple of int
        Shape of what it gives, without the batch.
    parameters : int
        Numbers that it learns.
    multiply_adds : int
        Of its convolution or matrix product; 0 for other layers.
    field : int or None
        Side of the square of the picture that one output sees along its rows; None once it sees all of it.
    seconds : float
        Time for one picture, in a batch, best of several.
    """

    name: str
    kind: str
    out: tuple[int, ...]
    parameters: int
    multiply_adds: int
    field: int | None
    seconds: float

    def fraction(self, peak: float) -> float | None:
        """Share of ``peak`` floating-point operations a second; None for a layer without products."""
        return 2 * self.multiply_adds / self.seconds / peak if self.multiply_adds and self.seconds else None


def layer_costs(
    network: nn.Module, shape: tuple[int, int, int], *, batch: int = 16, rounds: int = 5
) -> list[LayerCost]:
    """Run ``network`` on empty pictures and look at every layer.

    Parameters
    ----------
    network : Module
        Any network; its leaves are the layers.
    shape : (int, int, int)
        Rows, columns, channels.
    batch, rounds : int
        Pictures at a time, and how often; the best time counts.
    """
    rows, columns, channels = shape
    leaves = {layer: name for name, layer in network.named_modules() if not any(True for _ in layer.children())}
    best: dict[nn.Module, float] = {}
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    inside: dict[nn.Module, tuple[int, ...]] = {}
    seen: dict[nn.Module, tuple[float, float] | None] = {}
    order: list[nn.Module] = []
    began: dict[nn.Module, float] = {}
    fields = _Fields()

    def before(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        began[layer] = time.perf_counter()

    def after(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        took = time.perf_counter() - began[layer]
        best[layer] = min(best.get(layer, took), took)
        if layer not in shapes:
            order.append(layer)
        shapes[layer], inside[layer] = tuple(output.shape[1:]), tuple(inputs[0].shape[1:])
        if fields.watching:
            seen[layer] = fields.through(layer, inputs[0], output)

    hooks = [
        handle
        for layer in leaves
        for handle in (layer.register_forward_pre_hook(before), layer.register_forward_hook(after))
    ]
    network.eval()
    try:
        with torch.no_grad():
            images = torch.zeros(batch, channels, rows, columns)
            with fields:
                fields.start(images)
                network(images)
            for _ in range(rounds):
                network(images)
    finally:
        for hook in hooks:
            hook.remove()
    costs = []
    for layer in order:
        own = seen.get(layer)
        side = None if own is None or own[0] >= rows else round(own[0])
        learned = sum(weights.numel() for weights in layer.parameters())
        costs.append(
            LayerCost(
                leaves[layer] or "-", type(layer).__name__, shapes[layer], learned,
                _products(layer, inside[layer], shapes[layer]), side, best[layer] / batch,
            )
        )  # fmt: skip
    return costs


def matrix_peak(threads_seconds: float = 0.2) -> float:
    """Floating-point operations a second that torch's matrix product reaches here: what fractions are taken of."""
    a, b = torch.rand(768, 768), torch.rand(768, 768)
    best, end = float("inf"), time.perf_counter() + threads_seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    return 2 * 768**3 / best


def _products(layer: nn.Module, inside: tuple[int, ...], out: tuple[int, ...]) -> int:
    """Multiply-adds of one picture by the definition, whatever the algorithm; products with padding count."""
    if isinstance(layer, _CONVOLUTIONS):
        return prod(out[1:]) * layer.weight.numel()
    if isinstance(layer, _TRANSPOSED):
        return prod(inside[1:]) * layer.weight.numel()
    if isinstance(layer, nn.Linear):
        return layer.weight.numel()
    return 0


class _Fields(TorchFunctionMode):
    """Follow (side of the field, distance between neighbours) from tensor to tensor while a network runs.

    What a layer does is known from its class; anything else (sums, joins, activations) passes on the largest field of
    its inputs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.watching = False
        self._of: dict[int, tuple[float, float]] = {}
        self._kept: list[Tensor] = []

    def __enter__(self) -> _Fields:
        self.watching = True
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self.watching = False
        super().__exit__(*error)
        self._of.clear()
        self._kept.clear()

    def start(self, images: Tensor) -> None:
        self._set(images, (1.0, 1.0))

    def _set(self, tensor: Tensor, field: tuple[float, float]) -> None:
        self._of[id(tensor)] = field
        self._kept.append(tensor)  # an id is good for as long as its owner lives

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            flat = [one for a in args for one in (a if isinstance(a, (list, tuple)) else (a,))]
            fields = [self._of[id(one)] for one in flat if isinstance(one, Tensor) and id(one) in self._of]
            if fields:
                self._set(out, max(fields))
        return out

    def through(self, layer: nn.Module, inside: Tensor, outside: Tensor) -> tuple[float, float] | None:
        """The field after ``layer``; None where what came in is not known."""
        known = self._of.get(id(inside))
        if known is None:
            return None
        side, step = known
        if isinstance(layer, (*_CONVOLUTIONS, *_POOLS)):
            kernel, stride = _first(layer.kernel_size), _first(layer.stride)
            dilation = _first(getattr(layer, "dilation", 1))
            side, step = side + (kernel - 1) * dilation * step, step * stride
        elif isinstance(layer, _TRANSPOSED):
            kernel, stride = _first(layer.kernel_size), _first(layer.stride)
            side, step = side + (-(-kernel // stride) - 1) * step, step / stride
        elif isinstance(layer, nn.Upsample):
            step = step * inside.shape[-2] / outside.shape[-2]
        elif isinstance(layer, _WHOLE):
            side = float("inf")
        self._set(outside, (side, step))
        return side, step


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, (tuple, list)) else value)
