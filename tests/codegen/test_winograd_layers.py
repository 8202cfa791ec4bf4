"""The algorithms `winograd-2` and `winograd-4`: every geometry, within their bound, the same bits however called."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import winograd
from convkit.algorithms.support import winograd_blocks, winograd_tiles, winograd_weights
from convkit.codegen.winograd_points import transforms
from convkit.errors import AccuracyError
from convkit.planner import registry
from convkit.planner.finishing import Operands, finish_by_numpy
from convkit.planner.plan import forget_plans, plan_for
from convkit.planner.problem import Problem
from convkit.spec.epilogue import ACTIVATIONS, Epilogue
from convkit.spec.window import Window

METHODS = pytest.mark.parametrize("method", ["winograd-2", "winograd-4"])
FILTERS = pytest.mark.parametrize(("method", "taps"), [("winograd-2", 3), ("winograd-2", 5), ("winograd-4", 3)])
LAYERS = [
    ((2, 17, 9, 31), (23, 17, 3, 3), {"padding": 1}),
    ((1, 150, 14, 13), (200, 150, 3, 3), {"padding": ((0, 2), (1, 1))}),
    ((3, 24, 7, 7), (36, 8, 3, 3), {"groups": 3, "padding": 1, "boundary": "reflect"}),
    ((7, 33, 6, 5), (16, 33, 3, 3), {}),
]
LARGER = [
    ((2, 17, 9, 31), (23, 17, 5, 5), {"padding": 2}),
    ((3, 24, 7, 8), (36, 8, 5, 5), {"groups": 3, "padding": ((1, 2), (3, 0)), "boundary": "reflect"}),
]
"""For tiles of two outputs alone."""


def forget() -> None:
    """What was worked out for other settings."""
    for cached in (
        winograd_blocks.blocking, winograd_tiles.samples_at_once, winograd_tiles.scratch, winograd_tiles.program,
        winograd_weights._program,
    ):  # fmt: skip
        cached.cache_clear()
    forget_plans()


@pytest.fixture(autouse=True)
def small_problems_too(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(winograd, "LEAST_PRODUCTS", 0)
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)
    forget()


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def computed(problem: Problem, x: np.ndarray, w: np.ndarray, method: str, operands: Any = None) -> np.ndarray:
    """What ``method`` gives; it must be the one that is taken."""
    plan, out = plan_for(problem, method), np.full(problem.output_shape, 7.5, problem.compute_dtype)
    assert plan.choice == method
    plan.run(plan.prepare(w), x, out, *([operands] if operands is not None else []))
    return out


@st.composite
def problems(draw: st.DrawFn, taps: int) -> Problem:
    """Windows that may leave the input anywhere, of sizes around the edges of tiles."""
    names = ("zero", "constant", "edge", "reflect", "symmetric", "wrap")
    windows = tuple(
        Window(
            draw(st.integers(1, 20)), taps, draw(st.integers(1, 18)), draw(st.integers(-4, 3)),
            sides=(draw(st.sampled_from(names)), draw(st.sampled_from(names))),
        )
        for _ in range(2)
    )  # fmt: skip
    dtype = draw(st.sampled_from(("float32", "float64")))
    return Problem(
        windows, batch=draw(st.sampled_from((1, 2, 3, 5))), groups=draw(st.integers(1, 3)),
        in_channels=draw(st.integers(1, 70)), out_channels=draw(st.integers(2, 70)), input_dtype=dtype,
        kernel_dtype=dtype, compute_dtype=dtype, fill=draw(st.sampled_from((0, 2.5))),
    )  # fmt: skip


def of_tiles(problem: Problem, x: np.ndarray, outputs: int) -> np.ndarray:
    """For every output the norm of the samples of its tile, all channels: what the bound is really made of."""
    windows = tuple(
        Window(w.size, outputs + w.kernel - 1, -(-w.count // outputs), w.start, outputs, sides=w.sides)
        for w in problem.windows
    )
    wide = dict.fromkeys(("input_dtype", "kernel_dtype", "compute_dtype"), "float64")
    squares = plan_for(problem.derive(windows=windows, out_channels=1, fill=problem.fill**2, **wide), "direct")
    found = np.empty(squares.problem.output_shape)
    squares.run(squares.prepare(np.ones(squares.problem.kernel_shape)), x.astype(float) ** 2, found)
    rows, columns = (w.count for w in problem.windows)
    return np.sqrt(found).repeat(outputs, 3).repeat(outputs, 4)[..., :rows, :columns]


@FILTERS
@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_geometry(method: str, taps: int, data: st.DataObject) -> None:
    """Every output within the bound, taken with the norms of its own tile and its own kernel."""
    problem = data.draw(problems(taps))
    x, w = numbers(problem.input_shape, problem.input_dtype, 1), numbers(problem.kernel_shape, problem.input_dtype, 2)
    wide = dict.fromkeys(("input_dtype", "kernel_dtype", "compute_dtype"), "float64")
    expected = computed(problem.derive(**wide), x.astype(float), w.astype(float), "direct")
    norms = np.sqrt((w.astype(float) ** 2).sum((2, 3, 4)))[None, :, :, None, None]
    allowed = norms * of_tiles(problem, x, registry.algorithm(method).outputs)  # type: ignore[attr-defined]
    bound = plan_for(problem, method).error_bound
    assert bound.kind == "norm"
    error = np.abs(computed(problem, x, w, method) - expected)
    # Float64 has no wider reference here: it was rounded as often as it has terms.
    assert (error <= (bound.factor + (problem.terms + 2) * 2.0**-53) * allowed).all()


@FILTERS
def test_against_torch(method: str, taps: int) -> None:
    """Float64 torch; channels last, groups, asymmetric padding; the gradient of the input goes the same way."""
    for x_shape, w_shape, options in (
        ((3, 20, 13, 22), (36, 10, taps, taps), {"groups": 2, "padding": ((1, 1), (1, 1))}),
        ((1, 65, 8, 9), (33, 65, taps, taps), {"padding": ((1, 0), (2, 1))}),
    ):
        x, w = numbers(x_shape, "float32", 1), numbers(w_shape, "float32", 2)
        pads = [pad for pair in reversed(options["padding"]) for pad in pair]  # type: ignore[arg-type]
        leaf = torch.from_numpy(x.astype(float)).requires_grad_()
        y = torch.nn.functional.conv2d(
            torch.nn.functional.pad(leaf, pads), torch.from_numpy(w.astype(float)), groups=options.get("groups", 1)
        )
        g = numbers(tuple(y.shape), "float32", 3)
        y.backward(torch.from_numpy(g.astype(float)))
        last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
        for view in (x, last):
            ours = ck.conv(view, w, method=method, **options)
            assert np.abs(ours - y.detach().numpy()).max() <= 3e-6 * np.linalg.norm(w[0]) * np.linalg.norm(x[0]) / 4
        problem = Problem(
            tuple(
                Window(n, taps, n - taps + 1 + sum(pad), -pad[0]).input_adjoint()
                for n, pad in zip(x_shape[2:], options["padding"], strict=True)  # type: ignore[call-overload]
            ),
            batch=x_shape[0], groups=options.get("groups", 1), in_channels=w_shape[0] // options.get("groups", 1),
            out_channels=w_shape[1], input_dtype="float32", kernel_dtype="float32", compute_dtype="float32",
        )  # fmt: skip
        groups = problem.groups
        flipped = w.reshape(groups, -1, *w.shape[1:])[..., ::-1, ::-1].swapaxes(1, 2)
        ours = computed(problem, g.reshape(problem.input_shape), flipped, method).reshape(x_shape)
        assert np.abs(ours - leaf.grad.numpy()).max() <= 1e-4 * np.abs(ours).max()


def test_the_small_tile_is_exact_on_small_integers() -> None:
    """Its points are 0, 1 and -1, and halves are all that is divided."""
    source = np.random.default_rng(1)
    for x_shape, w_shape, options in LAYERS:
        x = source.integers(-8, 9, x_shape).astype("float32")
        w = source.integers(-8, 9, w_shape).astype("float32")
        ours = ck.conv(x, w, method="winograd-2", **options)
        assert np.array_equal(ours, ck.conv(x, w, method="direct", **options))


@FILTERS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bound_is_not_idle(method: str, taps: int, dtype: str) -> None:
    """Errors within it, and within a thousandth of it for numbers of random signs; smaller for the smaller tile."""
    x, w = numbers((1, 96, 24, 24), dtype, 1), numbers((32, 96, taps, taps), dtype, 2)
    wide, pad, tile = np.longdouble if dtype == "float64" else np.float64, taps // 2, int(method[-1]) + taps - 1
    padded = np.pad(x[0].astype(wide), ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (taps, taps), (1, 2))
    expected = np.zeros((32, 24, 24), wide)
    for channel in range(96):
        for i, j in product(range(taps), range(taps)):
            expected += w[:, channel, i, j].astype(wide)[:, None, None] * windows[channel, ..., i, j]
    error = float(np.abs(ck.conv(x, w, padding=pad, method=method)[0] - expected).max())
    problem = Problem(
        (Window(24, taps, 24, -pad),) * 2, in_channels=96, out_channels=32, input_dtype=dtype, kernel_dtype=dtype,
        compute_dtype=dtype,
    )  # fmt: skip
    factor = plan_for(problem, method).error_bound.factor
    assert factor * np.linalg.norm(w[0]) * np.sqrt(96) * tile * 1e-4 < error < factor * np.linalg.norm(w[0]) * 10 * tile
    u = np.finfo(dtype).eps / 2
    assert factor == pytest.approx(transforms(int(method[-1]), taps).spread ** 2 * (96 + 13 + 1) * u, rel=0.12)


def test_what_the_bound_says() -> None:
    """For many channels that of direct summation for small tiles, seven times that for large ones."""
    types = dict.fromkeys(("input_dtype", "kernel_dtype", "compute_dtype"), "float32")
    problem = Problem((Window(56, 3, 56, -1),) * 2, in_channels=512, out_channels=64, **types)
    direct = registry.algorithm("implicit-gemm").bound(problem).factor
    factors = [registry.algorithm(name).bound(problem).factor / direct for name in ("winograd-2", "winograd-4")]
    assert 1 < factors[0] < 1.1
    assert 6.8 < factors[1] < 7.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("method", "x_shape", "w_shape", "options"),
    [(method, *layer) for method in ("winograd-2", "winograd-4") for layer in LAYERS]
    + [("winograd-2", *layer) for layer in LARGER],
)
def test_threads_change_no_bit(x_shape: Any, w_shape: Any, options: Any, dtype: str, method: str) -> None:
    x, w = numbers(x_shape, dtype, 1), numbers(w_shape, dtype, 2)
    results = set()
    for threads in (1, 2, 3):
        ck.set_num_threads(threads)
        results.add(ck.conv(x, w, method=method, **options).tobytes())
    assert len(results) == 1


@METHODS
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), LAYERS)
def test_a_batch_changes_no_bit(x_shape: Any, w_shape: Any, options: Any, method: str) -> None:
    """However many samples share a box of tiles."""
    x, w = numbers((11, *x_shape[1:]), "float32", 1), numbers(w_shape, "float32", 2)
    y = ck.conv(x, w, method=method, **options)
    for first, last in ((0, 1), (4, 5), (3, 8), (0, 10)):
        assert ck.conv(x[first:last], w, method=method, **options).tobytes() == y[first:last].tobytes()
    assert ck.conv(x[:0], w, method=method, **options).shape == (0, *y.shape[1:])


@METHODS
def test_a_box_changes_no_bit(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Large boxes and small ones, few channels at a time and many, programs run in parts."""
    x, w = numbers((5, 70, 14, 19), "float32", 1), numbers((90, 70, 3, 3), "float32", 2)
    results = set()
    for room, inputs, outputs, steps in product((1 << 14, 1 << 18, 1 << 21), (16, 128), (32, 256), (1 << 12, 8)):
        monkeypatch.setattr(winograd_blocks, "TILES_BYTES", room)
        monkeypatch.setattr(winograd_blocks, "INPUTS", inputs)
        monkeypatch.setattr(winograd_blocks, "OUTPUTS", outputs)
        monkeypatch.setattr(winograd_tiles, "PROGRAM_STEPS", steps)
        forget()
        results.add(ck.conv(x, w, padding=1, method=method).tobytes())
    assert len(results) == 1


