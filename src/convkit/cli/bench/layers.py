"""The suites of layers: every distinct one of the networks, in both batches, with its gradients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from convkit.cli.bench.layer_tables import NETWORKS, SHORT, Layer
from convkit.cli.bench.problems import Direction, Problem

DIRECTIONS: tuple[Direction, ...] = ("forward", "input-gradient", "weight-gradient")

SHORT_WORK = 4e9
"""Operations up to which the short suite measures a layer in a batch of 8 as well, and in float64."""

DOUBLES = (
    ("ResNet-18", "layer1"),
    ("ResNet-50", "layer1 expand"),
    ("MobileNetV2", "2 depthwise"),
    ("AlexNet", "conv2"),
)
"""Layers that are measured in float64 too."""


def layers() -> list[Problem]:
    """About a third of the layers, those of a batch of 8 where they do not take long: minutes."""
    chosen = {network: [layer for layer in rows if layer.name in SHORT[network]] for network, rows in NETWORKS.items()}
    return [
        problem
        for problem in _problems("layers", chosen)
        if problem.shape[0] == 1 or problem.flops <= SHORT_WORK
    ]  # fmt: skip


def layers_full() -> list[Problem]:
    """All of them."""
    return _problems("layers-full", NETWORKS)


def _problems(suite: str, networks: dict[str, list[Layer]]) -> list[Problem]:
    sources: dict[Problem, list[str]] = {}
    for network, rows in networks.items():
        for layer in rows:
            for batch in (1, 8):
                sources.setdefault(_problem(suite, layer, batch, "float32"), []).append(network)
    for network, name in DOUBLES:
        for layer in networks[network]:
            if layer.name == name:
                sources.setdefault(_problem(suite, layer, 1, "float64"), []).append(network)
    return [
        _turned(problem, direction, found) for problem, found in sources.items() for direction in DIRECTIONS
    ]  # fmt: skip


def _turned(problem: Problem, direction: Direction, networks: Iterable[str]) -> Problem:
    return replace(problem, direction=direction, source=", ".join(dict.fromkeys(networks)))


def _problem(suite: str, layer: Layer, batch: int, dtype: str) -> Problem:
    into = layer.channels // layer.groups, layer.outputs // layer.groups
    weights = (layer.outputs, into[0]) if layer.form == "conv" else (layer.channels, into[1])
    return Problem(
        suite, "layer", (batch, layer.channels, *[layer.size] * layer.rank), (*weights, *[layer.kernel] * layer.rank),
        dtype, layer.stride, layer.padding, layer.groups, dilation=layer.dilation, form=layer.form,
    )  # fmt: skip
