"""Who takes part: convkit, and every peer installed beside it at its best settings.

A contender prepares itself once (moving data into the layout it likes best, transforming nothing that it would have to
transform in use) and is then a function of no arguments.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from convkit.cli.bench.problems import Problem
from convkit.cli.bench.ways import by_convkit, by_numpy, by_onnxruntime, by_opencv, by_openvino, by_scipy, by_torch
from convkit.cli.bench.ways.way import Results, Run, Way


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of one library.

    Attributes
    ----------
    library : str
        Whose it is; ``"convkit"`` for this one.
    name : str
        Library and way, as printed.
    run : callable
        What is timed.
    read : callable
        Turns what ``run`` returned into the problem's layout, outside the timing.
    allowance, threads
        As in `Way`.
    """

    library: str
    name: str
    run: Run
    read: Callable[[Any], Results]
    allowance: float = 0.0
    threads: str = ""


WAYS: dict[str, Callable[[Problem], Iterator[Way]]] = {
    "convkit": by_convkit.ways,
    "NumPy": by_numpy.ways,
    "SciPy": by_scipy.ways,
    "OpenCV": by_opencv.ways,
    "torch": by_torch.ways,
    "ONNX Runtime": by_onnxruntime.ways,
    "OpenVINO": by_openvino.ways,
}
"""The libraries, and what each brings to a problem."""


INSTALLED = (
    "numpy", "ducc0", "llvmlite", "scipy", "opencv-python-headless", "opencv-python", "torch", "onnx", "onnxruntime",
    "openvino",
)  # fmt: skip
"""The packages whose versions are noted."""


def contenders(problem: Problem) -> list[Contender]:
    """Everybody who can do the problem, convkit first."""
    found: list[Contender] = []
    for library, make in WAYS.items():
        if importlib.util.find_spec(_module(library)) is not None:
            found += [
                Contender(library, f"{library} {way.name}".strip(), way.run, way.read, way.allowance, way.threads)
                for way in make(problem)
            ]
    return found


def versions() -> dict[str, str]:
    """The version of everybody who may take part and is installed."""
    found: dict[str, str] = {}
    for name in INSTALLED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Give everybody ``count`` threads, and what they had before afterwards."""
    from convkit.threads import num_threads, set_num_threads

    before = num_threads()
    undo: list[Callable[[], object]] = [lambda: set_num_threads(before)]
    set_num_threads(count)
    if importlib.util.find_spec("cv2") is not None:
        import cv2

        had = cv2.getNumThreads()
        undo.append(lambda: cv2.setNumThreads(had))
        cv2.setNumThreads(count)
    if importlib.util.find_spec("torch") is not None:
        import torch

        held = torch.get_num_threads()
        undo.append(lambda: torch.set_num_threads(held))
        torch.set_num_threads(count)
    try:
        yield
    finally:
        for step in undo:
            step()


def _module(library: str) -> str:
    return {"OpenCV": "cv2", "ONNX Runtime": "onnxruntime"}.get(library, library.lower())
