"""A traced model rewritten: every convolution with what follows it as one layer."""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from torch import Tensor, fx, nn
from torch.fx import Node
from torch.fx.proxy import TraceError
from torch.nn.utils.fusion import fuse_conv_bn_weights

from convkit.nn.acceleration import functional
from convkit.nn.acceleration.joined import Joined
from convkit.nn.acceleration.recorded import Accelerated
from convkit.nn.acceleration.swapping import can_fold, folded_norm
from convkit.nn.acceleration.words import (
    ACTIVATION_FUNCTIONS,
    ACTIVATION_METHODS,
    ACTIVATION_MODULES,
    ADDING_FUNCTIONS,
    ADDING_METHODS,
)
from convkit.nn.layers import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Layer,
    same_layer,
)
from convkit.nn.normalisation import NORMS
from convkit.nn.pools import POOLS

_WHOLE = NORMS | POOLS
_FORWARD = {1: Conv1d, 2: Conv2d, 3: Conv3d}
_TRANSPOSED = {1: ConvTranspose1d, 2: ConvTranspose2d, 3: ConvTranspose3d}


class Tracer(fx.Tracer):
    """Torch's tracer; convkit's layers are whole to it."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step of the graph."""
        return isinstance(m, Layer) or type(m) in _WHOLE or super().is_leaf_module(m, module_qualified_name)

    def steps(self, model: nn.Module) -> fx.Graph:
        """The model's graph, if it says all that the model does.

        ``if mask is None`` can be traced, but only one of its branches would be in the graph. A buffer that the model's
        code writes to would be written once, while it is traced.

        Raises
        ------
        Exception
            Whatever torch's tracer raises where the model's code depends on values.
        """
        buffers = [(name, one, one._version, one.detach().clone()) for name, one in model.named_buffers()]
        try:
            graph = self.trace(model)
        finally:
            written = [name for name, one, version, before in buffers if _put_back(model, name, one, version, before)]
        if written:
            raise TraceError(f"{', '.join(written)} changes while the model runs")
        maybe = [name for name, one in signature(model.forward).parameters.items() if one.default is None]
        if maybe and _done(graph) != _done(type(self)().trace(model, dict.fromkeys(maybe))):
            raise TraceError(f"what is done depends on whether {', '.join(maybe)} is given")
        return graph


def _put_back(model: nn.Module, name: str, buffer: Tensor, version: int, before: Tensor) -> bool:
    """Undo what tracing did to a buffer; whether there was anything to undo."""
    parent, _, key = name.rpartition(".")
    held = model.get_submodule(parent)._buffers
    if held[key] is buffer and buffer._version == version:
        return False
    held[key] = buffer
    buffer.detach().copy_(before)
    return True


def _done(graph: fx.Graph) -> list[tuple[str, str]]:
    """What a graph does, but for its arguments and what torch asks of them."""
    made = [(node.op, str(node.target)) for node in graph.nodes if node.op != "placeholder"]
    return [(op, target) for op, target in made if "_assert" not in target]


@dataclass
class Chain:
    """A layer, and the steps after it that it takes over.

    Attributes
    ----------
    node : Node
        The convolution.
    layer : Layer
        The layer with what was folded so far; the model's own modules are not touched.
    steps : list of Node
        The convolution and the steps taken over.
    folded : list of str
        What was taken over.
    other, addition : Node, optional
        The other array of an addition, and the addition.
    """

    node: Node
    layer: Layer
    steps: list[Node]
    folded: list[str] = field(default_factory=list[str])
    other: Node | None = None
    addition: Node | None = None

    @property
    def x(self) -> Any:
        """The layer's input."""
        return self.node.args[0] if self.node.args else self.node.kwargs["input"]

    @property
    def sole_user(self) -> Node | None:
        """The next step, if nobody else sees what comes out."""
        return sole_user(self.last)

    @property
    def last(self) -> Node:
        """The last step taken over."""
        return self.steps[-1]

    def take(self, step: Node, word: str) -> None:
        """Take over one more step."""
        self.steps.append(step)
        self.folded.append(word)


def sole_user(node: Node) -> Node | None:
    """The next step, if nobody else sees what comes out of this one."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def traced(model: nn.Module) -> fx.GraphModule:
    """The model's graph.

    Raises
    ------
    Exception
        Whatever torch's tracer raises where the model's code depends on values.
    """
    hooked = [name for name, module in model.named_modules() if _hooked(module) and next(module.children(), None)]
    if hooked:
        raise TraceError(f"hooks of {', '.join(hooked) or 'the model'}")
    return Accelerated(model, Tracer().steps(model), type(model).__name__)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def fuse(graph_module: fx.GraphModule) -> dict[str, tuple[str, ...]]:
    """Rewrite the graph in place; returns what each layer took over."""
    graph = graph_module.graph
    found: dict[str, tuple[str, ...]] = {}
    modules: dict[str, nn.Module] = dict(graph_module.named_modules())
    for node in list(graph.nodes):
        layer = _layer(graph_module, modules, node)
        if layer is None:
            if node.op == "call_function" and node.target in functional.FUNCTIONS:
                node.target = functional.FUNCTIONS[node.target]  # weights that are computed
            continue
        chain = Chain(node, layer, [node])
        _take_norm(graph_module, modules, chain)
        _take_add(graph, modules, chain)
        _take_activation(modules, chain)
        name, modules[name] = _place(graph_module, chain)  # an addition may stand after steps still to be seen
        found[name] = tuple(chain.folded)
    for node in reversed(list(graph.nodes)):
        if node.op == "get_attr" and not node.users:
            graph.erase_node(node)
    graph.lint()
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()
    return found


def _layer(root: fx.GraphModule, modules: dict[str, nn.Module], node: Node) -> Layer | None:
    """A layer of its own for a node that convolves with constant weights."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        if len(node.args) != 1 or node.kwargs:  # an output size
            return None
        return copy.deepcopy(module) if isinstance(module, Layer) else same_layer(module)
    if node.op != "call_function" or node.target not in functional.FUNCTIONS:
        return None
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    transposed = functional.FUNCTIONS[node.target] is functional.conv_transpose
    if transposed:
        names = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    given: dict[str, Any] = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    tensors = {name: _constant(root, given.get(name)) for name in ("weight", "bias")}
    weight = tensors["weight"]
    options = {name: value for name, value in given.items() if name not in ("input", "weight", "bias")}
    if weight is None or (given.get("bias") is not None and tensors["bias"] is None) or _holds_nodes(options):
        return None
    rank, groups = weight.ndim - 2, int(options.get("groups", 1))
    channels = (weight.shape[0], weight.shape[1] * groups)
    kind = (_TRANSPOSED if transposed else _FORWARD).get(rank)
    if kind is None:
        return None
    made = kind(
        *(channels if transposed else channels[::-1]), tuple(weight.shape[2:]), **options,
        bias=tensors["bias"] is not None, device="meta",
    )  # fmt: skip
    made.weight = nn.Parameter(weight, False)
    if tensors["bias"] is not None:
        made.bias = nn.Parameter(tensors["bias"], False)
    return made.eval()


def _holds_nodes(value: Any) -> bool:
    found: list[Node] = []
    fx.map_arg(value, found.append)
    return bool(found)


