"""One pass of a transform through memory: butterflies across vectors that lie far apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.fourier_butterflies import Butterflies, Complex, Direction
from convkit.codegen.numbers import STORED
from convkit.codegen.step import SIGNATURE, Arguments
from convkit.codegen.target import Target

ARGUMENTS = Arguments.of("real imaginary twiddles", "blocks block arm rows row vectors")
"""``block``, ``arm``, ``row``: how far apart two blocks, a block's arms and an arm's rows lie, in bytes."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The kernel that takes each block of ``radix`` arms into as many transforms, in place.

    ::

        for block: its radix - 1 twiddle factors; for row: for vector: radix complex vectors, one from each arm

    A block is a polynomial modulo ``z**(radix*m) - exp(-2 pi i f)`` with ``m`` coefficients in an arm, and arm ``k`` of
    its result the same polynomial modulo ``z**m - exp(-2 pi i (f + k)/radix)``. So all numbers of an arm meet the same
    factor, which is a scalar. A block with ``f = 0`` needs none.

    Attributes
    ----------
    dtype : {"float32", "float64"}
        What the planes hold.
    radix : {2, 3, 4, 8}
        Arms of a block.
    direction : {"forward", "inverse"}
        The inverse undoes the forward pass but for a factor ``radix``.
    factors : {"one", "table"}
        Whether there are twiddle factors.
    """

    dtype: str
    radix: int
    direction: Direction
    factors: Literal["one", "table"]

    @property
    def name(self) -> str:
        """``fourier_pass_<dtype>_<radix>_<direction>_<factors>``."""
        return f"fourier_pass_{self.dtype}_{self.radix}_{self.direction}_{self.factors}"

    def module(self, target: Target) -> str:
        """The kernel's LLVM IR."""
        w = Writer()
        scalar = STORED[self.dtype]
        kind = Vector(target.vector_bytes // ITEM_BYTES[scalar], scalar)
        a = ARGUMENTS.read(w)
        arms = ["0"]
        for _ in range(1, self.radix):
            arms.append(w.add(arms[-1], a["arm"]))
        carried = {"real": ("ptr", a["real"]), "imaginary": ("ptr", a["imaginary"])}
        blocks = w.loop("block", a["blocks"], {**carried, "twiddles": ("ptr", a["twiddles"])})
        rows = w.loop("row", a["rows"], {name: ("ptr", blocks[name]) for name in carried})
        vectors = w.loop("vector", a["vectors"], {name: ("ptr", rows[name]) for name in carried})
        self._butterfly(w, kind, vectors["real"], vectors["imaginary"], arms, blocks["twiddles"])
        vectors.close({name: w.offset(vectors[name], kind.bytes) for name in carried})
        rows.close({name: w.offset(rows[name], a["row"]) for name in carried})
        following = {name: w.offset(blocks[name], a["block"]) for name in carried}
        blocks.close({**following, "twiddles": w.element(blocks["twiddles"], 2 * (self.radix - 1), scalar)})
        w.line("ret void")
        return w.function(self.name, SIGNATURE)

    def _butterfly(self, w: Writer, kind: Vector, real: str, imaginary: str, arms: list[str], twiddles: str) -> None:
        b = Butterflies(w, kind, self.direction)
        places = [(w.offset(real, arm), w.offset(imaginary, arm)) for arm in arms]

        def turned(j: int, value: Complex) -> Complex:
            if self.factors == "one" or j == 0:
                return value
            # Read where they are needed: as operands in memory they cost no register.
            at = [w.element(twiddles, 2 * (j - 1) + part, kind.scalar) for part in (0, 1)]
            return b.times(value, (w.splat(kind, at[0]), w.splat(kind, at[1])))

        values: list[Complex] = [(w.load(kind, re), w.load(kind, im)) for re, im in places]
        if self.direction == "forward":
            values = b.transform([turned(j, value) for j, value in enumerate(values)])
        else:
            values = b.transform(values)
        for j, (re_at, im_at) in enumerate(places):
            re, im = values[j] if self.direction == "forward" else turned(j, values[j])
            w.store(kind, re, re_at)
            w.store(kind, im, im_at)
