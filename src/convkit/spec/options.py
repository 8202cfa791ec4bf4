"""The words that options may take, and how a value given once is spread over the axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Real
from typing import Literal, cast, get_args

from convkit.errors import OptionError, choose

Operation = Literal["convolution", "correlation"]
Direction = Literal["forward", "transposed"]
Mode = Literal["full", "same", "valid"]
BoundaryName = Literal["zero", "constant", "edge", "reflect", "symmetric", "wrap"]
Overflow = Literal["raise", "saturate", "wrap"]
NanPolicy = Literal["propagate", "omit"]
PoolKind = Literal["max", "mean", "argmax"]
Latency = Literal["zero", "block"]
Sides = tuple[BoundaryName, BoundaryName]

OPERATIONS: tuple[str, ...] = get_args(Operation)
MODES: tuple[str, ...] = get_args(Mode)
BOUNDARIES: tuple[str, ...] = get_args(BoundaryName)
OVERFLOWS: tuple[str, ...] = get_args(Overflow)
NAN_POLICIES: tuple[str, ...] = get_args(NanPolicy)
POOL_KINDS: tuple[str, ...] = get_args(PoolKind)
LATENCIES: tuple[str, ...] = get_args(Latency)


def whole_number(option: str, value: object, least: int) -> int:
    """``value`` as an int of at least ``least``; booleans and fractions are refused."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise OptionError("not-a-whole-number", option=option, value=repr(value), least=least) from None
    if number < least:
        raise OptionError("too-small", option=option, value=number, least=least)
    return number


def entries(value: object) -> tuple[object, ...] | None:
    """What a list or tuple holds; None for a single value."""
    return tuple(cast("Sequence[object]", value)) if isinstance(value, (list, tuple)) else None


def tolerance(value: object) -> float | None:
    """``value`` as a float if it is a number, whatever its type; None if it is none."""
    if isinstance(value, bool):
        return None
    return float(value) if isinstance(value, Real) else None


def per_axis(option: str, value: object, rank: int, least: int) -> tuple[int, ...]:
    """One whole number for all axes, or a sequence with one for each: always a tuple of length ``rank``."""
    several = entries(value)
    if several is None:
        return (whole_number(option, value, least),) * rank
    if len(several) != rank:
        raise OptionError("wrong-length", option=option, value=several, length=len(several), rank=rank)
    return tuple(whole_number(option, item, least) for item in several)


def pad_pairs(value: object, rank: int) -> tuple[tuple[int, int], ...]:
    """Padding as (before, after) for each axis, from an int, one int an axis, or one pair an axis."""
    several = entries(value)
    if several is None:
        pad = whole_number("padding", value, 0)
        return ((pad, pad),) * rank
    if len(several) != rank:
        raise OptionError("wrong-length", option="padding", value=several, length=len(several), rank=rank)
    pairs: list[tuple[int, int]] = []
    for item in several:
        before, after = per_axis("padding", item, 2, 0)
        pairs.append((before, after))
    return tuple(pairs)


def boundary_sides(value: object, rank: int) -> tuple[Sides, ...]:
    """Boundary names as (before, after) for each axis.

    A name holds for every side. A sequence has one entry an axis, each a name or a (before, after) pair; along a
    single axis the pair itself may be given.
    """
    several = entries(value)
    if several is None:
        both: Sides = (_boundary(value), _boundary(value))
        return (both,) * rank
    if rank == 1 and len(several) == 2 and all(isinstance(item, str) for item in several):
        several = (several,)
    if len(several) != rank:
        raise OptionError("wrong-length", option="boundary", value=several, length=len(several), rank=rank)
    sides: list[Sides] = []
    for item in several:
        pair = (item, item) if isinstance(item, str) else entries(item)
        if pair is None or len(pair) != 2:
            raise OptionError("not-a-pair", option="boundary", value=repr(item))
        sides.append((_boundary(pair[0]), _boundary(pair[1])))
    return tuple(sides)


def _boundary(value: object) -> BoundaryName:
    return cast("BoundaryName", choose("boundary", value, BOUNDARIES))
