"""The inner loop of a kernel as text: cut out of the machine code, and counted."""

from __future__ import annotations

import re
from dataclasses import dataclass

from convkit.codegen.compile import assembly
from convkit.codegen.library import Kernel
from convkit.codegen.target import Target

MULTIPLY_ADD = re.compile(
    r"^\s*(?:v?f(?:n)?m(?:add|sub|la|ls)|vpdp|vdpbf16|vpmadd|bfdot|bfmla|[su]?[us]dot|[sum]*m?mla)\w*\b"
)
"""Instructions that multiply and add at once, on x86 and on aarch64."""

_LABEL = re.compile(r"^([.\w$]+):")
_JUMP = re.compile(r"^\s*(?:j\w+|b|b\.\w+|br|cbn?z|tbn?z|ret\w*)\b")
_NOTE = re.compile(r"\s*(?:#|//|;).*$")
_VECTOR = {
    "x86": (re.compile(r"%[xyz]mm(\d+)"), re.compile(r"\(%rsp"), re.compile(r"\(")),
    "aarch64": (re.compile(r"\b[vqd](\d+)\b"), re.compile(r"\[sp"), re.compile(r"\[(?:x\d+|sp)")),
}


@dataclass(frozen=True, slots=True)
class Listing:
    """The basic block of a kernel in which most is multiplied and added.

    Attributes
    ----------
    kernel, target : str
        The kernel's name and the processor's.
    vector_bytes : int
        Width of a vector register.
    multiply_adds, loads, stores : int
        Vector instructions of one turn: those that multiply and add; those that read memory, which may be the same;
        those that write memory.
    registers : int
        Vector registers that are touched.
    spills : int
        Vector instructions that go to the stack.
    text : str
        The instructions, as the assembler writes them.
    """

    kernel: str
    target: str
    vector_bytes: int
    multiply_adds: int
    loads: int
    stores: int
    registers: int
    spills: int
    text: str


def inner_loop(kernel: Kernel, target: Target) -> Listing:
    """The inner loop of ``kernel`` as it is compiled for ``target``."""
    text = max(_blocks(assembly(kernel.module(target), target)), key=lambda block: sum(map(_multiplies, block)))
    registers, stack, memory = _VECTOR["aarch64" if target.triple.startswith(("aarch64", "arm64")) else "x86"]
    vectors = [line for line in text if registers.search(line)]
    stores = [line for line in vectors if _stores(line)]
    return Listing(
        kernel=kernel.name,
        target=target.cpu,
        vector_bytes=target.vector_bytes,
        multiply_adds=sum(map(_multiplies, vectors)),
        loads=sum(1 for line in vectors if memory.search(line) and line not in stores),
        stores=len(stores),
        registers=len({number for line in vectors for number in registers.findall(line)}),
        spills=sum(1 for line in vectors if stack.search(line)),
        text="\n".join(text),
    )


def _multiplies(line: str) -> bool:
    return MULTIPLY_ADD.match(line) is not None


def _stores(line: str) -> bool:
    """x86 names what is written last, aarch64 has instructions that do nothing else."""
    return line.rstrip().endswith(")") or re.match(r"\s*st[rpn1]\w*\b", line) is not None


def _blocks(text: str) -> list[list[str]]:
    """Instructions between labels and jumps, each with its label."""
    blocks: list[list[str]] = [[]]
    for raw in text.splitlines():
        line = _NOTE.sub("", raw).rstrip()
        if _LABEL.match(line):
            blocks.append([line])
        elif line.strip() and not line.strip().startswith("."):
            blocks[-1].append(line)
            if _JUMP.match(line):
                blocks.append([])
    return blocks
