"""The suites of layers: the tables hold the networks they name, and the means are taken over the right layers."""

from __future__ import annotations

import math

import pytest
import torch

from convkit.catalogue import texts
from convkit.cli.bench import report, suites
from convkit.cli.bench.classes import behind, of_peak, standings
from convkit.cli.bench.layer_tables import NETWORKS, SHORT
from convkit.cli.bench.measurement import Outcome, Timing
from convkit.cli.bench.problems import Problem

WEIGHTS = {
    "AlexNet": 2_332_704,
    "VGG-16": 14_710_464,
    "ResNet-18": 11_166_912,
    "ResNet-50": 23_454_912,
    "MobileNetV2": 2_189_760,
    "EfficientNet-B0": 3_956_192,
}
"""Weights of the convolutions, biases not counted: what the published models hold."""


@pytest.mark.parametrize("network", WEIGHTS)
def test_the_tables_are_the_networks(network: str) -> None:
    weights = sum(
        layer.count * layer.channels // layer.groups * layer.outputs * layer.kernel**layer.rank
        for layer in NETWORKS[network]
    )
    assert weights == WEIGHTS[network]


@pytest.mark.parametrize("network", NETWORKS)
def test_layers_have_names_of_their_own(network: str) -> None:
    rows = NETWORKS[network]
    assert len({layer.name for layer in rows}) == len(rows)
    assert set(SHORT[network]) <= {layer.name for layer in rows}


def test_the_suites_hold_every_direction_and_both_batches() -> None:
    full, short = suites(["layers-full"]), suites(["layers"])
    assert {problem.direction for problem in full} == {"forward", "input-gradient", "weight-gradient"}
    assert {problem.shape[0] for problem in full} == {1, 8}
    assert {problem.dtype for problem in full} == {"float32", "float64"}
    assert {problem.form for problem in short} == {"conv", "transposed"}
    known = {(problem.name, problem.direction) for problem in full}
    assert {(problem.name, problem.direction) for problem in short} <= known
    assert 0.2 < len(short) / len(full) < 0.4
    first = next(problem for problem in full if problem.kernel == (64, 3, 7, 7))
    assert first.source == "ResNet-18, ResNet-50"


def outcome(problem: Problem, **seconds: float) -> Outcome:
    libraries = {
        "ours": ("convkit", "convkit"),
        "ours_last": ("convkit", "convkit channels last"),
        "first": ("torch", "torch channels first conv2d"),
        "last": ("torch", "torch channels last conv2d"),
        "ov": ("OpenVINO", "OpenVINO"),
    }
    timings = tuple(Timing(*libraries[name], value, value, value, 1, 0.0) for name, value in seconds.items())
    return Outcome(timings, {}, problem, 1.0)


def layer(direction: str, **other: object) -> Problem:
    settings = {"shape": (1, 64, 8, 8), "kernel": (64, 64, 3, 3), "padding": 1} | other
    return Problem("tiny", "layer", direction=direction, **settings)  # type: ignore[arg-type]


def test_means_are_taken_over_the_layers_of_their_class() -> None:
    outcomes = [
        outcome(layer("forward"), ours=1.0, ours_last=2.0, first=8.0, last=3.0, ov=2.0),
        outcome(layer("input-gradient"), ours=1.0, ours_last=1.0, first=2.0, last=3.0),
        outcome(layer("weight-gradient"), ours=2.0, ours_last=3.0, first=6.0, last=10.0),
        outcome(layer("forward", padding=0), ours=4.0, first=2.0, last=3.0, ov=5.0),
        outcome(layer("forward", kernel=(64, 1, 3, 3), groups=64), ours=1.0, first=9.0, last=6.0, ov=3.0),
        outcome(layer("forward", dtype="float64"), ours=1.0, first=5.0, last=4.0),
    ]
    found = {one.name: one for one in standings(outcomes)}
    assert found.keys() == {
        "dense-forward", "winograd-forward", "channels-first-forward", "grouped-forward", "training",
        "training-channels-first", "float64",
    }  # fmt: skip
    assert found["dense-forward"].mean == pytest.approx(math.sqrt(2.0 * 0.5))
    assert (found["dense-forward"].worst, found["dense-forward"].behind, found["dense-forward"].count) == (0.5, 1, 2)
    assert found["channels-first-forward"].mean == pytest.approx((8.0 * 0.5 * 9.0) ** (1 / 3))
    assert found["grouped-forward"].mean == pytest.approx(3.0)
    # One layout throughout: torch's sums are 16 and 16, ours 4 and 6.
    assert found["training"].mean == pytest.approx(16 / 4)
    assert found["training-channels-first"].mean == pytest.approx(16 / 4)
    assert found["float64"].mean == pytest.approx(4.0)
    (slow,) = behind(outcomes)
    assert (slow.ratio, slow.name) == (0.5, outcomes[3].problem.name)
    parts = of_peak(outcomes, peak=outcomes[0].problem.flops)
    assert parts["weight-gradient"] == pytest.approx(0.5)
    assert parts["forward"] == pytest.approx(math.sqrt(1.0 * outcomes[3].problem.flops / 4 / outcomes[0].problem.flops))
    assert report.classes_table(outcomes).row_count == len(found)
    assert len(report.layers_behind(outcomes, 1e9)) == len(parts) + 1


def test_the_table_of_published_sizes_is_torchs() -> None:
    """The largest class of layers, once through torch: sizes and weights make the output that is announced."""
    for problem in suites(["layers-full"]):
        if problem.direction != "forward" or problem.shape[0] != 1 or problem.dtype != "float32":
            continue
        x, k = torch.empty(problem.shape, device="meta"), torch.empty(problem.kernel, device="meta")
        turned = "_transpose" if problem.form == "transposed" else ""
        y = getattr(torch.nn.functional, f"conv{turned}{len(problem.taps)}d")(x, k, **problem.options)
        assert tuple(y.shape) == problem.output


def test_every_class_and_direction_has_its_words() -> None:
    for name in ("en", "zh"):
        keys = texts(name)
        assert {"bench.peak", "bench.behind", "bench.classes.title"} <= set(keys)
        for direction in ("forward", "input-gradient", "weight-gradient"):
            assert f"bench.direction.{direction}" in keys
