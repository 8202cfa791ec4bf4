"""The processor that kernels are made for: its name, its features, how wide its vectors are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of processor, as LLVM names it.

    Attributes
    ----------
    triple, cpu, features : str
        System, processor and the instruction sets it has (``+avx2,+fma,...``).
    vector_bytes : int
        Width of a vector register.
    registers : int
        How many of them there are.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int

    def require(self, kernel: str, registers: int) -> None:
        """Raise a ValueError unless the sums, samples and weights of a kernel fit the vector registers."""
        if registers > self.registers:
            raise ValueError(f"{kernel} needs {registers} vector registers, the target has {self.registers}")

    @property
    def halves(self) -> bool:
        """Whether two half vectors are multiplied and added in the time of a whole one."""
        return self.vector_bytes == 64 and self.cpu == "znver4"

    @property
    def dots(self) -> bool:
        """Whether whole vectors of bytes and words are multiplied and added in groups by one instruction."""
        names = self.features.split(",")
        return "+avx512vnni" in names and "+avx512bw" in names if self.vector_bytes == 64 else "+avxvnni" in names


def of_features(triple: str, cpu: str, features: dict[str, bool]) -> Target | None:
    """The target with these features; None for one whose vectors or fused multiply-add are missing."""
    names = ",".join(f"{'+' if present else '-'}{name}" for name, present in sorted(features.items()))
    if triple.startswith(("x86_64", "amd64")) and features.get("fma"):
        if features.get("avx512f"):
            return Target(triple, cpu, names, 64, 32)
        if features.get("avx2"):
            return Target(triple, cpu, names, 32, 16)
    if triple.startswith(("aarch64", "arm64")):
        return Target(triple, cpu, names, 16, 32)
    return None


def missing() -> str | None:
    """What is known to stand in the way without loading LLVM: ``"jit-off"``, ``"no-llvmlite"`` or None."""
    if os.environ.get("CONVKIT_JIT", "").strip() == "0":
        return "jit-off"
    return None if _installed() else "no-llvmlite"


@lru_cache(maxsize=1)
def _installed() -> bool:
    return find_spec("llvmlite") is not None


@lru_cache(maxsize=1)
def binding() -> Any:
    """``llvmlite.binding``, ready to compile for this machine."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@lru_cache(maxsize=1)
def host() -> Target | None:
    """The target of this machine; None where no kernel can be made for it."""
    llvm = binding()
    return of_features(llvm.get_process_triple(), llvm.get_host_cpu_name(), dict(llvm.get_host_cpu_features()))
