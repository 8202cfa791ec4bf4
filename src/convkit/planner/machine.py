"""The machine model: a handful of rates that costs are computed from; measured once on request, then remembered."""

from __future__ import annotations

import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np

from convkit.catalogue import say
from convkit.storage import cache_file, write_whole


@dataclass(frozen=True, slots=True)
class Machine:
    """Rates of one machine, for float32 work on arrays that fit the second-level cache unless said otherwise.

    The defaults are what `measure` found on two Zen 4 cores, the machine on which the constants of all costs were
    fitted; they serve until it is asked for.

    Attributes
    ----------
    elementwise : float
        Elements per second of one multiply-and-add pass over arrays (NumPy, one thread).
    matrix : float
        Floating-point operations per second of matrix multiplication (NumPy's BLAS, its own threads).
    transform : float
        Floating-point operations per second of a real FFT, counting ``2.5 L log2 L`` (one thread).
    bandwidth : float
        Bytes per second of copying arrays larger than the caches.
    call : float
        Seconds of one NumPy call on a tiny array.
    fused : float
        Floating-point operations per second of a compiled loop of multiply-adds (one thread).
    """

    elementwise: float = 4.5e9
    matrix: float = 2.1e11
    transform: float = 1.0e10
    bandwidth: float = 3.6e10
    call: float = 4.0e-7
    fused: float = 1.09e11


DEFAULT = Machine()
"""The machine that block sizes are worked out for, so that measuring one does not change results."""


SHARED = 8.5e-5
"""Seconds of compiled work below which no sleeping thread is woken for it."""


def on_two_threads(seconds: float, tasks: float) -> float:
    """What two threads take for compiled work of ``seconds``.

    Models describe two threads, whatever their number is, so that it does not decide how sums are formed.
    """
    return seconds if tasks <= 1 else max(min(seconds, SHARED), seconds / 1.85)


ONE_TASK = 1.6
"""How much sooner two threads do what is one task for one sample: not at all then, twice as soon with a batch."""


def layer_on_two_threads(seconds: float, tasks: int, batch_of: str) -> float:
    """What two threads take for a layer's ``tasks``, likewise.

    Samples are planned one by one, but networks take them in batches; the plan of a gradient of weights
    (``batch_of="channels"``) knows all of its tasks.
    """
    return seconds / (1.9 if tasks > 1 else ONE_TASK if batch_of == "samples" else 1.0)


def width(dtype: str) -> float:
    """How much slower than float32 arithmetic in ``dtype`` is."""
    return {
        "float32": 1.0,
        "complex64": 3.0,
        "float64": 2.0,
        "complex128": 6.0,
        "int64": 3.0,
        "uint64": 3.0,
    }.get(dtype, 16.0)


def _seconds(work: Callable[[], object], budget: float = 0.02) -> float:
    work()
    best, spent = float("inf"), 0.0
    while spent < budget:
        start = time.perf_counter()
        work()
        took = time.perf_counter() - start
        best, spent = min(best, took), spent + took
    return best


def measure() -> Machine:
    """Measure this machine, in about a fifth of a second, and remember it in the cache folder."""
    from convkit.planner.probes import measured

    a = np.ones(16384, np.float32)
    b, square = np.ones_like(a), np.ones((768, 768), np.float32)
    tiny, large = np.ones(4), np.ones(1 << 22)
    target = np.empty_like(large)

    def multiply_add() -> None:
        np.multiply(a, np.float32(1.0), out=b)
        np.add(a, b, out=b)

    machine = Machine(
        elementwise=a.size / _seconds(multiply_add),
        matrix=2 * 768**3 / _seconds(lambda: square @ square),
        transform=measured("transform", _seconds, DEFAULT.transform),
        bandwidth=2 * large.nbytes / _seconds(lambda: np.copyto(target, large)),
        call=_seconds(lambda: np.multiply(tiny, tiny, out=tiny), 0.002),
        fused=measured("fused", _seconds, DEFAULT.fused),
    )
    write_whole(_file(), json.dumps({"cpu": cpu_name(), **asdict(machine)}, indent=1))
    current.cache_clear()
    return machine


@lru_cache(maxsize=1)
def cpu_name() -> str:
    """The processor's name as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            for line in info:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _file() -> Path | None:
    return cache_file("machine.json")


_chosen: list[Machine] = []


@contextmanager
def used(machine: Machine) -> Generator[None]:
    """New plans of this process are made by these rates, whatever is measured and remembered."""
    _chosen.append(machine)
    current.cache_clear()
    try:
        yield
    finally:
        _chosen.pop()
        current.cache_clear()


@lru_cache(maxsize=1)
def current() -> Machine:
    """The rates in `used`; else the remembered measurement of this machine if it is sound, or the defaults."""
    if _chosen:
        return _chosen[-1]
    path = _file()
    if path is None or not path.exists() or os.environ.get("CONVKIT_MACHINE") == "default":
        return DEFAULT
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["cpu"] != cpu_name() or "fused" not in stored:  # another machine's, or from before it was measured
            return DEFAULT
        rates = {field.name: float(stored[field.name]) for field in fields(Machine)}
        if not all(0 < rate < 1e18 for rate in rates.values()):
            raise ValueError("a rate is not a positive number")
    except (OSError, ValueError, KeyError, TypeError) as damage:
        warnings.warn(say("plan.damaged", path=path, damage=damage), stacklevel=2)
        return DEFAULT
    return Machine(**rates)
