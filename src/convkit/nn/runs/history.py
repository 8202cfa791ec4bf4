"""What happened in a run: a row an epoch, a number a step, and the tables written of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training pictures.

    Attributes
    ----------
    epoch, step : int
        Epochs and steps done, counted from 1.
    rate : float
        Learning rate of the last step.
    loss, accuracy : float
        Means over the epoch's own training pictures, as they were changed and while weights moved.
    validation_loss, validation_accuracy : float or None
        After the epoch, over the validation part; None where there is none.
    seconds : float
        Time that the epoch took, over all sittings.
    """

    epoch: int
    step: int
    rate: float
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float


@dataclass
class History:
    """Where a run stands, and how it came there.

    Attributes
    ----------
    epoch, step : int
        Whole epochs done; steps done inside the current one.
    loss_sum, correct, seen : float
        Of the current epoch so far.
    seconds : float
        Time spent in the current epoch so far.
    epochs : list of Epoch
        The whole epochs.
    losses : list of float
        Of every step.
    best : int
        The epoch whose weights are kept, 0 before the first.
    stale : int
        Epochs since the validation loss was smallest.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: float = 0.0
    seen: float = 0.0
    seconds: float = 0.0
    epochs: list[Epoch] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best: int = 0
    stale: int = 0

    def facts(self) -> dict[str, Any]:
        """As plain data; the steps' losses are kept as a tensor instead."""
        return {name: value for name, value in asdict(self).items() if name != "losses"}

    @classmethod
    def of(cls, facts: dict[str, Any], losses: list[float]) -> History:
        """From plain data."""
        return cls(**{**facts, "epochs": [Epoch(**row) for row in facts["epochs"]], "losses": losses})

    def finish_epoch(self, row: Epoch) -> bool:
        """Add an epoch's row; True if its weights are the best so far.

        Best is the greatest accuracy on the validation part, among equals the smallest loss; without that part, the
        last.
        """
        before = self.epochs[self.best - 1] if self.best else None
        self.epochs.append(row)
        better = before is None or _rank(row) >= _rank(before)
        least = min((one.validation_loss for one in self.epochs[:-1] if one.validation_loss is not None), default=None)
        sinks = row.validation_loss is None or least is None or row.validation_loss < least
        self.stale = 0 if sinks else self.stale + 1
        self.best = row.epoch if better else self.best
        self.epoch, self.step = row.epoch, 0
        self.loss_sum = self.correct = self.seen = self.seconds = 0.0
        return better

    def epochs_csv(self) -> str:
        """A line an epoch."""
        names = [one.name for one in fields(Epoch)]
        return _csv(names, [[_cell(getattr(row, name)) for name in names] for row in self.epochs])

    def steps_csv(self) -> str:
        """A line a step."""
        return _csv(["step", "loss"], [[i + 1, _cell(loss)] for i, loss in enumerate(self.losses)])


def _rank(row: Epoch) -> tuple[float, float]:
    if row.validation_accuracy is None or row.validation_loss is None:
        return 0.0, 0.0
    return row.validation_accuracy, -row.validation_loss


def _cell(value: object) -> object:
    return "" if value is None else f"{value:.7g}" if isinstance(value, float) else value


def _csv(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return stream.getvalue()
