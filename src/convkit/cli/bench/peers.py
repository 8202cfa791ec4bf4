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

import numpy as np

from convkit.cli.bench.problems import Problem

Results = tuple[np.ndarray, ...]
Run = Callable[[], object]

SLIDING_LIMIT = 6e9
"""Operations up to which SciPy's sliding loops take part; beyond it they need seconds, others milliseconds."""


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
    """

    library: str
    name: str
    run: Run
    read: Callable[[Any], Results]


def contenders(problem: Problem) -> list[Contender]:
    """Everybody who can do the problem, convkit first."""
    found: list[Contender] = []
    for library, make in MAKERS.items():
        if importlib.util.find_spec(_module(library)) is not None:
            found += [Contender(library, f"{library} {way}".strip(), run, read) for way, run, read in make(problem)]
    return found


def versions() -> dict[str, str]:
    """The version of everybody who may take part and is installed."""
    found: dict[str, str] = {}
    for name in ("numpy", "ducc0", "llvmlite", "scipy", "opencv-python-headless", "opencv-python", "torch"):
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


Way = tuple[str, Run, Callable[[Any], Results]]


def _module(library: str) -> str:
    return {"OpenCV": "cv2"}.get(library, library.lower())


def _one(value: object) -> Results:
    return (np.asarray(value),)


def _ours(problem: Problem) -> Iterator[Way]:
    from convkit import verbs

    x, k = problem.arrays()
    if problem.kind == "filter":
        kind = "uint8" if problem.dtype == "uint8" else None
        yield "", lambda: verbs.correlate(x, k, "same", dtype=kind), _one
        return
    options: dict[str, Any] = {"stride": problem.stride, "padding": problem.padding, "groups": problem.groups}
    if problem.direction == "forward":
        yield "", lambda: verbs.conv(x, k, **options), _one
        return

    def train() -> Results:
        y = verbs.conv(x, k, **options)
        return (
            y,
            verbs.conv_input_gradient(y, k, x.shape, **options),
            verbs.conv_weight_gradient(y, x, k.shape, **options),
        )

    yield "", train, tuple


def _numpy(problem: Problem) -> Iterator[Way]:
    if problem.kind == "filter" and len(problem.shape) == 1 and problem.flops < SLIDING_LIMIT:
        x, k = problem.arrays()
        yield "correlate", lambda: np.correlate(x, k, "same"), _one


def _scipy(problem: Problem) -> Iterator[Way]:
    if problem.kind != "filter" or problem.dtype == "uint8":
        return  # SciPy's filters cut the fractions of bytes off; that is another result
    from scipy import fft, ndimage, signal

    from convkit.threads import num_threads

    x, k = problem.arrays()
    flipped = np.ascontiguousarray(np.flip(k))
    count = num_threads()

    def spread(call: Run) -> Run:
        def run() -> object:
            with fft.set_workers(count):
                return call()

        return run

    yield "fftconvolve", spread(lambda: signal.fftconvolve(x, flipped, "same")), _one
    yield "oaconvolve", spread(lambda: signal.oaconvolve(x, flipped, "same")), _one
    if problem.flops < SLIDING_LIMIT:
        yield "correlate direct", lambda: signal.correlate(x, k, "same", "direct"), _one
        yield "ndimage.correlate", lambda: ndimage.correlate(x, k, mode="constant"), _one


def _opencv(problem: Problem) -> Iterator[Way]:
    if problem.kind != "filter" or len(problem.shape) > 2:
        return
    import cv2

    x, k = (np.atleast_2d(array) for array in problem.arrays())
    run = lambda: cv2.filter2D(x, -1, k, borderType=cv2.BORDER_CONSTANT)  # noqa: E731 - passed on, not called here
    yield "filter2D", run, lambda value: (np.asarray(value).reshape(problem.shape),)


def _torch(problem: Problem) -> Iterator[Way]:
    if problem.dtype == "uint8":
        return
    import torch

    rank = len(problem.taps)
    if rank > 3:
        return
    call = getattr(torch.nn.functional, f"conv{rank}d")
    arrays = problem.arrays()
    if problem.kind == "filter":
        # Padding on both sides is the whole of 'same' for odd kernels only.
        if any(taps % 2 == 0 for taps in problem.taps):
            return
        arrays = tuple(array[None, None] for array in arrays)  # type: ignore[assignment]
    x, k = (torch.from_numpy(array) for array in arrays)
    padding = [taps // 2 for taps in problem.taps] if problem.kind == "filter" else problem.padding
    options = {"stride": problem.stride, "padding": padding, "groups": problem.groups}
    layouts = {"": torch.contiguous_format}
    if problem.kind == "layer" and rank > 1:
        last = torch.channels_last if rank == 2 else torch.channels_last_3d
        layouts = {"channels first": torch.contiguous_format, "channels last": last}
    for way, layout in layouts.items():
        yield f"{way} conv{rank}d".strip(), *_torch_run(problem, call, x, k, layout, options)


def _torch_run(
    problem: Problem, call: Callable[..., Any], x: Any, k: Any, layout: Any, options: dict[str, Any]
) -> tuple[Run, Callable[[Any], Results]]:
    import torch

    x, k = x.contiguous(memory_format=layout), k.contiguous(memory_format=layout)

    def forward() -> object:
        with torch.no_grad():
            return (call(x, k, **options),)

    def train() -> object:
        a, b = x.detach().requires_grad_(), k.detach().requires_grad_()
        y = call(a, b, **options)
        return (y, *torch.autograd.grad(y, (a, b), y.detach()))

    def read(value: Any) -> Results:
        results = tuple(tensor.detach().contiguous().numpy() for tensor in value)
        return tuple(result[0, 0] for result in results) if problem.kind == "filter" else results

    return (forward if problem.direction == "forward" else train), read


MAKERS: dict[str, Callable[[Problem], Iterator[Way]]] = {
    "convkit": _ours,
    "NumPy": _numpy,
    "SciPy": _scipy,
    "OpenCV": _opencv,
    "torch": _torch,
}
"""The libraries, and what each brings to a problem."""
