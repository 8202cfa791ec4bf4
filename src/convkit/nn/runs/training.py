"""Training that can be killed at any moment and goes on with the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convkit.data import Collection, Pictures
from convkit.errors import RunError
from convkit.nn.runs import chance, checkpoint
from convkit.nn.runs.augmentation import NUMBERS, changed
from convkit.nn.runs.checkpoint import Checkpoint
from convkit.nn.runs.faults import where_not_finite
from convkit.nn.runs.folder import Folder
from convkit.nn.runs.history import Epoch, History
from convkit.nn.runs.optimisation import optimiser_for, put_together, schedule_for, taken_apart
from convkit.nn.runs.preprocessing import Preprocessing, pixels
from convkit.nn.runs.ranks import Ranks
from convkit.nn.runs.recipe import Recipe

Ending = Literal["finished", "stopped-early", "time-limit", "interrupted"]


@dataclass(frozen=True, slots=True)
class Moment:
    """What is told after every step."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    rate: float
    pictures_per_second: float


@dataclass
class Watch:
    """Who is told, and who may stop the training.

    Attributes
    ----------
    step : callable
        ``step(moment)`` after every step.
    epoch : callable
        ``epoch(row)`` after every epoch.
    stop : callable
        Asked after every step; True saves and stops.
    limit : float
        Seconds of this sitting after which training saves and stops.
    save_every : float
        Seconds between checkpoints inside an epoch; every epoch ends with one.
    """

    step: Callable[[Moment], None] = lambda moment: None
    epoch: Callable[[Epoch], None] = lambda row: None
    stop: Callable[[], bool] = lambda: False
    limit: float = math.inf
    save_every: float = 60.0
    began: float = field(default_factory=time.monotonic)


