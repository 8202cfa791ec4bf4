"""Direct convolution: its loop nest as data, and the kernel that `_Nest` writes from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.builder import ITEM_BYTES, Loop, Vector, Writer
from convkit.codegen.numbers import Element, narrow
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

LARGEST_BLOCK = 4
"""Kernel rows taken at once at most."""

ARGUMENTS = Arguments.of(
    "out x w taps",
    "planes rows columns blocks last_blocks out_plane x_plane w_plane out_row x_row x_step lead",
)
"""``taps``: for each block of kernel rows how far from ``x`` its first samples lie, and how many columns it has.
``lead``: columns before the first that begins a line of the cache; only streamed results need it. Strides and offsets
are in bytes, of either sign; the rest are counts."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which loops the kernel has, and how much of each is done at once.

    ::

        for plane: for each rows x (vectors * lanes) tile of outputs, held in registers:
            for each block of `block` kernel rows, then for each of `last_block` kernel rows:
                for each kernel column:
                    load block weights; load rows + block - 1 rows of samples; rows * block * vectors multiply-adds

    ``out[p, r, c] = sum_b sum_j sum_i x[p, offset[b] + (r + i)*x_row + c + j*x_step] * w[p, b, j, i]``, every output by
    the same sequence of multiply-adds, whichever tile it stands in. What is left of a row goes to narrower tiles; the
    last ones at the lower and right ends are moved back to end with the block, so that some outputs are written twice
    with the same bits. Blocks narrower than a vector are read and written under a mask. Nothing outside the block is
    touched.

    A sample row, once loaded, meets every weight of the block: ``(rows + block - 1) / (rows * block)`` loads for each
    multiply-add. Blocks and columns are counted when the kernel runs, so one kernel serves many sizes.

    Attributes
    ----------
    arithmetic : str
        What samples, weights and sums are: a name of `convkit.codegen.arithmetic`.
    lanes : int
        Numbers in a vector.
    rows, vectors : int
        The register tile; blocks of fewer rows are done one row at a time.
    row_vectors : int
        Vectors of the tile that is one row high: enough sums at once to hide the latency of one.
    block, last_block : int
        Kernel rows taken at once; the kernel's rows are cut into blocks of ``block`` and of ``last_block`` rows,
        0 where all are equal.
    results : {"cached", "streamed"}
        Streamed results are written past the caches, so that memory need not be read before it is written.
    stored : str
        The type that sums are stored as, by NumPy's name, rounded once and saturated; empty for their own.
    """

    arithmetic: str
    lanes: int
    rows: int
    vectors: int
    row_vectors: int
    block: int
    last_block: int
    results: Literal["cached", "streamed"] = "cached"
    stored: str = ""

    @property
    def name(self) -> str:
        """``direct_<arithmetic>_<lanes>l_<rows>x<vectors>_1x<row_vectors>_<block>[_<last_block>][_<stored>]...``."""
        last = (f"_{self.last_block}" if self.last_block else "") + (f"_{self.stored}" if self.stored else "")
        tile = f"{self.lanes}l_{self.rows}x{self.vectors}_1x{self.row_vectors}"
        return f"direct_{self.arithmetic}_{tile}_{self.block}{last}{'_streamed' * (self.results == 'streamed')}"

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums, weights, and the samples of one row."""
        tall = self.rows * self.vectors + self.block + self.vectors
        return max(tall, self.row_vectors + self.block + 1)

    def blocks(self, kernel_rows: int) -> list[range]:
        """The kernel rows of each block, in the order in which they are summed."""
        count = -(-kernel_rows // self.block)
        short = count * self.block - kernel_rows
        sizes = [self.block] * (count - short) + [self.last_block] * short
        starts = [sum(sizes[:n]) for n in range(count)]
        return [range(start, start + size) for start, size in zip(starts, sizes)]

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the tile does not fit the target's vector registers, or the last block is not one row shorter.
        """
        target.require(self.name, self.registers)
        if self.last_block not in (0, self.block - 1):
            raise ValueError(f"{self.name}: the last block is one row shorter, or there is none")
        return _Nest(self, target).module()


def schedule_for(target: Target, arithmetic: str, *kernel_rows: int) -> Schedule:
    """The loop nest for kernels of ``kernel_rows`` rows: few of them serve all, since blocks are of nearly equal size.

    Strides take kernel rows apart into several groups, each with its own number of rows.

    The tile needs ``rows + block - 1`` rows of samples at once. They are 8 at most, because rows a power of two apart
    fall into the same set of the first-level cache, which has 8 ways or more: with 15 rows, images 2048 wide took twice
    the time of images 2064 wide. With 32 registers a tile of 5 x 4 vectors leaves 12 for weights and samples; with 16,
    one of 4 x 2 leaves 8.
    """
    rows, vectors = (5, 4) if target.registers >= 32 else (4, 2)
    block = _block(kernel_rows)
    return Schedule(
        arithmetic=arithmetic,
        lanes=target.vector_bytes // ITEM_BYTES[ARITHMETIC[arithmetic].sum],
        rows=rows,
        vectors=vectors,
        row_vectors=8,
        block=block,
        last_block=0 if all(count % block == 0 for count in kernel_rows) else block - 1,
    )


def _block(kernel_rows: Sequence[int]) -> int:
    """Rows of a block, such that each count is a sum of blocks and of blocks a row shorter, as few as can be."""
    most = max(kernel_rows)
    wished = -(-most // -(-most // LARGEST_BLOCK))
    for block in (wished, *range(LARGEST_BLOCK, 1, -1)):
        if all(-(-count // block) * (block - 1) <= count for count in kernel_rows):
            return block
    return 1


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, schedule: Schedule, target: Target) -> None:
        self.s, self.w, self.target = schedule, Writer(), target
        self.arithmetic = ARITHMETIC[schedule.arithmetic]
        self.samples = Vector(schedule.lanes, self.arithmetic.sample)
        self.weights = Vector(schedule.lanes, self.arithmetic.weight)
        self.sums = Vector(schedule.lanes, self.arithmetic.sum)
        self.stored = Vector(schedule.lanes, Element(schedule.stored).stored) if schedule.stored else self.sums

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        planes = w.loop("plane", a["planes"], {name: ("ptr", a[name]) for name in ("out", "x", "w")})
        w.choose(a["rows"], [(self.s.rows, "tall"), (1, "single")], lambda rows: self.rows(planes, rows))
        planes.close({name: w.offset(planes[name], a[f"{name}_plane"]) for name in ("out", "x", "w")})
        if self.s.results == "streamed" and self.target.triple.startswith(("x86_64", "amd64")):
            w.call("void", "llvm.x86.sse.sfence")  # streamed results are seen by others only after it
        w.line("ret void")
        return w.function(self.s.name, SIGNATURE)

    def rows(self, planes: Loop, rows: int) -> None:
        """All tiles of ``rows`` rows."""
        w, s, a = self.w, self.s, self.a
        loop = w.loop("row", a["rows"], step=rows)
        row = self.moved_back(loop.index, a["rows"], rows)
        out = w.offset(planes["out"], w.multiply(row, a["out_row"]))
        x = w.offset(planes["x"], w.multiply(row, a["x_row"]))
        ways = [(s.lanes, "narrow"), (0, "masked")]
        if s.results == "streamed" and rows > 1:
            ways.insert(0, (s.vectors * s.lanes, "wide"))

        def columns(least: int) -> None:
            if least == 0:
                self.tile(out, x, planes["w"], rows, 1, w.lanes_below(self.sums, a["columns"]))
            elif least == s.lanes:
                self.columns(out, x, planes["w"], rows)
            else:
                self.streamed(out, x, planes["w"])

        w.choose(a["columns"], ways, columns)
        loop.close()

    def columns(self, out: str, x: str, weights: str, rows: int) -> None:
        """A row of tiles, the widest first. Those half as wide take up to half of one, single vectors what is left."""
        w, s, a = self.w, self.s, self.a
        widest, done = s.vectors if rows > 1 else s.row_vectors, "0"
        for vectors in sorted({widest, widest // 2, 1}, reverse=True):
            tile, spared = vectors * s.lanes, 0 if vectors == 1 else vectors * s.lanes // 2
            fits = w.value(f"icmp sge i64 {a['columns']}, {tile}")
            left = w.subtract(a["columns"], w.add(done, spared))
            along = w.loop("column", w.value(f"select i1 {fits}, i64 {left}, i64 0"), step=tile)
            column = self.moved_back(w.add(done, along.index), a["columns"], tile)
            self.tile(self.at(out, column), self.sample_at(x, column), weights, rows, vectors, None)
            along.close()
            done = w.add(done, along.index)

    def streamed(self, out: str, x: str, weights: str) -> None:
        """A row of tiles, those between the first line of the cache that begins in it and the last one streamed."""
        w, s, a = self.w, self.s, self.a
        width = s.vectors * s.lanes
        before = w.loop("before", a["lead"], step=s.lanes)
        self.tile(self.at(out, before.index), self.sample_at(x, before.index), weights, s.rows, 1, None)
        before.close()
        whole = w.loop("line", w.subtract(a["columns"], w.add(a["lead"], width - 1)), step=width)
        column = w.add(whole.index, a["lead"])
        self.tile(self.at(out, column), self.sample_at(x, column), weights, s.rows, s.vectors, None, "streamed")
        whole.close()
        rest = w.loop("rest", w.subtract(a["columns"], w.add(whole.index, a["lead"])), step=s.lanes)
        column = self.moved_back(w.add(w.add(whole.index, a["lead"]), rest.index), a["columns"], s.lanes)
        self.tile(self.at(out, column), self.sample_at(x, column), weights, s.rows, 1, None)
        rest.close()

    def at(self, pointer: str, column: str) -> str:
        """Where a column of the result lies."""
        return self.w.element(pointer, column, self.stored.scalar)

    def sample_at(self, pointer: str, column: str) -> str:
        """Where a column of the samples lies, which may be narrower."""
        return self.w.element(pointer, column, self.samples.scalar)

    def tile(
        self, out: str, x: str, weights: str, rows: int, vectors: int, mask: str | None, results: str = "cached"
    ) -> None:
        """One register tile: the first sums, every block of kernel rows, then the sums are stored."""
        w, s = self.w, self.s
        start, weights = self.arithmetic.start(w, s.lanes, weights)
        sums = [start] * (rows * vectors)
        taps = self.a["taps"]
        for block, count in ((s.block, "blocks"), (s.last_block, "last_blocks")):
            if block:
                sums, weights, taps = self.blocks(x, weights, taps, self.a[count], block, sums, rows, vectors, mask)
        for r in range(rows):
            for v in range(vectors):
                place, value = w.offset(out, v * self.stored.bytes), sums[r * vectors + v]
                if s.stored:
                    value = narrow(w, value, s.lanes, Element(s.arithmetic), Element(s.stored))
                if results == "streamed":
                    w.stream(self.stored, value, place)
                else:
                    w.store(self.stored, value, place, mask)
            out = w.offset(out, self.a["out_row"])

    def blocks(
        self, x: str, weights: str, taps: str, count: str, block: int, sums: Sequence[str], rows: int, vectors: int,
        mask: str | None,
    ) -> tuple[list[str], str, str]:  # fmt: skip
        """All blocks of ``block`` kernel rows: what the sums, the weights and the taps are after them."""
        w = self.w
        names = [f"s{n}" for n in range(rows * vectors)]
        carried = {"w": ("ptr", weights), "taps": ("ptr", taps), **self.carried(names, sums)}
        chunks = w.loop("block", count, carried)
        begin = w.offset(x, w.load_scalar("i64", chunks["taps"]))
        columns = w.load_scalar("i64", w.element(chunks["taps"], 1, "i64"))
        carried = {"x": ("ptr", begin), "w": ("ptr", chunks["w"])}
        inner = w.loop("tap", columns, {**carried, **self.carried(names, [chunks[name] for name in names])})
        current = self.taps(inner, names, block, rows, vectors, mask)
        inner.close({
            "x": w.offset(inner["x"], self.a["x_step"]),
            "w": w.element(inner["w"], block, self.weights.scalar),
            **dict(zip(names, current)),
        })  # fmt: skip
        chunks.close({
            "w": inner["w"], "taps": w.element(chunks["taps"], 2, "i64"), **{name: inner[name] for name in names},
        })  # fmt: skip
        return [chunks[name] for name in names], chunks["w"], chunks["taps"]

    def taps(self, inner: Loop, names: list[str], block: int, rows: int, vectors: int, mask: str | None) -> list[str]:
        """One kernel column of a block: every sample row meets every weight it can."""
        w, s = self.w, self.s
        sums = [inner[name] for name in names]
        weights = [w.splat(self.weights, w.element(inner["w"], i, self.weights.scalar)) for i in range(block)]
        row = inner["x"]
        for p in range(rows + block - 1):  # a row of samples meets weight i in the sums of row p - i
            if p:
                row = w.offset(row, self.a["x_row"])
            for v in range(vectors):
                samples = w.load(self.samples, w.offset(row, v * self.samples.bytes), mask)
                for i in range(max(0, p - rows + 1), min(block, p + 1)):
                    n = (p - i) * vectors + v
                    sums[n] = self.arithmetic.multiply_add(w, s.lanes, samples, weights[i], sums[n])
        return sums

    def carried(self, names: Sequence[str], starts: Sequence[str]) -> dict[str, tuple[str, str]]:
        return {name: (str(self.sums), start) for name, start in zip(names, starts)}

    def moved_back(self, at: str, size: str, tile: int) -> str:
        """Where a tile begins that would begin at ``at``, so that it ends with the block."""
        return at if tile == 1 else self.w.smallest(at, self.w.subtract(size, tile))
