"""The benchmark's gate and its document. Timings are never asserted."""

from __future__ import annotations

import inspect
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from scipy import ndimage
from typer.testing import CliRunner

from convkit.catalogue import language, set_language, texts
from convkit.cli import bench
from convkit.cli.bench import layer_samples, peers, report, truth
from convkit.cli.bench.bound import bound
from convkit.cli.bench.command import ALONE, Suite
from convkit.cli.bench.layers import DIRECTIONS
from convkit.cli.bench.measurement import Outcome, Timing, measure
from convkit.cli.bench.problems import Problem
from convkit.cli.bench.random_problems import random_problems
from convkit.cli.bench.suites import TOGETHER, longest
from convkit.errors import AccuracyError, ConvError, FileError, OptionError
from convkit.planner import registry
from convkit.planner.machine import Machine

TINY = [
    Problem("tiny", "filter", (40,), (5,), "float64"),
    Problem("tiny", "filter", (400,), (31,), "float32"),
    Problem("tiny", "filter", (20, 24), (3, 5), "float32"),
    Problem("tiny", "filter", (20, 24), (5, 3), "uint8"),
    Problem("tiny", "filter", (9, 8, 7), (3, 3, 5), "float64"),
    Problem("tiny", "layer", (2, 4, 9, 8), (6, 2, 3, 2), stride=2, padding=1, groups=2),
    Problem("tiny", "layer", (2, 4, 9, 8), (6, 2, 3, 2), padding=1, groups=2, direction="input-gradient"),
    Problem("tiny", "layer", (2, 4, 9, 8), (6, 2, 3, 2), stride=2, dilation=2, direction="weight-gradient", groups=2),
    Problem("tiny", "layer", (2, 3, 20), (4, 3, 5), "float64", padding=2),
    Problem("tiny", "layer", (1, 2, 6, 5, 4), (3, 2, 3, 2, 1), "float64", stride=3, direction="input-gradient"),
    Problem("tiny", "layer", (1, 2, 6, 5, 4), (3, 2, 3, 2, 1), "float64", padding=1, direction="weight-gradient"),
    *(
        Problem("tiny", "layer", (2, 6, 5, 4), (6, 2, 3, 2), "float32", 2, 1, 2, direction, form="transposed")
        for direction in DIRECTIONS
    ),
]
NAMES = [problem.name for problem in TINY]


@pytest.mark.parametrize("problem", TINY, ids=NAMES)
def test_everybody_passes_the_gate_and_the_document_is_complete(problem: Problem) -> None:
    (outcome,) = measure([problem], 2, 1, Machine())
    libraries = {timing.library for timing in outcome.timings}
    assert outcome.failures == {}
    assert outcome.timings[0].library == "convkit"
    assert libraries >= ({"convkit", "OpenCV"} if problem.dtype == "uint8" else {"convkit", "torch"})
    document = json.loads(json.dumps(report.document([outcome], 2, 1, Machine())))
    assert {"convkit", "cpu", "cores", "threads", "rounds", "versions", "machine", "results"} <= set(document)
    assert document["versions"]["numpy"] == np.__version__
    assert document["versions"]["torch"] == torch.__version__.split("+")[0] or "torch" in document["versions"]
    (result,) = document["results"]
    assert result["name"] == problem.name
    assert result["best_peer"] in {timing["name"] for timing in result["timings"]}
    assert result["bound_seconds"] > 0
    assert result["ours"].startswith("convkit")
    assert min(result["ratios"].values()) == result["ratio"] == outcome.ratio
    assert set(result["ratios"]) == libraries - {"convkit"}
    assert Problem(**result["problem"]).name == problem.name
    assert result["algorithm"] in {algorithm.name for algorithm in registry.algorithms()} or problem.kind == "layer"
    ours = min(timing["seconds"] for timing in result["timings"] if timing["library"] == "convkit")
    assert result["flops_per_second"] * ours == pytest.approx(problem.flops)
    assert result["bytes_per_second"] * ours == pytest.approx(problem.bytes)
    for timing in result["timings"]:
        assert timing["low"] <= timing["seconds"] <= timing["high"]
        assert timing["samples"] in (1, 2)
        assert 0 <= timing["error"] < 1e-4
    assert report.table([outcome]).row_count == 1


