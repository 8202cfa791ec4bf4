"""Known networks, each a page of code, built for the pictures at hand.

`build` makes one by name; `MODELS` lists them with their sources and parameter counts; `save` and `load` keep weights
in safetensors files; `exported` and `write_onnx` hand a network to other programs.
"""

from __future__ import annotations

from importlib import import_module

from convkit.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtraError("torch") from error

from convkit.nn.zoo.exporting import exported, plain_torch, write_onnx
from convkit.nn.zoo.initialisation import initialise
from convkit.nn.zoo.registry import MODELS, Configuration, Model, build, configuration, find, parameters
from convkit.nn.zoo.weights import load, load_weights, save

# The order of the list; each file registers its networks when it is imported.
for _file in (
    "perceptron", "mlp", "lenet5", "small_cnn", "alexnet", "vgg16", "resnet", "mobilenet_v2", "fcn", "unet",
):  # fmt: skip
    import_module(f"{__name__}.{_file}")

__all__ = [
    "MODELS",
    "Configuration",
    "Model",
    "build",
    "configuration",
    "exported",
    "find",
    "initialise",
    "load",
    "load_weights",
    "parameters",
    "plain_torch",
    "save",
    "write_onnx",
]
