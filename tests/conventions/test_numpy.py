"""convkit.compat.numpy against NumPy itself."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.compat import numpy as ours
from tests.conventions.agreement import COMPLEX, FLOATS, INTEGERS, agree, arrays, outcome, window_sum

PAIRS = [(ours.convolve, np.convolve), (ours.correlate, np.correlate)]
DTYPES = ("bool", *INTEGERS, *FLOATS, *COMPLEX)
modes = st.sampled_from(["full", "same", "valid", 0, 1, 2])
lengths = st.integers(1, 9)


@pytest.mark.parametrize(("mine", "model"), PAIRS)
@given(data=st.data(), n=lengths, k=lengths, mode=modes)
@settings(max_examples=150, deadline=None)
def test_every_length_mode_and_dtype(mine, model, data, n, k, mode):
    x, v = data.draw(arrays(DTYPES, (n,))), data.draw(arrays(DTYPES, (k,)))
    agree(mine, model, x, v, mode, scale=window_sum(x, v))


@pytest.mark.parametrize(("mine", "model"), PAIRS)
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_integers_wrap_like_the_model(mine, model, dtype, mode):
    limits = np.iinfo(dtype)
    x = np.array([limits.max, limits.min, 3, limits.max - 1, 7, limits.max], dtype)
    k = np.array([limits.max, 2, limits.min, 5], dtype)
    agree(mine, model, x, k, mode)
    agree(mine, model, k, x, mode)


@pytest.mark.parametrize(("mine", "model"), PAIRS)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_float16_rounds_once(mine, model, mode):
    x, k = np.array([1.5, -2.25, 0.1, 7], np.float16), np.array([0.3, 2, -1], np.float16)
    got = mine(x, k, mode)
    want = model(x.astype(np.float64), k.astype(np.float64), mode).astype(np.float16)
    assert got.dtype == np.float16
    np.testing.assert_array_max_ulp(got, want, 1)


@pytest.mark.parametrize(("mine", "model"), PAIRS)
@pytest.mark.parametrize(
    "arguments",
    [
        ([], [1]),
        ([1], []),
        ([], []),
        ([[1, 2], [3, 4]], [1]),
        ([1, 2], [[1]]),
        (3, [1, 2]),
        ([1, 2], 3),
        (3, 4),
        ([1, 2, 3], [1, 2], "spam"),
        ([1, 2, 3], [1, 2], "FULL"),
        ([1, 2, 3], [1, 2], "v"),
        ([1, 2, 3], [1, 2], 3),
        ([1, 2, 3], [1, 2], -1),
        ([1, 2, 3], [1, 2], None),
        ([1, 2, 3], [1, 2], 1.0),
        (["a", "b"], [1]),
        ([1, 2], ["a"]),
    ],
)
def test_bad_input_raises_the_models_type(mine, model, arguments):
    assert isinstance(outcome(model, *arguments), Exception) or np.ndim(arguments[0]) * np.ndim(arguments[1]) == 0
    agree(mine, model, *arguments)


@pytest.mark.parametrize(("mine", "model"), PAIRS)
def test_the_words_of_a_refusal(mine, model):
    for arguments, words in [
        (([1], [2], "spam"), "Use one of 'valid', 'same', or 'full'"),
        (([1], [2], 7), "must be 0, 1, or 2"),
        (([1], []), "cannot be empty"),
        (([[1]], [1]), "too deep"),
    ]:
        with pytest.raises(ValueError, match=words):
            mine(*arguments)
    with pytest.raises(TypeError, match="mode not understood"):
        mine([1], [2], None)


def test_fractions_stay_exact():
    x, k = np.array([Fraction(1, 3), Fraction(2, 7)]), np.array([Fraction(3), Fraction(1, 2)])
    want = [1, Fraction(1, 6) + Fraction(6, 7), Fraction(1, 7)]
    assert ours.convolve(x, k).tolist() == np.convolve(x, k).tolist() == want


def test_inputs_are_not_modified():
    x, k = np.arange(5.0), np.array([1.0, 2.0])
    x.flags.writeable = k.flags.writeable = False
    assert ours.convolve(x, k).tolist() == np.convolve(x, k).tolist()
