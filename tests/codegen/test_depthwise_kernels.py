"""Kernels whose lanes are channels, or columns of a plane: values, instructions, what they leave untouched."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from convkit.codegen import channelwise, channelwise_gradient, groups, planar, pooling
from convkit.codegen.channelwise import Channelwise
from convkit.codegen.channelwise_gradient import ChannelwiseGradient
from convkit.codegen.channelwise_nest import PixelKernel, held, most_pixels
from convkit.codegen.epilogue import Ending
from convkit.codegen.groups import Groups
from convkit.codegen.listing import inner_loop
from convkit.codegen.pack import FILL, ZEROS
from convkit.codegen.planar import Planar, most_rows
from convkit.codegen.pooling import Pool
from convkit.codegen.pooling_gradient import LargestGradient
from convkit.codegen.pooling_gradient_rows import RowsLargestGradient
from convkit.codegen.target import Target
from convkit.codegen.window_tile import WindowTile
from tests.codegen.isa import TARGETS, written
from tests.codegen.kernel_calls import call, runnable

MACHINES = pytest.mark.parametrize("machine", runnable(), ids=lambda target: f"{target.vector_bytes}-byte-vectors")
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
SHAPES = [(5, 3, 1, 1), (3, 5, 2, 1), (4, 2, 3, 2), (1, 1, 1, 1), (2, 7, 1, 3)]
"""Outputs of a tile, elements of a kernel row, stride, dilation."""


def whole_numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Small integers: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def tables(kernel: PixelKernel, x: np.ndarray, out: np.ndarray, elements: list[int]) -> dict[str, Any]:
    """Two rows of outputs and two tiles; one kernel row stands outside, and one position holds the fill."""
    tile, positions = kernel.tile, kernel.tile.positions
    tiles = np.zeros((2, 1 + held(len(positions))), np.int64)
    for t in range(2):
        tiles[t, 0] = t * tile.outputs * out.strides[1]
        tiles[t, 1 : 1 + len(positions)] = (np.array(positions) + t * tile.outputs * tile.stride) * x.strides[1]
    tiles[0, 1] = FILL
    rows = np.array(
        [[0, 3, 0, 0, ZEROS, x.strides[0]], [out.strides[0], 2, 8, x.strides[0], 2 * x.strides[0], 0]], np.int64
    )
    channels = out.shape[2]
    return {
        "rows_at": rows, "row_step": rows.shape[1] * 8, "rows": 2, "tiles_at": tiles, "tiles": 2, "ahead": 0,
        "places": np.zeros(3 * held(len(positions)), np.int64), "zeros": np.zeros(channels, x.dtype),
        "elements_at": np.array(elements, np.int64),
        "fill": np.full(channels, 3, x.dtype), "channels": channels, "x": x,
    }  # fmt: skip


def windows(kernel: PixelKernel, x: np.ndarray) -> np.ndarray:
    """What each output meets: (row, kernel row, output, element, channel); NaN where a kernel row is left out."""
    tile = kernel.tile
    columns = np.arange(2 * tile.outputs)[:, None] * tile.stride + np.arange(tile.elements) * tile.dilation
    seen = np.full((2, 3, *columns.shape, x.shape[2]), np.nan)
    filled = np.array(x, float)
    for r, k, row in ((0, 0, 0), (0, 2, 1), (1, 1, 1), (1, 2, 2)):
        seen[r, k] = filled[row][columns]
        seen[r, k, 0, 0] = 3
    seen[0, 1] = 0
    seen[0, 1, 0, 0] = 3
    return seen


def case(dtype: str, machine: Target, shape: tuple[int, ...], channels: int) -> tuple[tuple[Any, ...], np.ndarray]:
    """The kernel's numbers and samples."""
    pixels, columns, stride, dilation = shape
    pixels = min(pixels, most_pixels(machine, columns))
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    edge = "masked" if channels % lanes else "whole"
    width = (2 * pixels - 1) * stride + (columns - 1) * dilation + 1
    samples = whole_numbers((3, width, channels), dtype, 1)
    return (dtype, lanes, WindowTile(pixels, columns, stride, dilation), edge), samples


