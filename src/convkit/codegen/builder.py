"""Writes one function of LLVM IR with explicit vectors: values, loops, branches. It knows no loop nest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ITEM_BYTES = {"float": 4, "double": 8, "half": 2, "i8": 1, "i16": 2, "i32": 4, "i64": 8}
"""Bytes of one number of each type that memory holds."""

_SHORT = {"float": "f32", "double": "f64", "half": "f16"}
"""How LLVM writes the types inside the names of intrinsics; integers stand for themselves."""


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector type: ``lanes`` numbers of type ``scalar``; one lane is a vector too."""

    lanes: int
    scalar: str

    def __str__(self) -> str:
        return f"<{self.lanes} x {self.scalar}>"

    @property
    def suffix(self) -> str:
        """The type as it stands in the name of an intrinsic."""
        return f"v{self.lanes}{_SHORT.get(self.scalar, self.scalar)}"

    @property
    def mask(self) -> str:
        """The type of one bit a lane."""
        return f"<{self.lanes} x i1>"

    @property
    def bytes(self) -> int:
        """Bytes in memory."""
        return self.lanes * ITEM_BYTES[self.scalar]


class Loop:
    """A loop being written: its values by name, as they are at the head of each turn and after the last one."""

    def __init__(self, writer: Writer, name: str, count: str, carried: dict[str, tuple[str, str]], step: int = 1):
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

    def close(self, following: dict[str, str] | None = None) -> None:
        """End the turn: what each carried value becomes."""
        writer, following = self.writer, following or {}
        advanced = writer.value(f"add nsw i64 {self.index}, {self.step}")
        heads = [f"  {self.index} = phi i64 [ 0, %{self.entry} ], [ {advanced}, %{writer.block} ]"]
        for name, kind in self.kinds.items():
            start, later = f"[ {self.starts[name]}, %{self.entry} ]", f"[ {following[name]}, %{writer.block} ]"
            heads.append(f"  {self[name]} = phi {kind} {start}, {later}")
        writer.lines[self.at : self.at] = heads
        writer.line(f"br label %{self.label}")
        writer.begin(f"{self.label}.done")


