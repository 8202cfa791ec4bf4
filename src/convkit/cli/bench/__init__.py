"""``convkit bench``: this library and the peers installed beside it, side by side.

One process, the same arrays, the same number of threads; results are checked under the same settings before anything is
timed, then everybody is timed in turn, round after round, and medians are compared.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from convkit.cli.bench.measurement import Outcome, Timing, measure
from convkit.cli.bench.problems import SUITES, Problem, suites
from convkit.cli.options import Lang

__all__ = ["SUITES", "Outcome", "Problem", "Timing", "bench_command", "measure", "suites"]


class Suite(StrEnum):
    """The words that --suite takes: the suites, and all of them."""

    filters = "filters"
    layers = "layers"
    overhead = "overhead"
    all = "all"


def bench_command(
    suite: Annotated[list[Suite] | None, typer.Option("--suite", help="bench.help.suite")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="bench.help.rounds")] = 15,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="bench.help.threads")] = None,
    match: Annotated[str, typer.Option("--match", help="bench.help.match")] = "",
    out: Annotated[Path | None, typer.Option("--json", help="bench.help.json")] = None,
    lang: Lang = None,
) -> None:
    """Measure convkit and its peers; exit 1 if anybody's result is wrong."""
    from rich.console import Console
    from rich.progress import Progress

    import convkit.algorithms  # noqa: F401 - registers the transform that machine.measure times
    from convkit.catalogue import say, set_language
    from convkit.cli.bench.report import document, table
    from convkit.errors import FileError, OptionError
    from convkit.planner import machine
    from convkit.storage import write_whole
    from convkit.threads import num_threads

    if lang is not None:
        set_language(lang.value)
    problems = [problem for problem in suites([str(name) for name in suite or ["all"]]) if match in problem.name]
    if not problems:
        raise OptionError("bench-nothing", match=match, suites=", ".join(suite or SUITES))
    count = threads or num_threads()
    console = Console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(say("bench.measuring"), total=len(problems))
        rates = machine.measure()
        outcomes = measure(problems, rounds, count, rates, lambda outcome: progress.advance(task))
    console.print(table(outcomes))
    console.print(say("bench.footnote", rounds=rounds, threads=count, cpu=machine.cpu_name()))
    if out is not None:
        text = json.dumps(document(outcomes, rounds, count, rates), indent=1, ensure_ascii=False) + "\n"
        if not write_whole(out, text):
            raise FileError("bench-unwritable", path=out)
        console.print(say("bench.written", path=out))
