"""Torch modules on convkit's operator, and the training and evaluation of small networks.

The names load torch when they are first used; without torch they raise ``missing.torch``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from convkit.errors import MissingExtraError

if TYPE_CHECKING:
    from convkit.nn import zoo
    from convkit.nn.acceleration import Acceleration, accelerate
    from convkit.nn.evaluation import Evaluation, evaluate
    from convkit.nn.layers import (
        Conv1d,
        Conv2d,
        Conv3d,
        ConvNd,
        ConvTranspose1d,
        ConvTranspose2d,
        ConvTranspose3d,
    )
    from convkit.nn.networks import digit_network
    from convkit.nn.normalisation import BatchNorm1d, BatchNorm2d, BatchNorm3d
    from convkit.nn.pools import MaxPool1d, MaxPool2d, MaxPool3d
    from convkit.nn.reading import Reading, read_digits
    from convkit.nn.segments import SHAPES, Segmentation, learn_segments
    from convkit.nn.starts import Start, compare_starts
    from convkit.nn.training import shifted, train

_HOMES = {
    "Acceleration": "acceleration",
    "BatchNorm1d": "normalisation",
    "BatchNorm2d": "normalisation",
    "BatchNorm3d": "normalisation",
    "Conv1d": "layers",
    "Conv2d": "layers",
    "Conv3d": "layers",
    "ConvNd": "layers",
    "ConvTranspose1d": "layers",
    "ConvTranspose2d": "layers",
    "ConvTranspose3d": "layers",
    "Evaluation": "evaluation",
    "MaxPool1d": "pools",
    "MaxPool2d": "pools",
    "MaxPool3d": "pools",
    "Reading": "reading",
    "accelerate": "acceleration",
    "SHAPES": "segments",
    "Segmentation": "segments",
    "Start": "starts",
    "compare_starts": "starts",
    "digit_network": "networks",
    "evaluate": "evaluation",
    "learn_segments": "segments",
    "read_digits": "reading",
    "shifted": "training",
    "train": "training",
}
__all__ = [
    "SHAPES",
    "Acceleration",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvNd",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Evaluation",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Reading",
    "Segmentation",
    "Start",
    "accelerate",
    "compare_starts",
    "digit_network",
    "evaluate",
    "learn_segments",
    "read_digits",
    "shifted",
    "train",
    "zoo",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("torch") from error
    if name == "zoo":
        return import_module(f"{__name__}.zoo")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
