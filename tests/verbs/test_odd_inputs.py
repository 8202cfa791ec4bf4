"""Options as arrays, tensors of every kind, single numbers: taken, or refused with a fix that works."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import convkit as ck
from convkit import catalogue
from convkit.errors import ConvError

ROW = np.arange(6.0)


def test_options_as_arrays() -> None:
    x = np.arange(12.0).reshape(3, 4)
    k = np.array([[1.0, 2.0], [3.0, 5.0]])
    assert np.array_equal(ck.convolve(x, k, axes=np.array([1, 0])), ck.convolve(x, k, axes=(1, 0)))
    assert np.array_equal(ck.convolve(x, k, stride=np.array([2, 1])), ck.convolve(x, k)[::2])
    image, weights = x[None, None], k[None, None]
    assert np.array_equal(ck.conv(image, weights, padding=np.array([1, 2])), ck.conv(image, weights, padding=(1, 2)))
    convolver = ck.Convolver(k[0], axes=np.array([1]), stride=np.array([2]))
    assert np.array_equal(convolver.apply(x), ck.convolve(x, k[0], axes=1, stride=2))


def test_a_tolerance_is_any_number() -> None:
    for accuracy in (np.float32(1e-3), 1, np.int64(1)):
        assert np.array_equal(ck.convolve(ROW, [1.0, 2.0], accuracy=accuracy), np.convolve(ROW, [1.0, 2.0]))
    with pytest.raises(ConvError, match=r"option\.tolerance-not-positive"):
        ck.convolve(ROW, [1.0], accuracy=0)


def test_the_tolerance_suggested_is_reached() -> None:
    with pytest.raises(ConvError) as caught:
        ck.convolve(ROW, [1.0, 2.0], accuracy=1e-30)
    ck.convolve(ROW, [1.0, 2.0], accuracy=float(str(caught.value.facts["best"])))


CASES = [
    ("shape.no-axes", lambda: ck.convolve(3, 4), "np.atleast_1d(x), np.atleast_1d(k) | x * k"),
    ("shape.kernel-rank", lambda: ck.convolve(ROW, np.ones((2, 2))), "a kernel with 1 axes, such as k.reshape(...)"),
    ("shape.kernel-rank", lambda: ck.convolve(ROW, 2), "a kernel with 1 axes, such as k.reshape(...)"),
    ("shape.rank-mismatch", lambda: ck.convolve(np.ones((2, 3)), [1, 2]), "axes=(-1,) | a kernel with 2 axes"),
    ("option.no-axes", lambda: ck.convolve(ROW, [1], axes=()), "axes=-1 for the last axis | axes=None for all"),
    ("dtype.not-an-array", lambda: ck.convolve(None, [1]), "np.asarray(x)"),
    ("dtype.not-an-array", lambda: ck.convolve(ROW, {}), "np.asarray(k)"),
    ("dtype.not-an-array", lambda: ck.pool(iter([1]), 1), "np.asarray(x)"),
    ("dtype.not-a-number", lambda: ck.convolve(ROW, [1], dtype="S3"), "x.astype(float)"),
    ("option.fill", lambda: ck.convolve([1], [1], boundary="constant", fill=2**70), 'fill=0 | dtype="float64"'),
    ("option.fill", lambda: ck.convolve(ROW, [1], boundary="constant", fill=10**400), 'fill=0 | dtype="float64"'),
    ("option.not-a-shape", lambda: ck.plan(5, 3), "x_shape=x.shape"),
    ("option.too-small", lambda: ck.plan((-5,), (3,)), "x_shape=0"),
    ("option.not-a-whole-number", lambda: ck.plan((5.0,), (3,)), "x_shape=0"),
    ("option.not-a-shape", lambda: ck.Convolver([1.0]).plan(5), "shape=x.shape"),
    ("option.not-a-shape", lambda: ck.Convolver([1.0]).adjoint([1.0], shape=5), "shape=x.shape"),
    ("shape.no-such-axis", lambda: ck.Convolver([1.0]).stream(3).push(np.ones((2, 2))), "axes=-1 for the last axis"),
    ("dtype.complex-weights", lambda: ck.convolve(ROW, [1.0], weights=ROW + 1j), "abs(weights)"),
    (
        "option.weights-range",
        lambda: ck.convolve(ROW, [1.0], weights=ROW * np.nan),
        "np.nan_to_num(weights).clip(0) | mask= to leave samples out",
    ),
    ("option.pool-padding", lambda: ck.pool(ROW, 3, padding=3), "padding=2 or less"),
    ("shape.out", lambda: ck.convolve(ROW, [1.0], out=np.empty(3)), "out=np.empty((6,)) | leave out= away"),
    (
        "dtype.complex-to-real",
        lambda: ck.conv(ROW[None, None], np.ones((1, 1, 2)), [1j]),
        'dtype="complex64" | take .real of the result',
    ),
    ("dtype.not-a-number", lambda: ck.conv(ROW[None, None], np.ones((1, 1, 2)), np.array([None])), "x.astype(float)"),
    (
        "dtype.bias",
        lambda: ck.conv(
            torch.ones((1, 1, 3), dtype=torch.int64), torch.ones((1, 1, 2), dtype=torch.int64), torch.ones(1)
        ),
        'bias.astype(int) | dtype="float64"',
    ),
    (
        "dtype.not-in-torch",
        lambda: ck.convolve(torch.ones(3), np.ones(2, np.longdouble)),
        'x.numpy() for an array result | dtype="float64"',
    ),
    (
        "dtype.not-in-torch",
        lambda: ck.convolve(torch.ones(3), torch.ones(2), dtype="longdouble"),
        'x.numpy() for an array result | dtype="float64"',
    ),
    (
        "dtype.not-a-number",
        lambda: ck.convolve(torch.ones(3).to(torch.float8_e4m3fn), torch.ones(2)),
        "x.astype(float)",
    ),
]


@pytest.mark.parametrize(("code", "wrong", "fix"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_refusals(code: str, wrong: object, fix: str) -> None:
    with pytest.raises(ConvError) as caught:
        wrong()  # type: ignore[operator]
    assert caught.value.code == code
    assert caught.value.line("try") == fix
    for language in catalogue.LANGUAGES:
        assert "{" not in caught.value.text(language).replace("{}", "")


def test_a_refused_shape_leaves_nothing_behind() -> None:
    with pytest.raises(ConvError):
        ck.plan((7.0,), (3,))
    assert ck.plan((7,), (3,)).problem.windows[0].count == 9


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.0, 2.0, 5.0])[::-1],
        np.array([1, 2, 5], ">i2"),
        np.array([1, 2, 5], np.uint16),
        np.array([1, 2, 5], np.uint32),
        np.broadcast_to(np.float64(2), (3,)),
    ],
)
def test_arrays_beside_tensors(array: np.ndarray) -> None:
    tensor = torch.tensor([1.0, 3.0], dtype=torch.float64)
    expected = np.convolve(array.astype(float), [1.0, 3.0])
    assert np.array_equal(ck.convolve(tensor, array).numpy(), expected)
    assert np.array_equal(ck.convolve(array, tensor).numpy(), expected)


def test_tensors_with_a_pending_sign() -> None:
    negative = torch.tensor([1 + 2j, 3 - 1j]).conj().imag
    assert ck.convolve(negative, torch.tensor([1.0, 2.0])).tolist() == [-2.0, -3.0, 2.0]
    assert ck.pool(negative, 2).tolist() == [1.0]


def test_bfloat16_by_name() -> None:
    assert ck.convolve([1, 2.0], [1.0], dtype="bfloat16").dtype.name == "bfloat16"
    assert ck.plan((5,), (3,), "bfloat16").problem.compute_dtype == "float32"
