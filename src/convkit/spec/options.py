"""The words that options may take, and how a value given once is spread over the axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Literal, get_args

from convkit.errors import OptionError, choose

Operation = Literal["convolution", "correlation"]
Mode = Literal["full", "same", "valid"]
BoundaryName = Literal["zero", "constant", "edge", "reflect", "symmetric", "wrap"]
Overflow = Literal["raise", "saturate", "wrap"]
NanPolicy = Literal["propagate", "omit"]
PoolKind = Literal["max", "mean"]
Sides = tuple[BoundaryName, BoundaryName]

OPERATIONS: tuple[str, ...] = get_args(Operation)
MODES: tuple[str, ...] = get_args(Mode)
BOUNDARIES: tuple[str, ...] = get_args(BoundaryName)
OVERFLOWS: tuple[str, ...] = get_args(Overflow)
NAN_POLICIES: tuple[str, ...] = get_args(NanPolicy)
POOL_KINDS: tuple[str, ...] = get_args(PoolKind)


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


def per_axis(option: str, value: object, rank: int, least: int) -> tuple[int, ...]:
    """One whole number for all axes, or a sequence with one for each: always a tuple of length ``rank``."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != rank:
            raise OptionError("wrong-length", option=option, value=tuple(value), length=len(value), rank=rank)
        return tuple(whole_number(option, item, least) for item in value)
    return (whole_number(option, value, least),) * rank


def pad_pairs(value: object, rank: int) -> tuple[tuple[int, int], ...]:
    """Padding as (before, after) for each axis, from an int, one int an axis, or one pair an axis."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        pad = whole_number("padding", value, 0)
        return ((pad, pad),) * rank
    if len(value) != rank:
        raise OptionError("wrong-length", option="padding", value=tuple(value), length=len(value), rank=rank)
    pairs: list[tuple[int, int]] = []
    for item in value:
        if isinstance(item, Sequence) and not isinstance(item, str):
            before, after = per_axis("padding", item, 2, 0)
        else:
            before = after = whole_number("padding", item, 0)
        pairs.append((before, after))
    return tuple(pairs)


def boundary_sides(value: object, rank: int) -> tuple[Sides, ...]:
    """Boundary names as (before, after) for each axis.

    A name holds for every side. A sequence has one entry an axis, each a name or a (before, after) pair; along a
    single axis the pair itself may be given.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        name = choose("boundary", value, BOUNDARIES)
        return ((name, name),) * rank  # type: ignore[return-value]
    entries: Sequence[object] = value
    if rank == 1 and len(entries) == 2 and all(isinstance(item, str) for item in entries):
        entries = (entries,)
    if len(entries) != rank:
        raise OptionError("wrong-length", option="boundary", value=tuple(entries), length=len(entries), rank=rank)
    sides: list[Sides] = []
    for item in entries:
        pair = (item, item) if isinstance(item, str) else item
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise OptionError("not-a-pair", option="boundary", value=repr(item))
        before, after = (choose("boundary", name, BOUNDARIES) for name in pair)
        sides.append((before, after))  # type: ignore[arg-type]
    return tuple(sides)
