"""The algorithms `implicit-gemm` and `kernel-gradient`: every geometry; the same bits however they are called."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import compiled, implicit_gemm
from convkit.algorithms.support import dense_blocks, dense_samples, dense_tiles, dense_weights, gradients
from convkit.errors import AccuracyError
from convkit.memory import aligned
from convkit.planner.finishing import NOTHING, Operands, finish_by_numpy
from convkit.planner.plan import forget_plans, plan_for
from convkit.planner.problem import Problem
from convkit.spec.epilogue import Epilogue
from convkit.spec.window import Window

LAYERS = [
    ((2, 3, 20), (5, 3, 4), {"padding": 1}),
    ((1, 64, 14, 14), (72, 64, 3, 3), {"padding": 1}),
    ((2, 17, 9, 31), (23, 17, 1, 1), {}),
    ((1, 2, 40, 50), (9, 2, 3, 3), {"padding": 1}),
    ((1, 5, 40, 24), (200, 5, 1, 1), {}),
    ((3, 8, 12, 13), (12, 2, 3, 2), {"groups": 4, "stride": 2, "padding": ((0, 1), (2, 1))}),
    ((3, 24, 15, 18), (24, 1, 3, 3), {"groups": 24, "padding": 1}),
    ((1, 6, 9, 9, 10), (4, 6, 2, 3, 3), {"dilation": 2, "padding": 2}),
]


@pytest.fixture(autouse=True)
def small_problems_too(monkeypatch: pytest.MonkeyPatch) -> Any:
    for module in (compiled, implicit_gemm, gradients):
        monkeypatch.setattr(module, "LEAST_PRODUCTS", 0)
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)
    dense_blocks.blocking.cache_clear()
    forget_plans()


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Small integers: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def both(problem: Problem, x: np.ndarray, w: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    """What ``method`` and the definition give."""
    results = []
    for name in (method, "direct"):
        plan, out = plan_for(problem, name), np.full(problem.output_shape, 7.5, problem.compute_dtype)
        plan.run(plan.prepare(w), x, out)
        results.append(out)
    return results[0], results[1]


def last(array: np.ndarray, axis: int = 2) -> np.ndarray:
    """The same numbers, those along an axis side by side in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, axis, -1)), -1, axis)


