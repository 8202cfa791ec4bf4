"""Running sums by doubling: its loop nest as data, and the kernel that `_Nest` writes from it.

The sum of ``k`` neighbours is formed from the binary digits of ``k``, the highest first: from sums ``s`` of ``m``
neighbours come those of ``2m`` or ``2m + 1``, ``s[i] + s[i+m]`` and perhaps ``+ x[i+2m]``. That takes about
``log2(k) + ones(k)`` additions an output; the error grows with their number and not with ``k``, every output is formed
in the same order wherever it stands, and a NaN touches the windows that hold it and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("out s x scale", "rows columns out_row s_row x_row step far x_step x_far")
"""``step``: bytes from a sum to the sum that begins ``m`` neighbours on; ``far``: the same for ``2m`` or ``2m + 1``;
``x_step`` and ``x_far``: the same among the samples. All may run along columns or rows. Strides are in bytes;
``scale`` is read only by a pass that scales."""

SCALARS = {"float32": "float", "float64": "double", "int32": "i32", "int64": "i64"}


@dataclass(frozen=True, slots=True)
class Doubling:
    """One pass over a plane: sums of ``m`` neighbours become those of twice or four times as many.

    ::

        for row: for each tile of `vectors` vectors:
            t[i] = s[i] + s[i+m] [+ x[i+2m]]                   sums of far = 2m or 2m + 1
            out[i] = t[i], or t[i] + t[i+far] [+ x[i+2*far]]   with two digits

    Attributes
    ----------
    dtype : {"float32", "float64", "int32", "int64"}
        What is summed; integers wrap.
    lanes, vectors : int
        Numbers in a vector, vectors of a tile.
    digits : str
        The binary digits that are taken: ``"0"``, ``"1"``, ``"00"`` ... ``"11"``.
    last : {"sum", "scale"}
        Whether the sums are multiplied by a number before they are stored.
    """

    dtype: str
    lanes: int
    vectors: int
    digits: str
    last: str = "sum"

    @property
    def name(self) -> str:
        """``doubling_<type>_<lanes>l_<vectors>_<digits>_<last>``."""
        return f"doubling_{self.dtype}_{self.lanes}l_{self.vectors}_{self.digits}_{self.last}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        return _Nest(self).module()


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of a running sum: the digits it takes, and how many neighbours its sums have on the way in."""

    digits: str
    neighbours: int

    @property
    def far(self) -> int:
        """How many they have after the first digit."""
        return 2 * self.neighbours + int(self.digits[0])

    @property
    def formed(self) -> int:
        """How many they have on the way out."""
        return self.far if len(self.digits) == 1 else 2 * self.far + int(self.digits[1])


def passes_for(size: int) -> list[Pass]:
    """The passes that form sums of ``size`` neighbours, two binary digits at a time; none for one neighbour.

    Examples
    --------
    >>> passes_for(13)
    [Pass(digits='1', neighbours=1), Pass(digits='01', neighbours=3)]
    """
    digits = f"{size:b}"[1:]
    odd = len(digits) % 2
    cut = [digits[:1]] * odd + [digits[i : i + 2] for i in range(odd, len(digits), 2)]
    found, done = [], "1"
    for part in cut:
        found.append(Pass(part, int(done, 2)))
        done += part
    return found


def additions(size: int) -> int:
    """Additions that one output goes through at most, counting a doubled digit as two."""
    return 2 * (size.bit_length() - 1)


def doubling_for(target: Target, dtype: str, digits: str, last: str) -> Doubling:
    """The loop nest for one pass."""
    return Doubling(dtype, target.vector_bytes // ITEM_BYTES[SCALARS[dtype]], 4, digits, last)


class _Nest:
    """Writes the kernel: the methods stand in the order of its loops, from the outside in."""

    def __init__(self, doubling: Doubling) -> None:
        self.d, self.w = doubling, Writer()
        self.kind = Vector(doubling.lanes, SCALARS[doubling.dtype])
        self.plus, self.times = ("add", "mul") if self.kind.scalar[0] == "i" else ("fadd", "fmul")

    def module(self) -> str:
        w, d = self.w, self.d
        self.a = a = ARGUMENTS.read(w)
        self.step, self.far = a["step"], a["far"]
        self.sum = w.add(self.step, self.far)
        self.twice, self.twice_far = w.multiply(a["x_step"], 2), w.multiply(a["x_far"], 2)
        self.twice_sum = w.add(self.twice, a["x_far"])
        self.scale = w.splat(self.kind, a["scale"]) if d.last == "scale" else ""
        rows = w.loop("row", a["rows"], {name: ("ptr", a[name]) for name in ("out", "s", "x")})
        out, s, x = rows["out"], rows["s"], rows["x"]

        def tiles(least: int) -> None:
            if least == 0:
                self.tile(out, s, x, 1, w.lanes_below(self.kind, a["columns"]))
                return
            along = w.loop("column", a["columns"], step=least)
            column = w.smallest(along.index, w.subtract(a["columns"], least))
            at = [w.element(place, column, self.kind.scalar) for place in (out, s, x)]
            self.tile(at[0], at[1], at[2], least // d.lanes, None)
            along.close()

        w.choose(a["columns"], [(d.vectors * d.lanes, "wide"), (d.lanes, "narrow"), (0, "masked")], tiles)
        rows.close({name: w.offset(rows[name], a[f"{name}_row"]) for name in ("out", "s", "x")})
        w.line("ret void")
        return w.function(d.name, SIGNATURE)

    def tile(self, out: str, s: str, x: str, vectors: int, mask: str | None) -> None:
        """Neighbouring outputs, vector by vector."""
        w, digits = self.w, self.d.digits
        for v in range(vectors):
            at = v * self.kind.bytes
            here, samples = w.offset(s, at), w.offset(x, at)
            total = self.doubled(here, "", self.step, samples, self.twice, mask)
            if len(digits) == 2:
                other = self.doubled(here, self.far, self.sum, samples, self.twice_sum, mask)
                total = self.add(total, other)
                if digits[1] == "1":
                    total = self.add(total, w.load(self.kind, w.offset(samples, self.twice_far), mask))
            if self.scale:
                total = w.value(f"{self.times} {self.kind} {total}, {self.scale}")
            w.store(self.kind, total, w.offset(out, at), mask)

    def doubled(self, s: str, near: str, far: str, x: str, beyond: str, mask: str | None) -> str:
        """The first digit: two sums that lie side by side, and the sample after them."""
        w = self.w
        total = self.add(w.load(self.kind, w.offset(s, near or 0), mask), w.load(self.kind, w.offset(s, far), mask))
        if self.d.digits[0] == "1":
            total = self.add(total, w.load(self.kind, w.offset(x, beyond), mask))
        return total

    def add(self, a: Any, b: Any) -> str:
        return self.w.value(f"{self.plus} {self.kind} {a}, {b}")