@MACHINES
@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 16, 37])
@pytest.mark.parametrize("spacing", [1, 2])
@pytest.mark.parametrize("ending", [Ending(), Ending("channel", False, "relu")], ids=lambda ending: ending.name)
def test_channels_side_by_side(
    machine: Target, dtype: str, shape: Any, channels: int, spacing: int, ending: Ending
) -> None:  # fmt: skip
    """Kernel rows lie in memory the last one first, their elements with others between them."""
    numbers, x = case(dtype, machine, shape, channels)
    kernel = Channelwise(*numbers, reads="ahead", spacing=spacing, ending=ending)
    tile, vectors = kernel.tile, -(-channels // kernel.lanes)
    w = whole_numbers((3, tile.elements, vectors * kernel.lanes), dtype, 2)
    packed = np.full((vectors, 3, tile.elements, spacing, kernel.lanes), 100, dtype)
    packed[:, ::-1, :, 0] = w.reshape(3, tile.elements, vectors, kernel.lanes).transpose(2, 0, 1, 3)
    out, bias = np.full((2, 2 * tile.outputs, channels), 7, dtype), whole_numbers((vectors * kernel.lanes,), dtype, 3)
    elements = [packed.strides[1] * row for row in (2, 1, 0)]
    call(
        kernel, channelwise.ARGUMENTS, machine, out=out, w=packed, bias=bias, out_pixel=out.strides[1],
        w_vector=packed.strides[0], **tables(kernel, x, out, elements),
    )  # fmt: skip
    seen = np.nan_to_num(windows(kernel, x))
    expected = np.einsum("rkijc,kjc->ric", seen, w[..., :channels].astype(float))
    if not ending.empty:
        expected = np.maximum(expected + bias[:channels], 0)
    assert np.array_equal(out, expected)


@MACHINES
@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 16, 37])
def test_gradients_of_weights_with_channels_side_by_side(
    machine: Target, dtype: str, shape: Any, channels: int
) -> None:  # fmt: skip
    numbers, x = case(dtype, machine, shape, channels)
    kernel = ChannelwiseGradient(*numbers, reads="ahead")
    vectors = -(-channels // kernel.lanes)
    sums = np.full((vectors, 3, kernel.tile.elements, kernel.lanes), 3, dtype)
    g = whole_numbers((2, 2 * kernel.tile.outputs, channels), dtype, 2)
    call(
        kernel, channelwise_gradient.ARGUMENTS, machine, g=g, sums=sums, g_pixel=g.strides[1],
        sums_vector=sums.strides[0], **tables(kernel, x, g, [sums.strides[1] * row for row in range(3)]),
    )  # fmt: skip
    expected = 3 + np.einsum("rkijc,ric->kjc", np.nan_to_num(windows(kernel, x)), g.astype(float))
    found = sums.transpose(1, 2, 0, 3).reshape(3, kernel.tile.elements, -1)[..., :channels]
    assert np.array_equal(found, expected)


@MACHINES
@DTYPES
@pytest.mark.parametrize("layout", ["planes", "pixels"])
@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pooling(machine: Target, dtype: str, layout: Any, kind: Any, stride: int) -> None:
    """Two rows of outputs of two rows of samples each, windows of three columns, one of them before the first."""
    channels = 19 if layout == "pixels" else 1
    for count in (1, 2, 16, 17, 40):
        width = (count - 1) * stride + 2
        x = whole_numbers((2, 3, width, channels), dtype, count)
        out, item = np.full((2, 2, count, channels), 7, dtype), x.itemsize
        rows = np.array([[2, 2, 0, x.strides[1]], [2, 2, x.strides[1], 2 * x.strides[1]]], np.int64)
        call(
            Pool(kind, dtype, stride if layout == "planes" and stride < 3 else 0, layout), pooling.ARGUMENTS, machine,
            out=out, x=x, row=np.zeros((width + 1) * channels + 256, dtype), rows_at=rows, planes=2,
            divisors=np.full(count, 3, dtype), out_plane=out.strides[0], x_plane=x.strides[0], rows=2,
            row_step=rows.strides[0], out_row=out.strides[1], before=channels, middle=width * channels, after=0,
            outputs=count, taps=3, tap=channels, pixel=stride * channels * item, out_pixel=out.strides[2],
            channels=channels,
        )  # fmt: skip
        outside = -np.inf if kind == "max" else 0
        wide = np.concatenate((np.full((2, 3, 1, channels), outside), x), axis=2)
        columns = np.arange(count)[:, None] * stride + np.arange(3)
        seen = np.stack([wide[:, r : r + 2][:, :, columns] for r in range(2)], axis=1)
        expected = seen.max((2, 4)) if kind == "max" else seen.sum((2, 4)) / 6
        assert np.allclose(out, expected, rtol=1e-6, atol=0)


@MACHINES
@DTYPES
@pytest.mark.parametrize("channels", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("count", [3, 16, 37])
def test_groups_are_taken_apart_and_put_together(machine: Target, dtype: str, channels: int, count: int) -> None:
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    vectors, numbers = -(-count // lanes), count * channels
    x = whole_numbers((2, 3, numbers + 1), dtype, 1)
    apart = np.full((channels, 2, 3, vectors * lanes), 7, dtype)
    shape = {"rows": 2, "pixels": 3, "groups": count, "channel": apart.strides[0], "vector": machine.vector_bytes}
    call(
        Groups(dtype, channels, "apart"), groups.ARGUMENTS, machine, to=apart, x=x, to_row=apart.strides[1],
        x_row=x.strides[0], to_pixel=apart.strides[2], x_pixel=x.strides[1], **shape,
    )  # fmt: skip
    expected = x[..., :numbers].reshape(2, 3, count, channels)
    assert np.array_equal(apart[..., :count], np.moveaxis(expected, -1, 0))
    back = np.full(x.shape, 7, dtype)
    call(
        Groups(dtype, channels, "together"), groups.ARGUMENTS, machine, to=back, x=apart, to_row=x.strides[0],
        x_row=apart.strides[1], to_pixel=x.strides[1], x_pixel=apart.strides[2], **shape,
    )  # fmt: skip
    assert np.array_equal(back[..., :numbers], x[..., :numbers])
    assert (back[..., numbers:] == 7).all()


SPILLING = [
    *((Channelwise, k) for k in (1, 3, 5, 7)),
    *((ChannelwiseGradient, k) for k in (1, 3, 5, 7)),
]


@pytest.mark.parametrize("isa", sorted(TARGETS))
@DTYPES
@pytest.mark.parametrize(("kind", "columns"), SPILLING)
def test_sums_stay_in_registers(isa: str, dtype: str, kind: Any, columns: int) -> None:
    target = TARGETS[isa]
    assert isinstance(target, Target)
    lanes = target.vector_bytes // np.dtype(dtype).itemsize
    pixels = most_pixels(target, columns)
    kernel = kind(dtype, lanes, WindowTile(pixels, columns))
    written(kernel, isa)  # which has every target's assembler ready
    loop = inner_loop(kernel, target)
    assert (loop.spills, loop.multiply_adds) == (0, pixels * columns)


@DTYPES
@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("step", [1, 2])
def test_rows_of_planes_stay_in_registers(dtype: str, size: int, step: Any) -> None:
    """Of a stride of two, columns of a small kernel are done two at a time."""
    target = TARGETS["avx512"]
    assert isinstance(target, Target)
    height = most_rows(target, size)
    lanes = target.vector_bytes // np.dtype(dtype).itemsize
    loop = inner_loop(Planar(dtype, lanes, WindowTile(height, size), -(size // 2), step=step), target)
    columns = step if size <= planar.PAIRED else 1
    assert (loop.spills, loop.multiply_adds) == (0, height * size * columns)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_numbers_that_are_widened_stay_in_registers(half: str) -> None:
    target = TARGETS["avx512"]
    assert isinstance(target, Target)
    height, pixels = most_rows(target, 3), most_pixels(target, 3)
    for kernel in (
        Planar("float32", 16, WindowTile(height, 3), -1, source=half, stored=half),
        Channelwise("float32", 16, WindowTile(pixels, 3), samples=half, outputs=half),
        ChannelwiseGradient("float32", 16, WindowTile(pixels, 3), samples=half, outputs=half),
    ):
        assert inner_loop(kernel, target).spills == 0, kernel.name


@pytest.mark.parametrize("isa", sorted(TARGETS))
@pytest.mark.parametrize("layout", ["planes", "pixels"])
def test_pooling_stays_in_registers(isa: str, layout: Any) -> None:
    kernels = [Pool(kind, "float32", stride, layout) for kind in ("max", "mean") for stride in (0, 1, 2)]
    if isa == "avx512":
        assert not written(Groups("float32", 4, "apart"), isa)[1]
    for kernel in (*kernels, LargestGradient("float32", layout), RowsLargestGradient("float32", 2)):
        text, spills = written(kernel, isa)
        assert not spills
        if isinstance(kernel, Pool):
            wanted = {"max": "max|cmp|fcmgt|vblend", "mean": "vaddps|fadd"}[kernel.kind]
            assert re.search(wanted, text)


@pytest.mark.parametrize("lanes", [8, 16])
def test_positions_that_never_hold_samples_are_left_out(lanes: int) -> None:
    target, tile = TARGETS["avx512"], WindowTile(7, 3)
    assert isinstance(target, Target)
    whole, inside = (Planar("float32", lanes, tile, -1, outside=outside) for outside in ((0, 0), (1, 1)))
    assert (whole.positions, inside.positions) == ([*range(9)], [*range(1, 8)])
    assert [inner_loop(kernel, target).multiply_adds for kernel in (whole, inside)] == [21, 19]


def test_windows_meet_samples() -> None:
    tile = WindowTile(3, 2, 2, 3)
    assert tile.positions == [0, 2, 3, 4, 5, 7]
    met = [(i, j, position) for position in tile.positions for i, j in tile.meetings(position)]
    assert sorted(met) == [(i, j, 2 * i + 3 * j) for i in range(3) for j in range(2)]


def test_too_large_tiles_are_refused() -> None:
    target = TARGETS["avx2"]
    assert isinstance(target, Target)
    for kernel in (kind("float32", 8, WindowTile(14, 3)) for kind in (Channelwise, ChannelwiseGradient)):
        with pytest.raises(ValueError, match="registers"):
            kernel.module(target)
    with pytest.raises(ValueError, match="registers"):
        Planar("float32", 8, WindowTile(8, 9), -4).module(target)


def test_nothing_else_is_touched() -> None:
    command = [sys.executable, "-m", "tests.codegen.guarded_depthwise"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "untouched\n"), done.stderr


def test_the_guard_notices() -> None:
    command = [sys.executable, "-m", "tests.codegen.guarded_depthwise", "reach-out"]
    assert subprocess.run(command, capture_output=True, check=False).returncode < 0


def test_masks_are_of_columns() -> None:
    """A plane narrower than a vector: the samples beside it, which are others', count for nothing."""
    from convkit.algorithms.support.planar_tiles import _masks
    from convkit.spec.window import Window

    masks = _masks(Window(5, 3, 4, -1), 16)
    assert masks.tolist() == [[0b111110, 0b11111, 0b1111, 0b1111]]
    second = _masks(Window(21, 2, 9, -1, 2), 16)
    assert second.tolist() == [[0xFFFE, 0b111111, 0xFFFF, 0b11111, 0x1FF]]
    assert planar.MOST_ROWS == 8
