"""Whether the parts of a model are what they were when something was worked out from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import is_, itemgetter
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as every_module

from convkit.arrays.torch_changes import Unwritten

_get: Callable[[Any, Any], Any] = dict.get


class Unchanged:
    """Some modules of a model, as they are now.

    Asked before every run of a model, it looks at all of them in few loops that Python does not write itself.

    Parameters
    ----------
    root : Module
        The model.
    names : iterable of str
        Names of modules in it, whose places, kinds, plain attributes, parameters and hooks are looked at.
    """

    def __init__(self, root: nn.Module, names: Iterable[str]) -> None:
        links: dict[tuple[int, str], tuple[dict[str, Any], str, Any]] = {}
        self._options: list[tuple[dict[str, Any], Callable[[Any], Any], Any]] = []
        self._modules: list[nn.Module] = []
        self._hooks: list[Any] = []
        for name in dict.fromkeys(names):
            module: Any = root
            for key in name.split("."):
                held = module._modules
                module = held[key]
                links[id(held), key] = held, key, module
            for inner in module.modules():
                self._add(inner)
                for held in (inner._modules, inner._parameters):
                    links.update({(id(held), key): (held, key, one) for key, one in held.items()})
        self._held, self._keys, self._found = ([link[n] for link in links.values()] for n in range(3))
        self._types = [type(module) for module in self._modules]
        self._tensors: list[Tensor] = [
            tensor for module in self._modules for tensor in module._parameters.values() if tensor is not None
        ]
        self._unwritten = Unwritten(self._tensors)

    def _add(self, module: nn.Module) -> None:
        # Whether it is in training matters to no layer, but to what is done in training alone.
        plain = [name for name in vars(module) if name[0] != "_" and (name != "training" or not module._parameters)]
        if plain:
            options = itemgetter(*plain)
            self._options.append((vars(module), options, options(vars(module))))
        self._modules.append(module)
        self._hooks += [module._forward_hooks, module._forward_pre_hooks]

    def holds(self) -> bool:
        """Whether nothing was put elsewhere, given other options, or written to."""
        return (
            all(map(is_, map(_get, self._held, self._keys), self._found))
            and [type(module) for module in self._modules] == self._types
            and all(options(held) == before for held, options, before in self._options)
            and self._unwritten.holds(self._tensors)
        )

    def hooked(self) -> bool:
        """Whether somebody wants to see what a module is given, or gives."""
        return any(self._hooks) or bool(every_module._has_any_global_hook())

    def wants_gradients(self) -> bool:
        """Whether a parameter does."""
        return any(tensor.requires_grad for tensor in self._tensors)
