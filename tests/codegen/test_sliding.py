"""Sliding sums of integers: their values around the edges of vectors, their registers, and what passes touch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

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
    kernel = sliding.sliding_row_for(library.this_machine(), "float32", stored)
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
        assert written(sliding.sliding_row_for(target, "float32", stored), isa)[1] == []


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
