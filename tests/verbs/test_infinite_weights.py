"""Infinite weights touch the results whose terms they are, and no others, where layers are strided as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convkit as ck

SHAPES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 6, 11, 10), (9, 6, 2, 3), {"stride": (2, 1), "padding": ((1, 0), (2, 1))}),
    ((1, 24, 14, 15), (24, 1, 5, 3), {"groups": 24, "stride": 2, "padding": (2, 1)}),
    ((1, 8, 16, 16), (16, 8, 3, 3), {"stride": 2, "padding": 1}),
    ((1, 8, 9, 7), (16, 8, 1, 1), {"stride": 3}),
    ((1, 8, 12, 11), (16, 8, 3, 3), {"padding": 1, "boundary": "reflect"}),
]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), SHAPES)
def test_gradients_of_inputs_and_transposed_layers(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], options: dict[str, Any], bad: float
) -> None:
    source = np.random.default_rng(0)
    w = source.standard_normal(w_shape).astype("float32")
    g = np.abs(source.standard_normal(ck.conv(np.zeros(x_shape, "float32"), w, **options).shape)).astype("float32") + 1
    touched = np.zeros(w_shape, np.int64)
    touched[w_shape[0] // 2, w_shape[1] // 2, -1, 0] = 1
    spoilt, without = np.where(touched, np.float32(bad), w), np.where(touched, np.float32(0), w)
    ones = np.ones(g.shape, np.int64)
    calls = [lambda of, w: ck.conv_input_gradient(of, w, x_shape, **options)]
    if "boundary" not in options:
        calls.append(lambda of, w: ck.conv_transpose(of, w, **options))
    for call in calls:
        found, reached = call(g, spoilt), call(ones, touched) > 0
        assert reached.any()
        assert not reached.all()
        assert np.array_equal(~np.isfinite(found), reached)
        assert np.array_equal(np.isnan(found[reached]), np.full(reached.sum(), np.isnan(bad)))
        assert np.allclose(found[~reached], call(g, without)[~reached], atol=1e-4)
