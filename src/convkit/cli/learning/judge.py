"""``convkit evaluate``: a trained network is asked about pictures whose labels are known."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convkit.catalogue import say
from convkit.cli.learning.arguments import Memory, RunFolder, Threads, memory_limit, threads_for
from convkit.cli.options import Json, Lang

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = ("auto", "train", "validation", "test", "all")


def evaluate_command(
    run: RunFolder,
    data: Annotated[str, typer.Argument(metavar="DATA", help="cli.evaluate.data")],
    split: Annotated[str, typer.Option("--split", help="cli.evaluate.split")] = "auto",
    memory: Memory = 1024,
    threads: Threads = None,
    as_json: Json = False,
    lang: Lang = None,
) -> None:
    """Accuracy, and figures for every class."""
    from convkit.cli.working import working
    from convkit.errors import choose
    from convkit.nn import runs

    choose("split", split, PARTS)
    limit = memory_limit(memory)
    with working() as doing:
        doing("cli.step.reading")
        trained = runs.opened(run)
        runs.use_threads(trained.about.shape, threads_for(threads))
        part, name, notes = runs.part_to_judge(trained, data, which=split, limit=limit)
        doing("cli.step.computing")
        began = time.monotonic()
        judgement = runs.judged(trained.network, trained.preprocess, part)
        seconds = time.monotonic() - began
    facts: dict[str, Any] = {
        "run": str(run),
        "data": data,
        "split": name,
        "accuracy": judgement.accuracy,
        "correct": judgement.correct,
        "pictures": len(judgement.labels),
        "loss": judgement.loss,
        "seconds": round(seconds, 3),
        "classes": judgement.by_class(trained.about.classes),
        "confusion": judgement.confusion.tolist(),
        "notes": [str(note) for note in notes],
    }
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    for note in facts["notes"]:
        typer.echo(note, err=True)
    typer.echo(
        say("cli.evaluate.done", **{**facts, "percent": f"{100 * judgement.accuracy:.2f}", "seconds": f"{seconds:.1f}"})
    )
    _table(facts["classes"])


def _table(rows: list[Mapping[str, Any]]) -> None:
    """A line a class."""
    from rich.console import Console
    from rich.table import Table

    names = ("class", "pictures", "correct", "accuracy", "precision", "f1")
    table = Table(*(say(f"cli.evaluate.column.{name}") for name in names))
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in names))
    Console().print(table)


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
