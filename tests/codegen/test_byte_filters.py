"""Filters of bytes in one pass (`byte-box`, `byte-separable`): values, boundaries, tails, layouts, bits, registers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import byte_box, byte_separable
from convkit.algorithms.support import byte_tiles
from convkit.codegen.byte_boxes import ByteBox, byte_box_for
from convkit.codegen.byte_rounding import rounding
from convkit.codegen.byte_taps import ByteTaps
from convkit.codegen.library import this_machine
from convkit.errors import AccuracyError
from convkit.planner.structure import cross_factors
from tests.codegen.isa import TARGETS, written

BOUNDARIES = ("zero", "edge", "reflect", "symmetric", "wrap", ("reflect", "zero"))
FEW = pytest.mark.skipif(this_machine().registers < byte_separable.REGISTERS, reason="too few vector registers")
METHODS = ["byte-box", pytest.param("byte-separable", marks=FEW)]


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    """As many threads afterwards as before."""
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)
    byte_tiles.program.cache_clear()


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def box(rows: int, columns: int, scale: float = 1.0) -> np.ndarray:
    return np.full((rows, columns), np.float32(scale / (rows * columns)))


def bell(size: int) -> np.ndarray:
    places = np.arange(size) - (size - 1) / 2
    values = np.exp(-0.5 * (places / (size / 5 + 0.3)) ** 2)
    return (values / values.sum()).astype(np.float32)


def any_taps(size: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(size) - 0.3).astype(np.float32)


def assert_sums(x: np.ndarray, k: np.ndarray, operation: str, mode: str, **options: object) -> None:
    """A box is its exact sum, scaled and rounded in float32: nothing is left to a tolerance."""
    verb = getattr(ck, operation)
    ours = verb(x, k, mode, dtype="uint8", method="byte-box", **options)
    sums = verb(x.astype(np.int64), np.ones(k.shape, np.int64), mode, **options)
    assert ours.dtype == np.uint8
    assert np.array_equal(ours, np.clip(np.rint(sums.astype(np.float32) * k.flat[0]), 0, 255))


def assert_products(x: np.ndarray, k: np.ndarray, operation: str, mode: str, **options: object) -> None:
    """Any kernel: the float64 result of the definition, rounded, where no two integers are equally near."""
    verb = getattr(ck, operation)
    ours = verb(x, k, mode, dtype="uint8", method="byte-separable", **options)
    exact = verb(x.astype(float), k.astype(float), mode, method="direct", **options)
    sizes = verb(x.astype(float), np.abs(k).astype(float), mode, method="direct", **options)
    word = {"convolve": "convolution", "correlate": "correlation"}[operation]
    convolver = ck.Convolver(k, word, mode, dtype="uint8", method="byte-separable", **options)
    bound = convolver.plan(x.shape, "uint8").error_bound
    assert bound.kind == "elementwise"
    allowed = 0.5 + bound.factor * sizes
    assert (np.abs(ours - np.clip(exact, 0, 255)) <= allowed).all()


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_boxes_at_every_boundary(boundary: object) -> None:
    sides = boundary if isinstance(boundary, str) else (boundary, boundary)
    for shape, size in product([(5, 7), (40, 61), (150, 131)], [(3, 3), (2, 5), (1, 4), (6, 1), (15, 15), (16, 16)]):
        for operation, mode in (("convolve", "full"), ("correlate", "same")):
            assert_sums(image(*shape), box(*size), operation, mode, boundary=sides)


@FEW
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_products_at_every_boundary(boundary: object) -> None:
    sides = boundary if isinstance(boundary, str) else (boundary, boundary)
    for shape, size in product([(5, 7), (40, 61), (150, 131)], [(3, 3), (2, 5), (7, 7), (21, 4)]):
        bells = np.outer(bell(size[0]), bell(size[1]))
        for operation, mode in (("convolve", "full"), ("correlate", "same")):
            assert_products(image(*shape), bells, operation, mode, boundary=sides)
            skew = np.outer(any_taps(size[0], 1), any_taps(size[1], 2))
            assert_products(image(*shape), skew, operation, mode, boundary=sides)


@pytest.mark.parametrize("method", METHODS)
def test_every_tail(method: str) -> None:
    """Columns, and rows, around those of vectors and strips."""
    check, k = {
        "byte-box": (assert_sums, box(3, 4)),
        "byte-separable": (assert_products, np.outer(any_taps(3, 3), bell(4))),
    }[method]
    for columns in (*range(1, 70), *range(120, 135), *range(190, 196), 255, 256, 257):
        check(image(9, columns), k, "correlate", "same", boundary="reflect" if columns > 3 else "zero")
    for rows in (*range(1, 20), 63, 64, 65, 127, 129):
        check(image(rows, 40), k, "correlate", "same", boundary="edge")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_size(data: st.DataObject) -> None:
    near = st.sampled_from([1, 2, 3, 8, 9, 31, 33, 63, 64, 65, 127, 129])
    shape = data.draw(st.tuples(near, st.one_of(near, st.integers(1, 300))))
    size = data.draw(st.tuples(st.integers(1, 16), st.integers(2, 16)))
    boundary = data.draw(st.sampled_from(["zero", "reflect", "wrap", "edge", "symmetric"]))
    operation, mode = (
        data.draw(st.sampled_from(["convolve", "correlate"])),
        data.draw(st.sampled_from(["full", "same"])),
    )
    x, scale = image(*shape), data.draw(st.sampled_from([1.0, 0.5, 3.0, -1.0]))
    assert_sums(x, box(*size, scale), operation, mode, boundary=boundary)
    if this_machine().registers >= byte_separable.REGISTERS:
        mirrored = data.draw(st.tuples(st.booleans(), st.booleans()))
        factors = [bell(n) if even else any_taps(n, n) for n, even in zip(size, mirrored)]
        assert_products(x, scale * np.outer(*factors), operation, mode, boundary=boundary)


@pytest.mark.parametrize("method", METHODS)
def test_bits_depend_on_no_cut(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, k = image(300, 333), box(9, 8) if method == "byte-box" else np.outer(bell(9), any_taps(8, 1))
    options = {"boundary": "reflect", "dtype": "uint8", "method": method}
    reference = ck.convolve(x, k, "same", **options)
    for threads in (1, 2, 3):
        ck.set_num_threads(threads)
        assert ck.convolve(x, k, "same", **options).tobytes() == reference.tobytes()
    with monkeypatch.context() as patch:
        for rows, columns in ((3, 40), (10, 64), (1000, 1000)):
            patch.setattr(byte_tiles, "_height", lambda problem, rows=rows: rows)
            patch.setattr(byte_tiles, "COLUMNS", columns)
            byte_tiles.program.cache_clear()
            assert ck.Convolver(k, mode="same", **options).apply(x).tobytes() == reference.tobytes()
    byte_tiles.program.cache_clear()
    batch = np.stack([x, x[::-1], x])
    for steps in (1 << 13, 8):
        monkeypatch.setattr(byte_tiles, "PROGRAM_STEPS", steps)
        many = ck.convolve(batch, k, "same", axes=(1, 2), **options)
        assert many[0].tobytes() == many[2].tobytes() == reference.tobytes()


@FEW
def test_a_batch_chooses_as_its_samples_do() -> None:
    for k in (box(3, 3), np.outer(bell(7), bell(7))):
        convolver = ck.Convolver(k, mode="same", dtype="uint8", axes=(-2, -1))
        alone, many = (convolver.plan(shape, "uint8").choice for shape in ((300, 2000), (40, 300, 2000)))
        assert alone == many
        assert alone.startswith("byte-")


@pytest.mark.parametrize("boundary", ["zero", "reflect", "wrap"])
@pytest.mark.parametrize("method", METHODS)
def test_channels_side_by_side(method: str, boundary: str) -> None:
    """All channels of an image at once; their bits are those of each channel alone."""
    for channels, size in product((2, 3, 4, 9), ((3, 3), (6, 7))):
        x = image(75, 91, channels)
        k = box(*size) if method == "byte-box" else np.outer(any_taps(size[0], 4), bell(size[1]))
        options = {"boundary": boundary, "dtype": "uint8", "method": method}
        together = ck.convolve(x, k, "same", axes=(0, 1), **options)
        for channel in range(channels):
            alone = ck.convolve(np.ascontiguousarray(x[..., channel]), k, "same", **options)
            assert together[..., channel].tobytes() == alone.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_layouts(method: str) -> None:
    x, k = image(200, 190), box(5, 4) if method == "byte-box" else np.outer(bell(5), any_taps(4, 1))
    options = {"boundary": "symmetric", "dtype": "uint8", "method": method}
    reference = ck.convolve(x, k, "same", **options)
    wide = np.zeros((400, 380), np.uint8)
    wide[::2, ::2] = x
    backwards = x[::-1, ::-1].copy()[::-1, ::-1]
    for view in (np.asfortranarray(x), wide[::2, ::2], backwards, np.pad(x, 3)[3:-3, 3:-3]):
        assert ck.convolve(view, k, "same", **options).tobytes() == reference.tobytes()
    for out in (np.zeros((400, 380), np.uint8)[::2, ::2], np.zeros((400, 380), np.uint8)[::-2, ::-2],
                np.empty(x.shape[::-1], np.uint8).T, np.zeros((210, 200), np.uint8)[5:-5, 3:-7]):  # fmt: skip
        assert ck.convolve(x, k, "same", out=out, **options) is out
        assert np.array_equal(out, reference)
        assert out.base is None or np.count_nonzero(out.base) == np.count_nonzero(out)


def test_every_sum_is_rounded_as_by_float32() -> None:
    """The integers that stand for a factor give the same byte for each sum; where none do, there are none."""
    without = []
    for rows, columns in product(range(1, 17), repeat=2):
        scale, largest = np.float32(1 / (rows * columns)), 255 * rows * columns
        numbers = np.frombuffer(rounding(float(scale), largest), np.int32)
        assert numbers[:1].view(np.float32)[0] == scale
        added, multiplier, bits = (int(number) for number in numbers[1:])
        if not multiplier:
            without.append(rows * columns)
            continue
        sums = np.arange(largest + 1)
        words = (sums + added).astype(np.uint16).astype(np.uint32)
        assert np.array_equal(words * multiplier >> 16 >> bits, np.rint(sums.astype(np.float32) * scale))
    assert all(area % 2 == 0 or area == 1 for area in without)  # half-way cases need an even area
    assert not np.frombuffer(rounding(3.0, 765), np.int32)[2]
    assert not np.frombuffer(rounding(-0.1, 765), np.int32)[2]


@FEW
def test_only_what_is_mirrored_is_summed_in_pairs() -> None:
    """And only a mean leaves the limits out."""
    even, skew, odd = bell(5), any_taps(5, 1), np.array([-1, -2, 0, 2, 1], np.float32)
    for down, along, sums in ((even, even, ("pairs", "pairs")), (even, skew, ("pairs", "each")),
                              (skew, even, ("each", "pairs")), (odd, odd, ("each", "each"))):  # fmt: skip
        k = np.outer(down, along)
        plan = ck.Convolver(k, "correlation", mode="same", dtype="uint8").plan((900, 900), "uint8")
        assert plan.choice == "byte-separable"
        found = byte_separable.ByteSeparable().prepare(plan.problem, k[None, None, None])
        assert (found.down, found.along) == sums
        assert found.limits == ("inside" if down is along is even else "saturated")
        factors = cross_factors(k)
        assert factors is not None
        assert np.array_equal(found.weights, np.concatenate(factors[0]).astype(np.float32))
        assert_products(image(60, 70), k, "correlate", "same", boundary="reflect")


@FEW
def test_results_are_saturated() -> None:
    x = image(50, 60)
    sharp = np.outer([-1.0, 4, -1], [-1.0, 4, -1]).astype(np.float32)
    ours = ck.correlate(x, sharp, dtype="uint8", method="byte-separable")
    assert np.array_equal(ours, np.clip(ck.correlate(x.astype(float), sharp.astype(float)), 0, 255))
    assert {0, 255} <= set(ours.ravel().tolist())
    assert (
        ck.correlate(np.full((9, 9), 255, np.uint8), np.outer(bell(7), bell(7)), "valid", dtype="uint8") == 255
    ).all()


@pytest.mark.parametrize("method", ["byte-box", "byte-separable"])
def test_what_they_leave_to_others(method: str) -> None:
    plain, small = image(40, 50), box(3, 3)

    def refused(words: str, x: np.ndarray = plain, k: np.ndarray = small, **options: object) -> None:
        with pytest.raises(AccuracyError, match=words):
            ck.correlate(x, k, **{"dtype": "uint8", "method": method, **options})

    refused("not bytes", dtype="float32")
    refused("not bytes", x=image(40, 50).astype(np.int16))
    refused("not bytes", stride=2)
    refused("not bytes", dilation=2)
    refused("not bytes", boundary="constant", fill=3)
    if method == "byte-box":
        refused("exceed 16 bits", k=box(16, 17))
        refused("constant", k=np.outer(bell(3), bell(3)))
        refused("more than 16384 samples", x=np.zeros((3, 20000), np.uint8))
    else:
        refused("one outer product", k=np.arange(9, dtype=np.float32).reshape(3, 3) ** 2)
        refused("more than 25 elements", k=box(26, 3))


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVKIT_JIT", "0")
    for method in ("byte-box", "byte-separable"):
        with pytest.raises(AccuracyError, match="CONVKIT_JIT=0"):
            ck.correlate(image(41, 51), box(3, 3), dtype="uint8", method=method)


@FEW
def test_the_report_names_the_loops() -> None:
    for k, words in ((box(5, 5), "byte_box_neighbours"), (np.outer(bell(5), bell(7)), "_5x7")):
        report = str(ck.Convolver(k, mode="same", dtype="uint8").plan((500, 510), "uint8").report())
        assert words in report


@FEW
def test_the_workspace_is_bounded() -> None:
    for shape, k in (((3000, 16000), box(15, 15)), ((3000, 16001), np.outer(bell(25), bell(25)))):
        plan = ck.Convolver(k, mode="same", dtype="uint8").plan(shape, "uint8")
        assert plan.choice.startswith("byte-")
        assert plan.workspace <= 4e6 * ck.num_threads()


@pytest.mark.parametrize("isa", TARGETS)
def test_sums_stay_in_registers(isa: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    for step in (1, 3):
        text, spilled = written(byte_box_for(target, step), isa)
        assert spilled == []
        if isa == "avx512":
            assert re.search(r"vpmulhuw\t.*%zmm", text)
            assert not re.search(r"vpmov(?:wb|zxbw|dw)|vpackuswb|vperm", text)  # no lane is moved
    if target.registers < byte_separable.REGISTERS:
        return
    for taps, sums, limits in product((3, 19, byte_separable.LONGEST), ("each", "pairs"), ("saturated", "inside")):
        kernel = ByteTaps(target.vector_bytes, taps, taps, 1, sums, sums, limits)
        text, spilled = written(kernel, isa)
        assert spilled == [], kernel.name
        if isa == "avx512":
            assert re.search(r"vfmadd\w+ps\t.*%zmm", text)
            assert not re.search(r"valign|vpmovzx|vpermt2", text)
            assert len(re.findall(r"vaddps\t.*%zmm", text)) >= 4 * (taps // 2) * (sums == "pairs")


def test_the_kernel_along_rows_that_stand_apart_is_another() -> None:
    assert byte_box_for(this_machine(), 1) == ByteBox("neighbours", this_machine().vector_bytes, 2)
    assert byte_box_for(this_machine(), 3).apart == "any"


def test_a_tile_too_large_for_the_registers_is_refused() -> None:
    target = TARGETS["avx2"]
    assert target is not None
    with pytest.raises(ValueError, match="25 vector registers"):
        ByteTaps(32, 21, 3).module(target)


def test_a_type_that_is_not_the_problems_is_refused() -> None:
    k = box(3, 3)
    plan = ck.Convolver(k, mode="same", dtype="uint8", method="byte-box").plan((40, 50), "uint8")
    prepared = byte_box.ByteBox().prepare(plan.problem, k[None, None, None])
    x = np.zeros(plan.problem.input_shape, np.int16)
    with pytest.raises(TypeError, match="int16"):
        byte_box.ByteBox().run(plan.problem, prepared, x, np.empty(plan.problem.output_shape, np.uint8))


def test_nothing_outside_the_arrays_is_touched() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.codegen.guarded_bytes"], capture_output=True, text=True)
    assert done.stdout == "untouched\n", done.stderr
    done = subprocess.run([sys.executable, "-m", "tests.codegen.guarded_bytes", "reach-out"], capture_output=True)
    assert done.returncode != 0
