"""Torch models made to run on convkit's layers: `accelerate`, and what it found."""

from convkit.nn.acceleration.accelerated import accelerate, twin
from convkit.nn.acceleration.findings import Acceleration, Check, LayerFinding

__all__ = ["Acceleration", "Check", "LayerFinding", "accelerate", "twin"]
