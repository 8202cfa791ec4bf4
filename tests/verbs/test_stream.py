"""Streams of long kernels: the same bits however cut, no added latency, a stated error, bounded memory."""

from __future__ import annotations

import doctest
import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import compiled, partitioned
from convkit.algorithms.support.delay_line import Partitions
from convkit.planner import machine, streaming
from convkit.planner.algorithm import Reason
from convkit.planner.plan import forget_plans
from convkit.planner.problem import Problem
from convkit.spec.window import Window

(WAY,) = streaming.ways()
DTYPES = ("float32", "float64", "complex64", "complex128")


def numbers(seed: int, shape: Any, dtype: str) -> np.ndarray:
    source = np.random.default_rng(seed)
    values = source.standard_normal(shape)
    return (values + 1j * source.standard_normal(shape) if dtype.startswith("c") else values).astype(dtype)


def problem(taps: int, block: int, dtype: str, rows: int = 1, dilation: int = 1) -> Problem:
    window = Window(block + dilation * (taps - 1), taps, block, dilation=dilation)
    return Problem((window,), batch=rows, input_dtype=dtype, kernel_dtype=dtype, compute_dtype=dtype)


def sums(x: np.ndarray, h: np.ndarray, block: int, latency: Any, cuts: Any, dilation: int = 1) -> np.ndarray:
    """``y[n] = sum_m u[n - m*dilation] h[m]`` from a stream of pieces; in whole blocks, the last one given zeros."""
    asked = problem(h.size, block, x.dtype.name, x.shape[0], dilation)
    running = WAY.begin(asked, latency, h[::-1][None, None, None])
    parts = [running.push(piece) for piece in np.split(x, cuts, axis=1)]
    if latency == "block":
        parts.append(running.push(np.zeros((x.shape[0], -x.shape[1] % block), x.dtype)))
    return np.concatenate(parts, axis=1)[:, : x.shape[1]]


def truth(x: np.ndarray, h: np.ndarray, dilation: int = 1) -> np.ndarray:
    wide = np.result_type(x.dtype, np.float64)
    laid = np.zeros((h.size - 1) * dilation + 1, wide)
    laid[::dilation] = h
    return np.stack([np.convolve(row.astype(wide), laid)[: row.size] for row in x])


def three_kinds(reach: int, block: int, latency: str, dtype: str) -> tuple[Partitions, ...]:
    """Partitions of one, four and eight blocks, however short the kernel."""
    first = 0 if latency == "block" else block
    ends = [min(max(reach, first + 1), end * block) for end in (8, 16, 1 << 20)]
    made = []
    for size, end in zip((block, 4 * block, 8 * block), ends, strict=True):
        if first < end:
            made.append(Partitions(size, first, -(-(end - first) // size)))
            first = end
    return tuple(made)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_bits_do_not_depend_on_the_cuts(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    block = data.draw(st.sampled_from((1, 2, 3, 8, 16, 20)))
    latency = data.draw(st.sampled_from(("zero", "block")))
    dilation = data.draw(st.sampled_from((1, 1, 1, 3)))
    near = [block * m + d for m in (1, 2, 7, 8, 16, 24) for d in (-1, 0, 1)]
    taps = max(1, data.draw(st.sampled_from(near)))
    size = max(1, data.draw(st.sampled_from(near))) + data.draw(st.integers(0, 40 * block))
    rows = data.draw(st.integers(1, 2))
    x, h = numbers(size, (rows, size), dtype), numbers(taps, taps, dtype)
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans()):
            patch.setattr(partitioned, "cut", three_kinds)
        whole = sums(x, h, block, latency, [], dilation)
        for _ in range(3):
            cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=12)))
            assert sums(x, h, block, latency, cuts, dilation).tobytes() == whole.tobytes()
        assert sums(x, h, block, latency, list(range(size)), dilation).tobytes() == whole.tobytes()
        bound = WAY.bound(problem(taps, block, dtype, rows, dilation), latency).factor
    for row, alone in zip(x, whole, strict=True):
        assert np.linalg.norm(h) * np.linalg.norm(row) * bound >= np.abs(alone - truth(row[None], h, dilation)[0]).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("latency", ["zero", "block"])
