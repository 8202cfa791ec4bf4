"""The algorithm `compiled`: every boundary, rank and layout; the same bits however it is called."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import compiled
from convkit.algorithms.support import direct_tiles
from convkit.errors import AccuracyError
from tests.oracle.agreement import products, verb
from tests.oracle.strategies import Case, lattice, random_array
from tests.oracle.test_algorithms import assert_within_bound_of_sums

BOUNDARIES = ("zero", "constant", "edge", "reflect", "symmetric", "wrap", ("reflect", "zero"))
SHAPES = [((900,), (23,)), ((45, 61), (4, 7)), ((11, 12, 40), (3, 2, 5)), ((4, 5, 13, 17), (2, 3, 2, 3))]
X, K = random_array((400, 350), "float64", 2), random_array((9, 6), "float64", 3)


@pytest.fixture(autouse=True)
def restore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small problems too, and as many threads afterwards as before."""
    monkeypatch.setattr(compiled, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(compiled, "LEAST_OF_A_ROW", 0)
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiles of a few outputs, a frame around all but the smallest images, programs for few samples."""
    cached = (direct_tiles.program, direct_tiles.samples_at_once)
    for function in cached:
        function.cache_clear()
    for name, value in (("SMALL_IMAGE", 50), ("TILE_OUTPUTS", (90, 200)), ("TILE_COLUMNS", 19), ("PROGRAM_STEPS", 60)):
        monkeypatch.setattr(direct_tiles, name, value)
    yield
    for function in cached:
        function.cache_clear()


DTYPES = (
    ("float32", "float32"), ("float64", "float64"), ("float16", "float16"), ("float16", "float32"),
    ("uint8", "float32"), ("int16", "float32"), ("uint16", "float64"), ("bool", "float32"), ("int64", "float64"),
    ("float32", "complex64"), ("complex64", "float32"), ("complex64", "complex64"), ("complex128", "complex128"),
    ("float32", "float64"),
)  # fmt: skip
LAYOUTS = ("plain", "fortran", "reversed", "sliced", "broadcast", "odd", "read-only", "foreign")


def whole_numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Small integers: sums of their products are exact in any order."""
    source, kind = np.random.default_rng(seed), np.dtype(dtype).kind
    values = source.integers(0 if kind in "ub" else -5, 2 if kind == "b" else 6, shape)
    return (values + 1j * source.integers(-5, 6, shape) if kind == "c" else values).astype(dtype)


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers, or those of one row, elsewhere in memory."""
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.flip(np.flip(array).copy())
    if layout == "sliced":
        wide = np.ones([2 * n + 3 for n in array.shape], array.dtype)
        part = wide[tuple(slice(1, 2 * n + 1, 2) for n in array.shape)]
        part[...] = array
        return part
    if layout == "broadcast":
        return np.broadcast_to(array[:1], array.shape)
    if layout == "odd":
        fields = np.zeros(array.shape, [("before", "u1"), ("value", array.dtype)])
        fields["value"] = array
        return fields["value"]
    if layout == "foreign":
        return array.astype(array.dtype.newbyteorder(">"))
    array.setflags(write=layout != "read-only")
    return array


@st.composite
def problems(draw: st.DrawFn) -> tuple[Case, str]:
    """Ranks 1-3 and every option, sizes around those of vectors and tiles."""
    rank = draw(st.integers(1, 3))
    largest = {1: (300,), 2: (30, 70), 3: (6, 9, 40)}[rank]
    widest = {1: (40,), 2: (6, 6), 3: (3, 3, 4)}[rank]
    mode = draw(st.sampled_from(("full", "same", "valid")))
    kernel = tuple(draw(st.integers(1, n)) for n in widest)
    each = st.sampled_from((1, 1, 1, 2, 3, 4, 9))
    dilation = tuple(draw(st.sampled_from((1, 1, 2, 3, 4))) for _ in kernel)
    reaches = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    sizes = [draw(st.integers(r if mode == "valid" else 1, max(n, r))) for n, r in zip(largest, reaches)]
    name = st.sampled_from(("zero", "constant", "edge", "reflect", "symmetric", "wrap"))
    options = {
        "boundary": tuple(draw(st.tuples(name, name)) for _ in kernel), "fill": draw(st.sampled_from((0, 3, -2))),
        "stride": tuple(draw(each) for _ in kernel), "dilation": dilation,
    }  # fmt: skip
    x_dtype, k_dtype = draw(st.sampled_from(DTYPES))
    seed = draw(st.integers(0, 99))
    shape = tuple(sizes)
    if draw(st.integers(0, 2)) == 0:  # other axes, before, between or behind
        extra = draw(st.integers(1, 2))
        places = sorted(draw(st.permutations(range(rank + extra)))[:rank])
        others = [draw(st.integers(1, 4)) for _ in range(rank + extra)]
        for place, size in zip(places, sizes):
            others[place] = size
        shape, options["axes"] = tuple(others), tuple(places)
    case = Case(
        laid_out(whole_numbers(shape, x_dtype, seed), draw(st.sampled_from(LAYOUTS))),
        whole_numbers(kernel, k_dtype, seed + 1), draw(st.sampled_from(("convolution", "correlation"))), mode, options,
    )  # fmt: skip
    return case, draw(st.sampled_from(("none", "plain", "reversed", "sliced", "odd")))


@lattice(400)
@given(problems())
def check_exactly(case_and_out: tuple[Case, str]) -> None:
    """Equal to the sum of all products, which is exact."""
    case, layout = case_and_out
    terms = products(case)
    exact = sum(terms[1:], terms[0])
    before = case.x.tobytes()
    ours = verb(case, method="compiled")
    expected = exact.astype(np.complex128 if ours.dtype.kind == "c" else np.float64).astype(ours.dtype)
    assert ours.shape == expected.shape
    assert np.array_equal(ours, expected)
    assert case.x.tobytes() == before
    if layout != "none":
        out = laid_out(np.zeros_like(expected), layout)
        assert verb(case, method="compiled", out=out) is out
        assert np.array_equal(out, expected)


@pytest.mark.filterwarnings("ignore:Casting complex values:numpy.exceptions.ComplexWarning")
def test_any_problem_exactly() -> None:
    check_exactly()


@pytest.mark.usefixtures("small_tiles")
def test_any_problem_exactly_in_small_tiles() -> None:
    check_exactly()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "kernel"), SHAPES)
def test_every_boundary_and_rank(shape: tuple, kernel: tuple, boundary: object, dtype: str) -> None:
    sides = boundary if isinstance(boundary, str) else (boundary,) * len(shape)
    for operation, mode, dilation in (("convolution", "full", 1), ("correlation", "same", 2)):
        options = {"boundary": sides, "fill": 2.5, "dilation": dilation}
        case = Case(random_array(shape, dtype, 1), random_array(kernel, dtype, 2), operation, mode, options)
        assert_within_bound_of_sums(case, "compiled")


@pytest.mark.parametrize("small", [0, 1 << 16])
def test_the_frame_and_the_inside_meet(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of a few outputs, every one of them beside another; with and without a frame."""
    expected = [ck.convolve(X, K, mode, boundary="wrap", method="compiled").tobytes() for mode in ("full", "same")]
    direct_tiles.program.cache_clear()
    monkeypatch.setattr(direct_tiles, "SMALL_IMAGE", small)
    monkeypatch.setattr(direct_tiles, "TILE_OUTPUTS", (300, 300))
    monkeypatch.setattr(direct_tiles, "TILE_COLUMNS", 19)
    again = [ck.convolve(X, K, mode, boundary="wrap", method="compiled").tobytes() for mode in ("full", "same")]
    direct_tiles.program.cache_clear()
    assert again == expected


def test_layouts() -> None:
    """Views with any strides in, views with any strides out, other types of samples and of bytes."""
    reference = ck.convolve(X, K, "same", method="compiled")
    wide = np.zeros((800, 700))
    wide[::2, ::2] = X
    backwards = X[::-1, ::-1].copy()[::-1, ::-1]
    unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float64).reshape(X.shape)
    for x in (np.asfortranarray(X), wide[::2, ::2], backwards, unaligned, X.astype(">f8")):
        assert ck.convolve(x, K, "same", method="compiled").tobytes() == reference.tobytes()
        assert ck.convolve(x, np.asfortranarray(K), "same", method="compiled").tobytes() == reference.tobytes()
    for out in (wide[::2, ::2], wide[::-2, ::-2], np.empty(X.shape[::-1]).T):
        assert ck.convolve(X, K, "same", method="compiled", out=out) is out
        assert np.array_equal(out, reference)
    image = (np.abs(X) * 40).astype(np.uint8)
    assert np.array_equal(
        ck.convolve(image, K, "same", method="compiled"), ck.convolve(image.astype(float), K, "same", method="compiled")
    )


