"""Circular convolution of cache-sized blocks through transforms: which kernels run over which part of a block, when."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convkit.codegen import fourier_lanes, fourier_passes, library
from convkit.codegen.builder import ITEM_BYTES
from convkit.codegen.fourier_butterflies import DIRECTIONS, Direction
from convkit.codegen.fourier_lanes import VECTORS, Lanes, fixed_factors
from convkit.codegen.fourier_passes import Pass
from convkit.codegen.fourier_roots import roots
from convkit.codegen.numbers import STORED
from convkit.codegen.step import Place, Steps
from convkit.codegen.target import Target

Array = NDArray[Any]

Task = Literal["convolve", "spectrum", "inverse"]
Modulus = Literal["one", "i"]

NEAR = 32 << 10
"""Bytes of both planes that are gone through again and again: they and the factors stay in a first-level cache."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One level of a transform: every block of one axis is cut into ``radix`` arms.

    Attributes
    ----------
    axis, radix : int
        Which axis, into how many arms.
    blocks : int
        Blocks of this axis before.
    factors : int
        Where their twiddle factors begin in the table, in bytes; -1 where a single block needs none.
    """

    axis: int
    radix: int
    blocks: int
    factors: int


@dataclass(frozen=True)
class Fourier:
    """A transform of blocks of ``lengths``, forward, times a spectrum, and back.

    A block lies in two planes, of real and of imaginary parts, row-major with rows `pitch` numbers apart. Two real
    blocks are one complex block: the spectrum of a real kernel keeps them apart.

    Attributes
    ----------
    lengths : tuple of int
        Length of each axis, see `good_length`.
    dtype : {"float32", "float64"}
        What the planes hold.
    lanes : int
        Numbers in a vector.
    longest : int
        The longest radix whose arms the registers hold.
    modulus : {"one", "i"}
        What a power of the first axis as high as its length is: 1, so that what leaves a block at one end comes in at
        the other, or i, so that it comes in turned by a quarter. Modulo ``z**n - i``, ``2n`` real numbers are one
        complex block, the second half of them its imaginary plane, since ``z**(2n) + 1`` has no other real factors: a
        real block has no number in its spectrum twice, and none of it has to be taken apart from a partner's.
    """

    lengths: tuple[int, ...]
    dtype: str
    lanes: int
    longest: int
    modulus: Modulus = "one"

    @classmethod
    def of(cls, lengths: Sequence[int], dtype: str, modulus: Modulus = "one") -> Fourier:
        """The transform for the machine at hand.

        Raises
        ------
        ValueError
            If a length is not a good one.
        """
        return _fourier(tuple(lengths), dtype, modulus, library.this_machine())

    @property
    def item_bytes(self) -> int:
        """Bytes of one number."""
        return ITEM_BYTES[STORED[self.dtype]]

    @cached_property
    def pitch(self) -> int:
        """Numbers from one row to the next: a vector more than a row, so that rows do not share a set of the cache."""
        return self.lengths[-1] + (self.lanes if len(self.lengths) > 1 else 0)

    @cached_property
    def rows(self) -> int:
        """Rows of a block."""
        return math.prod(self.lengths[:-1])

    @cached_property
    def plane_bytes(self) -> int:
        """Bytes of one plane."""
        return self.rows * self.pitch * self.item_bytes

    @cached_property
    def spectrum_size(self) -> int:
        """Numbers of a spectrum."""
        return 2 * math.prod(self.lengths)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """All levels, first axis first."""
        return self._planned[0]

    @cached_property
    def table(self) -> Array:
        """The fixed factors of the lanes' kernel, twiddle factors of all stages, the twist of the innermost blocks."""
        return self._planned[1]

    @cached_property
    def twist(self) -> int:
        """Where the twist begins in the table, in bytes; -1 where there is none."""
        return self._planned[2]

    @cached_property
    def _planned(self) -> tuple[tuple[Stage, ...], Array, int]:
        stages: list[Stage] = []
        parts: list[Array] = []
        inner, twist = VECTORS * self.lanes, -1
        parts.append(_parts(fixed_factors(self.lanes), self.lanes))
        size = parts[0].size
        for axis, length in enumerate(self.lengths):
            last = axis == len(self.lengths) - 1
            # Each block's f is turns/whole; i is three quarters of a turn.
            turns, whole = (np.zeros(1, np.int64), 1) if axis or self.modulus == "one" else (np.array([3]), 4)
            for radix in radices(length // inner if last else length, self.longest):
                at = -1
                if turns.any():
                    factors = roots(turns[:, None] * np.arange(1, radix), whole * radix)
                    parts.append(_parts(factors, 1))
                    at, size = size * self.item_bytes, size + parts[-1].size
                stages.append(Stage(axis, radix, len(turns), at))
                turns, whole = (turns[:, None] + whole * np.arange(radix)).reshape(-1), whole * radix
            if last and turns.any():
                factors = roots(turns[:, None] * np.arange(inner), whole * inner)
                parts.append(_parts(factors, self.lanes))
                twist = size * self.item_bytes
        return tuple(stages), np.concatenate(parts).astype(self.dtype), twist

    def kernels(self) -> tuple[Pass | Lanes, ...]:
        """The kernels that convolve a block, the innermost first."""
        passes: dict[Pass, None] = {}
        for stage, direction in product(self.stages, DIRECTIONS):
            passes[self.pass_of(stage, direction)] = None
        return self.lanes_for("convolve"), *passes

    def pass_of(self, stage: Stage, direction: Direction) -> Pass:
        """The kernel of a stage."""
        return Pass(self.dtype, stage.radix, direction, "one" if stage.factors < 0 else "table")

    def lanes_for(self, task: Task) -> Lanes:
        """The kernel of the innermost stages."""
        return Lanes(self.dtype, task, "none" if self.twist < 0 else "table")

    # ------------------------------------------------------------------------------------------------------- steps

    def steps(
        self, real: Place, imaginary: Place, spectrum: Place, table: Place, task: Task, apart: int = 0
    ) -> list[Steps]:  # fmt: skip
        """The steps that transform the block in two planes, in place.

        ``"convolve"`` multiplies with the spectrum and comes back; ``"spectrum"`` stores the spectrum, unscaled, and
        leaves the planes spoiled; ``"inverse"`` comes back from a spectrum that is stored. The complex vectors of a
        spectrum lie ``apart`` bytes from each other, or side by side.
        """
        return list(_Walk(self, real, imaginary, spectrum, table, task, apart).all())


class _Walk:
    """The order in which a block is gone through: parts that fit the nearest cache are finished before the next."""

    def __init__(
        self,
        f: Fourier,
        real: Place,
        imaginary: Place,
        spectrum: Place,
        table: Place,
        task: Task,
        apart: int,
    ) -> None:
        self.f = f
        self.task: Task = task
        self.real, self.imaginary, self.spectrum, self.table = real, imaginary, spectrum, table
        self.pitch, self.vector = f.pitch * f.item_bytes, f.lanes * f.item_bytes
        self.apart = apart or 2 * self.vector
        self.inner = [stage for stage in f.stages if stage.axis == len(f.lengths) - 1]

    def all(self) -> Iterator[Steps]:
        yield from self.axis(0)

    def axis(self, axis: int) -> Iterator[Steps]:
        """Everything from this axis on."""
        if axis == len(self.f.lengths) - 1:
            together = max(1, NEAR // (2 * self.pitch))
            for row in range(0, self.f.rows, together):
                yield from self.along(0, row, min(together, self.f.rows - row), 0, 1)
            return
        if self.task != "inverse":
            yield from self.down(axis, "forward")
        yield from self.axis(axis + 1)
        if self.task != "spectrum":
            yield from self.down(axis, "inverse")

    def down(self, axis: int, direction: Direction) -> Iterator[Steps]:
        """All stages of an axis other than the last, strip by strip."""
        f = self.f
        stages = [stage for stage in f.stages if stage.axis == axis]
        below = math.prod(f.lengths[axis + 1 : -1])  # rows of one index of this axis
        vectors = f.lengths[-1] // f.lanes
        strip = min(vectors, max(1, NEAR // (2 * f.lengths[axis] * below * self.vector)))
        outer = math.prod(f.lengths[:axis])
        for plane, first in product(range(outer), range(0, vectors, strip)):
            begin = plane * f.lengths[axis] * below * self.pitch + first * self.vector
            for stage in stages if direction == "forward" else stages[::-1]:
                rows = f.lengths[axis] // (stage.blocks * stage.radix) * below
                yield self.a_pass(
                    stage, direction, begin, 0, stage.blocks, block=rows * stage.radix * self.pitch,
                    arm=rows * self.pitch, rows=rows, row=self.pitch, vectors=min(strip, vectors - first),
                )  # fmt: skip

    def along(self, level: int, row: int, rows: int, block: int, blocks: int) -> Iterator[Steps]:
        """Stages of the last axis from ``level`` on, for some blocks of some rows."""
        f = self.f
        length = f.lengths[-1] // (self.inner[level].blocks if level < len(self.inner) else self._innermost)
        begin = row * self.pitch + block * length * f.item_bytes
        if level == len(self.inner):
            yield self.lanes(begin, row, rows, block, blocks)
            return
        stage = self.inner[level]
        arm = length // stage.radix
        shape = {
            "block": length * f.item_bytes,
            "arm": arm * f.item_bytes,
            "rows": rows,
            "row": self.pitch,
            "vectors": arm // f.lanes,
        }
        if self.task != "inverse":
            yield self.a_pass(stage, "forward", begin, block, blocks, **shape)
        children = range(block * stage.radix, (block + blocks) * stage.radix)
        near = 2 * rows * len(children) * arm * f.item_bytes <= NEAR
        for child in children[:1] if near else children:
            yield from self.along(level + 1, row, rows, child, len(children) if near else 1)
        if self.task != "spectrum":
            yield self.a_pass(stage, "inverse", begin, block, blocks, **shape)

    @property
    def _innermost(self) -> int:
        """Blocks of a row that the lanes' kernel does."""
        return self.f.lengths[-1] // (VECTORS * self.f.lanes)

    def a_pass(self, stage: Stage, direction: Direction, begin: int, first: int, blocks: int, **shape: int) -> Steps:
        kernel = self.f.pass_of(stage, direction)
        factors = max(0, stage.factors) + first * 2 * (stage.radix - 1) * self.f.item_bytes
        return fourier_passes.ARGUMENTS.steps(
            library.address_of(kernel), 1, real=_moved(self.real, begin), imaginary=_moved(self.imaginary, begin),
            twiddles=_moved(self.table, factors if stage.factors >= 0 else 0), blocks=blocks, **shape,
        )  # fmt: skip

    def lanes(self, begin: int, row: int, rows: int, block: int, blocks: int) -> Steps:
        kernel = self.f.lanes_for(self.task)
        twist = _moved(self.table, max(0, self.f.twist) + block * 2 * VECTORS * self.vector)
        return fourier_lanes.ARGUMENTS.steps(
            library.address_of(kernel), 1, real=_moved(self.real, begin), imaginary=_moved(self.imaginary, begin),
            spectrum=_moved(self.spectrum, (row * self._innermost + block) * VECTORS * self.apart),
            twist=twist, untwist=twist, fixed=self.table, unfixed=self.table, rows=rows, row=self.pitch, blocks=blocks,
            apart=self.apart,
        )  # fmt: skip


def _moved(place: Place, by: int) -> Place:
    return place[0], place[1] + by


def _parts(factors: NDArray[np.complex128], lanes: int) -> NDArray[np.float64]:
    """Real parts, then imaginary parts, of ``lanes`` numbers at a time."""
    groups = factors.reshape(-1, lanes)
    return np.stack([groups.real, groups.imag], axis=1).reshape(-1)


@lru_cache(maxsize=256)
def _fourier(lengths: tuple[int, ...], dtype: str, modulus: Modulus, target: Target) -> Fourier:
    lanes = target.vector_bytes // ITEM_BYTES[STORED[dtype]]
    for axis, length in enumerate(lengths):
        unit = VECTORS * lanes if axis == len(lengths) - 1 else 1
        if length % unit or not _smooth(length // unit):
            raise ValueError(f"a block of {lengths} cannot be transformed along axis {axis}")
    return Fourier(lengths, dtype, lanes, 8 if target.registers >= 32 else 4, modulus)


def lanes_of(dtype: str) -> int:
    """Numbers in a vector of this machine."""
    return library.this_machine().vector_bytes // ITEM_BYTES[STORED[dtype]]


@lru_cache(maxsize=64)
def good_lengths(most: int, unit: int) -> tuple[int, ...]:
    """Lengths up to ``most`` that an axis may have, in order; ``unit`` is 1, or that of the last axis.

    They are powers of two and three times powers of two, times the unit.
    """
    powers = [unit << n for n in range(max(0, (most // unit).bit_length()))]
    return tuple(sorted(n for n in (*powers, *(3 * power for power in powers)) if n <= most))


def radices(length: int, longest: int) -> list[int]:
    """The stages of a power of two, or of three times one: the longest first, as the first stage needs no factors."""
    found: list[int] = []
    if length % 3 == 0:
        found, length = [3], length // 3
    bits = length.bit_length() - 1
    # Eights, but fours rather than an eight and a two.
    eights = 0 if longest < 8 else bits // 3 - (1 if bits % 3 == 1 and bits > 1 else 0)
    rest = bits - 3 * eights
    return [*[8] * eights, *[4] * (rest // 2), *[2] * (rest % 2), *found]


def _smooth(length: int) -> bool:
    length //= 3 if length % 3 == 0 else 1
    return length > 0 and length & (length - 1) == 0
