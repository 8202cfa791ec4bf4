"""Fused passes (`separable`, `low-rank`, `box`, `rows`): boundaries, ranks, layouts, types; bits in any tile."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import box, rows
from convkit.algorithms.support import pass_programs, passes
from convkit.codegen.arithmetic import CONVERTED
from convkit.codegen.direct import schedule_for
from convkit.errors import AccuracyError
from tests.codegen.isa import TARGETS, written
from tests.oracle.strategies import Case, random_array
from tests.oracle.test_algorithms import assert_within_bound_of_sums

BOUNDARIES = ("zero", "constant", "edge", "reflect", "symmetric", "wrap", ("reflect", "zero"))
SHAPES = [((45, 61), (4, 7)), ((150, 131), (13, 14)), ((11, 12, 40), (3, 2, 5)), ((4, 5, 13, 17), (2, 3, 2, 3))]


@pytest.fixture(autouse=True)
def restore(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short boxes and small problems too; as many threads afterwards as before."""
    monkeypatch.setattr(box, "LEAST", 2)
    monkeypatch.setattr(rows, "LEAST_PRODUCTS", 0)
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)
    pass_programs.program.cache_clear()


def product(shape: tuple[int, ...], dtype: str, uniform: tuple[int, ...] = ()) -> np.ndarray:
    """An outer product, constant along some axes."""
    vectors = [
        np.full(n, 0.3 + axis) if axis in uniform else random_array((n,), "float64", 7 + axis)
        for axis, n in enumerate(shape)
    ]
    return reduce(np.multiply.outer, vectors).astype(dtype)


def small_tiles(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(passes, "BLOCK", block)
    monkeypatch.setattr(passes, "SMALL_IMAGE", 0)
    pass_programs.program.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("shape", "kernel"), SHAPES)
def test_every_boundary_and_rank(
    shape: tuple, kernel: tuple, boundary: object, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_tiles(monkeypatch, 700)
    sides = boundary if isinstance(boundary, str) else (boundary,) * len(shape)
    for method, uniform in (("separable", ()), ("box", (0,)), ("box", tuple(range(len(shape))))):
        for operation, mode, dilation in (("convolution", "full", 1), ("correlation", "same", 2)):
            options = {"boundary": sides, "fill": 2.5, "dilation": dilation}
            k = product(kernel, dtype, uniform)
            assert_within_bound_of_sums(Case(random_array(shape, dtype, 1), k, operation, mode, options), method)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_size(data: st.DataObject) -> None:
    """Sizes around those of vectors and register tiles; kernels even, odd, and larger than the image."""
    near = st.sampled_from([1, 2, 4, 5, 6, 15, 16, 17, 31, 33, 63, 65])
    shape = data.draw(st.tuples(near, st.one_of(near, st.integers(1, 200))))
    kernel = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 40)))
    method = data.draw(st.sampled_from(["separable", "box", "low-rank"]))
    uniform = data.draw(st.sampled_from([(0,), (1,), (0, 1)])) if method == "box" else ()
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    options = {"boundary": data.draw(st.sampled_from(["zero", "reflect", "wrap", "edge"])), "fill": 0}
    mode = data.draw(st.sampled_from(["full", "same"]))
    k = product(kernel, dtype, uniform)
    if method == "low-rank":
        k += np.outer(np.arange(kernel[0]), np.arange(kernel[1])[::-1] % 3).astype(dtype)
    case = Case(
        random_array(shape, dtype, 5), k, data.draw(st.sampled_from(["convolution", "correlation"])), mode, options
    )
    if method == "box" and all(kernel[axis] == 1 for axis in uniform):
        with pytest.raises(AccuracyError, match="not known to be constant"):
            assert_within_bound_of_sums(case, method)
        return
    assert_within_bound_of_sums(case, method)


@pytest.mark.parametrize("stride", [(2, 1), (3, 1)])
def test_strides_before_the_last_axis(stride: tuple[int, int]) -> None:
    x, k = random_array((90, 70), "float32", 1), product((5, 4), "float32")
    for dilation in (1, 2):
        whole = ck.correlate(x, k, "valid", dilation=dilation, method="separable")
        some = ck.correlate(x, k, "valid", dilation=dilation, stride=stride, method="separable")
        assert np.allclose(some, whole[:: stride[0]], atol=1e-5)


