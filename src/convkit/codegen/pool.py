"""The threads that run programs, and the one call that starts them."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from convkit.codegen import library, parallel, recording
from convkit.codegen.program import Program
from convkit.codegen.stages import Stages
from convkit.codegen.step import BASES

PATIENCE = 6000
"""Turns that a worker waits for the next job before it sleeps, a tenth of a millisecond or two."""

SHARED, WAKING = 1e-5, 1e-4
"""Seconds of work from which it is shared with workers that are awake, and from which workers are woken."""

BURST = 2e-4
"""Seconds since the last work that might have been shared up to which less of it is enough to wake workers: calls that
come one after another find them awake from then on."""

Team = Callable[[int, int, int, int], object]
"""See `lend`."""

KEPT_SCRATCH = 1 << 24
"""Bytes of scratch memory for each thread that are kept from call to call at most."""

_NAMES = ("execute", "take_part", "open_job", "work", "join", "end", "serve")
_word, _place = ctypes.c_int64, ctypes.c_void_p
_Bases = ctypes.c_int64 * BASES


class _Native:
    """The compiled loops of `convkit.codegen.parallel`."""

    def __init__(self) -> None:
        host = library.this_machine()
        ir = parallel.module(parallel.pause_of(host.triple))
        execute, take_part, open_job, work, self.join, end, serve = library.functions(ir, _NAMES, host)
        self.execute = ctypes.CFUNCTYPE(None, _place, _place, _place, _word)(execute)
        self.take_part = ctypes.CFUNCTYPE(None, _place, _word)(take_part)
        self.open_job = ctypes.CFUNCTYPE(None, _place, _word)(open_job)
        self.work = ctypes.CFUNCTYPE(_word, _place)(work)
        self.end = ctypes.CFUNCTYPE(_word, _place)(end)
        self.serve = ctypes.CFUNCTYPE(_word, _place, _word, _word, _word)(serve)


def _yielding() -> int:
    """The address of the system's function that lets others run, which takes no arguments; 0 where it is not found."""
    try:
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (OSError, TypeError, AttributeError):  # Windows has none of this name
        return 0


class _Worker(threading.Thread):
    """A thread that serves the pool: awake for a while after each job, asleep otherwise."""

    def __init__(self, pool: _Pool, number: int) -> None:
        super().__init__(name=f"convkit-{number}", daemon=True)
        self.pool, self.number = pool, number
        self.bell = threading.Lock()  # free for a moment when it rings
        self.bell.acquire()

    def run(self) -> None:
        last = 0
        while not self.pool.closed:
            last = self.pool.native.serve(self.pool.context, self.number, PATIENCE, last)
            self.bell.acquire()

    def wake(self) -> None:
        if self.bell.locked():
            self.bell.release()


