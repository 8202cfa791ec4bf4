"""The planner's choice, its reasons, what it remembers, and what it says about memory and error."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import convkit as ck
from convkit import algorithms  # noqa: F401  (registers them)
from convkit.catalogue import using
from convkit.planner import Problem, machine, plan_for, registry, wisdom
from convkit.planner.plan import forget_plans
from convkit.spec import ConvSpec
from convkit.storage import write_whole


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no plan remembered from before."""
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CONVKIT_MACHINE")
    machine.current.cache_clear()
    forget_plans()
    yield tmp_path / "cache"
    machine.current.cache_clear()
    forget_plans()


def test_a_report_has_a_row_and_a_reason_for_every_algorithm() -> None:
    report = ck.plan((300, 400), (5, 4), "float32", mode="same").report()
    assert [row.algorithm for row in report.rows] == [algorithm.name for algorithm in registry.algorithms()]
    for row in report.rows:
        assert (row.why_not is None) != (row.cost is None) or row.why_not is not None
    chosen = next(row for row in report.rows if row.algorithm == report.choice)
    others = [row.cost.seconds for row in report.rows if row.why_not is None]
    assert chosen.cost.seconds == min(others)
    said = str(report)
    for name in ("direct", "gemm", "fft", "exact-integer", "polyphase", "separable"):
        assert name in said
    assert "sums are formed in float32, not in integers" in said
    with using("zh"):
        assert "求和使用 float32，不是整数" in str(report)


def test_a_report_is_plain_data_for_programs() -> None:
    plan = ck.plan((64,), (9,), mode="valid")
    data = json.loads(json.dumps(plan.report().to_dict()))
    assert data["choice"] == plan.choice == "dot"
    assert {row["algorithm"] for row in data["algorithms"]} >= {"dot", "direct", "fft"}


