"""The algorithms `depthwise` and `channelwise-gradient`: every geometry; the same bits however they are called."""

from __future__ import annotations

import doctest
import math
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import channelwise_gradient, depthwise
from convkit.algorithms.support import (
    channelwise_gradients,
    channelwise_tiles,
    channelwise_ways,
    gradients,
    planar_tiles,
)
from convkit.planner.plan import forget_plans, plan_for
from convkit.planner.problem import Problem
from convkit.spec.window import Window

NAMES = ("zero", "constant", "edge", "reflect", "symmetric", "wrap")
LAYERS = [
    ((2, 32, 23, 30), (32, 1, 3, 3), {"padding": 1}),
    ((2, 37, 14, 14), (37, 1, 5, 5), {"padding": 2}),
    ((3, 20, 7, 7), (40, 1, 3, 3), {"padding": 1}),
    ((2, 48, 15, 18), (48, 1, 3, 2), {"stride": 2, "padding": ((0, 1), (2, 1))}),
    ((2, 70, 9, 33), (70, 1, 7, 7), {"padding": 3}),
    ((2, 24, 12, 13), (24, 2, 3, 3), {"padding": 2, "dilation": 2}),
    ((2, 18, 40), (18, 1, 4), {"padding": 1}),
    ((1, 16, 6, 7, 9), (16, 1, 2, 3, 3), {"padding": 1, "stride": (1, 2, 1)}),
]


@pytest.fixture(autouse=True)
def small_problems_too(monkeypatch: pytest.MonkeyPatch) -> Any:
    for module in (depthwise, gradients):
        monkeypatch.setattr(module, "LEAST_PRODUCTS", 0)
    for module in (depthwise, channelwise_gradient):
        monkeypatch.setattr(module, "LEAST_GROUPS", 1)
    forget_plans()
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)
    forget_plans()


def laid(shape: tuple[int, ...], dtype: str, how: str) -> np.ndarray:
    """An array (batch, groups, channels, ...) that lies in memory in one of several ways, full of sevens."""
    if how == "last":
        return np.moveaxis(np.full((shape[0], *shape[3:], *shape[1:3]), 7, dtype), (-2, -1), (1, 2))
    if how == "every-second":
        return np.full((*shape[:-1], 2 * shape[-1]), 7, dtype)[..., ::2]
    return np.full(shape, 7, dtype)[..., :: -1 if how == "backwards" else 1]


LAYOUTS = ("first", "last", "every-second", "backwards")


@st.composite
def problems(draw: st.DrawFn, upsampled: bool = True) -> Problem:
    """Windows of any rank, which may leave the input anywhere; groups around the lanes of a vector."""
    windows = []
    for _ in range(draw(st.integers(1, 3))):
        stride, dilation, kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
        up = draw(st.sampled_from((1, 1, 2, 3))) if upsampled else 1
        plain = up > 1 or draw(st.booleans())
        sides = ("zero", "zero") if plain else (draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES)))
        size, count = draw(st.integers(1, 20)), draw(st.integers(1, 33))
        windows.append(Window(size, kernel, count, draw(st.integers(-4, 3)), stride, dilation, up, sides))
    dtype = draw(st.sampled_from(("float32", "float64")))
    channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return Problem(
        tuple(windows), batch=draw(st.integers(1, 2)), groups=draw(st.sampled_from((1, 3, 8, 15, 16, 17, 33, 70))),
        in_channels=channels[0], out_channels=channels[1], input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype,
        fill=draw(st.integers(0, 2)),
    )  # fmt: skip


def whole_numbers(array: np.ndarray, seed: int) -> np.ndarray:
    """Small integers put into an array: sums of their products are exact in any order."""
    array[...] = np.random.default_rng(seed).integers(-8, 9, array.shape)
    return array