@pytest.mark.parametrize("problem", TINY, ids=NAMES)
@pytest.mark.parametrize("fault", ["value", "shift", "nan", "shape", "dtype"])
def test_a_wrong_result_fails_before_anything_is_timed(problem: Problem, fault: str) -> None:
    runs: list[int] = []

    def spoil(value: object, entrant: peers.Contender) -> tuple[np.ndarray, ...]:
        results = [np.array(result) for result in entrant.read(value)]
        if fault == "value":
            results[-1].flat[-1] += 9
        elif fault == "shift":
            results[-1] = np.roll(results[-1], 1, axis=-1 if results[-1].shape[-1] > 1 else 0)
        elif fault == "nan":
            results[-1] = results[-1].astype(float)
            results[-1].flat[0] = np.nan
        elif fault == "dtype":
            results[-1] = results[-1].astype("complex64")
        else:
            results[-1] = results[-1][..., :-1]
        return tuple(results)

    def entrants(problem: Problem) -> list[peers.Contender]:
        (honest, *_) = peers.contenders(problem)

        def run() -> object:
            runs.append(1)
            return honest.run()

        return [peers.Contender("convkit", "convkit", run, lambda value: spoil(value, honest))]

    with pytest.raises(AccuracyError) as caught:
        measure([problem], 2, 1, Machine(), entrants=entrants)
    assert caught.value.code == "accuracy.bench-wrong"
    assert len(runs) == 1


def test_a_peer_that_cannot_do_a_problem_is_named_and_the_others_are_measured() -> None:
    def fail() -> object:
        raise MemoryError("too much to ask")

    def entrants(problem: Problem) -> list[peers.Contender]:
        ours, other, *_ = peers.contenders(problem)
        return [ours, other, peers.Contender("torch", "torch poor", fail, other.read)]

    (outcome,) = measure([TINY[1]], 2, 1, Machine(), entrants=entrants)
    assert len(outcome.timings) == 2
    assert outcome.failures == {"torch poor": "too much to ask"}
    (result,) = report.document([outcome], 2, 1, Machine())["results"]
    assert result["could_not"] == outcome.failures


def test_a_failure_of_our_own_stops_the_bench() -> None:
    def fail() -> object:
        raise MemoryError

    with pytest.raises(MemoryError):
        measure([TINY[1]], 2, 1, Machine(), entrants=lambda _: [peers.Contender("convkit", "convkit", fail, tuple)])


def test_the_truth_is_scipys_and_torchs() -> None:
    for problem in TINY:
        x, k = (array.astype(float) for array in problem.arrays())
        result = truth.expected(problem).values
        if problem.kind == "filter":
            np.testing.assert_allclose(result, ndimage.correlate(x, k, mode="constant"), atol=1e-9)
        else:
            np.testing.assert_allclose(result, by_autograd(problem), atol=1e-9)


def by_autograd(problem: Problem) -> np.ndarray:
    a, b = (torch.from_numpy(array.astype(float)).requires_grad_() for array in problem.arrays())
    call = getattr(torch.nn.functional, f"conv{'_transpose' if problem.form == 'transposed' else ''}{a.ndim - 2}d")
    y = call(a, b, **problem.options)
    if problem.direction == "forward":
        return y.detach().numpy()
    wished = a if problem.direction == "input-gradient" else b
    return torch.autograd.grad(y, wished, torch.from_numpy(problem.upstream().astype(float)))[0].numpy()