def test_rows_have_the_bits_that_they_have_alone(dtype: str, latency: str) -> None:
    x, h = numbers(1, (3, 900), dtype), numbers(2, 333, dtype)
    together = sums(x, h, 16, latency, [100, 333])
    for row, alone in enumerate(x):
        assert sums(alone[None], h, 16, latency, [7]).tobytes() == together[row].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("latency", ["zero", "block"])
def test_a_long_kernel_keeps_its_bound(dtype: str, latency: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitioned, "cut", three_kinds)
    taps = 10_000
    x, h = numbers(3, (1, 12_000), dtype), numbers(4, taps, dtype) * np.exp(-np.arange(taps) / 2000).astype(dtype)
    asked = problem(taps, 64, dtype)
    wide = np.float64 if dtype == "float32" else np.longdouble
    expected = np.convolve(x[0].astype(wide), h.astype(wide))[: x.size]
    error = np.abs(sums(x, h, 64, latency, [777])[0] - expected).max()
    allowed = WAY.bound(asked, latency).factor * np.linalg.norm(h) * np.linalg.norm(x)  # type: ignore[arg-type]
    assert 0 < error <= allowed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("latency", ["zero", "block"])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("bad", ["nan", "inf", "both", "signs", "overflow"])
def test_what_is_not_finite_stays_in_its_windows(dtype: str, latency: str, dilation: int, bad: str) -> None:
    x, h = numbers(5, (2, 700), dtype), numbers(6, 150, dtype)
    h[40:60] = 0
    places = {
        "nan": {100: np.nan, 101: np.nan, 480: np.nan}, "inf": {3: np.inf, 333: -np.inf},
        "signs": {90: np.inf, 95: np.inf}, "both": {64: np.inf, 200: np.nan, 203: -np.inf},
        "overflow": {130: np.finfo(x.real.dtype).max * 0.9},
    }[bad]  # fmt: skip
    for place, value in places.items():
        x[0, place] = value
    found = sums(x, h, 16, latency, [50, 101, 500], dilation)
    assert found.tobytes() == sums(x, h, 16, latency, list(range(0, 700, 37)), dilation).tobytes()
    expected = np.stack([ck.convolve(row, h, dilation=dilation, method="direct")[: row.size] for row in x])
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    held = np.isfinite(expected)
    assert np.array_equal(np.isfinite(found), held)
    infinite = ~held & ~np.isnan(expected)
    assert np.array_equal(found[infinite], expected[infinite])
    scale = 1.0 if bad != "overflow" else float(np.finfo(x.real.dtype).max)
    tolerance = 1e-3 if x.real.dtype == np.float32 else 1e-11
    assert np.all(np.abs(found[held] / scale - expected[held] / scale) < tolerance)
    assert np.all(np.isfinite(found[1]))


@pytest.mark.parametrize("boundary", ["zero", "edge", ("zero", "reflect")])
@pytest.mark.parametrize("stride", [1, 3])
def test_an_infinite_kernel_is_summed_term_by_term(boundary: Any, stride: int) -> None:
    x, h = numbers(7, 300, "float64"), numbers(8, 90, "float64")
    h[[30, 70]] = np.inf, np.nan
    convolver = ck.Convolver(h, boundary=boundary, stride=stride)
    expected = ck.convolve(x, h, boundary=boundary, stride=stride, method="direct")
    for cuts in ([], [7, 31, 299]):
        for latency in ("zero", "block"):
            assert np.array_equal(streamed(convolver, x, cuts, latency=latency), expected, equal_nan=True)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(compiled.Compiled, "applies", lambda *_: Reason("jit-off"))
    forget_plans()
    yield
    monkeypatch.undo()
    forget_plans()


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_without_a_compiler(no_compiler: None, dtype: str) -> None:
    x, h = numbers(9, (2, 500), dtype), numbers(10, 120, dtype)
    whole = sums(x, h, 16, "zero", [])
    assert np.allclose(whole, truth(x, h), rtol=0, atol=2e-4 if dtype == "float32" else 1e-12)
    assert sums(x, h, 16, "zero", [1, 16, 17, 40, 333]).tobytes() == whole.tobytes()


