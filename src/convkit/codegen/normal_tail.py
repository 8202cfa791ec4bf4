"""The normal distribution's tail on a vector in registers: how much of it lies beyond a number, to a few roundings.

``Phi(-y) = exp(-y**2 / 2) * q(t) / (y + 7/2)`` with ``t = (y - 7/2) / (y + 7/2)``, which maps all ``y >= 0`` to one
interval: there ``q`` is smooth, and few terms of its Chebyshev series are enough.
"""

from __future__ import annotations

from convkit.codegen.builder import Vector, Writer

MIDDLE = 3.5
"""The ``y`` that becomes zero."""

SINGLE = (
    0.7444160717033343, -0.565561823319316, 0.31542524216078105, -0.11605071953218227, 0.017404597787230865,
    0.006474478285411162, -0.0031749204106456, -0.000438679411962541, 0.0004480690564265145, 5.53789085280215e-05,
    -4.792357036269552e-05, -7.4952116180545864e-06,
)  # fmt: skip
"""Coefficients of ``q``, from the constant on: what is left out is 1.1e-8 of it."""

DOUBLE = (
    0.7444160754359381, -0.565561816053779, 0.3154249698879527, -0.11605092871408298, 0.01740783260202747,
    0.006476218920041451, -0.0031891010475832244, -0.00044501295280010243, 0.00047665708973309445,
    6.70332556714674e-05, -7.558454963801728e-05, -1.8789018738290903e-05, 1.1506034522830003e-05,
    5.652280381760345e-06, -1.1629746158325062e-06, -1.4797743409048521e-06, -1.4781565161464044e-07,
    2.946924462583871e-07, 1.306757922199984e-07, -2.9288759818725564e-08, -4.259766047183995e-08,
    -5.570978764207291e-09, 8.229413414232863e-09, 2.812536676664017e-09, -7.695143524492608e-10,
    -3.8688145319775204e-10,
)  # fmt: skip
"""The same with 1e-17 of it left out."""


def tail_over_exp(w: Writer, kind: Vector, y: str, numbers: tuple[str, ...], middle: str, one: str) -> str:
    """``Phi(-y) / exp(-y**2 / 2)`` for ``y >= 0``; ``numbers`` are the coefficients as constants."""
    inverse = w.value(f"fdiv {kind} {one}, {w.value(f'fadd {kind} {y}, {middle}')}")
    t = w.value(f"fmul {kind} {w.value(f'fsub {kind} {y}, {middle}')}, {inverse}")
    total = numbers[-1]
    for number in reversed(numbers[:-1]):
        total = w.fma(kind, total, t, number)
    return w.value(f"fmul {kind} {total}, {inverse}")
