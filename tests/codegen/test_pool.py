"""Programs shared among threads: every task once, whoever is there, whatever comes between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

from convkit.codegen import parallel, pool, unpack
from convkit.codegen.builder import Writer
from convkit.codegen.library import address_of
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import OUT, SCRATCH, SIGNATURE, Arguments, X
from convkit.codegen.target import Target
from tests.boundaries.project import ROOT

COLUMNS = 5


def copying(tasks: int, scratch: int = 0) -> Program:
    """A program whose task ``t`` brings row ``t`` from the input to the result, by way of scratch memory."""
    at = np.arange(tasks) * COLUMNS * 4
    kernel = address_of(unpack.Unpack("float32", "float32"))
    sizes = {"planes": 1, "out_plane": 0, "sums_plane": 0, "rows": 1, "out_row": 0, "sums_row": 0, "columns": COLUMNS,
             "out_step": 4}  # fmt: skip
    there = unpack.ARGUMENTS.steps(kernel, tasks, out=(SCRATCH, scratch), sums=(X, at), imaginary=(SCRATCH, 0), **sizes)
    back = unpack.ARGUMENTS.steps(kernel, tasks, out=(OUT, at), sums=(SCRATCH, scratch), imaginary=(X, 0), **sizes)
    return join([[there, back]], Tables().array(), scratch + 4 * COLUMNS)


ONCE = Arguments.of("at", "by")


@dataclass(frozen=True)
class Count:
    """A kernel that adds to a number, and so tells how often it ran."""

    name: str = "count_up"

    def module(self, target: Target) -> str:
        w = Writer()
        a = ONCE.read(w)
        w.line(f"store i64 {w.add(w.load_scalar('i64', a['at']), a['by'])}, ptr {a['at']}")
        w.line("ret void")
        return w.function(self.name, SIGNATURE)


def rows_of(tasks: int) -> np.ndarray:
    return np.arange(1, tasks * COLUMNS + 1, dtype=np.float32)


def assert_done(program: Program, threads: int, seconds: float = 1.0) -> None:
    x = rows_of(program.tasks)
    out = np.zeros_like(x)
    pool.run(program, (out.ctypes.data, x.ctypes.data, 0), threads, seconds)
    assert np.array_equal(out, x)


@pytest.fixture
def own_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[pool._Pool]:
    """A pool for one test alone."""
    ours = pool._Pool()
    monkeypatch.setattr(pool, "_pool", ours)
    monkeypatch.setattr(pool, "_team", None)  # whatever tensors lent
    yield ours
    ours.close()
    assert not any(worker.is_alive() for worker in ours.workers)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("tasks", [1, 2, 3, 7, 100])
def test_every_task_is_done_once(tasks: int, threads: int) -> None:
    """Its steps too, in tasks of one step, of two and of three; no two tasks write to one place."""
    each = np.arange(tasks)
    places = [8 * (each + m * tasks) for m in range(3)]
    pieces = [
        [ONCE.steps(address_of(Count()), tasks, at=(OUT, places[m - 1]), by=each + n) for n in range(m)]
        for m in (1, 2, 3)
    ]
    program = join(pieces, Tables().array(), 0)
    assert program.tasks == 3 * tasks
    for _ in range(20):
        out = np.zeros((3, tasks), np.int64)
        pool.run(program, (out.ctypes.data, 0, 0), threads)
        assert np.array_equal(out, [each, 2 * each + 1, 3 * each + 3])


def test_workers_come_as_they_are_wanted(own_pool: pool._Pool) -> None:
    program = copying(50)
    for threads, workers in ((1, 0), (2, 1), (5, 4), (3, 4), (1, 4), (6, 5)):
        assert_done(program, threads)
        assert len(own_pool.workers) == workers
    assert_done(copying(2), 50)
    assert len(own_pool.workers) == 5, "no more than there are tasks"
    assert_done(program, 50, seconds=1e-7)
    assert len(own_pool.workers) == 5, "too little work to be shared"


def test_short_calls_in_a_row_are_shared(own_pool: pool._Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one alone; from the second one on workers are woken, as long as it comes soon."""
    program = copying(50)
    between = (pool.SHARED + pool.WAKING) / 2

    def shared(seconds: float) -> bool:
        before = own_pool._number
        assert_done(program, 2, seconds)
        return own_pool._number > before

    monkeypatch.setattr(pool, "BURST", 1e9)
    own_pool.ended = -2e9
    assert [shared(between), shared(pool.SHARED / 2), shared(between), shared(between)] == [False, False, True, True]
    while own_pool.awake():
        threading.Event().wait(0.001)
    monkeypatch.setattr(pool, "BURST", 0.0)
    assert not shared(between), "the last call is long ago"


