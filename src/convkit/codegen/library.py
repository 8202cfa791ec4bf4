"""The compiled kernels of this process: each made once, from the disk cache or anew."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import lru_cache

from convkit.codegen import cache, target
from convkit.codegen.compile import build, load
from convkit.codegen.emit import ARGUMENTS, emit
from convkit.codegen.schedule import ElementType, Schedule, schedule_for

_PROOF = "define void @proof(ptr %p) { store i64 42, ptr %p ret void }"

Function = Callable[..., None]
_functions: dict[Schedule, Function] = {}
_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    # Another thread may hold the lock while the process forks; its copy in the child would never be released.
    os.register_at_fork(after_in_child=_renew_lock)


def why_not() -> str | None:
    """Why no kernel can be compiled here, or None: ``jit-off``, ``no-llvmlite``, ``no-vectors`` or ``jit-fails``."""
    return target.missing() or _fails()


@lru_cache(maxsize=1)
def _fails() -> str | None:
    try:
        host = target.host()
        if host is None:
            return "no-vectors"
        answer = ctypes.c_int64()
        proof = load(build(_PROOF, host), "proof", host, [ctypes.c_void_p])
        proof(ctypes.addressof(answer))
    except (ImportError, OSError, RuntimeError):  # a broken library, or no executable memory
        return "jit-fails"
    return None if answer.value == 42 else "jit-fails"


def direct_kernel(dtype: ElementType, kernel_rows: int) -> tuple[Schedule, Function]:
    """The kernel for convolution kernels of ``kernel_rows`` rows, and its loop nest.

    Raises
    ------
    RuntimeError
        If no kernel can be compiled here; `why_not` says so beforehand.
    """
    host = target.host()
    if host is None:
        raise RuntimeError("no kernel can be compiled for this processor")
    schedule = schedule_for(host, dtype, kernel_rows)
    function = _functions.get(schedule)
    if function is None:
        with _lock:
            function = _functions.get(schedule)
            if function is None:
                function = _functions[schedule] = _made(schedule, host)
    return schedule, function


def _made(schedule: Schedule, host: target.Target) -> Function:
    ir = emit(schedule, host.registers)
    arguments = [ctypes.c_void_p if kind.startswith("ptr") else ctypes.c_int64 for kind in ARGUMENTS]
    key = cache.key_of(ir, host)
    kept = cache.fetch(key)
    if kept is not None:
        return load(kept, schedule.name, host, arguments)
    machine_code = build(ir, host)
    cache.keep(key, machine_code)
    return load(machine_code, schedule.name, host, arguments)
