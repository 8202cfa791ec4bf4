"""The algorithms `winograd-gradient-2` and `-4`: every geometry, within their bound, the same bits on any threads."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms.support import gradients, winograd_gradient_blocks, winograd_gradient_tiles
from convkit.codegen.winograd_points import transforms
from convkit.errors import AccuracyError
from convkit.planner import registry
from convkit.planner.plan import forget_plans, plan_for
from convkit.planner.problem import Problem
from convkit.spec.window import Window

METHODS = pytest.mark.parametrize("method", ["winograd-gradient-2", "winograd-gradient-4"])
FILTERS = pytest.mark.parametrize(
    ("method", "taps"), [("winograd-gradient-2", 3), ("winograd-gradient-2", 5), ("winograd-gradient-4", 3)]
)
WIDE = dict.fromkeys(("input_dtype", "kernel_dtype", "compute_dtype"), "float64")


def problem_of(
    samples: int, channels: tuple[int, int], size: tuple[int, int], pads: tuple[tuple[int, int], ...] = ((1, 1),) * 2,
    dtype: str = "float32", groups: int = 1, taps: int = 3,
) -> Problem:  # fmt: skip
    """The gradient of a layer's weights, (in, out) channels of each group."""
    windows = tuple(
        Window(n, taps, n - taps + 1 + sum(pad), -pad[0]).kernel_adjoint() for n, pad in zip(size, pads, strict=True)
    )
    return Problem(
        windows, batch=channels[0], groups=groups, in_channels=samples, out_channels=channels[1], input_dtype=dtype,
        kernel_dtype=dtype, compute_dtype=dtype, batch_of="channels",
    )  # fmt: skip


PROBLEMS = [
    problem_of(2, (17, 23), (9, 31)),
    problem_of(5, (150, 140), (7, 6), ((0, 2), (1, 1))),
    problem_of(5, (8, 12), (7, 7), groups=3),
    problem_of(7, (33, 16), (6, 5), ((0, 0), (0, 0))),
]
LARGER = [problem_of(2, (17, 23), (9, 31), ((2, 2), (1, 3)), taps=5), problem_of(5, (8, 12), (7, 7), groups=3, taps=5)]
"""For tiles of two outputs alone."""


def forget() -> None:
    """What was worked out for other settings."""
    for cached in (
        winograd_gradient_blocks.blocking, winograd_gradient_tiles.program, winograd_gradient_tiles.scratch,
    ):  # fmt: skip
        cached.cache_clear()
    forget_plans()