LAYOUT = st.sampled_from(("pixels", "channels"))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Windows of any rank, which may leave the input anywhere."""
    names = ("zero", "constant", "edge", "reflect", "symmetric", "wrap")
    windows = []
    for _ in range(draw(st.integers(1, 3))):
        stride, dilation, kernel = (draw(st.integers(1, 3)) for _ in range(3))
        sides = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        size, count = draw(st.integers(1, 12)), draw(st.integers(1, 12))
        windows.append(Window(size, kernel, count, draw(st.integers(-4, 3)), stride, dilation, sides=sides))
    channels = draw(st.integers(1, 40)), draw(st.integers(2, 40))
    dtype = draw(st.sampled_from(("float32", "float64")))
    return Problem(
        tuple(windows), batch=draw(st.integers(1, 3)), groups=draw(st.integers(1, 3)), in_channels=channels[0],
        out_channels=channels[1], input_dtype=draw(st.sampled_from((dtype, "float32", "uint8"))), kernel_dtype=dtype,
        compute_dtype=dtype, fill=draw(st.integers(0, 3)),
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    problems(), st.sampled_from(("pixels", "rows", "channels", "halves")), LAYOUT, LAYOUT,
    st.sampled_from((None, Epilogue(True), Epilogue(True, True, "relu"))),
)  # fmt: skip
def test_any_geometry(
    problem: Problem, vectors_of: str, samples: str, result: str, epilogue: Epilogue | None
) -> None:  # fmt: skip
    """Both register tiles, whatever lies side by side, the sums ended as they are stored."""
    other = "_by_pixels" if vectors_of in ("channels", "halves") else "_by_channels"
    x = np.abs(numbers(problem.input_shape, "float64", 1)).astype(problem.input_dtype)
    w = numbers(problem.kernel_shape, problem.compute_dtype, 2)
    bias, add = (numbers(shape, w.dtype.name, 3) for shape in (problem.kernel_shape[:2], problem.output_shape))
    plan, out = plan_for(problem, "direct"), np.empty(problem.output_shape, w.dtype)
    plan.run(plan.prepare(w), x, out)
    ours = np.full(out.shape, 7.5, w.dtype)
    if result == "channels":
        add, ours = last(add), last(ours)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_blocks, other, lambda *_: [])
        patch.setattr(dense_blocks, "STORING", 1e9 if vectors_of == "rows" else 0)
        patch.setattr(dense_blocks, "HALVES", 1e-9 if vectors_of == "halves" else 1e9)
        forget_tiles()
        plan = plan_for(problem.derive(epilogue=epilogue), "implicit-gemm")
        operands = NOTHING if epilogue is None else Operands(bias, add if epilogue.add else None)
        plan.run(plan.prepare(w), last(x) if samples == "channels" else x, ours, operands)
    forget_tiles()
    if epilogue is not None:
        finish_by_numpy(epilogue, out, operands)
    assert np.array_equal(ours, out)


def forget_tiles() -> None:
    """Have everything cut anew."""
    for cached in (
        dense_blocks.blocking,
        dense_tiles.program,
        dense_tiles.scratch,
        dense_tiles.samples_at_once,
        dense_weights._program,
        dense_blocks.runs,
    ):
        cached.cache_clear()
    forget_plans()


@settings(max_examples=150, deadline=None)
@given(problems(), LAYOUT, LAYOUT, LAYOUT)
def test_any_gradient_of_weights(problem: Problem, samples: str, upstream: str, result: str) -> None:
    adjoint = problem.derive(
        windows=tuple(window.kernel_adjoint() for window in problem.windows), batch=problem.in_channels,
        in_channels=problem.batch, batch_of="channels",
    )  # fmt: skip
    x = np.abs(numbers(adjoint.input_shape, "float64", 1)).astype(adjoint.input_dtype)
    g = numbers(adjoint.kernel_shape, adjoint.compute_dtype, 2)
    plan, expected = plan_for(adjoint, "direct"), np.empty(adjoint.output_shape, g.dtype)
    plan.run(plan.prepare(g), x, expected)
    ours = np.full(expected.shape, 7.5, g.dtype)
    ours = last(ours, 0) if result == "channels" else np.moveaxis(last(np.moveaxis(ours, 0, 2)), 2, 0)
    plan = plan_for(adjoint, "kernel-gradient")
    plan.run(
        plan.prepare(last(g, 1) if upstream == "channels" else g), last(x, 0) if samples == "channels" else x, ours
    )
    assert np.array_equal(ours, expected)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_any_gradient_of_depthwise_weights(problem: Problem) -> None:
    pairs = 1 + problem.in_channels % 3, 1 + problem.out_channels % 4
    adjoint = problem.derive(
        windows=tuple(window.kernel_adjoint() for window in problem.windows), batch=pairs[0], groups=problem.groups * 7,
        in_channels=problem.batch, out_channels=pairs[1], batch_of="channels",
    )  # fmt: skip
    x = np.abs(numbers(adjoint.input_shape, "float64", 1)).astype(adjoint.input_dtype)
    ours, expected = both(adjoint, x, numbers(adjoint.kernel_shape, adjoint.compute_dtype, 2), "depthwise-gradient")
    assert np.array_equal(ours, expected)


def _method(w: np.ndarray) -> str:
    """The dense way where it applies."""
    return "compiled" if w.shape[1] == 1 else "implicit-gemm"


def layer(x: np.ndarray, w: np.ndarray, options: dict[str, Any]) -> list[np.ndarray]:
    """A layer's result and both gradients."""
    y = ck.conv(x, w, method=_method(w), **options)
    g = np.random.default_rng(3).standard_normal(y.shape).astype(x.dtype)
    gradients = (
        ck.conv_input_gradient(g, w, x.shape, **options),
        ck.conv_weight_gradient(g, x, w.shape, **options),
    )
    return [y, *gradients]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), LAYERS)
