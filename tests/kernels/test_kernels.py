"""The named kernels: their sums, their symmetry, their peers, and what they refuse."""

from __future__ import annotations

import doctest
import importlib
import re
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from scipy import ndimage

from convkit import kernels
from convkit.catalogue import texts
from convkit.errors import ConvError

SUMS: list[tuple[Callable[[], np.ndarray], float]] = [
    (lambda: kernels.identity((2, 5)), 1),
    (lambda: kernels.box((3, 4, 2)), 1),
    (lambda: kernels.box((3, 4), normalize="none"), 12),
    (lambda: kernels.binomial((4, 7)), 1),
    (lambda: kernels.binomial((4, 7), normalize="none"), 2**9),
    (lambda: kernels.gaussian(0.8), 1),
    (lambda: kernels.gaussian((0.5, 2.0, 1.0), radius=(1, 4, 2)), 1),
    (lambda: kernels.gaussian(1.3, order=(1, 0)), 0),
    (lambda: kernels.disk(3.7), 1),
    (lambda: kernels.disk(2, rank=3), 1),
    (lambda: kernels.motion_blur(9, 30), 1),
    (lambda: kernels.motion_blur(6, -72.5), 1),
    (lambda: kernels.sobel(), 0),
    (lambda: kernels.sobel(axis=0, size=7, rank=3), 0),
    (lambda: kernels.prewitt(), 0),
    (lambda: kernels.scharr(axis=1, rank=3), 0),
    (lambda: kernels.laplacian(8), 0),
    (lambda: kernels.laplacian(rank=3), 0),
    (lambda: kernels.laplacian_of_gaussian((1.0, 2.0)), 0),
    (lambda: kernels.sharpen(0.7, neighbours=8), 1),
    (lambda: kernels.unsharp(1.5, amount=0.6), 1),
    (lambda: kernels.emboss(), 1),
    (lambda: kernels.outline(rank=3), 0),
]


@pytest.mark.parametrize("case", range(len(SUMS)))
def test_sums_are_as_stated(case: int) -> None:
    make, total = SUMS[case]
    assert make().sum() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.5])
