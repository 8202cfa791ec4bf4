"""torch's optimisers and schedules, by name; their state as tensors and plain data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

from convkit.nn.runs.recipe import Recipe

_RATES = {"adamw": (4e-3, 1e-3), "adam": (4e-3, 1e-3), "sgd": (0.1, 0.02)}


def usual_rate(network: nn.Module, optimiser: str) -> float:
    """A learning rate to begin with: networks with batch norm bear a larger one than those without."""
    normed = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())
    return _RATES[optimiser][0 if normed else 1]


def optimiser_for(network: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser; biases and norms, which scale nothing, do not decay.

    Torch's loop over all numbers at once takes a third of the time of the one over tensors, for AdamW.
    """
    learned = [weights for weights in network.parameters() if weights.requires_grad]
    groups = [
        {"params": [weights for weights in learned if weights.ndim > 1], "weight_decay": recipe.decay},
        {"params": [weights for weights in learned if weights.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimiser == "sgd":
        return SGD(groups, lr=recipe.rate, momentum=0.9, nesterov=True, fused=True)
    return (AdamW if recipe.optimiser == "adamw" else Adam)(groups, lr=recipe.rate, fused=True)


def schedule_for(optimiser: Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    """The recipe's schedule over ``steps`` steps."""
    if recipe.schedule == "one-cycle":
        # OneCycleLR divides by the last step of its first phase, which a cycle of one or two steps does not have.
        return OneCycleLR(optimiser, recipe.rate, total_steps=max(steps, 5), pct_start=0.25, div_factor=10)
    if recipe.schedule == "cosine":
        return CosineAnnealingLR(optimiser, T_max=steps)
    return ConstantLR(optimiser, factor=1.0, total_iters=0)


def taken_apart(optimiser: Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimiser's state as named tensors and as groups of plain numbers."""
    state = optimiser.state_dict()
    tensors = {
        f"{place}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for place, values in state["state"].items()
        for name, value in values.items()
        if value is not None
    }
    return tensors, state["param_groups"]


def put_together(optimiser: Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
    """Give an optimiser the state that `taken_apart` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, _, name = key.partition(".")
        state.setdefault(int(place), {})[name] = value
    # JSON has no tuples: Adam's betas come back as a list.
    whole = [{name: tuple(v) if name == "betas" else v for name, v in group.items()} for group in groups]
    optimiser.load_state_dict({"state": state, "param_groups": whole})
    # Fused optimisers go through memory: what belongs to a weight lies as it does.
    for weights, values in optimiser.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == weights.shape and value.stride() != weights.stride():
                values[name] = torch.empty_like(weights).copy_(value)