def test_threads_change_no_bit(x_shape: Any, w_shape: Any, options: dict[str, Any], dtype: str) -> None:
    source = np.random.default_rng(1)
    x, w = source.standard_normal(x_shape).astype(dtype), source.standard_normal(w_shape).astype(dtype)
    results = []
    for threads in (1, 2, 3):
        ck.set_num_threads(threads)
        results.append([array.tobytes() for array in layer(x, w, options)])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(("x_shape", "w_shape", "options"), LAYERS)
def test_a_batch_changes_no_bit(x_shape: Any, w_shape: Any, options: dict[str, Any]) -> None:
    source = np.random.default_rng(1)
    x, w = source.standard_normal((5, *x_shape[1:])), source.standard_normal(w_shape)
    y, gradient, _ = layer(x, w, options)
    g = np.random.default_rng(3).standard_normal(y.shape)
    for n in range(5):
        one = ck.conv(x[n : n + 1], w, method=_method(w), **options)
        assert one.tobytes() == y[n : n + 1].tobytes()
        back = ck.conv_input_gradient(g[n : n + 1], w, (1, *x.shape[1:]), **options)
        assert back.tobytes() == gradient[n : n + 1].tobytes()


def test_a_tile_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large tiles and small ones, pixels or channels side by side in registers and in memory."""
    source = np.random.default_rng(1)
    x, w = source.standard_normal((1, 30, 20, 23)), source.standard_normal((37, 30, 3, 3))
    results = set()
    ways = ("_by_channels", 1), ("_by_pixels", 1e9), ("_by_pixels", 1e-9)
    for products, pixels, (other, halves) in product((1 << 24, 1), (1 << 10, 1), ways):
        with monkeypatch.context() as patch:
            patch.setattr(dense_blocks, "HALVES", halves)
            patch.setattr(dense_blocks, other, lambda *_: [])
            patch.setattr(dense_blocks, "TILE_PRODUCTS", products)
            patch.setattr(dense_blocks, "LEAST_PIXELS", pixels)
            forget_tiles()
            for samples in (x, last(x, 1)):
                results.add(ck.conv(samples, w, padding=1, method="implicit-gemm").tobytes())
    assert len(results) == 1


def test_layouts() -> None:
    """Views with any strides in and out: channels last, every second number, reversed."""
    x, w = numbers((2, 12, 9, 14), "float32", 1), numbers((20, 12, 3, 3), "float32", 2)
    expected = ck.conv(x, w, padding=1, method="direct")
    wide = np.zeros((2, 12, 18, 28), "float32")
    wide[..., ::2, ::2] = x
    backwards = x[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1]
    kernels = (
        w,
        np.asfortranarray(w),
        w[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
        w.swapaxes(0, 1).copy().swapaxes(0, 1),
    )
    for view, kernel in product((x, last(x, 1), wide[..., ::2, ::2], backwards), kernels):
        out_last = np.zeros((2, 9, 14, 20), "float32").transpose(0, 3, 1, 2)
        for out in (np.zeros((2, 20, 9, 14), "float32"), out_last, np.zeros((2, 20, 9, 28), "float32")[..., ::2]):
            ck.conv(view, kernel, padding=1, method="implicit-gemm", out=out)
            assert np.array_equal(out, expected)
    for kernel in (
        w,
        last(w, 1),
        w[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
    ):  # laid down for the gradient of the input
        g = numbers(expected.shape, "float32", 4)
        gradient = ck.conv_input_gradient(g, w.astype(float), x.shape, padding=1, method="direct")
        for upstream in (g, last(g, 1)):
            ours = ck.conv_input_gradient(upstream, kernel, x.shape, padding=1, accuracy="elementwise")
            assert np.array_equal(ours, gradient)
    one = numbers((20, 12, 1, 1), "float32", 3)
    for view in (x, last(x, 1), wide[..., ::2, ::2]):
        assert np.array_equal(ck.conv(view, one, method="implicit-gemm"), ck.conv(x, one, method="direct"))


def test_what_is_infinite_upstream_of_a_transposed_layer_stays_with_its_channel() -> None:
    """Its weights' gradient is formed phase by phase; an infinite number meets the samples of its windows alone."""
    x, w = torch.from_numpy(numbers((2, 6, 9, 10), "float32", 1)), torch.from_numpy(numbers((6, 5, 3, 3), "float32", 2))
    w.requires_grad_()
    y = ck.conv_transpose(x, w, stride=2, padding=1)
    g = torch.ones_like(y)
    g[0, 1, 0, 0] = np.inf
    y.backward(g)
    # The first output of all is made by the middle of the kernel from the first sample.
    expected = np.zeros(w.shape, bool)
    expected[:, 1, 1, 1] = True
    assert np.array_equal(~np.isfinite(w.grad.numpy()), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_infinite_weight_of_one_element_is_not_looked_for(value: float) -> None:
    """No zero beyond an edge meets it, so every way takes it as it is; weights of both layouts."""
    x, w = numbers((2, 32, 9, 11), "float32", 1), numbers((48, 32, 1, 1), "float32", 2)
    w[3, 7] = value
    x[0, 7, 2, 3] = 0
    g = numbers((2, 48, 9, 11), "float32", 3)
    for samples, upstream in ((x, g), (last(x, 1), last(g, 1))):
        y, ours = ck.conv(samples, w), ck.conv_input_gradient(upstream, w, x.shape)
        assert np.array_equal(y, ck.conv(x, w, method="direct"), equal_nan=True)
        expected = ck.conv_input_gradient(g, w, x.shape, method="direct")
        assert np.array_equal(ours, expected, equal_nan=True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_windows(value: float) -> None:
    x, w = numbers((2, 5, 9, 11), "float64", 1), numbers((18, 5, 3, 3), "float64", 2)
    x[1, 2, 4, 10] = value
    y = ck.conv(x, w, padding=1, method="implicit-gemm")
    assert np.array_equal(y, ck.conv(x, w, padding=1, method="direct"), equal_nan=True)
    assert np.isfinite(y).sum() == y.size - 18 * 3 * 2
    g = numbers(y.shape, "float64", 3)
    problem = Problem(
        (Window(9, 9, 3, -1), Window(11, 11, 3, -1)), batch=5, in_channels=2, out_channels=18, batch_of="channels"
    )
    ours, expected = both(problem, x[:, None].swapaxes(0, 2), np.moveaxis(g[:, None], 0, 2), "kernel-gradient")
    assert np.array_equal(ours, expected, equal_nan=True)
    assert np.isfinite(ours).any()
    w[3, 1, 1, 1] = value  # times the zeros beyond the edge it would be a NaN; such kernels go another way
    assert np.array_equal(
        ck.conv(x, w, padding=1, method="implicit-gemm"), ck.conv(x, w, padding=1, method="direct"), equal_nan=True
    )


def test_errors_stay_within_the_bound() -> None:
    source = np.random.default_rng(1)
    x, w = source.standard_normal((1, 300, 9, 9)), source.standard_normal((40, 300, 3, 3))
    y = ck.conv(x.astype("f"), w.astype("f"), padding=1, method="implicit-gemm")
    sizes = ck.conv(np.abs(x), np.abs(w), padding=1, method="direct")
    error = np.abs(y - ck.conv(x.astype("f").astype(float), w.astype("f").astype(float), padding=1, method="direct"))
    assert (error <= 2702 * 2.0**-24 * sizes).all()
    assert error.max() > 0


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "dtype", "words"),
    [
        ((1, 1, 9, 9), (1, 1, 3, 3), "float64", "there is only one"),
        ((1, 2, 9, 9), (2, 2, 3, 3), "complex128", "no compiled kernel for complex128"),
        ((1, 2, 90, 90), (2, 2, 70, 70), "float64", "4900 elements a channel"),
    ],
)
def test_what_it_leaves_to_others(x_shape: Any, w_shape: Any, dtype: str, words: str) -> None:
    with pytest.raises(AccuracyError) as caught:
        ck.conv(np.ones(x_shape, dtype), np.ones(w_shape, dtype), method="implicit-gemm")
    assert caught.value.code == "accuracy.method-does-not-apply"
    assert words in str(caught.value)


