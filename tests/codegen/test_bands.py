"""Layers done together band by band: the same bits as one by one, whatever the windows, and in bounds."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from convkit import codegen, memory
from convkit.algorithms.support import bands, dense_tiles
from convkit.algorithms.support.bands import course
from convkit.algorithms.support.strips import Strip
from convkit.codegen.step import X
from convkit.spec.epilogue import Epilogue
from convkit.spec.window import Window
from tests.codegen.band_layers import Axis, Layers, Spec, beside, inverted

pytestmark = pytest.mark.skipif(codegen.why_not() is not None, reason="no kernel can be compiled here")

ADDED = Epilogue(True, True)
POINT = (Axis(), Axis())


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small layers, in several bands of several slices."""
    from convkit.algorithms import depthwise, implicit_gemm

    monkeypatch.setattr(depthwise, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(implicit_gemm, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(bands, "MOST_TWICE", 10.0)
    monkeypatch.setattr(bands, "STRIP_BYTES", 1 << 14)


def assert_same_bits(layers: Layers, **options: Any) -> None:
    found, expected = layers.together(**options), layers.one_by_one()
    assert not np.isnan(expected).any()
    assert np.array_equal(found.view(f"u{found.itemsize}"), expected.view(f"u{found.itemsize}"))


WINDOWS = {
    "same": (Axis(3, pads=(1, 1)), Axis(3, pads=(1, 1))),
    "strided": (Axis(3, 2, pads=(1, 1)), Axis(3, 2, pads=(1, 0))),
    "even kernel": (Axis(2, pads=(0, 1)), Axis(4, pads=(2, 1))),
    "dilated": (Axis(3, dilation=2, pads=(2, 3)), Axis(2, dilation=3, pads=(0, 2))),
    "strided and dilated": (Axis(2, 3, 2, (1, 0)), Axis(3, 2, 2, (2, 2))),
    "rows left out": (Axis(2, 4), Axis(1, 2)),
    "no padding": (Axis(5), Axis(3)),
    "all padding": (Axis(2, 1, 1, (3, 3)), Axis(3, pads=(4, 0))),
}


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("channels", [(5, 21, 7), (16, 48, 24)])
@pytest.mark.parametrize("batch", [1, 3])
def test_bits_are_those_of_one_by_one(name: str, channels: tuple[int, int, int], batch: int) -> None:
    narrow, wide, out = channels
    specs = inverted(wide, out, *WINDOWS[name], end=Epilogue(True))
    layers = Layers(specs, batch, narrow, (23, 18))
    found = layers.bands()
    assert batch * len(found.bands) >= min(bands.TASKS[0], found.windows[-1].count)
    assert_same_bits(layers)


SIDES = {"edge": 3, "reflect": 3, "symmetric": 2, "wrap": 3, "constant": 2}


@pytest.mark.parametrize("side", SIDES)
def test_what_lies_beyond_the_edge(side: Any) -> None:
    pad = SIDES[side]
    rows, columns = Axis(4, pads=(pad, 2), sides=(side, side)), Axis(3, pads=(1, 2), sides=(side, "zero"))
    assert_same_bits(Layers(inverted(20, 9, rows, columns, fill=0.5), 2, 6, (14, 11)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("planes", [True, False])
def test_the_first_layer_may_have_a_kernel_of_its_own(dtype: str, planes: bool) -> None:
    first = Spec((Axis(3, 2, pads=(1, 0)), Axis(4, 2, pads=(1, 2))), 19, Epilogue(True, False, "silu"))
    around = Spec((Axis(3, pads=(1, 1)), Axis(2, pads=(1, 0))), 0, Epilogue(False, False, "relu"))
    assert_same_bits(Layers([first, around, Spec(POINT, 6, None)], 2, 3, (29, 34), dtype, planes))


@pytest.mark.parametrize("end", [None, ADDED, Epilogue(True, True, "hardswish")])
def test_what_is_added_to_the_last_one(end: Epilogue | None) -> None:
    specs = inverted(40, 12, *WINDOWS["same"], end=end)
    assert_same_bits(Layers(specs, 2, 12, (17, 13)))


def test_two_layers_either_way() -> None:
    around = Spec(WINDOWS["dilated"], 0, Epilogue(True, False, "relu6"))
    point = Spec(POINT, 27, Epilogue(True))
    assert_same_bits(Layers([around, point], 2, 20, (19, 22)))
    assert_same_bits(Layers([point, around], 2, 20, (19, 22)))
    assert_same_bits(Layers([around, around], 2, 20, (19, 22)))
    assert_same_bits(Layers([point, around, around], 1, 11, (19, 22)))


@pytest.mark.parametrize("rank", [1, 3])
def test_signals_and_volumes(rank: int) -> None:
    sizes = (9, 8, 7)[:rank]
    around = tuple(Axis(k, s, pads=(1, 1)) for k, s in zip((3, 2, 3)[:rank], (1, 1, 2)[:rank], strict=True))
    point = (Axis(),) * rank
    assert_same_bits(Layers([Spec(point, 18), Spec(around), Spec(point, 5)], 2, 4, sizes))


def test_neither_threads_nor_the_cut_change_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = Layers(inverted(33, 8, *WINDOWS["strided"]), 2, 10, (25, 20))
    expected = layers.together()
    for tasks, strips, steps in ((1, 1 << 20, 1 << 13), (64, 1, 1 << 13), (4, 1 << 15, 1)):
        for name, value in {"TASKS": (tasks, 1), "STRIP_BYTES": strips, "PROGRAM_STEPS": steps}.items():
            monkeypatch.setattr(bands, name, value)
        assert np.array_equal(layers.together(threads=2), expected)


@pytest.mark.parametrize("channels", [16, 24, 32])
@pytest.mark.parametrize("last", ["dense", "depthwise"])
def test_results_past_the_caches(channels: int, last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_tiles, "STREAMED", 1)
    specs = inverted(20, channels, *WINDOWS["same"])
    layers = Layers(specs if last == "dense" else [Spec(POINT, channels), specs[1]], 3, 8, (13, 12))
    shape = layers.problems[-1].output_shape
    out = beside(layers.problems[-1], memory.aligned((shape[0], *shape[3:], channels), "float32"))
    assert_same_bits(layers, out=out)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_touches_the_windows_that_hold_it(value: float) -> None:
    layers = Layers(inverted(24, 6, *WINDOWS["strided"]), 1, 5, (23, 18))
    layers.x[0, 0, 2, 11, 7] = value
    found, expected = layers.together(), layers.one_by_one()
    assert np.array_equal(found, expected, equal_nan=True)
    if np.isnan(value):
        touched = np.argwhere(np.isnan(found[0, 0]).any(0))
        assert touched.tolist() == [[r, c] for r in (5, 6) for c in (3, 4)]


def test_strips_keep_what_a_slice_needs() -> None:
    windows = [Window(20, 1, 20), Window(20, 3, 10, -1, 2), Window(10, 1, 10)]
    found = course(windows, (4, 10), 2)
    assert found.made == [[(7, 12), (12, 16), (16, 20)], [(4, 6), (6, 8), (8, 10)], [(4, 6), (6, 8), (8, 10)]]
    assert found.kept == [5, 2]
    wrapped = [Window(8, 1, 8), Window(8, 3, 8, -1, sides=("wrap", "wrap"))]
    assert course(wrapped, (6, 8), 1) == ([[(0, 8), (8, 8)], [(6, 7), (7, 8)]], [8])


def test_rows_of_a_strip_take_each_others_places() -> None:
    strip = Strip((X, 640), 0, 4, (100, 8), 5, 3)
    assert strip.unbroken((3, 13)) == [(3, 8), (8, 13)]
    assert strip.unbroken((6, 9)) == [(6, 8), (8, 9)]
    assert [strip.origin(row)[1] + row * 100 for row in (3, 7, 8, 12)] == [640, 1040, 640, 1040]
    assert strip.unbroken((4, 4)) == []


def test_what_gains_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def gain(batch: int, narrow: int, size: int, pads: int = 1) -> float:
        around = Axis(2 * pads + 1, pads=(pads, pads))
        return Layers(inverted(6 * narrow, narrow, around, around), batch, narrow, (size, size)).bands().gain

    assert gain(1, 24, 56) > 0
    assert gain(1, 16, 16) <= 0, "caches keep so little"
    assert gain(1, 64, 14, 6) <= 0, "most would be computed twice"


@pytest.mark.skipif(sys.platform == "win32", reason="pages are forbidden by mprotect")
def test_nothing_beyond_the_arrays_is_touched() -> None:
    command = [sys.executable, "-m", "tests.codegen.guarded_bands"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip() == "untouched", done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pages are forbidden by mprotect")
def test_forbidden_pages_are_noticed() -> None:
    command = [sys.executable, "-m", "tests.codegen.guarded_bands", "reach-out"]
    assert subprocess.run(command, capture_output=True, timeout=300, check=False).returncode != 0
