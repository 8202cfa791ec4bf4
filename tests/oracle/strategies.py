"""The option lattice as hypothesis strategies: every draw is a call that the verbs must answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from convkit.spec.options import BOUNDARIES

LARGEST = {1: (13, 6), 2: (7, 4), 3: (5, 3)}
"""For each rank, the largest axis of an input and of a kernel."""

DTYPES = (
    ("float64", "float64"),
    ("int64", "int64"),
    ("float32", "float32"),
    ("uint8", "int16"),
    ("uint8", "uint16"),
    ("bool", "int32"),
    ("uint8", "float32"),
    ("complex128", "complex128"),
    ("float32", "complex64"),
    ("float16", "float16"),
)
EXACT_DTYPES = tuple(pair for pair in DTYPES if np.dtype(pair[0]).kind in "iub" and np.dtype(pair[1]).kind in "iub")


def lattice(examples: int) -> settings:
    """The same draws on every run, as many as ``examples``."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=quiet)


@dataclass
class Case:
    """One call: arrays and options."""

    x: np.ndarray
    k: np.ndarray
    operation: str = "convolution"
    mode: str = "full"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> dict[str, Any]:
        """The options without those that only say how numbers are treated."""
        return {name: value for name, value in self.options.items() if name not in ("dtype", "overflow")}


def random_array(shape: tuple[int, ...], dtype: str, seed: int, zero_free: bool = False) -> np.ndarray:
    """Values that tell a flip from none: random, signed where the dtype allows it."""
    source, kind = np.random.default_rng(seed), np.dtype(dtype)
    if kind.kind == "b":
        return source.integers(0, 2, shape).astype(bool)
    if kind.kind == "u":
        return source.integers(1 if zero_free else 0, 90, shape).astype(kind)
    if kind.kind == "i":
        values = source.integers(-90, 91, shape)
        return np.where(values == 0, 7, values).astype(kind) if zero_free else values.astype(kind)
    values = source.standard_normal(shape)
    return (values + 1j * source.standard_normal(shape) if kind.kind == "c" else values).astype(kind)


def spread(draw: st.DrawFn, each: st.SearchStrategy[Any], rank: int) -> Any:
    """One value for all axes, or a tuple with one for each."""
    return draw(st.one_of(each, st.tuples(*[each] * rank)))


def boundaries(draw: st.DrawFn, rank: int, names: tuple[str, ...] = BOUNDARIES) -> Any:
    """A name, a name an axis, or a pair an axis."""
    name = st.sampled_from(names)
    return draw(st.one_of(name, st.tuples(*[st.one_of(name, st.tuples(name, name))] * rank)))


@st.composite
def array_cases(draw: st.DrawFn, dtypes: tuple[tuple[str, str], ...] = DTYPES, axes: str = "sometimes") -> Case:
    """A call of ``convolve`` or ``correlate``: ranks 1-3 and every option."""
    rank = draw(st.integers(1, 3))
    operation = draw(st.sampled_from(("convolution", "correlation")))
    mode = draw(st.sampled_from(("full", "same", "valid")))
    largest, widest = LARGEST[rank]
    kernel = tuple(draw(st.integers(1, widest)) for _ in range(rank))
    options: dict[str, Any] = {
        "boundary": boundaries(draw, rank),
        "stride": spread(draw, st.integers(1, 3), rank),
        "dilation": spread(draw, st.integers(1, 3 if rank < 3 else 2), rank),
    }
    dilations = options["dilation"] if isinstance(options["dilation"], tuple) else (options["dilation"],) * rank
    reaches = [d * (k - 1) + 1 for k, d in zip(kernel, dilations)]
    sizes = [draw(st.integers(r if mode == "valid" else 1, max(largest, r))) for r in reaches]
    if len(set(sizes)) < rank:
        sizes = [size + i for i, size in enumerate(sizes)]
    if mode != "valid" and draw(st.integers(0, 19)) == 0:
        sizes[draw(st.integers(0, rank - 1))] = 0
        options["boundary"] = "zero"
    if mode == "same" and draw(st.booleans()):
        options["anchor"] = tuple(draw(st.integers(0, size - 1)) for size in kernel)
    x_dtype, k_dtype = draw(st.sampled_from(dtypes))
    whole = all(np.dtype(name).kind in "iub" for name in (x_dtype, k_dtype))
    unsigned = all(np.dtype(name).kind == "u" for name in (x_dtype, k_dtype))
    options["fill"] = draw(st.sampled_from((0, 3) if unsigned else (0, -7) if whole else (0, 0.5, -2)))
    shape, k_shape = list(sizes), kernel
    if axes == "always" or (axes == "sometimes" and draw(st.integers(0, 3)) == 0):
        extra = draw(st.integers(1, 2 if rank < 3 else 1))
        places = sorted(draw(st.permutations(range(rank + extra)))[:rank])
        shape = [draw(st.integers(1, 3)) for _ in range(rank + extra)]
        full = [draw(st.sampled_from((1, n))) for n in shape]
        for place, size, reach in zip(places, sizes, kernel):
            shape[place], full[place] = size, reach
        options["axes"] = tuple(draw(st.sampled_from((p, p - len(shape)))) for p in places)
        k_shape = draw(st.sampled_from((kernel, tuple(full))))
    seed = draw(st.integers(0, 999))
    return Case(
        random_array(tuple(shape), x_dtype, seed),
        random_array(k_shape, k_dtype, seed + 1000),
        operation,
        mode,
        options,
    )


