"""The judgement of the planner's choice, its document, and the rates that are proposed from it."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

import convkit.algorithms  # noqa: F401 - they register themselves
from convkit.cli import build
from convkit.cli.bench import choice, choice_grid
from convkit.cli.bench.choice import Judgement, Run
from convkit.cli.bench.chosen import plan_of
from convkit.cli.bench.problems import Problem
from convkit.cli.bench.truth import check, expected
from convkit.planner import registry
from convkit.planner.algorithm import Reason
from convkit.planner.machine import Machine
from convkit.planner.plan import Plan

SMALL = [
    Problem("choice", "filter", (400,), (9,), "float32", boundary="reflect"),
    Problem("choice", "filter", (30, 26, 3), (5, 4), "float64", axes=(0, 1), stride=2),
    Problem("choice", "filter", (40, 36), (7, 5), "float64", values="separable", boundary="wrap"),
    Problem("choice", "filter", (12, 11, 10), (3, 2, 4), "complex64", boundary="edge"),
    Problem("choice", "filter", (300,), (8,), "int64"),
    Problem("choice", "filter", (40, 36), (7, 5), "float16"),
    Problem("choice", "filter", (40, 36), (7, 5), "uint8", boundary="symmetric"),
]


def module(name: str) -> ModuleType:
    source = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("problem", SMALL, ids=[problem.name for problem in SMALL])
def test_what_is_timed_is_the_problem(problem: Problem) -> None:
    plan = plan_of(problem)
    x, kernel = choice.arrays_of(problem, plan.problem)
    for row in plan.report().rows:
        if row.why_not is None:
            one = Plan(plan.problem, registry.algorithm(row.algorithm), Reason("asked"), row.algorithm, {})
            out = choice.whole_run(one, kernel, x)()
            result = np.moveaxis(out[:, 0, 0], 0, -1) if problem.axes else out[0, 0, 0]
            check(problem, row.algorithm, (result,), expected(problem))


def test_every_algorithm_that_applies_is_timed_and_the_document_says_what_was_found() -> None:
    (judgement,) = choice.judge(SMALL[2:3], 2, 1)
    applicable = {row.algorithm for row in plan_of(SMALL[2]).report().rows if row.why_not is None}
    assert judgement.choice in judgement.runs
    assert len(applicable) > 2
    assert set(judgement.runs) <= applicable
    assert judgement.regret >= 1
    assert all(run.measured > 0 and run.predicted > 0 for run in judgement.runs.values())
    stored = json.loads(json.dumps(choice._stored(judgement)))
    assert choice.restored(stored["lowered"]) == judgement.lowered
    assert stored["best"] == judgement.best


def judgement(name: int, chosen: float, other: float) -> Judgement:
    problem = replace(SMALL[0], shape=(name,))
    runs = {"direct": Run(1e-3, chosen), "fft": Run(2e-3, other)}
    return Judgement(problem, plan_of(SMALL[0]).problem, "direct", runs)


def test_shares_and_losses() -> None:
    found = [judgement(100, 1.0, 2.0), judgement(200, 1.05, 1.0), judgement(300, 1.4, 1.0), judgement(400, 3.0, 1.0)]
    summary = choice.summary(found)
    assert summary["within_10_percent"] == 0.5
    assert summary["within_1.5x"] == 0.75
    assert summary["worst"] == 3.0
    assert summary["worst_problem"].startswith("400 9")
    assert choice.losses(found).row_count == 2


def test_the_grid_is_always_the_same_and_a_part_of_it_is_drawn_by_a_seed() -> None:
    grid = choice_grid.grid()
    assert len(grid) == len(set(grid)) == 500
    assert grid == choice_grid.grid()
    part = choice_grid.drawn(60, 1)
    assert len(part) == 60
    assert set(part) < set(grid)
    assert part != choice_grid.drawn(60, 2)
    assert choice_grid.drawn(None, None) == choice_grid.drawn(10_000, 3) == grid
    for word in ("dtype", "boundary", "values", "stride"):
        assert len({getattr(problem, word) for problem in grid}) >= 2
    assert {len(problem.taps) for problem in grid} == {1, 2, 3}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(choice_grid, "grid", lambda: SMALL)
    path = tmp_path / "choice.json"

    def run(*words: str) -> str:
        given = ["bench", *words]
        return CliRunner().invoke(build(given), given, prog_name="convkit").output

    said = run("choice", "--count", "3", "--rounds", "1", "--json", str(path))
    document = json.loads(path.read_text(encoding="utf-8"))
    assert len(document["results"]) == 3
    assert {"machine", "cpu", "versions", "threads", "within_10_percent", "worst"} <= set(document)
    assert "within a factor of 1.5" in said.replace("\n", " ")
    assert "3 个问题" in run("choice", "--count", "3", "--rounds", "1", "--lang", "zh")
    assert "option.bench-nothing" in run("choice", "--only", "no such")
    assert "option.bench-alone" in run("choice", "filters")
    assert "option.bench-not-drawn" in run("filters", "--count", "3")
    # What was written is enough to propose rates.
    lines = module("fit").report(document).splitlines()
    assert lines[-2].startswith("together:")


def test_rates_are_found_again() -> None:
    """Times made from one machine's rates lead from another's to them."""
    fit = module("fit")
    truth = Machine(elementwise=2e9, matrix=1e11, transform=1.3e10, bandwidth=3e9, call=4e-6, fused=5e10)
    sizes = [(200,), (5000,), (100_000,), (2_000_000,)]
    problems = [
        plan_of(Problem("choice", "filter", shape, (k,), "float64")).problem for shape in sizes for k in (3, 31)
    ]
    algorithms = [registry.algorithm(name) for name in ("direct", "fft", "gemm")]
    results = [
        {
            "lowered": {**asdict(problem), "fill": str(problem.fill)},
            "algorithms": {
                one.name: {"measured": one.cost(problem, truth).seconds}
                for one in algorithms
                if one.applies(problem) is None
            },
        }
        for problem in problems
    ]
    measured = fit.measurements({"results": results})
    assert set(measured) == {"direct", "fft", "gemm"}
    for one in measured.values():
        before, after = fit.spread(one, Machine()), fit.spread(one, fit.fitted(one, Machine()))
        assert abs(math.log(after[0])) < abs(math.log(before[0]))
        assert after[1] < 1.3
    assert fit.fitted(measured["direct"], Machine()).call == pytest.approx(truth.call, rel=0.3)
