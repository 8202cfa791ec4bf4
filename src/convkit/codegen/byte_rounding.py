"""How sums of 16 bits are scaled and rounded to bytes by integers alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

LARGEST = (1 << 16) - 1
"""No sum may exceed it."""


@lru_cache(maxsize=256)
def rounding(scale: float, largest: int) -> bytes:
    """How sums up to ``largest`` are scaled: the factor, and what does the same in 16 bits.

    Four words: ``scale`` as float32; integers ``a``, ``m`` and ``n`` such that ``(sum + a) * m >> 16 >> n`` is the
    byte to which ``sum * scale``, a float32, is rounded, for every single sum; ``m`` is 0 where none do, as where
    results may lie half-way between integers or have to be saturated.
    """
    factor = np.float32(scale)
    return factor.tobytes() + np.array(_found(factor, largest), np.int32).tobytes()


def _found(factor: np.float32, largest: int) -> tuple[int, int, int]:
    sums = np.arange(largest + 1)
    wanted = np.rint(sums.astype(np.float32) * factor)
    none = 0, 0, 0
    if not (0 < factor < 1) or wanted[-1] > 255:
        return none
    bits = int(np.floor(-np.log2(float(factor))))  # so that the multiplier fills 16 bits
    ideal = float(factor) * 2.0 ** (16 + bits)
    if bits > 15:
        return none
    half = int(0.5 / float(factor))
    for added in (half, half + 1, max(0, half - 1)):
        for multiplier in (int(ideal), int(ideal) + 1):
            if largest + added <= LARGEST and multiplier <= LARGEST:
                found = ((sums + added) * multiplier >> 16) >> bits
                if np.array_equal(found, wanted):
                    return added, multiplier, bits
    return none
