"""Batch norm while a network learns, with the activation and the addition after it: two passes there, two back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.epilogue import ACTIVATIONS
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of(
    "out second x g other constants", "constants_row out_row channels channel planes plane columns rows row",
)  # fmt: skip
"""``x``, ``g``, ``other``, ``out`` and ``second`` lie alike: ``channels`` of ``planes`` of ``columns`` numbers, which
are ``channel`` and ``plane`` bytes apart, or ``rows`` of ``columns`` channels, ``row`` bytes apart. ``constants``: a
number for each channel, in rows of ``constants_row`` bytes. Sums are two rows of float64, ``out_row`` bytes apart."""

SCALE, SHIFT, MEAN, SLOPE, REST = range(5)
"""The rows of constants: ``x*scale + shift`` is the norm, ``scale*g + slope*(x - mean) + rest`` its gradient."""

AHEAD = 512
"""Bytes by which reading runs ahead of what is computed, where rows of channels are gone through one after another."""

Does = Literal["sums", "apply", "gradient_sums", "gradient"]
Layout = Literal["planes", "pixels"]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """One pass over float32; with ``z = x*scale + shift [+ add]``, ``y = activation(z)``, ``h = g where y follows z``.

    ::

        sums:           sum x, sum x*x                               of each channel, in float64
        apply:          y
        gradient_sums:  sum h, sum h*(x - mean)                      of each channel, in float64
        gradient:       scale*h + slope*(x - mean) + rest [, and h]

    Without an addition, ``z`` is formed again by the same steps; with one, ``other`` is ``y`` on the way back.

    Attributes
    ----------
    does : {"sums", "apply", "gradient_sums", "gradient"}
        Which pass.
    layout : {"planes", "pixels"}
        Whether a channel's numbers lie side by side, or channels.
    activation : {"", "relu", "relu6"}
        What becomes of the norm; a NaN stays, and its gradient passes.
    add : {"none", "array"}
        Whether ``other`` is added before it.
    results : {"cached", "streamed"}
        Whether whole vectors are stored past the caches, at multiples of their bytes.
    """

    does: Does
    layout: Layout
    activation: str = ""
    add: Literal["none", "array"] = "none"
    results: Literal["cached", "streamed"] = "cached"

    @property
    def name(self) -> str:
        """``normalisation_<pass>_<layout>_<activation>_<add>_<results>``."""
        return f"normalisation_{self.does}_{self.layout}_{self.activation}_{self.add}_{self.results}"

    @property
    def sums(self) -> bool:
        """Whether the pass forms sums and writes nothing else."""
        return self.does in ("sums", "gradient_sums")

    @property
    def backward(self) -> bool:
        """Whether the pass reads what is handed back."""
        return self.does in ("gradient_sums", "gradient")

    @property
    def constants(self) -> tuple[int, ...]:
        """The rows of constants that it reads."""
        again = (SCALE, SHIFT) if self.activation and self.add == "none" else ()
        needed = {"sums": (), "apply": (SCALE, SHIFT), "gradient_sums": (MEAN, *again)}
        return needed.get(self.does) or tuple(sorted({SCALE, MEAN, SLOPE, REST, *again} if self.backward else ()))

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays that it reads."""
        reads_other = self.add == "array" and (self.does == "apply" or (self.backward and self.activation))
        return ("x", *(("g",) if self.backward else ()), *(("other",) if reads_other else ()))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The arrays that it writes."""
        if self.sums:
            return ()
        masked_as_well = self.does == "gradient" and self.add == "array" and self.activation
        return ("out", "second") if masked_as_well else ("out",)

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self, target).module()


Constants = dict[int, str]
Read = Callable[[str], str]


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, normalisation: Normalisation, target: Target) -> None:
        self.n, self.w = normalisation, Writer()
        self.kind = Vector(target.vector_bytes // ITEM_BYTES["float"], "float")
        self.wide = Vector(self.kind.lanes, "double")
        # Two sets of sums hide how long an addition takes; where registers are few, one is all there is room for.
        self.sets = 2 if target.registers > 16 else 1

    def module(self) -> str:
        self.a = ARGUMENTS.read(self.w)
        if self.n.layout == "planes":
            self.planes()
        else:
            self.pixels()
        self.w.line("ret void")
        return self.w.function(self.n.name, SIGNATURE)

    # ------------------------------------------------------------------------------- a channel's numbers side by side

    def planes(self) -> None:
        """One channel after another; its sums stay in registers through all planes of a task."""
        w, a = self.w, self.a
        channels = w.loop("channel", a["channels"], {"at": ("i64", "0")})
        constants = {
            row: w.splat(self.kind, w.element(self.constant(row), channels.index, "float")) for row in self.n.constants
        }
        names = [f"{kind}{n}" for n in range(self.sets) for kind in ("first", "second")] if self.n.sums else []
        zeros = {name: (str(self.wide), "zeroinitializer") for name in names}
        planes = w.loop("plane", a["planes"], {"at": ("i64", channels["at"]), **zeros})
        sums = self.columns(constants, planes["at"], {name: planes[name] for name in names})
        planes.close({"at": w.add(planes["at"], a["plane"]), **sums})
        for row, kind in enumerate(("first", "second") if self.n.sums else ()):
            both = planes[f"{kind}0"]
            if self.sets == 2:
                both = w.value(f"fadd {self.wide} {both}, {planes[f'{kind}1']}")
            total = w.call(
                "double", f"llvm.vector.reduce.fadd.{self.wide.suffix}", ("double", "-0.0"), (str(self.wide), both)
            )  # fmt: skip
            to = w.element(w.offset(a["out"], w.multiply(a["out_row"], row)), channels.index, "double")
            w.line(f"store double {total}, ptr {to}, align 8")
        channels.close({"at": w.add(channels["at"], a["channel"])})

    def columns(self, constants: Constants, at: str, sums: dict[str, str]) -> dict[str, str]:
        """One plane: two vectors at once, then one, then what is left of one."""
        w, lanes, columns = self.w, self.kind.lanes, self.a["columns"]

        def carried(now: dict[str, str]) -> dict[str, tuple[str, str]]:
            return {name: (str(self.wide), value) for name, value in now.items()}

        def some(index: str, vectors: int, now: dict[str, str], mask: str | None) -> dict[str, str]:
            for n in range(vectors):
                place = w.add(index, n * lanes) if n else index
                held = w.add(at, w.multiply(place, ITEM_BYTES["float"]))
                names = [f"{kind}{n % self.sets}" for kind in ("first", "second")] if now else []
                found = self.point(constants, held, [now[name] for name in names], mask)
                now = {**now, **dict(zip(names, found, strict=True))}
            return now

        pairs = w.loop("pair", w.subtract(columns, 2 * lanes - 1), carried(sums), step=2 * lanes)
        pairs.close(some(pairs.index, 2, {name: pairs[name] for name in sums}, None))
        left = w.subtract(columns, pairs.index)
        ones = w.loop("one", w.subtract(left, lanes - 1), carried({name: pairs[name] for name in sums}), step=lanes)
        ones.close(some(w.add(pairs.index, ones.index), 1, {name: ones[name] for name in sums}, None))
        rest = w.subtract(left, ones.index)
        # A loop of one turn or none, so that sums are carried through it.
        tail = w.loop("tail", w.smallest(rest, 1), carried({name: ones[name] for name in sums}))
        place = w.add(pairs.index, ones.index)
        tail.close(some(place, 1, {name: tail[name] for name in sums}, w.lanes_below(self.kind, rest)))
        return {name: tail[name] for name in sums}

    # ---------------------------------------------------------------------------------------- channels side by side

    def pixels(self) -> None:
        """Row by row, as memory lies: processors read ahead then. Sums lie in memory, where they begin at zero."""
        w, a = self.w, self.a
        for row in range(2 if self.n.sums else 0):
            zeros = w.loop("zero", a["columns"])
            to = w.element(w.offset(a["out"], w.multiply(a["out_row"], row)), zeros.index, "double")
            w.line(f"store double 0.0, ptr {to}, align 8")
            zeros.close()
        rows = w.loop("row", a["rows"], {"at": ("i64", "0")})
        self.row(rows["at"])
        rows.close({"at": w.add(rows["at"], a["row"])})

    def row(self, at: str) -> None:
        """All channels of one pixel."""
        w, lanes, columns = self.w, self.kind.lanes, self.a["columns"]
        whole = w.loop("channel", w.subtract(columns, lanes - 1), step=lanes)
        self.channels(at, whole.index, None)
        whole.close()
        rest = w.subtract(columns, whole.index)
        mask = w.lanes_below(self.kind, rest)
        w.when(w.value(f"icmp sgt i64 {rest}, 0"), lambda: self.channels(at, whole.index, mask))

    def channels(self, at: str, channel: str, mask: str | None) -> None:
        """A vector of channels of one pixel."""
        w, a = self.w, self.a
        constants = {
            row: w.load(self.kind, w.element(self.constant(row), channel, "float"), mask) for row in self.n.constants
        }
        places = [
            w.element(w.offset(a["out"], w.multiply(a["out_row"], row)), channel, "double")
            for row in range(2 if self.n.sums else 0)
        ]
        sums = [w.load(self.wide, place, mask) for place in places]
        here = w.add(at, w.multiply(channel, ITEM_BYTES["float"]))
        for name in self.n.arrays:
            w.ask(w.offset(a[name], w.add(here, AHEAD)))
        for place, total in zip(places, self.point(constants, here, sums, mask), strict=True):
            w.store(self.wide, total, place, mask)

    # ------------------------------------------------------------------------------------------------- one vector

    def constant(self, row: int) -> str:
        return self.w.offset(self.a["constants"], self.w.multiply(self.a["constants_row"], row))

    def point(self, constants: Constants, at: str, sums: list[str], mask: str | None) -> list[str]:
        """One vector: what it adds to the sums, or what is stored."""
        w, kind = self.w, self.kind
        read = {name: w.load(kind, w.offset(self.a[name], at), mask) for name in self.n.arrays}
        if self.n.does == "sums":
            wide = self.widened(read["x"])
            return [w.value(f"fadd {self.wide} {sums[0]}, {wide}"), w.fma(self.wide, wide, wide, sums[1])]
        if self.n.does == "apply":
            z = self.normed(constants, read)
            y = ACTIVATIONS[self.n.activation](w, kind, z) if self.n.activation else z
            self.write({"out": y}, at, mask)
            return []
        h = self.passed(constants, read)
        from_mean = w.value(f"fsub {kind} {read['x']}, {constants[MEAN]}")
        if self.n.does == "gradient_sums":
            wide = self.widened(h)
            product = w.fma(self.wide, wide, self.widened(from_mean), sums[1])
            return [w.value(f"fadd {self.wide} {sums[0]}, {wide}"), product]
        rest = w.fma(kind, from_mean, constants[SLOPE], constants[REST])
        self.write({"out": w.fma(kind, h, constants[SCALE], rest), "second": h}, at, mask)
        return []

    def widened(self, value: str) -> str:
        return self.w.value(f"fpext {self.kind} {value} to {self.wide}")

    def normed(self, constants: Constants, read: dict[str, str]) -> str:
        z = self.w.fma(self.kind, read["x"], constants[SCALE], constants[SHIFT])
        return self.w.value(f"fadd {self.kind} {z}, {read['other']}") if "other" in read else z

    def passed(self, constants: Constants, read: dict[str, str]) -> str:
        """What is handed back to the norm: zero where the activation's result does not follow what it is of."""
        w, kind, g = self.w, self.kind, read["g"]
        if not self.n.activation:
            return g
        value = read["other"] if "other" in read else self.normed(constants, read)
        passes = w.value(f"fcmp ugt {kind} {value}, zeroinitializer")
        if self.n.activation == "relu6":
            below = w.value(f"fcmp ult {kind} {value}, {w.fill(kind, '6.0')}")
            passes = w.value(f"and {kind.mask} {passes}, {below}")
        return w.value(f"select {kind.mask} {passes}, {kind} {g}, {kind} zeroinitializer")

    def write(self, values: dict[str, str], at: str, mask: str | None) -> None:
        for name in self.n.outputs:
            place = self.w.offset(self.a[name], at)
            if self.n.results == "streamed" and mask is None:
                self.w.stream(self.kind, values[name], place)
            else:
                self.w.store(self.kind, values[name], place, mask)
