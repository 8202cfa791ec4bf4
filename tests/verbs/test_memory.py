"""A large input is not copied, whichever axes are convolved and however it lies in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import convkit as ck
from convkit.memory import RESULTS

SOURCE = np.random.default_rng(5).standard_normal((40, 70, 90))
VIEWS = {"plain": SOURCE, "moved": SOURCE.transpose(2, 0, 1), "reversed": SOURCE[::-1, :, ::-1]}
KERNEL = np.array([1.0, 2.0, -1.0, 5.0])


@pytest.mark.parametrize("view", list(VIEWS))
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_axis_of_three(view: str, axis: int) -> None:
    x = VIEWS[view]
    first = ck.convolve(x, KERNEL, "same", axes=axis)
    tracemalloc.start()
    second = ck.convolve(x, KERNEL, "same", axes=axis)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - second.nbytes < x.nbytes / 4
    expected = np.apply_along_axis(lambda row: np.convolve(row, KERNEL)[1 : 1 + row.size], axis, x)
    assert np.allclose(second, expected, rtol=0, atol=1e-13)
    out = np.empty(x.shape)
    assert ck.convolve(x, KERNEL, "same", axes=axis, out=out) is out
    prepared = ck.Convolver(KERNEL, mode="same", axes=axis).apply(x)
    assert first.tobytes() == second.tobytes() == prepared.tobytes() == out.tobytes()


@pytest.mark.parametrize(
    ("axes", "dtype"), [(None, "float64"), (None, "float32"), ((1, 2), "float64"), (2, "float32"), (0, "float64")]
)
def test_a_convolver_writes_into_out(axes: object, dtype: str) -> None:
    """Beside what the algorithm works in, nothing of the output's size is allocated."""
    x = SOURCE.astype(dtype)
    rank = 3 if axes is None else len(axes) if isinstance(axes, tuple) else 1
    kernel = np.random.default_rng(6).standard_normal((3, 2, 4)[:rank]).astype(dtype)
    convolver = ck.Convolver(kernel, mode="same", boundary="reflect", axes=axes)
    expected, out = convolver.apply(x), np.full(x.shape, np.nan, dtype)
    convolver.apply(x, out=out)
    peaks = []
    for target in (None, out):
        RESULTS.clear()  # memory of earlier results would be used again
        tracemalloc.start()
        found = convolver.apply(x, out=target)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert found is out
    if axes != 0:  # columns are summed in tiles of their own and copied from there
        assert peaks[0] - peaks[1] > 0.9 * out.nbytes
    assert out.tobytes() == expected.tobytes()
    spaced = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), dtype)[..., ::2]
    assert np.array_equal(convolver.apply(x, out=spaced), expected)
    mine = x.copy()
    assert np.array_equal(convolver.apply(mine, out=mine), expected)
    narrow = "float32" if dtype == "float64" else "float16"
    small = ck.Convolver(kernel, mode="same", boundary="reflect", axes=axes, dtype=narrow)
    assert np.array_equal(small.apply(x, out=np.empty(x.shape, narrow)), small.apply(x))
