"""Calls of programs written down, the kernels that jobs of them need beside, and memory that is lent for a run."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest

from convkit.codegen import look, memory, parts, pool, recording, zeros
from convkit.codegen.program import Program
from convkit.codegen.target import Target
from tests.codegen.isa import written
from tests.codegen.kernel_calls import TARGETS, call, runnable

MACHINES = pytest.mark.parametrize("machine", runnable(), ids=lambda target: f"{target.vector_bytes}-byte-vectors")
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
COUNTS = (0, 1, 3, 15, 16, 17, 63, 64, 65, 127, 130)


@MACHINES
@DTYPES
def test_a_look_finds_each_number_that_is_not_finite(machine: Target, dtype: str) -> None:
    largest = np.finfo(dtype).max
    for count in COUNTS:
        x = np.full(count + 2, np.nan, dtype)
        x[1:-1] = np.resize([largest, -largest, 0.0, -0.0, np.finfo(dtype).tiny / 2], count)
        status = np.zeros(1, np.int64)
        call(look.Look(dtype), look.ARGUMENTS, machine, x=(x, x.itemsize), status=status, numbers=count)
        assert status[0] == 0, count
        for at in range(count):
            for bad in (np.nan, -np.nan, np.inf, -np.inf):
                y = x.copy()
                y[1 + at] = bad
                status[0] = 0
                call(look.Look(dtype), look.ARGUMENTS, machine, x=(y, y.itemsize), status=status, numbers=count)
                assert status[0] == 1, (count, at, bad)


@MACHINES
@DTYPES
def test_parts_are_added_in_order(machine: Target, dtype: str) -> None:
    for count in COUNTS:
        for number in (1, 2, 5):
            x = np.random.default_rng(count).standard_normal((number, count)).astype(dtype)
            out = np.full(count + 1, 7, dtype)
            call(
                parts.Parts(dtype), parts.ARGUMENTS, machine, out=out, x=x, numbers=count, parts=number,
                x_part=count * x.itemsize,
            )  # fmt: skip
            expected = x[0].copy()
            for part in x[1:]:
                expected += part
            assert np.array_equal(out[:-1], expected), (count, number)
            assert out[-1] == 7


@DTYPES
def test_programs_of_many_tasks(dtype: str) -> None:
    for count in (look.AT_ONCE - 1, look.AT_ONCE, 2 * look.AT_ONCE + 1):
        x = np.random.default_rng(0).standard_normal((3, count)).astype(dtype)
        out = np.zeros(count, dtype)
        program = parts.program(dtype, 3, count)
        assert program.tasks == -(-count // parts.AT_ONCE)
        pool.run(program, (out.ctypes.data, x.ctypes.data, 0), 2)
        assert np.array_equal(out, x[0] + x[1] + x[2])
        for at in (None, 0, look.AT_ONCE - 2, count - 1):
            seen, y = ctypes.c_int64(0), x[0].copy()
            if at is not None:
                y[at] = np.inf
            pool.run(look.program(dtype, count), (0, y.ctypes.data, 0, ctypes.addressof(seen)), 2)
            assert seen.value == (at is not None)


@MACHINES
def test_bytes_are_cleared(machine: Target) -> None:
    for count in COUNTS:
        out = np.full(count + 2, 7, np.uint8)
        call(zeros.Zeros("uint8"), zeros.ARGUMENTS, machine, out=(out, 1), numbers=count)
        assert out.tolist() == [7, *[0] * count, 7]
    for count in (zeros.AT_ONCE, 2 * zeros.AT_ONCE + 1):
        out = np.full(count + 1, 7, np.uint8)
        program = zeros.program(count)
        assert program.tasks == -(-count // zeros.AT_ONCE)
        pool.run(program, (out.ctypes.data, 0, 0), 2)
        assert (not out[:-1].any(), out[-1]) == (True, 7)


@DTYPES
@pytest.mark.parametrize("isa", TARGETS)
def test_what_is_looked_at_and_added_stays_in_registers(isa: str, dtype: str) -> None:
    for kernel in (look.Look(dtype), parts.Parts(dtype)):
        text, spilled = written(kernel, isa)
        assert text
        assert spilled == []


def add(x: np.ndarray, out: np.ndarray) -> Program:
    program = parts.program(x.dtype.name, len(x), out.size)
    pool.run(program, (out.ctypes.data, x.ctypes.data, 0), 1, 3e-6)
    return program


def test_calls_are_written_down_where_somebody_wants_to_know() -> None:
    x, out = np.ones((2, 5)), np.zeros(5)
    add(x, out)
    with recording.recording() as seen:
        program = add(x, out)
        with recording.recording() as within:
            add(x, out)
            held = recording.working((3, 4), "float32")
        zeros, copy = recording.cleared((7,), "float64"), recording.copied(x, "float64", 1)
        recording.copied(x.T, "float64")
        recording.copied(x, "float32")
        recording.clear(out)
        recording.clear(out[::2])
        other = threading.Thread(target=add, args=(x, out))
        other.start()
        other.join()
    add(x, out)
    assert seen.made == [recording.Made(program, (out.ctypes.data, x.ctypes.data, 0), 3e-6)]
    assert len(within.made) == 1
    assert within.memory[0] is held
    assert held.ctypes.data % 64 == 0
    assert not zeros.any()
    assert copy.tolist() == [[1.0] * 5, [1.0] * 5, [0.0] * 5]
    assert len(seen.memory) == 4
    assert seen.laid == [
        recording.Laid(zeros.ctypes.data, 0, zeros.nbytes),
        recording.Laid(copy[2:].ctypes.data, 0, copy[2:].nbytes),
        recording.Laid(copy.ctypes.data, x.ctypes.data, x.nbytes),
        recording.Laid(out.ctypes.data, 0, out.nbytes),
    ]


def test_memory_is_lent_to_one_at_a_time() -> None:
    one, other = memory.borrow(1000), memory.borrow(500)
    assert abs(one.at - other.at) >= 500
    assert one.at % 64 == other.at % 64 == 0
    assert one.bytes.ctypes.data == one.at
    assert len(one.bytes) >= 1000
    memory.give_back(one)
    assert memory.borrow(900) is one
    memory.give_back(one)
    assert memory.borrow(memory.KEPT + 1) is not one
    huge = memory.borrow(memory.KEPT + 1)
    memory.give_back(huge)
    assert all(piece is not huge for piece in memory._free)
