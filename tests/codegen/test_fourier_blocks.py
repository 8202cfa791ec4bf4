"""Overlap-save by compiled transforms: sizes around a block's edge, layouts, partners that do not touch each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import overlap_save
from convkit.algorithms.support import fourier_blocks, fourier_program
from convkit.planner.problem import Problem
from convkit.spec.window import Window
from tests.oracle.strategies import Case, random_array
from tests.oracle.test_algorithms import assert_within_bound_of_sums

BOUNDARIES = ("zero", "constant", "edge", "reflect", "symmetric", "wrap", ("reflect", "zero"))
OPTIONS = {"method": "overlap-save"}


def forget() -> None:
    """Blocks and programs, and the plans that go with them."""
    fourier_blocks.blocks_of.cache_clear()
    fourier_program.program_of.cache_clear()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So small that a few thousand samples are many of them."""
    before = ck.num_threads()
    monkeypatch.setattr(fourier_blocks, "LARGEST", 1 << 14)
    monkeypatch.setattr(fourier_blocks, "LEAST_PRODUCTS", 0)
    forget()
    yield
    ck.set_num_threads(before)
    monkeypatch.undo()
    forget()


def blocks_of(x: np.ndarray, k: np.ndarray, mode: str = "same") -> fourier_blocks.Blocks:
    """The blocks that a call would be cut into."""
    plan = ck.plan(x.shape, k.shape, x.dtype.name, mode=mode, **OPTIONS)
    blocks = fourier_blocks.blocks_of(plan.problem)
    assert blocks is not None
    return blocks


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_every_boundary_and_rank(boundary: object, dtype: str) -> None:
    shapes = [((3000,), (230,)), ((95, 141), (14, 9)), ((13, 22, 40), (3, 4, 5))]
    for shape, kernel in shapes:
        sides = boundary if isinstance(boundary, str) else (boundary,) * len(shape)
        for operation, mode, dilation in (("convolution", "full", 1), ("correlation", "same", 2)):
            options = {"boundary": sides, "fill": 2.5, "dilation": dilation}
            case = Case(random_array(shape, dtype, 1), random_array(kernel, dtype, 2), operation, mode, options)
            error, allowed = assert_within_bound_of_sums(case, "overlap-save")
            assert error > 1e-6 * allowed, "a bound that would hold for anything"


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_outputs_around_the_edges_of_blocks(data: st.DataObject) -> None:
    """As many outputs as so many blocks have, and one more or less; as many samples as the last block reads."""
    rank, dtype = data.draw(st.sampled_from((1, 2))), data.draw(st.sampled_from(("float32", "float64")))
    kernel = tuple(data.draw(st.integers(1, 150 if rank == 1 else 12)) for _ in range(rank))
    start = blocks_of(np.empty((5000,) if rank == 1 else (200, 300), dtype), np.empty(kernel)).counts
    outputs = tuple(
        max(1, n * data.draw(st.integers(1, 5 if rank == 1 else 2)) + data.draw(st.integers(-1, 1))) for n in start
    )
    mode = data.draw(st.sampled_from(("valid", "same", "full")))
    shape = tuple(n + {"valid": k - 1, "same": 0, "full": 1 - k}[mode] for n, k in zip(outputs, kernel, strict=True))
    assume(min(shape) > 0 and (mode != "valid" or all(n >= k for n, k in zip(shape, kernel, strict=True))))
    seed = data.draw(st.integers(0, 99))
    case = Case(random_array(shape, dtype, seed), random_array(kernel, dtype, seed + 1), "convolution", mode)
    if np.prod(shape) * np.prod(kernel) < 3e6:
        assert_within_bound_of_sums(case, "overlap-save")


def test_many_lengths_stay_far_within_their_bound() -> None:
    """The error over all lengths of blocks, against sums in extended precision; its worst share of what is allowed."""
    worst = 0.0
    for dtype, samples, kernel in product(("float32", "float64"), (300, 900, 2500, 4000), (3, 40, 300)):
        case = Case(random_array((samples,), dtype, samples), random_array((kernel,), dtype, kernel), mode="same")
        error, allowed = assert_within_bound_of_sums(case, "overlap-save")
        worst = max(worst, error / allowed)
    assert 1e-5 < worst < 0.1