@pytest.mark.parametrize(("method", "uniform"), [("separable", ()), ("box", (0, 1)), ("box", (1,)), ("low-rank", ())])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_tiles_change_no_bit(method: str, uniform: tuple[int, ...], dtype: str) -> None:
    image = np.random.default_rng(3).integers(0, 255, (140, 210)).astype(dtype)
    k = product((9, 14), "float32", uniform)
    if method == "low-rank":
        k += np.outer(np.arange(9), np.ones(14)).astype("float32")
    reference = ck.convolve(image, k, boundary="reflect", method=method)
    with pytest.MonkeyPatch.context() as patch:
        for block in (64, 300, 5000):
            small_tiles(patch, block)
            assert ck.convolve(image, k, boundary="reflect", method=method).tobytes() == reference.tobytes()
    pass_programs.program.cache_clear()
    for threads in (1, 2, 3):
        ck.set_num_threads(threads)
        assert ck.convolve(image, k, boundary="reflect", method=method).tobytes() == reference.tobytes()
    batch = np.stack([image, image[::-1], image])
    many = ck.convolve(batch, k, boundary="reflect", method=method, axes=(1, 2))
    assert many[0].tobytes() == many[2].tobytes() == reference.tobytes()


@pytest.mark.parametrize("method", ["separable", "box"])
def test_layouts(method: str) -> None:
    x = random_array((200, 190), "float64", 2)
    k = product((13, 14), "float64", (0, 1) if method == "box" else ())
    reference = ck.convolve(x, k, "same", method=method)
    wide = np.zeros((400, 380))
    wide[::2, ::2] = x
    backwards = x[::-1, ::-1].copy()[::-1, ::-1]
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float64).reshape(x.shape)
    for view in (np.asfortranarray(x), wide[::2, ::2], backwards, unaligned, x.astype(">f8")):
        assert ck.convolve(view, k, "same", method=method).tobytes() == reference.tobytes()
    for out in (np.zeros((400, 380))[::2, ::2], np.zeros((400, 380))[::-2, ::-2], np.empty(x.shape[::-1]).T):
        assert ck.convolve(x, k, "same", method=method, out=out) is out
        assert np.array_equal(out, reference)


