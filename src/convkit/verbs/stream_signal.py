"""The signal of a stream: what has arrived and is still needed, and what lies beyond its ends."""

from __future__ import annotations

import numpy as np

from convkit.errors import ShapeError
from convkit.planner.algorithm import Array
from convkit.spec import sizes
from convkit.spec.boundary import index_map
from convkit.spec.conv import ConvSpec
from convkit.spec.window import Window


class Signal:
    """Samples of a stream by position, 0 being the first that arrived; forgotten from the front when told to.

    Appending costs what the samples appended cost, on average: room is doubled, or the samples kept are moved, only
    when as many have arrived since the last time.

    Attributes
    ----------
    received : int
        Samples that arrived.
    first : int or None
        Position of the first sample held; None until the near side is extended.
    """

    def __init__(self, spec: ConvSpec, window: Window, lead: tuple[int, ...], dtype: str, fill: complex) -> None:
        self._spec, self._window, self._fill = spec, window, fill
        self.lead, self.dtype = lead, np.dtype(dtype)
        if "constant" in window.sides and np.asarray(fill).astype(self.dtype) != fill:
            self.dtype = np.result_type(self.dtype, np.min_scalar_type(fill))
        self.received = 0
        self.first: int | None = None
        self._room = np.empty((*lead, 0), self.dtype)
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    @property
    def end(self) -> int:
        """One past the last position held."""
        return (self.first or 0) + len(self)

    def take(self, block: Array) -> None:
        """Samples arrive."""
        self.received += block.shape[-1]
        self._append(block)

    def _append(self, block: Array) -> None:
        count, held = block.shape[-1], len(self)
        if self._end + count > self._room.shape[-1]:
            kept = self._room[..., self._begin : self._end]
            self._room = np.empty((*self.lead, 2 * (held + count)), self.dtype)
            self._room[..., :held] = kept
            self._begin, self._end = 0, held
        self._room[..., self._end : self._end + count] = block
        self._end += count

    def extend_before(self, count: int, final: bool) -> bool:
        """Put ``count`` samples before the first, if enough have arrived to know them; whether that is now done."""
        if self.first is not None:
            return True
        name = self._window.sides[0]
        enough = {"zero": 0, "constant": 0, "edge": 1, "symmetric": count}.get(name, count + 1) if count else 0
        if not final and self.received < enough:
            return False
        before = self._outside(-count, count)
        arrived = self._room[..., self._begin : self._end]
        self._room, self._begin, self._end = np.empty((*self.lead, 0), self.dtype), 0, 0
        self._append(np.concatenate([before, arrived], axis=-1))
        self.first = -count
        return True

    def extend_after(self) -> int:
        """The signal has ended: put behind it what its last windows hold, and give the number of outputs."""
        total = self._total()
        end = self._window.start + (total - 1) * self._window.stride + self._window.reach if total else 0
        if end > self.received:
            self._append(self._outside(self.received, end - self.received))
        return total

    def span(self, begin: int, end: int) -> Array:
        """A view of the samples at positions ``begin`` to ``end - 1``, as far as they are held."""
        offset = self._begin - (self.first or 0)
        return self._room[..., begin + offset : min(end + offset, self._end)]

    def forget(self, position: int) -> None:
        """Samples before ``position`` are not needed any more, unless the far boundary needs them."""
        assert self.first is not None
        sides = self._window.sides[1]
        if sides not in ("zero", "constant"):
            position = min(position, self.received - 2 * self._window.reach)
        position = min(position, self.end)
        if position > self.first:
            self._begin += position - self.first
            self.first = position

    def _total(self) -> int:
        window, size = self._window, self.received
        if self._spec.mode == "full":
            return sizes.full_size(size, window.kernel, window.stride, window.dilation).value
        if self._spec.mode == "same":
            return sizes.same_size(size, window.stride).value
        sizes.check_fit((size,), (window.kernel,), (window.dilation,))
        return sizes.padded_size(size, window.kernel, window.stride, window.dilation).value

    def _outside(self, start: int, count: int) -> Array:
        """Extended samples at positions ``start ..``, before the first or after the last sample received."""
        shape = (*self.lead, count)
        name = self._window.sides[0 if start < 0 else 1]
        if count == 0 or self.received == 0 or name in ("zero", "constant"):
            if count and self.received == 0 and name not in ("zero", "constant") and self._total():
                raise ShapeError("nothing-to-extend", axis=0, boundary=name)
            return np.full(shape, self._fill if name == "constant" else 0, self.dtype)
        sources = np.asarray(index_map(start, count, self.received, self._window.sides), np.intp)
        return self._room[..., sources - (self.first or 0) + self._begin]