class Writer:
    """Writes the body of one function, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.block = ""
        self.count = 0
        self.declared: dict[str, str] = {}
        self.streams = False
        self.begin("entry")

    def function(self, name: str, arguments: Sequence[str], result: str = "void") -> str:
        """The finished function, and the declarations of what it calls."""
        return "\n".join([
            f"define {result} @{name}({', '.join(arguments)}) nounwind {{",
            *self.lines,
            "}",
            *self.declared.values(),
            *(["!0 = !{i32 1}"] if self.streams else []),
            "",
        ])  # fmt: skip

    # ---------------------------------------------------------------------------------- control, and where to go

    def loop(self, name: str, count: str, carried: dict[str, tuple[str, str]] | None = None, step: int = 1) -> Loop:
        """``for i in range(0, count, step)``; ``carried`` gives the type and the first value of what turns pass on."""
        return Loop(self, name, count, carried or {}, step)

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

    def when(self, condition: str, write: Callable[[], None], otherwise: Callable[[], None] | None = None) -> None:
        """``if condition: write() else: otherwise()``."""
        label = self.fresh("when")
        self.line(f"br i1 {condition}, label %{label}, label %{label}.else")
        self.begin(label)
        write()
        self.line(f"br label %{label}.end")
        self.begin(f"{label}.else")
        if otherwise is not None:
            otherwise()
        self.line(f"br label %{label}.end")
        self.begin(f"{label}.end")

    # ---------------------------------------------------------------------------------------------- instructions

    def offset(self, pointer: str, by: str | int) -> str:
        """``pointer`` moved by so many bytes."""
        return pointer if by == 0 else self.value(f"getelementptr i8, ptr {pointer}, i64 {by}")

    def offset_below(self, pointer: str, by: str, n: int, count: str) -> str:
        """``pointer`` moved by so many bytes if there is an ``n``-th of ``count``.

        A masked access that touches nothing at an address where no memory is takes hundreds of cycles, once for every
        time: where nothing is there any more, pointers stay.
        """
        there = self.value(f"icmp sgt i64 {count}, {n}")
        return self.offset(pointer, self.value(f"select i1 {there}, i64 {by}, i64 0"))

    def element(self, pointer: str, index: str | int, scalar: str) -> str:
        """Where element ``index`` of an array of ``scalar`` lies."""
        return pointer if index == 0 else self.value(f"getelementptr {scalar}, ptr {pointer}, i64 {index}")

    def multiply(self, a: str | int, b: str | int) -> str:
        """``a * b`` of sizes."""
        return self.value(f"mul nsw i64 {a}, {b}")

    def add(self, a: str | int, b: str | int) -> str:
        """``a + b`` of sizes."""
        return self.value(f"add nsw i64 {a}, {b}")

    def subtract(self, a: str | int, b: str | int) -> str:
        """``a - b`` of sizes."""
        return self.value(f"sub nsw i64 {a}, {b}")

    def smallest(self, a: str | int, b: str | int) -> str:
        """The smaller of two sizes."""
        return self.call("i64", "llvm.smin.i64", ("i64", str(a)), ("i64", str(b)))

    def load_scalar(self, scalar: str, pointer: str) -> str:
        """One number."""
        return self.value(f"load {scalar}, ptr {pointer}, align {1 if scalar == 'ptr' else ITEM_BYTES[scalar]}")

    def fill(self, kind: Vector, scalar: str) -> str:
        """A vector whose lanes all hold ``scalar``."""
        first = self.value(f"insertelement {kind} poison, {kind.scalar} {scalar}, i64 0")
        return self.value(f"shufflevector {kind} {first}, {kind} poison, <{kind.lanes} x i32> zeroinitializer")

    def splat(self, kind: Vector, pointer: str) -> str:
        """The number at ``pointer`` in every lane."""
        return self.fill(kind, self.load_scalar(kind.scalar, pointer))

    def lanes_below(self, kind: Vector, count: str) -> str:
        """A mask of the first ``count`` lanes; ``count`` may exceed them."""
        whole = f"i{8 * ITEM_BYTES[kind.scalar]}" if ITEM_BYTES[kind.scalar] >= 4 else "i32"
        held = self.smallest(count, kind.lanes)
        narrow = self.value(f"trunc i64 {held} to {whole}") if whole == "i32" else held
        counts = Vector(kind.lanes, whole)
        every = self.fill(counts, narrow)
        numbers = ", ".join(f"{whole} {n}" for n in range(kind.lanes))
        return self.value(f"icmp slt {counts} <{numbers}>, {every}")

    def load(self, kind: Vector, pointer: str, mask: str | None = None) -> str:
        """A vector; the lanes that ``mask`` leaves out are zero and their memory is not touched."""
        if mask is None:
            return self.value(f"load {kind}, ptr {pointer}, align 1")
        return self.call(
            str(kind), f"llvm.masked.load.{kind.suffix}.p0",
            ("ptr", pointer), ("i32", "1"), (kind.mask, mask), (str(kind), "zeroinitializer"),
        )  # fmt: skip

    def store(self, kind: Vector, value: str, pointer: str, mask: str | None = None) -> None:
        """Store the lanes that ``mask`` names, or all."""
        if mask is None:
            self.line(f"store {kind} {value}, ptr {pointer}, align 1")
            return
        self.call(
            "void", f"llvm.masked.store.{kind.suffix}.p0",
            (str(kind), value), ("ptr", pointer), ("i32", "1"), (kind.mask, mask),
        )  # fmt: skip

    def stream(self, kind: Vector, value: str, pointer: str) -> None:
        """Store a vector past the caches; ``pointer`` is a multiple of its bytes."""
        self.streams = True
        self.line(f"store {kind} {value}, ptr {pointer}, align {kind.bytes}, !nontemporal !0")

    def ask(self, pointer: str, stays: int = 3) -> None:
        """Have a line of the cache fetched, which need not exist; ``stays``: 3 is near and long, 0 leaves no trace."""
        self.call("void", "llvm.prefetch.p0", ("ptr", pointer), ("i32", "0"), ("i32", str(stays)), ("i32", "1"))

    def fma(self, kind: Vector, a: str, b: str, c: str) -> str:
        """``a * b + c``, rounded once."""
        return self.call(str(kind), f"llvm.fma.{kind.suffix}", (str(kind), a), (str(kind), b), (str(kind), c))

    def shuffle(self, kind: Vector, a: str, b: str, picked: Sequence[int]) -> str:
        """The lanes ``picked`` of ``a`` followed by ``b``."""
        lanes = ", ".join(f"i32 {lane}" for lane in picked)
        return self.value(f"shufflevector {kind} {a}, {kind} {b}, <{len(picked)} x i32> <{lanes}>")

    def call(self, result: str, name: str, *arguments: tuple[str, str]) -> str:
        """Call a function by name, each argument with its type; what it gives back, if anything."""
        kinds = ", ".join(kind for kind, _ in arguments)
        self.declared[name] = f"declare {result} @{name}({kinds})"
        given = ", ".join(f"{kind} {value}" for kind, value in arguments)
        if result == "void":
            self.line(f"call void @{name}({given})")
            return ""
        return self.value(f"call {result} @{name}({given})")

    # ------------------------------------------------------------------------------------------------------ text

    def value(self, instruction: str) -> str:
        """Write an instruction and name what it gives."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {instruction}")
        return f"%v{self.count}"

    def line(self, instruction: str) -> None:
        """Write an instruction that gives nothing."""
        self.lines.append(f"  {instruction}")

    def begin(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def fresh(self, name: str) -> str:
        """A label that no other block has."""
        self.count += 1
        return f"{name}{self.count}"
