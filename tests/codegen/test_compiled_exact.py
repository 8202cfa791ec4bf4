"""The algorithm `compiled-exact`: every form, exact at the ends of every type; the same however it is called."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import compiled_integer
from convkit.algorithms.support import exact_tiles
from convkit.algorithms.support.forms import DOTS, FLOATS, form_for
from convkit.algorithms.support.ranges import KernelRange
from convkit.codegen import target
from convkit.errors import AccuracyError, ConvError
from tests.oracle.agreement import products, verb
from tests.oracle.strategies import Case, lattice, random_array

BOUNDARIES = ("zero", "constant", "edge", "reflect", "symmetric", "wrap", ("reflect", "constant"))
SHAPES = [((700,), (23,)), ((45, 61), (4, 7)), ((11, 12, 30), (3, 2, 5)), ((4, 5, 9, 17), (2, 3, 2, 3))]
SAMPLES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
RESULTS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
WEIGHTS = {"int8": ("int8", -128, 127), "uint8": ("uint8", 0, 255), "int16": ("int64", -32768, 32767)}
dots = pytest.mark.skipif(not (target.host() and target.host().dots), reason="no dot products on this processor")


@pytest.fixture(autouse=True)
def restore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small problems too, and as many threads afterwards as before."""
    monkeypatch.setattr(compiled_integer, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(compiled_integer, "LEAST_OF_A_ROW", 0)
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)


def extremes(shape: tuple[int, ...], dtype: str, seed: int, least: int, most: int) -> np.ndarray:
    """Random numbers of a range, and often its ends."""
    source = np.random.default_rng(seed)
    numbers = source.integers(least, most, shape, endpoint=True)
    numbers = np.where(source.random(shape) < 0.3, most, numbers)
    return np.where(source.random(shape) < 0.3, least, numbers).astype(dtype)


