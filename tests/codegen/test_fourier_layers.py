"""Layers through spectra: every geometry within its bound, the same bits however called, NaN where it belongs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import overlap_save
from convkit.algorithms.support import fourier_layer_program, fourier_layer_weights, fourier_layers
from convkit.codegen import memory
from convkit.errors import AccuracyError
from convkit.planner.finishing import Operands, finish_by_numpy
from convkit.planner.plan import forget_plans, plan_for
from convkit.planner.problem import Problem
from convkit.spec.epilogue import Epilogue
from convkit.spec.window import Window
from convkit.verbs import bilinear

BOUNDARIES = ("zero", "constant", "edge", "reflect", "symmetric", "wrap")
METHOD = "overlap-save"


def forget() -> None:
    """What was worked out for other limits."""
    for cached in (fourier_layers._tiling_of, fourier_layer_program.programs_of, fourier_layer_weights._program):
        cached.cache_clear()
    forget_plans()


@pytest.fixture(autouse=True)
def small_boxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So small that a few channels of a few tiles are several."""
    before = ck.num_threads()
    monkeypatch.setattr(fourier_layers, "BOX", 1 << 17)
    monkeypatch.setattr(fourier_layers, "MOST_WORK", 1 << 18)
    monkeypatch.setattr(fourier_layers, "LEAST_PRODUCTS", 0)
    forget()
    yield
    ck.set_num_threads(before)
    monkeypatch.undo()
    forget()


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    source = np.random.default_rng(seed)
    values = source.standard_normal(shape)
    return (values + 1j * source.standard_normal(shape) if dtype.startswith("c") else values).astype(dtype)


