"""What was in a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from convkit.errors import FileError


@dataclass(frozen=True, slots=True)
class Content:
    """An array from a file, with what its format knows beside the numbers.

    Attributes
    ----------
    array : ndarray
        The numbers.
    kind : {"array", "table", "sound", "picture"}
        What they mean: the last axis of a 3-D picture is colour, the last axis of a 2-D sound is the channel.
    rate : int or None
        Samples per second of a sound.
    encoding : str or None
        How a sound stores its samples, in soundfile's names (``"PCM_16"``, ``"FLOAT"``).
    """

    array: NDArray[Any]
    kind: Literal["array", "table", "sound", "picture"] = "array"
    rate: int | None = None
    encoding: str | None = None

    @property
    def space(self) -> tuple[int, ...]:
        """The axes a filter runs along: colour and sound channels are not among them."""
        if self.kind == "picture":
            return (0, 1)
        return (0,) if self.kind == "sound" else tuple(range(self.array.ndim))


def numeric(array: NDArray[Any], path: object) -> NDArray[Any]:
    """Return ``array`` if it holds numbers; otherwise raise ``file.not-numeric``."""
    if array.dtype.kind not in "biufc":
        raise FileError("not-numeric", path=str(path), dtype=str(array.dtype))
    return array


def first_line(error: BaseException) -> str:
    """The reason that a reader gave, short enough for one line of a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