def test_a_large_layer_is_checked_at_places_drawn_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_samples, "PRODUCTS", 2e5)
    for direction in DIRECTIONS:
        for form in ("conv", "transposed"):
            shape = (2, 12, 61, 50)
            kernel = (16, 6, 3, 5) if form == "conv" else (12, 8, 3, 5)
            large = Problem("tiny", "layer", shape, kernel, "float64", 2, 3, 2, direction, 2, form=form)
            right = truth.expected(large)
            whole = by_autograd(large)
            assert whole.shape == large.computed
            assert right.places is not None
            at = right.places
            assert layer_samples.LEAST < right.values.size + layer_samples.LEAST < whole.size
            np.testing.assert_allclose(right.values, whole[at], atol=1e-9)
            truth.check(large, "somebody", (whole,), right)
            whole[at] = np.roll(whole[at], 1)
            with pytest.raises(AccuracyError):
                truth.check(large, "somebody", (whole,), right)


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with peers.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_suites() -> None:
    assert set(Suite) == {*bench.SUITES, *TOGETHER, *ALONE}
    assert {problem.suite for problem in bench.suites(["all"])} == {"filters", "layers", "overhead"}
    assert longest(bench.suites(["layers", "overhead"])).keys() == {"layers"}
    assert {problem.suite for problem in bench.suites(["filters-full"])} == set(TOGETHER["filters-full"])
    assert bench.suites(["overhead", "all", "overhead"])[0].shape == (100,)
    assert len(bench.suites(["layers", "layers"])) == len(bench.suites(["layers"]))
    for suite in bench.SUITES:
        names = [problem.name for problem in bench.suites([suite])]
        assert len(set(names)) == len(names)
    with pytest.raises(ConvError) as caught:
        bench.suites(["filter"])
    assert caught.value.code == "option.unknown-value"


def test_work_is_counted_by_the_definition() -> None:
    layer = Problem("tiny", "layer", (2, 4, 9, 8), (6, 2, 3, 2), stride=2, padding=1, groups=2)
    assert layer.output == (2, 6, 5, 5)
    assert layer.flops == 2 * (2 * 6 * 5 * 5) * (2 * 3 * 2)
    turned = Problem("tiny", "layer", (2, 6, 5, 4), (6, 2, 3, 2), stride=2, padding=1, groups=2, form="transposed")
    assert turned.output == (2, 4, 9, 6)
    assert turned.flops == 2 * (2 * 6 * 5 * 4) * (2 * 3 * 2)
    image = Problem("tiny", "filter", (2048, 2048), (3, 3))
    assert image.flops == 2 * 2048 * 2048 * 9
    assert image.bytes == pytest.approx(4 * 2 * 2048 * 2048, rel=1e-5)
    assert 50 * 2048**2 < Problem("tiny", "filter", (2048, 2048), (31, 31)).transform_flops < 200 * 2048**2
    assert layer.transform_flops == math.inf


def test_the_bound_is_the_larger_of_memory_and_the_cheaper_work() -> None:
    machine = Machine(matrix=1e12, bandwidth=1e10)
    small, large = (Problem("tiny", "filter", (2048, 2048), (k, k)) for k in (3, 101))
    assert bound(small, machine) == small.bytes / 1e10
    assert bound(large, Machine(matrix=1e9, bandwidth=1e12)) == large.transform_flops / 0.4e9 < large.flops / 1e9
    double = Problem("tiny", "layer", (1, 8, 9, 9), (8, 8, 3, 3), "float64")
    assert bound(double, Machine(matrix=1e9, bandwidth=1e15)) == 2 * double.flops / 1e9


