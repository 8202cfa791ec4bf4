"""What layers through spectra are made of: products summed over channels, transforms modulo ``z**n - i``, both ways."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from convkit.algorithms.support.register_tiles import largest
from convkit.codegen import Target, library, pool, sequence
from convkit.codegen.compile import build
from convkit.codegen.fourier import Fourier
from convkit.codegen.fourier_lanes import Lanes
from convkit.codegen.fourier_products import Products
from convkit.codegen.program import Tables, join
from convkit.codegen.step import OUT, TABLES, X
from convkit.codegen.target import host
from convkit.codegen.unpack import ARGUMENTS, Unpack
from tests.codegen.fourier_run import transform
from tests.codegen.isa import TARGETS, written
from tests.codegen.products_run import ordered, summed

SHAPES = {32: [(2, 4), (2, 3), (2, 2), (2, 1), (1, 4), (1, 1)], 16: [(2, 2), (2, 1), (1, 2), (1, 1)]}
"""Outputs and tiles at once, by registers."""
MULTIPLY_ADD = {
    "avx512": r"vfn?m(?:add|sub)\w+p[sd]\t.*%zmm",
    "avx2": r"vfn?m(?:add|sub)\w+p[sd]\t.*%ymm",
    "neon": r"fml[as]\t.*v\d+\.(?:4s|2d)",
}


@pytest.fixture(params=[64, 32, 16])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    """This machine, as if its vectors were narrower and its registers fewer."""
    whole = host()
    assert whole is not None
    if request.param > whole.vector_bytes:
        pytest.skip("vectors of this machine are narrower")
    registers = whole.registers if request.param > 32 else 16
    narrow = Target(whole.triple, whole.cpu, whole.features, request.param, registers)
    monkeypatch.setattr(library, "this_machine", lambda: narrow)
    monkeypatch.setattr(library, "_addresses", {})
    return narrow


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_tail_of_outputs_and_tiles(dtype: str, machine: Target) -> None:
    source = np.random.default_rng(0)
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    scale = np.array([0.375], dtype)
    for (at_once, most), extra in product(SHAPES[machine.registers], range(5)):
        kernel = Products(dtype, at_once, most)
        outputs, tiles = at_once * (1 + extra % 3) + (extra % 2) * (at_once - 1), most + (extra % 3) * (most - 1)
        depth, vectors = (1, 2, 5, 16, 33)[extra], (1, 3, 2, 1, 4)[extra]
        x = source.standard_normal((vectors, depth, tiles, 2, lanes)).astype(dtype)
        w = source.standard_normal((vectors, outputs, depth, 2, lanes)).astype(dtype)
        sums = np.full((vectors, outputs, tiles, 2, lanes), np.nan, dtype)
        summed(kernel, sums, x, ordered(w, kernel), scale, outputs)
        wide_x, wide_w = (array[..., 0, :] + 1j * array[..., 1, :].astype(np.float64) for array in (x, w))
        expected = 0.375 * np.einsum("vctl,vocl->votl", wide_x, wide_w.conj())
        allowed = 4 * (depth + 2) * np.finfo(dtype).eps * np.einsum("vctl,vocl->votl", abs(wide_x), abs(wide_w))
        assert np.all(np.abs(sums[..., 0, :] + 1j * sums[..., 1, :] - expected) <= allowed), (outputs, tiles, depth)


def test_an_output_is_the_same_bits_among_any_others(machine: Target) -> None:
    """What stands beside it decides which loop it is summed by."""
    source = np.random.default_rng(1)
    lanes, most = machine.vector_bytes // 4, SHAPES[machine.registers][0][1]
    x = source.standard_normal((2, 19, 9, 2, lanes)).astype(np.float32)
    w = source.standard_normal((2, 5, 19, 2, lanes)).astype(np.float32)
    scale, bits = np.array([1 / 3], np.float32), []
    for outputs, tiles in product((1, 2, 3, 5), (1, 2, 3, 5, 9)):
        kernel = Products("float32", largest(outputs, 2), largest(tiles, most))
        sums = np.empty((2, outputs, tiles, 2, lanes), np.float32)
        summed(kernel, sums, x[:, :, :tiles].copy(), ordered(w[:, :outputs], kernel), scale, outputs)
        bits.append(sums[:, 0, 0].tobytes())
    assert len(set(bits)) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_real_tile_is_half_a_complex_block(dtype: str, machine: Target) -> None:
    """Its product with a kernel's spectrum, conjugated, is a correlation that changes sign where it wraps around."""
    source = np.random.default_rng(2)
    unit = 4 * machine.vector_bytes // np.dtype(dtype).itemsize
    for lengths in ((unit,), (6 * unit,), (32 * unit,), (1, unit), (3, unit), (12, 2 * unit), (2, 6, unit), (64, unit)):
        f = Fourier.of(lengths, dtype, "i")
        tile = source.standard_normal((2 * lengths[0], *lengths[1:])).astype(dtype)
        kernel = source.standard_normal((2 * lengths[0], *lengths[1:])).astype(dtype)
        apart = 2 * machine.vector_bytes + 64  # vectors of a spectrum need not be neighbours
        spectra = [spectrum(f, array, apart) for array in (tile, kernel)]
        vectors = [s.view(dtype).reshape(-1, apart // np.dtype(dtype).itemsize) for s in spectra]
        lanes = f.lanes
        both = [v[:, :lanes] + 1j * v[:, lanes : 2 * lanes].astype(np.float64) for v in vectors]
        product_of = both[0] * both[1].conj() / np.prod(lengths)
        vectors[0][:, :lanes], vectors[0][:, lanes : 2 * lanes] = product_of.real, product_of.imag
        planes = np.full((2, *lengths[:-1], f.pitch), np.nan, dtype)
        run(f, planes, spectra[0], "inverse", apart)
        ours = np.concatenate(list(planes[..., : lengths[-1]]), axis=0)
        expected = correlation(tile.astype(np.float64), kernel.astype(np.float64))
        error = np.abs(ours - expected).max() / (np.linalg.norm(tile) * np.linalg.norm(kernel))
        assert error < np.finfo(dtype).eps, lengths


def spectrum(f: Fourier, tile: np.ndarray, apart: int) -> np.ndarray:
    """The spectrum of a tile, its complex vectors ``apart`` bytes from each other."""
    planes = np.full((2, *f.lengths[:-1], f.pitch), np.nan, f.dtype)
    for plane, half in zip(planes, np.split(tile, 2), strict=True):
        plane[..., : f.lengths[-1]] = half
    memory = np.zeros(f.spectrum_size * f.item_bytes // (2 * f.lanes * f.item_bytes) * apart, np.uint8)
    run(f, planes, memory, "spectrum", apart)
    return memory


def run(f: Fourier, planes: np.ndarray, memory: np.ndarray, task: str, apart: int) -> None:
    transform(f, planes[0], planes[1], memory, f.table, task, apart)


def correlation(tile: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """``sum_j tile[i + j] kernel[j]`` around all axes; with a minus past the end of the first."""
    twice = np.concatenate([tile, -tile])
    padded = np.concatenate([kernel, np.zeros_like(kernel)])
    axes = tuple(range(tile.ndim))
    around = np.fft.ifftn(np.fft.fftn(twice, axes=axes) * np.fft.fftn(padded, axes=axes).conj(), axes=axes).real
    return around[: len(tile)]


def test_steps_in_common_are_run_again_further_on() -> None:
    x, out = np.arange(40, dtype=np.float32), np.zeros(40, np.float32)
    copied = ARGUMENTS.steps(
        library.address_of(Unpack("float32", "float32")), 1, out=(OUT, 0), sums=(X, 0), imaginary=(sequence.GIVEN, 0),
        planes=1, out_plane=0, sums_plane=0, rows=1, out_row=0, sums_row=0, columns=3, out_step=4,
    )  # fmt: skip
    tables = Tables()
    each = sequence.ARGUMENTS.steps(
        library.address_of(sequence.Sequence()), 1, steps=(TABLES, tables.add(copied.ravel())), given=(OUT, 0),
        out=(OUT, 4), x=(X, 8), length=1, times=4, given_step=0, out_step=20, x_step=32,
    )  # fmt: skip
    pool.run(join([[each]], tables.array(), 64), [out.ctypes.data, x.ctypes.data, 0])
    expected = np.zeros(40, np.float32)
    for n in range(4):
        expected[1 + 5 * n : 4 + 5 * n] = x[2 + 8 * n : 5 + 8 * n]
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", TARGETS)
def test_sums_stay_in_registers(isa: str, dtype: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    for outputs, tiles in SHAPES[min(32, target.registers)]:
        kernel = Products(dtype, outputs, tiles)
        text, spills = written(kernel, isa)
        assert spills == [], kernel.name
        wide = {"avx512": r"vf\w+p[sd]\t.*%zmm", "avx2": r"vf\w+p[sd]\t.*%ymm", "neon": r"fml[as]\t.*v\d+\.(?:4s|2d)"}[
            isa
        ]
        assert len(re.findall(wide, text)) >= 4 * outputs * tiles, kernel.name
        fetch = "prfm\tpldl1strm" if isa == "neon" else "prefetchnta"
        assert fetch in text, "weights are not asked for ahead"
        assert len(build(kernel.module(target), target)) < 1 << 13, "the loops were unrolled"
    for task, twist in product(("spectrum", "inverse"), ("none", "table")):
        assert written(Lanes(dtype, task, twist), isa)[1] == []


def test_more_sums_than_registers_are_refused() -> None:
    target = TARGETS["avx2"]
    assert target is not None
    with pytest.raises(ValueError, match="vector registers"):
        Products("float32", 2, 4).module(target)


@pytest.mark.parametrize("how", ["within", "reach-out"])
def test_nothing_outside_the_arrays_is_touched(how: str) -> None:
    """A fault would end the process, so it has one of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.codegen.products_guarded", how],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (how == "within"), done.stderr
    assert ("untouched" in done.stdout) == (how == "within")