@st.composite
def network_cases(draw: st.DrawFn, dtype: str = "float64", direction: str = "forward") -> Case:
    """A call of ``conv`` or ``conv_transpose``: ranks 1-3 and every option; ``k`` holds the weights."""
    rank = draw(st.integers(1, 3))
    largest, widest = LARGEST[rank]
    kernel = tuple(draw(st.integers(1, min(widest, 4))) for _ in range(rank))
    groups = draw(st.integers(1, 3))
    ins, outs = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    options: dict[str, Any] = {
        "stride": spread(draw, st.integers(1, 3), rank),
        "dilation": spread(draw, st.integers(1, 2), rank),
        "groups": groups,
        "operation": draw(st.sampled_from(("convolution", "correlation"))),
    }
    strides = options["stride"] if isinstance(options["stride"], tuple) else (options["stride"],) * rank
    dilations = options["dilation"] if isinstance(options["dilation"], tuple) else (options["dilation"],) * rank
    reaches = [d * (k - 1) + 1 for k, d in zip(kernel, dilations)]
    pad = st.integers(0, 3)
    batch = draw(st.integers(1, 2))
    if direction == "transposed":
        sizes = [draw(st.integers(1, largest - 1)) for _ in range(rank)]
        pads = []
        for n, s, r in zip(sizes, strides, reaches):
            room = (n - 1) * s + r - 1
            before = draw(st.integers(0, min(2, room)))
            pads.append((before, draw(st.integers(0, min(2, room - before)))))
        options["padding"] = tuple(pads)
        options["output_padding"] = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(strides, dilations))
        shapes = (batch, groups * ins, *sizes), (groups * ins, outs, *kernel)
    else:
        options["padding"] = draw(
            st.one_of(
                st.sampled_from(("same", "valid")),
                pad,
                st.tuples(*[pad] * rank),
                st.tuples(*[st.tuples(pad, pad)] * rank),
            )
        )
        options["boundary"] = boundaries(draw, rank)
        options["fill"] = draw(st.sampled_from((0, 3)))
        pads = _pad_totals(options["padding"], rank, reaches)
        sizes = [draw(st.integers(max(1, r - p), max(largest, r - p))) for r, p in zip(reaches, pads)]
        if len(set(sizes)) < rank:
            sizes = [size + i for i, size in enumerate(sizes)]
        shapes = (batch, groups * ins, *sizes), (groups * outs, ins, *kernel)
    seed = draw(st.integers(0, 999))
    return Case(random_array(shapes[0], dtype, seed), random_array(shapes[1], dtype, seed + 1000), options=options)


def _pad_totals(padding: Any, rank: int, reaches: list[int]) -> list[int]:
    if padding == "same":
        return [r - 1 for r in reaches]
    if padding == "valid":
        return [0] * rank
    if isinstance(padding, int):
        return [2 * padding] * rank
    return [2 * p if isinstance(p, int) else sum(p) for p in padding]


@st.composite
def pool_cases(draw: st.DrawFn, dilated: bool = True) -> tuple[tuple[int, ...], dict[str, Any]]:
    """An input shape and the options of ``pool``: batch, channel and one or two pooled axes."""
    rank = draw(st.integers(1, 2))
    size = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    # Of three samples or more, one is inside wherever the padding is less than half a reach.
    apart = tuple(draw(st.integers(1, 1 if n == 2 else 3)) for n in size)
    reaches = [d * (n - 1) + 1 for n, d in zip(size, apart)]
    options = {
        "size": size,
        "kind": draw(st.sampled_from(("max", "mean", "argmax") if dilated else ("max", "mean"))),
        "stride": draw(st.one_of(st.none(), st.tuples(*[st.integers(1, 4)] * rank))),
        "padding": tuple(draw(st.integers(0, n // 2)) for n in size),
        "ceil": draw(st.booleans()),
    }
    if dilated:
        options["dilation"] = apart
    sizes = tuple(draw(st.integers(n, n + 6)) for n in (reaches if dilated else size))
    return (2, 3, *sizes), options
