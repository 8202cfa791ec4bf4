"""The epilogue of a layer on a vector in registers: what is added to sums, and the activation of what comes out.

Any kernel that stores sums may write these instructions before it stores them; the same instructions give the same bits
wherever they stand.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

from convkit.codegen.builder import ITEM_BYTES, Vector, Writer
from convkit.codegen.normal_tail import DOUBLE, MIDDLE, SINGLE, tail_over_exp


@dataclass(frozen=True, slots=True)
class Ending:
    """``activation(sums + bias + add)``.

    Attributes
    ----------
    bias : str
        ``""``, or where the bias lies in relation to the sums: a word that the kernel understands, as ``"row"``.
    add : bool
        Whether numbers of another array are added.
    activation : str
        A name of `ACTIVATIONS`, or ``""``.
    added : str
        The type of the other array, if it is another than that of the sums.
    """

    bias: str = ""
    add: bool = False
    activation: str = ""
    added: str = ""

    @property
    def name(self) -> str:
        """``<bias>_add_<added>_<activation>``, a part of the names of kernels; ``none`` where nothing is done."""
        return "_".join(filter(None, (self.bias, "add" if self.add else "", self.added, self.activation))) or "none"

    @property
    def empty(self) -> bool:
        """Whether sums are stored as they are."""
        return not (self.bias or self.add or self.activation)


NO_ENDING = Ending()


def ended(
    w: Writer, kind: Vector, ending: Ending, sums: str, bias: str | None = None, add: str | None = None
) -> str:  # fmt: skip
    """The sums with ``bias`` and ``add`` added, vectors of the same kind, and the activation taken."""
    for addend in (bias, add):
        if addend is not None:
            sums = w.value(f"fadd {kind} {sums}, {addend}")
    return ACTIVATIONS[ending.activation](w, kind, sums) if ending.activation else sums


def _number(kind: Vector, value: float) -> str:
    """A constant in every lane; LLVM reads the bits of a double, which a float32 must be exactly."""
    if kind.scalar == "float":
        value = struct.unpack("f", struct.pack("f", value))[0]
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    return f"<{', '.join([f'{kind.scalar} 0x{bits:016X}'] * kind.lanes)}>"


def _larger(w: Writer, kind: Vector, x: str, than: str) -> str:
    """``x``, or the number that it is to be no smaller than; a NaN stays."""
    less = w.value(f"fcmp ogt {kind} {than}, {x}")
    return w.value(f"select {kind.mask} {less}, {kind} {than}, {kind} {x}")


def _smaller(w: Writer, kind: Vector, x: str, than: str) -> str:
    """``x``, or the number that it is to be no larger than; a NaN stays."""
    more = w.value(f"fcmp olt {kind} {than}, {x}")
    return w.value(f"select {kind.mask} {more}, {kind} {than}, {kind} {x}")


def _relu(w: Writer, kind: Vector, x: str) -> str:
    return _larger(w, kind, x, "zeroinitializer")


def _relu6(w: Writer, kind: Vector, x: str) -> str:
    return _smaller(w, kind, _relu(w, kind, x), _number(kind, 6))


def _gate(w: Writer, kind: Vector, x: str) -> str:
    return _relu6(w, kind, w.value(f"fadd {kind} {x}, {_number(kind, 3)}"))


def _hardsigmoid(w: Writer, kind: Vector, x: str) -> str:
    return w.value(f"fdiv {kind} {_gate(w, kind, x)}, {_number(kind, 6)}")


def _hardswish(w: Writer, kind: Vector, x: str) -> str:
    product = w.value(f"fmul {kind} {x}, {_gate(w, kind, x)}")
    return w.value(f"fdiv {kind} {product}, {_number(kind, 6)}")


def _over_one_and_exp(w: Writer, kind: Vector, numerator: str, x: str) -> str:
    """``numerator / (1 + exp(-x))``."""
    below = w.value(f"fadd {kind} {_exp(w, kind, w.value(f'fneg {kind} {x}'))}, {_number(kind, 1)}")
    return w.value(f"fdiv {kind} {numerator}, {below}")


def _sigmoid(w: Writer, kind: Vector, x: str) -> str:
    return _over_one_and_exp(w, kind, _number(kind, 1), x)


def _silu(w: Writer, kind: Vector, x: str) -> str:
    return _over_one_and_exp(w, kind, x, x)


def _tanh(w: Writer, kind: Vector, x: str) -> str:
    """``q / (q + 2)`` with ``q = exp(2x) - 1``, which keeps its digits near zero."""
    twice = _smaller(w, kind, w.value(f"fadd {kind} {x}, {x}"), _number(kind, 60))
    power, rest, (low, high) = _reduced(w, kind, _larger(w, kind, twice, _number(kind, -60)))
    # exp(y) - 1 = 2**n * (exp(r) - 1) + (2**n - 1)
    scale = w.value(f"fmul {kind} {low}, {high}")
    small = w.value(f"fmul {kind} {_polynomial(w, kind, rest, power)}, {rest}")
    q = w.fma(kind, small, scale, w.value(f"fsub {kind} {scale}, {_number(kind, 1)}"))
    return w.value(f"fdiv {kind} {q}, {w.value(f'fadd {kind} {q}, {_number(kind, 2)}')}")


def _exp(w: Writer, kind: Vector, x: str) -> str:
    """``exp(x)``: ``2**n * exp(r)`` with ``|r| <= log(2)/2``, to about one unit in the last place."""
    limit = 120 if kind.scalar == "float" else 760  # beyond, the result is zero or infinite; both factors are neither
    held = _larger(w, kind, _smaller(w, kind, x, _number(kind, limit)), _number(kind, -limit))
    terms, rest, (low, high) = _reduced(w, kind, held)
    one = w.fma(kind, _polynomial(w, kind, rest, terms), rest, _number(kind, 1))
    return w.value(f"fmul {kind} {w.value(f'fmul {kind} {one}, {low}')}, {high}")


def _reduced(w: Writer, kind: Vector, x: str) -> tuple[int, str, tuple[str, str]]:
    """Terms of the series for the rest; the rest ``r = x - n*log(2)``; and ``2**n`` as two factors."""
    single = kind.scalar == "float"
    digits, width, terms = (23, 32, 7) if single else (52, 64, 13)
    whole = Vector(kind.lanes, f"i{width}")
    # Added to a number of so many digits, fractions are rounded away, and the whole number stands in the lowest bits.
    shift = _number(kind, 1.5 * 2.0**digits)
    moved = w.fma(kind, x, _number(kind, 1 / math.log(2)), shift)
    n = w.value(f"fsub {kind} {moved}, {shift}")
    # log(2) in two parts: the first has so few digits that its multiples are exact.
    first = math.ldexp(round(math.ldexp(math.log(2), 15 if single else 40)), -15 if single else -40)
    second = _LOG2_REST[single]
    rest = w.fma(kind, n, _number(kind, -second), w.fma(kind, n, _number(kind, -first), x))
    bits = w.value(f"sub {whole} {w.value(f'bitcast {kind} {moved} to {whole}')}, "
                   f"{w.value(f'bitcast {kind} {shift} to {whole}')}")  # fmt: skip
    half = w.value(f"ashr {whole} {bits}, {_whole(whole, 1)}")
    other = w.value(f"sub {whole} {bits}, {half}")
    return terms, rest, (_power(w, kind, whole, half, digits), _power(w, kind, whole, other, digits))


_LOG2_REST = {
    True: math.log(2) - math.ldexp(round(math.ldexp(math.log(2), 15)), -15),
    # What a double cannot hold of log(2) matters beyond the first forty binary digits.
    False: (math.log(2) - math.ldexp(round(math.ldexp(math.log(2), 40)), -40)) + 2.3190468138462996e-17,
}
"""``log(2)`` less its first digits."""


def _whole(kind: Vector, value: int) -> str:
    return f"<{', '.join([f'{kind.scalar} {value}'] * kind.lanes)}>"


def _power(w: Writer, kind: Vector, whole: Vector, n: str, digits: int) -> str:
    """``2**n`` from its exponent's bits."""
    bias = (1 << (8 * ITEM_BYTES[kind.scalar] - digits - 2)) - 1
    exponent = w.value(f"add {whole} {n}, {_whole(whole, bias)}")
    placed = w.value(f"shl {whole} {exponent}, {_whole(whole, digits)}")
    return w.value(f"bitcast {whole} {placed} to {kind}")


