"""Modules put in the place of others, the model's code left as it is: for training, and where nothing can be traced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from convkit.nn.acceleration.words import ACTIVATION_MODULES, NORMS
from convkit.nn.layers import Layer, same_layer
from convkit.nn.normalisation import same_norm
from convkit.nn.pools import same_pool


def swap(model: nn.Module) -> list[str]:
    """Put convkit's layers in the place of torch's, on the same parameters; returns their names."""
    return _swapped(model, same_layer)


def swap_norms(model: nn.Module) -> list[str]:
    """The same with batch norms."""
    return _swapped(model, same_norm)


def swap_pools(model: nn.Module) -> list[str]:
    """The same with max poolings."""
    return _swapped(model, same_pool)


def _swapped(model: nn.Module, same: Callable[[nn.Module], nn.Module | None]) -> list[str]:
    swapped: dict[int, nn.Module] = {}
    names: list[str] = []
    for name, parent, key, child in list(_places(model)):
        ours = swapped.get(id(child)) or same(child)
        if ours is not None:
            swapped[id(child)] = ours  # a module that stands at two places goes on doing so
            parent._modules[key] = ours
            names.append(name)
    return names


def fold_sequences(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Fold batch norms and activations that follow a layer in an `nn.Sequential`; returns what, by layer.

    Only there the order in which modules are called is known.
    """
    count = Counter(id(child) for _, _, _, child in _places(model))
    folded: dict[str, tuple[str, ...]] = {}
    for name, parent, key, child in list(_places(model)):
        if type(parent) is not nn.Sequential or not isinstance(child, Layer) or count[id(child)] > 1:
            continue
        keys = list(parent._modules)
        after = iter(keys[keys.index(key) + 1 :])
        following = next(after, None)
        if following is not None and can_fold(child, parent._modules[following]):
            child = folded_norm(child, parent._modules[following])
            parent._modules[key], parent._modules[following] = child, nn.Identity()
            folded[name] = ("batch norm",)
            following = next(after, None)
        word = None if following is None else ACTIVATION_MODULES.get(type(parent._modules[following]))
        if following is not None and word is not None and child.activation is None:
            child.activation = word
            parent._modules[following] = nn.Identity()
            folded[name] = (*folded.get(name, ()), word)
    return folded


def can_fold(layer: Layer, norm: Any) -> bool:
    """Whether a module is a batch norm with statistics of its own, which can be folded into the layer before it."""
    if type(norm) not in NORMS or norm.running_mean is None or norm.training:
        return False
    same = norm.num_features == layer.out_channels
    return same and layer.activation is None and not (layer.transposed and layer.groups > 1)


def folded_norm(layer: Layer, norm: nn.Module) -> Layer:
    """The layer with the batch norm in its weights."""
    return fuse_conv_bn_eval(layer.eval(), norm, transpose=layer.transposed)  # type: ignore[arg-type, return-value]


def _places(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Module]]:
    """Every place where a module stands: its name, who holds it, by which key, and the module."""
    for prefix, parent in model.named_modules():
        for key, child in parent._modules.items():
            if child is not None:
                yield f"{prefix}.{key}" if prefix else key, parent, key, child
