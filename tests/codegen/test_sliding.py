"""Sliding sums: their values around the edges of vectors, their registers, and what passes touch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import convkit as ck
from convkit.codegen import library, pool, sliding
from convkit.codegen.program import join
from convkit.codegen.step import KERNEL, OUT, X
from tests.codegen.isa import TARGETS, written

EDGES = (1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 130)


def run(steps: np.ndarray, *arrays: np.ndarray) -> None:
    pool.run(join([[steps]], np.zeros(1, np.int64), 0), [array.ctypes.data for array in arrays])


def whole(shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Every value that the type has, its extremes among them."""
    info = np.iinfo(dtype)
    return np.random.default_rng(shape[1]).integers(info.min, info.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("source", sliding.LARGEST)
@pytest.mark.parametrize("target", ["float32", "float64", "int32"])
def test_down_the_columns(source: str, target: str) -> None:
    kernel = sliding.sliding_for(library.this_machine(), source, target)
    for columns in EDGES:
        for rows, size in ((1, 1), (1, 7), (9, 1), (20, 13), (3, 100)):
            x, out = whole((rows + size - 1, columns + 2), source), np.full((rows, columns + 1), -7, target)
            steps = sliding.ARGUMENTS.steps(
                library.address_of(kernel), 1, out=(OUT, 0), x=(X, x.itemsize), rows=rows, columns=columns, size=size,
                out_row=out.strides[0], x_row=x.strides[0],
            )  # fmt: skip
            run(steps, out, x)
            expected = np.lib.stride_tricks.sliding_window_view(x[:, 1:-1].astype(np.int64), size, 0).sum(-1)
            assert np.array_equal(out[:, :-1], expected)
            assert (out[:, -1] == -7).all()


@pytest.mark.parametrize("stored", ["float32", "uint8", "int16"])
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 9])
def test_along_the_rows(rows: int, stored: str) -> None:
    kernel = sliding.sliding_row_for(library.this_machine(), "int32", "float32", stored)
    scale = np.array([0.37], "float32")
    for columns in EDGES:
        for size in (1, 2, 16, 45):
            x, out = (
                whole((rows, columns + size - 1), "int16").astype("int32"),
                np.full((rows, columns + 1), 77, stored),
            )
            steps = sliding.ROW_ARGUMENTS.steps(
                library.address_of(kernel), 1, out=(OUT, 0), x=(X, 0), scale=(KERNEL, 0), rows=rows, columns=columns,
                size=size, out_row=out.strides[0], x_row=x.strides[0],
            )  # fmt: skip
            run(steps, out, x, scale)
            sums = np.lib.stride_tricks.sliding_window_view(x, size, 1).sum(-1).astype("float32") * scale[0]
            if stored != "float32":
                sums = np.clip(np.rint(sums), np.iinfo(stored).min, np.iinfo(stored).max)
            assert np.array_equal(out[:, :-1], sums.astype(stored))
            assert (out[:, -1] == 77).all()


def test_float32_slides_in_float64() -> None:
    """Samples of all sizes: what passes leaves no more behind than float64 rounds of the largest."""
    down = sliding.sliding_for(library.this_machine(), "float32", "float64")
    along = sliding.sliding_row_for(library.this_machine(), "float64", "float32", "float32")
    scale, rng = np.array([0.37], "float32"), np.random.default_rng(5)
    for columns in EDGES:
        for rows, size in ((1, 1), (1, 7), (9, 2), (20, 13), (3, 100)):
            x = (rng.standard_normal((rows + size - 1, columns + size - 1)) * 10.0 ** rng.integers(-6, 4)).astype(
                "float32"
            )
            sums, out = np.full((rows, x.shape[1] + 1), -7.0), np.full((rows, columns + 1), -7, "float32")
            steps = sliding.ARGUMENTS.steps(
                library.address_of(down), 1, out=(OUT, 0), x=(X, 0), rows=rows, columns=x.shape[1], size=size,
                out_row=sums.strides[0], x_row=x.strides[0],
            )  # fmt: skip
            run(steps, sums, x)
            exact = np.lib.stride_tricks.sliding_window_view(x.astype(float), size, 0).sum(-1)
            assert np.abs(sums[:, :-1] - exact).max() <= 1e-13 * np.abs(x).max() * len(x)
            steps = sliding.ROW_ARGUMENTS.steps(
                library.address_of(along), 1, out=(OUT, 0), x=(X, 0), scale=(KERNEL, 0), rows=rows, columns=columns,
                size=size, out_row=out.strides[0], x_row=sums.strides[0],
            )  # fmt: skip
            run(steps, out, sums, scale)
            exact = scale[0] * np.lib.stride_tricks.sliding_window_view(exact, size, 1).sum(-1)
            assert np.abs(out[:, :-1] - exact).max() <= 2**-23 * np.abs(exact).max() + 1e-12 * np.abs(x).max() * size
            assert (sums[:, -1] == -7).all()
            assert (out[:, -1] == -7).all()