def _polynomial(w: Writer, kind: Vector, r: str, terms: int) -> str:
    """``(exp(r) - 1) / r`` by so many terms of its series."""
    total = _number(kind, 1 / math.factorial(terms))
    for n in range(terms - 1, 0, -1):
        total = w.fma(kind, total, r, _number(kind, 1 / math.factorial(n)))
    return total


def _gelu(w: Writer, kind: Vector, x: str) -> str:
    """``x * Phi(x)``, to a few units in the last place wherever the result has all its digits."""
    single = kind.scalar == "float"
    y = w.call(str(kind), f"llvm.fabs.{kind.suffix}", (str(kind), x))
    y = _smaller(w, kind, y, _number(kind, 40))  # beyond, the tail is nothing
    numbers = tuple(_number(kind, number) for number in (SINGLE if single else DOUBLE))
    tail = tail_over_exp(w, kind, y, numbers, _number(kind, MIDDLE), _number(kind, 1))
    # exp(-y**2 / 2): what rounding takes off the square would count as often as the exponent is large.
    square = w.value(f"fmul {kind} {y}, {y}")
    rest = w.fma(kind, y, y, w.value(f"fneg {kind} {square}"))
    power = _exp(w, kind, w.value(f"fmul {kind} {square}, {_number(kind, -0.5)}"))
    power = w.fma(kind, w.value(f"fmul {kind} {rest}, {_number(kind, -0.5)}"), power, power)
    tail = w.value(f"fmul {kind} {tail}, {power}")
    other = w.value(f"fsub {kind} {_number(kind, 1)}, {tail}")
    below = w.value(f"fcmp olt {kind} {x}, zeroinitializer")
    return w.value(f"fmul {kind} {x}, {w.value(f'select {kind.mask} {below}, {kind} {tail}, {kind} {other}')}")


def _gelu_tanh(w: Writer, kind: Vector, x: str) -> str:
    """``x/2 * (1 + tanh(u)) = x / (1 + exp(-2u))`` with ``u = sqrt(2/pi) * (x + 0.044715 x**3)``."""
    scale = 2 * math.sqrt(2 / math.pi)
    square = w.value(f"fmul {kind} {x}, {x}")
    grown = w.fma(kind, square, _number(kind, 0.044715 * scale), _number(kind, scale))
    return _over_one_and_exp(w, kind, x, w.value(f"fmul {kind} {x}, {grown}"))


ACTIVATIONS: dict[str, Callable[[Writer, Vector, str], str]] = {
    "relu": _relu,
    "relu6": _relu6,
    "silu": _silu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "hardswish": _hardswish,
    "hardsigmoid": _hardsigmoid,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
}
"""By the names that callers give."""
