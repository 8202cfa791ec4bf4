"""The loop nest of a kernel, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.target import Target

ElementType = Literal["float32", "float64"]
ITEM_BYTES = {"float32": 4, "float64": 8}
LARGEST_BLOCK = 4
"""Kernel rows taken at once at most."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which loops a kernel has, and how much of each is done at once.

    ::

        for plane: for each rows x (vectors * lanes) tile of outputs, held in registers:
            for each block of `block` kernel rows, then for each of `last_block` kernel rows:
                for each kernel column:
                    load block weights; load rows + block - 1 rows of samples; rows * block * vectors multiply-adds

    A sample row, once loaded, meets every weight of the block: ``(rows + block - 1) / (rows * block)`` loads for each
    multiply-add. Blocks and columns are counted when the kernel runs, so one kernel serves many sizes.

    Attributes
    ----------
    dtype : {"float32", "float64"}
        What samples, weights and sums are.
    lanes : int
        Numbers in a vector.
    rows, vectors : int
        The register tile; blocks of fewer rows are done one row at a time.
    row_vectors : int
        Vectors of the tile that is one row high: enough sums at once to hide the latency of one.
    block, last_block : int
        Kernel rows taken at once; the kernel's rows are cut into blocks of ``block`` and of ``last_block`` rows,
        0 where all are equal.
    """

    dtype: ElementType
    lanes: int
    rows: int
    vectors: int
    row_vectors: int
    block: int
    last_block: int

    @property
    def name(self) -> str:
        """``direct_<type>_<lanes>l_<rows>x<vectors>_1x<row_vectors>_<block>[_<last_block>]``."""
        kind = {"float32": "f32", "float64": "f64"}[self.dtype]
        last = f"_{self.last_block}" if self.last_block else ""
        return f"direct_{kind}_{self.lanes}l_{self.rows}x{self.vectors}_1x{self.row_vectors}_{self.block}{last}"

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums, weights, and the samples of one row."""
        tall = self.rows * self.vectors + self.block + self.vectors
        return max(tall, self.row_vectors + self.block + 1)

    @property
    def item_bytes(self) -> int:
        """Bytes of one number."""
        return ITEM_BYTES[self.dtype]

    def blocks(self, kernel_rows: int) -> list[range]:
        """The kernel rows of each block, in the order in which they are summed."""
        count = -(-kernel_rows // self.block)
        full = count if not self.last_block else kernel_rows - count * self.last_block
        cut = [range(i * self.block, (i + 1) * self.block) for i in range(full)]
        first = full * self.block
        for start in range(first, kernel_rows, self.last_block or 1):
            cut.append(range(start, start + self.last_block))
        return cut


def schedule_for(target: Target, dtype: ElementType, kernel_rows: int) -> Schedule:
    """The loop nest for kernels of ``kernel_rows`` rows: few of them serve all, since blocks are of nearly equal size.

    The tile needs ``rows + block - 1`` rows of samples at once. They are 8 at most, because rows a power of two apart
    fall into the same set of the first-level cache, which has 8 ways or more: with 15 rows, images 2048 wide took twice
    the time of images 2064 wide. With 32 registers a tile of 5 x 4 vectors leaves 12 for weights and samples; with 16,
    one of 4 x 2 leaves 8.
    """
    rows, vectors = (5, 4) if target.registers >= 32 else (4, 2)
    count = -(-kernel_rows // LARGEST_BLOCK)
    block = -(-kernel_rows // count)
    return Schedule(
        dtype=dtype,
        lanes=target.vector_bytes // ITEM_BYTES[dtype],
        rows=rows,
        vectors=vectors,
        row_vectors=8,
        block=block,
        last_block=block - 1 if kernel_rows % block else 0,
    )