def both(problem: Problem, method: str, x: np.ndarray, w: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What ``method`` and the definition give."""
    expected = np.empty(problem.output_shape, problem.compute_dtype)
    for name, target in ((method, out), ("polyphase" if problem.upsampled else "direct", expected)):
        plan = plan_for(problem, name)
        plan.run(plan.prepare(w), x, target)
    return out, expected


@settings(max_examples=200, deadline=None)
@given(problems(), st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS), st.sampled_from(("no", "last", "all", "moved")))
def test_any_geometry(problem: Problem, x_layout: str, out_layout: str, turned: str) -> None:
    """Kernels lie as they are; backwards along the last axis, or along all; or with the groups side by side."""
    dtype = problem.compute_dtype
    x = whole_numbers(laid(problem.input_shape, dtype, x_layout), 1)
    rank = len(problem.windows)
    backwards = {"last": 1, "all": rank}.get(turned, 0)
    w = whole_numbers(np.empty(problem.kernel_shape, dtype), 2)
    w = w[(..., *(slice(None, None, -1) for _ in range(backwards)))]
    if turned == "moved":
        w = np.moveaxis(np.ascontiguousarray(np.moveaxis(w, 0, -1)), -1, 0)
    ours, expected = both(problem, "depthwise", x, w, laid(problem.output_shape, dtype, out_layout))
    assert np.array_equal(ours, expected)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gradients of weights in parts, however few outputs there are."""
    caches = channelwise_gradient._parts, channelwise_gradient._program, channelwise_gradients.program
    monkeypatch.setattr(channelwise_gradients, "PART_OUTPUTS", 20)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@settings(max_examples=150, deadline=None)
@given(problems(upsampled=False), st.sampled_from(LAYOUTS[:3]), st.sampled_from(LAYOUTS[:3]))
@pytest.mark.usefixtures("small_parts")
def test_any_gradient_of_weights(problem: Problem, x_layout: str, g_layout: str) -> None:
    dtype = problem.compute_dtype
    adjoint = problem.derive(
        windows=tuple(window.kernel_adjoint() for window in problem.windows), batch=problem.in_channels,
        in_channels=problem.batch, batch_of="channels",
    )  # fmt: skip
    x = whole_numbers(laid(problem.input_shape, dtype, x_layout), 1).swapaxes(0, 2)
    g = np.moveaxis(whole_numbers(laid(problem.output_shape, dtype, g_layout), 2), 0, 2)
    ours, expected = both(adjoint, "channelwise-gradient", x, g, np.empty(adjoint.output_shape, dtype))
    assert np.array_equal(ours, expected)


@settings(max_examples=120, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 12), st.tuples(st.integers(1, 7), st.integers(1, 7)), st.integers(-3, 3),
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.sampled_from(("zero", "edge")),
    st.sampled_from(("float32", "float64")),
)  # fmt: skip
def test_planes_where_they_lie(
    columns: int, rows: int, kernel: tuple[int, int], start: int, stride: int, dilation: int, step: int, side: Any,
    dtype: str,
) -> None:  # fmt: skip
    """Any width, whatever share of the vectors it fills: samples beside a row are others', and count for nothing.

    The kernel runs backwards along both axes, as in the gradient of the input.
    """
    windows = (
        Window(11, kernel[0], rows, -2, stride, dilation, sides=(side, "zero" if side == "zero" else "wrap")),
        Window(33, kernel[1], columns, start, step, dilation),
    )
    problem = Problem(windows, batch=2, groups=5, input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype)
    x, w = np.empty(problem.input_shape, dtype), np.empty(problem.kernel_shape, dtype)[..., ::-1, ::-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planar_tiles, "LEAST_SHARE", (0, 0))
        depthwise._programs.cache_clear()
        out = np.full(problem.output_shape, 7, dtype)
        ours, expected = both(problem, "depthwise", whole_numbers(x, 1), whole_numbers(w, 2), out)
    depthwise._programs.cache_clear()
    assert np.array_equal(ours, expected)


def layer(x: np.ndarray, w: np.ndarray, options: dict[str, Any]) -> list[np.ndarray]:
    """A layer's result and both gradients."""
    groups = x.shape[1] // w.shape[1]
    y = ck.conv(x, w, groups=groups, method="depthwise", **options)
    g = np.random.default_rng(3).standard_normal(y.shape).astype(x.dtype)
    back = ck.conv_input_gradient(g, w, x.shape, groups=groups, **options)
    return [y, back, ck.conv_weight_gradient(g, x, w.shape, groups=groups, **options)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), LAYERS)
