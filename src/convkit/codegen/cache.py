"""Compiled objects, kept on disk: verified when they are read, built anew where anything is wrong with them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from convkit.codegen.target import Target, binding
from convkit.storage import cache_file, write_whole

_DIGEST = hashlib.sha256().digest_size


def key_of(ir: str, target: Target) -> str:
    """What decides the machine code: the IR, LLVM's version, the processor."""
    llvm = ".".join(map(str, binding().llvm_version_info))
    parts = (ir, llvm, target.triple, target.cpu, target.features)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def path_of(key: str) -> Path | None:
    """Where the object with this key is kept."""
    return cache_file(f"kernels/{key}.o")


def fetch(key: str) -> bytes | None:
    """The object kept under ``key``; None if there is none, or it is not the one that was written there."""
    path = path_of(key)
    try:
        stored = path.read_bytes() if path is not None else b""
    except OSError:
        return None
    digest, machine_code = stored[:_DIGEST], stored[_DIGEST:]
    return machine_code if machine_code and digest == _checksum(key, machine_code) else None


def keep(key: str, machine_code: bytes) -> bool:
    """Keep an object; False where the cache folder cannot be written, which does no harm."""
    return write_whole(path_of(key), _checksum(key, machine_code) + machine_code)


def _checksum(key: str, machine_code: bytes) -> bytes:
    """Covers the key too, so that an object under another's name is not taken for it."""
    return hashlib.sha256(key.encode() + machine_code).digest()
