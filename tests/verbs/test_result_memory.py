"""Memory of large results: aligned, used again when nobody holds it, never while somebody does."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

import convkit as ck
from convkit import memory
from convkit.memory import LARGE, LINE, PATIENCE, Blocks

SHAPE = (LARGE // 4 + 3,)


def test_results_begin_at_a_line() -> None:
    blocks = Blocks()
    for shape in (SHAPE, (3, 5, LARGE)):
        array = blocks.empty(shape, np.float32)
        assert array.ctypes.data % LINE == 0
        assert array.shape == shape
        assert array.flags.c_contiguous
    assert blocks.aligned((5,), np.float64).ctypes.data % LINE == 0
    assert blocks.empty((5,), np.float32).flags.owndata


def test_memory_that_nobody_holds_is_used_again() -> None:
    blocks = Blocks()
    array = blocks.empty(SHAPE, np.float32)
    place = array.ctypes.data
    del array
    assert blocks.empty((SHAPE[0] // 2, 2), "float32").ctypes.data == place


@pytest.mark.parametrize("hold", [lambda a: a, lambda a: a[5:][::-2], memoryview, lambda a: a.view(np.uint8).ctypes])
def test_memory_that_somebody_holds_is_not(hold: object) -> None:
    blocks = Blocks()
    array = blocks.empty(SHAPE, np.float32)
    place, held = array.ctypes.data, hold(array)  # type: ignore[operator]
    del array
    gc.collect()
    others = [blocks.empty(SHAPE, np.float32) for _ in range(20)]
    assert place not in {other.ctypes.data for other in others}
    assert len({other.ctypes.data for other in others}) == len(others)
    del held


def test_many_results_held_at_once_are_all_used_again() -> None:
    """As by a network that learns: all layers' results in one step, then the next step's."""
    blocks = Blocks()

    def step() -> set[int]:
        held = [blocks.empty((LARGE + 7 * n,), np.uint8) for n in range(60)]
        return {array.ctypes.data for array in held}

    places = step()
    assert len(places) == 60
    assert blocks.kept >= 60 * LARGE
    assert step() == places


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "KEPT", 5 * LARGE)
    monkeypatch.setattr(memory, "MOST_KEPT", 12 * LARGE)
    blocks = Blocks()
    for times in (2, 3, 4, 9):
        blocks.empty((times * LARGE,), np.uint8)
        assert 0 < blocks.kept <= 5 * LARGE + 3 * LINE
    results = [blocks.empty((LARGE,), np.uint8) for _ in range(30)]
    assert blocks.kept <= 5 * LARGE + 3 * LINE
    del results  # a size that was asked for again and again
    assert 8 * LARGE < blocks.kept <= 12 * LARGE
    blocks.clear()
    assert blocks.kept == 0


def test_what_nobody_asks_for_is_given_back() -> None:
    blocks = Blocks()
    for n in (5, 9):
        blocks.empty((n * LARGE,), np.uint8)
    assert blocks.kept > 14 * LARGE
    for _ in range(2 * PATIENCE):
        blocks.empty((2 * LARGE,), np.uint8)
    assert 2 * LARGE <= blocks.kept < 3 * LARGE


def test_an_array_that_dies_in_a_request_does_no_harm() -> None:
    """The collector may run anywhere, so also while the lists are in use."""
    blocks = Blocks()
    array = blocks.empty((LARGE,), np.uint8)
    with blocks._in_use:
        del array
        other = blocks.empty((LARGE,), np.uint8)
        other.fill(3)
    assert blocks.kept == 0
    assert (other == 3).all()


def test_arrays_may_outlive_everything_else() -> None:
    """Whoever dies last, at the end of the process, says nothing."""
    held = "import sys, numpy, convkit.memory as m; sys.kept = m.empty((1 << 21,), numpy.uint8); kept = sys.kept[5:]"
    done = subprocess.run([sys.executable, "-c", held], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_never_share_a_block() -> None:
    blocks, wrong = Blocks(), []

    def work(number: int) -> None:
        for _ in range(300):
            array = blocks.empty((LARGE,), np.uint8)
            array[::4096] = number
            if not (array[::4096] == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_results_of_layers_live_on() -> None:
    """A result stays as it is while others are computed; only then its memory is another's."""
    x, w = np.ones((1, 2, 300, 300), np.float32), np.ones((8, 2, 1, 1), np.float32)
    first = ck.conv(x, w)
    copy = first.copy()
    second = ck.conv(-x, w)
    assert np.array_equal(first, copy)
    assert np.array_equal(second, -copy)
    assert first.ctypes.data % LINE == 0
    assert not np.may_share_memory(first, second)


def test_results_that_are_tensors_live_on() -> None:
    torch = pytest.importorskip("torch")
    x, w = torch.ones(1, 2, 400, 400), torch.ones(8, 2, 1, 1)
    for layout in (torch.contiguous_format, torch.channels_last):
        first = ck.conv(x.contiguous(memory_format=layout), w)
        copy, flat = first.clone(), first.flatten()
        second = ck.conv(-x.contiguous(memory_format=layout), w)
        assert torch.equal(first, copy)
        assert torch.equal(second, -copy)
        assert first.is_contiguous(memory_format=layout)
        place = first.data_ptr()
        del first, second
        assert torch.equal(flat, copy.flatten())
        assert flat.data_ptr() != place or ck.conv(x, w).data_ptr() != place
