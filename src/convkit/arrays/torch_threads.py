"""Torch's own threads, which are awake after each of its operators: layers on tensors are computed by them."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import torch


def team() -> tuple[Any, int]:
    """``GOMP_parallel`` of the OpenMP runtime that torch has loaded, and where ``omp_get_thread_num`` is.

    None and 0 where it uses another. Nothing is loaded: a second runtime would have threads of its own.
    """
    loaded = getattr(os, "RTLD_NOLOAD", None)
    if loaded is None or "OpenMP" not in torch.__config__.parallel_info():
        return None, 0
    names = [path.name for path in (Path(torch.__file__).parent / "lib").glob("lib*omp*.so*")]
    for name in (*names, "libgomp.so.1", "libiomp5.so"):
        try:
            runtime = ctypes.CDLL(name, mode=loaded | os.RTLD_LAZY)
            found, number = runtime.GOMP_parallel, runtime.omp_get_thread_num
        except (OSError, AttributeError):
            continue
        found.restype = None
        found.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        return found, ctypes.cast(number, ctypes.c_void_p).value or 0
    return None, 0