def streamed(convolver: ck.Convolver, x: np.ndarray, cuts: Any, axis: int = -1, **options: Any) -> np.ndarray:
    stream = convolver.stream(axis, **options)
    parts = [stream.push(piece) for piece in np.split(x, cuts, axis=axis)]
    return np.concatenate([*parts, stream.flush()], axis=axis)


OPTIONS: tuple[dict[str, Any], ...] = (
    {}, {"boundary": "reflect"}, {"boundary": ("edge", "constant"), "fill": 0.5}, {"stride": 2},
    {"boundary": "symmetric", "stride": 3}, {"dilation": 2, "operation": "correlation"}, {"anchor": 5},
)  # fmt: skip


CALLS = [
    (options, mode)
    for options in OPTIONS
    for mode in ("full", "same", "valid")
    if mode == "same" or "anchor" not in options
]
"""An anchor belongs to mode same."""


@pytest.mark.parametrize(("options", "mode"), CALLS)
@pytest.mark.parametrize("latency", ["zero", "block"])
def test_every_option_as_in_one_call(options: dict[str, Any], mode: str, latency: str) -> None:
    for dtype, block in (("float64", 128), ("complex64", 64)):
        x, k = numbers(11, (5000, 2), dtype), numbers(12, 2000, dtype)
        convolver = ck.Convolver(k, mode=mode, axes=0, **options)
        wide = np.result_type(dtype, np.float64)
        truly = ck.Convolver(k.astype(wide), mode=mode, axes=0, **options)
        expected = truly.apply(x.astype(wide))
        found = streamed(convolver, x, [], 0, latency=latency, block=block)
        assert (found.shape, found.dtype) == (expected.shape, np.dtype(dtype))
        assert np.abs(found - expected).max() < (1e-2 if dtype == "complex64" else 1e-10)
        for cuts in ([1, 2, 127, 128, 129, 4999], [640, 640, 3000]):
            assert streamed(convolver, x, cuts, 0, latency=latency, block=block).tobytes() == found.tobytes()


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 3000])
@pytest.mark.parametrize("boundary", ["zero", "reflect"])
def test_signals_shorter_than_a_kernel(size: int, boundary: str) -> None:
    x, k = numbers(13, size, "float64"), numbers(14, 3000, "float64")
    convolver = ck.Convolver(k, mode="same", boundary=boundary)
    found = streamed(convolver, x, [size // 2], block=64)
    assert found.shape == (size,)
    assert np.allclose(found, convolver.apply(x), rtol=0, atol=1e-10)


def test_every_sample_gives_an_output_at_once() -> None:
    stream = ck.Convolver(numbers(15, 5000, "float32")).stream(block=64)
    assert [stream.push(np.ones(count, np.float32)).size for count in (1, 63, 1, 500, 0, 7)] == [1, 63, 1, 500, 0, 7]
    assert (stream.latency, stream.block) == (0, 64)
    waiting = ck.Convolver(numbers(15, 5000, "float32")).stream(latency="block", block=64)
    assert [waiting.push(np.ones(count, np.float32)).size for count in (1, 62, 1, 500, 0, 7)] == [0, 0, 64, 448, 0, 0]
    assert (waiting.latency, waiting.block) == (63, 64)


@pytest.mark.parametrize(("boundary", "known"), [("constant", 1), ("edge", 1), ("symmetric", 4), ("reflect", 5)])
def test_the_near_side_is_extended_as_soon_as_it_is_known(boundary: str, known: int) -> None:
    """Mode same, four samples before the first: the first output also waits for the two samples after its own."""
    stream = ck.Convolver(np.arange(1.0, 8.0), mode="same", anchor=2, boundary=boundary).stream()
    given = [stream.push([1.0]).size for _ in range(8)]
    first = next(i for i, count in enumerate(given, 1) if count)
    assert first == max(3, known)
    assert list(itertools.accumulate(given))[-1] == 6


def test_the_choice_is_by_predicted_cost() -> None:
    def block(k: Any, x: Any, **options: Any) -> int | None:
        stream = ck.Convolver(k, **options).stream()
        stream.push(x)
        assert stream.latency == 0
        return stream.block

    long, x = numbers(16, 20_000, "float64"), np.ones(3)
    assert block(long, x) in (64, 128, 256, 512, 1024, 2048, 4096)
    assert block(long[:31], x) is None
    short = ck.Convolver(long[:100], accuracy="elementwise").stream(block=64)
    assert np.allclose(short.push(long[:500]), np.convolve(long[:500], long[:100])[:500], rtol=0, atol=1e-12)
    assert short.block is None
    assert block(long, x, accuracy="elementwise") is None
    assert block(np.arange(20_000), np.ones(3, int)) is None
    cheap = machine.current()
    asked = problem(20_000, 256, "float64")
    assert WAY.cost(asked, "zero", cheap).seconds < 20 * WAY.cost(problem(500, 256, "float64"), "zero", cheap).seconds


def test_a_stream_holds_what_it_says() -> None:
    taps = 50_000
    k, x = numbers(17, taps, "float32"), numbers(18, 256, "float32")
    convolver = ck.Convolver(k)
    convolver.stream(block=256).push(x)
    tracemalloc.start()
    stream = convolver.stream(block=256)
    for _ in range(30):
        stream.push(x)
    early = tracemalloc.get_traced_memory()[0]
    for _ in range(300):
        stream.push(x)
    late = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert stream.block == 256
    assert abs(late - early) < 20_000
    held = WAY.cost(problem(taps, 256, "float32"), "zero", machine.current()).workspace
    assert 0.5 * held < late < 1.1 * held + 50_000
    assert held < 12 * taps * 4  # five and six numbers a tap, and blocks


def test_a_block_may_be_changed_after_it_was_pushed() -> None:
    k, x = numbers(19, 3000, "float64"), numbers(20, 5000, "float64")
    convolver = ck.Convolver(k, boundary="reflect")
    expected = streamed(convolver, x, [1000, 4000], block=64)
    stream, parts = convolver.stream(block=64), []
    for piece in np.split(x, [1000, 4000]):
        mine = piece[::-1].copy()[::-1]
        mine.flags.writeable = True
        parts.append(stream.push(mine))
        mine[:] = np.nan
    parts.append(stream.flush())
    assert np.concatenate(parts).tobytes() == expected.tobytes()


def test_a_fill_that_the_samples_cannot_hold() -> None:
    k, x = [0.5, 1.0, 2.0], np.array([1, 2, 3, 4])
    convolver = ck.Convolver(k, mode="same", boundary="constant", fill=0.25)
    assert np.array_equal(streamed(convolver, x, [1, 3]), convolver.apply(x))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"latency": "low"}, "option.unknown-value"),
        ({"block": 0}, "option.too-small"),
        ({"block": 2.5}, "option.not-a-whole-number"),
    ],
)
def test_other_values_are_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(ck.ConvError) as caught:
        ck.Convolver([1.0, 2.0]).stream(**options)
    assert caught.value.code == code


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_about_streams(language: str) -> None:
    page = Path(__file__).parents[2] / "docs" / language / "streams.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (failed, tried) == (0, 6)
