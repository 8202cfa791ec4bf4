"""A model that is to be trained: its own modules and code, with norms that take over what follows them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx import Node
from torch.nn.modules import module as every_module

from convkit.catalogue import say
from convkit.data.content import first_line
from convkit.nn.acceleration.findings import Acceleration, LayerFinding
from convkit.nn.acceleration.functional import replace_functions
from convkit.nn.acceleration.fusing import Tracer, between, sole_user, taken_activation, writes
from convkit.nn.acceleration.swapping import swap, swap_norms, swap_pools
from convkit.nn.acceleration.words import ADDING_FUNCTIONS, ADDING_METHODS
from convkit.nn.layers import Conv2d
from convkit.nn.normalisation import ACTIVATIONS, NORMS


def learn(model: nn.Module, acceleration: Acceleration) -> None:
    """Change a model so that it trains faster; its parameters stay the same tensors, under the same names."""
    swapped = swap(model)
    functions = replace_functions(model)
    found: dict[str, tuple[str, ...]] = dict.fromkeys(swapped, ())
    found |= dict.fromkeys((name or "forward" for name in functions), ())
    swap_norms(model)
    pools = swap_pools(model)
    norms = {name: child for name, child in model.named_modules() if type(child) in NORMS}
    if any(isinstance(layer, Conv2d) for layer in model.modules()):
        acceleration.notes.append(say("nn.acceleration.channels-last"))
        layout = "channels last"
    else:
        layout = "as it comes"
    fused = None
    if norms and not functions:
        try:
            fused = _Fused(model, norms)
        except Exception as reason:  # the tracer runs the model's own code, which may raise anything
            acceleration.notes.append(say("nn.acceleration.not-joined", reason=first_line(reason)))
    found |= dict.fromkeys((*norms, *pools), ())
    if fused is not None:
        found |= fused.folded
    acceleration.layers = [LayerFinding(name, folded) for name, folded in found.items()]
    if fused is not None or layout == "channels last":
        model._learning = _Way(fused, layout)  # type: ignore[assignment]
        model.forward = partial(_forward, model)  # a method that its class does not have could not be pickled


def _forward(self: nn.Module, *arguments: Any, **named: Any) -> Any:
    """In place of a model's own ``forward``."""
    way: _Way = self._learning  # type: ignore[assignment]
    return way.run(self, arguments, named)