def test_gradients_are_for_another() -> None:
    problem = Problem((Window(9, 3, 7),), batch=4, in_channels=2, out_channels=3, batch_of="channels")
    for wrong, method, words in (
        (problem, "implicit-gemm", "kernel-gradient forms it"),
        (problem.derive(batch_of="samples"), "kernel-gradient", "a sum over samples"),
        (problem.derive(out_channels=5), "depthwise-gradient", "20 pairs of channels"),
    ):
        with pytest.raises(AccuracyError) as caught:
            plan_for(wrong.derive(batch=1) if wrong.batch_of == "samples" else wrong, method)
        assert words in str(caught.value)


def test_they_are_chosen_where_they_are_fastest() -> None:
    for channels, size, kernel in ((64, 56, 3), (512, 7, 3), (256, 56, 1), (3, 224, 7)):
        window = Window(size, kernel, size, -(kernel // 2))
        types = {"input_dtype": "float32", "kernel_dtype": "float32", "compute_dtype": "float32"}
        problem = Problem((window, window), in_channels=channels, out_channels=64, accuracy="elementwise", **types)
        assert plan_for(problem).choice == "implicit-gemm"
        adjoint = window.kernel_adjoint()
        gradient = Problem(
            (adjoint,) * 2, batch=channels, in_channels=8, out_channels=64, batch_of="channels", accuracy="elementwise",
            **types,
        )  # fmt: skip
        assert plan_for(gradient).choice == "kernel-gradient"
    depthwise = Window(56, 3, 56, -1).kernel_adjoint()
    for groups, choice in ((4, "depthwise-gradient"), (128, "channelwise-gradient")):
        problem = Problem((depthwise,) * 2, groups=groups, in_channels=8, batch_of="channels", **types)
        assert plan_for(problem).choice == choice


def test_many_channels_side_by_side_are_laid_down_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = numbers((1, 37, 12, 13), "float32", 1), numbers((18, 37, 3, 3), "float32", 2)
    expected = ck.conv(x, w, padding=1, method="direct")
    monkeypatch.setattr(dense_samples, "MOST_BYTES", 1)
    forget_tiles()
    out = last(np.zeros_like(expected), 1)
    ck.conv(last(x, 1), w, padding=1, method="implicit-gemm", out=out)
    forget_tiles()
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("dilation", [1, 2])
def test_a_constant_stands_where_both_axes_are_left(dilation: int) -> None:
    """Kernel rows beyond zeros are left out only if nothing else stands there."""
    rows = Window(5, 3, 7, -2, dilation=dilation)
    columns = Window(6, 3, 8, -2, sides=("zero", "constant"))
    problem = Problem((rows, columns), in_channels=5, out_channels=17, fill=3)
    x, w = numbers(problem.input_shape, "float64", 1), numbers(problem.kernel_shape, "float64", 2)
    ours, expected = both(problem, x, w, "implicit-gemm")
    assert np.array_equal(ours, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_channels_side_by_side(dtype: str) -> None:
    """Blocks of two sizes, the last one's vectors not full."""
    for outputs in range(2, 150, 7):
        x, w = numbers((1, 3, 5, 6), dtype, 1), numbers((outputs, 3, 3, 3), dtype, 2)
        expected = ck.conv(x, w, padding=1, method="direct")
        out = last(np.full_like(expected, 7.5), 1)
        ck.conv(last(x, 1), w, padding=1, method="implicit-gemm", out=out)
        assert np.array_equal(out, expected), outputs


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from((16, 32, 33, 48)), st.integers(1, 3), st.integers(1, 4), st.sampled_from((3, 16, 17, 32)),
    st.sampled_from((1, 3)), LAYOUT, st.integers(0, 3), st.integers(0, 1),
)  # fmt: skip
def test_past_the_caches(
    width: int, batch: int, channels: int, outputs: int, kernel: int, result: str, at: int, line: int
) -> None:  # fmt: skip
    """Results that are written past the caches are the same, wherever they begin and whatever fills no vector."""
    window = Window(width, kernel, width, -(kernel // 2))
    types = {"input_dtype": "float32", "kernel_dtype": "float32", "compute_dtype": "float32"}
    problem = Problem((window, window), batch=batch, in_channels=channels, out_channels=outputs, **types)
    x, w = numbers(problem.input_shape, "float32", 1), numbers(problem.kernel_shape, "float32", 2)
    plan, expected = plan_for(problem, "direct"), np.empty(problem.output_shape, "float32")
    plan.run(plan.prepare(w), x, expected)
    room = aligned((expected.size + 32,), np.float32)
    room[...] = 7.5
    begin = 16 * line + at
    out = room[begin : begin + expected.size]
    if result == "channels":
        out = np.moveaxis(out.reshape(batch, 1, width, width, outputs), -1, 2)
        x = last(x)
    out = out.reshape(expected.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_tiles, "STREAMED", 0)
        plan = plan_for(problem, "implicit-gemm")
        plan.run(plan.prepare(w), x, out)
    assert np.array_equal(out, expected)
    assert (room[:begin] == 7.5).all()
    assert (room[begin + expected.size :] == 7.5).all()


def test_whole_vectors_at_lines_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for name in ("Dense", "DenseChannels"):
        kind = getattr(dense_tiles, name)
        monkeypatch.setattr(dense_tiles, name, lambda *a, kind=kind: made.append(a[7]) or kind(*a))
    monkeypatch.setattr(dense_tiles, "STREAMED", 1 << 16)
    for width, outputs, streamed in ((32, 16, True), (32, 15, False), (8, 16, False)):
        forget_tiles()
        made.clear()
        x, w = np.ones((1, 4, width, width), np.float32), np.ones((outputs, 4, 3, 3), np.float32)
        out = aligned((1, outputs, width, width), np.float32)
        ck.conv(x, w, padding=1, out=out, method="implicit-gemm")
        assert ("streamed" in made) == streamed, (width, outputs)
        made.clear()
        ck.conv(x, w, padding=1, out=aligned((out.size + 1,), "float32")[1:].reshape(out.shape), method="implicit-gemm")
        assert "streamed" not in made
    forget_tiles()


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 1}])
def test_what_is_infinite_upstream_stays_with_its_channel(options: dict[str, Any]) -> None:
    """Also where the gradient is not looked at beforehand, because no window leaves the input."""
    x, w = numbers((2, 5, 8, 9), "float32", 1), numbers((20, 5, 2, 2), "float32", 2)
    g = numbers(ck.conv(x, w, **options).shape, "float32", 3)
    g[0, 3, 0, 0], g[1, 7, 2, 3], x[1, 2, 3, 4] = np.inf, np.nan, -np.inf
    reached = np.pad(x, ((0, 0), (0, 0), *[(options.get("padding", 0),) * 2] * 2)).astype(np.float64)
    inside = np.pad(np.ones(x.shape), ((0, 0), (0, 0), *[(options.get("padding", 0),) * 2] * 2)).astype(bool)
    step, (rows, columns) = options.get("stride", 1), g.shape[2:]
    expected = np.zeros(w.shape)
    with np.errstate(invalid="ignore"):
        for i, j in product(range(2), range(2)):
            at = (..., slice(i, i + rows * step, step), slice(j, j + columns * step, step))
            v, there = reached[at][..., :rows, :columns], inside[at][..., :rows, :columns]
            products = np.where(there[:, None], g[:, :, None] * v[:, None], 0)
            expected[..., i, j] = products.sum((0, 3, 4))
    assert np.array_equal(ck.conv_weight_gradient(g, x, w.shape, **options), expected, equal_nan=True)
