"""What is seen while a network learns: a line an epoch, and a bar below them."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from convkit.catalogue import say

if TYPE_CHECKING:
    from convkit.nn.runs import Session
    from convkit.nn.runs.history import Epoch
    from convkit.nn.runs.training import Moment


class Board:
    """A board on stderr; ``silent`` shows nothing, and without a terminal there are lines but no bar.

    Parameters
    ----------
    voice : {"speaks", "silent"}
        Whether anything is shown.
    """

    def __init__(self, voice: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.console = Console(stderr=True, quiet=voice == "silent", highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        shown = voice == "speaks" and self.console.is_terminal
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not shown)
        self.task = self.bar.add_task("", total=None)

    def __enter__(self) -> Board:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def doing(self, key: str) -> None:
        """Say what is being done."""
        self.bar.update(self.task, description=say(key), total=None)

    def begin(self, session: Session) -> None:
        """Say what is learned from, and how."""
        from rich.markup import escape

        about, parts = session.about, session.parts.parts()
        rows, columns, channels = about.shape
        facts = {
            "data": about.data,
            "classes": len(about.classes),
            "shape": f"{rows}x{columns}x{channels}",
            "train": len(parts["train"]),
            "validation": len(parts["validation"]) if "validation" in parts else 0,
            "test": len(parts["test"]),
        }
        self.console.print(escape(say("cli.train.begins", **facts)), soft_wrap=True)
        recipe = about.recipe
        how = {
            name: getattr(recipe, name)
            for name in ("model", "epochs", "batch", "optimiser", "schedule", "preprocess", "augment")
        }
        self.console.print(escape(say("cli.train.how", rate=f"{recipe.rate:g}", **how)), soft_wrap=True)
        for note in session.parts.notes:
            self.console.print(f"[yellow]{escape(str(note))}[/]", soft_wrap=True)
        if session.resumed:
            self.console.print(escape(say("cli.train.resumed", step=session.resumed)), soft_wrap=True)
        total = recipe.epochs * session.training.steps
        self.bar.update(self.task, total=total, completed=session.resumed)

    def step(self, moment: Moment) -> None:
        """Move the bar."""
        facts = {
            "epoch": moment.epoch,
            "epochs": moment.epochs,
            "loss": f"{moment.loss:.4f}",
            "accuracy": f"{100 * moment.accuracy:.2f}",
            "speed": f"{moment.pictures_per_second:.0f}",
        }
        done = (moment.epoch - 1) * moment.steps + moment.step
        self.bar.update(self.task, completed=done, description=say("cli.train.moment", **facts))

    def epoch(self, row: Epoch) -> None:
        """Add an epoch's line."""
        facts = {
            "epoch": row.epoch,
            "loss": f"{row.loss:.4f}",
            "accuracy": f"{100 * row.accuracy:.2f}",
            "seconds": f"{row.seconds:.1f}",
        }
        if row.validation_accuracy is None or row.validation_loss is None:
            self.console.print(say("cli.train.epoch", **facts), soft_wrap=True)
            return
        facts |= {"validation_loss": f"{row.validation_loss:.4f}", "validation": f"{100 * row.validation_accuracy:.2f}"}
        self.console.print(say("cli.train.epoch-checked", **facts), soft_wrap=True)
