"""Whether tensors still are what they were when something was made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

SAMPLES = 64
"""Bytes compared as well: writing through ``.data`` leaves a tensor's version as it is."""


class Unwritten:
    """What must be unchanged for what was made of tensors to be used again: they lie where they lay, as they were."""

    __slots__ = ("_before",)

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._before = [
            (tensor._version, tensor.data_ptr(), tensor.stride(), seen, seen.tobytes())
            for tensor, seen in ((tensor, _some_bytes(tensor)) for tensor in tensors)
        ]

    def holds(self, tensors: Sequence[torch.Tensor]) -> bool:
        """Whether the same tensors were neither moved nor written to."""
        for tensor, (version, place, stride, seen, before) in zip(tensors, self._before, strict=True):
            if (
                tensor._version != version
                or tensor.data_ptr() != place
                or tensor.stride() != stride
                or seen.tobytes() != before
            ):
                return False
        return True


def _some_bytes(tensor: torch.Tensor) -> Any:
    """Some bytes of its memory, spread so that signs and exponents are among them."""
    held = tensor.detach()  # an array of the tensor itself would keep it alive
    flat = held.as_strided((held.untyped_storage().nbytes() // held.element_size(),), (1,), 0).view(torch.uint8)
    first = held.storage_offset() * held.element_size()
    bytes_ = flat.numpy()[first : first + held.numel() * held.element_size()]
    return bytes_[:: max(1, bytes_.size // SAMPLES) | 1]
