"""Compiled kernels: their values around the edges of vectors and tiles, their instructions, their text."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.codegen import Schedule, Target, pack, parallel, schedule_for, unpack, why_not
from convkit.codegen.compile import assembly, build
from convkit.codegen.numbers import STORED
from convkit.codegen.target import binding, of_features
from convkit.codegen.weights import order_for, taps
from tests.codegen.kernel_calls import AVX2, AVX512, NEON, TARGETS, call, convolve, lay_down, runnable

KERNEL_ROWS = (1, 2, 3, 4, 5, 7, 8, 11, 15)
MACHINES = pytest.mark.parametrize("machine", runnable(), ids=lambda target: f"{target.vector_bytes}-byte-vectors")
SUMS = ("float32", "float64")

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
STREAMED = {"avx512": r"vmovntp[sd]\t%zmm", "avx2": r"vmovntp[sd]\t%ymm", "neon": r"stnp\t"}


@pytest.fixture(scope="module", autouse=True)
def every_target() -> None:
    binding().initialize_all_targets()
    binding().initialize_all_asmprinters()


def expected(x: np.ndarray, w: np.ndarray, counts: tuple[int, int], dilation: int = 1) -> np.ndarray:
    """The definition, one shifted product for each kernel element."""
    total = np.zeros(counts)
    for i, j in np.ndindex(w.shape):
        total += x[i : i + counts[0], j * dilation : j * dilation + counts[1]].astype(float) * w[i, j]
    return total


def whole_numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Small integers: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def assert_right(
    counts: tuple[int, int], kernel: tuple[int, int], dtype: str, machine: Target, dilation: int = 1
) -> None:
    span = counts[0] + kernel[0] - 1, counts[1] + dilation * (kernel[1] - 1)
    x, w = whole_numbers(span, dtype, 1), whole_numbers(kernel, dtype, 2)
    out = np.full(counts, np.nan, dtype)
    convolve(x, w, out, machine, dilation=dilation)
    assert np.array_equal(out, expected(x, w, counts, dilation))


def test_this_machine_compiles() -> None:
    assert why_not() is None


@MACHINES
@pytest.mark.parametrize("dtype", SUMS)
@pytest.mark.parametrize("kernel_rows", KERNEL_ROWS)
def test_every_tail(kernel_rows: int, dtype: str, machine: Target) -> None:
    """Rows around the register tile's, columns around one vector, a tile, and the tile of a single row."""
    lanes = machine.vector_bytes // np.dtype(dtype).itemsize
    edges = {
        edge for size in (lanes // 2, lanes, 2 * lanes, 4 * lanes, 8 * lanes) for edge in (size - 1, size, size + 1)
    }
    for rows, columns in product((1, 3, 4, 5, 6, 8, 9, 10, 11), sorted({1, *edges} - {0})):
        assert_right((rows, columns), (kernel_rows, 3), dtype, machine)


@MACHINES
def test_any_size(machine: Target) -> None:
    @settings(max_examples=120, deadline=None, derandomize=True, database=None)
    @given(
        st.tuples(st.integers(1, 20), st.integers(1, 150)), st.tuples(st.integers(1, 10), st.integers(1, 6)),
        st.sampled_from(SUMS), st.integers(1, 3),
    )  # fmt: skip
    def check(counts: tuple[int, int], kernel: tuple[int, int], dtype: str, dilation: int) -> None:
        assert_right(counts, kernel, dtype, machine, dilation)

    check()


@MACHINES
def test_nothing_to_do_is_nothing_done(machine: Target) -> None:
    x, w, out = np.ones((4, 70), "float32"), np.ones((2, 2), "float32"), np.full((3, 69), 5, "float32")
    for rows, columns in ((0, 69), (3, 0), (0, 0)):
        convolve(x, w, out[:rows, :columns], machine)
    assert (out == 5).all()


@MACHINES
def test_strides_of_either_sign(machine: Target) -> None:
    x, w = whole_numbers((21, 40), "float32", 3), whole_numbers((3, 4), "float32", 4)
    out = np.zeros((60, 50), "float32")
    block, target = x[::-2], out[20:2:-2, 7:44]
    convolve(block, w, target, machine)
    assert np.array_equal(target, expected(block, w, (9, 37)))
    target[...] = 0
    assert not out.any()


@MACHINES
@pytest.mark.parametrize("dtype", SUMS)
def test_streamed_results(dtype: str, machine: Target) -> None:
    """Whatever stands before the first line of the cache and after the last: the same bits, and nothing beside them."""
    random = np.random.default_rng(7)
    item = np.dtype(dtype).itemsize
    x, w = random.standard_normal((16, 500)).astype(dtype), random.standard_normal((4, 3)).astype(dtype)
    for start, columns, rows in product(range(64 // item), (1, 15, 64, 65, 79, 128, 200), (1, 5, 7, 13)):
        memory = np.full(20 * 512 + 64, 3, dtype)
        first = -memory.ctypes.data % 64 // item
        grid = memory[first : first + 20 * 512].reshape(20, 512)
        out, plain = grid[2 : 2 + rows, start : start + columns], np.empty((rows, columns), dtype)
        convolve(x, w, out, machine, "streamed")
        convolve(x, w, plain, machine)
        assert out.tobytes() == plain.tobytes(), (start, columns, rows)
        out[...] = 3
        assert (memory == 3).all()


@MACHINES
def test_bits_do_not_depend_on_where_an_output_stands(machine: Target) -> None:
    source = np.random.default_rng(5)
    for dtype, kernel in product(SUMS, ((11, 5), (3, 3), (1, 9))):
        x = source.standard_normal((40 + kernel[0] - 1, 300 + kernel[1] - 1)).astype(dtype)
        w, whole = source.standard_normal(kernel).astype(dtype), np.empty((40, 300), dtype)
        convolve(x, w, whole, machine)
        for r, c, rows, columns in [(0, 0, 1, 1), (3, 5, 8, 33), (39, 260, 1, 40), (7, 1, 9, 15), (0, 100, 40, 3)]:
            part = np.empty((rows, columns), dtype)
            convolve(x[r : r + rows + kernel[0] - 1, c : c + columns + kernel[1] - 1], w, part, machine)
            assert part.tobytes() == whole[r : r + rows, c : c + columns].tobytes()


@MACHINES
@pytest.mark.parametrize("apart", [0, 1, -1, 2])
@pytest.mark.parametrize("source", ["float32", "uint8", "int16", "float64"])
def test_packed_rows(source: str, apart: int, machine: Target) -> None:
    """Marked rows and columns, rows in any order, columns before and after the middle."""
    numbers = np.random.default_rng(1).integers(0, 100, (5, 500)).astype(source)
    item, row = numbers.itemsize, numbers.strides[0]
    step = {0: 3, 1: 1, -1: -1, 2: 2}[apart]
    left, right = np.array([7, 2]) * item, np.array([390, 3, 3]) * item
    fill = np.array([2.5, 0], "float32")
    zeros = np.array([pack.ZEROS])
    rows = np.array([3 * row, pack.FILL, 0, pack.ZEROS, 2 * row])
    for middle in (0, 1, 7, 8, 15, 16, 17, 31, 33, 64, 100):
        begin = 200 * item
        to = np.full((6, 120), 9, "float32")
        call(
            pack.Pack(source, "float32", apart), pack.ARGUMENTS, machine, to=to, x=numbers, rows_at=rows,
            left_at=np.concatenate([left, zeros]), right_at=np.concatenate([right, [pack.FILL]]), fill=fill, planes=1,
            to_plane=0, x_plane=0, rows=5, to_row=to.strides[0], x_step=step * item, left=3, begin=begin, middle=middle,
            right=4,
        )  # fmt: skip
        picked = 200 + step * np.arange(middle)
        for at, row_at in enumerate(rows):
            if row_at > pack.FILL:
                here = numbers[row_at // row].astype("float32")
                inside = np.concatenate([here[[7, 2]], [0], here[picked], here[[390, 3, 3]], [2.5]])
            else:
                value = 2.5 if row_at == pack.FILL else 0.0
                inside = np.concatenate([[value] * 2, [0], [value] * (middle + 3), [2.5]])
            assert np.array_equal(to[at, : middle + 7], inside.astype("float32"))
        assert (to[:5, middle + 7 :] == 9).all()
        assert (to[5] == 9).all()


@MACHINES
@pytest.mark.parametrize("layout", ["contiguous", "strided", "complex", "strided-complex"])
@pytest.mark.parametrize("target", ["float32", "float64", "uint8", "int16", "int64"])
def test_unpacked_rows(target: str, layout: str, machine: Target) -> None:
    re, im = (np.random.default_rng(n).integers(0, 100, (3, 90)).astype("float32") for n in (1, 2))
    pairs, item = layout.endswith("complex"), np.dtype(target).itemsize
    width = 2 if pairs else 1
    step = -3 * width if layout.startswith("strided") else width
    for columns in (0, 1, 7, 8, 9, 15, 16, 17, 33, 64, 90):
        memory = np.full((4, 1000), 77, target)
        first = 700 if step < 0 else 0
        call(
            unpack.Unpack("float32", target, layout), unpack.ARGUMENTS, machine, out=(memory, first * item), sums=re,
            imaginary=im, planes=1, out_plane=0, sums_plane=0, rows=3, out_row=memory.strides[0],
            sums_row=re.strides[0], columns=columns, out_step=step * item,
        )  # fmt: skip
        wanted = np.full((4, 1000), 77, target)
        at = first + step * np.arange(columns)
        wanted[:3, at] = re[:, :columns]
        if pairs:
            wanted[:3, at + 1] = im[:, :columns]
        assert np.array_equal(memory, wanted)


def direct_schedules(target: Target, dtype: str) -> Iterator[Schedule]:
    """Every schedule that kernels of up to 15 rows, moved by strides of up to 4, ask for."""
    counts = {
        tuple(len(range(phase, rows, s)) for phase in range(min(s, rows))) for rows in range(1, 16) for s in range(1, 5)
    }
    found = {schedule_for(target, dtype, *count) for count in counts}
    yield from sorted(found | {replace(schedule, results="streamed") for schedule in found}, key=lambda s: s.name)


@pytest.mark.parametrize("dtype", SUMS)
@pytest.mark.parametrize("isa", TARGETS)
def test_sums_stay_in_registers(isa: str, dtype: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    for schedule in direct_schedules(target, dtype):
        ir = schedule.module(target)
        text = assembly(ir, target)
        assert re.findall(SPILL[isa], text) == [], schedule.name
        adds = len(re.findall(MULTIPLY_ADD[isa], text))
        assert adds >= schedule.rows * schedule.vectors * schedule.block, schedule.name
        assert bool(re.search(STREAMED[isa], text)) == (schedule.results == "streamed")
        assert len(build(ir, target)) < 1 << 15, "the loops were unrolled"


@pytest.mark.parametrize("isa", TARGETS)
def test_nothing_is_spilled_on_the_way_in_and_out(isa: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    layouts = ("contiguous", "strided", "complex", "strided-complex")
    kernels = [pack.Pack(source, t, apart) for source, t, apart in product(STORED, SUMS, (0, 1, -1, 2))]
    kernels += [unpack.Unpack(source, t, layout) for source, t, layout in product(SUMS, STORED, layouts)
                if (source, t) != ("float64", "bfloat16")]  # fmt: skip
    for kernel in kernels:
        assert re.findall(SPILL[isa], assembly(kernel.module(target), target)) == [], kernel.name


def test_halves_and_bytes_are_read_as_vectors() -> None:
    assert AVX512 is not None
    server = replace(AVX512, features="+avx512f,+avx512bw,+avx512vl,+avx512dq,+f16c,+fma,+avx2")
    for source, instruction in (
        ("float16", r"vcvtph2ps.*%zmm"),
        ("uint8", r"vpmovzxbd.*%zmm"),
        ("int16", r"vpmovsxwd.*%zmm"),
    ):
        assert re.search(instruction, assembly(pack.Pack(source, "float32").module(server), server)), source


def test_a_tile_too_large_for_the_registers_is_refused_and_would_spill() -> None:
    large = Schedule("float32", 16, rows=14, vectors=2, row_vectors=8, block=8, last_block=0)
    assert AVX512 is not None
    with pytest.raises(ValueError, match="38 vector registers"):
        large.module(AVX512)
    roomy = large.module(replace(AVX512, registers=64))
    assert re.search(SPILL["avx512"], assembly(roomy, AVX512))
    with pytest.raises(ValueError, match="the last block is one row shorter"):
        replace(large, rows=4, block=4, last_block=2).module(AVX512)


@pytest.mark.parametrize("ir", ["direct", "pack", "unpack", "parallel"])
def test_an_object_for_another_processor(ir: str) -> None:
    assert NEON is not None
    modules = {
        "direct": lambda: schedule_for(NEON, "float32", 5).module(NEON),
        "pack": lambda: pack.Pack("float16", "float32", 2).module(NEON),
        "unpack": lambda: unpack.Unpack("float64", "float16", "complex").module(NEON),
        "parallel": lambda: parallel.module(parallel.pause_of(NEON.triple)),
    }
    machine_code = build(modules[ir](), NEON)
    assert machine_code[:4] == b"\x7fELF"
    assert int.from_bytes(machine_code[18:20], "little") == 183  # EM_AARCH64


def test_waiting_threads_leave_the_core_to_others() -> None:
    assert AVX2 is not None
    assert NEON is not None
    assert "\tpause" in assembly(parallel.module(parallel.pause_of(AVX2.triple)), AVX2)
    assert "\tyield" in assembly(parallel.module(parallel.pause_of(NEON.triple)), NEON)
    assert parallel.pause_of("riscv64-unknown-linux-gnu") == ""


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
        for stride in (1, 2, 3, 4, 7):
            counts = [len(range(phase, kernel_rows, stride)) for phase in range(min(stride, kernel_rows))]
            schedule = schedule_for(target, "float32", *counts)
            for count in counts:
                blocks = schedule.blocks(count)
                assert [row for block in blocks for row in block] == list(range(count))
                assert {len(block) for block in blocks} <= {schedule.block, schedule.last_block} - {0}


def test_an_order_reads_every_element_once() -> None:
    for shape, apart in product(
        [(1, 9), (5, 4), (7, 3), (2, 3, 5), (3, 8, 6)], [(1, 1), (2, 1), (1, 2), (2, 3), (4, 4)]
    ):
        order = order_for(shape, "float32", apart)
        assert sorted(order.elements.tolist()) == list(range(int(np.prod(shape))))
        at = 0
        for block, (offset, columns) in zip(
            order.blocks, taps(order, [[10**a * i for i in range(n)] for a, n in enumerate(shape)])
        ):
            assert offset == sum(10**a * i for a, i in enumerate(block.corner))
            assert columns == block.columns
            part = np.array(np.unravel_index(order.elements[at : at + block.rows * columns], shape)).T
            steps = [(c * apart[1], r * apart[0]) for c in range(columns) for r in range(block.rows)]
            here = [(*block.corner[:-2], block.corner[-2] + r, block.corner[-1] + c) for c, r in steps]
            assert part.tolist() == [list(element) for element in here]
            at += block.rows * columns


def test_a_row_of_bytes_is_read_without_its_neighbours() -> None:
    for machine in runnable():
        for count in (1, 15, 16, 17, 40):
            numbers = np.arange(count, dtype=np.uint8)
            assert lay_down("uint8", "float32", numbers, machine).tolist() == numbers.tolist()


def guarded(*words: str) -> subprocess.CompletedProcess[str]:
    """A fault would end the process, so it has one of its own."""
    program = [sys.executable, "-m", "tests.codegen.guarded", *words]
    return subprocess.run(program, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("kernel", ["direct", "pack", "unpack", "look", "parts"])
def test_nothing_outside_the_arrays_is_touched(kernel: str) -> None:
    done = guarded(kernel)
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr


@pytest.mark.parametrize("kernel", ["direct", "pack", "unpack", "look", "parts"])
def test_the_guard_pages_do_guard(kernel: str) -> None:
    done = guarded(kernel, "reach-out")
    assert done.returncode != 0
    assert "untouched" not in done.stdout


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_that_shows_how_a_kernel_is_made(language: str) -> None:
    page = Path(__file__).parents[2] / "docs" / language / "kernels.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert failed == 0
    assert tried > 15
