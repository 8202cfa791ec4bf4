"""What every race writes: durations as people read them, and documents with what was measured with."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import convkit
from convkit.cli.bench.peers import versions
from convkit.errors import FileError
from convkit.planner.machine import Machine, cpu_name
from convkit.storage import write_whole

FORMAT = 3
"""The version of the document's form."""


def duration(seconds: float) -> str:
    """Seconds as people read them.

    Examples
    --------
    >>> duration(0.00123), duration(4.2e-6), duration(2.5)
    ('1.23 ms', '4.20 us', '2.50 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds / size >= 100 else f"{seconds / size:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def surroundings(rounds: int, threads: int, machine: Machine) -> dict[str, Any]:
    """What is measured with: versions, the processor, its rates."""
    return {
        "format": FORMAT,
        "convkit": convkit.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "rounds": rounds,
        "versions": versions(),
        "machine": asdict(machine),
    }


def write(out: Path, document: dict[str, Any]) -> None:
    """Write results whole or not at all.

    Raises
    ------
    FileError
        ``file.bench-unwritable``.
    """
    if not write_whole(out, json.dumps(document, indent=1, ensure_ascii=False) + "\n"):
        raise FileError("bench-unwritable", path=out)
