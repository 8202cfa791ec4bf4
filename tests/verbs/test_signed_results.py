"""Unsigned results of signed sums: a negative sum does not fit, and is never wrapped unseen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit as ck
from convkit.errors import IntegerOverflowError, OptionError

TYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def _numbers(dtype: str, most: int) -> st.SearchStrategy[np.ndarray]:
    if dtype == "bool":
        return st.lists(st.booleans(), min_size=1, max_size=most).map(np.array)
    limits = np.iinfo(dtype)
    special = st.sampled_from([limits.min, limits.max, 0, 1])
    either = special | st.integers(limits.min, limits.max) | st.integers(max(-9, limits.min), 9)
    return st.lists(either, min_size=1, max_size=most).map(lambda values: np.array(values, dtype))


@st.composite
def _cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, str, int]:
    x = draw(st.sampled_from(TYPES).flatmap(lambda dtype: _numbers(dtype, 6)))
    k = draw(st.sampled_from(TYPES).flatmap(lambda dtype: _numbers(dtype, 4)))
    return x, k, draw(st.sampled_from(TYPES[1:])), draw(st.sampled_from([0, -3, 5, 2**62, -(2**63), 2**64 - 1]))


@given(_cases(), st.sampled_from(["raise", "saturate", "wrap"]))
def test_every_type_and_policy(case: tuple[np.ndarray, np.ndarray, str, int], overflow: str) -> None:
    x, k, dtype, fill = case
    n, limits = len(x), np.iinfo(dtype)
    values = [int(v) for v in x]
    exact = [
        sum((values[i - j] if 0 <= i - j < n else fill) * int(k[j]) for j in range(len(k)))
        for i in range(n + len(k) - 1)
    ]
    sums = "uint64" if dtype == "uint64" else "int64"
    if not np.iinfo(sums).min <= fill <= np.iinfo(sums).max:
        with pytest.raises(OptionError, match=r"option\.fill"):
            ck.convolve(x, k, boundary="constant", fill=fill, dtype=dtype, overflow=overflow)
        return
    if overflow == "raise" and not all(limits.min <= value <= limits.max for value in exact):
        with pytest.raises(IntegerOverflowError, match="do not fit"):
            ck.convolve(x, k, boundary="constant", fill=fill, dtype=dtype)
        return
    found = ck.convolve(x, k, boundary="constant", fill=fill, dtype=dtype, overflow=overflow).tolist()
    if overflow == "wrap":
        span = 2**limits.bits
        assert found == [(value - limits.min) % span + limits.min for value in exact]
    else:
        assert found == [min(max(value, limits.min), limits.max) for value in exact]


def test_negative_sum_of_unsigned_fill() -> None:
    x, k = np.array([0, 2], np.uint8), np.array([1, 1], np.uint8)
    with pytest.raises(OptionError, match="fill=-1 is not a number that uint64 holds"):
        ck.convolve(x, k, boundary="constant", fill=-1)
    assert ck.convolve(x, k, boundary="constant", fill=-1, dtype="int64").tolist() == [-1, 2, 1]
    assert ck.convolve(x, k, boundary="constant", fill=-1, dtype="float64").tolist() == [-1, 2, 1]


def test_long_signed_rows_into_uint64() -> None:
    source = np.random.default_rng(3)
    x, k = source.integers(-(2**40), 2**40, 3000), source.integers(-(2**20), 2**20, 80)
    exact = np.convolve(x.astype(object), k.astype(object))
    found = ck.convolve(x, k, dtype="uint64", overflow="saturate")
    assert found.tolist() == [min(max(value, 0), 2**64 - 1) for value in exact]
    with pytest.raises(IntegerOverflowError, match="could reach -"):
        ck.convolve(x, k, dtype="uint64")


def test_an_unsigned_fill_beyond_signed_sums() -> None:
    low, fill = -(2**31), 2**64 - 1
    kernel = np.array([low] * 4, np.int32)
    found = ck.convolve([False], kernel, boundary="constant", fill=fill, dtype="uint64", overflow="wrap")
    assert found.tolist() == [3 * low * fill % 2**64] * 4
