"""Objects (Fraction, Decimal, long integers) in every verb, and the words for those that cannot be summed."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import convkit as ck
from convkit.errors import ConvError

HALF = Fraction(1, 2)


def test_integers_too_long_for_numpy_stay_integers() -> None:
    assert ck.convolve([2**63, 1], [1, 3]).tolist() == [2**63, 3 * 2**63 + 1, 3]
    assert ck.convolve([2.0**63, 1], [1, 3]).dtype == np.float64


def test_objects_asked_for() -> None:
    assert ck.convolve([2**62, 3], [4, 5], dtype=object).tolist() == [2**64, 5 * 2**62 + 12, 15]
    assert ck.Convolver([4, 5], dtype=object).apply([2**62, 3]).tolist() == [2**64, 5 * 2**62 + 12, 15]


def test_objects_hold_no_wrapping_numpy_scalars() -> None:
    x = np.array([np.int64(2**62), 1], object)
    assert ck.convolve(x, [4]).tolist() == [2**64, 4]


def test_objects_into_integers_follow_overflow() -> None:
    x = np.array([300, 2], object)
    assert ck.convolve(x, [1], dtype="uint8", overflow="saturate").tolist() == [255, 2]
    assert ck.convolve(x, [1], dtype="uint8", overflow="wrap").tolist() == [44, 2]
    with pytest.raises(ConvError, match="do not fit uint8"):
        ck.convolve(x, [1], dtype="uint8")
    assert ck.convolve(np.array([Fraction(5, 2), Fraction(7, 2)]), [1], dtype="uint8").tolist() == [2, 4]


def test_layers_of_fractions() -> None:
    x, w = np.array([[[Fraction(1), Fraction(2), Fraction(4)]]]), np.array([[[HALF, Fraction(3)]]])
    assert ck.conv(x, w, [Fraction(1, 3)]).tolist() == [[[HALF + 6 + Fraction(1, 3), 13 + Fraction(1, 3)]]]
    assert ck.conv_transpose(x[..., :2], w, stride=2).tolist() == [[[HALF, 3, 1, 6]]]
    g = np.array([[[Fraction(1), Fraction(5)]]])
    assert ck.conv_input_gradient(g, w, (1, 1, 3)).tolist() == [[[HALF, 3 + 5 * HALF, 15]]]
    assert ck.conv_weight_gradient(g, x, (1, 1, 2)).tolist() == [[[11, 22]]]
    assert ck.conv_weight_gradient(g, x, (1, 1, 2), dtype="float32").dtype == np.float32
    with pytest.raises(ConvError, match=r"shape\.bias"):
        ck.conv(x, w, [HALF, HALF])


def test_adjoint_and_pool_of_fractions() -> None:
    k, y = np.array([Fraction(1), HALF]), np.array([Fraction(1), Fraction(2), Fraction(4)])
    assert ck.Convolver(k).adjoint(y).tolist() == [2, 4]
    assert ck.pool(y[:2], 2, kind="mean").tolist() == [Fraction(3, 2)]
    with pytest.raises(ConvError, match=r"shape\.gradient"):
        ck.Convolver(k).adjoint(y, shape=(5,))


@pytest.mark.parametrize(
    ("x", "k"),
    [
        (np.array([1, None], object), [1]),
        (np.array([Decimal(1)]), np.array([1.5])),
        (np.array(["a", 1], object), np.array([HALF])),
    ],
)
def test_what_cannot_be_summed_is_said(x: np.ndarray, k: object) -> None:
    with pytest.raises(ConvError) as caught:
        ck.convolve(x, k)
    assert caught.value.code == "dtype.mixed-objects"
    assert "Fraction(value) or Decimal(value)" in str(caught.value)


def test_out_of_objects() -> None:
    out = np.empty(2, object)
    assert ck.convolve(np.array([HALF, 2], object), [1], out=out) is out
    with pytest.raises(ConvError, match=r"out=np\.empty"):
        ck.convolve(np.array([HALF, 2], object), [1], out=np.empty(3, object))