@FILTERS
def test_layouts(method: str, taps: int) -> None:
    """Views with any strides in and out: channels last, every second number, reversed; kernels likewise."""
    x, w, pad = numbers((2, 18, 9, 14), "float32", 1), numbers((20, 18, taps, taps), "float32", 2), taps // 2
    expected = ck.conv(x, w, padding=pad, method=method)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    wide = np.zeros((2, 18, 18, 28), "float32")
    wide[..., ::2, ::2] = x
    backwards = x[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1]
    kernels = w, w[..., ::-1, ::-1].copy()[..., ::-1, ::-1], w.swapaxes(0, 1).copy().swapaxes(0, 1)
    for view, kernel in product((x, last, wide[..., ::2, ::2], backwards), kernels):
        out_last = np.zeros((2, 9, 14, 20), "float32").transpose(0, 3, 1, 2)
        for out in (np.zeros((2, 20, 9, 14), "float32"), out_last, np.zeros((2, 20, 9, 28), "float32")[..., ::2]):
            ck.conv(view, kernel, padding=pad, method=method, out=out)
            assert np.array_equal(out, expected)


@METHODS
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_epilogues(method: str, activation: Any) -> None:
    """The same bits as finishing the sums afterwards; arrays that lie differently are finished so."""
    problem = Problem(
        (Window(9, 3, 9, -1), Window(14, 3, 14, -1)), batch=2, groups=2, in_channels=9, out_channels=21,
        input_dtype="float32", kernel_dtype="float32", compute_dtype="float32",
    )  # fmt: skip
    x, w = numbers(problem.input_shape, "float32", 1), numbers(problem.kernel_shape, "float32", 2)
    bias, add = numbers((2, 21), "float32", 3), numbers(problem.output_shape, "float32", 4)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(add, 2, -1)), -1, 2)
    sums = computed(problem, x, w, method)
    for has_bias, other in product((False, True), (None, add, last)):
        epilogue = Epilogue(has_bias, other is not None, activation)
        if epilogue.empty:
            continue
        operands = Operands(bias if has_bias else None, other)
        expected = sums.copy()
        finish_by_numpy(epilogue, expected, operands)
        ours = computed(problem.derive(epilogue=epilogue), x, w, method, operands)
        assert np.allclose(ours, expected, rtol=2e-6, atol=2e-6), (has_bias, other is not None)
        if activation in (None, "relu"):
            assert np.array_equal(ours, expected)


