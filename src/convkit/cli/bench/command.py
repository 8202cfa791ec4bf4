"""The command's arguments, and what is done for them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from convkit.cli.bench.measurement import Outcome, measure
from convkit.cli.bench.problems import Problem
from convkit.cli.bench.suites import SUITES, longest, suites
from convkit.cli.options import Lang


class Suite(StrEnum):
    """The words that say what is measured: suites, names for several of them, and the race of the algorithms."""

    filters = "filters"
    layers = "layers"
    layers_full = "layers-full"
    overhead = "overhead"
    all = "all"
    filters_images = "filters-images"
    filters_signals = "filters-signals"
    filters_volumes = "filters-volumes"
    filters_smoothing = "filters-smoothing"
    filters_small = "filters-small"
    filters_kinds = "filters-kinds"
    filters_full = "filters-full"
    random = "random"
    choice = "choice"
    networks = "networks"
    learning = "learning"


ALONE = ("choice", "networks", "learning")
"""What is measured by itself."""


def bench_command(
    names: Annotated[list[Suite] | None, typer.Argument(metavar="[SUITE]...", help="bench.help.suites")] = None,
    suite: Annotated[list[Suite] | None, typer.Option("--suite", metavar="SUITE", help="bench.help.suite")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="bench.help.rounds")] = 15,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="bench.help.threads")] = None,
    only: Annotated[str, typer.Option("--only", "--match", help="bench.help.match")] = "",
    count: Annotated[int | None, typer.Option("--count", min=1, help="bench.help.count")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="bench.help.seed")] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="DATA", help="bench.help.data")] = None,
    accuracy: Annotated[float | None, typer.Option("--accuracy", min=0.0, max=1.0, help="bench.help.accuracy")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="bench.help.json")] = None,
    lang: Lang = None,
) -> None:
    """Measure convkit and its peers; exit 1 if anybody's result is wrong."""
    from convkit.catalogue import set_language
    from convkit.errors import OptionError
    from convkit.threads import num_threads

    if lang is not None:
        set_language(lang.value)
    wished = [str(name) for name in (*(names or ()), *(suite or ()))]
    available = threads or num_threads()
    for name in ALONE:
        if name in wished and len(wished) > 1:
            raise OptionError("bench-alone", suite=name, others=", ".join(other for other in wished if other != name))
    if (data is not None or accuracy is not None) and wished != ["learning"]:
        raise OptionError("bench-data", suites=", ".join(wished or SUITES))
    if wished == ["choice"]:
        from convkit.cli.bench.choice import race

        race(only, count, seed, rounds, available, out)
        return
    if wished == ["networks"]:
        from convkit.cli.bench.network_race import race as race_networks

        race_networks(only, rounds, available, out)
        return
    if wished == ["learning"]:
        from convkit.cli.bench import learning_race as learning

        learning.race(data or learning.DATA, accuracy or learning.ACCURACY, seed or 0, available, out)
        return
    problems = _problems(wished or ["all"], count, seed)
    problems = [problem for problem in problems if only in problem.name]
    if not problems:
        raise OptionError("bench-nothing", match=only, suites=", ".join(wished or SUITES))
    _race(problems, rounds, available, out)


def _problems(names: list[str], count: int | None, seed: int | None) -> list[Problem]:
    from convkit.cli.bench.random_problems import COUNT, SEED, random_problems
    from convkit.errors import OptionError

    if names == ["random"]:
        return random_problems(count or COUNT, SEED if seed is None else seed)
    if count is not None or seed is not None:
        raise OptionError("bench-not-drawn", suites=", ".join(names))
    return suites(names)


def _race(problems: list[Problem], rounds: int, threads: int, out: Path | None) -> None:
    from rich.console import Console
    from rich.progress import Progress

    import convkit.algorithms  # noqa: F401 - registers the transform that machine.measure times
    from convkit.catalogue import say
    from convkit.cli.bench.bound import steady_rates
    from convkit.cli.bench.report import classes_table, document, layers_behind, losers, table
    from convkit.cli.bench.results import write
    from convkit.planner import machine

    console = Console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(say("bench.measuring"), total=len(problems))
        rates = steady_rates()

        def done(outcome: Outcome) -> None:
            progress.advance(task)
            progress.update(task, description=outcome.problem.name)

        outcomes = measure(problems, rounds, threads, rates, done, longest=longest(problems))
    console.print(table(outcomes))
    console.print(say("bench.footnote", rounds=rounds, threads=threads, cpu=machine.cpu_name()))
    if any(outcome.problem.suite == "random" for outcome in outcomes):
        for line in losers(outcomes):
            console.print(line)
    if any(outcome.problem.kind == "layer" for outcome in outcomes):
        console.print(classes_table(outcomes))
        for line in layers_behind(outcomes, rates.matrix):
            console.print(line)
    if out is not None:
        write(out, document(outcomes, rounds, threads, rates))
        console.print(say("bench.written", path=out))
