"""Kernels of Winograd's weight gradient: matrices turned around, values at every tail, instructions, memory touched."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from convkit.codegen import winograd_gradient, winograd_input, winograd_output
from convkit.codegen.dense import most_vectors
from convkit.codegen.target import Target
from convkit.codegen.winograd_gradient import WinogradGradient
from convkit.codegen.winograd_input import WinogradInput
from convkit.codegen.winograd_output import WinogradOutput
from convkit.codegen.winograd_points import TAPS, transforms
from tests.codegen.isa import TARGETS, written
from tests.codegen.kernel_calls import call, runnable

MACHINES = pytest.mark.parametrize("machine", runnable(), ids=lambda target: f"{target.vector_bytes}-byte-vectors")
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
OUTPUTS = pytest.mark.parametrize("outputs", [2, 4])


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def near(ours: np.ndarray, expected: np.ndarray, dtype: str) -> bool:
    """Equal but for a few roundings of numbers as large as the largest."""
    return bool(np.abs(ours - expected).max() <= 64 * np.finfo(dtype).eps * np.abs(expected).max())


@OUTPUTS
def test_the_matrices_turned_around_give_the_gradient_exactly(outputs: int) -> None:
    """In fractions there is no error; turned around twice they are what they were."""
    source = np.random.default_rng(1)
    upstream = [Fraction(int(n), 7) for n in source.integers(-9, 9, outputs)]
    samples = [Fraction(int(n), 5) for n in source.integers(-9, 9, outputs + 2)]
    found = transforms(outputs).adjoint

    def times(matrix: Any, vector: list[Fraction]) -> list[Fraction]:
        return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]

    products = [a * b for a, b in zip(times(found.kernel, upstream), times(found.inputs, samples), strict=True)]
    expected = [sum(samples[i + j] * upstream[i] for i in range(outputs)) for j in range(TAPS)]
    assert times(found.outputs, products) == expected
    assert found.adjoint == transforms(outputs)


@OUTPUTS
def test_sums_of_overlapping_tiles_are_bounded(outputs: int) -> None:
    """The largest singular value of the map from a long axis of samples, laid out whole: no larger, nor far less."""
    found = transforms(outputs).adjoint
    inputs, kernel = (np.abs(np.array(matrix, float)) for matrix in (found.inputs, found.kernel))
    tiles, largest = 24, 0.0
    for row in found.outputs:
        sizes = inputs.T @ np.diag(np.abs(np.array(row, float))) @ kernel
        whole = np.zeros((tiles * outputs + 2, tiles * outputs))
        for n in range(0, tiles * outputs, outputs):
            whole[n : n + outputs + 2, n : n + outputs] += sizes
        largest = max(largest, float(np.linalg.norm(whole, 2)))
    assert 0.99 * found.gathered < largest <= found.gathered
    assert found.spread < found.gathered < 2 * found.spread


@MACHINES
@DTYPES
@OUTPUTS
def test_tiles_of_gradients(machine: Target, dtype: str, outputs: int) -> None:
    lanes, size = machine.vector_bytes // np.dtype(dtype).itemsize, outputs + 2
    blocks, images, rows, columns = 2, 3, 2, 5
    x = numbers((blocks, images, rows * outputs + 1, columns * outputs + 3, lanes), dtype, 1)
    to = np.full((blocks, images * rows * columns + 1, size, size, lanes), 7, dtype)
    call(
        WinogradInput(dtype, outputs, "upstream"), winograd_input.ARGUMENTS, machine, to=to, x=x, blocks=blocks,
        to_block=to.strides[0], x_block=x.strides[0], images=images, x_image=x.strides[1], tile_rows=rows,
        x_tile_row=outputs * x.strides[2], x_row=x.strides[2], tile_columns=columns,
    )  # fmt: skip
    matrix = np.array(transforms(outputs).outputs, float).T
    for n, (image, row, column) in enumerate(product(range(images), range(rows), range(columns))):
        tile = x[:, image, row * outputs :, column * outputs :][:, :outputs, :outputs].astype(float)
        assert near(to[:, n], np.einsum("fi,gj,bijl->bfgl", matrix, matrix, tile), dtype), n
    assert (to[:, -1] == 7).all()


@MACHINES
@DTYPES
@OUTPUTS
def test_sums_become_weights(machine: Target, dtype: str, outputs: int) -> None:
    """Nine vectors for every input channel; whether one that is not finite is seen, wherever it stands."""
    lanes, size = machine.vector_bytes // np.dtype(dtype).itemsize, outputs + 2
    blocks, channels = 2, 5
    x = numbers((blocks, channels, size, size, lanes), dtype, 1)
    to = np.full((blocks, channels * 9 + 1, lanes), 7, dtype)
    found = np.zeros(1, np.int64)

    def run() -> int:
        found[0] = 0
        call(
            WinogradOutput(dtype, outputs, "weights"), winograd_output.ARGUMENTS, machine, to=to, x=x, found=found,
            blocks=blocks, to_block=to.strides[0], x_block=x.strides[0], images=1, to_image=0, tile_rows=channels,
            to_tile_row=9 * to.strides[1], to_row=3 * to.strides[1], tile_columns=1,
        )  # fmt: skip
        return int(found[0])

    assert run() == 0
    matrix = np.array(transforms(outputs).kernel, float)
    expected = np.einsum("fi,gj,bcfgl->bcijl", matrix, matrix, x.astype(float)).reshape(blocks, -1, lanes)
    assert near(to[:, :-1], expected, dtype)
    assert (to[:, -1] == 7).all()
    for value, at in product((np.nan, np.inf, -np.inf), ((0, 0, 0, 0, 0), (1, -1, -1, -1, -1), (0, 3, 1, 2, 1))):
        before, x[at] = x[at], value
        assert run() == 1, (value, at)
        x[at] = before


@MACHINES
@DTYPES
@pytest.mark.parametrize("start", ["zero", "sums"])
def test_products(machine: Target, dtype: str, start: Any) -> None:
    """Every kind of register tile, panels of one vector fewer, channels around a vector's end, one tile and several."""
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    for (rows, vectors), channels, depth in product(
        ((1, 1), (2, 3), (4, 2), (lanes, 1)), (1, lanes - 1, lanes, 2 * lanes + 3), (1, 5)
    ):
        widths = [vectors, vectors, vectors - 1] if vectors > 1 else [1, 1]
        blocks, computed = -(-channels // lanes), -(-channels // rows) * rows
        x = np.random.default_rng(1).integers(-8, 9, (blocks, depth + 1, 16, lanes)).astype(dtype)
        g = np.random.default_rng(2).integers(-8, 9, (sum(widths), depth + 2, 16, lanes)).astype(dtype)
        sums = np.full((sum(widths), blocks * lanes + 1, 16, lanes), 3, dtype)
        call(
            WinogradGradient(dtype, 4, rows, vectors, start), winograd_gradient.ARGUMENTS, machine, sums=sums, x=x, g=g,
            frequencies=16, channels=channels, panels=2, last_panels=len(widths) - 2, depth=depth,
            sums_block=sums.strides[0], x_block=x.strides[0], g_block=g.strides[0],
        )  # fmt: skip
        samples = x[:, :depth].transpose(0, 3, 1, 2).reshape(blocks * lanes, depth, 16)
        expected = np.einsum("ctf,btfl->bcfl", samples, g[:, :depth]) + (3 if start == "sums" else 0)
        assert np.array_equal(sums[:, :channels], expected[:, :channels]), (rows, vectors, channels, depth)
        assert (sums[:, computed:] == 3).all()


def hot(isa: str, dtype: Any) -> list[Any]:
    """What runs for every tile, and for every pair of channels."""
    target = TARGETS[isa]
    assert target is not None
    lanes = target.vector_bytes // np.dtype(dtype).itemsize
    tiles = [(rows, most_vectors(target, rows)) for rows in range(1, lanes + 1) if lanes % rows == 0]
    found: list[Any] = [WinogradGradient(dtype, 6, rows, vectors, "sums") for rows, vectors in tiles if vectors]
    for outputs in (2, 4):
        found += [WinogradInput(dtype, outputs, "upstream"), WinogradOutput(dtype, outputs, "weights")]
    return found


@DTYPES
@pytest.mark.parametrize("isa", TARGETS)
def test_nothing_is_put_aside(isa: str, dtype: str) -> None:
    for kernel in hot(isa, dtype):
        _, spilled = written(kernel, isa)
        assert spilled == [], kernel.name


@DTYPES
def test_instructions(dtype: str) -> None:
    """As many as the matrices need where points share what their negatives have; all of them of whole vectors."""
    suffix = "ps" if dtype == "float32" else "pd"
    for kernel, fused, added in (
        # Four columns and six rows: two pairs of points, an even part, an odd part and both signs each.
        (WinogradInput(dtype, 4, "upstream"), 8 * 10, 0),
        (WinogradInput(dtype, 2, "upstream"), 0, 2 * 6),
    ):
        text, _ = written(kernel, "avx512")
        assert len(re.findall(rf"\tvfn?m(?:add|sub)\w+{suffix}\t.*%zmm", text)) == fused, kernel.name
        assert len(re.findall(rf"\tv(?:add|sub){suffix}\t.*%zmm", text)) == added, kernel.name
        assert not re.findall(r"\tv(?:add|sub|mul|fn?m(?:add|sub)\w+)s[sd]\t", text), kernel.name
    text, _ = written(WinogradGradient(dtype, 6, 8, 2), "avx512")
    # Panels of 2 vectors and of 1.
    assert len(re.findall(rf"\tvfmadd\w+{suffix}\t.*%zmm", text)) == 8 * 3


def test_a_tile_too_large_for_the_registers_is_refused() -> None:
    target = TARGETS["avx512"]
    assert target is not None
    with pytest.raises(ValueError, match="37 vector registers"):
        WinogradGradient("float32", 6, 8, 4).module(target)


def test_nothing_outside_the_arrays_is_touched() -> None:
    """A fault would end the process, so it has one of its own."""
    command = [sys.executable, "-m", "tests.codegen.guarded_winograd_gradient"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr


def test_the_guard_pages_do_guard() -> None:
    command = [sys.executable, "-m", "tests.codegen.guarded_winograd_gradient", "reach-out"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode != 0
    assert b"untouched" not in done.stdout
