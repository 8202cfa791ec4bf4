"""Numbers without rounding: a float is a fraction, and a complex float is two."""

from __future__ import annotations

from fractions import Fraction
from math import hypot, isfinite

from convkit.oracle.grid import Number


class Gaussian:
    """A complex number whose parts are exact: what ``complex`` is to ``float``, this is to ``Fraction``.

    Examples
    --------
    >>> complex(Gaussian(Fraction(1, 2), 1) * Gaussian(0, 2).conjugate())
    (2-1j)
    """

    __slots__ = ("imag", "real")

    def __init__(self, real: Number, imag: Number = 0) -> None:
        self.real: Number = real
        self.imag: Number = imag

    def conjugate(self) -> Gaussian:
        """The same number with its imaginary part negated."""
        return Gaussian(self.real, -self.imag)

    def __add__(self, other: Number) -> Gaussian:
        return Gaussian(self.real + other.real, self.imag + other.imag)

    __radd__ = __add__

    def __mul__(self, other: Number) -> Gaussian:
        return Gaussian(
            self.real * other.real - self.imag * other.imag, self.real * other.imag + self.imag * other.real
        )

    __rmul__ = __mul__

    def __truediv__(self, other: Number) -> Gaussian:
        if isinstance(other, Gaussian):
            raise TypeError("a Gaussian is divided by real numbers only")
        return Gaussian(self.real / other, self.imag / other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gaussian | complex | Fraction | int | float) and (
            self.real == other.real and self.imag == other.imag
        )

    def __hash__(self) -> int:
        return hash((self.real, self.imag))

    def __abs__(self) -> float:
        return hypot(self.real, self.imag)

    def __complex__(self) -> complex:
        return complex(float(self.real), float(self.imag))

    def __repr__(self) -> str:
        return f"Gaussian({self.real}, {self.imag})"


def exact(value: Number) -> Number:
    """``value`` as a number whose sums and products do not round; NaN and infinities stay floats.

    Examples
    --------
    >>> exact(0.75), exact(7), exact(float("inf"))
    (Fraction(3, 4), 7, inf)
    """
    if isinstance(value, complex):
        return Gaussian(exact(value.real), exact(value.imag))
    if isinstance(value, float):
        return Fraction(value) if isfinite(value) else value
    return value