def test_a_batch_threads_and_callers_change_no_bit() -> None:
    images = random_array((5, 3, 80, 90), "float32", 4)
    kernel = K.astype(np.float32)
    one = [ck.convolve(image, kernel, "same", boundary="reflect", method="compiled") for image in images[:, 0]]
    for count in (1, 2, 3):
        ck.set_num_threads(count)
        many = ck.convolve(images, kernel, "same", boundary="reflect", axes=(2, 3), method="compiled")
        assert all(a.tobytes() == b.tobytes() for a, b in zip(many[:, 0], one, strict=True))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: ck.convolve(X, K, method="compiled").tobytes(), range(24)))
    assert len(set(results)) == 1


@pytest.mark.parametrize("batch", [1, 4])
def test_each_channel_its_own_kernel(batch: int) -> None:
    x, w = random_array((batch, 6, 30, 41), "float32", 5), random_array((6, 1, 3, 5), "float32", 6)
    ours = ck.conv(x, w, groups=6, padding=2, method="compiled")
    for b, g in product(range(batch), range(6)):
        alone = ck.conv(x[b : b + 1, g : g + 1], w[g : g + 1], padding=2, method="compiled")
        assert ours[b, g].tobytes() == alone[0, 0].tobytes()
    assert np.allclose(ours, ck.conv(x, w, groups=6, padding=2, method="direct"), atol=1e-5)


