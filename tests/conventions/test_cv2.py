"""convkit.compat.cv2 against OpenCV itself: every border, depth and anchor, asymmetric kernels, even sizes,
tiny images.

Integer results must be equal. Where OpenCV sums in float32 its own rounding decides values that lie within
its error of a half; there, and only there, a difference of one is allowed.
"""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.catalogue import texts
from convkit.compat import cv2 as ours

BORDERS = [cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT, cv2.BORDER_REFLECT_101]
ALL_BORDERS = BORDERS + [border | cv2.BORDER_ISOLATED for border in BORDERS]
TYPES = ["uint8", "uint16", "int16", "float32", "float64"]
FILTERED = {
    "uint8": [-1, cv2.CV_8U, cv2.CV_16U, cv2.CV_16S, cv2.CV_32F, cv2.CV_64F],
    "uint16": [-1, cv2.CV_16U, cv2.CV_32F, cv2.CV_64F],
    "int16": [-1, cv2.CV_16S, cv2.CV_32F, cv2.CV_64F],
    "float32": [-1, cv2.CV_32F],
    "float64": [-1, cv2.CV_64F],
}
SEPARATED = {
    **{name: [-1, cv2.CV_8U, cv2.CV_16U, cv2.CV_16S, cv2.CV_32F, cv2.CV_64F] for name in TYPES[:4]},
    "float64": [-1, cv2.CV_8U, cv2.CV_16U, cv2.CV_16S, cv2.CV_64F],
}
EPS = float(np.finfo(np.float32).eps)
CHECKS = settings(max_examples=120, deadline=None)


