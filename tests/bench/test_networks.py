"""The suite of networks, on pictures of a few pixels: everybody agrees, a wrong result is refused, means are right."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from convkit.catalogue import texts
from convkit.cli import bench
from convkit.cli.bench import network_race
from convkit.cli.bench.measurement import Timing
from convkit.cli.bench.network_race import NetworkOutcome, judged, measure, summaries
from convkit.cli.bench.networks import MODELS, Network, networks
from convkit.cli.bench.peers import Contender
from convkit.cli.bench.ways import by_networks
from convkit.errors import AccuracyError, OptionError
from convkit.nn import zoo

SMALL = Network("resnet18", 2, "inference", 33)


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile takes a minute; that it is told to be absent is tested as well."""
    monkeypatch.setattr(by_networks.shutil, "which", lambda _: None)


@pytest.mark.usefixtures("without_compiler")
def test_everybody_predicts_the_same() -> None:
    (outcome,) = measure([SMALL], 1, 1, longest=0.0)
    names = [timing.name for timing in outcome.timings]
    assert names == [
        "convkit channels first", "convkit channels last", "torch channels first", "torch channels last",
        "ONNX Runtime", "OpenVINO",
    ]  # fmt: skip
    assert outcome.failures == {"torch.compile": "no C++ compiler"}
    assert all(timing.error <= 1e-4 for timing in outcome.timings)
    (result,) = json.loads(json.dumps(network_race.document([outcome])))["results"]
    assert result["best_peer"] in names
    assert set(result["ratios"]) == {"torch", "ONNX Runtime", "OpenVINO"}
    assert Network(**result["network"]) == SMALL


def test_everybody_trains_the_same() -> None:
    (outcome,) = measure([Network("mobilenet_v2", 3, "training", 64)], 1, 1, longest=0.0)
    assert {timing.library for timing in outcome.timings} == {"convkit", "torch"}
    assert len(outcome.timings) == 4
    assert outcome.ratio_to_channels_first is not None


def test_steps_leave_the_weights_what_they_are() -> None:
    ready = by_networks.Ready(Network("resnet18", 2, "training", 33))
    before = [p.detach().clone() for p in ready.model.parameters()]
    by_networks._step(ready, ready.model, ready.pictures)()
    assert all(torch.equal(a, b) for a, b in zip(before, ready.model.parameters(), strict=True))
    assert all(p.grad is not None for p in ready.model.parameters())


@pytest.mark.parametrize("use", ["inference", "training"])
def test_a_wrong_result_is_refused(use: str) -> None:
    network = Network("resnet18", 2, use, 33)  # type: ignore[arg-type]
    right = by_networks.Ready(network).right()
    entrant = Contender("torch", "torch wrong", lambda: None, lambda _: ())
    assert judged(network, entrant, (right,), right) == 0.0
    for wrong in (np.roll(right, 1, axis=-1), right[..., :-1], right * np.nan):
        with pytest.raises(AccuracyError) as caught:
            judged(network, entrant, (wrong,), right)
        assert caught.value.code == "accuracy.bench-wrong"


def test_the_suite_and_its_work() -> None:
    assert {network.model for network in networks()} == set(MODELS) <= set(zoo.MODELS)
    assert {(network.use, network.batch) for network in networks()} == {
        ("inference", 1), ("inference", 8), ("training", 8), ("training", 32),
    }  # fmt: skip
    assert len({network.name for network in networks()}) == len(networks())
    assert Network("resnet18", 1, "inference").flops == pytest.approx(2 * 1.8136e9, rel=1e-3)
    assert Network("vgg16", 8, "training").flops == pytest.approx(3 * 8 * 2 * 15.3466e9, rel=1e-3)


def test_means() -> None:
    def outcome(model: str, use: str, **seconds: float) -> NetworkOutcome:
        names = {"ours": "convkit channels last", "first": "torch channels first", "last": "torch channels last"}
        timings = [
            Timing("convkit" if name == "ours" else "torch", names[name], value, value, value, 1, 0.0)
            for name, value in seconds.items()
        ]
        return NetworkOutcome(tuple(timings), {}, Network(model, 8, use))  # type: ignore[arg-type]

    outcomes = [
        outcome("resnet18", "inference", ours=1.0, first=4.0, last=2.0),
        outcome("resnet18", "inference", ours=1.0, first=9.0, last=8.0),
        outcome("vgg16", "training", ours=2.0, first=10.0, last=6.0),
    ]
    found = {one.name: one.mean for one in summaries(outcomes)}
    assert found == pytest.approx({"resnet18": 4.0, "training": 3.0, "training-channels-first": 5.0})
    assert all(math.isfinite(mean) for mean in found.values())
    assert len(network_race.sentences(outcomes)) == 3
    assert network_race.table(outcomes).row_count == 3
    for language in ("en", "zh"):
        assert {f"bench.networks.{name}" for name in (*MODELS, *found)} <= set(texts(language))


@pytest.mark.usefixtures("without_compiler")
def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(network_race, "networks", lambda: [SMALL])
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path / "cache"))
    app = typer.Typer()
    app.command()(bench.bench_command)
    path = tmp_path / "networks.json"
    result = CliRunner().invoke(app, ["networks", "--rounds", "1", "--json", str(path)])
    assert result.exit_code == 0, result.output
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["results"][0]["name"] == SMALL.name
    assert document["versions"]["torch"]
    for arguments, code in (
        (["networks", "layers"], "bench-alone"),
        (["networks", "--only", "no"], "bench-nothing"),
    ):
        wrong = CliRunner().invoke(app, arguments).exception
        assert isinstance(wrong, OptionError)
        assert wrong.code == f"option.{code}"
