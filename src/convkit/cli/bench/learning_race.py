"""``convkit bench learning``: how soon a network has learned enough, on convkit's layers and on torch's."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from convkit.catalogue import say
from convkit.cli.bench.results import duration, surroundings, write

if TYPE_CHECKING:
    from convkit.nn.runs import Session, Training

DATA, ACCURACY = "digits", 0.993
"""What is learned, and how well, unless told otherwise."""


@dataclass
class Learner:
    """One way of doing the same training.

    Attributes
    ----------
    name : str
        Whose layers, and their layout.
    training : Training
        Where it stands.
    seconds, accuracies : list of float
        Of every epoch: what its steps took, and the share of the test pictures told rightly after it.
    """

    name: str
    training: Training
    seconds: list[float] = field(default_factory=list[float])
    accuracies: list[float] = field(default_factory=list[float])

    def reached(self, wished: float) -> float | None:
        """Seconds of all epochs up to the first after which the accuracy was reached; None if it never was."""
        for epoch, accuracy in enumerate(self.accuracies, 1):
            if accuracy >= wished:
                return math.fsum(self.seconds[:epoch])
        return None

    @property
    def step(self) -> float:
        """Seconds of one step in the mean."""
        return math.fsum(self.seconds) / (len(self.seconds) * self.training.steps)

    def learn(self) -> None:
        """One epoch."""
        from convkit.nn.runs import Watch

        training, before = self.training, len(self.training.history.epochs)
        training.run(Watch(stop=lambda: training.history.step + 1 >= training.steps, save_every=math.inf))
        (row,) = training.history.epochs[before:]
        self.seconds.append(row.seconds)


def learners(session: Session, folder: Path) -> Iterator[Learner]:
    """The session's own training, and the same on torch's layers: as people write it, and with channels last."""
    import torch

    from convkit.nn import zoo
    from convkit.nn.runs import Training
    from convkit.nn.runs.folder import Folder

    ours = session.training
    layouts = {"torch channels first": torch.contiguous_format, "torch channels last": torch.channels_last}
    plain = zoo.plain_torch(ours.network)
    yield Learner("convkit", ours)
    for name, layout in layouts.items():
        network = copy.deepcopy(plain).to(memory_format=layout)  # type: ignore[call-overload]
        own = Folder(folder / name.replace(" ", "-"))
        own.checkpoints.mkdir(parents=True)
        yield Learner(name, Training(network, ours.preprocess, session.parts, session.about.recipe, own))


def raced(session: Session, field: Sequence[Learner], wished: float, done: Callable[[], None]) -> None:
    """An epoch of each in turn, those that are there yet left out, until all are or the recipe ends."""
    from convkit.nn.runs import judged

    assert session.parts.test is not None
    for epoch in range(session.about.recipe.epochs):
        start = epoch % len(field)
        for learner in (*field[start:], *field[:start]):
            if learner.reached(wished) is None:
                learner.learn()
                judgement = judged(learner.training.network, learner.training.preprocess, session.parts.test)
                learner.accuracies.append(judgement.accuracy)
            done()


def race(data: str, accuracy: float, seed: int, threads: int, out: Path | None) -> None:
    """What the command does: learn, show, write."""
    from convkit.cli.bench.bound import steady_rates
    from convkit.nn import runs
    from convkit.nn.runs.ranks import Ranks
    from convkit.planner import machine

    rates = steady_rates()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="convkit-") as place:
        folder = Path(place)
        session = runs.prepared(runs.Wish(data, folder / "convkit", {"seed": seed}, threads=threads), Ranks())
        runs.use_threads(session.about.shape, threads)
        field = list(learners(session, folder))
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task(say("bench.measuring"), total=len(field) * session.about.recipe.epochs)
            raced(session, field, accuracy, lambda: progress.advance(task))
    console.print(table(session, field, accuracy))
    recipe = session.about.recipe
    words = {"model": recipe.model, "batch": recipe.batch, "threads": threads, "cpu": machine.cpu_name()}
    console.print(say("bench.learning.footnote", **words))
    if out is not None:
        write(out, {**surroundings(1, threads, rates), **document(session, field, accuracy)})
        console.print(say("bench.written", path=out))


def ratio(field: Sequence[Learner], learner: Learner, wished: float) -> float | None:
    """How many times as soon as a learner convkit, the first of them, had learned enough."""
    ours, theirs = field[0].reached(wished), learner.reached(wished)
    return None if ours is None or theirs is None else theirs / ours


def table(session: Session, field: Sequence[Learner], wished: float) -> Table:
    """A row for each learner."""
    from rich.table import Table

    assert session.parts.test is not None
    title = {"data": session.about.data, "accuracy": f"{wished:.2%}", "pictures": len(session.parts.test)}
    shown = Table(title=say("bench.learning.title", **title))
    for column in ("who", "epochs", "seconds", "accuracy", "step", "ratio"):
        shown.add_column(say(f"bench.learning.{column}"), justify="left" if column == "who" else "right")
    for learner in field:
        seconds, sooner = learner.reached(wished), ratio(field, learner, wished)
        shown.add_row(
            learner.name, str(len(learner.seconds)),
            say("bench.learning.not-reached") if seconds is None else f"{seconds:.1f}",
            f"{learner.accuracies[-1]:.2%}", duration(learner.step), "" if sooner is None else f"{sooner:.2f}x",
        )  # fmt: skip
    return shown


def document(session: Session, field: Sequence[Learner], wished: float) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    return {
        "data": session.about.data,
        "wished": wished,
        "recipe": asdict(session.about.recipe),
        "results": [
            {
                "name": learner.name, "reached": learner.reached(wished), "ratio": ratio(field, learner, wished),
                "step": learner.step, "seconds": learner.seconds, "accuracies": learner.accuracies,
            }
            for learner in field
        ],
    }  # fmt: skip
