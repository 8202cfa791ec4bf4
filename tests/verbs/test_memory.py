"""A large input is not copied, whichever axes are convolved and however it lies in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import convkit as ck

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
