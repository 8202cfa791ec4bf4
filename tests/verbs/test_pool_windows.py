"""Pooling windows that hang over the end: torch's rule, the array shorter than the window included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import convkit as ck
from convkit.errors import ShapeError


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2), st.sampled_from(["max", "mean"]))
def test_ceil_as_in_torch(size: int, window: int, stride: int, pad: int, kind: str) -> None:
    pad = min(pad, window // 2)
    x = np.random.default_rng(size).standard_normal((2, 3, size))
    peer = functional.max_pool1d if kind == "max" else functional.avg_pool1d
    try:
        expected = peer(torch.from_numpy(x), window, stride, pad, ceil_mode=True).numpy()
    except RuntimeError:
        with pytest.raises(ShapeError, match="does not fit"):
            ck.pool(x, (window,), kind=kind, stride=stride, padding=pad, ceil=True)
        return
    found = ck.pool(x, (window,), kind=kind, stride=stride, padding=pad, ceil=True)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=1e-14, atol=0)


def test_a_window_longer_than_the_array() -> None:
    assert ck.pool([1.0, 4.0], 3, ceil=True).tolist() == [4.0]
    assert ck.pool([1.0, 4.0], 3, ceil=True, kind="mean").tolist() == [2.5]
    with pytest.raises(ShapeError, match="does not fit"):
        ck.pool([1.0, 4.0], 3)


@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
def test_places_and_dilation_as_in_torch(dilation: int | tuple[int, int]) -> None:
    x = torch.from_numpy(np.random.default_rng(3).integers(0, 9, (2, 3, 10, 13)).astype("f8")).requires_grad_()
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": dilation}
    largest, places = functional.max_pool2d(x, (3, 2), **options, return_indices=True)  # type: ignore[arg-type]
    found = ck.pool(x, (3, 2), kind="argmax", **options)
    assert found.dtype == torch.int64
    assert torch.equal(found, places)
    ours = ck.pool(x, (3, 2), **options)
    assert torch.equal(ours, largest)
    (gradient,), (expected,) = (torch.autograd.grad(y.square().sum(), x) for y in (ours, largest))
    assert torch.equal(gradient, expected)
    assert np.array_equal(ck.pool(x.detach().numpy(), (3, 2), kind="argmax", **options), places.numpy())
