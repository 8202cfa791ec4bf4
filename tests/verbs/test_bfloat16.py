"""bfloat16 samples are read where they are: every algorithm, every boundary, and nothing beside the result."""

from __future__ import annotations

import sys
import tracemalloc
from functools import reduce

import ml_dtypes
import numpy as np
import pytest
import torch

import convkit as ck

BFLOAT16 = ml_dtypes.bfloat16
U = 2.0**-8
"""Half the distance from 1 to the next bfloat16."""


def samples(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(BFLOAT16)


SHAPES = {"signal": ((613,), (24,)), "image": ((60, 75), (6, 5)), "volume": ((14, 17, 20), (3, 2, 4))}
METHODS = {
    "signal": {1: ("rows",), 2: ()},
    "image": {1: ("separable",), 2: ("separable",)},
    "volume": {1: ("separable",), 2: ("separable",)},
}
"""Those that do not do every shape, by stride."""

CASES = [
    (name, stride, method)
    for name, by_stride in METHODS.items()
    for stride, some in by_stride.items()
    for method in ("direct", "gemm", "compiled", "overlap-save", "fft", "auto", *some)
]


@pytest.mark.parametrize(("name", "stride", "method"), CASES)
@pytest.mark.parametrize("boundary", ["zero", "edge", "reflect", "wrap"])
def test_every_algorithm_reads_it(name: str, stride: int, method: str, boundary: str) -> None:
    shape, kernel = SHAPES[name]
    x, k = samples(*shape), samples(*kernel)
    if method == "separable":
        k = reduce(np.multiply.outer, [samples(n).astype("float32") for n in kernel])
    ours = ck.convolve(x, k, "same", boundary=boundary, stride=stride, method=method)
    wide = x.astype("float64"), k.astype("float64")
    exact = ck.convolve(*wide, "same", boundary=boundary, stride=stride, method="direct")
    assert ours.dtype == (BFLOAT16 if k.dtype == BFLOAT16 else np.float32)
    assert np.abs(ours.astype("float64") - exact).max() <= 1.01 * U * np.abs(exact).max()


def test_nothing_is_widened_beside_the_result() -> None:
    x, k = samples(1024, 1000), samples(5, 4)
    ck.convolve(x, k, "same")
    tracemalloc.start()
    try:
        out = ck.convolve(x, k, "same")
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert out.dtype == BFLOAT16
    assert held < out.nbytes + 200_000


def test_a_nan_touches_its_windows_alone() -> None:
    x, k = samples(70, 90), samples(5, 4)
    x[30, 40] = np.nan
    for method in ("compiled", "overlap-save"):
        assert np.isnan(ck.correlate(x, k, "same", method=method).astype("float32")).sum() == 20


def test_tensors_need_no_other_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch has the type without it; a separable kernel takes the way that would store bfloat16 itself."""
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    x, column = torch.from_numpy(samples(97, 110).astype("float32")).bfloat16(), torch.arange(1.0, 10.0)
    ours = ck.convolve(x, torch.outer(column, column.flip(0)).bfloat16(), "same")
    wide = ck.convolve(x.double(), torch.outer(column, column.flip(0)).double(), "same")
    assert ours.dtype == torch.bfloat16
    assert (ours.double() - wide).abs().max() <= 1.01 * U * wide.abs().max()
