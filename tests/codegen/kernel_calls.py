"""Single kernels called by hand, for any processor whose instructions this one has."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from convkit.codegen import direct, library, pack, unpack
from convkit.codegen.library import Kernel
from convkit.codegen.step import BASES, Arguments
from convkit.codegen.target import Target, host, of_features

AVX512 = of_features("x86_64-unknown-linux-gnu", "skylake-avx512", {"avx512f": True, "fma": True, "avx2": True})
AVX2 = of_features("x86_64-unknown-linux-gnu", "haswell", {"avx2": True, "fma": True, "f16c": True})
NEON = of_features("aarch64-unknown-linux-gnu", "neoverse-n1", {"neon": True})
TARGETS = {"avx512": AVX512, "avx2": AVX2, "neon": NEON}


def runnable() -> list[Target]:
    """This machine's own target, and AVX2 where it is another that this machine has."""
    own = host()
    assert own is not None
    also = own.vector_bytes == 64 and own.triple.startswith("x86_64") and AVX2 is not None
    return [own, AVX2] if also else [own]


@cache
def address(kernel: Kernel, target: Target) -> int:
    """Where a kernel made for ``target`` stands."""
    (at,) = library.functions(kernel.module(target), (kernel.name,), target)
    return at


def call(kernel: Kernel, arguments: Arguments, target: Target, **values: Any) -> None:
    """Run one step. Pointers are given as arrays, or as pairs of an array and bytes from its first number."""
    bases, places = (ctypes.c_int64 * max(BASES, len(arguments.kinds)))(), {}
    number = 0
    for name, kind in arguments.kinds:
        if kind == "ptr":
            array, at = values[name] if isinstance(values[name], tuple) else (values[name], 0)
            bases[number] = array.ctypes.data if isinstance(array, np.ndarray) else array
            places[name] = number, at
            number += 1
    (step,) = arguments.steps(0, 1, **{**values, **places})
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address(kernel, target))
    function(ctypes.addressof(bases), step.ctypes.data + 8)


def numpy_type(name: str) -> np.dtype[Any]:
    """What holds numbers of an element type in NumPy; bfloat16 by its bits."""
    return np.dtype("uint16" if name == "bfloat16" else name)


def convert(source: str, target: str, numbers: np.ndarray, machine: Target, layout: str = "contiguous") -> np.ndarray:
    """Sums stored by the kernel `Unpack`, one row."""
    out = np.zeros(len(numbers), numpy_type(target))
    call(
        unpack.Unpack(source, target, layout), unpack.ARGUMENTS, machine, out=out, sums=numbers, imaginary=numbers,
        planes=1, out_plane=0, sums_plane=0, rows=1, out_row=0, sums_row=0, columns=len(numbers), out_step=out.itemsize,
    )  # fmt: skip
    return out


def lay_down(source: str, target: str, numbers: np.ndarray, machine: Target) -> np.ndarray:
    """Samples read by the kernel `Pack`, one row without a border."""
    to, table = np.zeros(len(numbers), numpy_type(target)), np.zeros(1, np.int64)
    call(
        pack.Pack(source, target, 1), pack.ARGUMENTS, machine, to=to, x=numbers, rows_at=table, left_at=table,
        right_at=table, fill=table, planes=1, to_plane=0, x_plane=0, rows=1, to_row=0, x_step=numbers.itemsize, left=0,
        begin=0, middle=len(numbers), right=0,
    )  # fmt: skip
    return to


def convolve(
    x: np.ndarray, w: np.ndarray, out: np.ndarray, machine: Target, results: str = "cached", dilation: int = 1
) -> None:
    """``out[r, c] = sum_ij x[r + i, c + j*dilation] w[i, j]`` by the kernel for direct convolution; any row strides."""
    schedule = replace(direct.schedule_for(machine, x.dtype.name, len(w)), results=results)
    blocks = schedule.blocks(len(w))
    weights = np.concatenate([w[block.start : block.stop].T.ravel() for block in blocks])
    taps = np.array([[block.start * x.strides[0], w.shape[1]] for block in blocks], np.int64)
    full = sum(len(block) == schedule.block for block in blocks)
    call(
        schedule, direct.ARGUMENTS, machine, out=out, x=x, w=weights, taps=taps, planes=1, rows=out.shape[0],
        columns=out.shape[1], blocks=full, last_blocks=len(blocks) - full, out_plane=0, x_plane=0, w_plane=0,
        out_row=out.strides[0], x_row=x.strides[0], x_step=dilation * x.itemsize,
        lead=-out.ctypes.data % 64 // out.itemsize,
    )  # fmt: skip
