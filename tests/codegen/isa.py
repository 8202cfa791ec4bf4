"""The processors that kernels are written for in tests, and how their assemblers write what tests look for."""

from __future__ import annotations

import re

from convkit.codegen.compile import assembly
from convkit.codegen.target import Target, binding, of_features

TARGETS = {
    "avx512": of_features("x86_64-unknown-linux-gnu", "skylake-avx512", {"avx512f": True, "fma": True, "avx2": True}),
    "avx2": of_features("x86_64-unknown-linux-gnu", "haswell", {"avx2": True, "fma": True}),
    "neon": of_features("aarch64-unknown-linux-gnu", "neoverse-n1", {"neon": True}),
}
SPILL = {
    "avx512": r"\tv.*[(]%rsp.*%[xyz]mm|\tv.*%[xyz]mm.*[(]%rsp",
    "avx2": r"\tv.*[(]%rsp.*%[xy]mm|\tv.*%[xy]mm.*[(]%rsp",
    "neon": r"\t(?:ld|st)[rp]\tq.*\[sp",
}
"""A vector moved to or from the stack."""


def written(kernel: object, isa: str) -> tuple[str, list[str]]:
    """The assembly of a kernel, and what of it moves vectors to or from the stack."""
    binding().initialize_all_targets()
    binding().initialize_all_asmprinters()
    target = TARGETS[isa]
    assert isinstance(target, Target)
    text = assembly(kernel.module(target), target)  # type: ignore[attr-defined]
    return text, re.findall(SPILL[isa], text)
