"""What goes wrong elsewhere and must not here. Where a peer's failure is stable, the test shows it too."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

import convkit as ck
from convkit.errors import IntegerOverflowError
from tests.oracle.strategies import random_array


def test_large_integers_are_exact_where_scipy_is_off_by_one() -> None:
    """100,000 values just under 2^17 on both sides: the sums reach 2^50.6, too much to round a transform."""
    source = np.random.default_rng(1)
    n = 100_000
    x, k = (source.integers(2**17 - 1000, 2**17, n) for _ in range(2))
    ours = ck.convolve(x, k)
    assert ours.dtype == np.int64
    picked = source.integers(0, 2 * n - 1, 300)
    exact = [sum((x[max(0, i - n + 1) : i + 1][::-1] * k[max(0, i - n + 1) : i + 1]).tolist()) for i in picked]
    assert ours[picked].tolist() == exact
    # The whole of it, modulo a prime: the polynomial identity x(t) k(t) = out(t) at several points.
    prime = 2**31 - 1
    for point in (3, 65537, 1234567891):
        values = [_polynomial(array, point, prime) for array in (x, k, ours)]
        assert values[0] * values[1] % prime == values[2]
    theirs = scipy.signal.convolve(x, k, method="auto")
    assert np.abs(theirs - ours).max() >= 1


def _polynomial(values: np.ndarray, point: int, prime: int) -> int:
    total = 0
    for value in values.tolist()[::-1]:
        total = (total * point + value) % prime
    return total


def test_one_extreme_integer_does_not_defeat_the_guard() -> None:
    """The magnitude of int64's least number does not fit int64."""
    x = random_array((80_000,), "int64", 2)
    x[40_000] = np.iinfo(np.int64).min
    k = random_array((2_000,), "int64", 3)
    k[:] = np.abs(k) % 3
    with pytest.raises(IntegerOverflowError):
        ck.convolve(x, k)
    ours = ck.convolve(x, k, overflow="wrap")
    for i in (0, 39_999, 40_000, 40_001, 41_000, 41_999, 42_000, 81_998):
        window = range(max(0, i - k.size + 1), min(i, x.size - 1) + 1)
        exact = sum(int(x[p]) * int(k[i - p]) for p in window)
        assert int(ours[i]) == (exact + 2**63) % 2**64 - 2**63


def test_small_outputs_keep_their_digits_with_elementwise_accuracy() -> None:
    """A loud half and a quiet half: a transform's error is a share of the loud one."""
    source = np.random.default_rng(4)
    x = np.concatenate([1e12 * source.random(4000), 1e-6 * source.random(4000)])
    k = 1 + source.random(400)
    ours = ck.convolve(x, k, "valid", accuracy="elementwise")
    exact = np.convolve(x.astype(np.longdouble), k.astype(np.longdouble), "valid")
    quiet = slice(4500, None)
    relative = np.abs(ours - exact) / exact
    assert relative.max() < 1e-12
    theirs = scipy.signal.fftconvolve(x, k, "valid")
    assert (np.abs(theirs - exact) / exact)[quiet].max() > 1
    # By norms, the default, the same error is small.
    assert np.abs(ck.convolve(x, k, "valid") - exact).max() <= 1e-13 * np.linalg.norm(x) * np.linalg.norm(k)


def test_products_below_the_rounding_of_a_transform_are_not_noise() -> None:
    """Tails of Gaussians: every term is positive, so every output must be, and to full precision."""
    t = np.arange(-200, 201)
    x, k = np.exp(-(t**2) / 800.0), np.exp(-(t**2) / 1800.0)
    ours = ck.convolve(x, k, accuracy="elementwise")
    exact = np.convolve(x.astype(np.longdouble), k.astype(np.longdouble))
    assert np.all(ours > 0)
    assert np.all(np.abs(ours - exact) <= 1e-13 * exact)
    theirs = scipy.signal.fftconvolve(x, k)
    assert np.any(theirs <= 0)


@pytest.mark.parametrize("method", ["auto", "fft"])
@pytest.mark.parametrize("boundary", ["zero", "reflect"])
def test_one_nan_spoils_its_windows_only(method: str, boundary: str) -> None:
    x = random_array((300, 256), "float64", 5)
    clean = x.copy()
    x[120, 77] = np.nan
    k = random_array((32, 21), "float64", 6)
    ours = ck.convolve(x, k, "same", boundary=boundary, method=method)
    spoiled = np.zeros(x.shape, bool)
    spoiled[120 - 15 : 120 + 17, 77 - 10 : 77 + 11] = True
    assert np.array_equal(np.isnan(ours), spoiled)
    clean[120, 77] = 0
    expected = ck.convolve(clean, k, "same", boundary=boundary, method=method)
    np.testing.assert_allclose(ours[~spoiled], expected[~spoiled], atol=1e-10)
    assert np.isnan(scipy.signal.fftconvolve(x, k, "same")).all()


def _iterate(observed: np.ndarray, forward: object, backward: object, steps: int) -> np.ndarray:
    """Richardson and Lucy: ``u *= A*(d / A u) / A* 1``."""
    estimate = np.full(observed.shape, observed.mean())
    normal = backward(np.ones(observed.shape))  # type: ignore[operator]
    for _ in range(steps):
        ratio = observed / np.maximum(forward(estimate), 1e-12)  # type: ignore[operator]
        estimate = estimate * backward(ratio) / np.maximum(normal, 1e-12)  # type: ignore[operator]
    return estimate


