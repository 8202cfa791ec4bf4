"""Steps of a traced model that can be links of a chain: convkit's layers, what is added to them, and pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import Node

from convkit.arrays.torch_layers import KEPT
from convkit.arrays.torch_memory import shared
from convkit.errors import AccuracyError, ConvError
from convkit.nn.acceleration.findings import layer_of
from convkit.nn.acceleration.joined import Joined
from convkit.nn.acceleration.pooling import pooling
from convkit.nn.acceleration.told import Told
from convkit.nn.layers import KINDS, Layer
from convkit.verbs.bilinear import for_batch
from convkit.verbs.chains import LayerStep, LinearStep, PoolStep, Step
from convkit.verbs.tensor_layers import LAYERS, TensorLayer

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
    make : Make, optional
        How its step is made; a node without one passes on what it reads.
    """

    x: Node
    add: Node | None
    like: Node | None
    make: Make | None


def link(
    node: Node, modules: Mapping[str, nn.Module], told: dict[Node, Told | None], ready: dict[Any, Any]
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
    x = node.args[0] if node.args else None
    source = told.get(x) if isinstance(x, Node) else None
    if source is None or source.dtype is not out.dtype or not isinstance(x, Node):
        return None
    if type(module) is nn.Linear and len(node.args) == 1 and not node.kwargs:
        return _linear(x, module, source, ready)
    if _passes(node, module, source, out):
        return Link(x, None, x, None)
    options = pooling(node, module)
    if options is None or len(source.shape) != len(out.shape):
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
    call = layer_of(layer, x.shape, x.dtype)
    if tuple(out.shape) != call.output_shape or not call.written:
        return None
    weight, bias = shared(layer.weight), None if layer.bias is None else shared(layer.bias)
    made = _made(call, layer.weight, weight, (bias is not None, call.stored if joined else "", activation), ready)
    add: Any = node.args[1] if joined else None
    return Link(
        node.args[0], add, add,  # type: ignore[arg-type]
        lambda read, add, to: LayerStep(call, made, bias, read, add, to),
    )  # fmt: skip


def _made(call: TensorLayer, of: Tensor, weight: Any, end: tuple[bool, str, str], ready: dict[Any, Any]) -> Any:
    """The weights made ready: once for all batches."""
    plan = call.plan(*end)
    key = id(of), plan.problem.derive(batch=1)
    if key not in ready:  # as they were made for the layer alone, if they were
        ready[key] = KEPT.ready(call, of, end) if weight.shape == of.shape else None
        ready[key] = ready[key] or call.prepare(weight, *end)
    first, prepared = ready[key]
    batch = plan.problem.batch
    return (first, prepared) if batch == first.problem.batch else for_batch(first, prepared, batch)


MOST_LINEAR = 1 << 24
"""Bytes of a linear layer's weights at most: of more, a second copy would be made, and memory sets the pace anyway."""

_LINEAR = {
    "dtype": None, "overflow": "raise", "stride": (1,), "dilation": (1,), "groups": 1, "operation": "correlation",
    "accuracy": "norm", "padding": ((0, 0),), "boundary": "zero", "fill": 0,
}  # fmt: skip


def _linear(x: Node, module: nn.Linear, source: Told, ready: dict[Any, Any]) -> Link | None:
    """A linear layer of vectors: a layer of one kernel element, whose pixels are the samples."""
    weights = (module.weight,) if module.bias is None else (module.weight, module.bias)
    plain = all(type(w) is nn.Parameter and w.is_cpu and w.dtype is source.dtype for w in weights)
    if len(source.shape) != 2 or not plain or module.weight.nbytes > MOST_LINEAR or 0 in module.weight.shape:
        return None
    samples, channels = source.shape
    kind = str(source.dtype).removeprefix("torch.")
    options = LAYERS.options("forward", 1, "implicit-gemm", _LINEAR)
    weight, bias = shared(module.weight), None if module.bias is None else shared(module.bias)
    try:
        call = LAYERS.layer("forward", (1, channels, samples), (*module.weight.shape, 1), kind, kind, options)
        made = _made(call, module.weight, weight[..., None], (bias is not None, "", ""), ready)
    except AccuracyError:  # too small for it
        return None
    return Link(x, None, None, lambda read, add, to: LinearStep(call, made, bias, read, to))


_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def _passes(node: Node, module: nn.Module | None, source: Told, out: Told) -> bool:
    """Whether a node gives what it is given, or drops axes behind the channels that are one long."""
    if module is not None and type(module) in (*_DROPOUTS, nn.Identity):
        return type(module) is nn.Identity or not module.training
    named = node.op == "call_method" and node.target == "flatten"
    flat = named or type(module) is nn.Flatten or (node.op == "call_function" and node.target is torch.flatten)
    return flat and len(source.shape) > 2 and tuple(out.shape) == source.shape[:2] and source.shape[2:].numel() == 1
