"""What torch calls the operations that `accelerate` knows: as modules, as functions, as methods."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from convkit.nn.normalisation import TORCH_NORMS

ACTIVATION_MODULES: dict[type, str] = {
    nn.ReLU: "relu", nn.ReLU6: "relu6", nn.SiLU: "silu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh",
    nn.Hardswish: "hardswish", nn.Hardsigmoid: "hardsigmoid", nn.GELU: "gelu",
}  # fmt: skip
ACTIVATION_FUNCTIONS: dict[Callable[..., Any], str] = {
    torch.relu: "relu", torch.relu_: "relu", functional.relu: "relu", functional.relu6: "relu6",
    functional.silu: "silu", torch.sigmoid: "sigmoid", functional.sigmoid: "sigmoid", torch.tanh: "tanh",
    functional.tanh: "tanh", functional.hardswish: "hardswish", functional.hardsigmoid: "hardsigmoid",
    functional.gelu: "gelu",
}  # fmt: skip
ACTIVATION_METHODS: dict[str, str] = {
    "relu": "relu", "relu_": "relu", "sigmoid": "sigmoid", "sigmoid_": "sigmoid", "tanh": "tanh", "tanh_": "tanh",
}  # fmt: skip

ADDING_FUNCTIONS: tuple[Callable[..., Any], ...] = (operator.add, operator.iadd, torch.add)
ADDING_METHODS: tuple[str, ...] = ("add", "add_")

NORMS: tuple[type, ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, *TORCH_NORMS.values())
"""Batch norms whose statistics can be folded into the layer before."""
