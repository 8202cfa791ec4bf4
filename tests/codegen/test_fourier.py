"""Compiled transforms: their values on vectors of every width, their factors, their instructions, their bounds."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from convkit.codegen import Target, fourier_check, library, pool
from convkit.codegen.compile import build
from convkit.codegen.fourier import Fourier, good_lengths, radices
from convkit.codegen.fourier_check import Check
from convkit.codegen.fourier_lanes import Lanes
from convkit.codegen.fourier_passes import Pass
from convkit.codegen.fourier_roots import roots
from convkit.codegen.program import join
from convkit.codegen.step import KERNEL, OUT, X
from convkit.codegen.target import host
from tests.codegen.fourier_run import convolved
from tests.codegen.isa import TARGETS, written

MULTIPLY_ADD = {
    "avx512": r"vfn?m(?:add|sub)\w+p[sd]\t.*%zmm",
    "avx2": r"vfn?m(?:add|sub)\w+p[sd]\t.*%ymm",
    "neon": r"fml[as]\t.*v\d+\.(4s|2d)",
}


@pytest.fixture(params=[64, 32, 16])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """This machine, as if its vectors were narrower and its registers fewer."""
    whole = host()
    assert whole is not None
    if request.param > whole.vector_bytes:
        pytest.skip("vectors of this machine are narrower")
    narrow = Target(
        whole.triple, whole.cpu, whole.features, request.param, whole.registers if request.param > 32 else 16
    )
    monkeypatch.setattr(library, "this_machine", lambda: narrow)
    monkeypatch.setattr(library, "_addresses", {})
    return request.param


def kernels(dtype: str, longest: int) -> list[Pass | Lanes | Check]:
    """All that a transform may use."""
    passes = product((2, 3, 4, 8)[: 4 if longest == 8 else 3], ("forward", "inverse"), ("one", "table"))
    lanes = product(("convolve", "spectrum"), ("none", "table"))
    return [*(Pass(dtype, *each) for each in passes), *(Lanes(dtype, *each) for each in lanes), Check(dtype)]


def lengths_for(unit: int) -> list[tuple[int, ...]]:
    """Every radix as first stage and as a later one, rows of one block and of several, up to three axes."""
    last = [unit * n for n in (1, 2, 3, 4, 6, 8, 12, 16, 32, 48, 64, 128, 512)]
    images = [(2, unit), (3, unit), (24, unit), (64, 2 * unit), (12, 16 * unit), (96, 3 * unit)]
    return [*((n,) for n in last), *images, (6, 8, unit), (2, 12, 4 * unit)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_real_blocks_are_convolved_as_one(dtype: str, width: int) -> None:
    source = np.random.default_rng(width)
    for lengths in lengths_for(4 * width // np.dtype(dtype).itemsize):
        f = Fourier.of(lengths, dtype)
        a, b, kernel = (source.standard_normal(lengths).astype(dtype) for _ in range(3))
        spectrum = np.fft.fftn(kernel.astype(np.float64))
        for ours, block in zip(convolved(f, a, b, kernel), (a, b), strict=True):
            expected = np.fft.ifftn(np.fft.fftn(block.astype(np.float64)) * spectrum).real
            assert_close(ours, expected, np.hypot(np.linalg.norm(a), np.linalg.norm(b)) * np.linalg.norm(kernel), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_complex_block_with_a_complex_kernel(dtype: str, width: int) -> None:
    source = np.random.default_rng(width + 1)
    for lengths in lengths_for(4 * width // np.dtype(dtype).itemsize)[::3]:
        f = Fourier.of(lengths, dtype)
        a, b, p, q = (source.standard_normal(lengths).astype(dtype) for _ in range(4))
        re, im = convolved(f, a, b, p + 1j * q)
        expected = np.fft.ifftn(np.fft.fftn(a + 1j * b) * np.fft.fftn(p + 1j * q))
        assert_close(re + 1j * im, expected, np.linalg.norm(a + 1j * b) * np.linalg.norm(p + 1j * q), dtype)


def assert_close(ours: np.ndarray, expected: np.ndarray, norms: float, dtype: str) -> None:
    """An error of a unit roundoff of the norms: a hundredth of what the bound of a plan allows."""
    error = np.abs(ours - expected).max() / norms
    assert error < np.finfo(dtype).eps, f"{ours.shape}: {error / np.finfo(dtype).eps}"
    assert error > 1e-4 * np.finfo(dtype).eps / np.sqrt(ours.size), "as exact as another precision"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_block_that_is_not_finite_is_seen(dtype: str, width: int) -> None:
    lanes = width // np.dtype(dtype).itemsize
    for shape, row in (((1, 4 * lanes), 4 * lanes), ((3, 12 * lanes), 13 * lanes)):
        for value, plane, place in product((0.0, 1e38, np.nan, np.inf, -np.inf), (0, 1), (0, 5, -1)):
            planes = np.full((2, shape[0], row), np.nan, dtype)  # what lies between rows is not looked at
            planes[..., : shape[1]] = -3.0
            planes[plane, place % shape[0], :][: shape[1]][place] = value
            found = np.zeros(1, np.int64)
            steps = fourier_check.ARGUMENTS.steps(
                library.address_of(fourier_check.Check(dtype)), 1, real=(OUT, 0), imaginary=(X, 0), found=(KERNEL, 0),
                rows=shape[0], row=planes.strides[1], blocks=shape[1] // (4 * lanes),
            )  # fmt: skip
            pool.run(join([[steps]], np.zeros(1, np.int64), 64), [part.ctypes.data for part in (*planes, found)])
            assert bool(found[0]) == (not np.isfinite(value))


def test_an_impulse_is_shifted_along_each_axis() -> None:
    f = Fourier.of((12, 4 * library.this_machine().vector_bytes // 4), "float32")
    a = np.random.default_rng(0).standard_normal((2, *f.lengths)).astype(np.float32)
    for shift in ((0, 0), (1, 0), (0, 1), (5, 7), (11, f.lengths[1] - 1)):
        kernel = np.zeros(f.lengths, np.float32)
        kernel[shift] = 1
        for ours, block in zip(convolved(f, *a, kernel), a, strict=True):
            assert np.allclose(ours, np.roll(block, shift, (0, 1)), atol=2e-6)


def test_roots_are_rounded_once_and_symmetric() -> None:
    for length in (1, 2, 3, 8, 12, 24, 1024, 3 << 12):
        turns = np.arange(-length, 2 * length)
        ours = roots(turns, length)
        angle = -2 * np.pi * np.longdouble(1) * (turns % length) / length
        angle = angle - 2 * (np.longdouble("3.14159265358979323846264338327950288") - np.pi) * (turns % length) / length
        assert np.abs(ours.real - np.cos(angle)).max() <= 2**-53
        assert np.abs(ours.imag - np.sin(angle)).max() <= 2**-53
        assert np.array_equal(roots(-turns, length), ours.conj())
        if length % 8 == 0:
            assert np.array_equal(roots(turns + length // 4, length), -1j * ours)
            assert roots(np.array([length // 8]), length)[0] == np.sqrt(0.5) * (1 - 1j)


def test_lengths() -> None:
    assert good_lengths(70, 1) == (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    assert good_lengths(512, 64) == (64, 128, 192, 256, 384, 512)
    assert good_lengths(63, 64) == ()
    assert [radices(n, 8) for n in (1, 2, 6, 16, 32, 64, 128, 192)] == [
        [], [2], [2, 3], [4, 4], [8, 4], [8, 8], [8, 4, 4], [8, 8, 3],
    ]  # fmt: skip
    for n, longest in product(good_lengths(1 << 16, 1), (8, 4)):
        assert np.prod(radices(n, longest)) == n
    for lengths in ((100,), (5, 64), (64, 0)):
        with pytest.raises(ValueError, match="cannot be transformed along axis"):
            Fourier.of(lengths, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", TARGETS)
def test_values_stay_in_registers(isa: str, dtype: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    for kernel in kernels(dtype, 8 if target.registers >= 32 else 4):
        text, spills = written(kernel, isa)
        assert spills == [], kernel.name
        if not isinstance(kernel, Pass) or kernel.factors == "table":
            assert re.search(MULTIPLY_ADD[isa], text), kernel.name
        assert len(build(kernel.module(target), target)) < 1 << 13, "the loops were unrolled"


def test_eight_arms_would_spill_from_sixteen_registers() -> None:
    assert written(Pass("float32", 8, "forward", "table"), "avx2")[1]


@pytest.mark.parametrize("how", ["within", "reach-out"])
def test_nothing_outside_the_arrays_is_touched(how: str) -> None:
    """A fault would end the process, so it has one of its own."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.codegen.fourier_guarded", how],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (how == "within"), done.stderr
    assert ("untouched" in done.stdout) == (how == "within")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_on_blocks(language: str) -> None:
    page = Path(__file__).parents[2] / "docs" / language / "transforms.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (failed, tried) == (0, 13)