FILTERS = [
    Problem("tiny", "filter", (30, 26, 3), (4, 5), "uint8", axes=(0, 1)),
    Problem("tiny", "filter", (30, 26), (3, 3), "uint8", values="derivative", result="int16", boundary="reflect"),
    Problem("tiny", "filter", (30, 26), (3, 3), "float32", values="derivative", boundary="edge"),
    Problem("tiny", "filter", (30, 26), (13, 13), "uint8", values="gaussian", sigma=2.0, boundary="reflect"),
    Problem("tiny", "filter", (30, 26), (17, 17), "float32", values="gaussian", sigma=2.0, boundary="reflect"),
    Problem("tiny", "filter", (30, 26), (5, 7), "uint8", values="box", boundary="symmetric"),
    Problem("tiny", "filter", (30, 26), (5, 4), "float64", values="separable", boundary="wrap"),
    Problem("tiny", "filter", (9, 8, 7), (3, 2, 5), "float32", values="separable"),
    Problem("tiny", "filter", (9, 8, 17), (4, 1, 6), "float32", values="separable", stride=2, dilation=2),
    Problem("tiny", "filter", (200,), (31,), "int64", span=1 << 24),
    Problem("tiny", "filter", (201,), (8,), "int16", result="int64", boundary="edge"),
    Problem("tiny", "filter", (200,), (30,), "complex64"),
    Problem("tiny", "filter", (20, 31), (4, 3), "complex128", boundary="reflect", layout="transposed"),
    Problem("tiny", "filter", (20, 31), (4, 3), "float16", stride=2),
    Problem("tiny", "filter", (20, 31), (4, 3), "float32", stride=2, dilation=3, boundary="wrap", layout="reversed"),
    Problem("tiny", "filter", (20, 31), (4, 3), "uint8", stride=3, dilation=2, boundary="edge", layout="sliced"),
    Problem("tiny", "filter", (61,), (6,), "float64", stride=3, dilation=2, boundary="symmetric", layout="reversed"),
]


@pytest.mark.parametrize("problem", FILTERS, ids=[problem.name for problem in FILTERS])
def test_everybody_agrees_on_every_kind_of_filter(problem: Problem) -> None:
    (outcome,) = measure([problem], 1, 1, Machine())
    assert outcome.best_peer is not None
    assert not {name: why for name, why in outcome.failures.items() if "conv" not in name}
    assert outcome.ours.error <= 1e-3


def test_a_large_filter_is_checked_at_its_corners_and_at_places_drawn_by_chance() -> None:
    large = Problem("tiny", "filter", (700, 900), (21, 20), boundary="reflect")
    right = truth.expected(large)
    assert right.places is not None
    assert 10_000 < right.values.size < 700 * 900
    x, k = (array.astype(float) for array in large.arrays())
    whole = ndimage.correlate(x, k, mode="mirror")
    np.testing.assert_allclose(right.values, whole[right.places], atol=1e-9)
    truth.check(large, "somebody", (whole.astype("f4"),), right)
    for at in ((0, 0), (-1, -1), (0, -1), (-1, 0)):
        spoiled = whole.astype("f4")
        spoiled[at] += 9
        with pytest.raises(AccuracyError):
            truth.check(large, "somebody", (spoiled,), right)


def test_whole_numbers_must_be_right_and_rounded_ones_may_be_rounded_either_way() -> None:
    exact = Problem("tiny", "filter", (40,), (5,), "int64")
    right = truth.expected(exact)
    with pytest.raises(AccuracyError):
        truth.check(exact, "somebody", (right.values + 1,), right)
    image = Problem("tiny", "filter", (30, 26), (5, 5), "uint8")
    sums = truth.expected(image)
    up, down = (rounded(sums.values).astype("u1") for rounded in (np.ceil, np.floor))
    with pytest.raises(AccuracyError):
        truth.check(image, "somebody", (up,), sums)
    assert truth.check(image, "somebody", (up,), sums, allowance=1.0) > 0
    assert truth.check(image, "somebody", (down,), sums, allowance=1.0) > 0


def test_random_problems_are_the_same_for_a_seed_and_begin_longer_lists() -> None:
    few, many = random_problems(20, 5), random_problems(40, 5)
    assert many[:20] == few != random_problems(20, 6)
    for word in ("boundary", "layout", "dtype", "stride", "dilation"):
        assert len({getattr(problem, word) for problem in random_problems()}) >= 3
    assert {len(problem.shape) for problem in random_problems()} == {1, 2, 3}


