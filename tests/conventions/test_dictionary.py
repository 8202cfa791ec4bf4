"""Each row of CONVENTIONS.md, checked by running the library it speaks of.

Kernels are asymmetric and of odd and even size, so that a flip or a shift by one cannot hide.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import onnx.helper
import pytest
import torch
from astropy.convolution import convolve as astropy_convolve
from astropy.convolution import convolve_fft as astropy_convolve_fft
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from scipy import ndimage, signal

from tests.conventions.index_formulas import same, strided

X = np.array([3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, -6.0, 5.0])
KERNELS = [np.arange(1.0, size + 1) ** 2 for size in (1, 2, 3, 4, 5, 6)]
Filter = Callable[[np.ndarray, np.ndarray], np.ndarray]


def opencv(x: np.ndarray, k: np.ndarray, border: int = cv2.BORDER_CONSTANT, anchor: int = -1) -> np.ndarray:
    return cv2.filter2D(x[None], -1, k[None], anchor=(anchor, -1), borderType=border)[0]


def torch_correlate(x: np.ndarray, k: np.ndarray, **options: object) -> np.ndarray:
    signals, weights = torch.tensor(x)[None, None], torch.tensor(k)[None, None]
    return torch.nn.functional.conv1d(signals, weights, **options)[0, 0].numpy()


def onnx_correlate(x: np.ndarray, k: np.ndarray, **attributes: object) -> np.ndarray:
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Conv", ["x", "k"], ["y"], **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "conv",
        [value(name, TensorProto.DOUBLE, [1, 1, None]) for name in "xk"],
        [value("y", TensorProto.DOUBLE, [1, 1, None])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)
    return ReferenceEvaluator(model).run(None, {"x": x[None, None], "k": k[None, None]})[0][0, 0]


def low(size: int) -> int:
    return (size - 1) // 2


def high(size: int) -> int:
    return size // 2


SAME: list[tuple[str, Filter, str, Callable[[int], int]]] = [
    ("numpy.convolve", lambda x, k: np.convolve(x, k, "same"), "convolution", low),
    ("numpy.correlate", lambda x, k: np.correlate(x, k, "same"), "correlation", high),
    ("scipy.signal.convolve", lambda x, k: signal.convolve(x, k, "same"), "convolution", low),
    ("scipy.signal.fftconvolve", lambda x, k: signal.fftconvolve(x, k, "same"), "convolution", low),
    ("scipy.signal.oaconvolve", lambda x, k: signal.oaconvolve(x, k, "same"), "convolution", low),
    (
        "scipy.signal.convolve2d",
        lambda x, k: signal.convolve2d(x[None], k[None], "same")[0],
        "convolution",
        low,
    ),
    ("scipy.signal.correlate", lambda x, k: signal.correlate(x, k, "same"), "correlation", high),
    (
        "scipy.signal.correlate2d",
        lambda x, k: signal.correlate2d(x[None], k[None], "same")[0],
        "correlation",
        low,
    ),
    (
        "scipy.ndimage.convolve",
        lambda x, k: ndimage.convolve(x, k, mode="constant"),
        "convolution",
        high,
    ),
    (
        "scipy.ndimage.correlate",
        lambda x, k: ndimage.correlate(x, k, mode="constant"),
        "correlation",
        high,
    ),
    ("cv2.filter2D", opencv, "correlation", high),
    ("torch conv1d", lambda x, k: torch_correlate(x, k, padding="same"), "correlation", low),
    (
        "onnx Conv SAME_UPPER",
        lambda x, k: onnx_correlate(x, k, auto_pad="SAME_UPPER"),
        "correlation",
        low,
    ),
    (
        "onnx Conv SAME_LOWER",
        lambda x, k: onnx_correlate(x, k, auto_pad="SAME_LOWER"),
        "correlation",
        high,
    ),
    (
        "astropy convolve_fft",
        lambda x, k: astropy_convolve_fft(x, k, boundary="fill", normalize_kernel=False, nan_treatment="fill"),
        "convolution",
        high,
    ),
]


# torch warns that an even kernel makes it copy the padded input; it says nothing about the numbers.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("k", KERNELS, ids=lambda k: f"K{k.size}")
@pytest.mark.parametrize("row", SAME, ids=lambda row: row[0])
def test_same(row: tuple[str, Filter, str, Callable[[int], int]], k: np.ndarray) -> None:
    _, run, operation, anchor = row
    np.testing.assert_allclose(run(X, k), same(X, k, operation, anchor(k.size)), atol=1e-9)


@pytest.mark.parametrize("k", KERNELS[1:], ids=lambda k: f"K{k.size}")
def test_the_formulas_tell_the_conventions_apart(k: np.ndarray) -> None:
    answers = [tuple(same(X, k, how, at)) for how in ("convolution", "correlation") for at in (0, k.size - 1)]
    assert len(set(answers)) == 4


@pytest.mark.parametrize("k", KERNELS[1:], ids=lambda k: f"K{k.size}")
@pytest.mark.parametrize("origin", [-1, 0])
def test_ndimage_origin(k: np.ndarray, origin: int) -> None:
    anchor = k.size // 2 + origin
    got = ndimage.correlate(X, k, mode="constant", origin=origin)
    np.testing.assert_allclose(got, same(X, k, "correlation", anchor))
    got = ndimage.convolve(X, k, mode="constant", origin=origin)
    np.testing.assert_allclose(got, same(X, k, "convolution", anchor))


@pytest.mark.parametrize("k", KERNELS, ids=lambda k: f"K{k.size}")
def test_opencv_anchor(k: np.ndarray) -> None:
    for anchor in range(k.size):
        got = opencv(X, k, anchor=anchor)
        np.testing.assert_allclose(got, same(X, k, "correlation", anchor))


@pytest.mark.parametrize("size", [2, 4])
def test_astropy_convolve_takes_odd_kernels_only(size: int) -> None:
    with pytest.raises(Exception, match="odd"):
        astropy_convolve(X, np.arange(1.0, size + 1), boundary="fill", normalize_kernel=False)


def upfirdn(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    return signal.upfirdn(k, x)


@pytest.mark.parametrize("k", KERNELS, ids=lambda k: f"K{k.size}")
def test_full_is_one_formula(k: np.ndarray) -> None:
    reach = range(k.size)
    places = range(X.size + k.size - 1)
    full = [sum(X[n - j] * k[j] for j in reach if 0 <= n - j < X.size) for n in places]
    for run in (np.convolve, signal.convolve, signal.fftconvolve, signal.oaconvolve, upfirdn):
        np.testing.assert_allclose(run(X, k), full, atol=1e-9)
    np.testing.assert_allclose(signal.convolve2d(X[None], k[None])[0], full)
    np.testing.assert_allclose(np.correlate(X, k[::-1], "full"), full)
    np.testing.assert_allclose(signal.correlate(X, k[::-1]), full)


def test_defaults() -> None:
    x, k = X, KERNELS[2]
    assert np.convolve(x, k).size == 11
    assert np.correlate(x, k).size == 7
    assert signal.convolve(x, k).size == signal.correlate(x, k).size == signal.upfirdn(k, x).size == 11
    assert signal.convolve2d(x[None], k[None]).shape == signal.correlate2d(x[None], k[None]).shape == (1, 11)
    np.testing.assert_allclose(ndimage.convolve(x, k), same(x, k, "convolution", 1, "symmetric"))
    np.testing.assert_allclose(cv2.filter2D(x[None], -1, k[None])[0], same(x, k, "correlation", 1, "reflect"))
    assert torch_correlate(x, k).size == onnx_correlate(x, k).size == 7
    fraction = same(x, k / k.sum(), "convolution", 1)
    np.testing.assert_allclose(astropy_convolve(x, k), fraction)


def test_a_kernel_longer_than_the_input() -> None:
    x, k = np.array([1.0, 2.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert np.convolve(x, k, "same").tolist() == [1, 4, 7, 10]  # as long as the longer one
    assert np.correlate(x, k, "same").tolist() == [11, 8, 5, 2]
    assert signal.convolve(x, k, "same").tolist() == [4, 7]  # as long as the first one
    assert signal.correlate(x, k, "same").tolist() == [11, 8]
    assert np.convolve(x, k, "valid").tolist() == [4, 7, 10]  # the two change places
    assert signal.convolve(x, k, "valid").tolist() == [4, 7, 10]
    with pytest.raises(RuntimeError, match="Kernel size"):
        torch_correlate(x, k)


def test_conjugation() -> None:
    x, k = np.array([1 + 2j, 3 - 1j, 2j]), np.array([1j, 2.0])
    expected = np.convolve(x, k[::-1].conj())
    np.testing.assert_allclose(np.correlate(x, k, "full"), expected)
    np.testing.assert_allclose(signal.correlate(x, k), expected)
    np.testing.assert_allclose(signal.correlate2d(x[None], k[None])[0], expected)
    np.testing.assert_allclose(ndimage.correlate(x, k, mode="constant"), expected[:3])
    np.testing.assert_allclose(torch_correlate(x, k), np.convolve(x, k[::-1], "valid"))


def ndimage_border(mode: str) -> Filter:
    return lambda x, k: ndimage.correlate(x, k, mode=mode)


def opencv_border(name: str) -> Filter:
    return lambda x, k: opencv(x, k, getattr(cv2, f"BORDER_{name}"))


def correlate2d_border(name: str) -> Filter:
    return lambda x, k: signal.correlate2d(x[None], k[None], "same", name)[0]


def torch_border(mode: str) -> Filter:
    def run(x: np.ndarray, k: np.ndarray) -> np.ndarray:
        layer = torch.nn.Conv1d(1, 1, k.size, padding=k.size // 2, padding_mode=mode, bias=False)
        layer.weight = torch.nn.Parameter(torch.tensor(k)[None, None])
        return layer(torch.tensor(x)[None])[0].detach().numpy()

    return run


def astropy_border(name: str) -> Filter:
    return lambda x, k: astropy_convolve(x, k[::-1], boundary=name, normalize_kernel=False)


BORDERS = [
    (ndimage_border, "constant", "zero"),
    (ndimage_border, "grid-constant", "zero"),
    (ndimage_border, "nearest", "edge"),
    (ndimage_border, "mirror", "reflect"),
    (ndimage_border, "reflect", "symmetric"),
    (ndimage_border, "grid-mirror", "symmetric"),
    (ndimage_border, "wrap", "wrap"),
    (ndimage_border, "grid-wrap", "wrap"),
    (opencv_border, "CONSTANT", "zero"),
    (opencv_border, "REPLICATE", "edge"),
    (opencv_border, "REFLECT_101", "reflect"),
    (opencv_border, "DEFAULT", "reflect"),
    (opencv_border, "REFLECT", "symmetric"),
    (correlate2d_border, "fill", "zero"),
    (correlate2d_border, "symm", "symmetric"),
    (correlate2d_border, "wrap", "wrap"),
    (torch_border, "zeros", "zero"),
    (torch_border, "replicate", "edge"),
    (torch_border, "reflect", "reflect"),
    (torch_border, "circular", "wrap"),
    (astropy_border, "fill", "zero"),
    (astropy_border, "extend", "edge"),
    (astropy_border, "wrap", "wrap"),
]


@pytest.mark.parametrize(("library", "theirs", "ours"), BORDERS)
def test_boundary_names(library: Callable[[str], Filter], theirs: str, ours: str) -> None:
    for k in KERNELS[2::2]:
        got = library(theirs)(X, k)
        np.testing.assert_allclose(got, same(X, k, "correlation", k.size // 2, ours), atol=1e-12)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("constant", "zero"),
        ("symmetric", "symmetric"),
        ("reflect", "reflect"),
        ("edge", "edge"),
        ("wrap", "wrap"),
    ],
)
def test_upfirdn_boundary_names(theirs: str, ours: str) -> None:
    k = KERNELS[2]
    got = signal.upfirdn(k, X, mode=theirs)[: X.size]
    np.testing.assert_allclose(got, same(X, k, "convolution", 0, ours))


def test_what_refuses_to_wrap() -> None:
    with pytest.raises(cv2.error, match="WRAP"):
        opencv(X, KERNELS[2], cv2.BORDER_WRAP)
    with pytest.raises(RuntimeError, match="wrap"):
        torch.nn.functional.pad(torch.tensor(X)[None], (10, 10), mode="circular")


def test_astropy_without_a_boundary_leaves_zeros() -> None:
    got = astropy_convolve(X, KERNELS[2], boundary=None, normalize_kernel=False)
    assert (got[0], got[-1]) == (0, 0)
    np.testing.assert_allclose(got[1:-1], np.convolve(X, KERNELS[2], "valid"))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("k", KERNELS, ids=lambda k: f"K{k.size}")
def test_strided_same(k: np.ndarray, stride: int) -> None:
    for size in (6, 7, 8, 9):
        count = -(-size // stride)
        total = max((count - 1) * stride + k.size - size, 0)
        got = onnx_correlate(X[:size], k, auto_pad="SAME_UPPER", strides=[stride])
        np.testing.assert_allclose(got, strided(X[:size], k, stride, total // 2, count))
        got = onnx_correlate(X[:size], k, auto_pad="SAME_LOWER", strides=[stride])
        np.testing.assert_allclose(got, strided(X[:size], k, stride, total - total // 2, count))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("dilation", [2, 3])
@pytest.mark.parametrize("k", KERNELS[:4], ids=lambda k: f"K{k.size}")
def test_torch_dilated_same(k: np.ndarray, dilation: int) -> None:
    spread = np.zeros(dilation * (k.size - 1) + 1)
    spread[::dilation] = k
    got = torch_correlate(X, k, padding="same", dilation=dilation)
    np.testing.assert_allclose(got, same(X, spread, "correlation", (spread.size - 1) // 2))


def test_torch_refuses_strided_same() -> None:
    with pytest.raises(RuntimeError, match="strided"):
        torch_correlate(X, KERNELS[2], padding="same", stride=2)


def test_weight_layouts() -> None:
    x = torch.ones(1, 6, 7)
    assert torch.nn.functional.conv1d(x, torch.ones(4, 3, 2), groups=2).shape == (1, 4, 6)
    assert torch.nn.functional.conv_transpose1d(x, torch.ones(6, 2, 3), groups=2).shape == (1, 4, 9)


def test_torch_transposed_stamps_the_kernel_unflipped() -> None:
    impulse, k = torch.tensor([[[0.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 2.0, 3.0]]])
    got = torch.nn.functional.conv_transpose1d(impulse, k, stride=2)
    assert got.flatten().tolist() == [0, 0, 1, 2, 3, 0, 0]


def test_integers() -> None:
    bytes_, ones = np.full(3, 200, np.uint8), np.ones(2, np.uint8)
    assert np.convolve(bytes_, ones).tolist() == [200, 144, 144, 200]  # wraps
    assert signal.convolve(bytes_, ones).tolist() == [200, 144, 144, 200]
    assert signal.fftconvolve(bytes_, ones).dtype == np.float64
    assert ndimage.convolve(bytes_, ones).tolist() == [144, 144, 144]
    assert ndimage.convolve(np.array([1, 3, 5, -7]), [0.5]).tolist() == [0, 1, 2, -3]  # cut towards zero
    assert cv2.filter2D(bytes_[None], -1, np.ones((1, 2)))[0].tolist() == [255, 255, 255]  # saturates
    halves = np.array([[1, 3, 5, 7]], np.uint8)
    assert cv2.filter2D(halves, -1, np.array([[0.5]]))[0].tolist() == [0, 2, 2, 4]  # half to even
    assert torch_correlate(bytes_, ones).tolist() == [144, 144]
    assert signal.upfirdn(ones, bytes_).dtype == np.float32


def test_what_is_refused() -> None:
    row = np.ones((1, 5))
    for kind in (np.float16, np.bool_, object):
        with pytest.raises(ValueError, match="not available for this type"):
            signal.convolve2d(row.astype(kind), row.astype(kind))
    for kind in (np.float16, object):
        with pytest.raises(RuntimeError, match="supported"):
            ndimage.convolve(row.astype(kind), row)
    for kind in (np.int8, np.int64, np.float16):
        with pytest.raises(cv2.error):
            cv2.filter2D(row.astype(kind), -1, row)


def test_nan() -> None:
    x = np.ones((40, 40))
    x[20, 20] = np.nan
    small, large = np.ones((3, 5)), np.ones((13, 13))
    assert np.isnan(ndimage.convolve(x, small)).sum() == 15
    assert np.isnan(signal.convolve2d(x, small, "same")).sum() == 15
    assert np.isnan(cv2.filter2D(x, -1, small)).sum() == 15
    assert np.isnan(cv2.filter2D(x, -1, large)).sum() == x.size  # by way of a Fourier transform
    assert np.isnan(signal.fftconvolve(x, small, "same")).sum() == x.size
    assert np.isnan(ndimage.uniform_filter1d(x[20], 3)).sum() > 3  # a running sum never forgets it
    assert not np.isnan(astropy_convolve(x, small)).any()  # interpolated


def test_matlab_documented_example() -> None:
    # MathWorks, documentation of conv: conv(u, v, 'same') for these u and v.
    u, v = [-1.0, 2.0, 3.0, -2.0, 0.0, 1.0, 2.0], [2.0, 4.0, -1.0, 1.0]
    assert same(u, v, "convolution", len(v) // 2) == [15, 5, -9, 7, 6, 7, -1]
