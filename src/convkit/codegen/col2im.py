"""Rows of products brought where they belong: for each output the sum of those that stand for it."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.builder import Vector, Writer
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out x offsets counts", "channels out_channel x_channel columns")
"""``counts``: for each phase how many rows of products are added; ``offsets``: how far, in bytes, each lies from ``x``,
phase by phase. ``columns``: outputs of the row, of all phases."""

PHASES = (1, 2, 4)
"""How many phases a row of outputs may have."""

AT_ONCE = 4
"""Vectors of sums in registers: additions wait for each other no longer then."""


@dataclass(frozen=True, slots=True)
class Col2im:
    """``out[c, i*phases + f] = sum_n x[c, i + offsets[f][n]]``, one row of outputs.

    ::

        for channel: for `lanes` columns of each phase: for phase: for offset: add a vector; interleave; store

    Attributes
    ----------
    dtype : {"float32", "float64"}
        The type of the numbers.
    lanes : int
        Numbers in a vector.
    phases : int
        One of `PHASES`.
    """

    dtype: str
    lanes: int
    phases: int

    @property
    def name(self) -> str:
        """``col2im_<dtype>_<lanes>l_<phases>``."""
        return f"col2im_{self.dtype}_{self.lanes}l_{self.phases}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, kernel: Col2im) -> None:
        self.k, self.w = kernel, Writer()
        self.kind = Vector(kernel.lanes, ARITHMETIC[kernel.dtype].sum)
        self.many = AT_ONCE // kernel.phases

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        self.counts = [w.load_scalar("i64", w.element(a["counts"], n, "i64")) for n in range(self.k.phases)]
        self.tables = [a["offsets"]]
        for count in self.counts[:-1]:
            self.tables.append(w.element(self.tables[-1], count, "i64"))
        channels = w.loop("channel", a["channels"], {"out": ("ptr", a["out"]), "x": ("ptr", a["x"])})
        places = {"out": channels["out"], "x": channels["x"], "left": a["columns"]}
        places = self.columns(places, self.many, "whole")
        self.columns(places, 1, "masked")
        channels.close({
            "out": w.offset(channels["out"], a["out_channel"]), "x": w.offset(channels["x"], a["x_channel"]),
        })  # fmt: skip
        w.line("ret void")
        return w.function(self.k.name, SIGNATURE)

    def columns(self, at: dict[str, str], vectors: int, edge: str) -> dict[str, str]:
        """Turns of so many vectors of each phase, while they are whole; or until none is left. Where they end."""
        w, each = self.w, vectors * self.k.lanes * self.k.phases
        turns = w.value(f"sdiv i64 {w.add(at['left'], 0 if edge == 'whole' else each - 1)}, {each}")
        kinds = {"out": "ptr", "x": "ptr", "left": "i64"}
        loop = w.loop(edge, turns, {name: (kind, at[name]) for name, kind in kinds.items()})
        found = [self.sums(loop["x"], phase, vectors) for phase in range(self.k.phases)]
        for v in range(vectors):
            for n, vector in enumerate(self.interleaved([sums[v] for sums in found])):
                number = (v * self.k.phases + n) * self.k.lanes
                by = number * self.kind.bytes // self.k.lanes
                if edge == "whole":
                    w.store(self.kind, vector, w.offset(loop["out"], by))
                    continue
                mask = w.lanes_below(self.kind, w.subtract(loop["left"], number))
                w.store(self.kind, vector, w.offset_below(loop["out"], str(by), number, loop["left"]), mask)
        loop.close({
            "out": w.offset(loop["out"], vectors * self.k.phases * self.kind.bytes),
            "x": w.offset(loop["x"], vectors * self.kind.bytes), "left": w.subtract(loop["left"], each),
        })  # fmt: skip
        return {name: loop[name] for name in kinds}

    def sums(self, x: str, phase: int, vectors: int) -> list[str]:
        """Some vectors of one phase."""
        w = self.w
        names = [f"s{v}" for v in range(vectors)]
        loop = w.loop("term", self.counts[phase], {name: (str(self.kind), "zeroinitializer") for name in names})
        row = w.offset(x, w.load_scalar("i64", w.element(self.tables[phase], loop.index, "i64")))
        added = {
            name: w.value(f"fadd {self.kind} {loop[name]}, {w.load(self.kind, w.offset(row, v * self.kind.bytes))}")
            for v, name in enumerate(names)
        }
        loop.close(added)
        return [loop[name] for name in names]

    def interleaved(self, vectors: list[str]) -> list[str]:
        """The first numbers of all vectors, the second ones, and so on, as vectors."""
        if len(vectors) == 1:
            return vectors
        even, odd = self.interleaved(vectors[::2]), self.interleaved(vectors[1::2])
        lanes = self.k.lanes
        low = [n // 2 + n % 2 * lanes for n in range(lanes)]
        high = [n + lanes // 2 for n in low]
        return [self.w.shuffle(self.kind, a, b, half) for a, b in zip(even, odd, strict=True) for half in (low, high)]