def test_many_tiny_jobs_in_a_row() -> None:
    program = copying(4)
    x = rows_of(4)
    for n in range(10_000):
        out = np.zeros_like(x)
        pool.run(program, (out.ctypes.data, x.ctypes.data, 0), 2 + n % 2)
        assert np.array_equal(out, x)


def test_workers_that_have_gone_to_sleep_are_woken(own_pool: pool._Pool) -> None:
    program = copying(200)
    for _ in range(30):
        assert_done(program, 3)
        threading.Event().wait(0.003)
        assert not own_pool.awake() or os.cpu_count() == 1


def test_several_callers_at_once() -> None:
    programs = [copying(n) for n in (3, 40, 200)]

    def call(seed: int) -> None:
        source = random.Random(seed)
        for _ in range(200):
            assert_done(source.choice(programs), source.randint(1, 4))

    with ThreadPoolExecutor(8) as callers:
        list(callers.map(call, range(8)))


def test_an_interruption_leaves_no_worker_behind(own_pool: pool._Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the job is open, a signal's handler may raise; the caller's arrays may be gone soon after."""
    program = copying(100_000)
    assert_done(program, 3)

    def interrupted(context: int) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(own_pool.native, "work", interrupted)
    x = rows_of(program.tasks)
    for _ in range(20):
        out = np.zeros_like(x)
        with pytest.raises(KeyboardInterrupt):
            pool.run(program, (out.ctypes.data, x.ctypes.data, 0), 3)
        assert own_pool._job[parallel.OPEN] == own_pool._job[parallel.INSIDE] == 0
        out[:] = -1
        threading.Event().wait(0.001)
        assert (out == -1).all()
    monkeypatch.undo()
    assert not own_pool.lock.locked()
    assert_done(program, 3)


def test_an_interruption_while_waiting_for_workers(own_pool: pool._Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever interrupts twice is heard once: the wait goes on."""
    program, calls = copying(20_000), 0
    end = own_pool.native.end

    def interrupted(context: int) -> int:
        nonlocal calls
        calls += 1
        if calls <= 3:
            raise KeyboardInterrupt
        return end(context)

    def half(context: int) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(own_pool.native, "end", interrupted)
    monkeypatch.setattr(own_pool.native, "work", half)
    x = rows_of(program.tasks)
    out = np.zeros_like(x)
    with pytest.raises(KeyboardInterrupt):
        pool.run(program, (out.ctypes.data, x.ctypes.data, 0), 3)
    assert calls >= 4
    assert own_pool._job[parallel.INSIDE] == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_signals_at_any_moment() -> None:
    """Thousands of interruptions, wherever they happen to fall: no job stays open, the pool is not lost."""
    done = run_alone("""
        import random, signal, time
        from convkit.codegen import parallel, pool
        from tests.codegen.test_pool import assert_done, copying, rows_of

        class Interruption(Exception):
            pass

        def interrupt(*_):
            raise Interruption

        program, x = copying(500), rows_of(500)
        assert_done(program, 3)
        signal.signal(signal.SIGALRM, interrupt)
        end, interrupted, wrong = time.monotonic() + 2, 0, 0
        while time.monotonic() < end:
            out = x * 0
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + random.random() * 5e-4)
                for _ in range(100):
                    pool.run(program, (out.ctypes.data, x.ctypes.data, 0), 3)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interruption:
                interrupted += 1
            job = pool._pool._job
            wrong += bool(job[parallel.OPEN] or job[parallel.INSIDE] or pool._pool.lock.locked())
        assert_done(program, 3)
        print(interrupted > 100, wrong)
    """)
    assert done == "True 0"


def test_without_more_threads_the_caller_works_alone(own_pool: pool._Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pool._Worker, "start", refuse)
    assert_done(copying(30), 4)
    assert own_pool.workers == []


@pytest.mark.parametrize("threads", [1, 2])
def test_large_scratch_memory_lives_as_long_as_the_call(threads: int) -> None:
    """Given back too early, so much memory is gone at once: a fault."""
    done = run_alone(f"""
        from tests.codegen.test_pool import assert_done, copying
        from convkit.codegen import pool
        for size in (3 * pool.KEPT_SCRATCH, 1 << 12, 2 * pool.KEPT_SCRATCH):
            assert_done(copying(3, size), {threads})
        own = pool._alone.scratch if {threads} == 1 else pool._pool._scratch
        print(own.bytes < pool.KEPT_SCRATCH)
    """)
    assert done == "True"


def test_an_exit_right_after_a_call() -> None:
    for _ in range(8):
        run_alone("""
            import convkit.codegen.pool as pool
            from tests.codegen.test_pool import assert_done, copying
            program = copying(200)
            for threads in (2, 4):
                assert_done(program, threads)
        """)


def test_a_call_while_the_interpreter_ends() -> None:
    done = run_alone("""
        import atexit
        from tests.codegen.test_pool import assert_done, copying
        program = copying(200)
        atexit.register(lambda: print("late", flush=True))
        atexit.register(assert_done, program, 3)
        assert_done(program, 2)
    """)
    assert done == "late"


FORKS = """
    import os, threading, time
    from tests.codegen.test_pool import assert_done, copying
    program = copying(300)
    stop, failed = threading.Event(), []

    def busy():
        while not stop.is_set():
            {work}

    def forking():
        for _ in range({forks}):
            child = os.fork()
            if child == 0:
                {child}
                os._exit(0)
            for _ in range(2000):
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    break
                time.sleep(0.01)
            else:
                os.kill(child, 9)
                os.waitpid(child, 0)
                status = -1
            if status:
                failed.append(status)
                break

    assert_done(program, 3)
    threads = [threading.Thread(target=busy) for _ in range(2)]
    forker = threading.Thread(target=forking)
    for thread in (*threads, forker):
        thread.start()
    forker.join()
    stop.set()
    for thread in threads:
        thread.join()
    assert_done(program, 3)
    print(failed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("work", ["assert_done(program, 3)", "compile_another()"])
def test_a_fork_in_a_thread_while_others_are_busy(work: str) -> None:
    """The child has neither the workers nor the threads that held locks, of this pool or of the compiler."""
    text = FORKS.format(
        work=work, forks=20 if "done" in work else 12,
        child="assert_done(program, 3)" if "done" in work else "compile_another(); assert_done(program, 2)",
    )  # fmt: skip
    if "compile" in work:
        text = text.replace(
            "program = copying(300)",
            """import itertools
    from convkit.codegen import library
    from convkit.codegen.target import host
    numbers = itertools.count()
    def compile_another():
        name = f"answer{os.getpid()}x{next(numbers)}"
        library.functions(f"define i64 @{name}() {{ ret i64 42 }}", (name,), host())
    program = copying(300)""",
        )
    assert run_alone(text, CONVKIT_CACHE_DIR="/nowhere/at/all") == "[]"


def run_alone(program: str, **environment: str) -> str:
    """The last line that a process of its own prints, which ends well."""
    lines = program.splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", "\n".join(line[indent:] for line in lines)],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **environment},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()
