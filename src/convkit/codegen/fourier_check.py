"""Whether a block came out finite: looked at while it is still in the cache."""

from __future__ import annotations

from dataclasses import dataclass

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.fourier_lanes import VECTORS
from convkit.codegen.numbers import STORED
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("real imaginary found", "rows row blocks")
"""``found``: where a 1 is stored if something is not finite, and nothing otherwise. ``blocks``: of four vectors."""


@dataclass(frozen=True, slots=True)
class Check:
    """The kernel that looks for NaN and Inf in two planes.

    ::

        for row: for block: sums += 0 * 4 vectors of either plane, which is 0 or NaN

    Attributes
    ----------
    dtype : {"float32", "float64"}
        What the planes hold.
    """

    dtype: str

    @property
    def name(self) -> str:
        """``fourier_check_<dtype>``."""
        return f"fourier_check_{self.dtype}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w = Writer()
        scalar = STORED[self.dtype]
        kind = Vector(target.vector_bytes // ITEM_BYTES[scalar], scalar)
        a = ARGUMENTS.read(w)
        planes = ("real", "imaginary")
        names = [f"sum{n}" for n in range(VECTORS)]
        sums = {name: (str(kind), "zeroinitializer") for name in names}
        rows = w.loop("row", a["rows"], {**{name: ("ptr", a[name]) for name in planes}, **sums})
        blocks = w.loop("block", a["blocks"], {name: (kind_of, rows[name]) for name, kind_of in rows.kinds.items()})
        current = {name: blocks[name] for name in names}
        for plane in planes:
            for n, name in enumerate(names):
                value = w.load(kind, w.offset(blocks[plane], n * kind.bytes))
                current[name] = w.fma(kind, value, "zeroinitializer", current[name])
        blocks.close({**{name: w.offset(blocks[name], VECTORS * kind.bytes) for name in planes}, **current})
        following = {name: w.offset(rows[name], a["row"]) for name in planes}
        rows.close({**following, **{name: blocks[name] for name in names}})
        total = rows[names[0]]
        for name in names[1:]:
            total = w.value(f"fadd {kind} {total}, {rows[name]}")
        lost = w.value(f"fcmp uno {kind} {total}, {total}")
        any_lost = w.call("i1", f"llvm.vector.reduce.or.v{kind.lanes}i1", (kind.mask, lost))
        w.when(any_lost, lambda: w.line(f"store i64 1, ptr {a['found']}, align 8"))
        w.line("ret void")
        return w.function(self.name, SIGNATURE)
