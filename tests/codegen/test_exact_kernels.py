"""Kernels for small integers: their instructions, that they keep to the registers, and what they store."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from convkit.codegen import Target, schedule_for
from convkit.codegen.arithmetic import ARITHMETIC, Dots
from convkit.codegen.compile import assembly, build
from convkit.codegen.interleave import ARGUMENTS, Interleave
from convkit.codegen.library import address_of
from convkit.codegen.step import BASES
from convkit.codegen.target import binding, host, of_features

X86, WIDE = "x86_64-unknown-linux-gnu", {"avx2": True, "fma": True, "avx512f": True, "avx512bw": True, "avx512vl": True}
VNNI = of_features(X86, "cascadelake", {**WIDE, "avx512dq": True, "avx512vnni": True})
AVXVNNI = of_features(X86, "alderlake", {"avx2": True, "fma": True, "avxvnni": True})
AVX2 = of_features(X86, "haswell", {"avx2": True, "fma": True})
NEON = of_features("aarch64-unknown-linux-gnu", "neoverse-n1", {"neon": True})
TARGETS = {"vnni": VNNI, "avxvnni": AVXVNNI, "avx2": AVX2, "neon": NEON}
SPILL = {
    64: r"\tv.*[(]%rsp.*%zmm|\tv.*%zmm.*[(]%rsp",
    32: r"\tv.*[(]%rsp.*%ymm|\tv.*%ymm.*[(]%rsp",
    16: r"\t(?:ld|st)[rp]\tq.*\[sp",
}
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
SUMS = [("int32", 4), ("int32", 2), ("int32", 1), ("float32", 1), ("float64", 1)]
FITS = ("saturate", "check", "wrap")


@pytest.fixture(scope="module", autouse=True)
def every_target() -> None:
    binding().initialize_all_targets()
    binding().initialize_all_asmprinters()


def test_who_has_dot_products() -> None:
    assert [machine is not None and machine.dots for machine in TARGETS.values()] == [True, True, False, False]
    assert not of_features(X86, "skylake-avx512", WIDE).dots


@pytest.mark.parametrize("isa", ["vnni", "avxvnni"])
@pytest.mark.parametrize("name", [name for name, kind in ARITHMETIC.items() if isinstance(kind, Dots)])
def test_dot_products_stay_in_registers(name: str, isa: str) -> None:
    machine = TARGETS[isa]
    # Where adding apart is as quick, words are multiplied by an instruction of their own.
    instruction = "vpdpbusd" if ARITHMETIC[name].group == 4 else "(?:vpdpwssd|vpmaddwd)"
    register = "ymm" if isa == "avxvnni" else "zmm"
    for rows in (1, 2, 3, 4, 5, 7, 9, 15):
        schedule = schedule_for(machine, name, rows)
        text = assembly(schedule.module(machine), machine)
        assert re.findall(SPILL[machine.vector_bytes], text) == [], schedule.name
        found = re.findall(rf"{instruction}\t.*%{register}", text)
        assert len(found) >= schedule.rows * schedule.vectors * schedule.block, schedule.name
        assert len(build(schedule.module(machine), machine)) < 1 << 14, "the loops were unrolled"


@pytest.mark.parametrize("isa", TARGETS)
def test_stores_stay_in_registers(isa: str) -> None:
    machine = TARGETS[isa]
    for (source, phases), target, fit in product(SUMS, INTEGERS, FITS):
        if phases > 1 and not machine.dots:
            continue
        kernel = Interleave(source, target, phases, fit)
        text = assembly(kernel.module(machine), machine)
        assert re.findall(SPILL[machine.vector_bytes], text) == [], kernel.name
        if kernel.packs:
            assert re.search("vpack[su]sdw", text), kernel.name
        if kernel.packs and target in ("uint8", "int8"):
            assert ("vpackuswb" if target == "uint8" else "vpacksswb") in text


def test_a_saturating_store_takes_few_instructions() -> None:
    """64 bytes a turn: four loads, two packs of words, one of bytes, one shuffle, one store."""
    text = assembly(Interleave("int32", "uint8", 4, "saturate").module(VNNI), VNNI)
    turn = re.search(r"vpackssdw.*?\n(?:\t.*\n)*", text)
    assert turn is not None
    vectors = [line for line in turn[0].splitlines() if line.startswith("\tv")]
    assert len(vectors) <= 8, vectors


@pytest.mark.parametrize("isa", ["vnni", "avx2"])
def test_float_sums_are_stored_from_the_registers(isa: str) -> None:
    machine = TARGETS[isa]
    for sums, target, rows in product(("float32", "float64"), (*INTEGERS, "float16"), (1, 3, 4, 7)):
        if (sums, target) == ("float64", "float16") or (isa == "avx2" and target in ("uint32", "int64", "uint64")):
            continue  # rounded twice; and AVX2 converts no vectors to these
        schedule = replace(schedule_for(machine, sums, rows), stored=target)
        text = assembly(schedule.module(machine), machine)
        inner = re.findall(SPILL[machine.vector_bytes], text)
        assert inner == [], schedule.name


def stored(kernel: Interleave, sums: np.ndarray, columns: int) -> tuple[np.ndarray, int]:
    """What the kernel makes of sums, (phases, rows, columns of a phase), and the status."""
    rows = sums.shape[1]
    out, status = np.zeros((rows, columns), kernel.target), np.zeros(1, np.int64)
    places = {"out": out, "sums": sums, "status": status}
    bases = (ctypes.c_int64 * BASES)(*(array.ctypes.data for array in places.values()))
    (step,) = ARGUMENTS.steps(
        0, 1, **{name: (n, 0) for n, name in enumerate(places)}, planes=1, out_plane=0, sums_plane=0, rows=rows,
        out_row=out.strides[0], sums_row=sums.strides[1], phase=sums.strides[0], columns=columns,
    )  # fmt: skip
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address_of(kernel))
    function(ctypes.addressof(bases), step.ctypes.data + 8)
    return out, int(status[0])


@pytest.mark.parametrize("target", INTEGERS)
@pytest.mark.parametrize(("source", "phases"), SUMS)
def test_what_is_stored(source: str, phases: int, target: str) -> None:
    machine: Target | None = host()
    if machine is None or (phases > 1 and not machine.dots):
        pytest.skip("no dot products on this processor")
    limits, most = np.iinfo(target), {"int32": 2**31 - 1, "float32": 2**24, "float64": 2**53}[source]
    edges = [
        v + d for v in (int(limits.min), int(limits.max), 0, most, -most) for d in (-1, 0, 1) if abs(v + d) <= most
    ]
    source_of = np.random.default_rng(1)
    for columns in (*range(1, 18), 31, 63, 64, 65, 66, 127, 128, 129, 130, 257):
        numbers = source_of.choice(np.array(edges, object), (3, columns))
        along = -(-columns // phases) + 70
        sums = np.full((phases, 3, along), most, source)  # what lies beyond the last column must not be seen
        for c in range(columns):
            sums[c % phases, :, c // phases] = numbers[:, c].astype(source)
        low, high = max(int(limits.min), -most), min(int(limits.max), most)
        small = np.clip(numbers, low, high)
        for fit in FITS:
            out, status = stored(Interleave(source, target, phases, fit), sums, columns)
            bits = 8 * limits.bits // 8
            wrapped = np.array([int(v) & ((1 << bits) - 1) for v in numbers.flat], np.uint64).astype(f"uint{bits}")
            expected = wrapped.view(target).reshape(numbers.shape) if fit == "wrap" else small.astype(target)
            assert np.array_equal(out, expected), (columns, fit)
            assert status == int(fit == "check" and bool((numbers != small).any())), (columns, fit)