def computed(problem: Problem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """What spectra give; kernels that are compiled must be what is taken."""
    plan, out = plan_for(problem, METHOD), np.full(problem.output_shape, 7.5, problem.compute_dtype)
    assert plan.choice == METHOD
    assert fourier_layers.tiling_of(problem) is not None
    plan.run(plan.prepare(w), x, out)
    return out


def assert_within_bound(problem: Problem, seed: int) -> float:
    """Compare with wider sums; give the error's share of what is allowed."""
    dtype = problem.compute_dtype
    x, w = numbers(problem.input_shape, dtype, seed), numbers(problem.kernel_shape, dtype, seed + 1)
    wide = "complex128" if dtype.startswith("c") else "float64" if dtype == "float32" else "longdouble"
    kinds = {"input_dtype": wide, "kernel_dtype": wide, "compute_dtype": wide}
    plan = plan_for(problem.derive(**kinds), "direct")
    expected = np.empty(problem.output_shape, wide)
    plan.run(plan.prepare(w.astype(wide)), x.astype(wide), expected)
    error = np.abs(computed(problem, x, w) - expected).astype(float)
    bound = plan_for(problem, METHOD).error_bound
    assert bound.kind == "norm"
    fill = abs(problem.fill) * np.sqrt(problem.in_channels * np.prod([w.span + w.size for w in problem.windows]))
    repeats = np.prod([2 + w.span // w.size for w in problem.windows])  # how often the boundary may repeat a sample
    samples, weights = (np.sqrt((np.abs(a) ** 2).sum(axis=tuple(range(2, a.ndim)))) for a in (x, w))
    allowed = bound.factor * (np.sqrt(repeats) * samples + fill)[:, :, None] * weights
    share = error.reshape(*allowed.shape, -1).max(axis=-1) / allowed
    assert share.max() <= 1, f"{problem}: {share.max()} of what is allowed"
    return float(share.max())


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Windows that may leave the input anywhere, of sizes around the edges of tiles, of one to three axes."""
    rank = draw(st.sampled_from((1, 2, 2, 2, 3)))
    sizes = {1: (200, 40), 2: (40, 9), 3: (9, 4)}[rank]
    windows = tuple(
        Window(
            draw(st.integers(1, sizes[0] + 30 * (axis == rank - 1))), draw(st.integers(1, sizes[1])),
            draw(st.integers(1, sizes[0] + 40 * (axis == rank - 1))), draw(st.integers(-4, 3)),
            dilation=draw(st.sampled_from((1, 1, 2, 3))),
            sides=(draw(st.sampled_from(BOUNDARIES)), draw(st.sampled_from(BOUNDARIES))),
        )
        for axis in range(rank)
    )  # fmt: skip
    dtype = draw(st.sampled_from(("float32", "float64", "float32", "complex64")))
    outs = draw(st.integers(1, 5))
    return Problem(
        windows, batch=draw(st.integers(1, 3)), groups=draw(st.integers(1, 3)),
        in_channels=draw(st.integers(1 + (outs == 1), 7)), out_channels=outs, input_dtype=dtype, kernel_dtype=dtype,
        compute_dtype=dtype, fill=draw(st.sampled_from((0, 2.5))),
    )  # fmt: skip


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(problems(), st.integers(0, 99))
def test_every_geometry_within_its_bound(problem: Problem, seed: int) -> None:
    assert_within_bound(problem, seed)


def test_the_bound_is_not_one_that_would_hold_for_anything() -> None:
    shares = [
        assert_within_bound(
            Problem((Window(size, 9, size, -4), Window(70, 7, 70, -3)), in_channels=channels, out_channels=3,
                    input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype),
            size,
        )
        for dtype, channels, size in product(("float32", "float64"), (2, 17, 60), (20, 45))
    ]  # fmt: skip
    assert 1e-5 < max(shares) < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "weights", "options"),
    [
        ((2, 5, 61, 75), (7, 5, 15, 12), {"padding": 7}),
        ((1, 6, 33, 130), (9, 2, 8, 11), {"groups": 3, "padding": (1, 5)}),
        ((3, 4, 40, 37), (3, 4, 5, 7), {"dilation": (3, 2), "padding": 4}),
        ((2, 3, 300), (4, 3, 31), {"padding": 15}),
        ((1, 3, 11, 18, 30), (2, 3, 4, 5, 6), {"padding": 2}),
    ],
)
def test_with_its_gradients_against_torch(
    shape: tuple[int, ...],
    weights: tuple[int, ...],
    options: dict[str, Any],
    dtype: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Gradients choose their own way whatever ``method`` says, so it is forced where they ask for a plan."""
    monkeypatch.setattr(fourier_layers, "MOST_WORK", 1 << 24)
    forget()
    taken: list[bool] = []

    def forced(problem: Problem, method: str = METHOD) -> Any:
        taken.append(fourier_layers.tiling_of(problem) is not None)
        return plan_for(problem, METHOD)

    monkeypatch.setattr(bilinear, "plan_for", forced)
    x, w = numbers(shape, dtype, 1), numbers(weights, dtype, 2)
    forward = {3: torch.nn.functional.conv1d, 4: torch.nn.functional.conv2d, 5: torch.nn.functional.conv3d}[x.ndim]
    wide_x, wide_w = (torch.from_numpy(array).double().requires_grad_() for array in (x, w))
    wide_y = forward(wide_x, wide_w, **options)
    g = numbers(tuple(wide_y.shape), dtype, 3)
    wide_y.backward(torch.from_numpy(g).double())
    ours = (
        ck.conv(x, w, method=METHOD, **options),
        ck.conv_input_gradient(g, w, shape, **options),
        ck.conv_weight_gradient(g, x, weights, **options),
    )
    # The gradient of dilated weights is a strided problem, which is left to ducc0.
    assert len(taken) >= 3
    assert all(taken[:-1])
    assert taken[-1] == ("dilation" not in options)
    for one, expected in zip(ours, (wide_y.detach(), wide_x.grad, wide_w.grad), strict=True):
        assert expected is not None
        scale = float(np.abs(expected.numpy()).max())
        assert np.abs(one - expected.numpy()).max() < 40 * np.finfo(dtype).eps * scale


def test_batch_boxes_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = (Window(50, 9, 52, -5, sides=("wrap", "reflect")), Window(93, 6, 90, -1))
    problem = Problem(windows, 5, 2, 5, 7, "float32", "float32", "float32")
    x, w = numbers(problem.input_shape, "float32", 1), numbers(problem.kernel_shape, "float32", 2)
    one = computed(problem.derive(batch=1), x[2:3], w)
    for threads, box in product((1, 2, 3), (1, 1 << 17, 1 << 23)):
        ck.set_num_threads(threads)
        monkeypatch.setattr(fourier_layers, "BOX", box)
        fourier_layer_program.programs_of.cache_clear()
        assert computed(problem, x, w)[2].tobytes() == one[0].tobytes(), (threads, box)
    tiling = fourier_layers.tiling_of(problem)
    assert tiling is not None
    assert tiling.tiles > 1


def test_boxes_are_cut_as_their_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem((Window(60, 9, 60, -4), Window(100, 7, 100, -3)), 3, 4, 2, 3, "float32", "float32", "float32")
    tiling = fourier_layers.tiling_of(problem)
    assert tiling is not None
    total, one = 3 * tiling.tiles, tiling.box_bytes(problem, 1)
    for most, expected in (
        (1, (1, 1)),
        (3 * one - 1, (1, 2)),
        (total * one, (1, total)),
        (2 * total * one, (2, total)),
    ):
        monkeypatch.setattr(fourier_layers, "BOX", most)
        groups, tiles = tiling.box(problem)
        assert groups == expected[0]
        assert tiles == fourier_layers.largest(total, expected[1])
        assert tiling.box_bytes(problem, tiles) * groups <= max(one, most)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_touches_the_outputs_whose_window_holds_it(value: float) -> None:
    x, w = numbers((2, 3, 60, 90), "float32", 1), numbers((4, 3, 9, 7), "float32", 2)
    clean = ck.conv(x, w, padding=3, method=METHOD)
    source = np.random.default_rng(3)
    for _ in range(4):
        bad = x.copy()
        bad[tuple(source.integers(0, n) for n in x.shape)] = value
        ours = ck.conv(bad, w, padding=3, method=METHOD)
        expected = ck.conv(bad, w, padding=3, method="direct")
        finite = np.isfinite(expected)
        assert not finite.all()
        assert np.array_equal(np.isfinite(ours), finite)
        assert np.array_equal(ours[~finite], expected[~finite], equal_nan=True)
        assert np.allclose(ours[finite], clean[finite], atol=1e-4)


def test_finite_results_are_known_without_another_look() -> None:
    problem = Problem((Window(30, 5, 26), Window(80, 7, 74)), 2, 1, 3, 2, "float32", "float32", "float32")
    x, w = numbers(problem.input_shape, "float32", 1), numbers(problem.kernel_shape, "float32", 2)
    algorithm, out = overlap_save.OverlapSave(), np.empty(problem.output_shape, np.float32)
    prepared = algorithm.prepare(problem, w)
    for value, seen in ((1.0, "finite"), (np.nan, None), (-np.inf, None), (3e38, None)):
        x[1, 0, 2, 29, 79] = value
        assert algorithm.run(problem, prepared, x, out) == seen


def test_an_epilogue_is_done_where_the_sums_stand() -> None:
    problem = Problem((Window(30, 5, 26), Window(80, 7, 74)), 2, 3, 2, 4, "float32", "float32", "float32")
    epilogue = Epilogue(bias=True, add=True, activation="relu")
    x, w = numbers(problem.input_shape, "float32", 1), numbers(problem.kernel_shape, "float32", 2)
    operands = Operands(numbers((3, 4), "float32", 3), numbers(problem.output_shape, "float32", 4))
    plan, out = plan_for(problem.derive(epilogue=epilogue), METHOD), np.empty(problem.output_shape, np.float32)
    plan.run(plan.prepare(w), x, out, operands)
    expected = computed(problem, x, w)
    finish_by_numpy(epilogue, expected, operands)
    assert np.array_equal(out, expected)


def test_layouts_and_types() -> None:
    x, w = numbers((2, 4, 40, 70), "float32", 1), numbers((5, 4, 7, 6), "float32", 2)
    reference = ck.conv(x, w, padding=2, method=METHOD)
    wide = np.zeros((2, 4, 80, 210), np.float32)
    wide[..., ::2, ::3] = x
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    turned = x[..., ::-1, ::-1].copy()[..., ::-1, ::-1]
    for source in (wide[..., ::2, ::3], last, turned):
        ours = ck.conv(source, np.asfortranarray(w), padding=2, method=METHOD)
        assert ours.tobytes() == reference.tobytes()
    out = np.moveaxis(np.empty((2, *reference.shape[2:], 5), np.float32), -1, 1)
    assert ck.conv(last, w, padding=2, method=METHOD, out=out) is out
    assert np.array_equal(out, reference)
    backwards = w[:, :, ::-1, ::-1].copy()
    assert np.array_equal(ck.conv(x, backwards, padding=2, operation="convolution", method=METHOD), reference)
    half = x.astype(np.float16)
    ours = ck.conv(half, w, padding=2, method=METHOD)
    assert np.array_equal(ours, ck.conv(half.astype(np.float32), w, padding=2, method=METHOD))
    z, p = numbers((1, 3, 30, 60), "complex64", 3), numbers((2, 3, 5, 4), "complex64", 4)
    spread = np.empty((1, 2, 52, 171), np.complex64)[:, :, ::2, ::3]
    assert np.array_equal(ck.conv(z, p, method=METHOD, out=spread), ck.conv(z, p, method=METHOD))
    assert np.allclose(spread, ck.conv(z, p, method="direct"), atol=1e-4)


def test_weights_are_transformed_once_for_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem((Window(30, 5, 26), Window(80, 7, 74)), 1, 1, 3, 2, "float32", "float32", "float32")
    w = numbers(problem.kernel_shape, "float32", 2)
    plan = plan_for(problem, METHOD)
    prepared = plan.prepare(w)
    monkeypatch.setattr(fourier_layer_weights, "kernel_spectra", None)
    for batch in (1, 3):
        several = problem.derive(batch=batch)
        x, out = numbers(several.input_shape, "float32", batch), np.empty(several.output_shape, np.float32)
        assert plan.algorithm.run(several, prepared.inner, x, out) == "finite"
        expected = ck.conv(x[:, 0], w[0], method="direct")
        assert np.allclose(out[:, 0], expected, atol=1e-4)


def test_memory_of_a_call_serves_the_next_and_no_other_at_once() -> None:
    with memory.borrowed(1000) as one:
        with memory.borrowed(1000) as other:
            assert abs(one - other) >= 1000
        assert one % 64 == other % 64 == 0
    with memory.borrowed(500) as again:
        assert again in (one, other)
    with memory.borrowed(memory.KEPT + (1 << 20)) as large:
        assert large
    assert sum(piece.size for piece in memory._free) <= memory.KEPT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"compute_dtype": "int64"}, "no-compiled-kernel"),
        ({"compute_dtype": "complex128"}, "no-compiled-kernel"),
        ({"in_channels": 1, "out_channels": 1}, "one-channel"),
        ({"windows": (Window(300, 9, 100, stride=2),)}, "strided"),
        ({"windows": (Window(30, 9, 22),)}, "too-small"),
    ],
)
def test_what_is_left_to_other_transforms(changes: dict, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fourier_layers, "LEAST_PRODUCTS", 9000)
    problem = Problem((Window(300, 9, 292),), in_channels=2, out_channels=3)
    assert fourier_layers.why_not(problem) is None
    refused = fourier_layers.why_not(problem.derive(**changes))
    assert refused is not None
    assert refused.name == reason
    assert fourier_layers.tiling_of(problem.derive(**changes)) is None
    assert fourier_layers.too_large(problem.derive(**changes)) is None


