"""What is known of a tensor without its numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Told(NamedTuple):
    """What a tensor is that flows through a model.

    Attributes
    ----------
    shape : torch.Size
        As torch has it.
    strides : tuple of int
        In numbers.
    dtype : torch.dtype
        Its type.
    """

    shape: torch.Size
    strides: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, value: Any) -> Told | None:
        """None for what is no plain array in this computer's memory."""
        if type(value) is not Tensor or not value.is_cpu or value.layout is not torch.strided or value.is_neg():
            return None
        return cls(value.shape, value.stride(), value.dtype)

    def fits(self, value: Any) -> bool:
        """Whether a value is such a tensor."""
        return Told.of(value) == self

    def of_batch(self, samples: int) -> Told:
        """The first samples of it."""
        return self._replace(shape=torch.Size((samples, *self.shape[1:])))

    @property
    def side_by_side(self) -> tuple[int, ...]:
        """The strides that it would have with its channels as the last axis in memory."""
        _, channels, *space = self.shape
        strides = [channels]
        for n in reversed(space[1:]):
            strides.insert(0, strides[0] * n)
        return (strides[0] * space[0], 1, *strides)
