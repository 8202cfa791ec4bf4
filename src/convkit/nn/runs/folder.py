"""A run on disk: what it is, what came of it, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from convkit.data.content import first_line
from convkit.data.whole import written_whole
from convkit.errors import FileError, RunError
from convkit.nn.runs.checkpoint import saving
from convkit.nn.runs.preprocessing import Preprocessing
from convkit.nn.runs.recipe import Recipe

FORMAT = 1


@dataclass(frozen=True)
class Description:
    """What a run is about: the file ``run.json``.

    Attributes
    ----------
    recipe : Recipe
        How it is trained.
    place : str
        The data set as the user named it.
    data : str
        The data set's own name.
    kind : str
        Its format.
    fingerprint : str
        Tells another data set from this one.
    classes : tuple of str
        What is told apart.
    shape : (int, int, int)
        Rows, columns, channels of a picture.
    opened : mapping
        How the data was opened: ``size``, ``channels``, ``classes`` as given, or None.
    counts : mapping
        Pictures in each part.
    machine : mapping
        The rates by which plans were made (`convkit.planner.machine.Machine`): measuring them anew may change which
        algorithms are chosen, and with them the last bits. Empty in runs from before they were kept.
    """

    recipe: Recipe
    place: str
    data: str
    kind: str
    fingerprint: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    opened: Mapping[str, Any]
    counts: Mapping[str, int]
    machine: Mapping[str, float] = field(default_factory=dict[str, float])

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "format": FORMAT,
            "recipe": self.recipe.facts(),
            "place": self.place,
            "data": self.data,
            "kind": self.kind,
            "fingerprint": self.fingerprint,
            "classes": list(self.classes),
            "shape": list(self.shape),
            "opened": dict(self.opened),
            "counts": dict(self.counts),
            "machine": dict(self.machine),
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Description:
        """From plain data."""
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']}")
        rows, columns, channels = facts["shape"]
        return cls(
            Recipe.of(facts["recipe"]),
            facts["place"],
            facts["data"],
            facts["kind"],
            facts["fingerprint"],
            tuple(facts["classes"]),
            (rows, columns, channels),
            facts["opened"],
            facts["counts"],
            facts.get("machine", {}),
        )


@dataclass(frozen=True)
class Folder:
    """Where the files of a run lie."""

    path: Path

    @property
    def description(self) -> Path:
        """What the run is."""
        return self.path / "run.json"

    @property
    def weights(self) -> Path:
        """The best weights so far, as `convkit.nn.zoo.load` reads them."""
        return self.path / "weights.safetensors"

    @property
    def statistics(self) -> Path:
        """What preprocessing learned."""
        return self.path / "preprocessing.safetensors"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        """A line an epoch."""
        return self.path / "log.csv"

    @property
    def steps(self) -> Path:
        """A line a step."""
        return self.path / "steps.csv"

    @property
    def result(self) -> Path:
        """What the finished network said about the test part."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """Everything to look at."""
        return self.path / "report.html"

    def write_json(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write plain data whole.

        Raises
        ------
        RunError
            ``run.cannot-save``.
        """
        self.write_text(path, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")

    def write_text(self, path: Path, text: str) -> None:
        """Write text whole.

        Raises
        ------
        RunError
            ``run.cannot-save``.
        """
        with saving(path, self.checkpoints), written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Run:
    """A run that has been trained, at least in part.

    Attributes
    ----------
    folder : Folder
        Where it lies.
    about : Description
        What it is.
    network : Module
        With its best weights, in evaluation mode.
    preprocess : Module
        What pictures in 0..1 go through before the network.
    """

    folder: Folder
    about: Description
    network: nn.Module
    preprocess: Preprocessing


def described(path: Path) -> Description:
    """Read what a run is.

    Raises
    ------
    RunError
        ``run.no-run``, ``run.damaged``.
    """
    folder = Folder(path)
    if not folder.description.is_file():
        raise RunError("no-run", path=str(path))
    try:
        return Description.of(json.loads(folder.description.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunError("damaged", path=str(folder.description), reason=first_line(error)) from error


def opened(path: Path) -> Run:
    """Open a run to use its network.

    Raises
    ------
    RunError
        ``run.no-run``, ``run.damaged``, ``run.no-weights``.
    FileError
        ``file.broken``, ``file.another-model``, ``file.weights-differ`` from the weights.
    """
    from convkit.nn import zoo

    folder = Folder(path)
    about = described(path)
    if not folder.weights.is_file():
        raise RunError("no-weights", path=str(path), place=about.place)
    rows, columns, channels = about.shape
    with torch.random.fork_rng(devices=[]):
        network = zoo.build(about.recipe.model, channels=channels, classes=len(about.classes), size=(rows, columns))
    zoo.load_weights(network, folder.weights)
    preprocess = Preprocessing(about.recipe.preprocess, about.shape)
    load_statistics(folder, preprocess)
    return Run(folder, about, network.eval(), preprocess)


def save_statistics(folder: Folder, preprocess: Preprocessing) -> None:
    """Write what preprocessing learned, whole.

    Raises
    ------
    RunError
        ``run.cannot-save``.
    """
    tensors = {name: value.contiguous() for name, value in preprocess.state_dict().items()}
    with saving(folder.statistics, folder.checkpoints), written_whole(folder.statistics) as temporary:
        save_file(tensors, temporary)


def load_statistics(folder: Folder, preprocess: Preprocessing) -> None:
    """Read what `save_statistics` wrote.

    Raises
    ------
    FileError
        ``file.broken``.
    """
    try:
        preprocess.load_state_dict(load_file(folder.statistics))
    except (SafetensorError, OSError, RuntimeError) as error:
        path = str(folder.statistics)
        raise FileError("broken", path=path, format="safetensors", reason=first_line(error)) from error