def test_as_torch_in_double_precision(x_shape: Any, w_shape: Any, options: dict[str, Any], dtype: str) -> None:
    source = np.random.default_rng(1)
    x, w = source.standard_normal(x_shape).astype(dtype), source.standard_normal(w_shape).astype(dtype)
    ours = layer(x, w, options)
    tensors = [torch.from_numpy(a.astype(float)).requires_grad_() for a in (x, w)]
    pads = options.get("padding", 0)
    rank = len(x_shape) - 2
    pairs = pads if isinstance(pads, tuple) else ((pads, pads),) * rank
    flat = [pad for pair in reversed(pairs) for pad in pair]
    conv = getattr(torch.nn.functional, f"conv{rank}d")
    y = conv(
        torch.nn.functional.pad(tensors[0], flat), tensors[1], groups=x_shape[1] // w_shape[1],
        stride=options.get("stride", 1), dilation=options.get("dilation", 1),
    )  # fmt: skip
    y.backward(torch.from_numpy(np.random.default_rng(3).standard_normal(y.shape).astype(dtype).astype(float)))
    terms = max(math.prod(w_shape[1:]), math.prod(x_shape) // x_shape[1])
    for found, expected in zip(ours, (y.detach(), tensors[0].grad, tensors[1].grad)):
        assert expected is not None
        scale = float(expected.abs().max()) * terms * np.finfo(dtype).eps
        assert np.abs(found - expected.numpy()).max() <= scale


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
    groups = x.shape[1] // w.shape[1]
    g = np.random.default_rng(3).standard_normal(y.shape)
    for n in range(5):
        one = ck.conv(x[n : n + 1], w, groups=groups, method="depthwise", **options)
        assert one.tobytes() == y[n : n + 1].tobytes()
        back = ck.conv_input_gradient(g[n : n + 1], w, (1, *x.shape[1:]), groups=groups, **options)
        assert back.tobytes() == gradient[n : n + 1].tobytes()


@pytest.mark.parametrize("layout", ["first", "last"])
def test_tiles_and_ways_of_reading_change_no_bit(monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    """Large tiles and small ones, few channels at a time or many, asked for ahead or not, past the caches or not."""
    problem = Problem(
        (Window(20, 3, 20, -1), Window(23, 3, 11, -1, 2)), batch=2, groups=96, input_dtype="float32",
        kernel_dtype="float32", compute_dtype="float32",
    )  # fmt: skip
    source = np.random.default_rng(1)
    x, w = laid(problem.input_shape, "float32", layout), source.standard_normal(problem.kernel_shape).astype("float32")
    x[...] = source.standard_normal(x.shape)
    memory = np.zeros(math.prod(problem.output_shape) + 16, np.float32)
    begin = -memory.ctypes.data % 64 // 4
    results = set()
    for task, vectors, far in product((1 << 17, 1 << 9), (1, 3), (1 << 40, 0)):
        with monkeypatch.context() as patch:
            patch.setattr(channelwise_ways, "TASK_PRODUCTS", task)
            for name in ("TURNED", "IN_PLACE"):
                patch.setattr(channelwise_ways, name, vectors)
            for name in ("AHEAD", "STREAMED"):
                patch.setattr(channelwise_ways, name, far)
            for cached in (
                channelwise_ways.boxes, channelwise_tiles.program, channelwise_ways.samples_at_once,
                channelwise_tiles.scratch, depthwise._programs,
            ):  # fmt: skip
                cached.cache_clear()
            out = memory[begin : begin + math.prod(problem.output_shape)].reshape(2, 20, 11, 96)
            target = np.moveaxis(out, -1, 1)[:, :, None]
            target[...] = 7
            plan = plan_for(problem, "depthwise")
            plan.run(plan.prepare(w), x, target)
            results.add(target.tobytes())
    assert len(results) == 1


@pytest.mark.parametrize(("x_shape", "w_shape", "options"), LAYERS[:4])
def test_nan_touches_the_windows_that_hold_it(x_shape: Any, w_shape: Any, options: dict[str, Any]) -> None:
    source = np.random.default_rng(1)
    x, w = source.standard_normal(x_shape), source.standard_normal(w_shape)
    x.flat[[5, x.size // 2, x.size - 1]] = np.nan, np.inf, np.nan
    groups = x.shape[1] // w.shape[1]
    ours, expected = (ck.conv(x, w, groups=groups, method=name, **options) for name in ("depthwise", "direct"))
    assert np.array_equal(np.isnan(ours), np.isnan(expected))
    assert np.array_equal(np.isinf(ours), np.isinf(expected))


@pytest.mark.parametrize("method", ["channelwise-gradient", "depthwise-gradient", "direct"])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_infinite_upstream_meets_no_zeros_beside_the_samples(method: str, bad: float) -> None:
    """The first output's window leaves the input: its first elements have no term there."""
    problem = Problem(
        (Window(9, 3, 9, -1), Window(10, 3, 10, -1)), groups=5, input_dtype="float32", kernel_dtype="float32",
        compute_dtype="float32",
    )  # fmt: skip
    adjoint = problem.derive(
        windows=tuple(window.kernel_adjoint() for window in problem.windows), batch_of="channels"
    )  # fmt: skip
    x = whole_numbers(np.empty((1, 5, 1, 9, 10), np.float32), 1) + np.float32(20)
    g = whole_numbers(np.empty((5, 1, 1, 9, 10), np.float32), 2)
    plan, expected = plan_for(adjoint, method), np.empty(adjoint.output_shape)
    for i, j in product(range(3), range(3)):
        shifted = np.pad(x[0, :, 0], ((0, 0), (1, 1), (1, 1)))[:, i : i + 9, j : j + 10]
        expected[0, :, 0, i, j] = (shifted * g[:, 0, 0]).sum((1, 2))
    out = np.empty(adjoint.output_shape, np.float32)
    plan.run(plan.prepare(g), x, out)
    assert np.array_equal(out, expected)
    g[3, 0, 0, 0, 0] = bad
    expected[0, 3, 0, 1:, 1:] = bad  # samples are positive
    plan.run(plan.prepare(g), x, out)
    assert np.array_equal(out, expected, equal_nan=True)


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "silu"])
@pytest.mark.parametrize("groups", [16, 37])
@pytest.mark.parametrize("size", [9, 28])
def test_the_epilogue_in_the_stores(activation: Any, groups: int, size: int) -> None:
    """Of lanes over channels and of planes; as when it is done afterwards, to the bit but for the sums' order."""
    source = np.random.default_rng(1)
    x = source.integers(-8, 9, (2, groups, size, size)).astype("float32")
    w, bias = (
        source.integers(-8, 9, (groups, 1, 3, 3)).astype("float32"),
        source.integers(-8, 9, groups).astype("float32"),
    )
    ours, expected = (
        ck.conv(x, w, bias, padding=1, groups=groups, activation=activation, method=name)
        for name in ("depthwise", "direct")
    )
    assert np.array_equal(ours, expected)


def test_the_planner_takes_it_for_networks() -> None:
    for channels, size, kernel, stride in (
        (32, 112, 3, 1),
        (144, 56, 3, 2),
        (576, 14, 3, 1),
        (960, 7, 5, 1),
        (96, 56, 7, 1),
    ):
        count = (size - 1) // stride + 1
        window = Window(size, kernel, count, -(kernel // 2), stride)
        problem = Problem(
            (window, window), groups=channels, input_dtype="float32", kernel_dtype="float32", compute_dtype="float32"
        )
        assert plan_for(problem).choice == "depthwise"
        back = problem.derive(windows=(window.input_adjoint(),) * 2)
        assert plan_for(back).choice == "depthwise"
        gradient = problem.derive(windows=(window.kernel_adjoint(),) * 2, batch_of="channels", in_channels=8)
        assert plan_for(gradient).choice == "channelwise-gradient"


def test_what_it_leaves_to_others() -> None:
    window = Window(40, 3, 38)
    problem = Problem(
        (window, window), groups=32, input_dtype="float32", kernel_dtype="float32", compute_dtype="float32"
    )
    gradient = problem.derive(windows=(window.kernel_adjoint(),) * 2, batch_of="channels")
    long = (window, Window(400, 40, 361))
    forward, back = depthwise.Depthwise(), channelwise_gradient.ChannelwiseGradient()
    assert (forward.applies(problem), back.applies(gradient)) == (None, None)
    assert "uint8" in str(forward.applies(problem.derive(input_dtype="uint8")))
    assert "uint8" in str(back.applies(gradient.derive(input_dtype="uint8")))
    assert "20" in str(forward.applies(problem.derive(in_channels=20)))
    assert "80" in str(back.applies(gradient.derive(out_channels=80)))
    assert "40" in str(forward.applies(problem.derive(windows=long)))
    assert "40" in str(back.applies(gradient.derive(windows=tuple(one.kernel_adjoint() for one in long))))


def test_two_threads_have_as_many_tasks() -> None:
    assert channelwise_ways.halved(72, 16) == [(0, 12), (12, 24), (24, 36), (36, 48), (48, 60), (60, 72)]
    for total, most in product(range(1, 80), range(1, 20)):
        parts = channelwise_ways.halved(total, most)
        assert [parts[0][0], parts[-1][1]] == [0, total]
        assert all(end == begin for (_, end), (begin, _) in pairwise(parts))
        sizes = [hi - lo for lo, hi in parts]
        assert max(sizes) <= most
        assert max(sizes) - min(sizes) <= 1
        assert len(parts) in (1, total) or len(parts) % 2 == 0


def test_far_gradients_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for ahead or not, in few tasks or in many."""
    window = Window(12, 3, 12, -1)
    problem = Problem(
        (window.kernel_adjoint(),) * 2, batch=1, groups=70, in_channels=3, batch_of="channels",
        input_dtype="float32", kernel_dtype="float32", compute_dtype="float32",
    )  # fmt: skip
    source = np.random.default_rng(1)
    x, g = (
        np.moveaxis(source.standard_normal((3, 12, 12, 70, 1)).astype("float32"), (3, 4, 0), axes)
        for axes in ((1, 0, 2), (0, 1, 2))
    )
    results = set()
    for far in (0, 1 << 40):
        monkeypatch.setattr(channelwise_ways, "AHEAD", far)
        for cached in (channelwise_gradient._program, channelwise_gradients.program):
            cached.cache_clear()
        plan, out = plan_for(problem, "channelwise-gradient"), np.empty(problem.output_shape, "float32")
        plan.run(plan.prepare(g), x, out)
        results.add(out.tobytes())
    expected = np.empty(problem.output_shape, "float32")
    plan = plan_for(problem, "direct")
    plan.run(plan.prepare(g), x, expected)
    assert np.allclose(out, expected, atol=1e-4)
    assert len(results) == 1


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(1, 60), min_size=1, max_size=3))
def test_every_row_of_every_sample_is_in_one_part(samples: int, counts: list[int]) -> None:
    windows = tuple(Window(count + 2, 3, count).kernel_adjoint() for count in counts)
    problem = Problem(windows, groups=32, in_channels=samples, batch_of="channels")
    for read, write in product((False, True), repeat=2):
        parts = channelwise_gradients.parts(problem, channelwise_ways.Ways(read, write))
        rows = [(sample, row) for part in parts for sample, (lo, hi) in part for row in range(lo, hi)]
        assert rows == list(product(range(samples), range(counts[0] if len(counts) > 1 else 1)))
        whole = samples * math.prod(counts) >= 2 * channelwise_gradients.PART_OUTPUTS
        assert len(parts) <= channelwise_gradients.MOST_PARTS
        assert len(parts) == 1 or (read and write and whole)


def test_parts_are_the_same_bits_on_any_threads() -> None:
    problem = Problem(
        (Window(40, 3, 40, -1).kernel_adjoint(),) * 2, groups=20, batch_of="channels",
        input_dtype="float32", kernel_dtype="float32", compute_dtype="float32",
    )  # fmt: skip
    source, results = np.random.default_rng(1), set()
    x, g = (source.standard_normal((1, 40, 40, 20)).astype("float32") for _ in range(2))
    moved = np.moveaxis(x, -1, 0)[None], np.moveaxis(g, -1, 0)[:, :, None]
    assert channelwise_gradient._parts(problem, moved[0].strides, moved[1].strides) > 1
    for threads in (1, 2, 3):
        ck.set_num_threads(threads)
        plan, out = plan_for(problem, "channelwise-gradient"), np.empty(problem.output_shape, "float32")
        plan.run(plan.prepare(moved[1]), moved[0], out)
        results.add(out.tobytes())
    assert len(results) == 1
    expected = np.empty(problem.output_shape, "float32")
    plan = plan_for(problem, "direct")
    plan.run(plan.prepare(moved[1]), moved[0], expected)
    assert np.allclose(out, expected, atol=1e-3)


def test_memory_beyond_the_arrays_is_bounded() -> None:
    for sizes in ((4096, 4096), (1, 1 << 24), (300, 300, 300)):
        windows = tuple(Window(size, min(size, 3), size, -(min(size, 3) // 2)) for size in sizes)
        problem = Problem(windows, groups=512, input_dtype="float32", kernel_dtype="float32", compute_dtype="float32")
        assert channelwise_tiles.scratch(problem) < 1 << 21


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_runs(language: str) -> None:
    page = Path(__file__).parents[2] / "docs" / language / "layers.md"
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert (failed, tried > 5) == (0, True)