def picture(seed: int, rows: int, columns: int, channels: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (rows, columns) if channels == 0 else (rows, columns, channels)
    if dtype.startswith("float"):
        return rng.normal(0, 40, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


@st.composite
def pictures(draw: st.DrawFn, types: list[str] = TYPES) -> np.ndarray:
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    return picture(
        draw(st.integers(0, 999)),
        rows,
        columns,
        draw(st.sampled_from([0, 1, 2, 3, 5])),
        draw(st.sampled_from(types)),
    )


@st.composite
def vectors(draw: st.DrawFn, longest: int = 6) -> np.ndarray:
    size = draw(st.integers(1, longest))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    if draw(st.booleans()):
        return rng.integers(-3, 5, size).astype(draw(st.sampled_from(["int8", "int32", "int64", "float32", "float64"])))
    return rng.normal(0.2, 0.4, size).astype(draw(st.sampled_from(["float32", "float64"])))


def assert_same(mine: np.ndarray, theirs: np.ndarray, exact: np.ndarray, error: float) -> None:
    """Equal; but values whose exact, unrounded result is within ``error`` of a half may differ by one."""
    assert mine.dtype == theirs.dtype
    assert mine.shape == theirs.shape
    if mine.dtype.kind == "f":
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=error)
        return
    difference = np.abs(mine.astype(np.int64) - theirs.astype(np.int64))
    undecided = np.abs(exact - np.floor(exact) - 0.5) <= error
    assert difference[~undecided].max(initial=0) == 0
    assert difference.max(initial=0) <= 1


def summing_error(image: np.ndarray, kernel: np.ndarray, delta: float, depth: str) -> float:
    """A bound on the error of a sum in OpenCV's working type; 0 where partial sums are small and whole."""
    size = float(np.abs(image.astype(float)).max() * np.abs(kernel.astype(float)).sum() + abs(delta))
    whole = image.dtype.kind in "iu" and np.array_equal(kernel, np.rint(kernel)) and delta == round(delta)
    if whole and size < 2**24:
        return 0.0
    eps = np.finfo(float).eps if "float64" in (image.dtype.name, depth) else EPS
    return 4 * (kernel.size + 2) * eps * size


@CHECKS
@given(pictures(), st.data())
def test_filter2d(image: np.ndarray, data: st.DataObject) -> None:
    rows, columns = data.draw(vectors(5)), data.draw(vectors(6))
    # The outer product of two vectors plus one odd element: asymmetric, and of full rank.
    kernel = (rows[:, None] * columns).astype(columns.dtype)
    kernel[-1, 0] += 1
    ddepth = data.draw(st.sampled_from(FILTERED[image.dtype.name]))
    border = data.draw(st.sampled_from(ALL_BORDERS))
    delta = data.draw(st.sampled_from([0, 0, 7, -3.5, 0.25]))
    anchor = data.draw(st.tuples(st.integers(-1, kernel.shape[1] - 1), st.integers(-1, kernel.shape[0] - 1)))
    theirs = cv2.filter2D(image, ddepth, kernel, None, anchor, delta, border)
    mine = ours.filter2D(image, ddepth, kernel, None, anchor, delta, border)
    rounded = kernel.astype(np.float64 if theirs.dtype == np.float64 else np.float32).astype(float)
    exact = cv2.filter2D(image.astype(float), -1, rounded, None, anchor, delta, border)
    assert_same(mine, theirs, exact, summing_error(image, rounded, delta, theirs.dtype.name))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("border", BORDERS)
def test_filter2d_with_a_large_kernel(dtype: str, border: int) -> None:
    image = picture(3, 25, 31, 3, dtype)
    kernel = np.random.default_rng(4).normal(0.004, 0.01, (12, 13))
    theirs = cv2.filter2D(image, -1, kernel, borderType=border)
    mine = ours.filter2D(image, -1, kernel, borderType=border)
    exact = cv2.filter2D(image.astype(float), -1, kernel.astype(np.float32).astype(float), borderType=border)
    # From 11x11 on OpenCV multiplies Fourier transforms, in float32 for bytes and float32 images.
    assert_same(mine, theirs, exact, 20 * summing_error(image, kernel, 0, dtype))


@CHECKS
@given(pictures(), st.data())
def test_sepfilter2d(image: np.ndarray, data: st.DataObject) -> None:
    across = data.draw(vectors())
    down = data.draw(vectors()).astype(across.dtype)
    ddepth = data.draw(st.sampled_from(SEPARATED[image.dtype.name]))
    border = data.draw(st.sampled_from(ALL_BORDERS))
    delta = data.draw(st.sampled_from([0, 0, 7, -3.5]))
    anchor = data.draw(st.tuples(st.integers(-2, across.size - 1), st.integers(-2, down.size - 1)))
    theirs = cv2.sepFilter2D(image, ddepth, across, down, None, anchor, delta, border)
    mine = ours.sepFilter2D(image, ddepth, across, down, None, anchor, delta, border)
    working = np.float64 if np.float64 in (theirs.dtype, image.dtype) else np.float32
    rounded = [vector.astype(working).astype(float) for vector in (across, down)]
    exact = cv2.sepFilter2D(image.astype(float), -1, *rounded, None, anchor, delta, border)
    kernel = np.abs(rounded[1][:, None] * rounded[0])
    assert_same(mine, theirs, exact, summing_error(image, kernel, delta, theirs.dtype.name))


@pytest.mark.parametrize("delta", [0, 0.5, 2.5, -1.5])
@pytest.mark.parametrize("across", [[-1, 0, 1], [1, 2, 1]])
def test_sepfilter2d_of_bytes_into_16_bits(across: list[int], delta: float) -> None:
    image = picture(1, 6, 50, 0, "uint8")
    kernels = np.array(across, np.float32), np.array([1, -3, 1], np.float32)
    theirs = cv2.sepFilter2D(image, cv2.CV_16S, *kernels, delta=delta)
    mine = ours.sepFilter2D(image, ours.CV_16S, *kernels, delta=delta)
    exact = cv2.sepFilter2D(image.astype(float), -1, *kernels, delta=delta)
    # OpenCV adds delta and rounds in its vector loop, and rounds delta first in the columns left over.
    assert_same(mine, theirs, exact, 1e-12)


def test_sepfilter2d_smoothing_bytes() -> None:
    image = picture(8, 37, 91, 3, "uint8")
    kernel = np.array([0.25, 0.5, 0.25])
    exact = cv2.sepFilter2D(image.astype(float), -1, kernel, kernel)
    # OpenCV rounds exact halves to even in its vector loop and up in the columns left over.
    assert_same(ours.sepFilter2D(image, -1, kernel, kernel), cv2.sepFilter2D(image, -1, kernel, kernel), exact, 1e-12)


@CHECKS
@given(pictures(["uint8", "uint16", "int16", "int32", "float32", "float64"]), st.data())
def test_boxfilter(image: np.ndarray, data: st.DataObject) -> None:
    if image.dtype == np.int32:
        image = image // 4096  # OpenCV's own sum of int32 wraps round
    size = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 5)))
    border = data.draw(st.sampled_from(ALL_BORDERS))
    normalize = data.draw(st.booleans())
    depths = [-1, 0, 2, 3, 5, 6] + ([4] if image.dtype.kind in "iu" else [])
    ddepth = data.draw(st.sampled_from(depths))
    if image.dtype.kind == "i" and ddepth in (cv2.CV_8U, cv2.CV_16U):
        image = np.abs(image // 2)  # OpenCV's vector loop turns negative sums of integers into 255 instead of 0
    anchor = data.draw(st.tuples(st.integers(-2, size[0] - 1), st.integers(-2, size[1] - 1)))
    line = (image.shape[1] == 1 and anchor[0] > 0) or (image.shape[0] == 1 and anchor[1] > 0)
    if normalize and border & cv2.BORDER_ISOLATED and line:
        anchor = (-1, -1)  # the window shrinks to the line, and the anchor must lie within it
    theirs = cv2.boxFilter(image, ddepth, size, None, anchor, normalize, border)
    mine = ours.boxFilter(image, ddepth, size, None, anchor, normalize, border)
    exact = cv2.boxFilter(image.astype(float), -1, size, None, anchor, normalize, border)
    peak = float(np.abs(image.astype(float)).max()) * (1 if normalize else size[0] * size[1])
    if mine.dtype.kind == "f":
        error = 1e-12 * peak if mine.dtype == np.float64 else 2 * EPS * peak
    else:
        # A mean of bytes is fixed point, the same everywhere; other means are multiplied by 1/area in float32
        # in OpenCV's vector loop and in float64 in the columns left over, which decides exact halves either
        # way.
        error = 0.0 if image.dtype == theirs.dtype == np.uint8 else 4 * EPS * peak * normalize + 1e-12 * peak
    assert_same(mine, theirs, exact, error)


@pytest.mark.parametrize("size", [(2, 2), (2, 3), (6, 6), (10, 3), (16, 16), (12, 20), (3, 3), (4, 1), (7, 12)])
@pytest.mark.parametrize("channels", [0, 3])
def test_blur_of_bytes_is_equal(size: tuple[int, int], channels: int) -> None:
    image = picture(5, 60, 71, channels, "uint8")
    np.testing.assert_array_equal(ours.blur(image, size), cv2.blur(image, size))


@pytest.mark.parametrize("size", [(20, 13), (18, 15), (31, 17)])
def test_blur_over_more_than_256_pixels(size: tuple[int, int]) -> None:
    image = picture(6, 40, 71, 0, "uint8")
    exact = cv2.blur(image.astype(float), size)
    assert_same(ours.blur(image, size), cv2.blur(image, size), exact, 255 * 4 * EPS)


@CHECKS
@given(pictures(["uint8", "uint16"]), st.data())
def test_gaussianblur_of_integers_is_equal(image: np.ndarray, data: st.DataObject) -> None:
    size = data.draw(st.tuples(*[st.sampled_from([0, 1, 3, 5, 7, 9, 11, 15])] * 2))
    sigmas = data.draw(st.tuples(*[st.floats(0.3, 4)] * 2))
    border = data.draw(st.sampled_from([*ALL_BORDERS, cv2.BORDER_WRAP]))
    np.testing.assert_array_equal(
        ours.GaussianBlur(image, size, sigmas[0], None, sigmas[1], border),
        cv2.GaussianBlur(image, size, sigmas[0], None, sigmas[1], border),
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("size", [(1, 3), (3, 5), (7, 9), (9, 7), (11, 13), (31, 21)])
def test_gaussianblur_without_sigma_is_equal(size: tuple[int, int], dtype: str) -> None:
    image = picture(2, 33, 47, 3, dtype)
    np.testing.assert_array_equal(ours.GaussianBlur(image, size, 0), cv2.GaussianBlur(image, size, 0))


@CHECKS
@given(pictures(["int16", "float32", "float64"]), st.data())
def test_gaussianblur_of_other_types(image: np.ndarray, data: st.DataObject) -> None:
    size = data.draw(st.tuples(*[st.sampled_from([0, 1, 3, 5, 7, 9])] * 2))
    sigma = data.draw(st.floats(0.3, 3))
    border = data.draw(st.sampled_from(ALL_BORDERS))
    theirs = cv2.GaussianBlur(image, size, sigma, borderType=border)
    exact = cv2.GaussianBlur(image.astype(float), size, sigma, borderType=border)
    peak = float(np.abs(image.astype(float)).max())
    error = peak * 64 * (np.finfo(float).eps if image.dtype == np.float64 else EPS)
    assert_same(ours.GaussianBlur(image, size, sigma, borderType=border), theirs, exact, error)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 11, 30])