@pytest.mark.parametrize("method", ["separable", "box"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int8", "uint16", "float16", "bool"])
def test_images_of_any_type(dtype: str, method: str) -> None:
    """Converted tile by tile, rounded half to even, saturated; the result is what the float result rounds to."""
    source = np.random.default_rng(4)
    x = (source.integers(0, 120, (150, 141)) % (2 if dtype == "bool" else 255)).astype(dtype)
    k = product((12, 13), "float32", (0, 1)) / 8 if method == "box" else product((5, 6), "float32")
    sums = ck.convolve(x, k, "same", boundary="symmetric", method=method, dtype="float32")
    exact = ck.convolve(x.astype(float), k.astype(float), "same", boundary="symmetric", method="direct")
    assert np.allclose(sums, exact, rtol=1e-5, atol=1e-3)
    stored = ck.convolve(x, k, "same", boundary="symmetric", method=method, dtype="uint8")
    assert stored.dtype == np.uint8
    assert np.array_equal(stored, np.clip(np.rint(sums), 0, 255).astype(np.uint8))
    assert dtype == "bool" or {0, 255} & set(stored.ravel().tolist())


def test_a_uint8_image_is_never_held_as_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(5).integers(0, 255, (600, 500)).astype(np.uint8)
    convolver = ck.Convolver(product((7, 7), "float32"), mode="same", method="separable", dtype="uint8")
    written: list[str] = []
    made = pass_programs.program
    with monkeypatch.context() as spying:
        spying.setattr(pass_programs, "program", lambda *args: (written.append(args[4]), made(*args))[1])
        assert convolver.apply(image).dtype == np.uint8
    assert written == ["uint8"]


@pytest.mark.parametrize("method", ["separable", "box"])
def test_a_nan_stays_in_its_windows(method: str) -> None:
    x = random_array((150, 160), "float64", 6)
    k = product((12, 13), "float64", (0, 1) if method == "box" else ())
    x[70, 20], x[0, 0], x[149, 90] = np.nan, np.inf, -np.inf
    ours = ck.convolve(x, k, method=method)
    truth = ck.convolve(x, k, method="direct")
    assert np.array_equal(np.isfinite(ours), np.isfinite(truth))


@pytest.mark.parametrize("size", [2, 3, 13, 16, 31, 100, 101, 255])
def test_boxes_of_integers_are_exact(size: int) -> None:
    x = np.random.default_rng(size).integers(0, 255, 900).astype(np.uint8)
    ours = ck.correlate(x, np.ones(size, np.float32), "valid", method="box")
    assert np.array_equal(ours, np.correlate(x.astype(np.int64), np.ones(size, np.int64), "valid"))


def test_one_row_of_taps() -> None:
    for shape, kernel, axes in (((5000,), (37,), None), ((30, 400), (1, 21), None), ((3, 700), (19,), (1,))):
        for boundary in ("zero", "reflect"):
            options = {"boundary": boundary, "fill": 0} | ({"axes": axes} if axes else {})
            case = Case(
                random_array(shape, "float32", 1), random_array(kernel, "float32", 2), "correlation", "same", options
            )
            assert_within_bound_of_sums(case, "rows")


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    x, k = random_array((60, 70), "float32", 1), product((5, 14), "float32")
    compiled = ck.convolve(x, k, method="separable")
    monkeypatch.setenv("CONVKIT_JIT", "0")
    assert np.allclose(ck.convolve(x, k, method="separable"), compiled, atol=1e-5)
    for method in ("box", "rows"):
        with pytest.raises(AccuracyError, match="CONVKIT_JIT=0"):
            ck.convolve(x[0], np.ones(20, np.float32), method=method)


@pytest.mark.parametrize(
    ("kernel", "method", "words"),
    [
        (np.outer(np.arange(1.0, 15), np.arange(2.0, 15)), "box", "not known to be constant"),
        (np.ones((3, 4)), "box", "from 6 equal elements"),
        (np.ones((3, 4)), "rows", "several rows"),
    ],
)
def test_what_they_leave_to_others(
    kernel: np.ndarray, method: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box, "LEAST", 6)
    with pytest.raises(AccuracyError, match=words):
        ck.convolve(random_array((300, 300), "float32", 1), kernel.astype("float32"), method=method)


def test_the_workspace_is_bounded() -> None:
    for kernel in ((3, 3), (31, 31), (301, 301), (1, 1001), (1001, 1)):
        for method, uniform in (("separable", ()), ("box", (0, 1))):
            k = product(kernel, "float32", uniform)
            convolver = ck.Convolver(k, mode="same", method=method)
            assert convolver.plan((4000, 4100), "float32").workspace <= 40e6 * ck.num_threads()


@pytest.mark.parametrize("isa", ["avx512", "neon"])
def test_converted_samples_stay_in_registers(isa: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    for source in CONVERTED:
        for rows_of_kernel in (3, 4, 5, 7):
            text, spilled = written(schedule_for(target, f"{source}_float32", rows_of_kernel), isa)
            assert spilled == [], source
            assert len(text) < 1 << 17


@pytest.mark.parametrize("boundary", ["zero", "reflect", "wrap"])
@pytest.mark.parametrize(("method", "uniform"), [("separable", ()), ("box", (0, 1))])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_channels_side_by_side(dtype: str, method: str, uniform: tuple[int, ...], boundary: str) -> None:
    """All channels of an image at once; their bits are those of each channel alone."""
    image = np.random.default_rng(6).integers(0, 255, (130, 141, 3)).astype(dtype)
    k = product((7, 8), "float32", uniform) / 50
    together = ck.convolve(image, k, "same", boundary=boundary, axes=(0, 1), method=method, dtype=dtype)
    for channel in range(3):
        plane = np.ascontiguousarray(image[..., channel])
        alone = ck.convolve(plane, k, "same", boundary=boundary, method=method, dtype=dtype)
        assert together[..., channel].tobytes() == alone.tobytes()


def test_many_small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_array((40, 12, 13), "float32", 8)
    k = product((3, 4), "float32")
    whole = ck.convolve(images, k, axes=(1, 2), method="separable")
    monkeypatch.setattr(pass_programs, "PROGRAM_STEPS", 64)
    pass_programs._samples_at_once.cache_clear()
    parts = ck.convolve(images, k, axes=(1, 2), method="separable")
    pass_programs._samples_at_once.cache_clear()
    assert parts.tobytes() == whole.tobytes()
    assert parts[7].tobytes() == ck.convolve(images[7], k, method="separable").tobytes()


def test_what_is_known_of_a_kernel_is_not_believed_of_the_signal() -> None:
    """Where a long kernel and a short signal change places, it is the signal that varies."""
    x, k = random_array((60,), "float32", 1), np.full(5000, 0.5, np.float32)
    assert np.allclose(ck.convolve(x, k), np.convolve(x.astype(float), k), atol=1e-3)
    rows_of = random_array((2, 60), "float32", 2)
    both = ck.convolve(rows_of, k, axes=(1,))
    assert all(both[i].tobytes() == ck.convolve(rows_of[i], k).tobytes() for i in range(2))


@pytest.mark.parametrize(
    ("method", "uniform", "dtype", "words"),
    [
        ("separable", (), "float32", ["direct_float32", "row_f32"]),
        ("separable", (), "uint8", ["direct_uint8_float32", "_uint8"]),
        ("box", (0, 1), "float32", ["doubling_float32", "_scale"]),
        ("box", (0, 1), "uint8", ["sliding_uint8_int32", "sliding_row_int32_float32_uint8"]),
        ("box", (0,), "uint8", ["sliding_uint8_float32", "row_f32"]),
    ],
)
def test_the_report_names_the_loops(method: str, uniform: tuple[int, ...], dtype: str, words: list[str]) -> None:
    convolver = ck.Convolver(product((9, 31), "float32", uniform), mode="same", method=method, dtype=dtype)
    report = str(convolver.plan((300, 310), dtype).report())
    assert all(word in report for word in words)
