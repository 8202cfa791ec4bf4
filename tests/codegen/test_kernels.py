"""Compiled kernels: their values around the edges of vectors and tiles, their instructions, their text."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.codegen import Direct, Schedule, Target, schedule_for, why_not
from convkit.codegen.compile import assembly, build
from convkit.codegen.emit import emit
from convkit.codegen.target import binding, of_features

AVX512 = of_features("x86_64-unknown-linux-gnu", "skylake-avx512", {"avx512f": True, "fma": True, "avx2": True})
AVX2 = of_features("x86_64-unknown-linux-gnu", "haswell", {"avx2": True, "fma": True})
NEON = of_features("aarch64-unknown-linux-gnu", "neoverse-n1", {"neon": True})
TARGETS = {"avx512": AVX512, "avx2": AVX2, "neon": NEON}
KERNEL_ROWS = (1, 2, 3, 4, 5, 7, 8, 11, 15)

# A whole vector moved to or from the stack, and a fused multiply-add of vectors, as each assembler writes them.
SPILL = {
    "avx512": r"\tv.*[(]%rsp.*%zmm|\tv.*%zmm.*[(]%rsp",
    "avx2": r"\tv.*[(]%rsp.*%ymm|\tv.*%ymm.*[(]%rsp",
    "neon": r"\t(?:ld|st)[rp]\tq.*\[sp",
}
MULTIPLY_ADD = {
    "avx512": r"vfmadd\w+p[sd]\t.*%zmm",
    "avx2": r"vfmadd\w+p[sd]\t.*%ymm",
    "neon": r"fmla\t.*v\d+\.(4s|2d)",
}


@pytest.fixture(scope="module", autouse=True)
def every_target() -> None:
    binding().initialize_all_targets()
    binding().initialize_all_asmprinters()


def expected(x: np.ndarray, w: np.ndarray, counts: tuple[int, ...], dilation: tuple[int, ...]) -> np.ndarray:
    """The definition, one shifted product for each kernel element."""
    total = np.zeros((*x.shape[:2], *counts))
    for j in np.ndindex(w.shape[1:]):
        at = tuple(slice(i * d, i * d + n) for i, d, n in zip(j, dilation, counts))
        total += x[(..., *at)] * w[(slice(None), *j)].reshape(-1, *(1,) * len(counts))
    return total


def whole_numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Small integers: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def assert_right(counts: tuple[int, ...], kernel: tuple[int, ...], dilation: tuple[int, ...], dtype: str) -> None:
    spans = tuple(n + d * (k - 1) for n, k, d in zip(counts, kernel, dilation))
    x, w = whole_numbers((2, 3, *spans), dtype, 1), whole_numbers((3, *kernel), dtype, 2)
    out = np.full((2, 3, *counts), np.nan, dtype)
    Direct.prepare(w, dtype).run(x, out, dilation)
    assert np.array_equal(out, expected(x, w, counts, dilation))


def test_this_machine_compiles() -> None:
    assert why_not() is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel_rows", KERNEL_ROWS)
def test_every_tail(kernel_rows: int, dtype: str) -> None:
    """Rows around the register tile's, columns around one vector, a tile, and the tile of a single row."""
    lanes = 64 // np.dtype(dtype).itemsize
    edges = {
        edge
        for size in (lanes // 4, lanes // 2, lanes, 2 * lanes, 4 * lanes, 8 * lanes)
        for edge in (size - 1, size, size + 1)
    }
    for rows, columns in product((1, 3, 4, 5, 6, 8, 9, 10, 11), sorted({1, *edges})):
        assert_right((rows, columns), (kernel_rows, 3), (1, 1), dtype)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_size(data: st.DataObject) -> None:
    rank = data.draw(st.integers(2, 4))
    sizes = st.tuples(*[st.integers(1, 5)] * (rank - 2), st.integers(1, 20), st.integers(1, 70))
    kernels = st.tuples(*[st.integers(1, 3)] * (rank - 2), st.integers(1, 10), st.integers(1, 6))
    dilations = st.tuples(*[st.integers(1, 3)] * rank)
    dtype = data.draw(st.sampled_from(("float32", "float64")))
    assert_right(data.draw(sizes), data.draw(kernels), data.draw(dilations), dtype)


def test_strides_of_either_sign() -> None:
    x, w = whole_numbers((2, 1, 21, 40), "float32", 3), whole_numbers((1, 3, 4), "float32", 4)
    out = np.zeros((2, 1, 60, 50), "float32")
    block, target = x[::-1, :, ::-2], out[::-1, :, 20:2:-2, 7:44]
    Direct.prepare(w, "float32").run(block, target, (1, 1))
    assert np.array_equal(target, expected(block, w, (9, 37), (1, 1)))
    target[...] = 0
    assert not out.any()


def test_bits_do_not_depend_on_where_an_output_stands() -> None:
    source = np.random.default_rng(5)
    for dtype, kernel in product(("float32", "float64"), ((11, 5), (3, 3), (1, 9))):
        x = source.standard_normal((1, 1, 40 + kernel[0] - 1, 300 + kernel[1] - 1)).astype(dtype)
        direct = Direct.prepare(source.standard_normal((1, *kernel)), dtype)
        whole = np.empty((1, 1, 40, 300), dtype)
        direct.run(x, whole, (1, 1))
        for r, c, rows, columns in [(0, 0, 1, 1), (3, 5, 8, 33), (39, 260, 1, 40), (7, 1, 9, 15), (0, 100, 40, 3)]:
            part = np.empty((1, 1, rows, columns), dtype)
            direct.run(x[..., r : r + rows + kernel[0] - 1, c : c + columns + kernel[1] - 1], part, (1, 1))
            assert part.tobytes() == whole[..., r : r + rows, c : c + columns].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", TARGETS)
def test_sums_stay_in_registers(isa: str, dtype: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    for kernel_rows in KERNEL_ROWS:
        schedule = schedule_for(target, dtype, kernel_rows)
        text = assembly(emit(schedule, target.registers), target)
        assert re.findall(SPILL[isa], text) == [], schedule.name
        adds = len(re.findall(MULTIPLY_ADD[isa], text))
        assert adds >= schedule.rows * schedule.vectors * schedule.block, schedule.name
        assert len(build(emit(schedule, target.registers), target)) < 1 << 14, "the loops were unrolled"


def test_a_tile_too_large_for_the_registers_is_refused_and_would_spill() -> None:
    large = Schedule("float32", 16, rows=14, vectors=2, row_vectors=8, block=8, last_block=0)
    with pytest.raises(ValueError, match="38 vector registers"):
        emit(large, 32)
    assert AVX512 is not None
    assert re.search(SPILL["avx512"], assembly(emit(large, 64), AVX512))


def test_an_object_for_another_processor() -> None:
    assert NEON is not None
    machine_code = build(emit(schedule_for(NEON, "float32", 5), NEON.registers), NEON)
    assert machine_code[:4] == b"\x7fELF"
    assert int.from_bytes(machine_code[18:20], "little") == 183  # EM_AARCH64


def test_what_a_processor_must_have() -> None:
    assert AVX512 is not None
    assert (AVX512.vector_bytes, AVX512.registers) == (64, 32)
    assert AVX2 is not None
    assert (AVX2.vector_bytes, AVX2.registers) == (32, 16)
    assert of_features("x86_64-unknown-linux-gnu", "x86-64", {"avx2": False, "fma": False}) is None
    assert of_features("riscv64-unknown-linux-gnu", "generic", {}) is None


def test_the_blocks_hold_every_kernel_row_once() -> None:
    target = Target("x86_64-unknown-linux-gnu", "skylake-avx512", "", 64, 32)
    for kernel_rows in range(1, 70):
        schedule = schedule_for(target, "float32", kernel_rows)
        blocks = schedule.blocks(kernel_rows)
        assert [row for block in blocks for row in block] == list(range(kernel_rows))
        assert {len(block) for block in blocks} <= {schedule.block, schedule.last_block}


def test_nothing_outside_the_arrays_is_touched() -> None:
    """A fault would end the process, so it has one of its own."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("guarded.py"))], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr


def test_the_guard_pages_do_guard() -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("guarded.py")), "reach-out"], capture_output=True, check=False
    )
    assert done.returncode != 0
    assert b"untouched" not in done.stdout


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_that_shows_how_a_kernel_is_made(language: str) -> None:
    page = Path(__file__).parents[2] / "docs" / language / "kernels.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (failed, tried) == (0, 14)