class Training:
    """A network, its optimiser and where they stand.

    Parameters
    ----------
    network : Module
        Gives one score a class.
    preprocess : Preprocessing
        Already learned.
    parts : Collection
        With a training part; the validation part may be missing.
    recipe : Recipe
        How.
    folder : Folder
        Where checkpoints, weights and logs go.
    ranks : Ranks
        Which process this is.
    faster : Module, optional
        Another way of computing the network on the same parameters and buffers, which steps go through.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocessing,
        parts: Collection,
        recipe: Recipe,
        folder: Folder,
        ranks: Ranks = Ranks(),  # noqa: B008  (frozen)
        faster: nn.Module | None = None,
    ) -> None:
        assert parts.train is not None
        self.network, self.preprocess, self.recipe, self.folder, self.ranks = network, preprocess, recipe, folder, ranks
        self.learned: Pictures = parts.train
        self.checked = parts.validation
        self.batch = min(recipe.batch, len(self.learned))
        if self.batch % ranks.world:
            raise RunError("batch-and-ranks", batch=self.batch, world=ranks.world)
        self.steps = len(self.learned) // self.batch
        self.optimiser = optimiser_for(network, recipe)
        self.schedule = schedule_for(self.optimiser, recipe, recipe.epochs * self.steps)
        self.history = History()
        self._computed = network if faster is None else faster
        self._wrapped = ranks.wrapped(self._computed)
        self._measure = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
        self._saved = time.monotonic()

    def restore(self, stored: Checkpoint) -> None:
        """Go back to a checkpoint of the same run.

        Raises
        ------
        RunError
            ``run.other-model``.
        """
        try:
            self.network.load_state_dict(stored.part("network"))
            put_together(self.optimiser, stored.part("optimiser"), stored.facts["groups"])
            self.schedule.load_state_dict(stored.facts["schedule"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunError("other-model", model=self.recipe.model, reason=str(error).splitlines()[0]) from error
        self.history = History.of(stored.facts["history"], stored.tensors["losses"].tolist())

    def save(self) -> None:
        """Write a checkpoint and the logs; only the first process does.

        Raises
        ------
        RunError
            ``run.cannot-save``.
        """
        self._saved = time.monotonic()
        if not self.ranks.writes:
            return
        state, groups = taken_apart(self.optimiser)
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"optimiser/{name}": value for name, value in state.items()}
        tensors["losses"] = torch.tensor(self.history.losses, dtype=torch.float64)
        facts = {"groups": groups, "schedule": _plain(self.schedule.state_dict()), "history": self.history.facts()}
        checkpoint.write(self.folder.checkpoints, len(self.history.losses), Checkpoint(tensors, facts))
        self.folder.write_text(self.folder.log, self.history.epochs_csv())
        self.folder.write_text(self.folder.steps, self.history.steps_csv())

    def run(self, watch: Watch | None = None) -> Ending:
        """Train until the end, or until something stops it; a checkpoint is written in any case.

        Raises
        ------
        RunError
            ``run.diverged``, ``run.cannot-save``.
        """
        watch = watch or Watch()
        while self.history.epoch < self.recipe.epochs:
            if self.recipe.patience and self.history.stale >= self.recipe.patience:
                return "stopped-early"
            ending = self._epoch(watch)
            if ending is not None:
                self.save()
                return ending
            self._close_epoch(watch)
        return "finished"

    def _epoch(self, watch: Watch) -> Ending | None:
        here = self.history
        epoch = here.epoch
        order = chance.order(len(self.learned), self.batch, self.recipe.seed, epoch)
        numbers = chance.draws(len(self.learned), NUMBERS, self.recipe.seed, epoch)
        self.network.train()
        self._wrapped.train()
        began = time.monotonic()
        fetched = _ahead(self.learned, [self.ranks.share(torch.from_numpy(one)).numpy() for one in order[here.step :]])
        for step, (chosen, images) in enumerate(fetched, start=here.step):
            since = time.monotonic()
            loss, correct = self._step(
                epoch, step, images, torch.from_numpy(self.learned.labels[chosen]), numbers[chosen]
            )
            stop = float(self.ranks.writes and watch.stop())
            late = float(self.ranks.writes and time.monotonic() - watch.began > watch.limit)
            loss, correct, stop, late = self.ranks.total([loss, correct, stop, late])
            loss /= self.ranks.world
            here.step = step + 1
            here.losses.append(loss)
            here.loss_sum += loss * self.batch
            here.correct += correct
            here.seen += self.batch
            now = time.monotonic()
            here.seconds += now - began
            began = now
            watch.step(self._moment(loss, self.batch / max(now - since, 1e-9)))
            if here.step < self.steps:
                if stop or late:
                    return "interrupted" if stop else "time-limit"
                if now - self._saved > watch.save_every:
                    self.save()
            elif stop or late:
                self._close_epoch(watch)
                if here.epoch == self.recipe.epochs:
                    return "finished"
                return "interrupted" if stop else "time-limit"
        return None

    def _step(self, epoch: int, step: int, images: Tensor, labels: Tensor, numbers: Tensor) -> tuple[float, float]:
        # Dropout and its like draw from torch's own generator: it starts anew for every step.
        torch.manual_seed(chance.seed_for(self.recipe.seed, "network", epoch, step, self.ranks.rank))
        seen = self.preprocess(changed(images, self.recipe.augment, numbers))
        scores = self._wrapped(seen)
        loss = self._measure(scores, labels)
        value = loss.item()
        if not math.isfinite(value):
            layer, what = where_not_finite(self.network, seen)
            facts = {"epoch": epoch + 1, "step": step + 1, "layer": layer, "what": what, "loss": f"{value}"}
            left = ", ".join(one.name for one in checkpoint.checkpoints(self.folder.checkpoints)) or "-"
            raise RunError("diverged", rate=f"{self._rate():.3g}", left=left, **facts)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return value, float((scores.argmax(dim=1) == labels).sum())

    def _rate(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])

    def _moment(self, loss: float, speed: float) -> Moment:
        here = self.history
        return Moment(
            here.epoch + 1,
            self.recipe.epochs,
            here.step,
            self.steps,
            loss,
            here.correct / here.seen,
            self._rate(),
            speed,
        )

    def _close_epoch(self, watch: Watch) -> None:
        here = self.history
        loss, accuracy = self._checked()
        row = Epoch(
            here.epoch + 1,
            len(here.losses),
            self._rate(),
            here.loss_sum / here.seen,
            here.correct / here.seen,
            loss,
            accuracy,
            round(here.seconds, 3),
        )
        if here.finish_epoch(row) and self.ranks.writes:
            self._save_weights()
        self.save()
        watch.epoch(row)

    def _save_weights(self) -> None:
        from convkit.nn import zoo

        with checkpoint.saving(self.folder.weights, self.folder.checkpoints):
            zoo.save(self.network, self.folder.weights)

    def _checked(self) -> tuple[float | None, float | None]:
        """Loss and accuracy on the validation part, each process asking about its share."""
        if self.checked is None or not len(self.checked):
            return None, None
        self.ranks.same(self.network)
        self.network.eval()
        self._computed.eval()
        loss = correct = 0.0
        own = np.arange(self.ranks.rank, len(self.checked), self.ranks.world)
        with torch.no_grad():
            for start in range(0, len(own), 256):
                chosen = own[start : start + 256]
                labels = torch.from_numpy(self.checked.labels[chosen])
                scores = self._computed(self.preprocess(pixels(self.checked.take(chosen))))
                loss += float(nn.functional.cross_entropy(scores, labels, reduction="sum"))
                correct += float((scores.argmax(dim=1) == labels).sum())
        loss, correct = self.ranks.total([loss, correct])
        return loss / len(self.checked), correct / len(self.checked)


def _ahead(part: Pictures, batches: list[NDArray[np.int64]]) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Batches of pictures in 0..1, each fetched while the one before it is learned from."""
    if not batches:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="convkit-pictures") as fetcher:
        coming: Future[NDArray[np.uint8]] = fetcher.submit(part.take, batches[0])
        for place, chosen in enumerate(batches):
            images = coming.result()
            if place + 1 < len(batches):
                coming = fetcher.submit(part.take, batches[place + 1])
            yield chosen, pixels(images)


def _plain(state: dict[str, object]) -> dict[str, object]:
    """A schedule's state without what JSON cannot hold; those entries are made anew with the schedule."""
    kinds = (int, float, str, bool, list, type(None))
    return {name: value for name, value in state.items() if isinstance(value, kinds)}
