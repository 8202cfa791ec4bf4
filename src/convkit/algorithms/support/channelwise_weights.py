"""The phases of a depthwise problem, and its weights in the order in which vectors over groups read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.packing import item_bytes
from convkit.algorithms.support.phases import phases
from convkit.algorithms.support.planes import Box, Strides, offsets, with_rows
from convkit.codegen import gather, transpose
from convkit.codegen.library import address_of, this_machine
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.register_tile import lanes_of
from convkit.codegen.step import OUT, TABLES, Steps, X
from convkit.planner.problem import Problem
from convkit.spec.window import Window


@dataclass(frozen=True, slots=True)
class Piece:
    """The outputs of one phase.

    Attributes
    ----------
    windows : tuple of Window
        Of an ordinary problem, two axes at least; no windows where outputs are zero.
    targets : tuple of (int, int)
        The first output along each axis, and how far apart they are.
    elements : tuple of slice
        The kernel elements that it meets.
    """

    windows: tuple[Window, ...]
    targets: tuple[tuple[int, int], ...]
    elements: tuple[slice, ...]

    @property
    def kernel(self) -> tuple[int, int]:
        """Kernel rows, axes before the last taken together, and elements of each."""
        if not self.windows:
            return 0, 1
        return math.prod(window.kernel for window in self.windows[:-1]), self.windows[-1].kernel

    def outputs(self, box: Box) -> list[range]:
        """Those in a box along each axis, counted within the phase."""
        return [
            range(-(-(lo - first) // step) if lo > first else 0, max(0, -(-(hi - first) // step)))
            for (lo, hi), (first, step) in zip(box, self.targets, strict=True)
        ]


@lru_cache(maxsize=256)
def pieces(windows: tuple[Window, ...]) -> tuple[Piece, ...]:
    """The phases of a problem; an ordinary one has a single one."""
    found: list[Piece] = []
    for choice in product(*(phases(window) for window in with_rows(windows))):
        parts = tuple(part for _, _, part in choice if part is not None)
        targets = tuple((target.start, target.step or 1) for target, _, _ in choice)
        elements = tuple(element for _, element, _ in choice)[-len(windows) :]
        found.append(Piece(parts if len(parts) == len(choice) else (), targets, elements))
    return tuple(found)


def widest(windows: tuple[Window, ...]) -> int:
    """Elements of the longest kernel row of any phase."""
    return max(piece.kernel[1] for piece in pieces(windows))


@dataclass(frozen=True, slots=True)
class Weights:
    """How weights are laid down: a vector for each output channel, vector of groups, input channel, kernel element.

    Attributes
    ----------
    vectors : int
        Vectors of groups.
    channel : int
        Bytes from one input channel to the next.
    each : int
        Bytes from one vector of groups to the next.
    bytes : int
        Of all weights.
    """

    vectors: int
    channel: int
    each: int
    bytes: int

    def at(self, output: int, vector: int) -> int:
        """Where those of an output channel and a vector of groups begin."""
        return (output * self.vectors + vector) * self.each


@lru_cache(maxsize=256)
def weights_of(problem: Problem) -> Weights:
    """How the weights of ``problem`` are laid down."""
    vectors = -(-problem.groups // lanes_of(this_machine(), problem.compute_dtype))
    channel = problem.taps * this_machine().vector_bytes
    each = problem.in_channels * channel
    return Weights(vectors, channel, each, problem.out_channels * vectors * each)


def kernel_rows(problem: Problem, piece: Piece, channels: int) -> NDArray[np.int64]:
    """How far the first element of each kernel row of a phase lies from a vector's weights, channel by channel."""
    vector = this_machine().vector_bytes
    elements = np.arange(problem.taps, dtype=np.int64).reshape(problem.kernel_shape[3:])[piece.elements]
    rows = elements[..., 0].ravel() * vector
    return (np.arange(channels, dtype=np.int64)[:, None] * weights_of(problem).channel + rows).ravel()


@lru_cache(maxsize=128)
def weights_program(problem: Problem, strides: Strides) -> Program:
    """Lays a kernel (groups, out, in, *kernel) of such strides down; what lanes without a group hold is no matter."""
    tables, cut = Tables(), weights_of(problem)
    lanes = lanes_of(this_machine(), problem.compute_dtype)
    whole, rest = divmod(problem.groups, lanes)
    steps: list[Steps] = []
    for first, planes, groups in ((0, whole, lanes), (whole, 1, rest)):
        if planes * groups == 0:
            continue
        for o, c in product(range(problem.out_channels), range(problem.in_channels)):
            to, x = cut.at(o, first) + c * cut.channel, first * lanes * strides[0] + o * strides[1] + c * strides[2]
            steps.append(_block(problem, tables, strides, planes, groups, to, x))
    return join([[step] for step in steps], tables.array(), 64)


def _block(
    problem: Problem, tables: Tables, strides: Strides, planes: int, groups: int, to: int, x: int
) -> Steps:  # fmt: skip
    """Lay one pair of channels of some groups down: as squares where elements are neighbours, also backwards."""
    vector, dtype = this_machine().vector_bytes, problem.compute_dtype
    elements = offsets(problem.kernel_shape[3:], strides[3:])
    lanes, item = lanes_of(this_machine(), dtype), item_bytes(dtype)
    blocks: dict[str, int] = {
        "planes": planes, "rows": groups, "to_plane": weights_of(problem).each, "x_plane": lanes * strides[0],
    }  # fmt: skip
    for way in (1, -1):
        if (np.diff(elements) == way * item).all():
            last = problem.taps - 1 if way < 0 else 0
            return transpose.ARGUMENTS.steps(
                address_of(transpose.Transpose(dtype)), 1, to=(OUT, to + last * vector), x=(X, x - last * item),
                columns=problem.taps, width=lanes, to_row=way * vector, x_row=strides[0], **blocks,
            )  # fmt: skip
    groups_at = np.arange(groups, dtype=np.int64) * strides[0]
    return gather.ARGUMENTS.steps(
        address_of(gather.Gather(dtype)), 1, to=(OUT, to), x=(X, x), terms=problem.taps, to_row=vector,
        rows_at=(TABLES, tables.add(groups_at)), terms_at=(TABLES, tables.add(elements)), **blocks,
    )  # fmt: skip
