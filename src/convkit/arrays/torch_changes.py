"""Whether tensors still are what they were when something was made of them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, methodcaller
from typing import Any

import numpy as np
import torch

SAMPLES = 64
"""Bytes compared as well: writing through ``.data`` leaves a tensor's version as it is."""


_NOTHING = np.empty(0, np.uint8)
_version, _place, _strides = attrgetter("_version"), methodcaller("data_ptr"), methodcaller("stride")


class Unwritten:
    """What must be unchanged for what was made of tensors to be used again: they lie where they lay, as they were.

    Asked before every run of a model, it goes through all tensors in loops that Python does not write itself.
    """

    __slots__ = ("_before", "_bytes", "_seen")

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._before, self._seen = _told(tensors), [_some_bytes(tensor) for tensor in tensors]
        self._bytes = self._now()

    def holds(self, tensors: Sequence[torch.Tensor]) -> bool:
        """Whether the same tensors were neither moved nor written to."""
        return _told(tensors) == self._before and self._now() == self._bytes

    def _now(self) -> bytes:
        return (self._seen[0] if len(self._seen) == 1 else np.concatenate([_NOTHING, *self._seen])).tobytes()


def _told(tensors: Sequence[torch.Tensor]) -> tuple[Any, ...]:
    return list(map(_version, tensors)), list(map(_place, tensors)), list(map(_strides, tensors))


def _some_bytes(tensor: torch.Tensor) -> Any:
    """Some bytes of its memory, spread so that signs and exponents are among them."""
    held = tensor.detach()  # an array of the tensor itself would keep it alive
    flat = held.as_strided((held.untyped_storage().nbytes() // held.element_size(),), (1,), 0).view(torch.uint8)
    first = held.storage_offset() * held.element_size()
    bytes_ = flat.numpy()[first : first + held.numel() * held.element_size()]
    return bytes_[:: max(1, bytes_.size // SAMPLES) | 1]