def test_spectra_that_would_take_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = numbers((1, 8, 40, 70), "float32", 1), numbers((9, 8, 7, 6), "float32", 2)
    for name, limit in (("MOST_SPECTRA", 1 << 16), ("MOST_WORK", 1 << 12)):
        monkeypatch.setattr(fourier_layers, name, limit)
        forget()
        with pytest.raises(AccuracyError) as raised:
            ck.conv(x, w, method=METHOD)
        assert raised.value.code == "accuracy.method-does-not-apply"
        found = re.search(r"would take (\d+) bytes, more than (\d+)", str(raised.value))
        assert found is not None
        assert int(found[1]) > int(found[2]) == limit
    monkeypatch.setattr(fourier_layers, "MOST_WORK", 1 << 18)
    forget()
    x, w = x[:, :2], w[:2, :2]
    assert np.allclose(ck.conv(x, w, method=METHOD), ck.conv(x, w, method="direct"), atol=1e-4)


def test_the_plan_tells_what_it_takes() -> None:
    problem = Problem((Window(60, 9, 60, -4), Window(100, 7, 100, -3)), 1, 1, 6, 5, "float32", "float32", "float32")
    plan, tiling = plan_for(problem, METHOD), fourier_layers.tiling_of(problem)
    assert tiling is not None
    prepared = plan.prepare(numbers(problem.kernel_shape, "float32", 1))
    assert plan.workspace >= prepared.inner.nbytes + tiling.box_bytes(problem, tiling.box(problem)[1])
    described = plan.algorithm.describe(problem)  # type: ignore[attr-defined]
    assert described == f"{tiling.kernels(problem)[0].name} {tiling.lengths[0]}x{tiling.lengths[1]}"
    assert all(kernel.module for kernel in tiling.kernels(problem))