def test_losers_are_listed_worst_first_with_their_algorithm() -> None:
    def outcome(size: int, ours: float, theirs: float | None) -> Outcome:
        timings = [Timing("convkit", "convkit", ours, ours, ours, 1, 0.0)]
        if theirs is not None:
            timings.append(Timing("SciPy", "SciPy oaconvolve", theirs, theirs, theirs, 1, 0.0))
        return Outcome(tuple(timings), {}, Problem("random", "filter", (size,), (3,)), 1.0, "dot")

    lines = report.losers([outcome(10, 1.0, 2.0), outcome(20, 2.0, 1.0), outcome(30, 4.0, 1.0), outcome(40, 1.0, None)])
    assert len(lines) == 3
    assert "0.25" in lines[0]
    assert "30 3" in lines[1]
    assert "dot" in lines[1]
    assert "20 3" in lines[2]
    assert len(report.losers([outcome(40, 1.0, None)])) == 1


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typer.Typer:
    monkeypatch.setitem(bench.SUITES, "overhead", lambda: TINY[:2])
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path / "cache"))
    app = typer.Typer()
    app.command()(bench.bench_command)
    return app


def test_the_command_writes_its_results_whole(command: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    result = CliRunner().invoke(command, ["overhead", "--rounds", "2", "--json", str(path)])
    assert result.exit_code == 0, result.output
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [entry["name"] for entry in document["results"]] == NAMES[:2]
    assert list(tmp_path.glob("*.part")) == []


def test_a_wrong_result_leaves_no_file(command: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    monkeypatch.setattr(truth, "SLACK", -1.0)
    result = CliRunner().invoke(command, ["--suite", "overhead", "--rounds", "2", "--json", str(path)])
    assert isinstance(result.exception, AccuracyError)
    assert result.exit_code == 1
    assert not path.exists()


def test_an_unwritable_file_and_an_unmatched_name_are_refused(command: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "results.json"
    result = CliRunner().invoke(command, ["--suite", "overhead", "--rounds", "1", "--json", str(path)])
    assert isinstance(result.exception, ConvError)
    assert result.exception.code == "file.bench-unwritable"
    result = CliRunner().invoke(command, ["--match", "no such problem"])
    assert isinstance(result.exception, ConvError)
    assert result.exception.code == "option.bench-nothing"


def test_the_table_speaks_chinese(command: typer.Typer) -> None:
    before = language()
    try:
        result = CliRunner().invoke(command, ["--suite", "overhead", "--rounds", "1", "--lang", "zh"])
        assert "convkit 与同类库" in result.output  # the title: headings of columns may be broken into lines
    finally:
        set_language(before)


@pytest.mark.parametrize(
    "wrong", [["--lang", "fr"], ["--suite", "filter"], ["filter"], ["--rounds", "0"], ["--threads", "0"]]
)
def test_wrong_usage_is_exit_code_2(command: typer.Typer, wrong: list[str]) -> None:
    assert CliRunner().invoke(command, wrong).exit_code == 2


def test_every_help_text_is_in_the_catalogue() -> None:
    for parameter in inspect.signature(bench.bench_command, eval_str=True).parameters.values():
        (option,) = parameter.annotation.__metadata__
        assert option.help in texts("en")
        assert option.help in texts("zh")


def test_every_sentence_stands_in_both_languages_with_the_same_placeholders() -> None:
    english, chinese = (
        {key: set(re.findall(r"{(\w+)}", text)) for key, text in texts(name).items() if "bench" in key}
        for name in ("en", "zh")
    )
    assert english == chinese
    facts = {"contender": "a", "problem": "b", "error": 1, "allowed": 0, "shape": (1,), "dtype": "f4"}
    for error in (
        AccuracyError("bench-wrong", **facts),
        OptionError("bench-nothing", match="a", suites="b"),
        OptionError("bench-alone", suite="choice", others="a"),
        OptionError("bench-not-drawn", suites="a"),
        FileError("bench-unwritable", path="a"),
    ):
        for name in ("en", "zh"):
            lines = error.text(name).splitlines()
            assert len(lines) == 3
            assert "{" not in "".join(lines)
