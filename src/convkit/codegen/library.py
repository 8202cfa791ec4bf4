"""The compiled kernels of this process: each made once, from the disk cache or anew."""

from __future__ import annotations

import ctypes
import os
import threading
from functools import lru_cache
from typing import Protocol

from convkit.codegen import cache, target
from convkit.codegen.compile import build, load

_PROOF = "define void @proof(ptr %p) { store i64 42, ptr %p ret void }"


class Kernel(Protocol):
    """A kernel as data: hashable, with a name, and able to write itself for a target."""

    @property
    def name(self) -> str:
        """The function's name."""
        ...

    def module(self, target: target.Target) -> str:
        """Its LLVM IR."""
        ...


_addresses: dict[Kernel, int] = {}
_lock = threading.RLock()

if hasattr(os, "register_at_fork"):
    # A fork waits until no thread is compiling: the child has no such thread, and LLVM's locks would stay as they are.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


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
        with _lock:
            (at,) = load(build(_PROOF, host), ("proof",), host)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(at)(ctypes.addressof(answer))
    except (ImportError, OSError, RuntimeError):  # a broken library, or no executable memory
        return "jit-fails"
    return None if answer.value == 42 else "jit-fails"


def this_machine() -> target.Target:
    """The target that kernels are made for here.

    Raises
    ------
    RuntimeError
        If no kernel can be compiled here; `why_not` says so beforehand.
    """
    host = target.host()
    if host is None:
        raise RuntimeError("no kernel can be compiled for this processor")
    return host


def address_of(kernel: Kernel) -> int:
    """Where ``kernel`` stands in memory, compiled if it has not been.

    Raises
    ------
    RuntimeError
        If no kernel can be compiled here; `why_not` says so beforehand.
    """
    address = _addresses.get(kernel)
    if address is None:
        with _lock:
            address = _addresses.get(kernel)
            if address is None:
                host = this_machine()
                (address,) = functions(kernel.module(host), (kernel.name,), host)
                _addresses[kernel] = address
    return address


def functions(ir: str, names: tuple[str, ...], host: target.Target) -> tuple[int, ...]:
    """Where the functions of a module stand, from the disk cache or compiled now."""
    with _lock:
        key = cache.key_of(ir, host)
        machine_code = cache.fetch(key)
        if machine_code is None:
            machine_code = build(ir, host)
            cache.keep(key, machine_code)
        return load(machine_code, names, host)