@pytest.mark.parametrize("sigma", [-1, 0, 0.4, 1, 2.7])
@pytest.mark.parametrize("ktype", [cv2.CV_32F, cv2.CV_64F])
def test_gaussian_kernel(size: int, sigma: float, ktype: int) -> None:
    mine, theirs = ours.getGaussianKernel(size, sigma, ktype), cv2.getGaussianKernel(size, sigma, ktype)
    assert mine.dtype == theirs.dtype
    np.testing.assert_allclose(mine, theirs, rtol=4e-15 if ktype == cv2.CV_64F else 1e-7, atol=1e-17)


@CHECKS
@given(pictures(), st.data())
def test_sobel(image: np.ndarray, data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([-1, 1, 3, 5, 7]))
    orders = [(1, 0), (0, 1)] if size < 0 else [(1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1)]
    dx, dy = data.draw(st.sampled_from(orders))
    ddepth = data.draw(st.sampled_from(SEPARATED[image.dtype.name]))
    scale, delta = data.draw(st.sampled_from([(1, 0), (2, 5), (0.3, 0), (1, -3.5)]))
    border = data.draw(st.sampled_from(ALL_BORDERS))
    theirs = cv2.Sobel(image, ddepth, dx, dy, None, size, scale, delta, border)
    mine = ours.Sobel(image, ddepth, dx, dy, None, size, scale, delta, border)
    exact = cv2.Sobel(image.astype(float), -1, dx, dy, None, size, scale, delta, border)
    across, down = (vector.ravel() for vector in cv2.getDerivKernels(dx, dy, size))
    error = summing_error(image, np.abs(down[:, None] * across) * scale, delta, theirs.dtype.name)
    assert_same(mine, theirs, exact, error)