class _Way:
    """How a model is run that was changed: by which steps, and in which layout."""

    def __init__(self, fused: _Fused | None, layout: str) -> None:
        self.fused, self.layout = fused, layout

    def run(self, model: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The model's results."""
        if torch.compiler.is_compiling():
            return type(model).forward(model, *arguments, **named)
        if self.layout == "channels last":
            arguments = tuple([_channels_last(one) for one in arguments])
            named = {name: _channels_last(one) for name, one in named.items()}
        if self.fused is not None and self.fused.holds():
            return self.fused(model, *arguments, **named)
        return type(model).forward(model, *arguments, **named)


def _channels_last(value: Any) -> Any:
    """Pictures with their channels side by side."""
    if type(value) is not Tensor or value.ndim != 4:
        return value
    if value.shape[1] == 1 and value.is_contiguous():  # as it lies, but said so
        rows, columns = value.shape[2:]
        return value.as_strided(value.shape, (rows * columns, 1, columns, 1))
    return value.contiguous(memory_format=torch.channels_last)


class _Fused:
    """A model's steps while it learns, with what norms took over; the modules are the model's own.

    Raises
    ------
    Exception
        Whatever torch's tracer raises where the model's code depends on values.
    """

    def __init__(self, model: nn.Module, norms: dict[str, nn.Module]) -> None:
        tracer = Tracer()
        before = {module: module.training for module in model.modules()}
        model.train()
        try:
            graph = tracer.steps(model)
        finally:
            for module, training in before.items():
                module.training = training
        modules = dict(model.named_modules())
        gone: list[str] = []
        self.folded: dict[str, tuple[str, ...]] = {}
        for node in list(graph.nodes):
            if node.op == "call_module" and node.target in norms and len(node.args) == 1 and not node.kwargs:
                taken = _take_over(graph, modules, node)
                words, steps = taken
                gone += [str(step.target) for step in steps if step.op == "call_module"]
                if words:
                    self.folded[str(node.target)] = words
        graph.lint()
        run_through = [
            name for name, module in modules.items() if name == "" or not tracer.is_leaf_module(module, name)
        ]
        code = graph.python_code("self")
        self._source, self._names = code.src, dict(code.globals)
        self._function: Callable[..., Any] | None = None
        # What the graph was made from: whose code was run through, whose calls are gone or changed.
        self._run_through = [modules[name] for name in run_through]
        self._places = [_place(model, name) for name in dict.fromkeys([*gone, *self.folded])]

    def holds(self) -> bool:
        """Whether the steps still are the model's: it learns, nobody waits to be called where nothing is called."""
        if every_module._global_forward_hooks or every_module._global_forward_pre_hooks:
            return False
        for module in self._run_through:
            if not module.training or (_hooked(module) and module is not self._run_through[0]):
                return False
        return all(held.get(key) is module and not _hooked(module) for held, key, module in self._places)

    def __call__(self, model: nn.Module, *arguments: Any, **named: Any) -> Any:
        """Run them."""
        function = self._function
        if function is None:
            names: dict[str, Any] = dict(self._names)
            exec(compile(self._source, "<convkit's steps of a model>", "exec"), names)
            self._function = function = names["forward"]
            assert function is not None
        return function(model, *arguments, **named)

    def __getstate__(self) -> dict[str, Any]:
        # Python's modules are kept by their names.
        names = {
            name: _Imported(one.__name__) if isinstance(one, ModuleType) else one for name, one in self._names.items()
        }
        return {**self.__dict__, "_function": None, "_names": names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._names = {
            name: import_module(one.name) if isinstance(one, _Imported) else one for name, one in self._names.items()
        }


class _Imported(NamedTuple):
    """A module of Python's, by its name."""

    name: str


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _place(model: nn.Module, name: str) -> tuple[dict[str, Any], str, nn.Module]:
    """Where a module stands, by which key, and the module."""
    parent, _, key = name.rpartition(".")
    held = model.get_submodule(parent)._modules
    found = held[key]
    assert found is not None
    return held, key, found


def _take_over(graph: fx.Graph, modules: dict[str, nn.Module], norm: Node) -> tuple[tuple[str, ...], list[Node]]:
    """Have a norm do what follows it; returns what, and the steps that are gone."""
    steps, words = [norm], list[str]()
    addition = _addition(graph, modules, norm)
    other: Any = None
    if addition is not None:
        other = addition.args[1] if addition.args[0] is norm else addition.args[0]
        steps.append(addition)
        words.append("add")
    user = sole_user(steps[-1])
    word = None if user is None else taken_activation(modules, user)
    if user is not None and word in ACTIVATIONS:
        steps.append(user)
        words.append(word)
    if not words:
        return (), []
    given = norm.args if other is None else (*norm.args, other)
    with graph.inserting_before(norm if addition is None else addition):
        joined = graph.call_module(
            str(norm.target), given, {"activation": words[-1]} if words[-1] in ACTIVATIONS else {}
        )  # fmt: skip
    steps[-1].replace_all_uses_with(joined)
    for step in reversed(steps):
        graph.erase_node(step)
    return tuple(words), steps[1:]


def _addition(graph: fx.Graph, modules: dict[str, nn.Module], norm: Node) -> Node | None:
    """The addition that follows a norm, if the norm may wait for it: nothing between may change what it reads."""
    user = sole_user(norm)
    if user is None or user.kwargs or len(user.args) != 2 or not all(isinstance(one, Node) for one in user.args):
        return None
    function = user.op == "call_function" and user.target in ADDING_FUNCTIONS
    if not (function or (user.op == "call_method" and user.target in ADDING_METHODS)):
        return None
    first, second = user.args
    # In place, the sum would be written to the other array.
    other_written = first is not norm and writes(modules, user)
    if first is second or other_written or any(writes(modules, step) for step in between(graph, norm, user)):
        return None
    return user
