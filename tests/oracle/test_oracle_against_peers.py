"""The oracle itself against NumPy, SciPy and torch: asymmetric kernels, even sizes, distinct axis lengths."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from convkit.oracle import adapters
from convkit.spec import ConvSpec
from tests.oracle.strategies import Case, array_cases, lattice, network_cases, pool_cases, random_array

PAIRS_1D = [(9, 4), (7, 3), (6, 6), (5, 1)]
PAIRS_ND = [((7, 5), (4, 3)), ((4, 6, 5), (2, 3, 4)), ((6, 5), (2, 1))]


@pytest.mark.parametrize(("n", "k"), PAIRS_1D)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_numpy_convolve_and_correlate(n: int, k: int, mode: str) -> None:
    x, kernel = random_array((n,), "int64", 1), random_array((k,), "int64", 2)
    assert np.array_equal(adapters.oracle_convolve(x, kernel, mode), np.convolve(x, kernel, mode))
    # numpy.correlate's "same" takes its centre from the full result at (K-1)//2, for even kernels as well.
    assert np.array_equal(adapters.oracle_correlate(x, kernel, mode), np.correlate(x, kernel, mode))


def test_correlation_conjugates_as_numpy_does() -> None:
    x, kernel = random_array((8,), "complex128", 3), random_array((3,), "complex128", 4)
    np.testing.assert_allclose(adapters.oracle_correlate(x, kernel), np.correlate(x, kernel, "full"), rtol=1e-13)


@pytest.mark.parametrize(("n", "k"), PAIRS_ND)
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_scipy_signal(n: tuple[int, ...], k: tuple[int, ...], mode: str) -> None:
    x, kernel = random_array(n, "int64", 5), random_array(k, "int64", 6)
    ours = adapters.oracle_convolve(x, kernel, mode)
    assert np.array_equal(ours, scipy.signal.convolve(x, kernel, mode, method="direct"))
    ours = adapters.oracle_correlate(x, kernel, mode)
    assert np.array_equal(ours, scipy.signal.correlate(x, kernel, mode, method="direct"))


NDIMAGE = {
    "reflect": "symmetric",
    "mirror": "reflect",
    "nearest": "edge",
    "wrap": "wrap",
    "constant": "constant",
}


@pytest.mark.parametrize("theirs", NDIMAGE)
@pytest.mark.parametrize(("n", "k"), [((7, 5), (4, 3)), ((5, 6), (3, 2)), ((4, 3), (9, 12))])
def test_scipy_ndimage(theirs: str, n: tuple[int, int], k: tuple[int, int]) -> None:
    x, kernel = random_array(n, "int64", 7), random_array(k, "int64", 8)
    options = {"boundary": NDIMAGE[theirs], "fill": 5}
    ours = adapters.oracle_correlate(x, kernel, "same", **options)
    assert np.array_equal(ours, scipy.ndimage.correlate(x, kernel, mode=theirs, cval=5))
    # ndimage centres an even convolution kernel one element later than full's centre.
    ours = adapters.oracle_convolve(x, kernel, "same", anchor=tuple(size // 2 for size in k), **options)
    assert np.array_equal(ours, scipy.ndimage.convolve(x, kernel, mode=theirs, cval=5))


def test_upfirdn_is_a_strided_full_convolution() -> None:
    x, kernel = random_array((11,), "float64", 9), random_array((4,), "float64", 10)
    np.testing.assert_allclose(
        adapters.oracle_convolve(x, kernel, stride=3), scipy.signal.upfirdn(kernel, x, down=3), rtol=1e-12
    )


def test_fftconvolve_broadcasts_the_other_axes() -> None:
    x, kernel = random_array((3, 1, 8), "float64", 11), random_array((1, 2, 3), "float64", 12)
    ours = adapters.oracle_convolve(x, kernel, "full", axes=-1)
    np.testing.assert_allclose(ours, scipy.signal.fftconvolve(x, kernel, "full", axes=-1), atol=1e-12)


@lattice(150)
@given(array_cases(dtypes=(("int64", "int64"),), axes="never"))
def test_padding_with_numpy_and_sliding_a_window(case: Case) -> None:
    """Pad every side by its own numpy.pad mode, dilate the kernel with zeros, slide, take every stride-th."""
    assume(case.x.size > 0)  # sliding_window_view has no empty arrays
    spec = ConvSpec.of_arrays(case.x.ndim, case.operation, case.mode, **case.options)
    kernel = np.conj(np.flip(case.k)) if case.operation == "convolution" else case.k
    wide = np.zeros([d * (n - 1) + 1 for n, d in zip(kernel.shape, spec.dilation)], np.int64)
    wide[tuple(slice(None, None, d) for d in spec.dilation)] = kernel
    padded = case.x
    for axis in range(case.x.ndim):
        reach, k = wide.shape[axis], case.k.shape[axis]
        if case.mode == "full":
            before, after = reach - 1, reach - 1
        elif case.mode == "valid":
            before, after = 0, 0
        else:
            before = spec.dilation[axis] * (
                k - 1 - spec.anchor_of(axis, k) if case.operation == "convolution" else spec.anchor_of(axis, k)
            )
            after = reach - 1 - before
        padded = _padded(padded, axis, (before, after), spec.boundary[axis], case.options["fill"])
    views = np.lib.stride_tricks.sliding_window_view(padded, wide.shape)
    rank = case.x.ndim
    expected = np.tensordot(views, wide, axes=(tuple(range(rank, 2 * rank)), tuple(range(rank))))
    expected = expected[tuple(slice(None, None, s) for s in spec.stride)]
    verb = adapters.oracle_convolve if case.operation == "convolution" else adapters.oracle_correlate
    assert np.array_equal(verb(case.x, case.k, case.mode, **case.options), expected)


def _padded(x: np.ndarray, axis: int, pads: tuple[int, int], sides: tuple[str, str], fill: int) -> np.ndarray:
    # Each side on its own, from the array as it was, because numpy.pad has one mode for both.
    whole = x
    for side, name in enumerate(sides):
        width = [(0, 0)] * x.ndim
        width[axis] = (pads[0], 0) if side == 0 else (0, pads[1])
        if name in ("zero", "constant"):
            wide = np.pad(x, width, constant_values=fill if name == "constant" else 0)
        else:
            wide = np.pad(x, width, mode=name)
        strip = np.take(wide, range(pads[0]) if side == 0 else range(x.shape[axis], wide.shape[axis]), axis)
        whole = np.concatenate([strip, whole] if side == 0 else [whole, strip], axis)
    return whole


def _torch_conv(rank: int, transposed: bool = False) -> object:
    return getattr(torch.nn.functional, f"conv{'_transpose' if transposed else ''}{rank}d")


def _flipped(w: np.ndarray, operation: str) -> np.ndarray:
    return (
        w[(slice(None), slice(None), *[slice(None, None, -1)] * (w.ndim - 2))].copy()
        if operation == "convolution"
        else w
    )


@lattice(80)
@given(network_cases(dtype="float64"), st.booleans())
def test_torch_conv_and_its_gradients(case: Case, biased: bool) -> None:
    options = {**case.options, "boundary": "zero"}
    operation, rank = options.pop("operation"), case.x.ndim - 2
    spec = ConvSpec.of_network(rank, **options)
    bias = random_array((case.k.shape[0],), "float64", 77) if biased else None
    x = torch.tensor(case.x, requires_grad=True)
    w = torch.tensor(_flipped(case.k, operation), requires_grad=True)
    pads = spec.pads(case.x.shape[2:], case.k.shape[2:])
    padded = torch.nn.functional.pad(x, [p for pair in reversed(pads) for p in pair])
    theirs = _torch_conv(rank)(
        padded, w, None if bias is None else torch.tensor(bias), spec.stride, 0, spec.dilation, spec.groups
    )
    options["operation"] = operation
    np.testing.assert_allclose(adapters.oracle_conv(case.x, case.k, bias, **options), theirs.detach(), atol=1e-11)
    g = torch.tensor(random_array(tuple(theirs.shape), "float64", 78))
    dx, dw = torch.autograd.grad(theirs, (x, w), g)
    ours = adapters.oracle_conv_input_gradient(g.numpy(), case.k, case.x.shape, **options)
    np.testing.assert_allclose(ours, dx, atol=1e-11)
    ours = adapters.oracle_conv_weight_gradient(g.numpy(), case.x, case.k.shape, **options)
    np.testing.assert_allclose(ours, _flipped(dw.numpy(), operation), atol=1e-11)


@lattice(80)
@given(network_cases(dtype="float64", direction="transposed"))
def test_torch_conv_transpose(case: Case) -> None:
    options = dict(case.options)
    rank, pads = case.x.ndim - 2, options["padding"]
    spec = ConvSpec.of_network(rank, direction="transposed", **options)
    w = torch.tensor(_flipped(case.k, options["operation"]))
    # Torch has one padding for both sides, so it computes everything and we cut.
    whole = _torch_conv(rank, transposed=True)(
        torch.tensor(case.x), w, stride=spec.stride, groups=spec.groups, dilation=spec.dilation
    )
    whole = torch.nn.functional.pad(whole, [p for spare in reversed(spec.output_padding) for p in (0, spare)])
    cut = tuple(slice(before, n - after) for (before, after), n in zip(pads, whole.shape[2:]))
    np.testing.assert_allclose(
        adapters.oracle_conv_transpose(case.x, case.k, **options), whole[(..., *cut)], atol=1e-11
    )


@pytest.mark.parametrize(("n", "k", "d"), [(7, 4, 1), (6, 3, 2), (9, 2, 3)])
def test_torch_same_padding(n: int, k: int, d: int) -> None:
    x, w = random_array((1, 2, n), "float64", 13), random_array((3, 2, k), "float64", 14)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        theirs = torch.nn.functional.conv1d(torch.tensor(x), torch.tensor(w), padding="same", dilation=d)
    np.testing.assert_allclose(adapters.oracle_conv(x, w, padding="same", dilation=d), theirs, atol=1e-12)


@lattice(100)
@given(pool_cases(dilated=False))
def test_torch_pooling(drawn: tuple[tuple[int, ...], dict]) -> None:
    shape, options = drawn
    x = random_array(shape, "float64", 15)
    rank = len(options["size"])
    name = f"{'max' if options['kind'] == 'max' else 'avg'}_pool{rank}d"
    theirs = getattr(torch.nn.functional, name)(
        torch.tensor(x), options["size"], options["stride"], options["padding"], ceil_mode=options["ceil"]
    )
    np.testing.assert_allclose(adapters.oracle_pool(x, **options), theirs, atol=1e-13)


def test_pooling_keeps_nan() -> None:
    x = np.array([[1.0, np.nan, 2.0, 3.0]])
    theirs = torch.nn.functional.max_pool1d(torch.tensor(x), 2)
    np.testing.assert_array_equal(adapters.oracle_pool(x, (2,)), theirs)
