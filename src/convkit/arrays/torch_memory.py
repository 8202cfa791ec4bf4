"""Tensors as NumPy arrays over the same memory, and the memory of results: torch's conventions of layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from convkit import memory
from convkit.arrays.namespace import stored_name
from convkit.errors import DTypeError

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Torch's names for channels as the last axis in memory, by the number of axes."""


def plain(tensor: torch.Tensor) -> Any:
    """A NumPy view of a tensor; a pending conjugate or sign is carried out first."""
    return tensor.detach().resolve_conj().resolve_neg().numpy()


def shared(tensor: torch.Tensor) -> Any:
    """`plain` for what layers read and write: bfloat16 by its bits, or widened where NumPy has no name for it."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        name = stored_name("bfloat16")
        return tensor.float().numpy() if name == "float32" else tensor.view(torch.int16).numpy().view(name)
    if tensor.is_conj() or tensor.is_neg():
        return plain(tensor)
    return tensor.numpy()


def format_of(*tensors: torch.Tensor) -> torch.memory_format:
    """The layout of a result: channels last if one of the tensors has them so and not in order as well.

    A single channel is both; its stride, which no address needs, then says which was meant, as it does to torch.
    """
    for tensor in tensors:
        last = _LAST.get(tensor.ndim)
        if last is None or (tensor.is_contiguous() and not _meant_last(tensor)):
            continue
        if tensor.is_contiguous(memory_format=last):
            return last
    return torch.contiguous_format


def _meant_last(tensor: torch.Tensor) -> bool:
    batch, channels, *_ = tensor.shape
    return channels == 1 and tensor.stride(1) == 1 and tensor.numel() > batch


def empty(like: torch.Tensor, shape: Sequence[Any], dtype: str, layout: torch.memory_format) -> torch.Tensor:
    """Memory for a result on the device of ``like``."""
    return torch.empty(shape, dtype=getattr(torch, dtype), device=like.device, memory_format=layout)


def real(shape: Sequence[int], dtype: str, layout: torch.memory_format) -> torch.Tensor:
    """Memory of this machine for a result, used again where it is large."""
    kind: torch.dtype = getattr(torch, dtype)
    if math.prod(shape) * kind.itemsize < memory.LARGE:
        return torch.empty(shape, dtype=kind, device="cpu", memory_format=layout)  # whatever the default is
    bits = "int16" if kind is torch.bfloat16 else dtype
    if layout is torch.contiguous_format:
        made = torch.from_numpy(memory.empty(shape, bits))
    else:
        batch, channels, *space = shape
        # Moved as an array: a view of a tensor may not be changed in place where an autograd function gives it back.
        array = memory.empty((batch, *space, channels), bits)
        made = torch.from_numpy(array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1)))
    return _of_bits(made) if kind is torch.bfloat16 else made


def _of_bits(bits: torch.Tensor) -> torch.Tensor:
    """bfloat16 numbers by their bits: a tensor on the same memory, but not a view."""
    made = torch.empty(0, dtype=torch.bfloat16, device="cpu")
    return made.set_(bits.untyped_storage(), bits.storage_offset(), bits.shape, bits.stride())


def tensor_of(array: Any) -> torch.Tensor:
    """A NumPy array as a tensor on the same memory.

    Raises
    ------
    DTypeError
        ``dtype.not-in-torch``.
    """
    if not hasattr(torch, array.dtype.name):
        raise DTypeError("not-in-torch", dtype=array.dtype.name)
    if array.dtype.name == "bfloat16":  # known to torch by its bits alone
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def laid_out(array: Any, layout: torch.memory_format) -> torch.Tensor:
    """A NumPy array as a tensor of some layout, without a copy where it has it."""
    return tensor_of(array).contiguous(memory_format=layout)