class _Pool:
    """The workers of this process. One job at a time has them; whoever comes meanwhile runs alone."""

    def __init__(self) -> None:
        self.native = _Native()
        # Workers may look at it until the very end of the process, so it is never given back.
        self._words = np.zeros(parallel.CONTEXT_WORDS + parallel.LINE, np.int64)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._words))
        first = -(-self._words.ctypes.data // 64) * 8 - self._words.ctypes.data // 8
        self._job = self._words[first:]
        self._job[parallel.YIELD] = _yielding()
        self.context, self._job_words = self._job.ctypes.data, self._job.data
        self.lock = threading.Lock()
        self.workers: list[_Worker] = []
        self.closed = False
        self.ended = -1.0  # when the last work that might have been shared was done
        self._number = 0
        self._scratch = _Scratch()

    def of_one(self, program: Program, shared: Any) -> int:
        """Where the stage of a job is that has one alone."""
        at = parallel.STAGE
        self._job[at + parallel.NEXT] = self._job[at + parallel.DONE] = 0
        self._job[at + parallel.STEPS : at + parallel.STEPS + 4] = (
            *program.places[:2], program.tasks, ctypes.addressof(shared),
        )  # fmt: skip
        return self.context + 8 * at

    def run_by(self, team: Team, stages: tuple[int, int], scratch: int, threads: int) -> None:
        """Let another library's threads do it; ``stages``: where they are, and how many."""
        memory = self._scratch.take(scratch, threads)
        words = self._job_words
        words[parallel.STAGES], words[parallel.COUNT] = stages
        words[parallel.SCRATCH], words[parallel.SCRATCH_BYTES], words[parallel.JOINED] = memory.at, memory.bytes, 0
        words[parallel.NUMBER] = _number
        team(self.native.join, self.context, threads, 0)

    def run(self, stages: tuple[int, int], scratch: int, threads: int) -> None:
        self._hire(min(threads - 1, parallel.MOST_WORKERS))
        self._number += 1
        memory = self._scratch.take(scratch, len(self.workers) + 1)
        self._job[parallel.JOB : parallel.JOB + 4] = (*stages, memory.at, memory.bytes)
        inside = 1
        try:
            self.native.open_job(self.context, self._number)
            for worker in self.workers[: threads - 1]:
                if not self._job[parallel.AWAKE + worker.number * parallel.LINE]:
                    worker.wake()
            inside = self.native.work(self.context)
        finally:
            if inside:
                self._end()

    def _hire(self, count: int) -> None:
        """Have ``count`` workers, or as many as the system gives."""
        while len(self.workers) < count:
            worker = _Worker(self, len(self.workers) + 1)
            try:
                worker.start()
            except RuntimeError:  # no more threads, or the interpreter is shutting down
                return
            self.workers.append(worker)

    def _end(self) -> None:
        """Close the job and wait until no worker is inside, whatever interrupts: until then they use its memory."""
        interrupted: BaseException | None = None
        while True:
            try:
                while self.native.end(self.context):
                    time.sleep(0)
                break
            except BaseException as reason:  # KeyboardInterrupt, or what another signal's handler raises
                interrupted = reason
        if interrupted is not None:
            raise interrupted

    def awake(self) -> bool:
        """Whether a worker waits for a job at this moment."""
        return any(self._job[parallel.AWAKE + worker.number * parallel.LINE] for worker in self.workers)

    def close(self) -> None:
        self.closed = True
        for worker in self.workers:
            worker.wake()
        for worker in self.workers:
            worker.join(0.2)


class _Scratch:
    """Memory for several participants, a part for each, kept as long as it is not large."""

    def __init__(self) -> None:
        self.at = self.bytes = self._parts = 0
        self._memory: Any = None

    def take(self, size: int, parts: int) -> _Scratch:
        """At least ``size`` bytes for each of ``parts``: this, or a larger one that is not kept."""
        if size <= self.bytes and parts <= self._parts:
            return self
        if size > KEPT_SCRATCH:
            return _Scratch()._grow(size, parts)
        return self._grow(max(size, self.bytes), max(parts, self._parts))

    def _grow(self, size: int, parts: int) -> _Scratch:
        # A page and a line apart, so that the same place in two parts does not fall into the same set of a cache.
        self.bytes, self._parts = -(-size // 4096) * 4096 + 4096 + 64, parts
        self._memory = np.empty(self.bytes * parts + 64, np.uint8)
        self.at = -(-self._memory.ctypes.data // 64) * 64
        return self


_team: Team | None = None
_number = 0


def lend(team: Team | None, number: int = 0) -> None:
    """Have jobs done by another library's threads from now on; None: by the pool's own.

    Threads of two libraries that both wait for work awake take the cores from each other.

    Parameters
    ----------
    team : callable, optional
        ``team(function, argument, threads, 0)`` calls the function at an address with the argument on up to ``threads``
        threads at once, the caller's among them, and returns when all have: ``GOMP_parallel`` of an OpenMP runtime.
    number : int
        Where a function without arguments is that gives the number of the calling thread in the team, an ``int`` below
        the number of threads: ``omp_get_thread_num``. 0: there is none, and threads are numbered as they come.
    """
    global _team, _number
    _team, _number = team, number


class _Alone(threading.local):
    """The scratch memory of a thread that works alone."""

    def __init__(self) -> None:
        self.scratch = _Scratch()


_pool: _Pool | None = None
_making = threading.Lock()
_alone = _Alone()


def _forget() -> None:
    """In the child of a fork the workers do not exist, and locks may be held by threads that do not either."""
    global _pool, _making, _team
    _pool, _making, _team = None, threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@atexit.register
def _close() -> None:
    if _pool is not None:
        _pool.close()


def _get() -> _Pool:
    global _pool
    if _pool is None:
        with _making:
            if _pool is None:
                _pool = _Pool()
    return _pool


def run(program: Program, bases: Sequence[int], threads: int = 1, seconds: float = 1.0) -> None:
    """Run every task of ``program``; return when all are done.

    Tasks are the same whatever the number of threads is, so results do not depend on it. The caller's thread takes
    part. Where another call has the threads, this one runs alone.

    Parameters
    ----------
    program : Program
        What is to be done.
    bases : sequence of int
        Addresses of the result, the input, the prepared kernel and what else the program points to, in the order of
        `convkit.codegen.step`, from ``OUT`` on; tables and scratch memory are put in here.
    threads : int
        How many threads may take part.
    seconds : float
        A guess at what it takes one thread: too little work is not worth waking another, unless the call is one of
        many in a row.
    """
    pool = _pool or _get()
    recording.note(program, bases, seconds)
    steps, starts, tables = program.places
    shared = _Bases(0, *bases[:3], tables, *bases[3:])
    divisible = threads > 1 and program.tasks > 1 and seconds > SHARED
    if divisible and _worth(pool, seconds) and not pool.lock.locked():
        with pool.lock:  # not even a signal comes between taking it and the promise to give it back
            _share(pool, (pool.of_one(program, shared), 1), program.scratch, min(threads, program.tasks))
        return
    memory = _alone.scratch.take(program.scratch, 1)
    shared[0] = memory.at
    pool.native.execute(ctypes.addressof(shared), steps, starts, program.tasks)
    if divisible:
        pool.ended = time.perf_counter()


def follow(stages: Stages, threads: int = 1) -> None:
    """Run programs one after another, each when the one before is done, in one job.

    Between two of them nobody returns to Python; otherwise as `run`. Stages serve one call at a time.
    """
    pool = _pool or _get()
    stages.begin()
    places = stages.at, stages.count
    divisible = threads > 1 and stages.tasks > 1 and stages.seconds > SHARED
    if divisible and _worth(pool, stages.seconds) and not pool.lock.locked():
        with pool.lock:
            _share(pool, places, stages.scratch, min(threads, stages.tasks))
        return
    memory = _alone.scratch.take(stages.scratch, 1)
    stages.lend(memory.at, memory.bytes)
    pool.native.take_part(stages.alone, 0)
    if divisible:
        pool.ended = time.perf_counter()


def _worth(pool: _Pool, seconds: float) -> bool:
    """Whether there is enough work that could be shared, with workers that are awake or would have to be woken."""
    return seconds > WAKING or time.perf_counter() - pool.ended < BURST or pool.awake()


def _share(pool: _Pool, stages: tuple[int, int], scratch: int, threads: int) -> None:
    team = _team
    if team is not None:
        pool.run_by(team, stages, scratch, threads)
    else:
        pool.run(stages, scratch, threads)
    pool.ended = time.perf_counter()