@pytest.fixture(autouse=True)
def small_problems_too(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(gradients, "LEAST_PRODUCTS", 0)
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)
    forget()


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def arrays(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    return numbers(problem.input_shape, problem.input_dtype, 1), numbers(problem.kernel_shape, problem.kernel_dtype, 2)


def computed(problem: Problem, x: np.ndarray, g: np.ndarray, method: str, out: np.ndarray | None = None) -> np.ndarray:
    """What ``method`` gives; it must be the one that is taken."""
    plan, out = (
        plan_for(problem, method),
        np.full(problem.output_shape, 7.5, problem.compute_dtype) if out is None else out,
    )
    assert plan.choice == method
    plan.run(plan.prepare(g), x, out)
    return out


@st.composite
def problems(draw: st.DrawFn, taps: int) -> Problem:
    """Windows that may leave the input anywhere, of sizes around the edges of tiles."""
    names = ("zero", "constant", "edge", "reflect", "symmetric", "wrap")
    windows = tuple(
        Window(
            draw(st.integers(1, 20)), taps, draw(st.integers(1, 18)), draw(st.integers(-4, 3)),
            sides=(draw(st.sampled_from(names)), draw(st.sampled_from(names))),
        ).kernel_adjoint()
        for _ in range(2)
    )  # fmt: skip
    dtype = draw(st.sampled_from(("float32", "float64")))
    return Problem(
        windows, batch=draw(st.integers(1, 70)), groups=draw(st.integers(1, 3)),
        in_channels=draw(st.sampled_from((1, 2, 3, 5))), out_channels=draw(st.integers(1, 70)), input_dtype=dtype,
        kernel_dtype=dtype, compute_dtype=dtype, fill=draw(st.sampled_from((0, 2.5))), batch_of="channels",
    )  # fmt: skip


def norms(problem: Problem, x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """For every pair of channels the norms of their samples, those beyond the edge too, and of their gradients."""
    windows = tuple(replace(w, kernel=w.kernel + w.count - 1, count=1) for w in problem.windows)
    squares = plan_for(problem.derive(windows=windows, out_channels=1, fill=problem.fill**2, **WIDE), "direct")
    found = np.empty(squares.problem.output_shape)
    squares.run(squares.prepare(np.ones(squares.problem.kernel_shape)), x.astype(float) ** 2, found)
    return np.sqrt(found * (g.astype(float) ** 2).sum((2, 3, 4))[None, :, :, None, None])


@FILTERS
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_geometry(method: str, taps: int, data: st.DataObject) -> None:
    """Every element within the bound, taken with the norms of its own two channels."""
    problem = data.draw(problems(taps))
    x, g = arrays(problem)
    expected = computed(problem.derive(**WIDE), x.astype(float), g.astype(float), "direct")
    bound = plan_for(problem, method).error_bound
    assert bound.kind == "norm"
    error = np.abs(computed(problem, x, g, method) - expected)
    # Float64 has no wider reference here: it was rounded as often as it has terms.
    assert (error <= (bound.factor + (problem.terms + 2) * 2.0**-53) * norms(problem, x, g)).all()


@FILTERS
def test_against_torch(method: str, taps: int) -> None:
    """Float64 torch; groups, asymmetric padding."""
    for samples, channels, size, pads, groups in (
        (3, (20, 36), (13, 22), ((1, 1), (1, 1)), 2),
        (1, (65, 33), (8, 9), ((1, 0), (2, 1)), 1),
        (19, (3, 40), (7, 7), ((1, 1), (0, 2)), 1),
    ):
        problem = problem_of(samples, channels, size, pads, groups=groups, taps=taps)
        x, g = arrays(problem)
        theirs = torch.zeros(groups * channels[1], channels[0], taps, taps, dtype=torch.float64, requires_grad=True)
        images = torch.from_numpy(x.astype(float)).permute(2, 1, 0, 3, 4).flatten(1, 2)
        upstream = torch.from_numpy(g.astype(float)).permute(2, 0, 1, 3, 4).flatten(1, 2)
        (top, bottom), (left, right) = pads
        padded = torch.nn.functional.pad(images, (left, right, top, bottom))
        torch.nn.functional.conv2d(padded, theirs, groups=groups).backward(upstream)
        expected = theirs.grad.numpy().reshape(groups, channels[1], channels[0], taps, taps)
        ours = computed(problem, x, g, method).transpose(1, 2, 0, 3, 4)
        assert np.abs(ours - expected).max() <= 1e-5 * np.abs(expected).max()


@FILTERS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bound_is_not_idle(method: str, taps: int, dtype: str) -> None:
    """Far below it for numbers of random signs, yet not out of sight; what it is made of."""
    pad = taps // 2
    problem = problem_of(4, (24, 32), (24, 20), ((pad, pad),) * 2, dtype=dtype, taps=taps)
    x, g = arrays(problem)
    wide = np.longdouble if dtype == "float64" else np.float64
    padded = np.pad(x[:, 0].astype(wide), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    expected = np.zeros((24, 32, taps, taps), wide)
    for i, j in product(range(taps), range(taps)):
        expected[..., i, j] = np.einsum("cbyx,obyx->co", padded[..., i : i + 24, j : j + 20], g[0].astype(wide))
    error = np.abs(computed(problem, x, g, method)[:, 0] - expected).max()
    factor = plan_for(problem, method).error_bound.factor
    size = np.sqrt(4 * 24 * 20)
    assert factor * size**2 * 2e-5 < error < factor * size**2
    tiles = 4 * -(-24 // int(method[-1])) * -(-20 // int(method[-1]))
    u = np.finfo(dtype).eps / 2
    spread = transforms(int(method[-1]), taps).adjoint.gathered ** 2
    assert factor == pytest.approx(spread * (tiles + 20 + 1) * u, rel=1e-3)


def test_what_the_bound_says() -> None:
    """Of many tiles: three times that of direct summation for small tiles, four and a half times for large ones."""
    problem = problem_of(8, (64, 64), (56, 56))
    direct = registry.algorithm("kernel-gradient").bound(problem).factor
    factors = [registry.algorithm(f"winograd-gradient-{m}").bound(problem).factor / direct for m in (2, 4)]
    assert 2.9 < factors[0] < 3
    assert 4.3 < factors[1] < 4.5


EVERY = pytest.mark.parametrize(
    ("method", "problem"),
    [(f"winograd-gradient-{outputs}", problem) for outputs in (2, 4) for problem in PROBLEMS]
    + [("winograd-gradient-2", problem) for problem in LARGER],
    ids=str,
)


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch, problem: Problem, dtype: str, method: str) -> None:
    monkeypatch.setattr(winograd_gradient_blocks, "WORK", 1)
    problem = problem.derive(input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype)
    x, g = arrays(problem)
    results = set()
    for threads in (1, 2, 3):
        ck.set_num_threads(threads)
        results.add(computed(problem, x, g, method).tobytes())
    assert len(results) == 1


@EVERY
def test_however_it_is_cut(monkeypatch: pytest.MonkeyPatch, problem: Problem, method: str) -> None:
    """Chunks and blocks of any size, one part and many: numbers so small that every sum is exact."""
    source = np.random.default_rng(3)
    x = source.integers(-2, 3, problem.input_shape).astype("float64")
    g = source.integers(-2, 3, problem.kernel_shape).astype("float64")
    problem = problem.derive(**WIDE)
    expected = computed(problem, x, g, "direct")
    for tiles, vectors, packed, tasks, fewest in (
        (1, 8, 1 << 20, 7, 1), (9, 1, 1 << 10, 1, 48), (9, 8, 1 << 17, 7, 48), (200, 2, 1 << 14, 7, 1),
        (200, 8, 1 << 20, 1, 1),
    ):  # fmt: skip
        monkeypatch.setattr(winograd_gradient_blocks, "TILES", tiles)
        monkeypatch.setattr(winograd_gradient_blocks, "INPUTS", vectors)
        monkeypatch.setattr(winograd_gradient_blocks, "OUTPUTS", vectors)
        monkeypatch.setattr(winograd_gradient_blocks, "PACKED_BYTES", packed)
        monkeypatch.setattr(winograd_gradient_blocks, "TASKS", tasks)
        monkeypatch.setattr(winograd_gradient_blocks, "FEWEST", fewest)
        monkeypatch.setattr(winograd_gradient_blocks, "WORK", 1)
        forget()
        cut = winograd_gradient_blocks.blocking(problem, int(method[-1]))
        chunks = cut.chunks(problem.in_channels)
        assert all((hi - lo) * np.prod([b - a for a, b in box]) <= max(tiles, 1) for (lo, hi), box in chunks)
        assert 1 <= cut.parts <= min(tasks, len(chunks))
        assert np.abs(computed(problem, x, g, method) - expected).max() < 1e-9


@FILTERS
def test_layouts(method: str, taps: int) -> None:
    """Views with any strides in and out: channels last, every second number, reversed."""
    problem = problem_of(2, (18, 20), (9, 14), taps=taps)
    x, g = arrays(problem)
    expected = computed(problem, x, g, method)

    def views(array: np.ndarray, channels: int) -> list[np.ndarray]:
        last = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, channels, -1)), -1, channels)
        wide = np.zeros((*array.shape[:3], 2 * array.shape[3], 2 * array.shape[4]), "float32")
        wide[..., ::2, ::2] = array
        backwards = array[..., ::-1, ::-1].copy()[..., ::-1, ::-1]
        return [array, last, wide[..., ::2, ::2], backwards]

    results = [*views(np.zeros_like(expected), 0), np.moveaxis(np.zeros((1, 20, 18, taps, taps), "float32"), 2, 0)]
    for ours, upstream, out in product(views(x, 0), views(g, 1), results):
        out[...] = 7
        assert np.array_equal(computed(problem, ours, upstream, method, out), expected)


