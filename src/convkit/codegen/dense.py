"""Channels summed: a matrix of weights times samples that are gathered by offsets, sums held in registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from convkit.codegen.builder import Loop
from convkit.codegen.register_tile import Nest, Places, RegisterTile
from convkit.codegen.step import Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "sums x w offsets bias add", "depth blocks sums_row w_block tiles last_tiles rest lines sums_line x_line ahead"
)  # fmt: skip
"""``offsets``: for each of ``depth`` terms how far, in bytes, its samples lie from ``x``. ``w``: blocks of weights,
``w_block`` bytes apart, each term by term and there row by row. ``sums_row``: bytes from row to row, of ``add`` too.
``tiles`` of ``vectors`` vectors, then ``last_tiles`` of one fewer; ``rest``: numbers of the very last vector, where it
is masked. All that for each of ``lines``, which lie ``sums_line`` and ``x_line`` bytes apart. ``bias``: one number for
each row. ``ahead``: how far, in bytes, samples are asked for that are not read yet."""

MOST_ROWS, MOST_VECTORS = 14, 8
"""The largest register tile: more rows or vectors would not make it read less than it multiplies."""


@dataclass(frozen=True, slots=True)
class Dense(RegisterTile):
    """The register tile whose rows are output channels and whose vectors hold pixels.

    ``sums[r, p] += sum_k w[k, r] * x[offset[k] + p]``, every sum by the same sequence of multiply-adds wherever it
    stands. Samples of one tile meet every row while they are in the first-level cache; weights stream past them.

    Attributes
    ----------
    memory : {"near", "far"}
        Whether samples come from where the processor does not read ahead by itself, in short pieces of many planes.
    """

    memory: Literal["near", "far"] = "near"

    kind: ClassVar[str] = "dense"

    @property
    def of_kind(self) -> str:
        """``dense``, and ``_far`` where samples are asked for early."""
        return self.kind if self.memory == "near" else f"{self.kind}_far"

    def nest(self) -> Nest:
        """What writes its loops."""
        return _Nest(self, self.memory)


def most_vectors(target: Target, rows: int) -> int:
    """Vectors of the widest register tile with so many rows.

    Where multiply-adds take no operand from memory, LLVM loads a few weights ahead.
    """
    ahead = 1 if target.triple.startswith(("x86_64", "amd64")) else 4
    return min(MOST_VECTORS, (target.registers - ahead) // (rows + 1))


class _Nest(Nest):
    arguments, along = ARGUMENTS, ("sums", "x", "add")

    def __init__(self, tile: Dense, memory: str) -> None:
        super().__init__(tile)
        self.far = memory == "far"

    def line(self, at: dict[str, str]) -> None:
        w, a = self.w, self.a
        apart = {"sums": a["sums_line"], "x": a["x_line"], "add": a["sums_line"]}
        loop = w.loop("line", a["lines"], {name: ("ptr", place) for name, place in at.items()})
        super().line({name: loop[name] for name in at})
        loop.close({name: w.offset(loop[name], apart[name]) for name in at})

    def blocks(self, at: dict[str, str], vectors: int, mask: str | None) -> None:
        w, a, d = self.w, self.a, self.d
        kinds = {name: ("ptr", place) for name, place in (("sums", at["sums"]), ("add", at["add"]))}
        loop = w.loop("block", a["blocks"], {**kinds, "w": ("ptr", a["w"]), "bias": ("ptr", a["bias"])})
        masks = [None] * (vectors - 1) + [mask]

        def row(name: str, n: int) -> str:
            return w.offset(loop[name], w.multiply(a["sums_row"], n) if n else 0)

        def places(name: str) -> Places:
            rows = [row(name, n) for n in range(d.rows)]
            return [(w.offset(r, v * self.sums.bytes), masks[v]) for r in rows for v in range(vectors)]

        def multiply_adds(term: Loop, sums: list[str]) -> str:
            x = w.offset(at["x"], w.load_scalar("i64", w.element(a["offsets"], term.index, "i64")))
            samples = [w.load(self.samples, w.offset(x, v * self.samples.bytes), masks[v]) for v in range(vectors)]
            for v in range(vectors if self.far else 0):
                w.ask(w.offset(w.offset(x, v * self.samples.bytes), a["ahead"]))
            for n in range(d.rows):
                weight = w.splat(self.weights, w.element(term["walk"], n, self.weights.scalar))
                self.meet(sums, n, weight, samples, "weight")
            return w.element(term["walk"], d.rows, self.weights.scalar)

        def bias(n: int, v: int, held: str | None) -> str:
            return w.splat(self.sums, w.element(loop["bias"], n, self.sums.scalar))

        self.block(vectors, places, loop["w"], multiply_adds, bias)
        loop.close({
            "sums": row("sums", d.rows), "add": row("add", d.rows), "w": w.offset(loop["w"], a["w_block"]),
            "bias": w.element(loop["bias"], d.rows, self.sums.scalar),
        })  # fmt: skip
