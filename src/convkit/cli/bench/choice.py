"""The planner's choice against every other algorithm that could have been taken, each on the same arrays."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from convkit.catalogue import say
from convkit.cli.bench.chosen import plan_of
from convkit.cli.bench.problems import Problem
from convkit.cli.bench.results import duration, surroundings, write
from convkit.planner import Problem as Lowered
from convkit.planner.plan import Plan

HOPELESS = 20.0
"""How many times slower than the fastest an algorithm may be predicted, or found, and still be timed in every round."""

BUDGET = 0.6
"""Seconds that the rounds of one problem may take; two rounds there are always."""

SAMPLE = 0.0005
"""Seconds that one sample lasts at least; a shorter run is repeated within it."""

NEAR = 1.1
FAR = 1.5


@dataclass(frozen=True, slots=True)
class Run:
    """An algorithm on a problem: the seconds predicted, and the least measured."""

    predicted: float
    measured: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """One problem: what was chosen, and what everybody took."""

    problem: Problem
    lowered: Lowered
    choice: str
    runs: dict[str, Run]

    @property
    def best(self) -> str:
        """The algorithm that was fastest."""
        return min(self.runs, key=lambda name: self.runs[name].measured)

    @property
    def regret(self) -> float:
        """The chosen one's time over the fastest one's: 1 is the right choice."""
        return self.runs[self.choice].measured / self.runs[self.best].measured


def race(only: str, count: int | None, seed: int | None, rounds: int, threads: int, out: Path | None) -> None:
    """Judge the choice on the grid, or on a part of it; print what was lost, and write everything that was measured.

    Raises
    ------
    OptionError
        ``option.bench-nothing``: no problem has ``only`` in its name.
    """
    import convkit.algorithms  # noqa: F401 - they register themselves
    from convkit.cli.bench.choice_grid import drawn
    from convkit.errors import OptionError
    from convkit.planner import machine
    from convkit.planner.plan import forget_plans

    problems = [problem for problem in drawn(count, seed) if only in problem.name]
    if not problems:
        raise OptionError("bench-nothing", match=only, suites="choice")
    console = Console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(say("bench.measuring"), total=len(problems))
        rates = machine.measure()
        forget_plans()
        judgements = judge(problems, rounds, threads, lambda _: progress.advance(task))
    table = losses(judgements)
    if table.row_count:
        console.print(table)
    found = summary(judgements)
    console.print(
        say(
            "bench.choice.summary", count=len(judgements), near=f"{found['within_10_percent']:.1%}",
            far=f"{found['within_1.5x']:.1%}", worst=f"{found['worst']:.2f}", problem=found["worst_problem"],
        )
    )  # fmt: skip
    if out is not None:
        write(out, {**surroundings(rounds, threads, rates), **found, "results": [_stored(one) for one in judgements]})
        console.print(say("bench.written", path=out))


def judge(
    problems: Sequence[Problem],
    rounds: int,
    count: int,
    done: Callable[[Judgement], None] = lambda judgement: None,
) -> list[Judgement]:
    """Time every algorithm that applies to each problem, with ``count`` threads."""
    from convkit.cli.bench.peers import threads

    found: list[Judgement] = []
    with threads(count):
        for problem in problems:
            found.append(_judged(problem, rounds))
            done(found[-1])
    return found


def summary(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """How often the choice was nearly the best, how often not far from it, and the worst."""
    regrets = [judgement.regret for judgement in judgements]
    worst = max(judgements, key=lambda judgement: judgement.regret)
    return {
        "within_10_percent": sum(regret <= NEAR for regret in regrets) / len(regrets),
        "within_1.5x": sum(regret <= FAR for regret in regrets) / len(regrets),
        "worst": worst.regret,
        "worst_problem": worst.problem.name,
    }


def losses(judgements: list[Judgement]) -> Table:
    """A row for each problem whose choice was not within a tenth of the fastest: predicted, measured, worst first."""
    shown = Table(title=say("bench.choice.title"))
    for column in ("problem", "ratio", "chosen", "fastest"):
        shown.add_column(say(f"bench.choice.{column}"), justify="right" if column == "ratio" else "left")
    for one in sorted(judgements, key=lambda judgement: -judgement.regret):
        if one.regret > NEAR:
            shown.add_row(
                one.problem.name, f"{one.regret:.2f}x", *(_predicted(one, name) for name in (one.choice, one.best))
            )
    return shown


def _predicted(judgement: Judgement, name: str) -> str:
    run = judgement.runs[name]
    times = duration(run.predicted), duration(run.measured)
    return say("bench.choice.times", algorithm=name, predicted=times[0], measured=times[1])


def _judged(problem: Problem, rounds: int) -> Judgement:
    from convkit.planner import registry
    from convkit.planner.algorithm import Reason

    plan = plan_of(problem)
    lowered = plan.problem
    predicted = {
        row.algorithm: row.cost.seconds for row in plan.report().rows if row.why_not is None and row.cost is not None
    }
    limit = HOPELESS * min(predicted.values())
    names = [name for name, seconds in predicted.items() if seconds <= limit or name == plan.choice]
    x, kernel = arrays_of(problem, lowered)
    calls: dict[str, Callable[[], object]] = {
        name: whole_run(Plan(lowered, registry.algorithm(name), Reason("asked"), name, {}), kernel, x) for name in names
    }
    best = _fastest(calls, rounds)
    return Judgement(problem, lowered, plan.choice, {name: Run(predicted[name], best[name]) for name in names})


def _fastest(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least seconds of each, taken in turn: on a busy machine the least is what says most about the algorithm."""
    for call in calls.values():
        call()
    best = {name: min(_seconds(call, 1), _seconds(call, 1)) for name, call in calls.items()}
    least = min(best.values())
    racing = [name for name, seconds in best.items() if seconds <= HOPELESS * least]
    repeats = {name: max(1, round(SAMPLE / max(best[name], 1e-7))) for name in racing}
    spent = 0.0
    for turn in range(rounds):
        if turn >= 2 and spent > BUDGET:
            break
        start = turn % len(racing)
        for name in racing[start:] + racing[:start]:
            took = _seconds(calls[name], repeats[name])
            spent += took * repeats[name]
            best[name] = min(best[name], took)
    return best


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def whole_run(plan: Plan, kernel: np.ndarray, x: np.ndarray) -> Callable[[], np.ndarray]:
    """A plan as a function: from the samples to the result's own type, whoever brings it there; the kernel is ready."""
    from convkit.verbs.dtypes import finish

    problem = plan.problem
    prepared = plan.prepare(kernel)
    sums = np.empty(problem.output_shape, prepared.plan.stored)
    result = problem.result_dtype or problem.compute_dtype

    def run() -> np.ndarray:
        plan.run(prepared, x, sums)
        return finish(sums, result, problem.overflow)

    return run


