"""Which axes are convolved, and how the others become batch and groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from convkit.arrays import Namespace
from convkit.errors import OptionError, ShapeError, by
from convkit.planner.algorithm import Array
from convkit.spec.options import whole_number

LARGE = 1 << 20
"""Bytes of an input from which it is not copied just to be laid out."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How an array and a kernel of given shapes meet.

    Attributes
    ----------
    axes : tuple of int
        Convolved axes of the input, counted from the front.
    sizes, kernel : tuple of int
        Sizes along them, of the input and of the kernel.
    lead : tuple of int
        Shape of the other axes of the result, in order.
    own_kernels : bool
        Whether kernels differ along the other axes, so that each needs a group of its own.
    """

    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    lead: tuple[int, ...]
    own_kernels: bool

    @property
    def rank(self) -> int:
        """Number of convolved axes."""
        return len(self.axes)

    @property
    def batch(self) -> int:
        """Samples that share a kernel."""
        return 1 if self.own_kernels else math.prod(self.lead)

    @property
    def groups(self) -> int:
        """Samples that have a kernel each."""
        return math.prod(self.lead) if self.own_kernels else 1

    def canonical_input(self, xp: Namespace, x: Any) -> Any:
        """X as (batch, groups, 1, *sizes)."""
        last = xp.move(x, self.axes, range(-self.rank, 0))
        if self.own_kernels:
            last = xp.expand(last, self.lead + self.sizes)
        return last.reshape((self.batch, self.groups, 1, *self.sizes))

    def canonical_kernel(self, xp: Namespace, k: Any) -> Any:
        """K as (groups, 1, 1, *kernel)."""
        if k.ndim > self.rank:
            k = xp.move(k, self.axes, range(-self.rank, 0))
            if self.own_kernels:
                k = xp.expand(k, self.lead + self.kernel)
        return k.reshape((self.groups, 1, 1, *self.kernel))

    def outer_axis(self, x: Array) -> int | None:
        """The outer axis to take apart where laying out ``x`` would copy it, and it is large: the shortest one."""
        if self.own_kernels or len(self.lead) < 2 or x.nbytes <= LARGE or len(self.lead) + self.rank != x.ndim:
            return None
        steps = [
            (x.shape[axis], x.strides[axis]) for axis in range(x.ndim) if axis not in self.axes and x.shape[axis] > 1
        ]
        if all(step == size * inner for (_, step), (size, inner) in pairwise(steps)):
            return None  # they are one axis already
        return min(range(len(self.lead)), key=self.lead.__getitem__)

    def without(self, outer: int) -> Layout:
        """The layout of one slice along an outer axis."""
        gone = [axis for axis in range(len(self.lead) + self.rank) if axis not in self.axes][outer]
        axes = tuple(axis - (axis > gone) for axis in self.axes)
        return replace(self, axes=axes, lead=self.lead[:outer] + self.lead[outer + 1 :])

    def restore(self, xp: Namespace, result: Any) -> Any:
        """(batch, groups, 1, *counts) back to the order of the input's axes."""
        return xp.move(result.reshape(self.lead + tuple(result.shape[3:])), range(-self.rank, 0), self.axes)


@lru_cache(maxsize=4096)
def layout_of(x_shape: tuple[int, ...], k_shape: tuple[int, ...], axes: Any) -> Layout:
    """Work out the layout of one call.

    Raises
    ------
    ShapeError
        ``shape.no-axes``, ``shape.rank-mismatch``, ``shape.kernel-rank``, ``shape.no-such-axis``,
        ``shape.cannot-broadcast``.
    OptionError
        ``option.repeated-axis``, ``option.no-axes``.
    """
    rank = len(x_shape)
    if rank == 0:
        raise ShapeError("no-axes", kernel=by(k_shape))
    chosen = tuple(range(rank)) if axes is None else _axes(axes, rank)
    if len(k_shape) not in (len(chosen), rank):
        fits = 0 < len(k_shape) < rank
        raise ShapeError(
            "rank-mismatch" if fits else "kernel-rank", input=by(x_shape), kernel=by(k_shape), rank=len(chosen),
            kernel_rank=len(k_shape), axes=tuple(range(-len(k_shape), 0)),
        )  # fmt: skip
    others = [axis for axis in range(rank) if axis not in chosen]
    sizes = tuple(x_shape[axis] for axis in chosen)
    lead = tuple(x_shape[axis] for axis in others)
    if len(k_shape) == len(chosen):
        return Layout(chosen, sizes, tuple(k_shape), lead, False)
    k_lead = tuple(k_shape[axis] for axis in others)
    for axis, one, other in zip(others, lead, k_lead, strict=True):
        if one != other and 1 not in (one, other):
            raise ShapeError(
                "cannot-broadcast", input=by(x_shape), kernel=by(k_shape), axis=axis, left=one, right=other
            )
    joint = tuple(max(one, other) if 0 not in (one, other) else 0 for one, other in zip(lead, k_lead, strict=True))
    return Layout(chosen, sizes, tuple(k_shape[axis] for axis in chosen), joint, any(size != 1 for size in k_lead))


def shape_of(option: str, value: Any) -> tuple[int, ...]:
    """``value`` as a shape: whole numbers, none negative.

    Raises
    ------
    OptionError
        ``option.not-a-shape``, ``option.not-a-whole-number``, ``option.too-small``.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise OptionError("not-a-shape", option=option, value=repr(value))
    sizes = tuple(value)
    if all(type(size) is int and size >= 0 for size in sizes):
        return sizes
    return tuple(whole_number(option, size, 0) for size in sizes)


def _axes(axes: Any, rank: int) -> tuple[int, ...]:
    wanted: Sequence[Any] = axes if isinstance(axes, Sequence) and not isinstance(axes, str) else (axes,)
    if not wanted:
        raise OptionError("no-axes", last=rank - 1)
    found: list[int] = []
    for axis in wanted:
        number = whole_number("axes", axis, -rank)
        if number >= rank:
            raise ShapeError("no-such-axis", axis=number, rank=rank, last=rank - 1)
        found.append(number % rank)
    if len(set(found)) != len(found):
        raise OptionError("repeated-axis", axes=tuple(wanted))
    return tuple(found)
