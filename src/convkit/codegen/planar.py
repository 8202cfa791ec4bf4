"""Depthwise convolution of planes where they lie: rows of samples under masks, several rows of outputs at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.arithmetic import ARITHMETIC
from convkit.codegen.builder import ITEM_BYTES, Loop, Vector, Writer
from convkit.codegen.epilogue import NO_ENDING, Ending, ended
from convkit.codegen.numbers import Stored, named
from convkit.codegen.pack import FILL
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target
from convkit.codegen.window_tile import WindowTile

ARGUMENTS = Arguments.of(
    "out x w rows_at masks_at places zeros bias",
    "planes out_plane x_plane w_plane w_row w_column columns tiles tile_step vectors out_row",
)
"""``rows_at``: for each tile of rows, ``tile_step`` bytes apart, how far its first row of outputs lies from ``out``,
and how far each row of samples that it meets lies from ``x``, or a mark of `pack`. ``masks_at``: for each vector of
columns the samples that there are for each element of a kernel row, a bit each in one word for each vector that is
read, and the outputs that there are.
``zeros``: a row without samples, as long as any. ``places``: memory for the addresses of rows. ``w``: the kernel of
each plane, its rows and ``columns`` elements so many bytes apart. ``bias``: a number for each plane."""

MOST_ROWS = 8
"""Rows of outputs that are done together at most."""


PAIRED = 3
"""Kernel rows up to which two columns of weights are held: LLVM spills some of more, though there is room."""


def most_rows(target: Target, rows: int) -> int:
    """Rows of outputs together at most: their sums stay in registers with a column of weights and a row of samples."""
    return min(MOST_ROWS, target.registers - rows - 2)


@dataclass(frozen=True, slots=True)
class Planar:
    """``out[p, r, i] = sum_j sum_k x[p, row[r*stride + k*dilation], i*step + start + j*apart] * w[p, k, j]``.

    ::

        for plane: for each tile of rows of outputs: for each vector of columns:
            for each kernel column, or two of them: load its weights
                for each row of samples: load it, shifted; multiply-add with every weight it meets

    Samples outside a row are masked out, which costs nothing where processors have masks for every lane; rows outside
    the plane are others, or zeros, as their table says. Nothing is copied.

    Attributes
    ----------
    arithmetic : str
        What samples, weights and sums are: a name of `convkit.codegen.arithmetic`.
    lanes : int
        Numbers in a vector.
    tile : WindowTile
        Neighbouring rows of outputs, each a vector of sums, and the rows of the kernel.
    start, apart : int
        Where the first element of a kernel row meets the first column, and how far apart its elements are.
    step : {1, 2}
        How far neighbouring columns of outputs stand apart: of two, every second sample of two vectors meets one kernel
        column, and the others meet the next.
    outside : tuple of int
        Positions at a tile's beginning and at its end that never hold samples, as in planes of one tile: left out.
    ending : Ending
        What becomes of sums before they are stored; a bias belongs to the ``plane``.
    source, stored : str
        The types of samples and of the result, if they are others than those of the sums.
    """

    arithmetic: str
    lanes: int
    tile: WindowTile
    start: int
    apart: int = 1
    step: Literal[1, 2] = 1
    outside: tuple[int, int] = (0, 0)
    ending: Ending = NO_ENDING
    source: str = ""
    stored: str = ""

    @property
    def name(self) -> str:
        """``planar_<arithmetic>_<lanes>l_<tile>_<start>_<apart>_<step>_<outside>_<ending>_<source>_to_<stored>``."""
        shape = "_".join(map(str, (self.tile.name, self.start, self.apart, self.step, *self.outside)))
        types = f"{self.source}_to_{self.stored}" if self.source or self.stored else ""
        return named(f"planar_{self.arithmetic}_{self.lanes}l_{shape}_{self.ending.name}".replace("-", "m"), types)

    @property
    def pairs(self) -> bool:
        """Whether kernel columns are done two at a time."""
        return (self.step, self.apart) == (2, 1) and self.tile.elements <= PAIRED

    @property
    def registers(self) -> int:
        """Vector registers that the inner loop needs: sums, a column of weights or two, samples."""
        return self.tile.registers + (self.tile.elements + 1 if self.pairs else 0)

    @property
    def positions(self) -> list[int]:
        """Where the rows of samples of a tile stand."""
        before, after = self.outside
        positions = self.tile.positions
        return positions[before : len(positions) - after]

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR.

        Raises
        ------
        ValueError
            If the tile does not fit the target's vector registers.
        """
        target.require(self.name, self.registers)
        return _Nest(self).module()


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, planar: Planar) -> None:
        self.p, self.w = planar, Writer()
        self.arithmetic = ARITHMETIC[planar.arithmetic]
        self.kind = Vector(planar.lanes, self.arithmetic.sum)
        self.from_, self.to = (Stored(planar.arithmetic, one) for one in (planar.source, planar.stored))
        self.positions = planar.positions

    def module(self) -> str:
        w = self.w
        self.a = a = ARGUMENTS.read(w)
        planes = w.loop("plane", a["planes"], {name: ("ptr", a[name]) for name in ("out", "x", "w", "bias")})
        tiles = w.loop("tile", a["tiles"], {"tile": ("ptr", a["rows_at"])})
        self.note(tiles["tile"], planes["x"])
        out = w.offset(planes["out"], w.load_scalar("i64", tiles["tile"]))
        carried = {"out": ("ptr", out), "masks": ("ptr", a["masks_at"]), "at": ("i64", "0")}
        vectors = w.loop("vector", a["vectors"], carried)
        self.tile(vectors["out"], planes["w"], planes["bias"], vectors["masks"], vectors["at"])
        masks = w.multiply(a["columns"], self.p.step)
        vectors.close({
            "out": w.offset(vectors["out"], self.p.lanes * self.to.bytes),
            "masks": w.element(w.element(vectors["masks"], masks, "i64"), 1, "i64"),
            "at": w.add(vectors["at"], self.p.step * self.p.lanes * self.from_.bytes),
        })  # fmt: skip
        tiles.close({"tile": w.offset(tiles["tile"], a["tile_step"])})
        planes.close({
            **{name: w.offset(planes[name], a[f"{name}_plane"]) for name in ("out", "x", "w")},
            "bias": w.offset(planes["bias"], ITEM_BYTES[self.kind.scalar]),
        })  # fmt: skip
        w.line("ret void")
        return w.function(self.p.name, SIGNATURE)

    def note(self, tile: str, x: str) -> None:
        """Work out where the rows of samples lie, from the first column's first kernel element on."""
        w = self.w
        before = self.p.start * self.from_.bytes
        for n in range(len(self.positions)):
            at = w.load_scalar("i64", w.element(tile, 1 + n, "i64"))
            marked = w.value(f"icmp sle i64 {at}, {FILL}")
            there = w.value(f"select i1 {marked}, ptr {self.a['zeros']}, ptr {w.offset(x, at)}")
            w.line(f"store ptr {w.offset(there, before)}, ptr {w.element(self.a['places'], n, 'i64')}, align 8")

    def mask(self, at: str) -> str:
        w = self.w
        bits = w.value(f"load i{self.p.lanes}, ptr {at}, align 1")
        return w.value(f"bitcast i{self.p.lanes} {bits} to {self.kind.mask}")

    def tile(self, out: str, weights: str, bias: str, masks: str, at: str) -> None:
        """One vector of columns of all rows of a tile: kernel columns two at a time, and the one that is left."""
        w, p = self.w, self.p
        names = [f"s{n}" for n in range(p.tile.outputs)]
        kinds = {"w": "ptr", "masks": "ptr", "at": "i64", **{name: str(self.kind) for name in names}}
        state = {"w": weights, "masks": masks, "at": at, **dict.fromkeys(names, "zeroinitializer")}
        left = self.a["columns"]
        for several in (2, 1) if p.pairs else (1,):
            loop = w.loop("column", w.subtract(left, several - 1), {n: (kinds[n], state[n]) for n in kinds}, several)
            found = self.columns(loop, several, [loop[name] for name in names])
            loop.close({
                "w": w.offset(loop["w"], w.multiply(self.a["w_column"], several)),
                "masks": w.element(loop["masks"], several * p.step, "i64"),
                "at": w.add(loop["at"], several * p.apart * self.from_.bytes), **dict(zip(names, found, strict=True)),
            })  # fmt: skip
            state, left = {name: loop[name] for name in kinds}, w.subtract(left, loop.index)
        mask = self.mask(state["masks"])
        added = w.splat(self.kind, bias) if p.ending.bias else None
        for name in names:
            self.to.store(w, p.lanes, ended(w, self.kind, p.ending, state[name], added), out, mask)
            out = w.offset(out, self.a["out_row"])

    def columns(self, loop: Loop, several: int, sums: list[str]) -> list[str]:
        """One or two columns of the kernel: every row of samples meets all their weights."""
        w, p = self.w, self.p
        masks = [self.mask(w.element(loop["masks"], n, "i64")) for n in range(p.step)]
        column, held = loop["w"], list[list[str]]()
        for _ in range(several):
            places = [column]
            for _ in range(p.tile.elements - 1):
                places.append(w.offset(places[-1], self.a["w_row"]))
            held.append([w.splat(self.kind, place) for place in places])
            column = w.offset(column, self.a["w_column"])
        for n, position in enumerate(self.positions):
            place = w.load_scalar("ptr", w.element(self.a["places"], n, "i64"))
            rows = self.samples(w.offset(place, loop["at"]), masks, several)
            for row, k in p.tile.meetings(position):
                for samples, weights in zip(rows, held, strict=True):
                    sums[row] = self.arithmetic.multiply_add(w, p.lanes, samples, weights[k], sums[row])
        return sums

    def samples(self, place: str, masks: list[str], several: int) -> list[str]:
        """Vectors of samples for one column, or for two: neighbours, or every second one of as many as there are."""
        w, kind = self.w, self.kind
        step = kind.lanes * self.from_.bytes
        parts = [self.from_.load(w, kind.lanes, w.offset(place, n * step), mask) for n, mask in enumerate(masks)]
        if len(parts) == 1:
            return parts
        first, second = parts
        return [w.shuffle(kind, first, second, range(odd, 2 * kind.lanes, 2)) for odd in range(several)]