def test_gaussian_is_the_impulse_response_of_scipys(order: int, sigma: float) -> None:
    mine = kernels.gaussian(sigma, order=order, rank=1)
    impulse = np.zeros(mine.size + 4)
    impulse[impulse.size // 2] = 1
    theirs = ndimage.gaussian_filter1d(impulse, sigma, order=order, mode="constant")
    # An impulse is answered by the kernel reversed by correlation; odd orders tell the two apart.
    np.testing.assert_allclose(ndimage.correlate1d(impulse, mine, mode="constant"), theirs, atol=1e-15)
    flipped = kernels.gaussian(sigma, order=order, rank=1, operation="convolution")
    np.testing.assert_allclose(ndimage.convolve1d(impulse, flipped, mode="constant"), theirs, atol=1e-15)


def test_gaussian_of_several_axes_is_their_outer_product() -> None:
    mine = kernels.gaussian((0.7, 1.9), radius=(2, 3), order=(0, 1))
    rows = kernels.gaussian(0.7, radius=2, rank=1)
    columns = kernels.gaussian(1.9, radius=3, order=1, rank=1)
    np.testing.assert_array_equal(mine, np.outer(rows, columns))
    assert mine.shape == (5, 7)


@pytest.mark.parametrize("name", ["sobel", "prewitt"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_slopes_are_scipys(name: str, axis: int) -> None:
    x = np.random.default_rng(0).integers(0, 99, (4, 6, 5))
    kernel = getattr(kernels, name)(axis, rank=3, dtype=np.int64)
    np.testing.assert_array_equal(ndimage.correlate(x, kernel), getattr(ndimage, name)(x, axis))
    turned = getattr(kernels, name)(axis, rank=3, dtype=np.int64, operation="convolution")
    np.testing.assert_array_equal(ndimage.convolve(x, turned), getattr(ndimage, name)(x, axis))


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("axis", [0, 1])
def test_sobel_sizes_are_opencvs(size: int, axis: int) -> None:
    across, down = cv2.getDerivKernels(axis, 1 - axis, size)
    np.testing.assert_array_equal(kernels.sobel(axis, size=size), down * across.T)


def test_scharr_is_opencvs() -> None:
    across, down = cv2.getDerivKernels(1, 0, cv2.FILTER_SCHARR)
    np.testing.assert_array_equal(kernels.scharr(1), down * across.T)


@pytest.mark.parametrize("name", ["sobel", "prewitt", "scharr"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ramp_of_slope_one_gives_one(name: str, axis: int) -> None:
    ramp = np.indices((3, 3, 3))[axis]
    kernel = getattr(kernels, name)(axis, rank=3, normalize="sum")
    assert (ramp * kernel).sum() == pytest.approx(1)
    other = np.indices((3, 3, 3))[(axis + 1) % 3]
    assert (other * kernel).sum() == pytest.approx(0)


def test_laplacian_is_scipys() -> None:
    x = np.random.default_rng(1).integers(0, 99, (4, 6, 5))
    np.testing.assert_array_equal(ndimage.correlate(x, kernels.laplacian(rank=3, dtype=np.int64)), ndimage.laplace(x))


def test_laplacian_of_gaussian_is_scipys_but_for_its_mean() -> None:
    mine = kernels.laplacian_of_gaussian((1.0, 1.7))
    impulse = np.zeros(tuple(size + 4 for size in mine.shape))
    impulse[tuple(size // 2 for size in impulse.shape)] = 1
    theirs = ndimage.gaussian_laplace(impulse, (1.0, 1.7), mode="constant")[2:-2, 2:-2]
    np.testing.assert_allclose(mine, theirs - theirs.mean(), atol=1e-15)


def test_sharpening_leaves_a_ramp_as_it_is() -> None:
    ramp = np.add.outer(3.0 * np.arange(9), np.arange(9))
    for kernel in (kernels.sharpen(2.5), kernels.sharpen(neighbours=8), kernels.unsharp(0.6, radius=2)):
        reach = kernel.shape[0] // 2
        inside = (slice(reach, -reach),) * 2
        np.testing.assert_allclose(ndimage.correlate(ramp, kernel)[inside], ramp[inside], atol=1e-12)


@pytest.mark.parametrize("angle", [0, 17, 45, 90, 120, 180, 270, -30])
@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_motion_blur_is_point_symmetric_and_runs_along_its_line(length: int, angle: float) -> None:
    kernel = kernels.motion_blur(length, angle)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    rows, columns = (np.indices(kernel.shape).T - [size // 2 for size in kernel.shape]).T
    moment = (kernel * np.array([rows**2, columns**2, -rows * columns])).sum((1, 2))
    along = np.radians(angle)
    spread = (length**2 - 1) / 12  # the variance of `length` points one sample apart
    # Sharing a point among its neighbours widens the trace by at most a quarter in each direction.
    assert abs(moment[0] - spread * np.sin(along) ** 2) <= 0.25 + 1e-9
    assert abs(moment[1] - spread * np.cos(along) ** 2) <= 0.25 + 1e-9
    assert abs(moment[2] - spread * np.sin(along) * np.cos(along)) <= 1e-9


def test_motion_blur_turns_anticlockwise() -> None:
    kernel = kernels.motion_blur(5, 45)
    assert kernel[0, -1] > 0
    assert kernel[0, 0] == 0


def test_disk_holds_the_samples_within_its_radius() -> None:
    kernel = kernels.disk(2.3, normalize="none")
    rows, columns = np.indices(kernel.shape) - 2
    np.testing.assert_array_equal(kernel, np.hypot(rows, columns) <= 2.3)


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64", "int8", "uint16"])
def test_types(dtype: str) -> None:
    kernel = kernels.binomial(4, normalize="none", dtype=dtype)
    assert kernel.dtype == dtype
    assert kernel[1, 2] == 9


def test_every_call_gives_a_fresh_array() -> None:
    for _ in range(2):
        kernel = kernels.emboss()
        assert kernel[0, 0] == -2
        kernel[...] = 0


REFUSED: dict[str, Callable[[], object]] = {
    "option.too-small": lambda: kernels.box(0),
    "option.too-small rank": lambda: kernels.box(3, rank=0),
    "option.not-a-whole-number": lambda: kernels.binomial(2.5),  # type: ignore[arg-type]
    "option.unknown-value": lambda: kernels.box(3, normalize="mean"),  # type: ignore[arg-type]
    "option.unknown-value operation": lambda: kernels.sobel(operation="conv"),  # type: ignore[arg-type]
    "option.unknown-value order": lambda: kernels.gaussian(1.0, order=3),
    "option.wrong-length": lambda: kernels.gaussian((1.0, 2.0), radius=(1, 2, 3)),
    "option.kernel-not-positive": lambda: kernels.gaussian(0),
    "option.kernel-not-positive nan": lambda: kernels.gaussian(float("nan")),
    "option.kernel-not-positive text": lambda: kernels.disk("3"),  # type: ignore[arg-type]
    "option.kernel-not-positive amount": lambda: kernels.sharpen(-1),
    "option.kernel-not-odd": lambda: kernels.sobel(size=4),
    "option.kernel-axis": lambda: kernels.sobel(axis=2),
    "option.kernel-neighbours": lambda: kernels.laplacian(6),
    "dtype.kernel-type": lambda: kernels.box(3, dtype=object),
    "dtype.kernel-not-whole": lambda: kernels.box(3, dtype=np.int32),
    "dtype.kernel-not-whole sign": lambda: kernels.sobel(dtype=np.uint8),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why(case: str) -> None:
    with pytest.raises(ConvError) as caught:
        REFUSED[case]()
    assert caught.value.code == case.split()[0]
    if "kernel" in caught.value.code:
        for language in ("en", "zh"):
            lines = caught.value.text(language).splitlines()
            assert len(lines) == 3
            assert "{" not in "".join(lines)


def test_every_sentence_stands_in_both_languages_with_the_same_placeholders() -> None:
    english, chinese = (
        {
            key: set(re.findall(r"{(\w+)}", text))
            for key, text in texts(name).items()
            if re.match(r"error\.(option|dtype)\.kernel-", key)
        }
        for name in ("en", "zh")
    )
    assert english == chinese
    raised = {case.split()[0] for case in REFUSED}
    assert {key.removeprefix("error.").rsplit(".", 1)[0] for key in english} <= raised


@pytest.mark.parametrize("name", ["smoothing", "derivative", "effect"])
def test_examples(name: str) -> None:
    module = importlib.import_module(f"convkit.kernels.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
