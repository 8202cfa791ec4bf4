"""Layers without samples, without channels, without filters: the sums over nothing are zero."""

from __future__ import annotations

import numpy as np
import pytest

import convkit as ck


@pytest.mark.parametrize("dtype", ["float64", "complex64", "int64"])
@pytest.mark.parametrize(("batch", "channels", "filters"), [(0, 2, 3), (2, 0, 3), (2, 3, 0), (0, 0, 0)])
def test_sums_over_nothing(dtype: str, batch: int, channels: int, filters: int) -> None:
    x, w = np.ones((batch, channels, 5), dtype), np.ones((filters, channels, 2), dtype)
    bias = np.arange(filters).astype(dtype)
    y = ck.conv(x, w, bias)
    assert y.shape == (batch, filters, 4)
    assert np.array_equal(y, np.broadcast_to(2 * channels + bias[:, None], y.shape))
    assert ck.conv_transpose(x, w.swapaxes(0, 1), stride=2).shape == (batch, filters, 10)
    assert np.array_equal(ck.conv_input_gradient(y, w, x.shape).shape, x.shape)
    assert not ck.conv_weight_gradient(y * 0, x, w.shape).any()
    assert ck.conv_weight_gradient(y, x, w.shape).shape == w.shape


def test_pool_without_samples() -> None:
    import torch

    assert ck.pool(np.ones((0, 2, 4, 6)), 2).shape == (0, 2, 2, 3)
    assert ck.pool(torch.ones((0, 2, 4, 6)), 2).shape == (0, 2, 2, 3)
