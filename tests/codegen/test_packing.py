"""Tiles of the extended input in scratch memory: every position that a window meets, and nothing beside the tile."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit.algorithms.support.packing import (
    Packed,
    Source,
    packing,
    touched,
    touched_count,
    touched_elements,
    touched_stride,
)
from convkit.codegen import pool
from convkit.codegen.program import Tables, join
from convkit.codegen.step import BASES
from convkit.spec.boundary import source_index
from convkit.spec.options import BOUNDARIES
from convkit.spec.window import Window
from tests.oracle.strategies import lattice

MARGIN = 4096


@st.composite
def windows(draw: st.DrawFn) -> Window:
    size, kernel, count = draw(st.integers(1, 40)), draw(st.integers(1, 5)), draw(st.integers(1, 12))
    name = st.sampled_from(BOUNDARIES)
    return Window(
        size, kernel, count, start=draw(st.integers(-30, 20)), stride=draw(st.sampled_from((1, 1, 2, 3, 4, 6, 11))),
        dilation=draw(st.sampled_from((1, 1, 2, 3, 4))), sides=(draw(name), draw(name)),
    )  # fmt: skip


def positions(window: Window, outputs: tuple[int, int]) -> list[int]:
    """Every position that is kept, one by one."""
    span = touched(window, outputs)
    return list(range(*span)) if isinstance(span, tuple) else span.tolist()


@lattice(300)
@given(windows(), st.data())
def test_a_window_finds_its_samples(window: Window, data: st.DataObject) -> None:
    lo = data.draw(st.integers(0, window.count - 1))
    hi = data.draw(st.integers(lo + 1, window.count))
    kept = positions(window, (lo, hi))
    assert len(kept) == touched_count(window, hi - lo)
    for i in range(lo, hi):
        for j, element in enumerate(touched_elements(window)):
            wanted = window.start + i * window.stride + j * window.dilation
            assert kept[(i - lo) * touched_stride(window) + element] == wanted


@lattice(200)
@given(st.lists(windows(), min_size=1, max_size=3), st.sampled_from(("float32", "uint8", "complex64")))
def check(along: list[Window], dtype: str) -> None:
    along = [*along] if len(along) > 1 else [Window(1, 1, 1), *along]
    x = np.random.default_rng(1).integers(1, 99, [window.size for window in along]) * (1 + 1j * dtype.startswith("c"))
    x = x.astype(dtype) if dtype.startswith("c") else x.real.astype(dtype)
    parts = 2 if dtype.startswith("c") else 1
    real = "float32" if parts == 2 else dtype
    outputs = [(0, window.count) for window in along]
    shape = tuple(touched_count(window, window.count) for window in along)
    packed = Packed(MARGIN, shape, touched_stride(along[-1]), 4, parts)
    tables, fill = Tables(), 7 + 5j if parts == 2 else 7
    spans = [touched(window, o) for window, o in zip(along, outputs)]
    source = Source(real, x.strides, np.dtype(real).itemsize)
    steps = packing(tables, along, spans, source, packed, "float32", fill, np.zeros(1, np.int64))
    program = join([steps], tables.array(), 0)
    memory = np.full((packed.bytes + 2 * MARGIN) // 4, -1, np.float32)
    bases = (ctypes.c_int64 * BASES)(memory.ctypes.data, 0, x.ctypes.data, 0, program.tables.ctypes.data)
    pool._get().native.execute(
        ctypes.addressof(bases), program.steps.ctypes.data, program.starts.ctypes.data, program.tasks
    )
    expected = np.full_like(memory, -1)
    every = [positions(window, o) for window, o in zip(along, outputs)]
    offsets = [packed.along(axis, range(n)) for axis, n in enumerate(shape)]
    for index in np.ndindex(*shape):
        at = packed.place + sum(offset[i] for offset, i in zip(offsets, index))
        value = sample(x, along, [e[i] for e, i in zip(every, index)], fill)
        for part, number in enumerate((value.real, value.imag)[:parts]):
            expected[(at + part * packed.part) // 4] = number
    assert np.array_equal(memory, expected)


def sample(x: np.ndarray, along: list[Window], at: list[int], fill: complex) -> complex:
    """The extended input at one position; of several axes outside, the last one decides."""
    found = []
    value: complex | None = None
    for window, position in zip(along, at):
        side = window.sides[0] if position < 0 else window.sides[1]
        found.append(source_index(position, window.size, side))
        if found[-1] < 0:
            value = fill if side == "constant" else 0
    return complex(x[tuple(found)]) if value is None else value


def test_tiles_hold_what_the_definition_says() -> None:
    check()


@pytest.mark.parametrize("stride", [2, 5, 1000])
def test_what_no_window_meets_has_no_place(stride: int) -> None:
    apart = Window(10_000, 3, 9, stride=stride)
    assert touched_count(apart, 9) == 9 * 3 if stride > 2 else 8 * 2 + 3
    even = Window(10_000, 3, 9, stride=2 * stride, dilation=2 * stride)
    assert touched_count(even, 9) == 11
