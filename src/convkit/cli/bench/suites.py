"""The suites: which problems are measured together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product

from convkit.cli.bench.layers import layers, layers_full
from convkit.cli.bench.problems import Problem
from convkit.cli.bench.random_problems import random_problems
from convkit.errors import choose

SIDES = (256, 512, 1024, 2048, 4096)
KERNELS = (3, 5, 7, 9, 11, 15, 21, 31, 63)
SIGMAS = (1, 2, 3, 5, 10, 20)
BOXES = (3, 5, 7, 9, 15, 21, 31, 51, 101)
LENGTHS = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
ROWS = (5, 31, 255, 4095, 100_001)


def _image(suite: str, side: int, k: int, dtype: str, **other: object) -> Problem:
    return Problem(suite, "filter", (side, side), (k, k), dtype, **other)  # type: ignore[arg-type]


def _gaussian(suite: str, side: int, sigma: int, dtype: str, tolerance: float = 0.0) -> Problem:
    """Bytes are cut at 3 sigma, floats at 4: what OpenCV takes by itself for either."""
    taps = 2 * (3 if dtype == "uint8" else 4) * sigma + 1
    return _image(
        suite, side, taps, dtype, values="gaussian", sigma=float(sigma), boundary="reflect",
        tolerance=tolerance,
    )  # fmt: skip


def _box(suite: str, side: int, k: int, dtype: str) -> Problem:
    return _image(suite, side, k, dtype, values="box", boundary="reflect")


def _sobel(suite: str, side: int, dtype: str) -> Problem:
    result = "int16" if dtype == "uint8" else ""
    return _image(suite, side, 3, dtype, values="derivative", boundary="reflect", result=result)


def _filters() -> list[Problem]:
    suite = "filters"
    kinds = {"float32": KERNELS, "float64": KERNELS, "uint8": (3, 5, 7, 9, 11, 15)}
    found = [_image(suite, 2048, k, dtype) for dtype, sizes in kinds.items() for k in sizes]
    found += [_image(suite, 2048, k, dtype, values="separable") for dtype in kinds for k in (5, 31)]
    for dtype in ("float32", "uint8"):
        found += [_gaussian(suite, 2048, sigma, dtype) for sigma in (1, 3, 10)]
        found += [_box(suite, 2048, k, dtype) for k in (3, 15, 101)]
        found.append(_sobel(suite, 2048, dtype))
    rows = [(100_000, 31), (1_000_000, 31), (10_000_000, 31), *((1_000_000, k) for k in (255, 4095, 100_001))]
    found += [Problem(suite, "filter", (n,), (k,), dtype) for dtype in ("float32", "float64") for n, k in rows]
    found += [Problem(suite, "filter", (128,) * 3, (k,) * 3, dtype) for dtype in ("float32", "float64") for k in (3, 5)]
    found.append(Problem(suite, "filter", (1_000_000,), (255,), "int64"))
    return found + _tiny(suite)


def _tiny(suite: str) -> list[Problem]:
    found = [
        Problem(suite, "filter", (n,), (k,), dtype)
        for n, k in ((100, 5), (1000, 31))
        for dtype in ("float32", "float64")
    ]
    return found + [_image(suite, 64, 3, dtype) for dtype in ("float32", "float64", "uint8")]


def _images() -> list[Problem]:
    suite, kinds, values = "filters-images", ("float32", "float64", "uint8"), ("dense", "separable")
    found = [_image(suite, n, k, dtype, values=v) for dtype, n, v, k in product(kinds, SIDES, values, KERNELS)]
    photo = [(v, k) for v in values for k in KERNELS]
    return found + [
        Problem(suite, "filter", (1080, 1920, 3), (k, k), "uint8", axes=(0, 1), values=v)  # type: ignore[arg-type]
        for v, k in photo
    ]


def _signals() -> list[Problem]:
    suite, kinds = "filters-signals", ("float32", "float64")
    found = [Problem(suite, "filter", (n,), (k,), d) for d, n, k in product(kinds, LENGTHS, ROWS) if k <= n]
    # Small numbers fit a float64 sum; large ones do not.
    return found + [
        Problem(suite, "filter", (1_000_000,), (k,), "int64", span=s) for s in (1000, 1 << 24) for k in (31, 255)
    ]


def _volumes() -> list[Problem]:
    suite, values = "filters-volumes", ("dense", "separable")
    kinds = ("float32", "float64")
    return [
        Problem(suite, "filter", (128,) * 3, (k,) * 3, dtype, values=v)  # type: ignore[arg-type]
        for dtype, v, k in product(kinds, values, (3, 5, 7))
    ]


def _smoothing() -> list[Problem]:
    suite, found = "filters-smoothing", []
    for dtype, side in product(("float32", "uint8"), (512, 2048)):
        found += [_gaussian(suite, side, sigma, dtype) for sigma in SIGMAS]
        found += [_box(suite, side, k, dtype) for k in BOXES]
        found.append(_sobel(suite, side, dtype))
    # Wide ones once more within an error that is asked for: their cost does not grow with sigma.
    return found + [_gaussian(suite, 2048, sigma, "float32", 1e-4) for sigma in (10, 20, 40)]


def _small() -> list[Problem]:
    suite = "filters-small"
    rows = [(10, 3), (100, 5), (1000, 31), (1000, 255)]
    found = [
        Problem(suite, "filter", (n,), (k,), d) for n, k in rows for d in ("float32", "float64", "int64", "complex128")
    ]
    sides = [(8, 3), (64, 3), (64, 7), (100, 5)]
    return found + [_image(suite, n, k, d) for n, k in sides for d in ("float32", "float64", "uint8")]


def _kinds() -> list[Problem]:
    suite, found = "filters-kinds", []
    for dtype in ("complex64", "complex128", "float16"):
        found += [Problem(suite, "filter", (1_000_000,), (k,), dtype) for k in (31, 255)]
        found += [_image(suite, 1024, k, dtype) for k in (3, 7, 15)]
    for dtype, k in product(("float32", "float64", "uint8"), (3, 7)):
        found += [
            _image(suite, 1024, k, dtype, **o) for o in ({"stride": 2}, {"dilation": 2}, {"stride": 2, "dilation": 3})
        ]
    for boundary in ("edge", "reflect", "symmetric", "wrap"):
        found += [_image(suite, 1024, 7, dtype, boundary=boundary) for dtype in ("float32", "uint8")]
    for layout in ("transposed", "reversed", "sliced"):
        found.append(_image(suite, 1024, 7, "float32", layout=layout))
    return found


def _overhead() -> list[Problem]:
    return [Problem("overhead", "filter", (100,), (5,), "float64")]


SUITES: dict[str, Callable[[], list[Problem]]] = {
    "filters": _filters,
    "layers": layers,
    "overhead": _overhead,
    "filters-images": _images,
    "filters-signals": _signals,
    "filters-volumes": _volumes,
    "filters-smoothing": _smoothing,
    "filters-small": _small,
    "filters-kinds": _kinds,
    "layers-full": layers_full,
    "random": random_problems,
}
"""The suites by name."""

MINUTES = {"layers": 4.0}
"""How long the suites that are looked at often may take, about."""

RACING = 0.4
"""The part of that in which contenders race; the rest goes into making them ready and checking their results."""

TOGETHER = {
    "all": ("filters", "layers", "overhead"),
    "filters-full": (
        "filters-images",
        "filters-signals",
        "filters-volumes",
        "filters-smoothing",
        "filters-small",
        "filters-kinds",
    ),
}
"""Names that stand for several suites."""


def longest(problems: Sequence[Problem]) -> dict[str, float]:
    """Seconds of racing for each problem of the suites that have to end in time."""
    counts = Counter(problem.suite for problem in problems)
    return {suite: 60 * minutes * RACING / counts[suite] for suite, minutes in MINUTES.items() if counts[suite]}


def suites(names: Sequence[str]) -> list[Problem]:
    """The problems of the suites named, in order, each once."""
    chosen: list[Problem] = []
    for name in names:
        choose("suite", name, (*SUITES, *TOGETHER))
        for suite in TOGETHER.get(name, (name,)):
            chosen += [problem for problem in SUITES[suite]() if problem not in chosen]
    return chosen
