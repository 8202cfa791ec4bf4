"""Arrays of every layout in and out: the numbers decide, never the strides, the threads or the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit as ck
from tests.oracle.agreement import verb
from tests.oracle.strategies import Case, array_cases, lattice, random_array


def _reversed(a: np.ndarray) -> np.ndarray:
    return np.flip(np.flip(a).copy())


def _every_other(a: np.ndarray) -> np.ndarray:
    wide = np.zeros([2 * n for n in a.shape], a.dtype)
    wide[tuple(slice(None, None, 2) for _ in a.shape)] = a
    return wide[tuple(slice(None, None, 2) for _ in a.shape)]


def _fortran(a: np.ndarray) -> np.ndarray:
    return np.asfortranarray(a)


def _read_only(a: np.ndarray) -> np.ndarray:
    view = a.copy()
    view.setflags(write=False)
    return view


def _unaligned(a: np.ndarray) -> np.ndarray:
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape) if a.size else a.copy()
    view[...] = a
    return view


def _other_byte_order(a: np.ndarray) -> np.ndarray:
    return a.astype(a.dtype.newbyteorder())


LAYOUTS = [_reversed, _every_other, _fortran, _read_only, _unaligned, _other_byte_order]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_do_not_change_a_bit(layout: Callable[[np.ndarray], np.ndarray]) -> None:
    @lattice(30)
    @given(array_cases())
    def check(case: Case) -> None:
        plain = verb(case)
        x, k = layout(case.x), layout(case.k)
        before = x.copy(), k.copy()
        ours = verb(Case(x, k, case.operation, case.mode, case.options))
        assert (ours.shape, ours.dtype) == (plain.shape, plain.dtype)
        assert ours.tobytes() == plain.tobytes()
        assert np.array_equal(x, before[0])
        assert np.array_equal(k, before[1])

    check()


@lattice(60)
@given(array_cases())
def test_out_is_written_and_returned(case: Case) -> None:
    plain = verb(case)
    for make in (
        np.empty_like,
        lambda a: _every_other(np.empty_like(a)),
        lambda a: np.flip(np.empty_like(a)),
    ):
        out = make(plain)
        out[...] = 99
        assert verb(case, out=out) is out
        assert np.array_equal(out, plain)


@pytest.mark.parametrize(
    ("method", "shape"),
    [
        (method, shape)
        for method in ("auto", "direct", "fft", "gemm", "separable")
        for shape in ((50,), (12, 17))
        if method != "separable" or len(shape) == 2
    ],
)
def test_out_may_be_the_input(method: str, shape: tuple[int, ...]) -> None:
    x, k = random_array(shape, "float64", 1), np.ones((4,) * len(shape)) * 0.25
    k *= np.arange(1, 5)
    expected = ck.convolve(x, k, "same", boundary="reflect", method=method)
    same = x.copy()
    assert ck.convolve(same, k, "same", boundary="reflect", method=method, out=same) is same
    assert np.array_equal(same, expected)


@pytest.mark.parametrize("shift", [-3, -1, 1, 2])
def test_out_may_overlap_the_input(shift: int) -> None:
    x, k = random_array((60,), "float64", 2), random_array((6,), "float64", 3)
    expected = ck.correlate(x, k, "same")
    memory = np.zeros(70)
    view, out = memory[5:65], memory[5 + shift : 65 + shift]
    view[...] = x
    ck.correlate(view, k, "same", out=out)
    assert np.array_equal(out, expected)


def test_out_may_overlap_the_kernel() -> None:
    k = random_array((6,), "float64", 4)
    x = random_array((6,), "float64", 5)
    expected = ck.convolve(x, k, "same")
    assert np.array_equal(ck.convolve(x, k, "same", out=k), expected)


@pytest.mark.parametrize("wrong", [np.empty(5), np.empty((1, 8)), [0.0] * 8])
def test_an_out_that_does_not_fit_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ck.errors.ConvError):
        ck.convolve(np.zeros(8), np.ones(3), "same", out=wrong)


def test_a_read_only_out_is_refused() -> None:
    with pytest.raises((ck.errors.ConvError, ValueError)):
        ck.convolve(np.zeros(8), np.ones(3), "same", out=_read_only(np.zeros(8)))


def test_lists_are_taken() -> None:
    assert ck.convolve([1, 2, 3], [1, 10]).tolist() == [1, 12, 23, 30]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = ck.num_threads()
    yield ck.set_num_threads
    ck.set_num_threads(before)


BIG: dict[str, Callable[[], np.ndarray]] = {
    "filter": lambda: ck.convolve(random_array((211, 307), "float32", 1), random_array((6, 5), "float32", 2), "same"),
    "wide kernel": lambda: ck.correlate(
        random_array((190, 171), "float64", 3),
        random_array((31, 24), "float64", 4),
        "same",
        boundary="reflect",
    ),
    "long": lambda: ck.convolve(random_array((70001,), "float32", 5), random_array((600,), "float32", 6)),
    "axes": lambda: ck.convolve(random_array((50, 4000), "float64", 7), random_array((64,), "float64", 8), axes=1),
    "integers": lambda: ck.convolve(random_array((30000,), "int64", 9), random_array((300,), "int64", 10)),
    "network": lambda: ck.conv(
        random_array((4, 8, 33, 29), "float32", 11), random_array((16, 8, 3, 4), "float32", 12), padding=1
    ),
    "strided network": lambda: ck.conv(
        random_array((3, 6, 40, 31), "float64", 13),
        random_array((8, 3, 5, 3), "float64", 14),
        stride=2,
        groups=2,
    ),
    "transposed": lambda: ck.conv_transpose(
        random_array((3, 6, 20, 17), "float64", 15), random_array((6, 4, 4, 3), "float64", 16), stride=2
    ),
    "weights' gradient": lambda: ck.conv_weight_gradient(
        random_array((4, 8, 30, 28), "float32", 17), random_array((4, 6, 32, 30), "float32", 18), (8, 6, 3, 3)
    ),
    "pool": lambda: ck.pool(random_array((4, 8, 60, 62), "float32", 19), 3, kind="mean", stride=2, padding=1),
}


@pytest.mark.parametrize("name", BIG)
def test_the_number_of_threads_does_not_change_a_bit(name: str, threads: Callable[[int], None]) -> None:
    answers = []
    for count in (1, 2, 3):
        threads(count)
        assert ck.num_threads() == count
        answers.append(BIG[name]().tobytes())
    assert answers[0] == answers[1] == answers[2]


@lattice(25)
@given(
    st.sampled_from(("float32", "float64")),
    st.sampled_from((1, 2)),
    st.sampled_from((((7, 6), (3, 2)), ((24, 31), (5, 4)), ((90,), (9,)), ((60, 50), (17, 16)))),
    st.sampled_from(("conv", "conv_transpose")),
)
def test_batching_does_not_change_a_samples_bits(
    dtype: str, groups: int, sizes: tuple[tuple[int, ...], tuple[int, ...]], name: str
) -> None:
    space, kernel = sizes
    x = random_array((5, 4, *space), dtype, 1)
    w = random_array((6, 4 // groups, *kernel) if name == "conv" else (4, 3, *kernel), dtype, 2)
    whole = getattr(ck, name)(x, w, groups=groups)
    for i in range(5):
        assert getattr(ck, name)(x[i : i + 1], w, groups=groups).tobytes() == whole[i : i + 1].tobytes()
    assert getattr(ck, name)(x[1:4], w, groups=groups).tobytes() == whole[1:4].tobytes()


@pytest.mark.parametrize(("n", "k"), [(40, 5), (500, 64), (3000, 301)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stacking_rows_does_not_change_their_bits(n: int, k: int, dtype: str) -> None:
    x, kernel = random_array((7, n), dtype, 3), random_array((k,), dtype, 4)
    whole = ck.convolve(x, kernel, "same", axes=1)
    for row, expected in zip(x, whole):
        assert ck.convolve(row[None], kernel, "same", axes=1).tobytes() == expected.tobytes()
