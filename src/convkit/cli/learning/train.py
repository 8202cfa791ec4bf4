"""``convkit train``: a network learns to tell pictures apart."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convkit.catalogue import say
from convkit.cli.learning.arguments import Memory, Threads, first_process, memory_limit, size_of, threads_for
from convkit.cli.options import Json, Lang

if TYPE_CHECKING:
    from convkit.nn.runs import Session, Wish
    from convkit.nn.runs.ranks import Ranks

HELP = "cli.train.option."


def train_command(
    data: Annotated[str, typer.Argument(metavar="DATA", help="cli.train.data")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="cli.train.out")],
    model: Annotated[str | None, typer.Option("--model", "-m", help=f"{HELP}model")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help=f"{HELP}epochs")] = None,
    batch: Annotated[int | None, typer.Option("--batch", help=f"{HELP}batch")] = None,
    rate: Annotated[float | None, typer.Option("--rate", "--lr", help=f"{HELP}rate")] = None,
    optimiser: Annotated[str | None, typer.Option("--optimiser", "--optimizer", help=f"{HELP}optimiser")] = None,
    schedule: Annotated[str | None, typer.Option("--schedule", help=f"{HELP}schedule")] = None,
    decay: Annotated[float | None, typer.Option("--decay", help=f"{HELP}decay")] = None,
    smoothing: Annotated[float | None, typer.Option("--smoothing", help=f"{HELP}smoothing")] = None,
    preprocess: Annotated[str | None, typer.Option("--preprocess", help=f"{HELP}preprocess")] = None,
    augment: Annotated[str | None, typer.Option("--augment", help=f"{HELP}augment")] = None,
    initialisation: Annotated[
        str | None, typer.Option("--initialisation", "--init", help=f"{HELP}initialisation")
    ] = None,
    patience: Annotated[int | None, typer.Option("--patience", help=f"{HELP}patience")] = None,
    validation: Annotated[float | None, typer.Option("--validation", help=f"{HELP}validation")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help=f"{HELP}seed")] = None,
    classes: Annotated[str | None, typer.Option("--classes", help=f"{HELP}classes")] = None,
    size: Annotated[str | None, typer.Option("--size", help=f"{HELP}size")] = None,
    channels: Annotated[int | None, typer.Option("--channels", help=f"{HELP}channels")] = None,
    memory: Memory = 1024,
    threads: Threads = None,
    time_limit: Annotated[float | None, typer.Option("--time-limit", help=f"{HELP}time-limit")] = None,
    save_every: Annotated[float, typer.Option("--save-every", help=f"{HELP}save-every")] = 60.0,
    resume: Annotated[bool, typer.Option("--resume", help=f"{HELP}resume")] = False,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help=f"{HELP}checkpoint")] = None,
    as_json: Json = False,
    lang: Lang = None,
) -> None:
    """Train, judge by the part held out, and write the report."""
    from convkit.errors import OptionError
    from convkit.nn import runs
    from convkit.nn.runs.ranks import joined

    if channels not in (None, 1, 3):
        raise OptionError("unknown-value", option="channels", value=channels, allowed="1, 3", guess="channels=1")
    if time_limit is not None and not time_limit > 0:
        raise OptionError("not-positive", option="time-limit", value=time_limit)
    given: dict[str, Any] = {
        "model": model,
        "epochs": epochs,
        "batch": batch,
        "rate": rate,
        "optimiser": optimiser,
        "schedule": schedule,
        "decay": decay,
        "smoothing": smoothing,
        "preprocess": preprocess,
        "augment": None if augment is None else runs.Augmentation.of(augment),
        "initialisation": initialisation,
        "patience": patience,
        "validation": validation,
        "seed": seed,
    }
    wish = runs.Wish(
        data,
        out,
        given,
        size_of(size),
        channels,
        [name.strip() for name in classes.split(",")] if classes else None,
        memory_limit(memory),
        _threads(out, threads, resume or checkpoint is not None),
        "yes" if resume or checkpoint else "no",
        checkpoint,
    )
    with joined() as ranks, runs.alone(out, ranks):
        facts = _run(wish, ranks, (time_limit or float("inf"), save_every), "json" if as_json else "text")
    if facts is not None and facts["ending"] == "interrupted":
        raise typer.Exit(1)


def _threads(out: Path, asked: int | None, resume: bool) -> int:
    """A run goes on with the threads that it began with: torch's sums depend on their number."""
    from convkit.errors import RunError
    from convkit.nn.runs import described

    if asked is None and resume:
        try:
            return threads_for(int(described(out).opened["threads"]))
        except RunError:
            pass  # nothing to go on with, or nothing that can be read: said where it is opened
    return threads_for(asked)


