"""Programs one after another in one job: each begins when the one before is done, whoever does it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from convkit.codegen import parallel, pool, unpack
from convkit.codegen.library import address_of
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.stages import Stages
from convkit.codegen.step import OUT, X
from tests.codegen.test_pool import COLUMNS, ONCE, Count, own_pool, rows_of  # noqa: F401


def moving(tasks: int) -> Program:
    """A program whose task ``t`` brings row ``t + 1`` of the input, counted round, to row ``t`` of the result."""
    at = np.arange(tasks) * COLUMNS * 4
    sizes = {"planes": 1, "out_plane": 0, "sums_plane": 0, "rows": 1, "out_row": 0, "sums_row": 0, "columns": COLUMNS,
             "out_step": 4}  # fmt: skip
    steps = unpack.ARGUMENTS.steps(
        address_of(unpack.Unpack("float32", "float32")), tasks, out=(OUT, at), sums=(X, np.roll(at, -1)),
        imaginary=(X, 0), **sizes,
    )  # fmt: skip
    return join([[steps]], Tables().array(), 0)


def rotating(tasks: int, count: int) -> tuple[Stages, list[np.ndarray]]:
    """``count`` stages, each of which moves all rows on by one; every task needs a row of another task's."""
    arrays = [rows_of(tasks)] + [np.zeros(tasks * COLUMNS, np.float32) for _ in range(count)]
    programs = [(moving(tasks), (to.ctypes.data, x.ctypes.data, 0), 1.0) for x, to in pairwise(arrays)]
    return Stages(programs), arrays


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_stages_wait_for_each_other(threads: int) -> None:
    stages, arrays = rotating(7, 30)
    expected = np.roll(arrays[0].reshape(7, COLUMNS), -30, axis=0).ravel()
    for _ in range(100):
        for array in arrays[1:]:
            array[:] = 0
        pool.follow(stages, threads)
        assert np.array_equal(arrays[-1], expected)


@pytest.mark.parametrize("participant", [0, 1, 2, 3])
def test_every_second_participant_begins_with_the_last_task(participant: int) -> None:
    """Rows move on in place: from the last one on, each is given what the one behind it has been given before."""
    row = np.arange(6)
    at = 4 * COLUMNS * row[:-1]
    steps = unpack.ARGUMENTS.steps(
        address_of(unpack.Unpack("float32", "float32")), 5, out=(OUT, at), sums=(X, at + 4 * COLUMNS),
        imaginary=(X, 0), planes=1, out_plane=0, sums_plane=0, rows=1, out_row=0, sums_row=0, columns=COLUMNS,
        out_step=4,
    )  # fmt: skip
    rows = np.repeat(row, COLUMNS).astype(np.float32)
    place = rows.ctypes.data
    stages = Stages([(join([[steps]], Tables().array(), 0), (place, place, 0), 1.0)])
    scratch, job = np.zeros(64 * 4, np.uint8), np.zeros(parallel.STAGE, np.int64)
    job[parallel.JOB : parallel.JOB + 4] = stages.at, 1, scratch.ctypes.data, 64
    pool._get().native.take_part(job.ctypes.data, participant)
    expected = [5] * 6 if participant % 2 else [1, 2, 3, 4, 5, 5]
    assert np.array_equal(rows.reshape(6, COLUMNS)[:, 0], expected)


def copy(columns: int, to: int, x: int) -> list[np.ndarray]:
    """A task that copies numbers from one place to another."""
    step = unpack.ARGUMENTS.steps(
        address_of(unpack.Unpack("float32", "float32")), 1, out=(OUT, 4 * to), sums=(X, 4 * x), imaginary=(X, 0),
        planes=1, out_plane=0, sums_plane=0, rows=1, out_row=0, sums_row=0, columns=columns, out_step=4,
    )  # fmt: skip
    return [step]


def test_a_long_task_is_waited_for() -> None:
    """Whoever has nothing left to do does not go on to what the other is still writing."""
    long = 1 << 18
    memory = np.zeros(2 * long + 16, np.float32)
    memory[:long] = 1
    first = join([copy(long, long, 0), copy(4, 2 * long, 0)], Tables().array(), 0)
    second = join([copy(4, 2 * long + 4, 2 * long - 4), copy(4, 2 * long + 8, 2 * long - 8)], Tables().array(), 0)
    bases = (memory.ctypes.data, memory.ctypes.data, 0)
    stages = Stages([(first, bases, 1.0), (second, bases, 1.0)])
    for _ in range(300):
        memory[long:] = 0
        pool.follow(stages, 2)
        assert memory[2 * long : 2 * long + 12].all()


@pytest.mark.parametrize("threads", [1, 3])
def test_every_task_of_every_stage_is_done_once(threads: int) -> None:
    counts = np.zeros((4, 6), np.int64)
    programs = []
    for n, row in enumerate(counts):
        tasks = [1, 2, 6, 3][n]
        steps = ONCE.steps(address_of(Count()), tasks, at=(OUT, 8 * np.arange(tasks)), by=n + 1)
        programs.append((join([[steps]], Tables().array(), 0), (row.ctypes.data, 0, 0), 1.0))
    stages = Stages(programs)
    for n in range(1, 50):
        pool.follow(stages, threads)
        expected = [[n * (m + 1) * (i < [1, 2, 6, 3][m]) for i in range(6)] for m in range(4)]
        assert counts.tolist() == expected


def test_workers_of_our_own(own_pool: pool._Pool) -> None:  # noqa: F811
    stages, arrays = rotating(9, 5)
    expected = np.roll(arrays[0].reshape(9, COLUMNS), -5, axis=0).ravel()
    for _ in range(200):
        arrays[-1][:] = 0
        pool.follow(stages, 4)
        assert np.array_equal(arrays[-1], expected)
    assert len(own_pool.workers) == 3
    assert own_pool._job[parallel.OPEN] == own_pool._job[parallel.INSIDE] == 0


def test_callers_at_the_same_time_have_stages_of_their_own() -> None:
    def many(_: int) -> bool:
        stages, arrays = rotating(5, 12)
        expected = np.roll(arrays[0].reshape(5, COLUMNS), -12, axis=0).ravel()
        right = True
        for _ in range(100):
            arrays[-1][:] = 0
            pool.follow(stages, 2)
            right &= np.array_equal(arrays[-1], expected)
        return right

    with ThreadPoolExecutor(4) as callers:
        assert all(callers.map(many, range(8)))


def test_little_work_wakes_nobody(own_pool: pool._Pool) -> None:  # noqa: F811
    stages, arrays = rotating(4, 3)
    stages.seconds = pool.SHARED / 2
    pool.follow(stages, 4)
    assert not own_pool.workers
    assert np.array_equal(arrays[-1], np.roll(arrays[0].reshape(4, COLUMNS), -3, axis=0).ravel())
