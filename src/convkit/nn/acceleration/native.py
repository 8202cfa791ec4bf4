"""Steps of a traced model that can be links of a chain: convkit's layers, what is added to them, and pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn import functional

from convkit.arrays.layers import PoolOptions
from convkit.arrays.torch_memory import shared
from convkit.errors import ConvError
from convkit.nn.acceleration.findings import layer_of
from convkit.nn.acceleration.joined import Joined
from convkit.nn.acceleration.told import Told
from convkit.nn.layers import KINDS, Layer
from convkit.spec.options import pad_pairs, per_axis
from convkit.verbs.bilinear import for_batch
from convkit.verbs.chains import LayerStep, PoolStep, Step
from convkit.verbs.tensor_layers import LAYERS

Make = Callable[[int, "int | None", int], Step]
"""From the numbers of what is read, of what is added, and of the result, to a step."""


class Link(NamedTuple):
    """A node that can be a link of a chain.

    Attributes
    ----------
    x, add : Node
        What it reads.
    like : Node, optional
        The one of these that the result lies in memory like.
    make : Make
        How its step is made.
    """

    x: Node
    add: Node | None
    like: Node | None
    make: Make


def link(
    node: Node, modules: dict[str, nn.Module], told: dict[Node, Told | None], ready: dict[Any, Any]
) -> Link | None:  # fmt: skip
    """The node as a link; ``ready`` keeps weights made ready, by layer and problem.

    ``told``: what its values were in one run.
    """
    out = told.get(node)
    if out is None or out.dtype not in (torch.float32, torch.float64) or 0 in out.shape:
        return None
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    if type(module) in KINDS or type(module) is Joined:
        return _layer(node, module, told, out, ready)
    options = _pooling(node, module)
    x = node.args[0] if node.args else None
    if options is None or not isinstance(x, Node):
        return None
    source = told.get(x)
    if source is None or source.dtype is not out.dtype or len(source.shape) != len(out.shape) or len(out.shape) < 3:
        return None
    rank, kind, spelled = options
    if len(out.shape) != rank + 2:
        return None
    try:
        windows = spelled(tuple(source.shape[2:]))
    except ConvError:  # one number in a sequence for all axes, and the like
        return None
    if windows is None or LAYERS.pooled(tuple(source.shape), windows) != tuple(out.shape):
        return None
    return Link(x, None, x, lambda read, add, to: PoolStep(kind, windows, read, to))


def _layer(
    node: Node, module: Any, told: dict[Node, Told | None], out: Told, ready: dict[Any, Any]
) -> Link | None:  # fmt: skip
    joined = isinstance(module, Joined)
    layer: Layer = module.layer if joined else module
    if node.kwargs or len(node.args) != 1 + joined or not all(isinstance(one, Node) for one in node.args):
        return None
    tensors = [told.get(one) for one in node.args]  # type: ignore[arg-type]
    x = tensors[0]
    if x is None or len(x.shape) != layer.weight.ndim or any(one is None or one.dtype != out.dtype for one in tensors):
        return None
    weights = (layer.weight,) if layer.bias is None else (layer.weight, layer.bias)
    plain = all(type(w) in (Tensor, nn.Parameter) and w.is_cpu and w.dtype is out.dtype for w in weights)
    if not plain or (joined and tensors[1].shape != out.shape):  # type: ignore[union-attr]
        return None
    activation = module.activation or ""
    call = layer_of(layer, x.shape, str(x.dtype).removeprefix("torch."))
    if tuple(out.shape) != call.output_shape or not call.written:
        return None
    weight, bias = shared(layer.weight), None if layer.bias is None else shared(layer.bias)
    plan = call.plan(bias is not None, joined, activation)
    key = id(layer.weight), plan.problem.derive(batch=1)
    if key not in ready:
        ready[key] = call.prepare(weight, bias is not None, joined, activation)
    first, prepared = ready[key]
    batch = x.shape[0]
    made = (first, prepared) if batch == first.problem.batch else for_batch(first, prepared, batch)
    add: Any = node.args[1] if joined else None
    return Link(
        node.args[0], add, add,  # type: ignore[arg-type]
        lambda read, add, to: LayerStep(call, made, bias, read, add, to),
    )  # fmt: skip


Spelled = Callable[[tuple[int, ...]], "PoolOptions | None"]
"""From the sizes of what is pooled to the options."""


def _pooling(node: Node, module: nn.Module | None) -> tuple[int, Any, Spelled] | None:
    """How many axes a node pools, what it makes of windows, and these; None for a node that does something else."""
    if module is not None and type(module) in _MODULES and len(node.args) == 1 and not node.kwargs:
        rank, kind = _MODULES[type(module)]
        options = vars(module)
    elif node.op == "call_function" and node.target in _FUNCTIONS:
        rank, kind, names = _FUNCTIONS[node.target]
        options = {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
        if any(isinstance(value, Node) for value in options.values()):
            return None
    else:
        return None
    if kind == "whole":
        return rank, "mean", _whole(options.get("output_size"))
    return rank, kind, _windows(options)


def _windows(options: dict[str, Any]) -> Spelled:
    """Windows as torch's pooling is told of them, by the names of its options."""

    def spelled(space: tuple[int, ...]) -> PoolOptions | None:
        rank, stride = len(space), options.get("stride")
        spread = set(per_axis("dilation", options.get("dilation", 1), rank, 1)) != {1}
        counted = options.get("count_include_pad", True) and options.get("divisor_override") is None
        if spread or not counted or options.get("return_indices"):
            return None
        sizes = per_axis("size", options["kernel_size"], rank, 1)
        steps = per_axis("stride", stride, rank, 1) if stride else sizes
        pads = tuple(n for pair in pad_pairs(options.get("padding", 0), rank) for n in pair)
        return PoolOptions(sizes, steps, pads, "ceil" if options.get("ceil_mode") else "floor")

    return spelled


def _whole(size: Any) -> Spelled:
    """The mean of everything, or of windows of one size that leave nothing out."""

    def spelled(space: tuple[int, ...]) -> PoolOptions | None:
        wished = size if isinstance(size, Sequence) else (size,) * len(space)
        counts = tuple(n if count is None else count for n, count in zip(space, wished, strict=True))
        if any(not count or n % count for n, count in zip(space, counts, strict=True)):
            return None
        sizes = tuple(n // count for n, count in zip(space, counts, strict=True))
        return PoolOptions(sizes, sizes, (0, 0) * len(space), "floor")

    return spelled


_MODULES: dict[type, tuple[int, str]] = {
    nn.MaxPool1d: (1, "max"), nn.MaxPool2d: (2, "max"), nn.MaxPool3d: (3, "max"),
    nn.AvgPool1d: (1, "mean"), nn.AvgPool2d: (2, "mean"), nn.AvgPool3d: (3, "mean"),
    nn.AdaptiveAvgPool1d: (1, "whole"), nn.AdaptiveAvgPool2d: (2, "whole"), nn.AdaptiveAvgPool3d: (3, "whole"),
}  # fmt: skip
_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_MEAN = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
_FUNCTIONS: dict[Any, tuple[int, str, tuple[str, ...]]] = {
    getattr(where, f"{name}{rank}d"): (rank, kind, names)
    for where, name, kind, names in (
        (functional, "max_pool", "max", _MAX), (torch, "max_pool", "max", _MAX[:-1]),
        (functional, "avg_pool", "mean", _MEAN), (functional, "adaptive_avg_pool", "whole", ("output_size",)),
    )
    for rank in (1, 2, 3)
}  # fmt: skip
