"""Maps of layers on tensors like those seen before: each a recorded job, which is all that is done the next time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from convkit import memory
from convkit.arrays.layers import Job, Layer, Map
from convkit.arrays.torch_memory import real, shared

Tensor = torch.Tensor
Maybe = torch.Tensor | None

MOST_KEPT = 2048
"""Maps that are remembered, for networks of some hundred layers: a job takes some kilobytes, with its programs up to a
hundred."""

MOST_TRIED = 4
"""How often recording is tried where arrays do not tell."""

_NEVER = -1
_RECORDED = (torch.float32, torch.float64)


class _Known:
    """A job, and what its result is like."""

    __slots__ = ("_dtype", "_job", "_large", "_shape", "_strides")

    def __init__(self, job: Job, out: Tensor, layout: torch.memory_format) -> None:
        self._job, self._shape, self._strides = job, tuple(out.shape), out.stride()
        self._dtype = str(out.dtype).removeprefix("torch.")
        self._large = layout if out.nbytes >= memory.LARGE else None

    def __call__(self, tensors: Sequence[Maybe]) -> Maybe:
        """The result; None where more is to be done."""
        if self._large is None:
            assert tensors[0] is not None
            out = tensors[0].new_empty_strided(self._shape, self._strides)
        else:
            out = real(self._shape, self._dtype, self._large)
        places = [out.data_ptr()]
        for tensor in tensors:
            if tensor is not None:
                if tensor.is_neg():  # numbers that are read with another sign than lies there
                    return None
                places.append(tensor.data_ptr())
        return out if not places[0] % memory.LINE and self._job.run(places) else None


class Jobs:
    """What is remembered of maps, by what the addresses in their programs depend on."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._known: dict[Any, _Known | int] = {}
        self._most = most

    def again(self, key: Any, tensors: Sequence[Maybe]) -> Maybe:
        """The map of these tensors; None if it is not known as a job, or is more than one for these."""
        known = self._known.get(key)
        return known(tensors) if type(known) is _Known else None

    def seen(
        self, key: Any, of: Map, layer: Layer, out: Maybe, tensors: Sequence[Maybe], layout: torch.memory_format,
        activation: str = "", ready: Any = None,
    ) -> bool:  # fmt: skip
        """Whether the map was done to the tensors just now, and written down: for those that come a second time."""
        before = self._known.get(key, 0)
        if isinstance(before, _Known) or before == _NEVER or any(one is not None and one.is_neg() for one in tensors):
            return False
        if len(self._known) >= self._most:
            self._known.clear()
        if not _plain(layer, out, tensors):
            self._known[key] = _NEVER
            return False
        self._known[key] = before + 1 if before < MOST_TRIED else _NEVER
        if out is None or before == 0:
            return False
        arrays = [None if tensor is None else shared(tensor) for tensor in (out, *tensors)]
        job = layer.recorded(of, arrays, activation, ready)
        if not isinstance(job, str):
            self._known[key] = _Known(job, out, layout)
        elif job == "never":
            self._known[key] = _NEVER
        return True


def _plain(layer: Layer, out: Maybe, tensors: Sequence[Maybe]) -> bool:
    """Whether nothing is converted, and there is something to be done."""
    there = [tensor for tensor in tensors if tensor is not None]
    return (
        out is not None
        and layer.stored == layer.dtype
        and out.dtype in _RECORDED
        and all(one.dtype is out.dtype and one.numel() for one in (out, *there))
        and all(one.is_contiguous() for one in there if one.ndim == 1)
    )


def like(tensor: Maybe) -> Any:
    """What programs depend on of a tensor that a layer adds."""
    return None if tensor is None else (tensor.shape, tensor.stride(), tensor.dtype)


JOBS = Jobs()