def samples(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Numbers up to the ends of their type, or of 32 bits."""
    if dtype == "bool":
        return extremes(shape, dtype, seed, 0, 1)
    limits, wide = np.iinfo(dtype), np.iinfo("uint32" if dtype[0] == "u" else "int32")
    return extremes(shape, dtype, seed, max(int(limits.min), int(wide.min)), min(int(limits.max), int(wide.max)))


def whole(case: Case) -> np.ndarray:
    """The exact sums: extended precision holds integers of 64 bits."""
    sums = np.asarray(sum(products(case)))
    assert np.abs(sums).max() < 2.0**62
    return sums.astype(np.int64)


def assert_exact(case: Case) -> None:
    ours = verb(case, method="compiled-exact")
    assert ours.dtype.kind in "iu"
    assert np.array_equal(ours.astype(np.int64), whole(case))


@pytest.mark.parametrize("dtype", SAMPLES)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("shape", "kernel"), SHAPES)
def test_every_boundary_and_rank(shape: tuple, kernel: tuple, weights: str, dtype: str) -> None:
    name, least, most = WEIGHTS[weights]
    signed = ["int64" if dtype[0] == "u" and name[0] == "u" else None]
    for n, boundary in enumerate(BOUNDARIES):
        sides = boundary if isinstance(boundary, str) else (boundary,) * len(shape)
        options = {"boundary": sides, "fill": 1, "stride": 1 + n % 3, "dilation": 1 + n % 5, "dtype": signed[0]}
        x, k = samples(shape, dtype, n), extremes(kernel, name, 50 + n, least, most)
        assert_exact(Case(x, k, ("convolution", "correlation")[n % 2], ("full", "same")[n % 2], options))


@pytest.mark.parametrize("form", range(len(DOTS) + len(FLOATS)))
def test_every_tail(form: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns around a vector, a turn of the store and a tile of every form, rows around the register tile's."""
    if form < len(DOTS) and not target.host().dots:
        pytest.skip("no dot products on this processor")
    only = (*DOTS, *FLOATS)[form]
    monkeypatch.setattr(compiled_integer, "_forms", lambda problem: (only,))
    dtypes = (only.sample, only.weight) if form < len(DOTS) else ("uint8", "int8")
    least, most = _range(dtypes[1]) if dtypes[1].endswith("8") else (-1500, 1500)  # 32 bits hold the sums
    x, k = samples((13, 700), dtypes[0], 1), extremes((3, 6), dtypes[1], 2, least, most)
    wide = whole(Case(x, k, "correlation", "valid"))
    lanes = target.host().vector_bytes // np.dtype(only.sums).itemsize
    edges = {lanes * only.group * n + d for n in (0, 1, 2, 4, 8) for d in range(-2, 6)}
    for columns, rows in product(sorted(n for n in edges if 0 < n < 690), (1, 4, 5, 11)):
        for dtype in ("uint8", "int64"):
            part = x[: rows + 2, : columns + 5]
            ours = ck.correlate(part, k, "valid", dtype=dtype, overflow="saturate", method="compiled-exact")
            expected = wide[:rows, :columns] if dtype == "int64" else wide[:rows, :columns].clip(0, 255)
            assert np.array_equal(ours, expected), (columns, rows, dtype)


def _range(dtype: str) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def test_any_problem() -> None:
    done = 0

    @lattice(150)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        nonlocal done
        rank = data.draw(st.integers(1, 3))
        sizes = data.draw(st.tuples(*[st.integers(1, 9)] * (rank - 1), st.integers(1, 90)))
        kernel = data.draw(st.tuples(*[st.integers(1, 4)] * (rank - 1), st.integers(1, 9)))
        options = {
            "boundary": data.draw(st.sampled_from(BOUNDARIES[:-1])), "fill": data.draw(st.sampled_from((0, 3, -2000))),
            "stride": data.draw(st.integers(1, 4)), "dilation": data.draw(st.integers(1, 5)),
        }  # fmt: skip
        x = samples(sizes, data.draw(st.sampled_from(SAMPLES[1:])), data.draw(st.integers(0, 99)))
        k = extremes(kernel, "int64", 7, *data.draw(st.sampled_from(((-5, 6), (-128, 127), (-40000, 40000)))))
        case = Case(x, k, "convolution", data.draw(st.sampled_from(("full", "same"))), options)
        assert_exact(case)
        done += 1

    check()
    assert done > 100


@pytest.mark.parametrize(
    ("least", "most", "weights", "arithmetic"),
    [
        (0, 255, (-128, 127), "uint8_int8"),
        (0, 255, (0, 255), "uint8_uint8"),
        (-128, 127, (-128, 127), "int8_int8"),
        (-128, 127, (0, 128), "int8_uint8"),
        (0, 255, (-129, 3), "int16_int16"),
        (-32768, 32767, (-1, 1), "int16_int16"),
        (0, 65535, (-1, 1), "uint16_int16"),
        (-32769, 0, (-1, 1), "float32"),
        (0, 1 << 23, (-1, 0), "float32"),
        (0, 1 << 23, (-1, 1), "float64"),
        (0, 1, ((1 << 53) - 1, (1 << 53) - 1), None),
        (0, 1 << 53, (0, 0), None),
    ],
)
def test_which_form(least: int, most: int, weights: tuple[int, int], arithmetic: str | None) -> None:
    kernel = KernelRange.of(np.array([weights]))
    form = form_for(least, most, kernel, (*DOTS, *FLOATS))
    assert (None if form is None else form.arithmetic) == arithmetic
    without = form_for(least, most, kernel, FLOATS)
    assert without is None or without in FLOATS


def test_sums_that_32_bits_do_not_hold() -> None:
    """70,000 products of 255 and 127 are more than 2**31: no dot product then, and not float32."""
    x, k = np.full(70_003, 255, np.uint8), np.full(70_000, 127, np.int8)
    kernel = KernelRange.of(k[None])
    assert form_for(0, 255, kernel, (*DOTS, *FLOATS)) == FLOATS[-1]
    assert (ck.correlate(x, k, "valid", method="compiled-exact") == 70_000 * 255 * 127).all()
    fits = k[:66_000]
    assert (ck.correlate(x[:66_003], fits, "valid", method="compiled-exact") == 66_000 * 255 * 127).all()
    assert (ck.correlate(x[:66_003], -fits, "valid", method="compiled-exact") == -66_000 * 255 * 127).all()


@pytest.mark.parametrize("power", [20, 30, 45, 51, 52, 53, 60])
def test_numbers_near_what_float64_holds(power: int) -> None:
    """Beyond its integers exact-integer takes over, and what it finds is stored as asked."""
    source = np.random.default_rng(power)
    x = np.int64(2) ** power - source.integers(0, 5, (40, 60))
    k = np.array([[1, -2], [1, 0], [0, 1]])
    expected = np.zeros((38, 59), np.int64)
    for i, j in np.ndindex(k.shape):
        expected += x[i : i + 38, j : j + 59] * k[i, j]
    assert np.array_equal(ck.correlate(x, k, "valid", method="compiled-exact"), expected)
    small = ck.correlate(x, k, "valid", dtype="int16", overflow="saturate", method="compiled-exact")
    assert np.array_equal(small, expected.clip(-32768, 32767))
    wrapped = ck.correlate(x, k, "valid", dtype="int8", overflow="wrap", method="compiled-exact")
    assert np.array_equal(wrapped, expected.astype(np.int8))


def test_sums_beyond_64_bits_raise() -> None:
    x = np.full((30, 30), 2**62)
    with pytest.raises(ConvError) as caught:
        ck.convolve(x, np.ones((3, 3), np.int64), method="compiled-exact")
    assert caught.value.code == "integer.does-not-fit"
    assert (ck.convolve(x, np.ones((3, 3), np.int64), "valid", overflow="saturate") == 2**63 - 1).all()


@pytest.mark.parametrize("dtype", RESULTS)
@pytest.mark.parametrize("largest", [1, 3, 120, 1000, 10**6])
def test_what_does_not_fit(largest: int, dtype: str) -> None:
    """Saturated, wrapped, or an error that counts them; stored at once, in all forms and layouts."""
    limits = np.iinfo(dtype)
    for kind, boundary in (("uint8", "reflect"), ("int8", "zero"), ("uint16", "wrap"), ("int32", "edge")):
        x, k = samples((37, 150), kind, 3), extremes((3, 5), "int64", 4, -largest, largest)
        options = {"boundary": boundary, "method": "compiled-exact", "dtype": dtype}
        exact = whole(Case(x, k, "convolution", "same", {"boundary": boundary}))
        wrapped = ck.convolve(x, k, "same", overflow="wrap", **options)
        assert wrapped.dtype == dtype
        assert np.array_equal(wrapped, exact.astype(dtype))
        clipped = np.array([min(max(int(v), int(limits.min)), int(limits.max)) for v in exact.flat], dtype)
        assert np.array_equal(ck.convolve(x, k, "same", overflow="saturate", **options), clipped.reshape(exact.shape))
        outside = int(((exact < int(limits.min)) | (exact > int(limits.max))).sum())
        if outside:
            with pytest.raises(ConvError) as caught:
                ck.convolve(x, k, "same", **options)
            assert (caught.value.code, caught.value.facts["count"]) == ("integer.does-not-fit", outside)
        else:
            assert np.array_equal(ck.convolve(x, k, "same", **options), exact.astype(dtype))


@pytest.mark.parametrize("at", [(0, 0), (0, 149), (36, 0), (36, 149), (20, 63), (5, 64), (7, 128)])
def test_a_single_sum_that_does_not_fit_is_seen(at: tuple[int, int]) -> None:
    for dtype in ("uint8", "int8", "int16", "int32"):
        x = np.zeros((37, 150), "uint8")
        x[at] = 1
        for value in _range(dtype):
            k = np.zeros((3, 3), np.int64)
            k[1, 1] = value
            fits = ck.correlate(x, k, "same", dtype=dtype, method="compiled-exact")
            assert (fits[at], np.count_nonzero(fits)) == (value, int(value != 0))
            k[1, 1] = value + (1 if value > 0 else -1)
            with pytest.raises(ConvError) as caught:
                ck.correlate(x, k, "same", dtype=dtype, method="compiled-exact")
            assert caught.value.facts["count"] == 1


def test_without_dot_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other processors floats do the same."""
    x, k = samples((45, 130), "uint8", 1), extremes((4, 5), "int8", 2, -128, 127)
    expected = ck.convolve(x, k, method="compiled-exact")
    monkeypatch.setattr(compiled_integer, "_forms", lambda problem: FLOATS)
    assert np.array_equal(ck.convolve(x, k, method="compiled-exact"), expected)
    assert np.array_equal(expected, whole(Case(x, k)))


def test_tiles_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of a few outputs, every one of them beside another."""
    x, k = samples((90, 170), "uint8", 1), extremes((4, 6), "int8", 2, -128, 127)
    case = Case(x, k, "convolution", "full", {"boundary": "symmetric", "dtype": "int64"})
    caches = exact_tiles.program, exact_tiles.scratch, exact_tiles.samples_at_once
    for outputs, columns, rows in ((64, 7, 3), (300, 19, 20), (1, 1, 1), (2000, 64, 4)):
        for name, value in (("TILE_OUTPUTS", outputs), ("TILE_COLUMNS", columns), ("TILE_ROWS", rows)):
            monkeypatch.setattr(exact_tiles, name, value)
        for cache in caches:
            cache.cache_clear()
        assert_exact(case)
    for cache in caches:
        cache.cache_clear()


def test_layouts() -> None:
    """Views with any strides in and out."""
    x, k = samples((80, 90), "uint8", 1), extremes((5, 4), "int8", 2, -20, 20)
    options = {"dtype": "int16", "overflow": "saturate", "method": "compiled-exact", "boundary": "reflect"}
    reference = ck.convolve(x, k, "same", **options)
    wide = np.zeros((160, 270), np.uint8)
    wide[::2, ::3] = x
    for view in (np.asfortranarray(x), wide[::2, ::3], x[::-1, ::-1].copy()[::-1, ::-1]):
        assert np.array_equal(ck.convolve(view, np.asfortranarray(k), "same", **options), reference)
    for out in (
        np.zeros((160, 270), np.int16)[::2, ::3], np.zeros(x.shape, np.int16)[::-1, ::-1],
        np.zeros(x.shape[::-1], np.int16).T,
    ):  # fmt: skip
        assert ck.convolve(x, k, "same", out=out, **options) is out
        assert np.array_equal(out, reference)
    words = samples((60, 70), "int16", 3)
    swapped = words.astype(words.dtype.newbyteorder())
    assert np.array_equal(
        ck.convolve(swapped, k, method="compiled-exact"), ck.convolve(words, k, method="compiled-exact")
    )


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_channels_side_by_side(dtype: str, channels: int) -> None:
    image, k = samples((33, 47, channels), dtype, 1), extremes((3, 5), "int8", 2, -128, 127)
    for boundary in ("zero", "reflect", "wrap"):
        options = {"boundary": boundary, "method": "compiled-exact", "overflow": "saturate"}
        for kind, dilation in product((None, "uint8"), (1, 2)):
            ours = ck.convolve(image, k, "same", axes=(0, 1), dtype=kind, dilation=dilation, **options)
            for c in range(channels):
                plane = np.ascontiguousarray(image[..., c])
                assert np.array_equal(
                    ours[..., c], ck.convolve(plane, k, "same", dtype=kind, dilation=dilation, **options)
                )
    bright = np.full((33, 47, channels), 255, np.uint8)
    with pytest.raises(ConvError) as caught:
        ck.convolve(bright, np.ones((2, 2), np.int8), "valid", axes=(0, 1), dtype="uint8", method="compiled-exact")
    assert caught.value.facts["count"] == 32 * 46 * channels


def test_a_batch_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images, k = samples((7, 3, 50, 140), "uint8", 4), extremes((5, 3), "int8", 5, -128, 127)
    one = [ck.convolve(image, k, "same", boundary="edge", method="compiled-exact") for image in images[:, 1]]
    for steps, count in product((1 << 13, 20), (1, 2, 3)):
        monkeypatch.setattr(exact_tiles, "PROGRAM_STEPS", steps)
        exact_tiles.samples_at_once.cache_clear()
        ck.set_num_threads(count)
        many = ck.convolve(images, k, "same", boundary="edge", axes=(2, 3), method="compiled-exact")
        assert all(np.array_equal(a, b) for a, b in zip(many[:, 1], one, strict=True))
    exact_tiles.samples_at_once.cache_clear()


def test_each_channel_its_own_kernel() -> None:
    """Signed bytes, too, whose sums begin with a number of the kernel's own."""
    x, w = samples((2, 6, 30, 41), "int8", 5), extremes((6, 1, 3, 5), "int8", 6, -128, 127)
    ours = ck.conv(x, w, groups=6, padding=2, method="compiled-exact")
    for b, g in product(range(2), range(6)):
        alone = ck.conv(x[b : b + 1, g : g + 1], w[g : g + 1], padding=2, method="compiled-exact")
        assert np.array_equal(ours[b, g], alone[0, 0])
        case = Case(x[b, g], w[g, 0], "correlation", "full", {"boundary": "zero"})
        full = whole(case)
        assert np.array_equal(alone[0, 0], full[: full.shape[0], 2:-2])


def test_a_kernel_prepared_once() -> None:
    k = extremes((3, 3), "int64", 1, -100, 100)
    filtered = ck.Convolver(k, mode="same", method="compiled-exact")
    for shape, dtype in product(((40, 50), (64, 31), (200, 7)), SAMPLES):
        x = samples(shape, dtype, 2)
        assert np.array_equal(filtered.apply(x), whole(Case(x, k, "convolution", "same")))


def test_what_it_leaves_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_integer, "LEAST_PRODUCTS", 1 << 12)
    x, k = random_array((10, 12), "uint8", 1), random_array((3, 3), "int16", 2)
    for arrays, words in (((x, k), "fewer than the 4096"), ((x.astype(float), k), "not in integers")):
        with pytest.raises(AccuracyError) as caught:
            ck.convolve(*arrays, method="compiled-exact")
        assert words in str(caught.value)


@dots
def test_it_is_chosen_where_it_is_fastest() -> None:
    for size in (3, 5, 9, 15):
        assert ck.plan((2048, 2048), (size, size), "uint8", mode="same").choice == "compiled-exact"
    assert ck.plan((1_000_000,), (31,), "int64", mode="same").choice == "compiled-exact"


def test_nothing_outside_the_arrays_is_touched() -> None:
    """A fault would end the process, so it has one of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.codegen.guarded_exact"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr
