"""Reading OpenCV's arguments: images, depths, sizes, anchors, borders and numbers, each checked once."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping

import numpy as np

from convkit.compat.cv2.constants import (
    BORDER_ISOLATED,
    BORDER_NAMES,
    BORDER_WRAP,
    BOUNDARIES,
    DEPTH_NAMES,
    DEPTHS,
    DTYPES,
)
from convkit.compat.cv2.errors import error
from convkit.errors import by

CHANNELS = 128
"""The most channels that OpenCV lays on one pixel."""


def image(src: object, depths: Collection[int]) -> np.ndarray:
    """``src`` as rows x columns, or rows x columns x channels; a single channel loses its axis, as in OpenCV.

    A vector is one row of an image, a single number one pixel.
    """
    if not isinstance(src, np.ndarray):
        raise error("not-an-array", argument="src", kind=type(src).__name__)
    # OpenCV's own binding reads int64 as int32, the widest integer its filters take.
    array = _narrow(src) if src.dtype == np.int64 else src
    depth = DEPTHS.get(array.dtype.newbyteorder("="))
    if depth not in depths:
        names = ", ".join(DTYPES[item].name for item in sorted(depths))
        raise error("image-type", dtype=src.dtype.name, allowed=names)
    if array.ndim < 2:
        array = array.reshape(1, -1)
    channels = array.shape[2:]
    if channels == (1,):
        array = array[:, :, 0]
    if len(channels) > 1 or max(channels, default=1) > CHANNELS:
        raise error("image-shape", shape=by(src.shape), channels=CHANNELS)
    if array.size == 0:
        raise error("empty", argument="src", shape=by(src.shape))
    return array


def _narrow(src: np.ndarray) -> np.ndarray:
    limits = np.iinfo(np.int32)
    if src.size and (src.min() < limits.min or src.max() > limits.max):
        raise error("image-type", dtype=src.dtype.name, allowed="int32")
    return src.astype(np.int32)


def depth_of(array: np.ndarray) -> int:
    """The depth of an image's element type."""
    return DEPTHS[array.dtype.newbyteorder("=")]


def output_depth(source: int, ddepth: object, table: Mapping[int, Collection[int]]) -> int:
    """The depth of the result: the source's where ``ddepth`` is negative; else one ``table`` allows."""
    wished = integer("ddepth", ddepth)
    depth = source if wished < 0 else wished
    allowed = table[source]
    if depth not in allowed:
        raise error(
            "depth",
            source=DEPTH_NAMES[source],
            wished=DEPTH_NAMES.get(depth, str(depth)),
            allowed=", ".join(DEPTH_NAMES[item] for item in sorted(allowed)),
        )
    return depth


def integer(argument: str, value: object) -> int:
    """``value`` as an int."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise error("not-an-integer", argument=argument, value=repr(value)) from None


def number(argument: str, value: object) -> float:
    """``value`` as a float."""
    try:
        if isinstance(value, str):
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except TypeError:
        raise error("not-a-number", argument=argument, value=repr(value)) from None


def pair(argument: str, value: object) -> tuple[int, int]:
    """``value`` as (horizontal, vertical): OpenCV's order, the reverse of an array's axes."""
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != 2:
        raise error("not-a-pair", argument=argument, value=repr(value))
    return integer(argument, value[0]), integer(argument, value[1])


def anchor_axes(anchor: object, columns: int, rows: int, centre: str = "any negative") -> tuple[int, int]:
    """The anchor as (row, column) of a kernel of ``rows`` x ``columns``; -1 is its centre ``size//2``.

    ``centre`` says which negative numbers mean the centre: ``"any negative"``, or ``"-1"`` alone (filter2D).
    """
    x, y = (-1, -1) if anchor is None else pair("anchor", anchor)
    found: list[int] = []
    for name, value, size in (("y", y, rows), ("x", x, columns)):
        element = size // 2 if value == -1 or (value < 0 and centre == "any negative") else value
        if not 0 <= element < size:
            raise error("anchor", axis=name, anchor=value, size=size, last=size - 1)
        found.append(element)
    return found[0], found[1]


def boundary(border: object, wrap: str = "refused") -> str:
    """The boundary that ``borderType`` names; BORDER_ISOLATED changes nothing for a whole array."""
    code = integer("borderType", border) & ~BORDER_ISOLATED
    if code not in BOUNDARIES or (code == BORDER_WRAP and wrap == "refused"):
        names = [name for item, name in BORDER_NAMES.items() if item != BORDER_WRAP or wrap != "refused"]
        raise error("border", border=BORDER_NAMES.get(code, str(code)), allowed=", ".join(names))
    return BOUNDARIES[code]
