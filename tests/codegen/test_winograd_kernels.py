"""Kernels of Winograd's filtering: their matrices, their values at every tail, their instructions, what they touch."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from convkit.codegen import (
    pack,
    winograd_input,
    winograd_kernel,
    winograd_output,
    winograd_pack,
    winograd_products,
    winograd_unpack,
)
from convkit.codegen.dense import most_vectors
from convkit.codegen.epilogue import Ending
from convkit.codegen.target import Target
from convkit.codegen.winograd_input import WinogradInput
from convkit.codegen.winograd_kernel import WinogradKernel
from convkit.codegen.winograd_output import WinogradOutput
from convkit.codegen.winograd_pack import WinogradPack
from convkit.codegen.winograd_points import construct, transforms
from convkit.codegen.winograd_products import WinogradProducts
from convkit.codegen.winograd_unpack import WinogradUnpack
from tests.codegen.isa import TARGETS, written
from tests.codegen.kernel_calls import call, runnable

MACHINES = pytest.mark.parametrize("machine", runnable(), ids=lambda target: f"{target.vector_bytes}-byte-vectors")
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
FILTERS = pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (2, 5), (4, 3)])


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def matrices(outputs: int, taps: int) -> tuple[np.ndarray, ...]:
    """Those for sums, kernels and samples, in double precision."""
    found = transforms(outputs, taps)
    return tuple(np.array(matrix, float) for matrix in (found.outputs, found.kernel, found.inputs))


def near(ours: np.ndarray, expected: np.ndarray, dtype: str) -> bool:
    """Equal but for a few roundings of numbers as large as the largest."""
    return bool(np.abs(ours - expected).max() <= 64 * np.finfo(dtype).eps * np.abs(expected).max())


@FILTERS
def test_the_matrices_filter_exactly(outputs: int, taps: int) -> None:
    """In fractions there is no error; other points do as well."""
    source = np.random.default_rng(1)
    kernel = [Fraction(int(n), 7) for n in source.integers(-9, 9, taps)]
    samples = [Fraction(int(n), 5) for n in source.integers(-9, 9, outputs + taps - 1)]
    points = tuple(Fraction(int(n), 3) for n in source.permutation(20)[: outputs + taps - 2])
    for found in (transforms(outputs, taps), construct(points, outputs, taps)):

        def times(matrix: Any, vector: list[Fraction]) -> list[Fraction]:
            return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]

        products = [a * b for a, b in zip(times(found.kernel, kernel), times(found.inputs, samples), strict=True)]
        expected = [sum(samples[i + j] * kernel[j] for j in range(taps)) for i in range(outputs)]
        assert times(found.outputs, products) == expected


@pytest.mark.parametrize(("outputs", "taps"), [(2, 5), (4, 3)])
def test_the_points_are_the_best_of_their_kind(outputs: int, taps: int) -> None:
    """No pair of eighths has a smaller spread; and no entry of the matrices is rounded to float32."""
    ours = transforms(outputs, taps)
    others = {
        (a, b): construct((Fraction(0), a, -a, b, -b), outputs, taps).spread
        for a, b in product([Fraction(n, 8) for n in range(1, 25)], repeat=2)
        if a < b
    }
    assert min(others, key=lambda pair: others[pair]) == (Fraction(5, 8), Fraction(13, 8))
    assert ours.spread**2 < others[Fraction(1), Fraction(2)] ** 2 / 4
    for matrix in (ours.outputs, ours.inputs):
        assert all(Fraction(float(np.float32(entry))) == entry for row in matrix for entry in row)


@MACHINES
@DTYPES
@FILTERS
def test_tiles_of_samples(machine: Target, dtype: str, outputs: int, taps: int) -> None:
    lanes, size = machine.vector_bytes // np.dtype(dtype).itemsize, outputs + taps - 1
    blocks, images, rows, columns = 2, 3, 2, 5
    x = numbers((blocks, images, rows * outputs + taps, columns * outputs + taps + 1, lanes), dtype, 1)
    to = np.full((blocks, images * rows * columns + 1, size, size, lanes), 7, dtype)
    call(
        WinogradInput(dtype, outputs, taps=taps), winograd_input.ARGUMENTS, machine, to=to, x=x, blocks=blocks,
        to_block=to.strides[0], x_block=x.strides[0], images=images, x_image=x.strides[1], tile_rows=rows,
        x_tile_row=outputs * x.strides[2], x_row=x.strides[2], tile_columns=columns,
    )  # fmt: skip
    matrix = matrices(outputs, taps)[2]
    for n, (image, row, column) in enumerate(product(range(images), range(rows), range(columns))):
        tile = x[:, image, row * outputs :, column * outputs :][:, :size, :size].astype(float)
        assert near(to[:, n], np.einsum("fi,gj,bijl->bfgl", matrix, matrix, tile), dtype), n
    assert (to[:, -1] == 7).all()


@MACHINES
@DTYPES
@FILTERS
def test_tiles_of_sums(machine: Target, dtype: str, outputs: int, taps: int) -> None:
    """Their values; whether one that is not finite is seen, wherever it stands."""
    lanes, size = machine.vector_bytes // np.dtype(dtype).itemsize, outputs + taps - 1
    blocks, images, rows, columns = 2, 2, 3, 4
    x = numbers((blocks, images * rows * columns, size, size, lanes), dtype, 1)
    to = np.full((blocks, images, rows * outputs + 1, columns * outputs + 1, lanes), 7, dtype)
    found = np.zeros(1, np.int64)

    def run() -> int:
        found[0] = 0
        call(
            WinogradOutput(dtype, outputs, taps=taps), winograd_output.ARGUMENTS, machine, to=to, x=x, found=found,
            blocks=blocks, to_block=to.strides[0], x_block=x.strides[0], images=images, to_image=to.strides[1],
            tile_rows=rows, to_tile_row=outputs * to.strides[2], to_row=to.strides[2], tile_columns=columns,
        )  # fmt: skip
        return int(found[0])

    assert run() == 0
    matrix = matrices(outputs, taps)[0]
    for n, (image, row, column) in enumerate(product(range(images), range(rows), range(columns))):
        tile = to[:, image, row * outputs :, column * outputs :][:, :outputs, :outputs]
        expected = np.einsum("if,jg,bfgl->bijl", matrix, matrix, x[:, n].astype(float))
        assert near(tile, expected, dtype), n
    assert (to[:, :, -1] == 7).all()
    assert (to[:, :, :, -1] == 7).all()
    for value, at in product((np.nan, np.inf, -np.inf), ((0, 0, 0, 0, 0), (1, -1, -1, -1, -1), (0, 5, 1, 2, 1))):
        before, x[at] = x[at], value
        assert run() == 1, (value, at)
        x[at] = before


@MACHINES
@DTYPES
@pytest.mark.parametrize("start", ["zero", "sums"])
def test_products(machine: Target, dtype: str, start: Any) -> None:
    """Every kind of register tile, panels of one vector fewer, some channels of more, depths around a vector's end."""
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    for (rows, vectors), depth in product(((1, 1), (2, 3), (4, 2), (5, 2)), (1, lanes - 1, lanes, 2 * lanes + 3)):
        tiles = 2 * rows + (rows - 1)
        widths = [vectors, vectors, vectors - 1] if vectors > 1 else [1, 1]
        before, blocks = 3, -(-depth // lanes)
        x = np.random.default_rng(1).integers(-8, 9, (blocks, tiles, 16, lanes)).astype(dtype)
        w = np.random.default_rng(2).integers(-8, 9, (16, sum(widths), (depth + before) * lanes)).astype(dtype)
        sums = np.full((sum(widths), tiles + 1, 16, lanes), 3, dtype)
        call(
            WinogradProducts(dtype, 4, rows, vectors, start), winograd_products.ARGUMENTS, machine, sums=sums, x=x, w=w,
            frequencies=16, w_frequency=w.strides[0], w_vector=w.strides[1], w_begin=before * machine.vector_bytes,
            panels=2, last_panels=len(widths) - 2, tiles=2, last_tiles=1 if rows > 1 else 0, depth=depth,
            x_block=x.strides[0], sums_block=sums.strides[0],
        )  # fmt: skip
        samples = x.transpose(2, 1, 0, 3).reshape(16, tiles, -1)[:, :, :depth].astype(float)
        first = 0
        for width in widths:
            panel = w[:, first : first + width].reshape(16, depth + before, width * lanes)[:, before:]
            expected = (samples @ panel).reshape(16, tiles, width, lanes).transpose(2, 1, 0, 3)
            ours = sums[first : first + width, :-1] - (3 if start == "sums" else 0)
            assert np.array_equal(ours, expected), (rows, vectors, depth, first)
            first += width
        assert (sums[:, -1] == 3).all()


@MACHINES
@DTYPES
@FILTERS
def test_weights(machine: Target, dtype: str, outputs: int, taps: int) -> None:
    """Any strides, reversed ones too; channels that are not there."""
    lanes, size = machine.vector_bytes // 8, outputs + taps - 1
    w = numbers((5, lanes, taps, taps), dtype, 1)
    for view, there in product((w, w[..., ::-1, ::-1], w[:, ::-1]), (lanes, lanes - 1, 1)):
        to = np.full((size * size, 5, lanes), 7, dtype)
        call(
            WinogradKernel(dtype, outputs, taps), winograd_kernel.ARGUMENTS, machine, to=to,
            x=(view.__array_interface__["data"][0], 0), outputs=there, x_output=view.strides[1], depth=5,
            to_channel=to.strides[1], x_channel=view.strides[0], x_row=view.strides[2], x_column=view.strides[3],
            to_frequency=to.strides[0],
        )  # fmt: skip
        matrix = matrices(outputs, taps)[1]
        expected = np.einsum("fi,gj,coij->fgco", matrix, matrix, view.astype(float)).reshape(size * size, 5, lanes)
        expected[..., there:] = 0
        assert near(to, expected, dtype)
        if dtype == "float32":  # rounded once
            assert np.abs(to - expected).max() <= 2.0**-24 * np.abs(expected).max()


@MACHINES
@DTYPES
@pytest.mark.parametrize("beside", ["columns", "channels", "none"])
def test_samples_on_their_way_in(machine: Target, dtype: str, beside: Any) -> None:
    """Marked rows and columns; channels and columns around a vector's end."""
    item, lanes = np.dtype(dtype).itemsize, machine.vector_bytes // np.dtype(dtype).itemsize
    for channels, middle in product((1, lanes - 1, lanes, lanes + 2), (1, lanes - 1, lanes, 2 * lanes + 3)):
        x = numbers((channels, 4, middle + 4), dtype, 1)
        if beside == "channels":
            x = np.ascontiguousarray(x.transpose(1, 2, 0)).transpose(2, 0, 1)
        if beside == "none":
            x = np.repeat(x, 2, axis=2)[..., ::2]
        step, blocks = x.strides[2], -(-channels // lanes)
        left, right = np.array([step * 2, pack.FILL, step]), np.array([pack.ZEROS, step * (middle + 1)])
        inner = np.arange(middle) * step + step
        if beside != "columns":
            left, inner = np.concatenate((left, inner)), inner[:0]
        rows = np.array([x.strides[1], pack.ZEROS, 0, pack.FILL])
        columns = middle + 5
        to = np.full((blocks, 4, columns + lanes, lanes), 7, dtype)
        call(
            WinogradPack(dtype, beside), winograd_pack.ARGUMENTS, machine, to=to,
            x=(x.__array_interface__["data"][0], 0), rows_at=rows, left_at=left, right_at=right,
            fill=np.full(1, 5, dtype), channels=channels, to_block=to.strides[0], x_channel=x.strides[0], rows=4,
            to_row=to.strides[2] * columns, left=len(left), begin=step, middle=len(inner), right=2,
        )  # fmt: skip
        laid = to.reshape(blocks, -1)[:, : 4 * columns * lanes].reshape(blocks, 4, columns, lanes)
        laid = laid.transpose(0, 3, 1, 2).reshape(-1, 4, columns)[:channels]
        expected = np.zeros((channels, 4, columns), dtype)
        expected[:, 3] = 5
        where = [2, 0, 1, *range(1, middle + 1), 0, middle + 1]
        for row, source in ((0, 1), (2, 0)):
            expected[:, row] = x[:, source, where]
        expected[:, :, 1], expected[:, :, -2] = 5, 0
        assert np.array_equal(laid, expected), (channels, middle)
        assert item == x.itemsize


@MACHINES
@DTYPES
@pytest.mark.parametrize("beside", ["columns", "channels", "none"])
@pytest.mark.parametrize("ending", [Ending(), Ending("channel", True, "relu")], ids=lambda ending: ending.name)
def test_outputs_on_their_way_out(machine: Target, dtype: str, beside: Any, ending: Ending) -> None:
    if beside == "none" and not ending.empty:
        return
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    for channels, columns in product((1, lanes - 1, lanes, lanes + 2), (1, lanes - 1, lanes, 2 * lanes + 3)):
        blocks, rows = -(-channels // lanes), 3
        x = numbers((blocks, rows, columns + lanes, lanes), dtype, 1)
        bias, add = numbers((channels,), dtype, 2), numbers((channels, rows, columns), dtype, 3)
        shape = {"columns": (channels, rows, columns + 1), "channels": (rows, columns, channels + 1)}
        out = np.full(shape.get(beside, (channels, rows, 2 * columns)), 7, dtype)
        view = {"columns": out[..., :-1], "channels": out[..., :-1].transpose(2, 0, 1)}.get(beside, out[..., ::2])
        if beside == "channels":
            add = np.ascontiguousarray(add.transpose(1, 2, 0)).transpose(2, 0, 1)
        strides = {
            f"{name}_{axis}": stride
            for name, array in (("out", view), ("add", add))
            for axis, stride in zip(("channel", "row", "column"), array.strides, strict=True)
        }
        call(
            WinogradUnpack(dtype, beside, ending), winograd_unpack.ARGUMENTS, machine, out=out, x=x, bias=bias,
            add=(add.__array_interface__["data"][0], 0), channels=channels, x_block=x.strides[0], rows=rows,
            x_row=x.strides[1], columns=columns, **strides,
        )  # fmt: skip
        expected = x.transpose(0, 3, 1, 2).reshape(-1, rows, columns + lanes)[:channels, :, :columns]
        if not ending.empty:
            expected = np.maximum(expected + bias[:, None, None] + add, 0)
        assert np.array_equal(view, expected), (channels, columns)
        untouched = out[..., -1] if beside != "none" else out[..., 1::2]
        assert (untouched == 7).all()


@MACHINES
@DTYPES
@pytest.mark.parametrize("beside", ["columns", "channels"])
@pytest.mark.parametrize("pool", [2, 4])
def test_the_largest_of_windows_on_their_way_out(machine: Target, dtype: str, beside: Any, pool: int) -> None:
    """Channels and columns around a vector's end; a NaN is the largest."""
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    for channels, columns in product((1, lanes - 1, lanes, lanes + 2), (1, lanes - 1, lanes, lanes + 3)):
        blocks, rows = -(-channels // lanes), 3
        x = numbers((blocks, rows * pool, (columns + lanes) * pool, lanes), dtype, 1)
        x[0, 1, 0, 0] = np.nan
        bias = np.resize(numbers((channels,), dtype, 2), -(-channels // lanes) * lanes)
        out = np.full((channels, rows, columns) if beside == "columns" else (rows, columns, channels), 7, dtype)
        view = out if beside == "columns" else out.transpose(2, 0, 1)
        strides = dict(zip(("out_channel", "out_row", "out_column"), view.strides, strict=True))
        whole = x.transpose(0, 3, 1, 2).reshape(-1, *x.shape[1:3])[:channels, :, : columns * pool].copy()
        call(
            WinogradUnpack(dtype, beside, Ending("channel", False, "relu"), pool=pool), winograd_unpack.ARGUMENTS,
            machine, out=out, x=x, bias=bias, add=x, channels=channels, x_block=x.strides[0], rows=rows,
            x_row=x.strides[1], columns=columns, add_channel=0, add_row=0, add_column=0, **strides,
        )  # fmt: skip
        ended = np.maximum(whole + bias[:channels, None, None], 0)
        expected = ended.reshape(channels, rows, pool, columns, pool).max((2, 4))
        assert np.array_equal(view, expected, equal_nan=True), (channels, columns)


def hot(isa: str, dtype: Any) -> list[Any]:
    """What runs for every tile."""
    target = TARGETS[isa]
    assert target is not None
    tiles = [(rows, most_vectors(target, rows)) for rows in range(1, winograd_products.MOST_ROWS + 1)]
    found: list[Any] = [WinogradProducts(dtype, 6, *tile, "sums") for tile in tiles]
    for outputs, taps in ((2, 3), (2, 5), (4, 3)):
        found += [WinogradInput(dtype, outputs, taps=taps), WinogradOutput(dtype, outputs, taps=taps)]
    for beside in ("columns", "channels"):
        found += [WinogradPack(dtype, beside), WinogradUnpack(dtype, beside)]
        found.append(WinogradUnpack(dtype, beside, Ending("channel", False, "relu"), pool=2))
        if dtype == "float32":
            found += [WinogradPack(dtype, beside, "bfloat16"), WinogradUnpack(dtype, beside, stored="bfloat16")]
    return found


@DTYPES
@pytest.mark.parametrize("isa", TARGETS)
def test_nothing_is_put_aside(isa: str, dtype: str) -> None:
    for kernel in hot(isa, dtype):
        _, spilled = written(kernel, isa)
        # At the edge of a square of eight rows sixteen registers hold its masks as well.
        allowed = 2 if isa == "avx2" and kernel.name == "winograd_unpack_float32_columns_none" else 0
        # Which channels a block has waits there, row by row, while squares are turned; and some rows of a square whose
        # other rows are rounded.
        allowed = {"pool2": 8, "bfloat16": 16}.get(kernel.name.rsplit("_", 1)[-1], allowed)
        assert len(spilled) <= allowed, kernel.name
    if TARGETS[isa].registers >= 32:  # type: ignore[union-attr]
        assert written(WinogradKernel(dtype, 4), isa)[1] == []


@DTYPES
def test_instructions(dtype: str) -> None:
    """As many as the matrices need where points share what their negatives have; all of them of whole vectors."""
    suffix = "ps" if dtype == "float32" else "pd"
    for kernel, fused, added in (
        (WinogradInput(dtype, 4), 12 * 12, 0),
        (WinogradInput(dtype, 2), 0, 8 * 4),
        # Six columns and four rows of twelve operations, sixteen numbers added up, and the last difference.
        (WinogradOutput(dtype, 4), 10 * 4, 10 * 6 + 16 + 1),
        (WinogradOutput(dtype, 2), 0, 6 * 4 + 4 + 1),
    ):
        text, _ = written(kernel, "avx512")
        assert len(re.findall(rf"\tvfn?m(?:add|sub)\w+{suffix}\t.*%zmm", text)) == fused, kernel.name
        assert len(re.findall(rf"\tv(?:add|sub){suffix}\t.*%zmm", text)) == added, kernel.name
        assert not re.findall(r"\tv(?:add|sub|mul|fn?m(?:add|sub)\w+)s[sd]\t", text), kernel.name
    text, _ = written(WinogradProducts(dtype, 6, 9, 3), "avx512")
    # Tiles of 9 and 8 rows, panels of 3 and 2 vectors.
    assert len(re.findall(rf"\tvfmadd\w+{suffix}\t.*%zmm", text)) == 17 * 5


def test_a_tile_too_large_for_the_registers_is_refused() -> None:
    target = TARGETS["avx512"]
    assert target is not None
    with pytest.raises(ValueError, match="37 vector registers"):
        WinogradProducts("float32", 6, 8, 4).module(target)


def test_nothing_outside_the_arrays_is_touched() -> None:
    """A fault would end the process, so it has one of its own."""
    command = [sys.executable, "-m", "tests.codegen.guarded_winograd"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr


def test_the_guard_pages_do_guard() -> None:
    command = [sys.executable, "-m", "tests.codegen.guarded_winograd", "reach-out"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode != 0
    assert b"untouched" not in done.stdout
