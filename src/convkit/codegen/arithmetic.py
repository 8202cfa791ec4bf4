"""What a multiply-add is: of floating-point numbers, of samples converted as they are read, of bytes in groups."""

from __future__ import annotations

from typing import Literal, Protocol

from convkit.codegen.builder import Vector, Writer
from convkit.codegen.numbers import Element, widen

ElementType = Literal["float32", "float64"]


class Arithmetic(Protocol):
    """How samples, weights and sums lie in registers, and how they meet.

    Attributes
    ----------
    sample, weight, sum : str
        LLVM's types of one lane of each.
    group : int
        Neighbouring samples, and weights, in one lane.
    """

    sample: str
    weight: str
    sum: str
    group: int

    def start(self, w: Writer, lanes: int, weights: str) -> tuple[str, str]:
        """What all sums begin with, and where the weights are, which lie at ``weights`` with what belongs to them."""
        ...

    def multiply_add(self, w: Writer, lanes: int, samples: str, weights: str, sums: str) -> str:
        """``sums + samples * weights``, lane by lane, summed over the numbers of a group."""
        ...


class Floating:
    """``float32`` and ``float64``: fused, rounded once."""

    group = 1

    def __init__(self, scalar: str) -> None:
        self.sample = self.weight = self.sum = scalar

    def start(self, w: Writer, lanes: int, weights: str) -> tuple[str, str]:
        """Zero; the weights alone."""
        return "zeroinitializer", weights

    def multiply_add(self, w: Writer, lanes: int, samples: str, weights: str, sums: str) -> str:
        """``sums + samples * weights``, rounded once."""
        return w.fma(Vector(lanes, self.sum), samples, weights, sums)


class Converted(Floating):
    """Integers of few bits as samples, exactly converted to the floating-point type of weights and sums."""

    def __init__(self, source: str, sums: str) -> None:
        self.source, self.floats = Element(source), Element(sums)
        self.sample, self.weight, self.sum = self.source.stored, self.floats.stored, self.floats.stored

    def multiply_add(self, w: Writer, lanes: int, samples: str, weights: str, sums: str) -> str:
        """``sums + samples * weights``, rounded once."""
        return w.fma(Vector(lanes, self.sum), widen(w, samples, lanes, self.source, self.floats), weights, sums)


class Dots:
    """Dot products of groups of small integers, added to 32 bits, which wrap around: exact if the last sum fits them.

    The processor multiplies unsigned bytes by signed bytes, and signed words by signed words. Samples of the other kind
    are moved by half their range, which flips their highest bit; the sums begin with what makes up for it, so that the
    first of the weights is a number to begin with.

    Parameters
    ----------
    samples, weights : {"uint8", "int8", "uint16", "int16"}
        What they are, both of one size, words not both unsigned.
    """

    def __init__(self, samples: str, weights: str) -> None:
        self.sample = self.weight = self.sum = "i32"
        self.samples, self.weights = samples, weights
        self.bytes = samples.endswith("8")
        self.group = 4 if self.bytes else 2
        wanted = {"int8": "uint8", "uint8": "int8"}.get(weights, "int16")
        self.moved = 0 if samples == wanted else (1 if wanted[0] == "u" else -1) << (7 if self.bytes else 15)
        """What is added to every sample."""

    def start(self, w: Writer, lanes: int, weights: str) -> tuple[str, str]:
        """What makes up for samples that are moved; the weights after it."""
        return w.splat(Vector(lanes, self.sum), weights), w.element(weights, 1, self.weight)

    def multiply_add(self, w: Writer, lanes: int, samples: str, weights: str, sums: str) -> str:
        """``sums + sum over the group of samples * weights``."""
        kind = Vector(lanes, "i32")
        if self.moved:
            flips = 0x80808080 if self.bytes else 0x80008000
            samples = w.value(f"xor {kind} {samples}, {w.fill(kind, str(flips))}")
        first, second = (weights, samples) if self.weights == "uint8" else (samples, weights)
        name = f"llvm.x86.avx512.vpdp{'busd' if self.bytes else 'wssd'}.{32 * lanes}"
        return w.call(str(kind), name, (str(kind), sums), (str(kind), first), (str(kind), second))


CONVERTED = ("uint8", "int8", "uint16", "int16")
"""Samples that are converted as they are read."""

DOTS = (
    ("uint8", "int8"), ("int8", "int8"), ("int8", "uint8"), ("uint8", "uint8"), ("int16", "int16"), ("uint16", "int16"),
)  # fmt: skip
"""Samples and weights of which there are dot products."""

ARITHMETIC: dict[str, Arithmetic] = {
    "float32": Floating("float"),
    "float64": Floating("double"),
    **{f"{source}_{sums}": Converted(source, sums) for source in CONVERTED for sums in ("float32", "float64")},
    **{f"{samples}_{weights}": Dots(samples, weights) for samples, weights in DOTS},
}
"""By the name that schedules give."""