def test_a_nan_stays_in_its_windows() -> None:
    x, k = X.copy(), K.copy()
    x[100, 200], x[0, 0] = np.nan, np.inf
    assert np.array_equal(
        np.isfinite(ck.convolve(x, k, method="compiled")), np.isfinite(ck.convolve(x, k, method="direct"))
    )
    k[2, 3] = np.inf  # times the zeros beyond the edge it would be a NaN; such kernels go another way
    assert np.array_equal(ck.convolve(X, k, method="compiled"), ck.convolve(X, k, method="direct"), equal_nan=True)


def _in_child(expected: bytes) -> None:
    same = ck.convolve(X, K, method="compiled").tobytes() == expected
    os._exit(0 if same else 3)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_after_use() -> None:
    ck.set_num_threads(2)
    child = multiprocessing.get_context("fork").Process(
        target=_in_child, args=(ck.convolve(X, K, method="compiled").tobytes(),)
    )
    child.start()
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("longdouble", f"no compiled kernel for {np.dtype(np.longdouble).name}"),
        ("float64", "one sample takes 10800 products, fewer than the 16384"),
    ],
)
def test_what_it_leaves_to_others(dtype: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LEAST_PRODUCTS", 1 << 14)
    with pytest.raises(AccuracyError) as caught:
        ck.convolve(X[:10, :20].astype(dtype), K, "same", method="compiled")
    assert caught.value.code == "accuracy.method-does-not-apply"
    assert words in str(caught.value)


def test_it_is_chosen_where_it_is_fastest() -> None:
    for size in (3, 5):
        assert ck.plan((2048, 2048), (size, size), "float32", mode="same").choice == "compiled"
    assert ck.plan((1 << 20,), (31,), "float32", mode="same").choice in ("rows", "overlap-save")