@pytest.mark.parametrize("size", [-1, 1, 3, 5, 7, 9, 15, 31])
@pytest.mark.parametrize("orders", [(1, 0), (0, 1), (1, 1), (2, 0), (0, 2)])
@pytest.mark.parametrize("normalize", [False, True])
def test_derivative_kernels(size: int, orders: tuple[int, int], normalize: bool) -> None:
    if size < 0 and sum(orders) != 1:
        with pytest.raises(ours.error):
            ours.getDerivKernels(*orders, size)
        return
    for mine, theirs in zip(
        ours.getDerivKernels(*orders, size, normalize=normalize),
        cv2.getDerivKernels(*orders, size, normalize=normalize),
    ):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype


@CHECKS
@given(pictures(), st.data())
def test_laplacian(image: np.ndarray, data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([1, 3, 5, 7]))
    name = image.dtype.name
    depths = FILTERED[name] if size < 5 else [-1, 0, 2, 3, 5, 6]
    ddepth = data.draw(st.sampled_from(depths))
    scale, delta = data.draw(st.sampled_from([(1, 0), (2, 5), (0.25, 0)]))
    border = data.draw(st.sampled_from(BORDERS))
    theirs = cv2.Laplacian(image, ddepth, None, size, scale, delta, border)
    mine = ours.Laplacian(image, ddepth, None, size, scale, delta, border)
    exact = cv2.Laplacian(image.astype(float), cv2.CV_64F, None, size, scale, delta, border)
    second, smooth = (vector.ravel() for vector in cv2.getDerivKernels(2, 0, size if size > 3 else 3))
    kernel = np.abs(np.outer(smooth, second)) + np.abs(np.outer(second, smooth))
    peak = float(np.abs(image.astype(float)).max()) * float(kernel.sum()) * scale + abs(delta)
    eps = np.finfo(float).eps if name == "float64" else EPS
    # A scale of 1/4 makes exact halves, which OpenCV's float32 decides as float64 does.
    error = 0.0 if mine.dtype.kind in "iu" and peak < 2**24 and scale >= 1 and name[0] != "f" else 64 * eps * peak
    assert_same(mine, theirs, exact, error)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (3,), ()])
