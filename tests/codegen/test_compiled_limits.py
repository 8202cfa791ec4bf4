"""The algorithm `compiled` at its limits: threads, memory, sizes beyond 32 bits, samples that are not numbers."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest

import convkit as ck
from convkit.algorithms import compiled
from convkit.algorithms.support import direct_tiles, pixels
from convkit.codegen import pool
from convkit.planner.problem import Problem
from convkit.spec.window import Window
from tests.oracle.agreement import products
from tests.oracle.strategies import Case, random_array


@pytest.fixture(autouse=True)
def restore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small problems too, and as many threads afterwards as before."""
    monkeypatch.setattr(compiled, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(compiled, "LEAST_OF_A_ROW", 0)
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)


CALLS = [
    ((70_000,), (31,), "float32", {}),
    ((3, 40_000), (9,), "float64", {"axes": 1, "boundary": "wrap"}),
    ((300, 410), (7, 5), "float32", {"boundary": "reflect"}),
    ((300, 410), (7, 5), "uint8", {"stride": 2}),
    ((200, 150, 3), (4, 6), "float32", {"axes": (0, 1), "dilation": 2}),
    ((256, 260), (3, 3), "complex64", {"boundary": "edge"}),
    ((30, 40, 50), (3, 2, 5), "float64", {"boundary": "symmetric"}),
    ((400, 300), (5, 5), "float16", {"stride": (1, 3)}),
]


def of(number: int) -> bytes:
    shape, kernel, dtype, options = CALLS[number]
    x, k = random_array(shape, dtype, 1), random_array(kernel, "float32" if dtype == "uint8" else dtype, 2)
    return ck.convolve(x, k, "same", method="compiled", **options).tobytes()


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SHARED", 0.0)
    monkeypatch.setattr(pool, "WAKING", 0.0)
    ck.set_num_threads(1)
    alone = [of(number) for number in range(len(CALLS))]
    for count in (2, 3, 7):
        ck.set_num_threads(count)
        for _ in range(3):
            assert [of(number) for number in range(len(CALLS))] == alone


def test_callers_at_once_while_the_number_of_threads_changes() -> None:
    alone, stop = [of(number) for number in range(len(CALLS))], threading.Event()

    def change() -> None:
        source = random.Random(1)
        while not stop.wait(0.001):
            ck.set_num_threads(source.randint(1, 5))

    def call(seed: int) -> bool:
        source = random.Random(seed)
        numbers = [source.randrange(len(CALLS)) for _ in range(15)]
        return all(of(number) == alone[number] for number in numbers)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        with ThreadPoolExecutor(8) as callers:
            assert all(callers.map(call, range(8)))
    finally:
        stop.set()
        changing.join()


def exactly(x: np.ndarray, k: np.ndarray, mode: str, **options: object) -> np.ndarray:
    terms = products(Case(x, k, "convolution", mode, dict(options)))
    return sum(terms[1:], terms[0])


@pytest.mark.parametrize("boundary", ["zero", "edge", "wrap", "reflect", "symmetric", "constant"])
def test_a_kernel_larger_than_the_input(boundary: str) -> None:
    source = np.random.default_rng(1)
    for shape, kernel in (((3,), (40,)), ((2, 5), (9, 31)), ((1, 1), (4, 6)), ((2, 1, 3), (5, 4, 7))):
        x, k = source.integers(-5, 6, shape).astype("float32"), source.integers(-5, 6, kernel).astype("float32")
        for mode in ("full", "same"):
            ours = ck.convolve(x, k, mode, boundary=boundary, fill=2, method="compiled")
            assert np.array_equal(ours, exactly(x, k, mode, boundary=boundary, fill=2))


def test_nothing_to_do_is_left_to_others() -> None:
    for shape in ((0,), (0, 5), (3, 0, 4)):
        x, k = np.zeros(shape, "float32"), np.ones((1,) * len(shape), "float32")
        assert ck.convolve(x, k, "same").shape == shape
    assert ck.convolve(np.zeros((0, 30), "float32"), np.ones(3, "float32"), "same", axes=1, method="auto").shape == (
        0,
        30,
    )


