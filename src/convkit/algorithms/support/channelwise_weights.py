"""The phases of a depthwise problem, and its weights in the order in which vectors over groups read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from convkit.algorithms.support.phases import phases
from convkit.algorithms.support.planes import Box, Strides, with_rows
from convkit.codegen import gather
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
        return math.prod(window.kernel for window in self.windows[:-1]), self.windows[-1].kernel if self.windows else 0

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
    """How the weights of a problem are laid down.

    Phase by phase; there a vector for each output channel, vector of groups, input channel and kernel element.

    Attributes
    ----------
    begins : tuple of int
        Where each phase begins, in bytes.
    vectors : int
        Vectors of groups.
    bytes : int
        Of all weights.
    """

    begins: tuple[int, ...]
    vectors: int
    bytes: int


@lru_cache(maxsize=256)
def weights_of(problem: Problem) -> Weights:
    """How the weights of ``problem`` are laid down."""
    vector = this_machine().vector_bytes
    vectors = -(-problem.groups // lanes_of(this_machine(), problem.compute_dtype))
    sizes = [
        math.prod(piece.kernel) * problem.in_channels * problem.out_channels * vectors * vector
        for piece in pieces(problem.windows)
    ]
    return Weights(tuple(sum(sizes[:n]) for n in range(len(sizes))), vectors, sum(sizes))


@lru_cache(maxsize=128)
def weights_program(problem: Problem, strides: Strides) -> Program:
    """Lays a kernel (groups, out, in, *kernel) of such strides down; lanes without a group are left as they are."""
    tables, cut, vector = Tables(), weights_of(problem), this_machine().vector_bytes
    lanes = lanes_of(this_machine(), problem.compute_dtype)
    steps: list[Steps] = []
    for piece, begin in zip(pieces(problem.windows), cut.begins, strict=True):
        if not piece.windows:
            continue
        terms = np.arange(problem.in_channels, dtype=np.int64) * strides[2]
        for size, stride, element in zip(problem.kernel_shape[3:], strides[3:], piece.elements, strict=True):
            terms = (terms[:, None] + np.arange(size, dtype=np.int64)[element] * stride).ravel()
        for first, count, planes in ((0, lanes, problem.groups // lanes), (problem.groups // lanes, None, 1)):
            rows = problem.groups % lanes if count is None else count
            if not planes * rows:
                continue
            rows_at = tables.add(np.arange(rows, dtype=np.int64) * strides[0])
            for o in range(problem.out_channels):
                to = begin + (o * cut.vectors + first) * len(terms) * vector
                steps.append(
                    gather.ARGUMENTS.steps(
                        address_of(gather.Gather(problem.compute_dtype)), 1, to=(OUT, to), planes=planes, rows=rows,
                        x=(X, first * lanes * strides[0] + o * strides[1]), to_plane=len(terms) * vector,
                        x_plane=lanes * strides[0], terms=len(terms), to_row=vector, rows_at=(TABLES, rows_at),
                        terms_at=(TABLES, tables.add(terms)),
                    )
                )  # fmt: skip
    return join([[step] for step in steps], tables.array(), 64)
