"""A layer's epilogue by a compiled kernel, over sums that another algorithm left: the planner asks for it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convkit import codegen, threads
from convkit.algorithms.support.packing import item_bytes
from convkit.algorithms.support.planes import Strides
from convkit.algorithms.support.register_tiles import cuts
from convkit.codegen import finish, pool
from convkit.codegen.epilogue import Ending
from convkit.codegen.library import address_of
from convkit.codegen.memory import address, type_name
from convkit.codegen.program import Program, Tables, join
from convkit.codegen.step import ADD, BIAS, OUT
from convkit.planner import finishing
from convkit.planner.finishing import Array, Operands
from convkit.spec.epilogue import Epilogue

PIECE = 1 << 15
"""Numbers of one task, roughly."""

MOST_STEPS = 1 << 12
"""Steps of a program at most: larger batches take several runs."""

SECONDS = 2e-10
"""What one number takes, roughly."""


def ending_of(epilogue: Epilogue | None, bias: str) -> Ending:
    """What a kernel does for an epilogue; ``bias`` says where it finds the bias."""
    if epilogue is None:
        return Ending()
    return Ending(bias if epilogue.bias else "", epilogue.add, epilogue.activation or "", epilogue.added)


def finish_compiled(epilogue: Epilogue, sums: Array, operands: Operands) -> bool:
    """Do it where kernels can be compiled, for real numbers; all layouts come out with the same bits."""
    dtype = type_name(sums.dtype)
    if dtype not in ("float32", "float64") or codegen.why_not() is not None:
        return False
    add = sums if operands.add is None else operands.add
    one = _program(epilogue, (1, *sums.shape[1:]), sums.strides, add.strides, dtype)
    if one is None:
        for n in range(len(sums)):
            _finish_moved(epilogue, sums[n : n + 1], operands, None if operands.add is None else add[n : n + 1])
        return True
    at_once = max(1, MOST_STEPS // one.tasks)
    bias = 0 if operands.bias is None else address(operands.bias)
    for first in range(0, len(sums), at_once):
        some = sums[first : first + at_once]
        program = _program(epilogue, some.shape, sums.strides, add.strides, dtype)
        if program is None:  # a number a sample, and samples apart
            for n in range(first, first + len(some)):
                _finish_moved(epilogue, sums[n : n + 1], operands, None if operands.add is None else add[n : n + 1])
            continue
        bases = address(some), 0, 0, 0, bias, address(add) + first * add.strides[0]
        pool.run(program, bases, threads.num_threads(), some.size * SECONDS)
    return True


def _finish_moved(epilogue: Epilogue, sums: Array, operands: Operands, add: Array | None) -> None:
    """The same for a sample whose numbers lie apart, or otherwise than those of ``add``: both are moved together."""
    moved = np.ascontiguousarray(sums)
    finish_compiled(epilogue, moved, Operands(operands.bias, None if add is None else np.ascontiguousarray(add)))
    if moved is not sums:
        sums[...] = moved


class _Axis(NamedTuple):
    """One loop: how often, and how far each array moves, in bytes."""

    count: int
    sums: int
    add: int
    bias: int


@lru_cache(maxsize=256)
def _program(epilogue: Epilogue, shape: tuple[int, ...], sums: Strides, add: Strides, dtype: str) -> Program | None:
    item = np.dtype(dtype).itemsize
    per_number = item if epilogue.bias else 0
    bias = (0, per_number * shape[2], per_number, *(0 for _ in shape[3:]))
    axes = _merged([_Axis(*axis) for axis in zip(shape, sums, add, bias, strict=True) if axis[0] > 1])
    other = item_bytes(epilogue.added) if epilogue.add and epilogue.added else item
    columns = next((axis for axis in reversed(axes) if (axis.sums, axis.add) == (item, other)), None)
    if columns is None:
        if axes:
            return None
        columns = _Axis(1, item, other, per_number)
    rest = [axis for axis in axes if axis is not columns]
    # Rows share the bias of their plane.
    rows = _taken(rest, next((axis for axis in reversed(rest) if not axis.bias), None))
    planes = _taken(rest, max(rest, key=lambda axis: (axis.bias, axis.count), default=None))
    at = {"sums": np.zeros(1, np.int64), "add": np.zeros(1, np.int64), "bias": np.zeros(1, np.int64)}
    for axis in rest:
        at = _along(at, axis, np.arange(axis.count, dtype=np.int64))
    row_cuts = np.array(cuts(rows.count, max(1, PIECE // columns.count)), np.int64)
    plane_cuts = np.array(cuts(planes.count, max(1, PIECE // (columns.count * rows.count))), np.int64)
    at = _along(_along(at, planes, plane_cuts[:, 0]), rows, row_cuts[:, 0])
    tasks = len(at["sums"])
    kernel = finish.Finish(dtype, ending_of(epilogue, "column" if columns.bias else "plane"))
    steps = finish.ARGUMENTS.steps(
        address_of(kernel), tasks, out=(OUT, at["sums"]), sums=(OUT, at["sums"]), add=(ADD, at["add"]),
        bias=(BIAS, at["bias"]), out_plane=planes.sums, out_row=rows.sums,
        planes=_each(plane_cuts, tasks, len(row_cuts)), sums_plane=planes.sums, add_plane=planes.add,
        bias_plane=planes.bias, rows=_each(row_cuts, tasks, 1), sums_row=rows.sums, add_row=rows.add,
        columns=columns.count,
    )  # fmt: skip
    return join([[steps]], Tables().array(), 64)


def _merged(axes: list[_Axis]) -> list[_Axis]:
    """Neighbouring axes as one where every array goes on evenly, as long as the one is not large."""
    found: list[_Axis] = []
    for axis in reversed(axes):
        inner = found[-1] if found else None
        if (
            inner is not None
            and axis[1:] == tuple(inner.count * stride for stride in inner[1:])
            and axis.count * inner.count <= PIECE
        ):
            found[-1] = inner._replace(count=axis.count * inner.count)
        else:
            found.append(axis)
    return found[::-1]


def _taken(axes: list[_Axis], axis: _Axis | None) -> _Axis:
    """Take ``axis`` out of the list; a loop of one turn if there is none."""
    if axis is None:
        return _Axis(1, 0, 0, 0)
    axes.remove(axis)
    return axis


def _along(at: dict[str, NDArray[np.int64]], axis: _Axis, indices: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Every place moved along an axis by each of the indices."""
    return {
        name: (places[:, None] + indices * stride).ravel()
        for (name, places), stride in zip(at.items(), axis[1:], strict=True)
    }


def _each(pieces: NDArray[np.int64], tasks: int, inside: int) -> NDArray[np.int64]:
    """How long each task's piece is, where ``inside`` tasks in a row have the same."""
    return np.resize(np.repeat(pieces[:, 1] - pieces[:, 0], inside), tasks)


finishing.register(finish_compiled)