@METHODS
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_terms(method: str, value: float) -> None:
    """A tile's transform spreads it over all nine elements; those whose sums never meet it stay as they are."""
    problem = problem_of(2, (5, 18), (9, 11), ((0, 0), (0, 0)))
    x, g = arrays(problem)
    x[2, 0, 1, 0, 10], x[0, 0, 0, 8, 4] = value, -value
    ours, expected = computed(problem, x, g, method), computed(problem, x, g, "direct")
    assert np.array_equal(np.isfinite(ours), np.isfinite(expected))
    # A corner of one image meets one element of its kernels, a sample of the last row three.
    assert (~np.isfinite(ours)).sum() == 18 * (1 + 3)
    assert np.array_equal(ours[~np.isfinite(ours)], expected[~np.isfinite(ours)], equal_nan=True)
    there = np.isfinite(ours)
    assert np.abs(ours[there] - expected[there]).max() < 1e-4 * np.abs(expected[there]).max()


@METHODS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_upstream_gradient_that_is_not_finite(method: str, value: float) -> None:
    problem = problem_of(2, (5, 18), (9, 11))
    x, g = arrays(problem)
    g[0, 7, 1, 4, 3] = value
    plan, ours = plan_for(problem, method), np.zeros(problem.output_shape, "float32")
    plan.run(plan.prepare(g), x, ours)
    expected = computed(problem, x, g, "direct")
    assert np.array_equal(ours, expected, equal_nan=True)
    assert (~np.isfinite(ours)).sum() == 5 * 9