@pytest.mark.parametrize("border", BORDERS)
def test_tiny_images(shape: tuple[int, ...], border: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    kernel = np.arange(20, dtype=np.float32).reshape(4, 5)
    np.testing.assert_array_equal(
        ours.filter2D(image, cv2.CV_16S, kernel, borderType=border),
        cv2.filter2D(image, cv2.CV_16S, kernel, borderType=border),
    )
    np.testing.assert_array_equal(
        ours.GaussianBlur(image, (5, 3), 1, borderType=border),
        cv2.GaussianBlur(image, (5, 3), 1, borderType=border),
    )
    np.testing.assert_array_equal(
        ours.blur(image, (4, 3), borderType=border), cv2.blur(image, (4, 3), borderType=border)
    )


def test_dst_is_written_where_it_matches_and_left_alone_where_not() -> None:
    image = picture(0, 4, 6, 3, "uint8")
    kernel = np.array([[1, 2, -1]], np.float32)
    same, other = np.zeros_like(image), np.full(image.shape, 9.0)
    assert ours.filter2D(image, -1, kernel, same) is same
    np.testing.assert_array_equal(same, cv2.filter2D(image, -1, kernel))
    assert ours.filter2D(image, -1, kernel, other) is not other
    assert (other == 9).all()
    inside = image.copy()
    ours.filter2D(inside, -1, kernel, dst=inside)
    np.testing.assert_array_equal(inside, same)


def test_inputs_are_not_changed_and_views_work() -> None:
    whole = picture(0, 14, 12, 3, "uint8")
    before = whole.copy()
    view = whole[::-2, 1::3]
    kernel = np.array([[1, 2], [3, -4]], np.float32)
    np.testing.assert_array_equal(ours.filter2D(view, -1, kernel), cv2.filter2D(np.ascontiguousarray(view), -1, kernel))
    np.testing.assert_array_equal(whole, before)


def test_constants_are_opencvs() -> None:
    names = [name for name in ours.__all__ if name.isupper()]
    assert len(names) > 15
    for name in names:
        assert getattr(ours, name) == getattr(cv2, name), name


IMAGE = np.zeros((5, 7), np.uint8)
BOX = np.ones((2, 3), np.float32)
LINE = np.ones(3, np.float32)
READ_ONLY = np.zeros((5, 7), np.uint8)
READ_ONLY.flags.writeable = False
REFUSED = {
    "not-an-array": lambda f: f.filter2D([[1, 2]], -1, BOX),
    "not-an-array kernel": lambda f: f.filter2D(IMAGE, -1, [[1.0]]),
    "not-an-array dst": lambda f: f.filter2D(IMAGE, -1, BOX, [1]),
    "read-only": lambda f: f.filter2D(IMAGE, -1, BOX, READ_ONLY),
    "image-type bool": lambda f: f.filter2D(IMAGE > 0, -1, BOX),
    "image-type int8": lambda f: f.blur(IMAGE.astype(np.int8), (3, 3)),
    "image-type int32": lambda f: f.filter2D(IMAGE.astype(np.int32), -1, BOX),
    "image-type float16": lambda f: f.GaussianBlur(IMAGE.astype(np.float16), (3, 3), 1),
    "image-type complex": lambda f: f.filter2D(IMAGE.astype(complex), -1, BOX),
    "image-shape": lambda f: f.filter2D(np.zeros((2, 3, 4, 5), np.uint8), -1, BOX),
    "image-shape channels": lambda f: f.filter2D(np.zeros((2, 3, 600), np.uint8), -1, BOX),
    "empty": lambda f: f.filter2D(IMAGE[:0], -1, BOX),
    "empty kernel": lambda f: f.filter2D(IMAGE, -1, BOX[:0]),
    "kernel-type": lambda f: f.filter2D(IMAGE, -1, BOX.astype(complex)),
    "kernel-shape": lambda f: f.filter2D(IMAGE, -1, np.ones((3, 3, 2), np.float32)),
    "kernel-pair": lambda f: f.sepFilter2D(IMAGE, -1, BOX, BOX),
    "kernel-pair types": lambda f: f.sepFilter2D(IMAGE, -1, LINE, LINE.astype(float)),
    "depth": lambda f: f.filter2D(IMAGE.astype(np.float32), f.CV_8U, BOX),
    "depth separable": lambda f: f.sepFilter2D(IMAGE.astype(float), f.CV_32F, LINE, LINE),
    "depth number": lambda f: f.filter2D(IMAGE, 100, BOX),
    "not-an-integer": lambda f: f.filter2D(IMAGE, 1.0, BOX),
    "not-an-integer border": lambda f: f.filter2D(IMAGE, -1, BOX, borderType="reflect"),
    "not-a-number": lambda f: f.filter2D(IMAGE, -1, BOX, delta="a"),
    "not-a-pair": lambda f: f.blur(IMAGE, 3),
    "not-a-pair short": lambda f: f.filter2D(IMAGE, -1, BOX, anchor=(1,)),
    "not-an-integer anchor": lambda f: f.filter2D(IMAGE, -1, BOX, anchor=(1.5, 0)),
    "anchor": lambda f: f.filter2D(IMAGE, -1, BOX, anchor=(3, 0)),
    "anchor negative": lambda f: f.filter2D(IMAGE, -1, BOX, anchor=(-2, 0)),
    "anchor box": lambda f: f.boxFilter(IMAGE, -1, (3, 2), anchor=(0, 2)),
    "border": lambda f: f.filter2D(IMAGE, -1, BOX, borderType=f.BORDER_WRAP),
    "border unknown": lambda f: f.filter2D(IMAGE, -1, BOX, borderType=7),
    "border transparent": lambda f: f.blur(IMAGE, (3, 3), borderType=f.BORDER_TRANSPARENT),
    "border wrap float": lambda f: f.GaussianBlur(IMAGE.astype(np.float32), (3, 3), 1, borderType=f.BORDER_WRAP),
    "ksize": lambda f: f.blur(IMAGE, (0, 3)),
    "gaussian-size": lambda f: f.GaussianBlur(IMAGE, (4, 3), 1),
    "gaussian-size unknown": lambda f: f.GaussianBlur(IMAGE, (0, 0), 0),
    "kernel-size": lambda f: f.getGaussianKernel(0, 1),
    "kernel-depth": lambda f: f.getGaussianKernel(3, 1, f.CV_8U),
    "derivative-size": lambda f: f.Sobel(IMAGE, -1, 1, 0, ksize=2),
    "derivative-size large": lambda f: f.Sobel(IMAGE, -1, 1, 0, ksize=33),
    "derivative-size laplacian": lambda f: f.Laplacian(IMAGE, -1, ksize=-1),
    "derivative-order": lambda f: f.Sobel(IMAGE, -1, 0, 0),
    "derivative-too-high": lambda f: f.Sobel(IMAGE, -1, 3, 0),
    "scharr-order": lambda f: f.Sobel(IMAGE, -1, 1, 1, ksize=f.FILTER_SCHARR),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_opencv_refuses_is_refused_with_a_reason(case: str) -> None:
    with pytest.raises(cv2.error):
        REFUSED[case](cv2)
    with pytest.raises(ours.error) as caught:
        REFUSED[case](ours)
    assert caught.value.code == f"cv2.{case.split()[0]}"
    for language in ("en", "zh"):
        lines = caught.value.text(language).splitlines()
        assert len(lines) == 3, lines
        assert "{" not in "".join(lines)


def test_every_sentence_stands_in_both_languages_with_the_same_placeholders() -> None:
    prefix = "error.cv2."
    english, chinese = (
        {key: set(re.findall(r"{(\w+)}", text)) for key, text in texts(name).items() if key.startswith(prefix)}
        for name in ("en", "zh")
    )
    assert english == chinese
    raised = {case.split()[0] for case in REFUSED}
    assert {key.removeprefix(prefix).split(".")[0] for key in english} == raised
