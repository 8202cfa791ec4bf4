"""Wisdom: which algorithm won when it was measured, remembered between runs by problem, machine and NumPy."""

from __future__ import annotations

import json
import threading
import warnings
from pathlib import Path

import numpy as np

from convkit.catalogue import say
from convkit.planner.machine import cpu_name
from convkit.planner.problem import Problem
from convkit.storage import cache_file, write_whole

_lock = threading.Lock()


def _file() -> Path | None:
    return cache_file("wisdom.json")


def _key(problem: Problem) -> str:
    return f"{problem!r} | {cpu_name()} | numpy {np.__version__}"


def _read() -> dict[str, dict[str, float]]:
    path = _file()
    if path is None or not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(key): {str(name): float(seconds) for name, seconds in timings.items()}
            for key, timings in stored.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as damage:
        warnings.warn(say("plan.damaged", path=path, damage=damage), stacklevel=3)
        return {}


def recall(problem: Problem) -> dict[str, float]:
    """Seconds by algorithm, as measured before; empty if this problem never was."""
    return _read().get(_key(problem), {})


def remember(problem: Problem, timings: dict[str, float]) -> None:
    """Keep the timings; the file is replaced whole, and where it cannot be written nothing is remembered."""
    with _lock:
        known = _read()
        known[_key(problem)] = timings
        write_whole(_file(), json.dumps(known, indent=1))