@FILTERS
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_what_is_not_finite_stays_in_its_windows(method: str, taps: int, value: float, activation: Any) -> None:
    """A tile holds samples that some of its outputs never meet, and an epilogue may hide what became of them."""
    x, w, pad = numbers((2, 5, 9, 11), "float32", 1), numbers((18, 5, taps, taps), "float32", 2), taps // 2
    x[1, 2, 4, 10], x[0, 0, 0, 0] = value, -value
    options = {"padding": pad, "activation": activation}
    y = ck.conv(x, w, method=method, **options)
    expected = ck.conv(x, w, method="direct", **options)
    assert np.array_equal(np.isfinite(y), np.isfinite(expected))
    assert np.array_equal(y[~np.isfinite(y)], expected[~np.isfinite(y)], equal_nan=True)
    there = np.isfinite(y)
    assert np.abs(y[there] - expected[there]).max() < 1e-4
    if activation is None:
        assert np.isfinite(y).sum() == y.size - 18 * (taps * (pad + 1) + (pad + 1) ** 2)


@METHODS
def test_numbers_near_the_largest(method: str) -> None:
    """Sums that fit, of numbers whose transforms do not."""
    x, w = np.full((1, 2, 8, 8), 1.5e38, "float32"), np.zeros((2, 2, 3, 3), "float32")
    w[0, 0, 1, 1] = w[1, 1, 0, 2] = 1
    assert np.array_equal(ck.conv(x, w, method=method), ck.conv(x, w, method="direct"))


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "dtype", "options", "words"),
    [
        ((1, 1, 9, 9), (1, 1, 3, 3), "float32", {}, "there is only one"),
        ((1, 2, 9, 9), (2, 2, 3, 3), "complex64", {}, "no compiled kernel for complex64"),
        ((1, 2, 9, 9), (2, 2, 3, 3), "float32", {"stride": 2}, "kernels whose windows move by single steps"),
        ((1, 2, 9, 9), (2, 2, 3, 3), "float32", {"dilation": 2}, "without dilation"),
        ((1, 2, 9, 9), (2, 2, 5, 3), "float32", {}, "3 x 3"),
        ((1, 2, 9), (2, 2, 3), "float32", {}, "3 x 3"),
        ((1, 2, 9, 9), (2, 2, 7, 7), "float32", {}, "3 x 3"),
        ((1, 2, 9, 9), (2, 2, 3, 3), "float32", {"accuracy": "elementwise"}, "elementwise"),
        ((1, 2, 9, 9), (2, 2, 3, 3), "float32", {"accuracy": 1e-6}, "1e-06"),
    ],
)
def test_what_it_leaves_to_others(x_shape: Any, w_shape: Any, dtype: str, options: Any, words: str) -> None:
    for method in ("winograd-2", "winograd-4"):
        with pytest.raises(AccuracyError) as caught:
            ck.conv(np.ones(x_shape, dtype), np.ones(w_shape, dtype), method=method, **options)
        assert caught.value.code == "accuracy.method-does-not-apply"
        assert words in str(caught.value)


