"""How many threads convkit uses, and one way of using them: independent tasks, split before they start.

Tasks are cut by the shape of the problem alone, never by the number of threads, so a result has the same bits with one
thread or many. A pool belongs to the process that made it: after a fork the child makes its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from convkit.errors import OptionError
from convkit.spec.options import whole_number

WAKING = 2e-4
"""Seconds of work below which handing some of it to another thread costs more than it saves."""

_lock = threading.Lock()
_inside = threading.local()
_count: int | None = None
_pool: ThreadPoolExecutor | None = None
_pool_owner: tuple[int, int] = (0, 0)


def _available() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_threads() -> int:
    """Threads that large problems may use: ``CONVKIT_NUM_THREADS``, or the cores this process may run on."""
    global _count
    if _count is None:
        wished = os.environ.get("CONVKIT_NUM_THREADS", "").strip()
        if wished and not wished.isdigit():
            raise OptionError("not-a-whole-number", option="CONVKIT_NUM_THREADS", value=repr(wished), least=1)
        _count = whole_number("CONVKIT_NUM_THREADS", int(wished), 1) if wished else _available()
    return _count


def set_num_threads(n: int) -> None:
    """Use at most ``n`` threads from now on; results do not depend on it.

    Raises
    ------
    OptionError
        ``option.too-small`` for n < 1, ``option.not-a-whole-number`` for anything but an integer.
    """
    global _count
    _count = whole_number("num_threads", n, 1)


def _workers(count: int) -> ThreadPoolExecutor:
    global _pool, _pool_owner
    with _lock:
        if _pool is None or _pool_owner != (os.getpid(), count):
            # After a fork the old pool's threads do not exist; it is dropped without being joined.
            if _pool is not None and _pool_owner[0] == os.getpid():
                _pool.shutdown(wait=False)
            _pool, _pool_owner = ThreadPoolExecutor(count, thread_name_prefix="convkit"), (os.getpid(), count)
        return _pool


def run_all(tasks: Sequence[Callable[[], None]], seconds: float = 1.0) -> None:
    """Run every task, on several threads where that helps, and return when all are done.

    The caller's thread takes part. Tasks started from inside a task run in place, so nested use cannot deadlock.
    ``seconds`` is a guess at what all of them take together: too little work is not worth waking a thread.
    """
    threads = min(num_threads(), len(tasks)) if seconds > WAKING else 1
    if threads <= 1 or getattr(_inside, "busy", False):
        for task in tasks:
            task()
        return

    def work(start: int) -> None:
        _inside.busy = True
        try:
            for task in tasks[start::threads]:
                task()
        finally:
            _inside.busy = False

    try:
        # Each worker sees the caller's context: NumPy's error state, the language.
        futures = [_workers(threads - 1).submit(copy_context().run, work, start) for start in range(1, threads)]
    except RuntimeError:  # another thread has just replaced the pool, or the interpreter is shutting down
        for task in tasks:
            task()
        return
    try:
        work(0)
    finally:
        for future in futures:
            future.result()
