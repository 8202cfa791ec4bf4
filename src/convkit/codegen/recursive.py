"""Sums over windows by recursion: its loop nest as data, and the kernel that `_Nest` writes from it.

A sum weighted by an oscillation ``g(a) = t1 g(a-1) - t2 g(a-2)`` follows from the two sums before it, from the sample
that enters the window and from the one that leaves it, however long the window is. A smooth kernel is a sum of few of
them. A vector holds neighbouring columns and the recursion runs from row to row. Every term is a chain of its own, so
that several multiply-adds are under way at once; a second vector at a time would only take registers. State is float64:
the errors that a recursion carries on stay far below those of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import Loop, Vector, Writer
from convkit.codegen.numbers import Element, narrow, widen
from convkit.codegen.pack import FILL
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out x w rows_at blank state keep found", "leave rows columns out_row state_step")
"""``rows_at``: for each row that enters its offset from ``x``, or a mark; ``leave`` bytes on, for each row that leaves.
``w``: six numbers a term, see `TERM`. ``blank``: a vector of zeros, and `BLANK` bytes on one of the fill, in the type
of the samples. ``state``: from where the state of each vector of columns comes, ``state_step`` bytes from one to the
next, or 0 where all begin with the same; ``keep``: where it is left. ``found``: where a 1 is stored if the state did
not stay finite."""

TERM = ("t1", "-t2", "entering", "before it", "leaving", "before that")
"""What the numbers of a term are multiplied with: its last sum, the one before, and four samples."""

BLANK = 64
"""Bytes of a vector of zeros, and of the fill, at most."""

Parity = Literal["even", "odd", "none"]
SUMS = Element("float64")


@dataclass(frozen=True, slots=True)
class Recursion:
    """One pass of a kernel that is a sum of oscillations.

    ::

        for each vector of columns: state from memory
            for row: entering, leaving: a vector each
                for term: y = t1 y' - t2 y'' + b0 entering + b1 entering' + c0 leaving + c1 leaving';  out += y
            state to memory

    Symmetric kernels have ``c1 = b0, c0 = b1`` and ``t2 = 1``, antisymmetric ones the same with signs: there samples
    are added in pairs first. Every column is done by the same operations in the same order, the last ones under a mask.

    Attributes
    ----------
    source, stored : str
        What samples are, and what sums are stored as, by NumPy's names.
    lanes : int
        Columns of a vector.
    terms : int
        Oscillations.
    parity : {"even", "odd", "none"}
        Symmetric, antisymmetric or neither.
    """

    source: str
    stored: str
    lanes: int
    terms: int
    parity: Parity

    @property
    def name(self) -> str:
        """``recursion_<source>_<stored>_<lanes>l_<terms>_<parity>``."""
        return f"recursion_{self.source}_{self.stored}_{self.lanes}l_{self.terms}_{self.parity}"

    @property
    def held(self) -> int:
        """Vectors of state: two sums a term, and two samples."""
        return 2 * self.terms + 2

    @property
    def state_bytes(self) -> int:
        """Bytes of the state of one vector of columns."""
        return self.held * self.lanes * SUMS.bytes

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: state, numbers made of samples, a weight, a sum, a total."""
        return self.held + (5 if self.parity != "none" else 7)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the state does not fit the target's vector registers.
        """
        target.require(self.name, self.registers)
        return _Nest(self).module()


def recursion_for(target: Target, source: str, stored: str, terms: int, parity: Parity) -> Recursion | None:
    """The loop nest for so many terms; None where their state does not fit the registers."""
    nest = Recursion(source, stored, target.vector_bytes // SUMS.bytes, terms, parity)
    return nest if nest.registers <= target.registers else None


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, recursion: Recursion) -> None:
        self.r, self.w = recursion, Writer()
        self.kind = Vector(recursion.lanes, "double")
        self.source, self.stored = Element(recursion.source), Element(recursion.stored)
        self.names = [f"s{n}" for n in range(recursion.held)]

    def module(self) -> str:
        w, r = self.w, self.r
        self.a = a = ARGUMENTS.read(w)
        state = {name: ("ptr", a[name]) for name in ("state", "keep")}
        whole = w.loop("block", w.subtract(a["columns"], r.lanes - 1), state, step=r.lanes)
        self.block(whole, None)
        whole.close({
            "state": w.offset(whole["state"], a["state_step"]), "keep": w.offset(whole["keep"], r.state_bytes),
        })  # fmt: skip
        rest = w.subtract(a["columns"], whole.index)
        some = w.value(f"icmp sgt i64 {rest}, 0")
        w.when(some, lambda: self.block(whole, w.lanes_below(Vector(r.lanes, "i64"), rest)))
        w.line("ret void")
        return w.function(r.name, SIGNATURE)

    def block(self, blocks: Loop, mask: str | None) -> None:
        """All rows of a vector of columns; under a mask it is the last one, after the loop."""
        w, r, a = self.w, self.r, self.a
        out = w.element(a["out"], blocks.index, self.stored.stored)
        x = w.element(a["x"], blocks.index, self.source.stored)
        begin = [w.load(self.kind, w.offset(blocks["state"], n * self.kind.bytes)) for n in range(r.held)]
        kept = {name: (str(self.kind), value) for name, value in zip(self.names, begin, strict=True)}
        rows = w.loop("row", a["rows"], {"out": ("ptr", out), **kept})
        table = w.element(a["rows_at"], rows.index, "i64")
        enters, leaves = (
            widen(w, w.load(Vector(r.lanes, self.source.stored), at, mask), r.lanes, self.source, SUMS)
            for at in (self.row(table, x), self.row(w.offset(table, a["leave"]), x))
        )
        total, later = self.step([rows[name] for name in self.names], enters, leaves)
        value = narrow(w, total, r.lanes, SUMS, self.stored)
        w.store(Vector(r.lanes, self.stored.stored), value, rows["out"], mask)
        rows.close({"out": w.offset(rows["out"], a["out_row"]), **dict(zip(self.names, later, strict=True))})
        self.leave([rows[name] for name in self.names], blocks["keep"])

    def row(self, table: str, x: str) -> str:
        """Where a row's samples lie: in the input, or among zeros or copies of the fill."""
        w = self.w
        offset = w.load_scalar("i64", table)
        filled = w.value(f"icmp eq i64 {offset}, {FILL}")
        marked = w.value(f"icmp sle i64 {offset}, {FILL}")
        blank = w.value(f"select i1 {filled}, ptr {w.offset(self.a['blank'], BLANK)}, ptr {self.a['blank']}")
        return w.value(f"select i1 {marked}, ptr {blank}, ptr {w.offset(x, offset)}")

    def step(self, state: list[str], enters: str, leaves: str) -> tuple[str, list[str]]:
        """One row enters and one leaves: the sum of all terms, and the state after it."""
        w, (before, left) = self.w, state[-2:]
        if self.r.parity == "none":
            parts = [enters, before, leaves, left]
        else:
            sign = "fadd" if self.r.parity == "even" else "fsub"
            parts = [w.value(f"{sign} {self.kind} {a}, {b}") for a, b in ((enters, left), (before, leaves))]
        total, later = "", []
        for term in range(self.r.terms):
            newer, older = state[2 * term : 2 * term + 2]
            # No multiply-add but the last one waits for the sum before.
            if self.r.parity == "none":
                value = w.value(f"fmul {self.kind} {self.number(term, 1)}, {older}")
            else:
                value = w.value(f"fneg {self.kind} {older}")
            for number, part in enumerate(parts, 2):
                value = w.fma(self.kind, self.number(term, number), part, value)
            value = w.fma(self.kind, self.number(term, 0), newer, value)
            total = value if not total else w.value(f"fadd {self.kind} {total}, {value}")
            later += [value, newer]
        return total, [*later, enters, leaves]

    def number(self, term: int, number: int) -> str:
        """One number of a term, from memory: registers are for the state."""
        w = self.w
        return w.splat(self.kind, w.element(self.a["w"], len(TERM) * term + number, "double"))

    def leave(self, state: list[str], keep: str) -> None:
        """Store the state, and whether it is finite: what is not stays in it."""
        w, total = self.w, "zeroinitializer"
        for n, value in enumerate(state):
            w.store(self.kind, value, w.offset(keep, n * self.kind.bytes))
            if n < 2 * self.r.terms:
                total = w.fma(self.kind, value, "zeroinitializer", total)
        lost = w.value(f"fcmp uno {self.kind} {total}, {total}")
        any_lost = w.call("i1", f"llvm.vector.reduce.or.v{self.r.lanes}i1", (self.kind.mask, lost))
        w.when(any_lost, lambda: w.line(f"store i64 1, ptr {self.a['found']}, align 8"))
