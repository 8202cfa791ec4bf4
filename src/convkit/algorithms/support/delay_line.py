"""Frequency-domain delay lines: one kernel cut into partitions of one size, the spectra of the last blocks kept.

For partitions of L samples, block c of the signal (with the block before it) is transformed once into ``U[c]``; then
``sum_p U[c-p] * H[p]``, transformed back, holds in its second half what the partitions add to the outputs of block c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convkit.algorithms.support.spectra import Transform, good_size, make_transform
from convkit.planner.algorithm import Array

SCRATCH = 1 << 14
"""Products of spectra formed before they are added up: they stay in the second-level cache."""


@dataclass(frozen=True, slots=True)
class Partitions:
    """A run of partitions of one size.

    Attributes
    ----------
    size : int
        Samples of one partition and of one block.
    first : int
        First tap: ``ahead * size``.
    count : int
        Partitions.
    """

    size: int
    first: int
    count: int

    @property
    def ahead(self) -> int:
        """How many blocks later than its samples a block of outputs is; work of 2 blocks ahead can be spread."""
        return self.first // self.size

    def transform(self, dtype: str) -> Transform:
        """Of two blocks."""
        return make_transform((good_size(2 * self.size, not dtype.startswith("c")),), dtype)

    def points(self, dtype: str) -> int:
        """Complex numbers of one spectrum."""
        length = self.transform(dtype).points
        return length if dtype.startswith("c") else length // 2 + 1


class DelayLine:
    """The running state of `Partitions`: what they add to each block of outputs.

    Parameters
    ----------
    partitions : Partitions
        Their size and place.
    step : int
        Samples that arrive at once; divides the size.
    taps : ndarray
        ``h[0], h[1], ...``, the whole kernel.
    rows : int
        Channels; each is transformed by itself, so that it has the bits it would have alone.

    Attributes
    ----------
    ready : ndarray
        (rows, size): the sums of the block that comes next, or of the block just complete if ``ahead`` is 0.
    """

    def __init__(self, partitions: Partitions, step: int, taps: Array, rows: int) -> None:
        self._partitions, self._step = partitions, step
        size, count, dtype = partitions.size, partitions.count, taps.dtype
        self._transform = partitions.transform(dtype.name)
        points, length = partitions.points(dtype.name), self._transform.points
        complex_type = np.result_type(dtype, np.complex64)
        self._kernel = np.empty((count, points), complex_type)
        for p in range(count):
            part = np.zeros(length, dtype)
            held = taps[partitions.first + p * size : partitions.first + (p + 1) * size]
            part[: held.size] = held
            self._kernel[p] = self._transform.forward(part)
        self._spectra = np.zeros((rows, count, points), complex_type)
        self._newest = 0  # partition p meets the spectrum in place (newest + p) % count
        self._sums = np.zeros((rows, points), complex_type)
        self._products = np.empty((max(1, SCRATCH // points), points), complex_type)
        self._total = np.empty(points, complex_type)
        self._samples = np.zeros((rows, length), dtype)
        self._steps = size // step
        self._done = 0  # steps of the block that is arriving
        self._coming = np.zeros((rows, size), dtype)
        self.ready = np.zeros((rows, size), dtype)

    def take(self, samples: Array) -> None:
        """Take the next ``step`` samples of every row and do the work that is due.

        With two blocks ahead, the products are spread over the steps of a block: every step does its share of the
        partitions, the last but one transforms back, the last transforms the new block.
        """
        size = self._partitions.size
        at = size + self._done * self._step
        self._samples[:, at : at + self._step] = samples
        self._done += 1
        complete = self._done == self._steps
        if self._partitions.ahead == 2:
            shares = self._steps - 1
            if not complete:
                count = self._partitions.count
                self._add(count * (self._done - 1) // shares, count * self._done // shares)
            if self._done == shares:
                self._back(self._coming)
        if not complete:
            return
        self._done = 0
        self._newest = (self._newest - 1) % self._partitions.count
        for row in range(self._samples.shape[0]):
            self._spectra[row, self._newest] = self._transform.forward(self._samples[row])
        self._samples[:, :size] = self._samples[:, size : 2 * size]
        if self._partitions.ahead == 2:
            self.ready, self._coming = self._coming, self.ready
        else:
            self._add(0, self._partitions.count)
            self._back(self.ready)

    def _add(self, lo: int, hi: int) -> None:
        """Add the products of partitions ``lo`` to ``hi - 1``; the spectra lie around the end of their array."""
        count = self._partitions.count
        turn = min(max(count - self._newest, lo), hi)
        for begin, end, shift in ((lo, turn, self._newest), (turn, hi, self._newest - count)):
            for first in range(begin, end, self._products.shape[0]):
                last = min(end, first + self._products.shape[0])
                products = self._products[: last - first]
                for row, sums in enumerate(self._sums):
                    np.multiply(self._spectra[row, first + shift : last + shift], self._kernel[first:last], products)
                    np.add(sums, np.add.reduce(products, axis=0, out=self._total), out=sums)

    def _back(self, into: Array) -> None:
        size = self._partitions.size
        for row, sums in enumerate(self._sums):
            into[row] = self._transform.backward(sums)[size : 2 * size]
        self._sums[...] = 0
