"""The look for NaN and Inf misses none, warns of nothing, and leaves the linear algebra library's threads asleep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convkit.planner import nonfinite
from convkit.planner.nonfinite import AT_ONCE, FEW, all_finite

SIZES = (1, FEW, FEW + 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE + 5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128", "longdouble"])
@pytest.mark.parametrize("size", SIZES)
def test_one_element_is_enough(dtype: str, size: int) -> None:
    values = np.linspace(-3, 3, size).astype(dtype)
    assert all_finite(values)
    for place in {0, size // 2, size - 1}:
        for found in (np.nan, np.inf, -np.inf):
            spoilt = values.copy()
            spoilt[place] = found
            assert not all_finite(spoilt)


@pytest.mark.filterwarnings("error")
def test_what_overflows_when_squared_or_added_is_finite() -> None:
    for dtype in ("float32", "float64"):
        largest = np.full(2 * AT_ONCE, np.finfo(dtype).max)
        assert all_finite(largest)
        assert all_finite(np.where(np.arange(largest.size) % 2, largest, -largest))


@pytest.mark.parametrize("turned", ["transposed", "reversed", "spread"])
def test_views_are_looked_at_whole(turned: str) -> None:
    values = np.zeros((150, 130))
    view = {"transposed": values.T, "reversed": values[::-1, ::-1], "spread": values[:, ::2]}[turned]
    assert all_finite(view)
    view[-1, -1] = np.nan
    assert not all_finite(view)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_product_is_long_enough_for_threads(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    dot = np.dot

    def counted(a: Any, b: Any) -> Any:
        lengths.append(a.size)
        return dot(a, b)

    monkeypatch.setattr(nonfinite.np, "dot", counted)
    assert all_finite(np.ones((7, AT_ONCE), dtype))
    assert lengths
    assert max(lengths) <= 10_000  # OpenBLAS gives longer ones in float64 to several threads


def test_integers_are_finite() -> None:
    assert all_finite(np.array([np.iinfo(np.int64).min]))
    assert all_finite(np.empty(0))