@METHODS
def test_numbers_near_the_largest(method: str) -> None:
    """Sums that fit, of numbers whose transforms do not."""
    problem = problem_of(1, (2, 2), (8, 8))
    x, g = np.full(problem.input_shape, 3e38, "float32"), np.zeros(problem.kernel_shape, "float32")
    g[0, 0, 0, 3, 3] = g[0, 1, 0, 0, 2] = 1
    assert np.array_equal(computed(problem, x, g, method), computed(problem, x, g, "direct"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_of": "samples"}, "a sum over samples"),
        ({"windows": (Window(9, 7, 3).kernel_adjoint(),) * 2}, "3 x 3"),
        ({"windows": (Window(9, 3, 7).kernel_adjoint(), Window(9, 5, 5).kernel_adjoint())}, "3 x 3"),
        ({"windows": (Window(9, 3, 4, 0, 2).kernel_adjoint(),) * 2}, "whose windows move by single steps"),
        ({"windows": (Window(9, 3, 5, 0, 1, 2).kernel_adjoint(),) * 2}, "without dilation"),
        ({"windows": (Window(9, 3, 7).kernel_adjoint(),)}, "3 x 3"),
        ({"input_dtype": "uint8"}, "no compiled kernel for uint8"),
        ({"compute_dtype": "complex64"}, "no compiled kernel for complex64"),
        ({"accuracy": "elementwise"}, "elementwise"),
        ({"accuracy": 1e-6}, "1e-06"),
    ],
)
def test_what_it_leaves_to_others(changes: dict[str, Any], words: str) -> None:
    for method in ("winograd-gradient-2", "winograd-gradient-4"):
        with pytest.raises(AccuracyError) as caught:
            plan_for(problem_of(1, (4, 5), (9, 9)).derive(**changes), method)
        assert caught.value.code == "accuracy.method-does-not-apply"
        assert words in str(caught.value)


def test_memory_is_bounded() -> None:
    """Whatever the layer's size: the tiles of a chunk and the sums of a block of channels."""
    for channels, size, outputs, dtype in product((16, 64, 512, 2048), (7, 56, 512), (2, 4), ("float32", "float64")):
        problem = problem_of(16, (channels, channels), (size, size), dtype=dtype)
        assert winograd_gradient_tiles.scratch(problem, outputs) < 6 << 20


def test_they_are_chosen_where_they_are_fastest() -> None:
    for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        problem = problem_of(8, (channels, channels), (size, size))
        assert plan_for(problem).choice == "winograd-gradient-4"
        assert plan_for(problem.derive(accuracy="elementwise")).choice == "kernel-gradient"
        # Where large tiles are not accurate enough, small ones may be.
        tight = registry.algorithm("winograd-gradient-2").bound(problem).factor
        assert plan_for(problem.derive(accuracy=tight)).choice == "winograd-gradient-2"
    # Images of one small tile; and one input channel, which would fill one lane of sixteen.
    assert plan_for(problem_of(32, (64, 64), (2, 2))).choice == "winograd-gradient-2"
    assert plan_for(problem_of(64, (1, 8), (28, 28))).choice == "kernel-gradient"


def test_a_layer_takes_it() -> None:
    x, w = numbers((4, 32, 24, 24), "float32", 1), numbers((48, 32, 3, 3), "float32", 2)
    g = numbers((4, 48, 24, 24), "float32", 3)
    ours = ck.conv_weight_gradient(g, x, w.shape, padding=1)
    direct = ck.conv_weight_gradient(g, x, w.shape, padding=1, accuracy="elementwise")
    assert 0 < np.abs(ours - direct).max() < 1e-5 * np.abs(direct).max()
