"""Whether a tensor still is what it was when something was made of it."""

from __future__ import annotations

import torch

SAMPLES = 16
"""Bytes compared as well: writing through ``.data`` leaves a tensor's version as it is."""


class Unwritten:
    """What must be unchanged for what was made of a tensor to be used again."""

    __slots__ = ("_before", "_place", "_seen", "_version")

    def __init__(self, w: torch.Tensor) -> None:
        held = w.detach()  # an array of `w` itself would keep it alive
        flat = held.as_strided((held.untyped_storage().nbytes() // held.element_size(),), (1,), 0).view(torch.uint8)
        first = held.storage_offset() * held.element_size()
        bytes_ = flat.numpy()[first : first + held.numel() * held.element_size()]
        # Bytes next to each other, the highest of which tells sign and exponent.
        step = max(1, bytes_.size // SAMPLES) | 1
        self._version, self._place, self._seen = w._version, (w.data_ptr(), w.stride()), bytes_[::step]
        self._before = self._seen.tobytes()

    def holds(self, w: torch.Tensor) -> bool:
        """Whether ``w``, the same tensor, lies where it lay and was not written to."""
        return (
            self._version == w._version
            and self._place == (w.data_ptr(), w.stride())
            and self._seen.tobytes() == self._before
        )
