"""Tiles on their way in: a piece of the boundary-extended input, laid out in a row-major plane of one type."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.numbers import Element, widen
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ZEROS, FILL = -(1 << 62), -(1 << 62) + 1
"""Marks in place of offsets: no sample stands here but a zero, or the fill."""

ARGUMENTS = Arguments.of(
    "to x rows_at left_at right_at fill",
    "planes to_plane x_plane rows to_row x_step left begin middle right",
)
"""``rows_at``: for each row its offset from ``x``, or a mark. ``left_at``, ``right_at``: for each column before and
after the middle its offset from the row, or a mark. ``begin``: where the middle's first column lies in the row.
``fill``: the number that marks stand for. All offsets and strides are in bytes; sizes are counts."""


@dataclass(frozen=True, slots=True)
class Pack:
    """The kernel that reads numbers of type ``source`` and lays them down as ``target``.

    ::

        for plane: for row: columns before the middle by table; the middle, vector by vector; columns after it by table

    Attributes
    ----------
    source, target : str
        Element types, by NumPy's names.
    apart : int
        How many numbers lie from one column of the middle to the next: 1, -1 (reversed), 2 (complex parts, strides of
        two), or 0 for any number of bytes.
    """

    source: str
    target: str
    apart: int = 1

    @property
    def name(self) -> str:
        """``pack_<source>_<target>_<apart>``."""
        return f"pack_{self.source}_{self.target}_{self.apart}".replace("-", "m")

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


class _Nest:
    def __init__(self, pack: Pack, target: Target) -> None:
        self.pack, self.w = pack, Writer()
        self.source, self.target = Element(pack.source), Element(pack.target)
        # As many lanes as fill a vector of what is written; what is read is no wider than four vectors then.
        self.lanes = target.vector_bytes // self.target.bytes

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        self.fill_value = w.load_scalar(self.target.stored, a["fill"])
        planes = w.loop("plane", a["planes"], {"to": ("ptr", a["to"]), "x": ("ptr", a["x"])})
        rows = w.loop("row", a["rows"], {"to": ("ptr", planes["to"])})
        offset = w.load_scalar("i64", w.element(a["rows_at"], rows.index, "i64"))
        marked = w.value(f"icmp sle i64 {offset}, {FILL}")
        w.when(
            marked, lambda: self.blank(rows["to"], offset), lambda: self.row(rows["to"], w.offset(planes["x"], offset))
        )
        rows.close({"to": w.offset(rows["to"], a["to_row"])})
        planes.close({"to": w.offset(planes["to"], a["to_plane"]), "x": w.offset(planes["x"], a["x_plane"])})
        w.line("ret void")
        return w.function(self.pack.name, SIGNATURE)

    def row(self, to: str, x: str) -> None:
        """A row of samples."""
        w, a = self.w, self.a
        to = self.by_table("left", to, x)
        self.middle(to, w.offset(x, a["begin"]))
        self.by_table("right", w.element(to, a["middle"], self.target.stored), x)

    def blank(self, to: str, mark: str) -> None:
        """A row without samples; columns marked themselves keep their own value, as the last axis decides."""
        w, a, stored = self.w, self.a, self.target.stored
        value = self.marked_value(mark)
        to = self.by_table("left", to, None, value)
        kind = Vector(self.lanes, stored)
        every = w.fill(kind, value)

        def whole(at: str, mask: str | None) -> None:
            w.store(kind, every, w.element(to, at, stored), mask)

        self.vectors(whole)
        self.by_table("right", w.element(to, a["middle"], stored), None, value)

    def marked_value(self, mark: str) -> str:
        w, stored = self.w, self.target.stored
        zero = "0" if self.target.whole else "0.0"
        is_fill = w.value(f"icmp eq i64 {mark}, {FILL}")
        return w.value(f"select i1 {is_fill}, {stored} {self.fill_value}, {stored} {zero}")

    def by_table(self, side: str, to: str, x: str | None, value: str | None = None) -> str:
        """Columns one by one; where the next one stands."""
        w, a, stored = self.w, self.a, self.target.stored
        loop = w.loop(side, a[side])
        offset = w.load_scalar("i64", w.element(a[f"{side}_at"], loop.index, "i64"))
        marked = w.value(f"icmp sle i64 {offset}, {FILL}")
        at = w.element(to, loop.index, stored)

        def blank() -> None:
            w.line(f"store {stored} {self.marked_value(offset)}, ptr {at}, align 1")

        def sample() -> None:
            if x is None:
                w.line(f"store {stored} {value}, ptr {at}, align 1")
            else:
                w.store(Vector(1, stored), self.one(w.offset(x, offset)), at)

        w.when(marked, blank, sample)
        loop.close()
        return w.element(to, a[side], stored)

    def one(self, x: str) -> str:
        """The number at ``x``, as a vector of one."""
        return widen(self.w, self.w.load(Vector(1, self.source.stored), x), 1, self.source, self.target)

    def vectors(self, write: object) -> None:
        """The columns of the middle, whole vectors and then what is left of one under a mask."""
        w, count = self.w, self.a["middle"]
        loop = w.loop("whole", w.subtract(count, self.lanes - 1), step=self.lanes)
        write(loop.index, None)  # type: ignore[operator]
        loop.close()
        rest = w.subtract(count, loop.index)
        some = w.value(f"icmp sgt i64 {rest}, 0")
        mask = w.lanes_below(Vector(self.lanes, "i32"), rest)
        w.when(some, lambda: write(loop.index, mask))  # type: ignore[operator]

    def middle(self, to: str, x: str) -> None:
        """Neighbouring samples."""
        w, stored, apart = self.w, self.target.stored, self.pack.apart
        kind, read = Vector(self.lanes, stored), Vector(self.lanes, self.source.stored)
        if apart == 0:
            loop = w.loop("each", self.a["middle"])
            at = w.offset(x, w.multiply(loop.index, self.a["x_step"]))
            w.store(Vector(1, stored), self.one(at), w.element(to, loop.index, stored))
            loop.close()
            return

        def vector(at: str, mask: str | None) -> None:
            begin = w.offset(x, w.multiply(at, apart * ITEM_BYTES[self.source.stored]))
            samples = self.read(begin, read, at, mask)
            w.store(kind, widen(w, samples, self.lanes, self.source, self.target), w.element(to, at, stored), mask)

        self.vectors(vector)

    def read(self, begin: str, read: Vector, at: str, mask: str | None) -> str:
        """A vector of samples, every one or every second; nothing after the last sample is touched."""
        w = self.w
        if self.pack.apart == 1:
            return w.load(read, begin, mask)
        if self.pack.apart == -1:
            backwards = range(self.lanes - 1, -1, -1)
            held = None if mask is None else w.shuffle(Vector(self.lanes, "i1"), mask, mask, backwards)
            first = w.offset(begin, ITEM_BYTES[self.source.stored] - read.bytes)
            loaded = w.load(read, first, held)
            return w.shuffle(read, loaded, loaded, backwards)
        first = w.load(read, begin, self.half_mask(at, 0))
        second = w.load(read, w.offset(begin, read.bytes), self.half_mask(at, self.lanes))
        return w.shuffle(read, first, second, range(0, 2 * self.lanes, 2))

    def half_mask(self, at: str, before: int) -> str:
        """Of the numbers from column ``at`` on, without the first ``before``, those up to the last column."""
        w = self.w
        left = w.multiply(w.subtract(self.a["middle"], at), 2)
        return w.lanes_below(Vector(self.lanes, "i32"), w.subtract(left, 1 + before))