@pytest.mark.parametrize(
    ("shape", "kernel", "choice"),
    [
        ((100,), (5,), {"dot"}),
        ((1 << 20,), (3,), {"direct", "gemm"}),
        ((1 << 20,), (4001,), {"overlap-save"}),
        ((9000,), (9000,), {"fft", "overlap-save"}),
    ],
)
def test_the_choice_follows_the_size(
    shape: tuple[int, ...], kernel: tuple[int, ...], choice: set[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVKIT_JIT", "0")
    assert ck.plan(shape, kernel).choice in choice


def test_layers_are_multiplied_and_factors_are_found(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVKIT_JIT", "0")
    spec = ConvSpec.of_network(2, padding=1)
    layer = Problem(spec.windows((30, 31), (3, 3)), batch=2, in_channels=64, out_channels=32, compute_dtype="float32")
    assert plan_for(layer).choice == "gemm"
    separable = ck.Convolver(np.outer(np.arange(1.0, 24), np.arange(2.0, 24)), mode="same", accuracy="elementwise")
    assert separable.plan((900, 800)).choice == "separable"


def test_elementwise_accuracy_leaves_transforms_out() -> None:
    plan = ck.plan((1 << 16,), (2001,), accuracy="elementwise")
    assert plan.error_bound.kind == "elementwise"
    out = {row.algorithm: row.why_not for row in plan.report().rows}
    assert "does not meet accuracy=elementwise" in str(out["overlap-save"])
    with pytest.raises(ck.ConvError, match=r"accuracy\.method-does-not-apply") as caught:
        ck.plan((1 << 16,), (2001,), accuracy="elementwise", method="fft")
    assert "direct" in str(caught.value)


def test_a_tolerance_picks_by_the_stated_bound() -> None:
    free, tight = (ck.plan((1 << 16,), (2001,), "float32", accuracy=rtol) for rtol in (1e-2, 1.3e-4))
    assert free.choice in ("fft", "overlap-save")
    assert float(tight.error_bound) <= 1.3e-4
    with pytest.raises(ck.ConvError) as caught:
        ck.plan((100,), (5,), "float32", accuracy=1e-9)
    assert caught.value.code == "accuracy.none-accurate-enough"
    assert 'dtype="float64"' in str(caught.value)


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ck.ConvError) as caught:
        ck.convolve([1.0], [1.0], method="ftt")
    assert caught.value.code == "option.unknown-value"
    assert 'method="fft"' in str(caught.value)


def test_a_batch_is_planned_as_its_samples_are() -> None:
    one = ck.plan((1, 3000), (301,), axes=1)
    many = ck.plan((500, 3000), (301,), axes=1)
    assert one.choice == many.choice


SHAPES = [
    ((700, 650), (9, 8), "float32", "compiled"),
    ((300000,), (31,), "float64", "compiled"),
    ((60, 70, 80), (5, 4, 3), "float64", "compiled"),
    ((700, 650), (9, 8), "float32", "direct"),
    ((700, 650), (9, 8), "float32", "gemm"),
    ((700, 650), (9, 8), "float32", "fft"),
    ((700, 650), (31, 30), "float32", "overlap-save"),
    ((300000,), (2500,), "float64", "overlap-save"),
    ((300000,), (31,), "float64", "direct"),
    ((700, 650), (9, 8), "float64", "separable"),
    ((700, 650), (7, 8), "uint8", "exact-integer"),
    ((60, 70, 80), (5, 4, 3), "float64", "overlap-save"),
]


@pytest.mark.parametrize("boundary", ["zero", "reflect", "wrap"])
@pytest.mark.parametrize(("shape", "kernel", "dtype", "method"), SHAPES)
def test_no_more_memory_than_the_plan_says(
    shape: tuple[int, ...], kernel: tuple[int, ...], dtype: str, method: str, boundary: str
) -> None:
    source = np.random.default_rng(1)
    x = (source.random(shape) * 100).astype(dtype)
    k = (source.random(kernel) * 100).astype(dtype)
    if method == "separable":
        k = np.outer(k[:, 0], k[0])
    convolver = ck.Convolver(k, mode="same", boundary=boundary, method=method)
    convolver.apply(x)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    out = convolver.apply(x)
    beyond = tracemalloc.get_traced_memory()[1] - before - out.nbytes
    tracemalloc.stop()
    plan = convolver.plan(shape, dtype)
    assert plan.choice == method
    assert beyond <= plan.workspace + (1 << 16), f"{beyond} bytes taken, {plan.workspace} announced"
    if method not in ("fft", "overlap-save"):
        assert beyond < x.nbytes * 2 or beyond < 13 << 20, "the input was copied whole"


def test_measuring_chooses_and_is_remembered(cache: Path) -> None:
    plan = ck.plan((4000,), (40,), method="measure")
    timings = wisdom.recall(plan.problem)
    assert plan.choice == min(timings, key=timings.get)
    assert len(timings) >= 2
    assert "the fastest when measured" in str(plan.report())


def test_wisdom_decides_later_plans(cache: Path) -> None:
    problem = ck.plan((5000,), (77,)).problem
    first = plan_for(problem).choice
    other = "gemm" if first != "gemm" else "direct"
    forget_plans()
    wisdom.remember(problem, {first: 1.0, other: 1e-3})
    assert plan_for(problem).choice == other


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"a": 1}', '{"a": {"b": "c"}}', "\x00" * 50])
@pytest.mark.parametrize("name", ["wisdom.json", "machine.json"])
def test_a_damaged_cache_file_is_ignored_and_mended(cache: Path, name: str, damage: str) -> None:
    cache.mkdir()
    (cache / name).write_text(damage, encoding="utf-8")
    with pytest.warns(UserWarning, match="damaged"):
        ck.plan((777,), (55,))
    if name == "wisdom.json":
        forget_plans()
        with pytest.warns(UserWarning, match="damaged"):
            ck.plan((777,), (55,), method="measure")
        assert json.loads((cache / name).read_text(encoding="utf-8"))


def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("CONVKIT_CACHE_DIR", str(blocked / "cache"))
    forget_plans()
    assert ck.plan((900,), (12,), method="measure").choice
    assert not write_whole(blocked / "cache" / "x", "text")
    assert blocked.read_text() == "in the way"


def test_the_machine_is_measured_once_and_remembered(cache: Path) -> None:
    measured = machine.measure()
    assert machine.current() == measured
    for rate in (measured.elementwise, measured.matrix, measured.transform, measured.bandwidth, measured.fused):
        assert 1e7 < rate < 1e14
    stored = json.loads((cache / "machine.json").read_text(encoding="utf-8"))
    older = {name: rate for name, rate in stored.items() if name != "fused"}
    for content in ({**stored, "cpu": "another"}, older):
        (cache / "machine.json").write_text(json.dumps(content), encoding="utf-8")
        machine.current.cache_clear()
        assert machine.current() == machine.Machine()