def arrays_of(problem: Problem, lowered: Lowered) -> tuple[np.ndarray, np.ndarray]:
    """Input and kernel, laid out as algorithms take them."""
    x, kernel = problem.arrays()
    if problem.axes:
        x = np.moveaxis(x, problem.axes, range(-len(problem.axes), 0))
    laid = kernel.conj().astype(lowered.kernel_dtype, copy=False).reshape(lowered.kernel_shape)
    return x.astype(lowered.input_dtype, copy=False).reshape(lowered.input_shape), laid


def _stored(judgement: Judgement) -> dict[str, Any]:
    fields = asdict(judgement.lowered)
    fields["fill"] = str(judgement.lowered.fill)
    return {
        "name": judgement.problem.name,
        "lowered": fields,
        "choice": judgement.choice,
        "best": judgement.best,
        "regret": judgement.regret,
        "algorithms": {name: asdict(run) for name, run in judgement.runs.items()},
    }


def restored(fields: dict[str, Any]) -> Lowered:
    """The problem that was written as ``lowered``."""
    from convkit.spec.window import Window

    windows = tuple(Window(**{**window, "sides": tuple(window["sides"])}) for window in fields["windows"])
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}  # JSON knows no tuples
    return Lowered(**{**fields, **lists, "windows": windows, "fill": complex(fields["fill"])})