def _constant(root: fx.GraphModule, node: Any) -> Tensor | None:
    """The tensor that a node stands for, if it is one of the model's own."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    found = operator.attrgetter(str(node.target))(root)
    return found.detach() if isinstance(found, Tensor) else None


def _take_norm(root: fx.GraphModule, modules: dict[str, nn.Module], chain: Chain) -> None:
    user = chain.sole_user
    if user is None:
        return
    if user.op == "call_module" and can_fold(chain.layer, modules[str(user.target)]):
        chain.layer = folded_norm(chain.layer, modules[str(user.target)])
    elif not _take_functional_norm(root, user, chain.layer):
        return
    chain.take(user, "batch norm")


def _take_functional_norm(root: fx.GraphModule, user: Node, layer: Layer) -> bool:
    if user.op != "call_function" or user.target is not nn.functional.batch_norm:
        return False
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = {"training": False, "eps": 1e-5, **dict(zip(names, user.args, strict=False)), **user.kwargs}
    mean, variance = (_constant(root, given.get(name)) for name in ("running_mean", "running_var"))
    weight, bias = (_constant(root, given.get(name)) for name in ("weight", "bias"))
    unknown = any(given.get(name) is not None and found is None for name, found in (("weight", weight), ("bias", bias)))
    grouped = layer.transposed and layer.groups > 1
    if mean is None or variance is None or unknown or given["training"] is not False or grouped:
        return False
    if layer.activation is not None:
        return False
    layer.weight, layer.bias = fuse_conv_bn_weights(  # type: ignore[assignment]
        layer.weight, layer.bias, mean, variance, given["eps"], weight, bias, transpose=layer.transposed
    )
    return True


def _take_add(graph: fx.Graph, modules: dict[str, nn.Module], chain: Chain) -> None:
    user = chain.sole_user
    if user is None or chain.layer.activation is not None or chain.layer.weight.is_complex():
        return
    function = user.op == "call_function" and user.target in ADDING_FUNCTIONS
    if not (function or (user.op == "call_method" and user.target in ADDING_METHODS)):
        return
    if len(user.args) != 2 or user.kwargs or not all(isinstance(one, Node) for one in user.args):
        return
    first, second = user.args
    other = second if first is chain.last else first
    in_place = user.target is operator.iadd or user.target == "add_"
    if first is second or (in_place and first is not chain.last and len(other.users) > 1):  # type: ignore[union-attr]
        return
    if any(writes(modules, node) for node in between(graph, chain.node, user)):
        return  # what is read would not be what it was
    chain.other, chain.addition = other, user  # type: ignore[assignment]
    chain.take(user, "add")


def between(graph: fx.Graph, first: Node, last: Node) -> list[Node]:
    """The steps after one and before another."""
    nodes = list(graph.nodes)
    return nodes[nodes.index(first) + 1 : nodes.index(last)]


def writes(modules: dict[str, nn.Module], node: Node) -> bool:
    """Whether a step may change an array in place."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if node.op not in ("call_method", "call_function"):
        return False
    return (
        bool(node.kwargs.get("inplace"))
        or name.endswith("_")
        or name in ("iadd", "imul", "isub", "itruediv", "setitem")
    )


def _take_activation(modules: dict[str, nn.Module], chain: Chain) -> None:
    user = chain.sole_user
    if user is None or chain.layer.activation is not None or chain.layer.weight.is_complex():
        return
    word = taken_activation(modules, user)
    if word is not None:
        chain.layer.activation = word
        chain.take(user, word)


def taken_activation(modules: dict[str, nn.Module], user: Node) -> str | None:
    """The activation that a step is, if it is nothing else."""
    word: str | None = None
    approximate = user.kwargs.get("approximate", "none")
    if user.op == "call_module":
        module = modules[str(user.target)]
        word = ACTIVATION_MODULES.get(type(module))
        approximate = getattr(module, "approximate", "none")
    elif user.op == "call_function":
        word = ACTIVATION_FUNCTIONS.get(user.target)  # type: ignore[arg-type]
    elif user.op == "call_method":
        word = ACTIVATION_METHODS.get(str(user.target))
    if any(isinstance(one, Node) for one in user.args[1:]):
        return None
    return "gelu_tanh" if word == "gelu" and approximate != "none" else word


def _place(root: fx.GraphModule, chain: Chain) -> tuple[str, nn.Module]:
    """Put the layer into the graph; returns its name, and what stands there."""
    graph, node = root.graph, chain.node
    name = str(node.target) if node.op == "call_module" else f"functional_{node.name}"
    used = sum(one.op == "call_module" and one.target == node.target for one in graph.nodes)
    if used > 1:
        name = f"{name}_{node.name}"
    layer, arguments, place = chain.layer.requires_grad_(False), (chain.x,), node
    module: nn.Module = layer
    if chain.other is not None and chain.addition is not None:
        # An addition waits for its other array; all else is done where the layer stood.
        arguments, place = (chain.x, chain.other), chain.addition
        activation, layer.activation = layer.activation, None
        module = Joined(layer, activation)
    root.add_submodule(name, module)
    with graph.inserting_before(place):
        fused = graph.call_module(name, arguments)
    chain.last.replace_all_uses_with(fused)
    for step in reversed(chain.steps):
        graph.erase_node(step)
    return name, module
