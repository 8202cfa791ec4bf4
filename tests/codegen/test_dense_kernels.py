"""Kernels that sum over channels: their values at every tail, their instructions, what they leave untouched."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from convkit.codegen import correlate, dense, dense_channels, gather, pack, pack_channels, transpose
from convkit.codegen.correlate import Correlate, Fold
from convkit.codegen.dense import Dense, most_vectors
from convkit.codegen.dense_channels import DenseChannels
from convkit.codegen.epilogue import Ending
from convkit.codegen.target import Target
from tests.codegen.isa import TARGETS, written
from tests.codegen.kernel_calls import call, runnable

MACHINES = pytest.mark.parametrize("machine", runnable(), ids=lambda target: f"{target.vector_bytes}-byte-vectors")
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
MULTIPLY_ADD = {
    "avx512": r"vfmadd\w+p[sd]\t.*%zmm",
    "avx2": r"vfmadd\w+p[sd]\t.*%ymm",
    "neon": r"fmla\t.*v\d+\.(?:4s|2d)",
}


def whole_numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Small integers: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def tiles_for(machine: Target, most_rows: int) -> list[tuple[int, int]]:
    """The widest register tile for every number of rows."""
    return [(rows, most_vectors(machine, rows)) for rows in range(1, most_rows + 1) if most_vectors(machine, rows)]


def ended(sums: np.ndarray, bias: np.ndarray, add: np.ndarray, ending: Ending) -> np.ndarray:
    """What an ending makes of whole numbers."""
    total = sums + (bias if ending.bias else 0) + (add if ending.add else 0)
    return np.maximum(total, 0) if ending.activation else total


def endings(bias: str) -> list[Ending]:
    """None, some, all."""
    return [Ending(), Ending(bias), Ending("", True), Ending(bias, True, "relu")]


@MACHINES
@DTYPES
@pytest.mark.parametrize("start", ["zero", "sums"])
def test_pixels_side_by_side(machine: Target, dtype: str, start: str) -> None:
    """Every register tile, tiles of one vector fewer, and the masked one; in two lines."""
    item, lanes = np.dtype(dtype).itemsize, machine.vector_bytes // np.dtype(dtype).itemsize
    tiles = tiles_for(machine, dense.MOST_ROWS)
    for (n, (rows, vectors)), edge in product(enumerate(tiles), ("whole", "masked")):
        ending = endings("row")[n % 4]
        rest = lanes // 2 + 1 if edge == "masked" else 0
        pixels = (2 * vectors + (vectors - 1)) * lanes + ((vectors - 1) * lanes + rest if rest else 0)
        depth, blocks, lines = 5, 2, 2
        x = whole_numbers((lines, depth * 3 + pixels), dtype, 1)
        w = whole_numbers((blocks, depth, rows), dtype, 2)
        sums = np.full((blocks * rows, lines, pixels + 1), 3, dtype)
        bias, add = whole_numbers((blocks * rows, 1, 1), dtype, 3), whole_numbers(sums.shape, dtype, 4)
        call(
            Dense(dtype, lanes, rows, vectors, start, edge, ending, memory=("near", "far")[n % 2]), dense.ARGUMENTS,
            machine, sums=sums, x=x, w=w, ahead=x.strides[0],
            offsets=np.arange(depth, dtype=np.int64) * 3 * item, depth=depth, blocks=blocks, sums_row=sums.strides[0],
            w_block=w.strides[0], tiles=2, last_tiles=1, rest=rest, bias=bias, add=add,
            lines=lines, sums_line=sums.strides[1], x_line=x.strides[0],
        )  # fmt: skip
        expected = sum(
            w[:, k].reshape(-1, 1, 1) * x[:, 3 * k : 3 * k + pixels].astype(float) for k in range(depth)
        )  # fmt: skip
        expected = ended(expected + (3 if start == "sums" else 0), bias, add[..., :pixels], ending)
        assert np.array_equal(sums[..., :pixels], expected), (rows, vectors, edge)
        assert (sums[..., pixels] == 3).all()


@MACHINES
@DTYPES
@pytest.mark.parametrize("start", ["zero", "sums"])
def test_channels_side_by_side(machine: Target, dtype: str, start: str) -> None:
    item, lanes = np.dtype(dtype).itemsize, machine.vector_bytes // np.dtype(dtype).itemsize
    tiles_there = tiles_for(machine, dense_channels.MOST_ROWS)
    ways = product(enumerate(tiles_there), ("whole", "masked"), ("ordered", "rows", "far-rows"))
    for (n, (rows, vectors)), edge, weights in ways:
        ending, rest = endings("column")[n % 4], lanes // 2 + 1 if edge == "masked" else 0
        depth, blocks, tiles = 6, 2, (vectors, vectors, vectors - 1, *((vectors,) if rest else ()))
        x = whole_numbers((depth * 5 + blocks * rows * 2,), dtype, 1)
        panels = [whole_numbers((depth, n * lanes), dtype, 2 + at) for at, n in enumerate(tiles)]
        channels = sum(tiles) * lanes - (lanes - rest if rest else 0)
        in_rows = np.concatenate(panels, axis=1)[:, :channels].copy()
        w = np.concatenate([panel.ravel() for panel in panels]) if weights == "ordered" else in_rows
        sums = np.full((blocks * rows, channels + 1), 3, dtype)
        bias, add = whole_numbers((channels,), dtype, 3), whole_numbers(sums.shape, dtype, 4)
        offsets, rows_at = np.arange(depth) * 5, np.arange(blocks * rows) * 2
        backwards = np.arange(blocks * rows, dtype=np.int64)[::-1] * sums.strides[0]
        call(
            DenseChannels(
                dtype, lanes, rows, vectors, start, edge, ending, weights=weights, memory=("near", "far")[n % 2]
            ),
            dense_channels.ARGUMENTS, machine, w_row=in_rows.strides[0],
            x_ahead=x.nbytes, w_ahead=w.nbytes,
            sums=sums, x=x, w=w, offsets=offsets.astype(np.int64) * item, rows_at=rows_at.astype(np.int64) * item,
            depth=depth, blocks=blocks, sums_at=backwards, w_vector=depth * machine.vector_bytes, tiles=2,
            last_tiles=1, rest=rest, bias=bias, add=add,
        )  # fmt: skip
        samples = x[rows_at[:, None] + offsets].astype(float)
        expected = np.concatenate([samples @ panel for panel in panels], axis=1)[::-1, :channels]
        expected = ended(expected + (3 if start == "sums" else 0), bias, add[:, :channels], ending)
        assert np.array_equal(sums[:, :-1], expected), (rows, vectors)
        assert (sums[:, -1] == 3).all()


@MACHINES
@DTYPES
def test_rows_become_columns(machine: Target, dtype: str) -> None:
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    sizes = sorted({1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes + 3})
    for rows, columns, more in product(sizes, sizes, (0, 1, lanes)):
        x = whole_numbers((2, rows, columns + 1), dtype, 1)
        to = np.full((2, columns, rows + more + 1), 7, dtype)
        call(
            transpose.Transpose(dtype), transpose.ARGUMENTS, machine, to=to, x=x, planes=2, to_plane=to.strides[0],
            x_plane=x.strides[0], rows=rows, columns=columns, width=rows + more, to_row=to.strides[1],
            x_row=x.strides[1],
        )  # fmt: skip
        assert np.array_equal(to[..., :rows], x[..., :columns].swapaxes(1, 2))
        assert (to[..., rows:-1] == 0).all()
        assert (to[..., -1] == 7).all()


@MACHINES
@DTYPES
def test_rows_become_columns_anywhere(machine: Target, dtype: str) -> None:
    item = np.dtype(dtype).itemsize
    lanes = machine.vector_bytes // item
    for rows, columns in product((1, lanes - 1, lanes, lanes + 3), (1, 9, lanes, 2 * lanes + 3)):
        x = whole_numbers((2, rows, columns + 1), dtype, 1)
        to = np.full((2, columns, rows + 1), 7, dtype)
        order = np.random.default_rng(1).permutation(columns)
        places = np.concatenate((order * to.strides[1], np.zeros(lanes, np.int64)))
        call(
            transpose.Transpose(dtype, places="table"), transpose.PLACED_ARGUMENTS, machine, to=to, x=x, to_at=places,
            planes=2, to_plane=to.strides[0], x_plane=x.strides[0], rows=rows, columns=columns, width=rows,
            x_row=x.strides[1],
        )  # fmt: skip
        assert np.array_equal(to[:, order, :rows], x[..., :columns].swapaxes(1, 2))
        assert (to[..., -1] == 7).all()


@MACHINES
@DTYPES
@pytest.mark.parametrize("bias_of", ["row", "column"])
def test_rows_become_columns_and_end(machine: Target, dtype: str, bias_of: str) -> None:
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    sizes = sorted({1, lanes - 1, lanes, lanes + 1, 2 * lanes + 3})
    for (rows, columns), ending in product(product(sizes, sizes), endings(bias_of)[1:]):
        x = whole_numbers((2, rows, columns + 1), dtype, 1)
        to = np.full((2, columns, rows + 1), 7, dtype)
        bias = whole_numbers((columns, 1) if bias_of == "row" else (rows,), dtype, 3)
        add = whole_numbers(to.shape, dtype, 4)
        call(
            transpose.Transpose(dtype, ending), transpose.ENDING_ARGUMENTS, machine, to=to, x=x, planes=2,
            to_plane=to.strides[0], x_plane=x.strides[0], rows=rows, columns=columns, width=rows,
            to_row=to.strides[1], x_row=x.strides[1], bias=bias, add=add,
        )  # fmt: skip
        expected = ended(x[..., :columns].swapaxes(1, 2), bias, add[..., :rows], ending)
        assert np.array_equal(to[..., :rows], expected)
        assert (to[..., -1] == 7).all()


@MACHINES
@DTYPES
def test_channels_are_laid_apart(machine: Target, dtype: str) -> None:
    """Columns in any order, marked columns and rows; channels around a vector's end."""
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    for channels, columns in product((1, lanes - 1, lanes, lanes + 1), (1, lanes - 1, lanes, 2 * lanes + 3)):
        x = whole_numbers((3, columns, channels), dtype, 1)
        to = np.full((channels, 4, columns + 1), 7, dtype)
        columns_at = np.full(-(-columns // lanes) * lanes, pack.ZEROS)
        columns_at[:columns] = np.arange(columns)[::-1] * x.strides[1]
        expected = np.zeros((channels, 4, columns), dtype)
        for row, source in ((0, 2), (3, 0)):
            expected[:, row] = x[source, ::-1].T
        expected[:, 2] = 5
        if columns > 2:
            columns_at[1], expected[..., 1] = pack.FILL, 5
        rows_at = np.array([2 * x.strides[0], pack.ZEROS, pack.FILL, 0])
        call(
            pack_channels.PackChannels(dtype), pack_channels.ARGUMENTS, machine, to=to, x=x, rows_at=rows_at,
            columns_at=columns_at, fill=np.full(1, 5, dtype), rows=4, to_row=to.strides[1], columns=columns,
            channels=channels, to_channel=to.strides[0],
        )  # fmt: skip
        assert np.array_equal(to[..., :-1], expected)
        assert (to[..., -1] == 7).all()


@MACHINES
@DTYPES
@pytest.mark.parametrize("terms", [1, 15, 16, 17, 40])
def test_numbers_from_anywhere(machine: Target, dtype: str, terms: int) -> None:
    x = whole_numbers((2, 5, terms, 3), dtype, 1)
    to = np.full((2, terms, 6), 7, dtype)
    backwards = np.arange(terms - 1, -1, -1, dtype=np.int64) * x.strides[2]
    call(
        gather.Gather(dtype), gather.ARGUMENTS, machine, to=to, x=x, terms_at=backwards, planes=2,
        rows_at=np.arange(5, dtype=np.int64) * x.strides[1], to_plane=to.strides[0], x_plane=x.strides[0], terms=terms,
        rows=5, to_row=to.strides[1],
    )  # fmt: skip
    assert np.array_equal(to[..., :5], x[:, :, ::-1, 0].swapaxes(1, 2))
    assert (to[..., 5] == 7).all()


@MACHINES
@DTYPES
@pytest.mark.parametrize("start", ["zero", "sums"])
def test_inner_products_at_displacements(machine: Target, dtype: str, start: str) -> None:
    """Columns around every vector's end; what stands beyond them is not even a number."""
    item, lanes = np.dtype(dtype).itemsize, machine.vector_bytes // np.dtype(dtype).itemsize
    for taps, columns in product((1, 3, correlate.MOST_TAPS), (1, lanes - 1, lanes, lanes + 1, 3 * lanes + 2)):
        x = np.full((2, 4, columns + taps + 3), np.nan, dtype)
        g = np.full((2, 4, columns + 3), np.nan, dtype)
        x[..., : columns + taps - 1] = whole_numbers((2, 4, columns + taps - 1), dtype, 1)
        g[..., :columns] = whole_numbers((2, 4, columns), dtype, 2)
        sums, out = np.full((2, taps, lanes), 3, dtype), np.full((2, taps, 2), 7, dtype)
        call(
            Correlate(dtype, lanes, taps, start), correlate.ARGUMENTS, machine, sums=sums, x=x, g=g, rows=4, planes=2,
            taps_at=np.arange(taps, dtype=np.int64) * item, sums_plane=sums.strides[0], x_plane=x.strides[0],
            g_plane=g.strides[0], x_row=x.strides[1], g_row=g.strides[1], columns=columns,
        )  # fmt: skip
        call(
            Fold(dtype, lanes), correlate.FOLD_ARGUMENTS, machine, out=out, sums=sums, planes=2, vectors=taps,
            out_plane=out.strides[0], sums_plane=sums.strides[0], out_step=out.strides[1],
        )  # fmt: skip
        products = [(x[..., t : t + columns] * g[..., :columns]).sum((1, 2)) for t in range(taps)]
        assert np.array_equal(out[..., 0], np.stack(products, 1) + (3 * lanes if start == "sums" else 0))
        assert (out[..., 1] == 7).all()


@DTYPES
@pytest.mark.parametrize("isa", TARGETS)
def test_sums_stay_in_registers(isa: str, dtype: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    lanes = target.vector_bytes // np.dtype(dtype).itemsize
    kernels: list[Dense | DenseChannels] = [
        Dense(dtype, lanes, *tile, "sums", memory=memory)
        for tile in tiles_for(target, 14)
        for memory in ("near", "far")
    ]
    for weights, most in (("ordered", 9), ("rows", 9), ("far-rows", 7)):
        kernels += [
            DenseChannels(dtype, lanes, *tile, "sums", weights=weights, memory=memory)
            for tile in tiles_for(target, most)
            for memory in ("near", "far")
        ]
    if target.vector_bytes == 64:
        kernels += [DenseChannels(dtype, lanes // 2, *tile, "sums") for tile in tiles_for(target, 9)]
    kernels += [
        kind(dtype, lanes, *tile, "sums", "whole", Ending(bias, True, "relu6"))
        for kind, bias, most in ((Dense, "row", 14), (DenseChannels, "column", 9))
        for tile in tiles_for(target, most)[-2:]
    ]
    for taps in range(1, correlate.most_taps(target) + 1):
        assert written(Correlate(dtype, lanes, taps, "sums"), isa)[1] == [], taps
    for kernel in kernels:
        text, spilled = written(kernel, isa)
        assert spilled == [], kernel.name
        adds = len(re.findall(MULTIPLY_ADD[isa if kernel.lanes == lanes else "avx2"], text))
        assert adds == kernel.rows * (2 * kernel.vectors - 1), kernel.name


def test_a_tile_too_large_for_the_registers_is_refused() -> None:
    target = TARGETS["avx512"]
    assert target is not None
    for kernel in (Dense("float32", 16, 8, 4), DenseChannels("float32", 16, 8, 4)):
        with pytest.raises(ValueError, match="37 vector registers"):
            kernel.module(target)


def test_nothing_outside_the_arrays_is_touched() -> None:
    """A fault would end the process, so it has one of its own."""
    command = [sys.executable, "-m", "tests.codegen.guarded_dense"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr


def test_the_guard_pages_do_guard() -> None:
    command = [sys.executable, "-m", "tests.codegen.guarded_dense", "reach-out"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode != 0
    assert b"untouched" not in done.stdout
