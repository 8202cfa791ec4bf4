"""Complex arithmetic and the butterflies of short transforms, on vectors of real and of imaginary parts."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Literal

from convkit.codegen.builder import Vector, Writer

Direction = Literal["forward", "inverse"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "inverse")
Complex = tuple[str, str]
"""The names of a vector of real parts and one of imaginary parts."""


class Butterflies:
    """Writes ``y[k] = sum_j x[j] exp(-+2 pi i jk/Q)`` for small ``Q``: minus forward, plus inverse, without a scale."""

    def __init__(self, writer: Writer, kind: Vector, direction: Direction) -> None:
        self.w, self.kind, self.direction = writer, kind, direction

    def transform(self, x: Sequence[Complex]) -> list[Complex]:
        """The transform of as many values as there is a radix for."""
        return {2: self._two, 3: self._three, 4: self._four, 8: self._eight}[len(x)](x)

    def times(self, a: Complex, b: Complex) -> Complex:
        """``a * b`` forward, ``a * conj(b)`` inverse: what a twiddle factor does on the way there and back."""
        (ar, ai), (br, bi) = a, b
        if self.direction == "forward":
            return self._fma(self._negated(ai), bi, self._mul(ar, br)), self._fma(ar, bi, self._mul(ai, br))
        return self._fma(ai, bi, self._mul(ar, br)), self._fma(self._negated(ar), bi, self._mul(ai, br))

    def _two(self, x: Sequence[Complex]) -> list[Complex]:
        return [self._plus(x[0], x[1]), self._minus(x[0], x[1])]

    def _three(self, x: Sequence[Complex]) -> list[Complex]:
        half, root = self._constant(-0.5), self._constant(math.sqrt(0.75))
        total, difference = self._plus(x[1], x[2]), self._minus(x[1], x[2])
        middle = self._fma(half, total[0], x[0][0]), self._fma(half, total[1], x[0][1])
        minus = self._constant(-math.sqrt(0.75))
        down = (self._fma(root, difference[1], middle[0]), self._fma(minus, difference[0], middle[1]))
        up = (self._fma(minus, difference[1], middle[0]), self._fma(root, difference[0], middle[1]))
        return [self._plus(x[0], total), *((down, up) if self.direction == "forward" else (up, down))]

    def _four(self, x: Sequence[Complex]) -> list[Complex]:
        even, odd = self._two((x[0], x[2])), self._two((x[1], x[3]))
        down, up = self._quarter_turns(even[1], odd[1])
        return [self._plus(even[0], odd[0]), down, self._minus(even[0], odd[0]), up]

    def _eight(self, x: Sequence[Complex]) -> list[Complex]:
        even, odd = self._four(x[0::2]), self._four(x[1::2])
        y: list[Complex] = [("", "")] * 8
        y[0], y[4] = self._plus(even[0], odd[0]), self._minus(even[0], odd[0])
        y[2], y[6] = self._quarter_turns(even[2], odd[2])
        root, minus = self._constant(math.sqrt(0.5)), self._constant(-math.sqrt(0.5))
        for k in (1, 3):
            (er, ei), (re, im) = even[k], odd[k]
            together, apart = self._value("fadd", re, im), self._value("fsub", im, re)
            # exp(-i pi/4) turns (re, im) into (re + im, im - re)/sqrt(2); the other three follow by signs.
            if self.direction == "inverse":
                apart = self._value("fsub", re, im)
            first, second = (together, apart) if k == 1 else (apart, together)
            if self.direction == "forward":
                signs = (root, root) if k == 1 else (root, minus)
            else:
                first, second = second, first
                signs = (root, root) if k == 1 else (minus, root)
            y[k] = self._fma(signs[0], first, er), self._fma(signs[1], second, ei)
            others = [minus if sign == root else root for sign in signs]
            y[k + 4] = self._fma(others[0], first, er), self._fma(others[1], second, ei)
        return y

    def _quarter_turns(self, a: Complex, b: Complex) -> tuple[Complex, Complex]:
        """``a -+ i b`` and ``a +- i b``."""
        (ar, ai), (br, bi) = a, b
        down = self._value("fadd", ar, bi), self._value("fsub", ai, br)
        up = self._value("fsub", ar, bi), self._value("fadd", ai, br)
        return (down, up) if self.direction == "forward" else (up, down)

    def _plus(self, a: Complex, b: Complex) -> Complex:
        return self._value("fadd", a[0], b[0]), self._value("fadd", a[1], b[1])

    def _minus(self, a: Complex, b: Complex) -> Complex:
        return self._value("fsub", a[0], b[0]), self._value("fsub", a[1], b[1])

    def _mul(self, a: str, b: str) -> str:
        return self._value("fmul", a, b)

    def _fma(self, a: str, b: str, c: str) -> str:
        return self.w.fma(self.kind, a, b, c)

    def _negated(self, a: str) -> str:
        return self.w.value(f"fneg {self.kind} {a}")

    def _value(self, operation: str, a: str, b: str) -> str:
        return self.w.value(f"{operation} {self.kind} {a}, {b}")

    def _constant(self, number: float) -> str:
        return constants(self.kind, [number] * self.kind.lanes)


def constants(kind: Vector, numbers: Sequence[float]) -> str:
    """A vector of numbers, rounded to its type, as IR writes it."""
    return "<" + ", ".join(f"{kind.scalar} {_hexadecimal(number, kind.scalar)}" for number in numbers) + ">"


def _hexadecimal(number: float, scalar: str) -> str:
    if scalar == "float":
        (number,) = struct.unpack("f", struct.pack("f", number))
    return "0x" + struct.pack(">d", number).hex().upper()