def test_bfloat16_samples() -> None:
    import torch

    x = torch.from_numpy(np.random.default_rng(1).integers(-8, 9, (40, 50)).astype("float32")).bfloat16()
    k = torch.from_numpy(np.random.default_rng(2).integers(-8, 9, (5, 4)).astype("float32")).bfloat16()
    ours = ck.convolve(x, k, "same", boundary="reflect", method="compiled")
    exact = exactly(x.float().numpy(), k.float().numpy(), "same", boundary="reflect")
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, torch.from_numpy(exact.astype("float32")).bfloat16())


@pytest.mark.parametrize(
    ("x_dtype", "k_dtype"),
    [
        ("float32", "float32"),
        ("complex64", "float32"),
        ("float32", "complex64"),
        ("complex128", "complex128"),
        ("float16", "float16"),
    ],
)
def test_each_channel_its_own_kernel(x_dtype: str, k_dtype: str) -> None:
    source = np.random.default_rng(3)
    for kernel, options in product(((3, 5), (1, 4)), ({}, {"stride": 2}, {"dilation": (1, 2), "stride": (3, 1)})):
        x, w = (
            source.integers(-4, 5, (3, 4, 21, 30)).astype(x_dtype),
            source.integers(-4, 5, (4, 1, *kernel)).astype(k_dtype),
        )
        if k_dtype.startswith("c"):
            w = w + 1j * w[::-1]
        w = w.astype(k_dtype)
        ours = ck.conv(x, w, groups=4, padding=2, method="compiled", **options)
        assert np.array_equal(ours, ck.conv(x, w, groups=4, padding=2, method="direct", **options))


@pytest.mark.parametrize(
    ("dtype", "options"), [("float32", {}), ("float64", {"stride": 2}), ("complex64", {}), ("float16", {"dilation": 2})]
)
@pytest.mark.parametrize("boundary", ["zero", "reflect", "wrap"])
def test_what_is_not_finite_touches_its_windows_alone(boundary: str, dtype: str, options: dict[str, int]) -> None:
    x, k = random_array((150, 170), dtype, 1), random_array((4, 7), dtype, 2)
    expected = ck.convolve(x, k, "same", boundary=boundary, method="compiled", **options)
    x[40, 60], x[0, 3], x[149, 169], x[90, :] = np.nan, np.inf, -np.inf, np.nan
    ours = ck.convolve(x, k, "same", boundary=boundary, method="compiled", **options)
    wide = "complex128" if dtype.startswith("c") else "float64"
    touched = ~np.isfinite(
        ck.convolve(x.astype(wide), np.ones(k.shape, wide), "same", boundary=boundary, method="direct", **options)
    )
    assert np.array_equal(~np.isfinite(ours), touched)
    assert ours[~touched].tobytes() == expected[~touched].tobytes()


def streams(out: np.ndarray) -> bool:
    return out.nbytes >= compiled.STREAMED


def test_large_results_wherever_they_begin() -> None:
    """Results written past the caches need whole lines; views whose numbers are not aligned have none."""
    x, k = random_array((1100, 2048), "float32", 1), random_array((3, 3), "float32", 2)
    expected = ck.convolve(x, k, "same", method="direct")
    whole = ck.convolve(x, k, "same", method="compiled")
    assert streams(whole)
    assert np.allclose(whole, expected, atol=1e-4)
    for start in (0, 1, 2, 4, 36, 63):
        memory = np.full(whole.nbytes + 128, 7, np.uint8)
        first = -memory.ctypes.data % 64 + start
        out = memory[first : first + whole.nbytes].view(np.float32).reshape(whole.shape)
        ck.convolve(x, k, "same", method="compiled", out=out)
        assert out.tobytes() == whole.tobytes()
        assert (memory[:first] == 7).all()
        assert (memory[first + whole.nbytes :] == 7).all()


@pytest.mark.parametrize(
    ("width", "begin", "streamed"), [(1040, 0, True), (1040, 4, True), (1040, 2, False), (1042, 0, False)]
)
def test_which_results_are_streamed(width: int, begin: int, streamed: bool) -> None:
    """Rows that begin at the same place in a line of the cache, numbers aligned; channels side by side too."""
    window, across = Window(1000, 3, 1000, start=-1), Window(width, 3, width, start=-1)
    one = Problem((window, across), input_dtype="float32", kernel_dtype="float32", compute_dtype="float32")
    three = pixels.folded(one.derive(batch=3))
    streaming = direct_tiles.order_of(one).streaming
    for problem, batch_stride, pixel in ((one, 4000 * width, 1), (three, 4, 3)):
        strides = (batch_stride, 4, 4, 4 * pixel * width, 4)
        made = direct_tiles.program(problem, strides, strides, "float32", begin, pixel)
        assert bool((made.steps[:, 0] == streaming).any()) == streamed


