"""The inner loop that is cut out of a kernel's machine code, and what is counted in it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from convkit.codegen import listing, schedule_for
from convkit.codegen.target import Target, binding, of_features

AVX512 = of_features("x86_64-unknown-linux-gnu", "znver4", {"avx512f": True, "avx2": True, "fma": True})
AVX2 = of_features("x86_64-unknown-linux-gnu", "haswell", {"avx2": True, "fma": True})
NEON = of_features("aarch64-unknown-linux-gnu", "neoverse-n1", {"neon": True})


@pytest.fixture(scope="module", autouse=True)
def every_target() -> None:
    binding().initialize_all_targets()
    binding().initialize_all_asmprinters()


@pytest.mark.parametrize("target", [AVX512, AVX2, NEON], ids=["avx512", "avx2", "neon"])
@pytest.mark.parametrize("rows", [1, 3, 4, 7])
def test_the_inner_loop_of_direct_convolution_is_what_its_schedule_says(target: Target, rows: int) -> None:
    schedule = schedule_for(target, "float32", rows)
    loop = listing.inner_loop(schedule, target)
    assert loop.kernel == schedule.name
    assert loop.multiply_adds == max(schedule.rows * schedule.vectors, schedule.row_vectors) * schedule.block
    assert loop.spills == loop.stores == 0
    samples = (schedule.rows + schedule.block - 1) * schedule.vectors
    assert loop.multiply_adds + schedule.block >= loop.loads >= samples / 4
    assert schedule.rows * schedule.vectors <= loop.registers <= target.registers
    assert loop.vector_bytes == target.vector_bytes
    first, *_, last = loop.text.splitlines()
    assert first.endswith(":")
    assert first[:-1] in last, "a loop jumps back to where it begins"


X86 = """\
start:
	vmovups	(%rdi), %zmm0
	jmp	.LBB0_1
.LBB0_1:                                # the loop
	vbroadcastss	4(%rsi), %zmm1
	vfmadd231ps	64(%rdx), %zmm1, %zmm17
	vfmadd213pd	%zmm2, %zmm1, %zmm3
	vfnmadd231ps	%ymm2, %ymm1, %ymm3
	vpdpbusd	%zmm2, %zmm1, %zmm30
	vmovups	%zmm3, 128(%rsp)                # 64-byte Spill
	leaq	(%rdx,%r10), %r15
	.p2align	4
	jl	.LBB0_1
	vmovups	%zmm0, (%rdi)
	retq
"""
ARM = """\
nest:
	ldr	q0, [x0]
.LBB0_1:
	ldp	q1, q2, [x1]
	fmla	v17.4s, v1.4s, v0.s[0]
	fmla	v18.4s, v2.4s, v0.s[0]
	str	q3, [sp, #16]                   // 16-byte Folded Spill
	b.lt	.LBB0_1
	ret
"""


@dataclass(frozen=True)
class Nothing:
    name: str = "nothing"

    def module(self, target: Target) -> str:
        return ""


@pytest.mark.parametrize(
    ("text", "target", "counts"),
    [(X86, AVX512, (4, 2, 1, 5, 1)), (ARM, NEON, (2, 1, 1, 6, 1))],
    ids=["x86", "aarch64"],
)
def test_what_is_counted(text: str, target: Target, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "assembly", lambda ir, target: text)
    loop = listing.inner_loop(Nothing(), target)
    assert (loop.multiply_adds, loop.loads, loop.stores, loop.registers, loop.spills) == counts
    assert loop.text.splitlines()[0] == ".LBB0_1:"
    assert "Spill" not in loop.text