def test_batch_and_threads_change_no_bit() -> None:
    x, k = random_array((5, 3, 140, 230), "float32", 1), random_array((12, 9), "float32", 2)
    blocks = math.prod(-(-n // count) for n, count in zip((140, 230), blocks_of(x[0, 0], k).counts, strict=True))
    assert blocks % 2 == 1, "one has no partner"
    one = [ck.convolve(image, k, "same", boundary="wrap", **OPTIONS) for image in x[:, 1]]
    for threads in (1, 2, 3):
        ck.set_num_threads(threads)
        many = ck.convolve(x, k, "same", boundary="wrap", axes=(2, 3), **OPTIONS)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(many[:, 1], one, strict=True))


@pytest.mark.parametrize(("shape", "kernel"), [((9000,), (200,)), ((150, 170), (12, 9))])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_out_of_the_partner(shape: tuple, kernel: tuple, value: float) -> None:
    """Wherever it stands, and whichever of two blocks holds it, it touches the outputs whose window holds it."""
    x, k = random_array(shape, "float32", 1), random_array(kernel, "float32", 2)
    source = np.random.default_rng(3)
    clean = ck.convolve(x, k, "same", **OPTIONS)
    for _ in range(6):
        bad = x.copy()
        at = tuple(source.integers(0, n) for n in shape)
        bad[at] = value
        ours = ck.convolve(bad, k, "same", **OPTIONS)
        expected = ck.convolve(bad, k, "same", method="direct")
        assert np.array_equal(np.isfinite(ours), np.isfinite(expected))
        assert np.array_equal(ours[~np.isfinite(ours)], expected[~np.isfinite(ours)], equal_nan=True)
        assert np.allclose(ours[np.isfinite(ours)], clean[np.isfinite(ours)], atol=1e-4)


def test_finite_results_are_known_without_another_look() -> None:
    x, k = random_array((9000,), "float32", 1), random_array((200,), "float32", 2)
    plan = ck.plan(x.shape, k.shape, "float32", mode="same", **OPTIONS)
    prepared = plan.algorithm.prepare(plan.problem, k.reshape(plan.problem.kernel_shape))
    out = np.empty(plan.problem.output_shape, np.float32)
    for value, seen in ((1.0, "finite"), (np.nan, None), (-np.inf, None), (3e38, None)):
        x[8999] = value
        assert plan.algorithm.run(plan.problem, prepared, x.reshape(plan.problem.input_shape), out) == seen


def test_a_large_number_in_one_block_is_an_error_within_the_bound_in_the_other() -> None:
    x, k = random_array((9000,), "float64", 1), random_array((200,), "float64", 2)
    x[100] = 1e12
    assert_within_bound_of_sums(Case(x, k, mode="same"), "overlap-save")


def test_layouts_and_types() -> None:
    x, k = random_array((150, 170), "float32", 1), random_array((12, 9), "float32", 2)
    reference = ck.convolve(x, k, "same", **OPTIONS)
    wide = np.zeros((300, 510), np.float32)
    wide[::2, ::3] = x
    backwards = x[::-1, ::-1].copy()[::-1, ::-1]
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    for source in (np.asfortranarray(x), wide[::2, ::3], backwards, unaligned):
        assert ck.convolve(source, np.asfortranarray(k), "same", **OPTIONS).tobytes() == reference.tobytes()
    for out in (wide[::2, ::3], wide[-2::-2, -3::-3], np.empty(x.shape[::-1], np.float32).T):
        assert ck.convolve(x, k, "same", out=out, **OPTIONS) is out
        assert np.array_equal(out, reference)
    z = (x + 1j * x[::-1]).astype(np.complex64)
    wide_z = np.zeros((300, 510), np.complex64)
    expected = ck.convolve(z, k, "same", **OPTIONS)
    assert np.array_equal(ck.convolve(z, k, "same", out=wide_z[::2, ::3], **OPTIONS), expected)
    for dtype in ("uint8", "int16", "float16", "bool"):
        image = (np.abs(x) * 40).astype(dtype)
        ours = ck.convolve(image, k, "same", **OPTIONS)
        assert np.array_equal(ours, ck.convolve(image.astype(ours.dtype), k, "same", **OPTIONS))
        exact = ck.convolve(image.astype(float), k.astype(float), "same", method="direct")
        for stored in ("uint8", "int16"):
            limits = np.iinfo(stored)
            nearest = np.clip(exact, limits.min, limits.max)
            assert np.abs(ck.convolve(image, k, "same", dtype=stored, **OPTIONS) - nearest).max() < 0.51


def test_each_channel_its_own_kernel() -> None:
    x, w = random_array((2, 5, 60, 81), "float32", 5), random_array((5, 1, 7, 6), "float32", 6)
    ours = ck.conv(x, w, groups=5, padding=3, **OPTIONS)
    for b, g in product(range(2), range(5)):
        alone = ck.conv(x[b : b + 1, g : g + 1], w[g : g + 1], padding=3, **OPTIONS)
        assert ours[b, g].tobytes() == alone[0, 0].tobytes()
    assert np.allclose(ours, ck.conv(x, w, groups=5, padding=3, method="direct"), atol=1e-4)


def test_a_convolver_transforms_its_kernel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    transform = fourier_program.kernel_spectra

    def counted(*arguments: object) -> object:
        done.append(1)
        return transform(*arguments)

    monkeypatch.setattr(fourier_program, "kernel_spectra", counted)
    convolver = ck.Convolver(random_array((230,), "float32", 1), mode="same", **OPTIONS)
    for seed in range(3):
        x = random_array((5000,), "float32", seed)
        assert np.allclose(convolver.apply(x), np.convolve(x, convolver.kernel, "same"), atol=1e-3)
    assert done == [1]


def test_without_a_compiler_and_beyond_its_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same name stands for blocks transformed by ducc0."""
    x, k = random_array((5000,), "float64", 1), random_array((230,), "float64", 2)
    ours_of = overlap_save.OverlapSave()
    problem = ck.plan(x.shape, k.shape, mode="same", **OPTIONS).problem
    assert ours_of.describe(problem).startswith("fourier_lanes_float64_convolve_table ")
    assert len(ours_of.kernels(problem)) == 1 + 2 * len(fourier_blocks.fourier_of(problem, blocks_of(x, k)).stages)
    assert ours_of.describe(ck.plan((1 << 20,), (300001,), mode="same", **OPTIONS).problem) is None
    ours = ck.convolve(x, k, "same", **OPTIONS)
    monkeypatch.setattr(fourier_blocks.codegen, "why_not", lambda: "jit-off")
    monkeypatch.setattr("convkit.verbs.calls._ready", {})
    forget()
    assert (ours_of.describe(problem), ours_of.kernels(problem)) == (None, ())
    theirs = ck.convolve(x, k, "same", **OPTIONS)
    assert np.allclose(ours, theirs, atol=1e-11)
    assert ours.tobytes() != theirs.tobytes()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"compute_dtype": "longdouble"}, "no-compiled-kernel"),
        ({"compute_dtype": "complex128"}, "no-compiled-kernel"),
        ({"in_channels": 2}, "mixed-channels"),
        ({"windows": (Window(300, 9, 100, stride=2),)}, "strided"),
        ({"windows": (Window(100, 9, 92),)}, "too-small"),
    ],
)
def test_what_it_leaves_to_other_transforms(changes: dict, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fourier_blocks, "LEAST_PRODUCTS", 1000)
    problem = Problem((Window(300, 9, 292),))
    assert fourier_blocks.why_not(problem) is None
    refused = fourier_blocks.why_not(problem.derive(**changes))
    assert refused is not None
    assert refused.name == reason
    assert fourier_blocks.blocks_of(problem.derive(**changes)) is None