def test_an_even_point_spread_function_conserves_flux_with_the_exact_adjoint() -> None:
    source = np.random.default_rng(7)
    truth = np.zeros((64, 60))
    truth[source.integers(8, 52, 25), source.integers(8, 52, 25)] = source.uniform(50, 500, 25)
    truth += 1
    psf = np.outer([1.0, 3.0, 4.0, 2.0], [2.0, 5.0, 2.0, 1.0])
    psf /= psf.sum()
    convolver = ck.Convolver(psf, "convolution", "same", boundary="wrap")
    observed = convolver.apply(truth)
    ours = _iterate(observed, convolver.apply, lambda y: convolver.adjoint(y, truth.shape), 50)
    assert abs(ours.sum() / observed.sum() - 1) < 1e-6
    assert np.linalg.norm(ours - truth) < 0.7 * np.linalg.norm(observed - truth)
    # With zeros outside, the forward operator loses flux at the rim; the exact adjoint still keeps the rest.
    convolver = ck.Convolver(psf, "convolution", "same")
    observed = convolver.apply(truth)
    ours = _iterate(observed, convolver.apply, lambda y: convolver.adjoint(y, truth.shape), 50)
    assert abs(convolver.apply(ours).sum() / observed.sum() - 1) < 1e-6


def test_a_flipped_same_is_no_adjoint_for_even_sizes() -> None:
    restoration = pytest.importorskip("skimage.restoration")
    source = np.random.default_rng(8)
    image = np.pad(source.random((48, 44)), 6)
    psf = np.ones((4, 4)) / 16
    observed = scipy.signal.convolve(image, psf, "same")
    theirs = restoration.richardson_lucy(observed, psf, num_iter=50, clip=False)
    assert theirs.sum() > 1.5 * observed.sum()
    convolver = ck.Convolver(psf, "convolution", "same")
    ours = _iterate(observed, convolver.apply, lambda y: convolver.adjoint(y, image.shape), 50)
    assert abs(convolver.apply(ours).sum() / observed.sum() - 1) < 1e-6


def test_small_unsigned_integers_do_not_wrap_silently() -> None:
    x, k = np.full(50, 60_000, np.uint16), np.full(4, 3, np.uint16)
    ours = ck.convolve(x, k, "valid")
    assert ours.dtype == np.uint64
    assert set(ours.tolist()) == {720_000}
    assert set(scipy.signal.convolve(x, k, "valid", method="direct").tolist()) == {720_000 % 2**16}
    with pytest.raises(IntegerOverflowError) as caught:
        ck.convolve(x, k, "valid", dtype="uint16")
    assert "uint16" in str(caught.value)
    assert "720000" in str(caught.value).replace(",", "")
    assert set(ck.convolve(x, k, "valid", dtype="uint16", overflow="saturate").tolist()) == {65_535}
    assert set(ck.convolve(x, k, "valid", dtype="uint16", overflow="wrap").tolist()) == {720_000 % 2**16}


@pytest.mark.parametrize(("n", "k", "s"), [(7, 3, 2), (8, 3, 2), (8, 4, 2), (9, 2, 3), (5, 6, 4)])
def test_same_with_strides(n: int, k: int, s: int) -> None:
    """torch refuses it; TensorFlow's rule: ceil(N/s) outputs, the spare pad at the end."""
    x, w = random_array((1, 2, n), "float64", 9), random_array((3, 2, k), "float64", 10)
    with pytest.raises(RuntimeError, match="strided"):
        torch.nn.functional.conv1d(torch.tensor(x), torch.tensor(w), padding="same", stride=s)
    total = max((-(-n // s) - 1) * s + k - n, 0)
    padded = torch.nn.functional.pad(torch.tensor(x), (total // 2, total - total // 2))
    expected = torch.nn.functional.conv1d(padded, torch.tensor(w), stride=s)
    ours = ck.conv(x, w, padding="same", stride=s)
    assert ours.shape[2] == -(-n // s)
    np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize(("n", "pad"), [(3, 4), (2, 9), (1, 5)])
def test_circular_padding_longer_than_the_array(n: int, pad: int) -> None:
    x = random_array((1, 1, n), "float64", 11)
    w = random_array((1, 1, 2 * pad + n - 1), "float64", 12)
    with pytest.raises(RuntimeError):
        torch.nn.functional.pad(torch.tensor(x), (pad, pad), mode="circular")
    wide = np.pad(x[0, 0], pad, mode="wrap")
    expected = np.correlate(wide, w[0, 0], "valid")
    np.testing.assert_allclose(ck.conv(x, w, padding=pad, boundary="wrap")[0, 0], expected, atol=1e-12)
    with pytest.raises(RuntimeError):
        torch.nn.functional.pad(torch.tensor(x), (pad, pad), mode="reflect")
    wide = np.pad(x[0, 0], pad, mode="reflect")
    expected = np.correlate(wide, w[0, 0], "valid")
    np.testing.assert_allclose(ck.conv(x, w, padding=pad, boundary="reflect")[0, 0], expected, atol=1e-12)
