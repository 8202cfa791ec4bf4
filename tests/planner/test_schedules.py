"""An algorithm may name the schedule its loops follow; a report shows it, and does without where none is named."""

from __future__ import annotations

import pytest

import convkit as ck
from convkit.catalogue import say, using
from convkit.explain import plan_markdown
from convkit.planner import Problem, registry


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> str:
    """``gemm`` with a schedule for kernels of two rows or more; the name it gives."""
    algorithm = registry.algorithm("gemm")
    monkeypatch.setattr(
        type(algorithm),
        "describe",
        lambda self, problem: None if problem.windows[-2].kernel == 1 else f"tile_{problem.windows[-2].kernel}",
        raising=False,
    )
    return "tile_3"


def test_a_schedule_stands_in_its_algorithms_row(described: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVKIT_JIT", "0")
    report = ck.plan((40, 50), (3, 4)).report()
    assert {row.algorithm: row.schedule for row in report.rows if row.schedule} == {"gemm": described}
    for language in ("en", "zh"):
        with using(language):
            lines = str(report).splitlines()
            assert lines[2].rstrip().endswith(say("plan.column.schedule"))
            (row,) = [line for line in lines if line.strip(" *").startswith("gemm ")]
            assert row.endswith(described)
            assert f"`{described}`" in plan_markdown(report)
            assert say("plan.column.schedule") in plan_markdown(report)
    data = {row["algorithm"]: row["schedule"] for row in report.to_dict()["algorithms"]}
    assert data["gemm"] == described
    assert data["direct"] is None


def test_there_is_no_column_where_nothing_is_named(described: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVKIT_JIT", "0")
    assert say("plan.column.schedule") not in str(ck.plan((40, 50), (1, 4)).report())


def test_what_an_algorithm_names_and_which_kernels_it_runs_agree() -> None:
    for problem in (ck.plan((400, 500), (5, 4), "float32").problem, ck.plan((400, 500), (5, 4), "float64").problem):
        assert isinstance(problem, Problem)
        for algorithm in registry.algorithms():
            kernels = getattr(algorithm, "kernels", None)
            if kernels is None or algorithm.applies(problem) is not None:
                continue
            names = [kernel.name for kernel in kernels(problem)]
            assert names
            assert any(name in algorithm.describe(problem) for name in names)  # type: ignore[attr-defined]
