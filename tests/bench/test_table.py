"""The README's table is what benchmarks/table.py makes of the committed results, in both languages."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from convkit.cli.bench import network_race, report
from convkit.cli.bench.measurement import Outcome, Timing
from convkit.cli.bench.network_race import NetworkOutcome
from convkit.cli.bench.networks import Network
from convkit.cli.bench.problems import Problem
from convkit.planner.machine import Machine


@pytest.fixture(scope="module")
def table() -> ModuleType:
    source = Path(__file__).parents[2] / "benchmarks" / "table.py"
    spec = importlib.util.spec_from_file_location("table", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_readme_shows_what_was_measured(table: ModuleType, language: str) -> None:
    text = table.READMES[language].read_text(encoding="utf-8")
    made = table.tables(table.committed(), language)
    assert made.count("\n| ") > 30
    assert table.between(text) == made, "run: python benchmarks/table.py"
    assert table.renewed(text, made) == text


def test_a_row_says_what_the_document_says(table: ModuleType) -> None:
    ours, peer = (
        Timing(name.split()[0], name, s, s, s, 3, 0.0) for name, s in (("convkit out=", 2e-3), ("SciPy x", 5e-3))
    )
    problem = Problem("tiny", "filter", (1000, 500), (3, 5), "float64", boundary="reflect")
    outcome = Outcome((ours, peer), {}, problem, 1e-3, "direct")
    alone = replace(outcome, problem=replace(problem, shape=(20,), kernel=(3,)), timings=(ours,))
    document = json.loads(json.dumps(report.document([outcome, alone], 3, 2, Machine())))
    for language, word in (("en", "best peer"), ("zh", "最快的同类库")):
        lines = table.markdown(document, language).splitlines()
        assert word in lines[2]
        assert lines[4] == "| 1000x500 3x5 float64 reflect | 2 ms | 7.5 | 4 | SciPy x | 5 ms | 2.50 | 50% |"
        assert lines[5].startswith("| 20 3 float64 reflect | 2 ms | ")
        assert lines[5].endswith(" | – | – | – | 50% |")
        assert {line.count("|") for line in lines[2:]} == {9}
        assert "2 threads" in lines[0] or "2 个线程" in lines[0]


def test_layers_are_told_by_their_classes_and_networks_by_their_best_peer(table: ModuleType) -> None:
    ours, theirs = (Timing(name, name, s, s, s, 3, 0.0) for name, s in (("convkit", 2e-3), ("torch", 5e-3)))
    layer = Problem("layers", "layer", (1, 64, 56, 56), (64, 64, 3, 3), "float32")
    document = report.document([Outcome((ours, theirs), {}, layer, 1e-3)], 3, 2, Machine())
    assert "| dense, forward, against the best peer | 1 | 2.50 | 2.50 | 0 |" in table.markdown(document)
    network = Network("resnet18", 8, "inference")
    networks = {**document, **network_race.document([NetworkOutcome((ours, theirs), {}, network)])}
    for language, word in (("en", "best peer"), ("zh", "最快的同类库")):
        lines = table.markdown(networks, language).splitlines()
        assert word in lines[2]
        assert lines[4].startswith(f"| {network.name} | 2 ms | ")
        assert lines[4].endswith(" | torch | 5 ms | 2.50 |")


def test_a_readme_without_markers_is_left_alone(table: ModuleType) -> None:
    with pytest.raises(ValueError, match="must stand"):
        table.renewed("# no table here\n", "| a |\n")
    assert (
        table.renewed(f"a\n{table.BEGIN}\nold\n{table.END}\nb\n", "new\n") == f"a\n{table.BEGIN}\nnew\n{table.END}\nb\n"
    )
