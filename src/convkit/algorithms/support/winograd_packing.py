"""How arrays of images are laid down for Winograd's transforms: pixel by pixel, a vector of channels each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convkit.algorithms.support.packing import item_bytes, places
from convkit.codegen import pack, winograd_pack
from convkit.codegen.library import address_of
from convkit.codegen.numbers import stored_as
from convkit.codegen.program import Tables
from convkit.codegen.step import SCRATCH, TABLES, Place, Steps
from convkit.codegen.winograd_pack import Neighbours, WinogradPack
from convkit.spec.window import Window

Offsets = NDArray[np.int64]


def neighbours(strides: Sequence[int], item: int) -> Neighbours:
    """What lies side by side in an array with these strides."""
    if strides[4] == item:
        return "columns"
    return "channels" if strides[2] == item else "none"


def laying(
    tables: Tables, dtype: str, source: str, fill: complex, windows: Sequence[Window], positions: Sequence[Offsets],
    lasts: Sequence[int], strides: Sequence[int], x: Place, to: int | Offsets, **sizes: Any,
) -> Steps:  # fmt: skip
    """Lay positions of an extended array down, at ``to`` in scratch memory; those after ``lasts`` become zero.

    ``strides`` are the array's (batch, groups, channels, rows, columns); ``x`` is where its first channel's first
    sample is, of type ``source``. ``sizes``: channels, and bytes from block to block and from row to row of what is
    laid down.
    """
    item = item_bytes(source)
    rows, columns = places(windows, positions, strides[3:])
    for found, along, last in zip((rows, columns), positions, lasts, strict=True):
        found[along > last] = pack.ZEROS
    beside = neighbours(strides, item)
    first, last = _run(columns, item) if beside == "columns" else (0, 0)
    value = np.frombuffer(np.array([fill.real], dtype).tobytes().ljust(8, b"\0"), np.int64)
    found = {name: (TABLES, tables.add(table)) for name, table in (
        ("rows_at", rows), ("left_at", columns[:first]), ("right_at", columns[last:]), ("fill", value),
    )}  # fmt: skip
    kernel = WinogradPack(dtype, beside, stored_as(source, dtype))
    return winograd_pack.ARGUMENTS.steps(
        address_of(kernel), len(x[1]), to=(SCRATCH, to), x=x, **found, x_channel=strides[2],
        rows=len(rows), left=first, begin=columns[first] if last > first else 0, middle=last - first,
        right=len(columns) - last, **sizes,
    )  # fmt: skip


def _run(columns: Offsets, item: int) -> tuple[int, int]:
    """The longest run of columns that are neighbours in memory."""
    breaks = np.flatnonzero(np.diff(columns) != item) + 1
    begins, ends = np.concatenate(([0], breaks)), np.concatenate((breaks, [len(columns)]))
    longest = int(np.argmax(ends - begins))
    first, last = int(begins[longest]), int(ends[longest])
    return (first, last) if columns[first] > pack.FILL else (0, 0)
