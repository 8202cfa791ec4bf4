"""Arrays meet a compiled kernel: weights in the order in which it reads them, strides as it steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.codegen.library import Function, direct_kernel
from convkit.codegen.schedule import ElementType

Array = NDArray[Any]
BEFORE = 2
"""Axes before the convolved ones: batch and groups."""


@dataclass(frozen=True, slots=True)
class Direct:
    """Direct convolution with given weights, for any block of samples.

    Attributes
    ----------
    function : callable
        The compiled kernel.
    weights : ndarray
        For each group: block after block of kernel rows; within a block column after column; there row after row.
    corners : ndarray of int
        The kernel element that each block begins with, on all axes but the last.
    blocks, last_blocks, columns : int
        How many blocks of either size there are, and the kernel's columns.
    """

    function: Function
    weights: Array
    corners: NDArray[np.int64]
    blocks: int
    last_blocks: int
    columns: int

    @classmethod
    def prepare(cls, kernel: Array, dtype: ElementType) -> Direct:
        """Pack ``kernel``, of shape (groups, *kernel) with at least two axes after the first."""
        schedule, function = direct_kernel(dtype, kernel.shape[-2])
        leading = list(product(*(range(n) for n in kernel.shape[1:-2])))
        rows = schedule.blocks(kernel.shape[-2])
        last = [block for block in rows if len(block) < schedule.block]
        full = rows[: len(rows) - len(last)]
        order = [(*element, block) for part in (full, last) for element in leading for block in part]
        packed = [
            np.swapaxes(kernel[(slice(None), *element, slice(block.start, block.stop))], -1, -2)
            for *element, block in order
        ]
        return cls(
            function=function,
            weights=np.concatenate([part.reshape(len(kernel), -1) for part in packed], axis=1, dtype=dtype),
            corners=np.array([(*element, block.start) for *element, block in order], np.int64),
            blocks=len(full) * len(leading),
            last_blocks=len(last) * len(leading),
            columns=kernel.shape[-1],
        )

    def run(self, x: Array, out: Array, dilation: Sequence[int], first_group: int = 0) -> None:
        """``out[b, g, i] = sum_j x[b, g, i + j*dilation] * w[first_group + g, j]`` for every output.

        ``x`` and ``out`` are (batch, groups, *space), of the weights' type; numbers along their last axis are
        neighbours in memory, all other strides are free. ``x`` reaches as far as the windows of the outputs do.
        """
        if math.prod(out.shape) == 0:
            return
        size = out.itemsize
        *lead, rows, columns = out.shape
        # The longest leading axis is the kernel's own outer loop; the others are looped over here.
        plane = max(range(len(lead)), key=lead.__getitem__)
        others = [range(1 if axis == plane else n) for axis, n in enumerate(lead)]
        group = self.weights.strides[0]
        step = dilation[-2]
        x_row, out_row = x.strides[-2], out.strides[-2]
        strides = np.array([d * s for d, s in zip(dilation[:-1], x.strides[BEFORE:-1])], np.int64)
        offsets = self.corners @ strides
        at_out, at_x, at_weights, at_offsets = (_address(array) for array in (out, x, self.weights, offsets))
        for index in product(*others):
            out_at = at_out + sum(i * s for i, s in zip(index, out.strides))
            x_at = at_x + sum(i * s for i, s in zip(index, x.strides))
            w_at = at_weights + (first_group + index[1]) * group
            # Rows a dilation apart form an image of their own, whose kernel rows are neighbours.
            for phase in range(min(step, rows)):
                self.function(
                    out_at + phase * out_row, x_at + phase * x_row, w_at, at_offsets,
                    lead[plane], -(-(rows - phase) // step), columns, self.blocks, self.last_blocks, self.columns,
                    out.strides[plane], x.strides[plane], group if plane == 1 else 0,
                    step * out_row, step * x_row, size * dilation[-1],
                )  # fmt: skip


def _address(array: Array) -> int:
    return array.__array_interface__["data"][0]
