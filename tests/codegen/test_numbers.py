"""Numbers of one type become numbers of another: as NumPy does it, rounded half to even, saturated."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from convkit.codegen import pack, unpack
from convkit.codegen.numbers import STORED
from convkit.codegen.target import Target
from tests.codegen.kernel_calls import convert, lay_down, numpy_type, runnable

INTEGERS = [name for name in STORED if name.startswith(("int", "uint"))]
FLOATS = ("float32", "float64")
MACHINES = pytest.mark.parametrize("machine", runnable(), ids=lambda target: f"{target.vector_bytes}-byte-vectors")


def samples_of(name: str) -> np.ndarray:
    """Every number of a short type; of longer ones extremes and random bits."""
    dtype = numpy_type(name)
    if name == "bool":
        return np.arange(2).astype(bool).repeat(19)
    bits = np.dtype(f"u{dtype.itemsize}")
    if dtype.itemsize <= 2:
        return np.arange(1 << 8 * dtype.itemsize).astype(bits).view(dtype)
    random = np.random.default_rng(1).integers(0, np.iinfo(bits).max, 5000, bits, endpoint=True).view(dtype)
    if dtype.kind in "iu":
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        near = [low, low + 1, high - 1, high, high // 2, high // 2 + 1]
        powers = [p + d for p in (1 << b for b in range(1, 63)) for d in (-1, 0, 1) if p + d <= high]
        small = random >> np.array(np.arange(len(random)) % (8 * dtype.itemsize), dtype)
        return np.concatenate([np.array([*near, *powers], dtype), random, small])
    info = np.finfo(dtype)
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, info.max, -info.max, info.tiny, info.smallest_subnormal]
    return np.concatenate([np.array(special, dtype), random, halves(dtype)])


def halves(dtype: np.dtype) -> np.ndarray:
    """Numbers half-way between two, and beside such, at the limits of integers and of short floats."""
    middle = np.concatenate([np.arange(-300, 300, 0.5), (np.arange(-70000, 70000, 250) + 0.5)])
    limits = np.array(
        [s * 2.0**b + d for b in (7, 8, 15, 16, 31, 32, 53, 63, 64) for s in (-1, 1) for d in (-1, -0.5, 0, 0.5, 1)]
    )
    short = (np.arange(1 << 11) + 0.5) * 2.0**-24
    edge = np.array([65504.0, 65519.0, 65519.99, 65520.0, 65536.0, 2.0**-25, 2.0**-24 * 1.5, 2.0**-14])
    numbers = np.concatenate([middle, limits, short, edge, -edge]).astype(dtype)
    return np.concatenate(
        [numbers, np.nextafter(numbers, dtype.type(np.inf)), np.nextafter(numbers, dtype.type(-np.inf))]
    )


def of_bfloat(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_bfloat(values: np.ndarray) -> np.ndarray:
    """The nearer of the two neighbours; of equally near ones the even one, by arithmetic on exact numbers."""
    below = (values.view(np.uint32) >> 16).astype(np.uint32)
    above = below + 1
    exact = values.astype(np.float64)
    down, up = of_bfloat(below).astype(np.float64), of_bfloat(above).astype(np.float64)
    up = np.where(np.isinf(up), np.copysign(2.0**128, exact), up)  # where the next one would stand
    nearer = np.abs(up - exact) < np.abs(exact - down)
    tie = np.abs(up - exact) == np.abs(exact - down)
    return np.where(nearer | (tie & (below % 2 == 1)), above, below).astype(np.uint16)


def saturated(values: np.ndarray, target: str) -> np.ndarray:
    """Whole numbers, each the nearest one that ``target`` holds; by Python's integers."""
    info = np.iinfo(target)
    low, high = int(info.min), int(info.max)
    return np.array(
        [min(max(int(v), low), high) if abs(v) < 1e30 else (high if v > 0 else low) for v in values.tolist()], target
    )


def same(ours: np.ndarray, expected: np.ndarray) -> bool:
    """The same bits; any NaN for a NaN."""
    equal = ours.view(f"u{ours.itemsize}") == expected.view(f"u{expected.itemsize}")
    if ours.dtype.kind == "f":
        equal |= np.isnan(ours) & np.isnan(expected)
    return bool(equal.all())


@MACHINES
@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("source", STORED)
def test_samples_become_sums(source: str, target: str, machine: Target) -> None:
    values = samples_of(source)
    with np.errstate(all="ignore"):
        expected = (of_bfloat(values) if source == "bfloat16" else values).astype(target)
    assert same(lay_down(source, target, values, machine), expected)


@MACHINES
@pytest.mark.parametrize(("source", "target"), [(s, t) for s, t in product([*INTEGERS, "bool"], INTEGERS)])
def test_integer_samples_keep_their_lowest_bits(source: str, target: str, machine: Target) -> None:
    values = samples_of(source)
    assert same(lay_down(source, target, values, machine), values.astype(target))


@MACHINES
@pytest.mark.parametrize("target", ["float16", *FLOATS])
@pytest.mark.parametrize("source", [*FLOATS, "int32", "int64", "uint32", "uint64"])
def test_sums_become_floats(source: str, target: str, machine: Target) -> None:
    values = samples_of(source)
    with np.errstate(all="ignore"):
        expected = values.astype(target)
        if target == "float16" and np.dtype(source).kind in "iu":
            expected = values.astype("float64").astype(target)  # exact, or beyond all float16
    assert same(convert(source, target, values, machine), expected)


@MACHINES
def test_sums_become_bfloat16(machine: Target) -> None:
    import torch

    values = samples_of("float32")
    ours, nan = convert("float32", "bfloat16", values, machine), np.isnan(values)
    assert np.isnan(of_bfloat(ours)[nan]).all()
    finite = np.isfinite(values)
    assert np.array_equal(ours[finite], to_bfloat(values[finite]))
    assert np.array_equal(ours[~nan], torch.from_numpy(values[~nan]).bfloat16().view(torch.uint16).numpy())


@MACHINES
@pytest.mark.parametrize(("source", "target"), list(product(FLOATS, INTEGERS)))
def test_floats_are_rounded_half_to_even_and_saturated(source: str, target: str, machine: Target) -> None:
    values = samples_of(source)
    values = values[~np.isnan(values)]
    assert np.array_equal(convert(source, target, values, machine), saturated(np.rint(values), target))


@MACHINES
@pytest.mark.parametrize(("source", "target"), list(product(INTEGERS, INTEGERS)))
def test_integers_are_saturated(source: str, target: str, machine: Target) -> None:
    values = samples_of(source)
    assert np.array_equal(convert(source, target, values, machine), saturated(values, target))


def test_what_would_be_rounded_twice_is_refused() -> None:
    (machine, *_) = runnable()
    with pytest.raises(ValueError, match="bfloat16 is made of float32, not of float64"):
        unpack.Unpack("float64", "bfloat16").module(machine)
    with pytest.raises(ValueError, match="float16 does not become int32"):
        pack.Pack("float16", "int32").module(machine)
