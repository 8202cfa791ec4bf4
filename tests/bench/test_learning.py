"""`convkit bench learning`: everybody learns the same, and the clock stops at the right epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from convkit.cli import bench
from convkit.cli.bench.learning_race import Learner, learners, ratio
from convkit.errors import OptionError
from convkit.nn import layers
from convkit.nn.runs import Wish, prepared
from convkit.nn.runs.ranks import Ranks


class Steps:
    """A training of which only the number of steps counts."""

    steps = 5


def learner(name: str, seconds: list[float], accuracies: list[float]) -> Learner:
    return Learner(name, cast("Any", Steps()), seconds, accuracies)


def test_the_clock_stops_at_the_first_epoch_that_is_right_often_enough() -> None:
    ours = learner("convkit", [1.0, 2.0, 4.0], [0.5, 0.9, 0.8])
    theirs = learner("torch", [3.0, 3.0, 3.0], [0.4, 0.6, 0.9])
    assert ours.reached(0.9) == 3.0
    assert theirs.reached(0.9) == 9.0
    assert theirs.reached(0.91) is None
    assert ours.step == pytest.approx(7 / 15)
    assert ratio([ours, theirs], theirs, 0.9) == 3.0
    assert ratio([ours, theirs], theirs, 0.91) is None


def test_everybody_takes_the_same_steps(tmp_path: Path) -> None:
    session = prepared(Wish("digits", tmp_path / "run", {"epochs": 1, "batch": 512}), Ranks())
    field = list(learners(session, tmp_path))
    kinds = [any(isinstance(m, layers.Layer) for m in one.training.network.modules()) for one in field]
    assert kinds == [True, False, False]
    last = next(m for m in field[2].training.network.modules() if isinstance(m, torch.nn.Conv2d))
    assert last.weight.is_contiguous(memory_format=torch.channels_last)
    for one in field:
        one.learn()
    losses = np.array([one.training.history.losses for one in field])
    assert losses.shape == (3, field[0].training.steps)
    assert np.allclose(losses, losses[:1], rtol=2e-3)
    assert all(len(one.seconds) == 1 and one.seconds[0] > 0 for one in field)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path / "cache"))
    app = typer.Typer()
    app.command()(bench.bench_command)
    path = tmp_path / "learning.json"
    result = CliRunner().invoke(app, ["learning", "--accuracy", "0.2", "--json", str(path)])
    assert result.exit_code == 0, result.output
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["results"][0]["name"] == "convkit"
    assert all(one["accuracies"][-1] >= 0.2 and one["reached"] > 0 for one in document["results"])
    for arguments, code in (
        (["learning", "layers"], "bench-alone"),
        (["layers", "--data", "digits"], "bench-data"),
    ):
        wrong = CliRunner().invoke(app, arguments).exception
        assert isinstance(wrong, OptionError)
        assert wrong.code == f"option.{code}"
        for language in ("en", "zh"):
            assert "{" not in wrong.text(language)