def test_samples_beyond_two_gibibytes() -> None:
    """Untouched memory costs nothing: a few samples of an array of three gibibytes, some beyond what 32 bits reach."""
    x = np.zeros(3 << 30, np.uint8)
    k, stride = np.array([1, 2, 4, 8, 16], np.float32), 1 << 22
    at = np.array([0, 1, 511, 600, 767]) * stride
    for n in range(5):
        x[at + n] = n + 1
    ours = ck.correlate(x, k, "valid", stride=stride, method="compiled")
    expected = np.zeros(len(ours))
    expected[at // stride] = sum(float(k[n]) * (n + 1) for n in range(5))
    assert np.array_equal(ours, expected)
    rows = x.reshape(1 << 12, -1)
    ours = ck.correlate(rows, k[:, None], "valid", stride=(600, stride), method="compiled")
    assert np.array_equal(ours, ck.correlate(rows, k[:, None], "valid", stride=(600, stride), method="direct"))


def problem_of(window: Window, rank: int, **more: object) -> Problem:
    return Problem((window,) * rank, input_dtype="float32", kernel_dtype="float32", compute_dtype="float32", **more)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 7, 50, 1000])
@pytest.mark.parametrize("kernel", [1, 3, 16])
def test_the_workspace_is_bounded_whatever_the_stride(kernel: int, stride: int, rank: int) -> None:
    count = {1: 10**7, 2: 5000, 3: 300}[rank]
    window = Window(count * stride + kernel, kernel, count, stride=stride)
    if kernel**rank <= 512:
        assert direct_tiles.scratch(problem_of(window, rank)) < 1 << 23


def test_a_program_is_as_small_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short rows are done with one small program, some rows at a time."""
    x, k = random_array((100_000, 40), "float32", 1), random_array((5,), "float32", 2)
    expected = ck.convolve(x, k, "same", axes=1, method="direct")
    out = np.empty_like(x)
    direct_tiles.program.cache_clear()
    tracemalloc.start()
    try:
        ck.convolve(x, k, "same", axes=1, method="compiled", out=out)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.allclose(out, expected, atol=1e-5)
    assert most < 24 << 20


@pytest.mark.parametrize(
    ("shape", "kernel", "dtype", "options"),
    [
        ((3000, 2000), (9, 7), "float32", {}),
        ((3000, 2000), (3, 3), "uint8", {"stride": 3}),
        ((2_000_000,), (31,), "complex64", {}),
        ((1500, 1500), (5, 5), "float16", {"boundary": "wrap"}),
        ((4_000_000,), (9,), "float32", {"stride": 900}),
        ((1200, 1400), (4, 4), "complex128", {"dilation": 3}),
    ],
)
def test_the_workspace_is_what_the_plan_says(shape: tuple, kernel: tuple, dtype: str, options: dict) -> None:
    x, k = random_array(shape, dtype, 1), random_array(kernel, "float32" if dtype == "uint8" else dtype, 2)
    call = ck.Convolver(k, mode="same", method="compiled", **options)
    out = call.apply(x)
    plan = call.plan(x.shape, x.dtype)
    pool._pool, pool._alone = None, pool._Alone()
    direct_tiles.program.cache_clear()
    tracemalloc.start()
    try:
        call.apply(x, out=out)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert plan.choice == "compiled"
    # Beside scratch memory: a page between the threads' parts, the workers, and the program.
    assert most < plan.workspace + (2 << 20)
    assert most < 16 << 20


def test_interleaved_channels() -> None:
    source = np.random.default_rng(1)
    for channels, options in product(
        (2, 3, 4), ({}, {"boundary": "reflect"}, {"dilation": (2, 3)}, {"boundary": "wrap", "stride": (2, 1)})
    ):
        x = source.integers(-9, 10, (70, 90, channels)).astype("float32")
        k = source.integers(-9, 10, (4, 5)).astype("float32")
        ours = ck.convolve(x, k, "same", axes=(0, 1), method="compiled", **options)
        for channel in range(channels):
            alone = ck.convolve(np.ascontiguousarray(x[..., channel]), k, "same", method="compiled", **options)
            assert np.array_equal(ours[..., channel], alone)