def _run(wish: Wish, ranks: Ranks, times: tuple[float, float], form: str) -> dict[str, Any] | None:
    """Train; the first process judges, writes and speaks."""
    import time

    from convkit.cli.learning.progress import Board
    from convkit.nn import runs

    began = time.monotonic()
    with Board("silent" if not first_process() or form == "json" else "speaks") as board, _stopping() as stop:
        board.doing("cli.train.opening")
        session = runs.prepared(wish, ranks)
        runs.use_threads(session.about.shape, wish.threads)
        board.begin(session)
        watch = runs.Watch(board.step, board.epoch, stop, *times, began)
        with runs.planned_as(session.about):
            ending = session.training.run(watch)
        if not ranks.writes:
            return None
        unfinished = ending == "interrupted" or session.training.history.best == 0
        if unfinished:
            facts = {"ending": ending, "run": str(wish.path), "steps": len(session.training.history.losses)}
        else:
            board.doing("cli.train.judging")
            facts = _finish(session, wish, ending, board, began)
    if form == "json":
        typer.echo(json.dumps(facts, ensure_ascii=False))
    elif unfinished:
        typer.echo(say("cli.train.interrupted", run=wish.path, steps=facts["steps"]), err=True)
    else:
        _tell(facts)
    return facts


def _finish(session: Session, wish: Wish, ending: str, board: Any, began: float) -> dict[str, Any]:
    """Judge the best weights by the part held out, and write what came of the run."""
    import time

    from convkit.cli.learning.report import written_report
    from convkit.nn import runs

    run = runs.opened(wish.path)
    assert session.parts.test is not None
    judgement = runs.judged(run.network, run.preprocess, session.parts.test)
    history = session.training.history
    best = history.epochs[history.best - 1]
    facts: dict[str, Any] = {
        "run": str(wish.path),
        "ending": ending,
        "accuracy": judgement.accuracy,
        "correct": judgement.correct,
        "pictures": len(judgement.labels),
        "loss": judgement.loss,
        "best_epoch": history.best,
        "validation_accuracy": best.validation_accuracy,
        "epochs": history.epoch,
        "steps": len(history.losses),
        "seconds": round(time.monotonic() - began, 3),
        "classes": judgement.by_class(session.about.classes),
        "confusion": judgement.confusion.tolist(),
        "notes": [str(note) for note in session.parts.notes],
        "report": str(run.folder.report),
    }
    run.folder.write_json(run.folder.result, facts)
    board.doing("cli.train.reporting")
    run.folder.write_text(run.folder.report, written_report(run, session.parts.test, judgement, history, ending))
    return facts


def _tell(facts: dict[str, Any]) -> None:
    words = {**facts, "percent": f"{100 * facts['accuracy']:.2f}", "seconds": f"{facts['seconds']:.1f}"}
    typer.echo(say(f"cli.train.ended.{facts['ending']}", **words))
    typer.echo(say("cli.train.accuracy", **words))
    typer.echo(say("cli.train.written", **words))


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C or SIGTERM asks the training to save and stop; the second is obeyed at once."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which alone may do this
        before = {}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