@pytest.mark.parametrize(("row", "column"), [(0, 0), (299, 310), (150, 7), (130, 300)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_touches_its_windows_alone(row: int, column: int, value: float) -> None:
    x = np.random.default_rng(6).standard_normal((300, 311)).astype("float32")
    x[row, column] = value
    kernel = np.full((10, 13), 0.25, "float32")
    ours = ck.correlate(x, kernel, "same", method="sliding-box")
    truth = ck.correlate(x.astype(float), kernel.astype(float), "same", method="direct")
    finite = np.isfinite(truth)
    assert (~finite).sum() > 0
    assert np.array_equal(ours[~finite], truth[~finite], equal_nan=True)
    assert np.abs(ours[finite] - truth[finite]).max() < 1e-4


def test_threads_and_batches_change_no_bit() -> None:
    x = np.random.default_rng(7).standard_normal((3, 700, 1100)).astype("float32")
    kernel = np.full((31, 17), 1 / 527, "float32")

    def smoothed(samples: np.ndarray, threads: int) -> np.ndarray:
        ck.set_num_threads(threads)
        return ck.convolve(samples, kernel, "same", axes=(-2, -1), boundary="reflect", method="sliding-box")

    before = ck.num_threads()
    try:
        one, three, alone = smoothed(x, 1), smoothed(x, 3), smoothed(x[1:2], 2)
    finally:
        ck.set_num_threads(before)
    assert np.array_equal(one, three)
    assert np.array_equal(one[1:2], alone)


def test_outputs_bounded_one_by_one_do_not_slide() -> None:
    plan = ck.Convolver(np.ones((60, 60), "float32"), accuracy="elementwise").plan((900, 900), "float32")
    assert plan.choice != "sliding-box"
    with pytest.raises(ck.ConvError, match="sliding-box"):
        ck.convolve(
            np.ones((90, 90), "float32"), np.ones((9, 9), "float32"), method="sliding-box", accuracy="elementwise"
        )


def test_only_exact_sums_slide() -> None:
    assert sliding.exact("uint8", "float32", 255 * 256)
    assert not sliding.exact("uint8", "float32", 1 << 16)
    assert sliding.exact("int16", "float32", 500)
    assert not sliding.exact("int16", "float32", 600)
    assert not sliding.exact("float32", "float32", 2)


@pytest.mark.parametrize("isa", TARGETS)
def test_nothing_is_put_on_the_stack(isa: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    for source in sliding.LARGEST:
        for sums in ("float32", "float64", "int32"):
            assert written(sliding.sliding_for(target, source, sums), isa)[1] == []
    for stored in ("float32", "uint8"):
        assert written(sliding.sliding_row_for(target, "int32", "float32", stored), isa)[1] == []
    assert written(sliding.sliding_for(target, "float32", "float64"), isa)[1] == []
    assert written(sliding.sliding_row_for(target, "float64", "float32", "float32"), isa)[1] == []


@pytest.mark.parametrize("way", [[], ["reach-out"]])
def test_passes_touch_nothing_outside_the_arrays(way: list[str]) -> None:
    """A fault would end the process, so it has one of its own; and one that reaches out must end so."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.codegen.guarded_passes", *way], capture_output=True, text=True, check=False
    )
    ended = (done.returncode, done.stdout.strip())
    assert (ended != (0, "untouched")) if way else (ended == (0, "untouched")), done.stderr
    if way:
        assert done.returncode < 0, done.stderr


@pytest.mark.parametrize("layout", ["plain", "transposed", "reversed", "spread"])
def test_results_lie_anywhere(layout: str) -> None:
    """Sums of eight bytes and results share the scratch memory of a tile, but no plane of it."""
    x = np.random.default_rng(8).standard_normal((200, 210)).astype("float32")
    kernel = np.full((9, 14), 1 / 126, "float32")
    out = {
        "plain": np.empty((200, 210), "float32"),
        "transposed": np.empty((210, 200), "float32").T,
        "reversed": np.empty((200, 210), "float32")[:, ::-1],
        "spread": np.empty((200, 420), "float32")[:, ::2],
    }[layout]
    ck.correlate(x, kernel, "same", method="sliding-box", out=out)
    truth = ck.correlate(x.astype(float), kernel.astype(float), "same", method="direct")
    assert np.abs(out - truth).max() < 1e-6


def test_channels_side_by_side() -> None:
    x = np.random.default_rng(9).standard_normal((150, 160, 3)).astype("float32")
    x[120, 5, 1] = np.nan
    kernel = np.full((9, 14), 1 / 126, "float32")
    ours = ck.correlate(x, kernel, "same", axes=(0, 1), method="sliding-box")
    truth = ck.correlate(x.astype(float), kernel.astype(float), "same", axes=(0, 1), method="direct")
    assert np.array_equal(np.isnan(ours), np.isnan(truth))
    assert np.nanmax(np.abs(ours - truth)) < 1e-6
