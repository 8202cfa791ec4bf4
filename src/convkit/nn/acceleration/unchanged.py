"""Whether the parts of a model are what they were when something was worked out from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as every_module

from convkit.arrays.torch_changes import Unwritten


class Unchanged:
    """Some modules of a model, as they are now.

    Parameters
    ----------
    root : Module
        The model.
    names : iterable of str
        Names of modules in it, whose places, kinds, plain attributes, parameters and hooks are looked at.
    """

    def __init__(self, root: nn.Module, names: Iterable[str]) -> None:
        self._links: dict[tuple[int, str], tuple[dict[str, Any], str, Any]] = {}
        self._modules: list[tuple[nn.Module, type, Callable[[Any], Any], Any]] = []
        self._tensors: list[tuple[Tensor, Unwritten]] = []
        for name in dict.fromkeys(names):
            module = root
            for key in name.split("."):
                module = self._link(module._modules, key)
            for inner in module.modules():
                self._add(inner)

    def _link(self, held: dict[str, Any], key: str) -> Any:
        found = held[key]
        self._links[id(held), key] = held, key, found
        return found

    def _add(self, module: nn.Module) -> None:
        for key in module._modules:
            self._link(module._modules, key)
        for key in module._parameters:
            tensor = self._link(module._parameters, key)
            if tensor is not None:
                self._tensors.append((tensor, Unwritten(tensor)))
        plain = [name for name in vars(module) if not name.startswith("_") and name != "training"]
        attributes = itemgetter(*plain)
        self._modules.append((module, type(module), attributes, attributes(vars(module))))

    def holds(self) -> bool:
        """Whether nothing was put elsewhere, given other options, or written to."""
        return (
            all(held.get(key) is found for held, key, found in self._links.values())
            and all(
                type(module) is kind and attributes(vars(module)) == before
                for module, kind, attributes, before in self._modules
            )
            and all(unwritten.holds(tensor) for tensor, unwritten in self._tensors)
        )

    def hooked(self) -> bool:
        """Whether somebody wants to see what a module is given, or gives."""
        return every_module._has_any_global_hook() or any(
            module._forward_hooks or module._forward_pre_hooks for module, *_ in self._modules
        )

    def wants_gradients(self) -> bool:
        """Whether a parameter does."""
        return any(tensor.requires_grad for tensor, _ in self._tensors)
