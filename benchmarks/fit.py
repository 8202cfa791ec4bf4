"""Propose rates of the machine model from a file of ``convkit bench choice --json``; nothing is changed.

``python benchmarks/fit.py choice.json`` prints, for each algorithm, by what factor its predictions are off, and the
rates with which they would be off least: least squares in the logarithm of time, one algorithm at a time, then all of
them together. Costs are recomputed from the problems in the file, by the formulas as they are now.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

import convkit.algorithms  # noqa: F401 - they register themselves
from convkit.cli.bench.choice import restored
from convkit.planner import registry
from convkit.planner.machine import Machine

HOLD = 0.05
"""How strongly a rate is held where it is, as if by so many measurements: what hardly matters should hardly move."""

OUTLIER = math.log(3.0)
"""A measurement further off than this counts as if it were no further."""

Measured = list[tuple[Callable[[Machine], float], float]]


def measurements(document: dict[str, Any]) -> dict[str, Measured]:
    """For each algorithm the predictions, as functions of the machine, and the seconds that were measured."""
    found: dict[str, Measured] = {}
    for result in document["results"]:
        problem = restored(result["lowered"])
        for name, run in result["algorithms"].items():
            algorithm = registry.algorithm(name)
            if algorithm.applies(problem) is None:
                predict = lambda machine, a=algorithm, p=problem: a.cost(p, machine).seconds  # noqa: E731
                found.setdefault(name, []).append((predict, run["measured"]))
    return found


def residuals(measured: Measured, logs: np.ndarray) -> np.ndarray:
    """``log(predicted / measured)`` for each measurement."""
    machine = machine_of(logs)
    return np.array([math.log(predict(machine) / seconds) for predict, seconds in measured])


def machine_of(logs: Sequence[float] | np.ndarray) -> Machine:
    """The machine with these logarithms of rates."""
    return Machine(*(math.exp(value) for value in logs))


def fitted(measured: Measured, start: Machine, turns: int = 12) -> Machine:
    """The rates that make the predictions best, by Gauss and Newton's method, kept near ``start`` where they may be."""
    origin = np.log([getattr(start, field.name) for field in fields(Machine)])
    logs, step = origin.copy(), 1e-3
    for _ in range(turns):
        now = residuals(measured, logs)
        slopes = np.stack(
            [(residuals(measured, logs + step * unit) - now) / step for unit in np.eye(len(logs))], axis=1
        )
        weights = np.minimum(1.0, OUTLIER / np.maximum(np.abs(now), 1e-9))
        square = (slopes * weights[:, None]).T @ slopes + HOLD * np.eye(len(logs))
        move = np.linalg.solve(square, -(slopes * weights[:, None]).T @ now - HOLD * (logs - origin))
        move = np.clip(move, -1.0, 1.0)
        logs = logs + move
        if np.abs(move).max() < 1e-3:
            break
    return machine_of(logs)


def spread(measured: Measured, machine: Machine) -> tuple[float, float]:
    """The factor by which predictions are off in the mean, and the typical factor around it."""
    logs = np.log([getattr(machine, field.name) for field in fields(Machine)])
    off = residuals(measured, logs)
    return math.exp(float(off.mean())), math.exp(float(np.abs(off - np.median(off)).mean()))


def report(document: dict[str, Any]) -> str:
    """What is printed."""
    start = Machine(**document["machine"])
    lines: list[str] = []
    found = measurements(document)
    together = [one for measured in found.values() for one in measured]
    for name, measured in [*found.items(), ("together", together)]:
        machine = fitted(measured, start)
        before, after = spread(measured, start), spread(measured, machine)
        lines.append(
            f"{name}: {len(measured)} measurements, predicted/measured {before[0]:.2f} (x/ {before[1]:.2f}), "
            f"with the rates below {after[0]:.2f} (x/ {after[1]:.2f})"
        )
        old, new = asdict(start), asdict(machine)
        moved = [
            f"{rate} {old[rate]:.3g} -> {new[rate]:.3g}" for rate in old if abs(math.log(new[rate] / old[rate])) > 0.02
        ]
        lines.append("    " + (", ".join(moved) or "no rate moves"))
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
