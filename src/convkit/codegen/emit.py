"""From a schedule to LLVM IR with explicit vectors. `direct` reads like the loop nest it emits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convkit.codegen.schedule import Schedule

ARGUMENTS = (
    "ptr noalias %out", "ptr noalias %x", "ptr noalias %w", "ptr noalias %offsets",
    "i64 %planes", "i64 %rows", "i64 %columns", "i64 %blocks", "i64 %last_blocks", "i64 %kernel_columns",
    "i64 %out_plane", "i64 %x_plane", "i64 %w_plane", "i64 %out_row", "i64 %x_row", "i64 %x_step",
)  # fmt: skip
"""Strides (``*_plane``, ``*_row``, ``x_step``) and ``offsets`` are in bytes, of either sign."""


def emit(schedule: Schedule, registers: int) -> str:
    """LLVM IR of the kernel that ``schedule`` describes.

    ``out[p, r, c] = sum_b sum_j sum_i x[p, offsets[b] + (r + i)*x_row + c + j*x_step] * w[p, b, j, i]``, every output
    by the same sequence of fused multiply-adds, whichever tile it stands in. Tiles at the lower and right ends are
    moved back to end with the block, so that some outputs are written twice with the same bits; blocks narrower than a
    vector are read and written under a mask. Nothing outside the block is touched.

    Raises
    ------
    ValueError
        If the tile does not fit ``registers`` vector registers, or the last block is not one row shorter.
    """
    if schedule.registers > registers:
        raise ValueError(f"{schedule.name} needs {schedule.registers} vector registers, the target has {registers}")
    if schedule.last_block not in (0, schedule.block - 1):
        raise ValueError(f"{schedule.name}: the last block is one row shorter, or there is none")
    return _Writer(schedule).module()


class _Loop:
    """A loop being written: its values by name, as they are at the head of each turn and after the last one."""

    def __init__(self, writer: _Writer, name: str, count: str, carried: dict[str, tuple[str, str]], step: int = 1):
        self.writer, self.step, self.kinds = writer, step, {name: kind for name, (kind, _) in carried.items()}
        self.label = writer.fresh(name)
        self.entry = writer.block
        writer.line(f"br label %{self.label}")
        writer.begin(self.label)
        self.starts = {name: start for name, (_, start) in carried.items()}
        self.at = len(writer.lines)  # the values are written here when it is known what they become
        self.index = f"%{self.label}.i"
        writer.line(f"%{self.label}.more = icmp slt i64 {self.index}, {count}")
        writer.line(f"br i1 %{self.label}.more, label %{self.label}.turn, label %{self.label}.done")
        writer.begin(f"{self.label}.turn")

    def __getitem__(self, name: str) -> str:
        return f"%{self.label}.{name}"

    def close(self, following: dict[str, str]) -> None:
        writer = self.writer
        advanced = writer.value(f"add nsw i64 {self.index}, {self.step}")
        heads = [f"  {self.index} = phi i64 [ 0, %{self.entry} ], [ {advanced}, %{writer.block} ]"]
        for name, kind in self.kinds.items():
            start, later = f"[ {self.starts[name]}, %{self.entry} ]", f"[ {following[name]}, %{writer.block} ]"
            heads.append(f"  {self[name]} = phi {kind} {start}, {later}")
        writer.lines[self.at : self.at] = heads
        writer.line(f"br label %{self.label}")
        writer.begin(f"{self.label}.done")


class _Writer:
    """Writes one module, line by line."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.scalar = {"float32": "float", "float64": "double"}[schedule.dtype]
        self.vector = f"<{schedule.lanes} x {self.scalar}>"
        self.kind = f"v{schedule.lanes}{'f32' if schedule.dtype == 'float32' else 'f64'}"
        self.lines: list[str] = []
        self.block = "entry"
        self.count = 0

    # ------------------------------------------------------------------------------------------ the loop nest

    def module(self) -> str:
        s = self.schedule
        self.begin("entry")
        planes = self.loop("plane", "%planes", {"out": ("ptr", "%out"), "x": ("ptr", "%x"), "w": ("ptr", "%w")})
        self.choose("%rows", [(s.rows, "tall"), (1, "single")], lambda rows: self.rows(planes, rows))
        planes.close({
            "out": self.offset(planes["out"], "%out_plane"),
            "x": self.offset(planes["x"], "%x_plane"),
            "w": self.offset(planes["w"], "%w_plane"),
        })  # fmt: skip
        self.line("ret void")
        mask = f"<{s.lanes} x i1>"
        return "\n".join([
            f"; {s.name}: written by convkit.codegen.emit from its schedule; not to be edited.",
            f"define void @{s.name}({', '.join(ARGUMENTS)}) nounwind {{",
            *self.lines,
            "}",
            f"declare {self.vector} @llvm.fma.{self.kind}({self.vector}, {self.vector}, {self.vector})",
            f"declare {self.vector} @llvm.masked.load.{self.kind}.p0(ptr, i32, {mask}, {self.vector})",
            f"declare void @llvm.masked.store.{self.kind}.p0({self.vector}, ptr, i32, {mask})",
            "declare i64 @llvm.smin.i64(i64, i64)",
            "",
        ])  # fmt: skip

    def rows(self, planes: _Loop, rows: int) -> None:
        """All tiles of ``rows`` rows."""
        s = self.schedule
        loop = self.loop("row", "%rows", {}, rows)
        row = self.moved_back(loop.index, "%rows", rows)
        out = self.offset(planes["out"], self.value(f"mul nsw i64 {row}, %out_row"))
        x = self.offset(planes["x"], self.value(f"mul nsw i64 {row}, %x_row"))
        wide = s.vectors if rows > 1 else s.row_vectors

        def columns(vectors: int) -> None:
            if vectors == 0:
                self.tile(out, x, planes["w"], rows, 1, self.mask())
                return
            along = self.loop("column", "%columns", {}, vectors * s.lanes)
            column = self.moved_back(along.index, "%columns", vectors * s.lanes)
            begin = self.value(f"mul nsw i64 {column}, {s.item_bytes}")
            self.tile(self.offset(out, begin), self.offset(x, begin), planes["w"], rows, vectors, None)
            along.close({})

        self.choose(
            "%columns", [(wide * s.lanes, "wide"), (s.lanes, "narrow"), (0, "masked")],
            lambda least: columns(least // s.lanes),
        )  # fmt: skip
        loop.close({})

    def tile(self, out: str, x: str, w: str, rows: int, vectors: int, mask: str | None) -> None:
        """One register tile: zero sums, every block of kernel rows, then the sums are stored."""
        s = self.schedule
        sums = ["zeroinitializer"] * (rows * vectors)
        offsets = "%offsets"
        for block, count in ((s.block, "%blocks"), (s.last_block, "%last_blocks")):
            if block:
                sums, w, offsets = self.blocks(x, w, offsets, count, block, sums, rows, vectors, mask)
        for r in range(rows):
            for v in range(vectors):
                self.store(sums[r * vectors + v], self.offset(out, v * s.lanes * s.item_bytes), mask)
            out = self.offset(out, "%out_row")

    def blocks(
        self, x: str, w: str, offsets: str, count: str, block: int, sums: Sequence[str], rows: int, vectors: int,
        mask: str | None,
    ) -> tuple[list[str], str, str]:  # fmt: skip
        """All blocks of ``block`` kernel rows: what the sums, the weights and the offsets are after them."""
        s = self.schedule
        names = [f"s{n}" for n in range(rows * vectors)]
        carried = {"w": ("ptr", w), "offsets": ("ptr", offsets), **self.carried(names, sums)}
        chunks = self.loop("block", count, carried)
        begin = self.offset(x, self.value(f"load i64, ptr {chunks['offsets']}"))
        carried = {"x": ("ptr", begin), "w": ("ptr", chunks["w"])}
        taps = self.loop("tap", "%kernel_columns", {**carried, **self.carried(names, [chunks[name] for name in names])})
        current = [taps[name] for name in names]
        weights = [self.splat(self.offset(taps["w"], i * s.item_bytes)) for i in range(block)]
        row = taps["x"]
        for p in range(rows + block - 1):  # a row of samples meets weight i in the sums of row p - i
            if p:
                row = self.offset(row, "%x_row")
            for v in range(vectors):
                samples = self.load(self.offset(row, v * s.lanes * s.item_bytes), mask)
                for i in range(max(0, p - rows + 1), min(block, p + 1)):
                    n = (p - i) * vectors + v
                    current[n] = self.fma(samples, weights[i], current[n])
        taps.close({
            "x": self.offset(taps["x"], "%x_step"),
            "w": self.offset(taps["w"], block * s.item_bytes),
            **dict(zip(names, current)),
        })  # fmt: skip
        chunks.close({
            "w": taps["w"], "offsets": self.offset(chunks["offsets"], 8), **{name: taps[name] for name in names},
        })  # fmt: skip
        return [chunks[name] for name in names], chunks["w"], chunks["offsets"]

    # ---------------------------------------------------------------------------------- control, and where to go

    def loop(self, name: str, count: str, carried: dict[str, tuple[str, str]], step: int = 1) -> _Loop:
        return _Loop(self, name, count, carried, step)

    def choose(self, size: str, ways: list[tuple[int, str]], write: Callable[[int], None]) -> None:
        """Take the first way whose least size ``size`` reaches; the last one otherwise."""
        end = self.fresh("chosen")
        for least, name in ways[:-1]:
            label = self.fresh(name)
            reached = self.value(f"icmp sge i64 {size}, {least}")
            self.line(f"br i1 {reached}, label %{label}, label %{label}.else")
            self.begin(label)
            write(least)
            self.line(f"br label %{end}")
            self.begin(f"{label}.else")
        write(ways[-1][0])
        self.line(f"br label %{end}")
        self.begin(end)

    def moved_back(self, at: str, size: str, tile: int) -> str:
        """Where a tile begins that would begin at ``at``, so that it ends with the block."""
        if tile == 1:
            return at
        last = self.value(f"sub nsw i64 {size}, {tile}")
        return self.value(f"call i64 @llvm.smin.i64(i64 {at}, i64 {last})")

    # ---------------------------------------------------------------------------------------------- instructions

    def offset(self, pointer: str, by: str | int) -> str:
        return pointer if by == 0 else self.value(f"getelementptr i8, ptr {pointer}, i64 {by}")

    def carried(self, names: Sequence[str], starts: Sequence[str]) -> dict[str, tuple[str, str]]:
        return {name: (self.vector, start) for name, start in zip(names, starts)}

    def splat(self, pointer: str) -> str:
        """One number in every lane."""
        scalar = self.value(f"load {self.scalar}, ptr {pointer}, align {self.schedule.item_bytes}")
        first = self.value(f"insertelement {self.vector} poison, {self.scalar} {scalar}, i64 0")
        zeros = f"<{self.schedule.lanes} x i32> zeroinitializer"
        return self.value(f"shufflevector {self.vector} {first}, {self.vector} poison, {zeros}")

    def mask(self) -> str:
        """The lanes below the number of columns, which is less than a vector here."""
        lanes, whole = self.schedule.lanes, f"i{8 * self.schedule.item_bytes}"
        columns = self.value(f"trunc i64 %columns to {whole}") if whole == "i32" else "%columns"
        one = self.value(f"insertelement <{lanes} x {whole}> poison, {whole} {columns}, i64 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        every = self.value(f"shufflevector <{lanes} x {whole}> {one}, <{lanes} x {whole}> poison, {zeros}")
        numbers = ", ".join(f"{whole} {n}" for n in range(lanes))
        return self.value(f"icmp slt <{lanes} x {whole}> <{numbers}>, {every}")

    def load(self, pointer: str, mask: str | None) -> str:
        if mask is None:
            return self.value(f"load {self.vector}, ptr {pointer}, align 1")
        return self.value(
            f"call {self.vector} @llvm.masked.load.{self.kind}.p0("
            f"ptr {pointer}, i32 1, <{self.schedule.lanes} x i1> {mask}, {self.vector} zeroinitializer)"
        )

    def store(self, value: str, pointer: str, mask: str | None) -> None:
        if mask is None:
            self.line(f"store {self.vector} {value}, ptr {pointer}, align 1")
            return
        self.line(
            f"call void @llvm.masked.store.{self.kind}.p0("
            f"{self.vector} {value}, ptr {pointer}, i32 1, <{self.schedule.lanes} x i1> {mask})"
        )

    def fma(self, a: str, b: str, c: str) -> str:
        kind = self.vector
        return self.value(f"call {kind} @llvm.fma.{self.kind}({kind} {a}, {kind} {b}, {kind} {c})")

    # ------------------------------------------------------------------------------------------------------ text

    def value(self, instruction: str) -> str:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {instruction}")
        return f"%v{self.count}"

    def line(self, instruction: str) -> None:
        self.lines.append(f"  {instruction}")

    def begin(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def fresh(self, name: str) -> str:
        self.count += 1
        return f"{name}{self.count}"