def test_larger_kernels_are_for_smaller_tiles() -> None:
    x, w = np.ones((1, 2, 9, 9), "float32"), np.ones((2, 2, 5, 5), "float32")
    with pytest.raises(AccuracyError, match="by 3 x 3 kernels") as caught:
        ck.conv(x, w, method="winograd-4")
    assert caught.value.code == "accuracy.method-does-not-apply"


def test_gradients_of_weights_are_for_others() -> None:
    window = Window(9, 3, 3, -1)
    problem = Problem(
        (window, window), in_channels=2, out_channels=3, batch_of="channels", input_dtype="float32",
        kernel_dtype="float32", compute_dtype="float32",
    )  # fmt: skip
    assert "kernel-gradient forms it" in str(registry.algorithm("winograd-4").applies(problem))


def test_memory_is_bounded() -> None:
    """Whatever the layer's size: the tiles of a box, and no full transformed input."""
    types = dict.fromkeys(("input_dtype", "kernel_dtype", "compute_dtype"), "float32")
    for channels, size, outputs in product((16, 64, 512, 2048), (7, 56, 512), (2, 4)):
        problem = Problem((Window(size, 3, size, -1),) * 2, in_channels=channels, out_channels=channels, **types)
        assert winograd_tiles.scratch(problem, outputs) < 1 << 20


def test_they_are_chosen_where_they_are_fastest() -> None:
    types = dict.fromkeys(("input_dtype", "kernel_dtype", "compute_dtype"), "float32")
    for channels, size, choice in ((64, 56, "winograd-4"), (128, 28, "winograd-4"), (256, 14, "winograd-4")):
        problem = Problem((Window(size, 3, size, -1),) * 2, in_channels=channels, out_channels=channels, **types)
        assert plan_for(problem).choice == choice
        assert plan_for(problem.derive(accuracy="elementwise")).choice == "implicit-gemm"
        gradient = problem.derive(windows=tuple(window.input_adjoint() for window in problem.windows))
        assert plan_for(gradient).choice == choice
        # Where large tiles are not accurate enough, small ones may be.
        tight = registry.algorithm("winograd-2").bound(problem).factor
        assert plan_for(problem.derive(accuracy=tight)).choice == "winograd-2"
