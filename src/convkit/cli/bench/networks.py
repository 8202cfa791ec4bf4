"""Whole networks as problems: which model, how many pictures, used or trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.cli.bench.layer_tables import NETWORKS

Use = Literal["inference", "training"]

MODELS = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "mobilenet_v2": "MobileNetV2", "vgg16": "VGG-16"}
"""The zoo's names of the networks, and those that the tables of layers have."""

BATCHES: dict[Use, tuple[int, ...]] = {"inference": (1, 8), "training": (8, 32)}

CLASSES = 1000


@dataclass(frozen=True, slots=True)
class Network:
    """One network at work.

    Attributes
    ----------
    model : str
        Its name in the zoo.
    batch : int
        Pictures at once.
    use : {"inference", "training"}
        One prediction, or one step: forward, backward, and the optimiser.
    size : int
        Side of a picture.
    """

    model: str
    batch: int
    use: Use
    size: int = 224

    @property
    def name(self) -> str:
        """A short name."""
        return f"{MODELS[self.model]} {self.use} {self.batch}x3x{self.size}x{self.size}"

    @property
    def flops(self) -> float:
        """Additions and multiplications of its convolutions, by the tables, for pictures of 224 x 224."""
        work = 0.0
        for layer in NETWORKS[MODELS[self.model]]:
            side = (layer.size + 2 * layer.padding - layer.kernel) // layer.stride + 1
            work += 2.0 * layer.count * layer.channels // layer.groups * layer.outputs * (layer.kernel * side) ** 2
        return work * self.batch * (3 if self.use == "training" else 1) * (self.size / 224) ** 2


def networks() -> list[Network]:
    """All of them."""
    return [Network(model, batch, use) for use, batches in BATCHES.items() for model in MODELS for batch in batches]
