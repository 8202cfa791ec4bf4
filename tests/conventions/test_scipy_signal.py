"""convkit.compat.scipy_signal against scipy.signal itself."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import signal as model

from convkit.compat import scipy_signal as ours
from tests.conventions.agreement import COMPLEX, FLOATS, INTEGERS, agree, arrays, window_sum

DTYPES = (*INTEGERS, *FLOATS, *COMPLEX)
EXTENSIONS = (
    "constant", "wrap", "edge", "smooth", "symmetric", "reflect", "antisymmetric", "antireflect", "line",
)  # fmt: skip
modes = st.sampled_from(["full", "same", "valid"])


@pytest.mark.parametrize("name", ours.__all__)
def test_the_same_signature(name):
    mine, theirs = (inspect.signature(getattr(module, name)) for module in (ours, model))
    assert list(mine.parameters) == list(theirs.parameters)
    for key, parameter in mine.parameters.items():
        assert parameter.default == theirs.parameters[key].default
        assert parameter.kind == theirs.parameters[key].kind


@pytest.mark.parametrize("name", ["convolve", "correlate"])
@given(data=st.data(), rank=st.integers(1, 3), mode=modes, method=st.sampled_from(["auto", "direct"]))
@settings(max_examples=150, deadline=None)
def test_convolve_and_correlate(name, data, rank, mode, method):
    sizes = st.tuples(*[st.integers(1, 5)] * rank)
    x, k = data.draw(arrays(DTYPES, data.draw(sizes))), data.draw(arrays(DTYPES, data.draw(sizes)))
    agree(getattr(ours, name), getattr(model, name), x, k, mode, method, scale=window_sum(x, k))


@pytest.mark.parametrize("name", ["convolve", "correlate"])
@given(data=st.data(), rank=st.integers(1, 2), mode=modes)
@settings(max_examples=60, deadline=None)
def test_forced_fft(name, data, rank, mode):
    sizes = st.tuples(*[st.integers(1, 6)] * rank)
    floating = (*FLOATS, *COMPLEX)
    x, k = data.draw(arrays(floating, data.draw(sizes))), data.draw(arrays(floating, data.draw(sizes)))
    # SciPy transforms float32 beside float64 in single precision.
    assume(np.finfo(x.dtype).eps == np.finfo(k.dtype).eps)
    scale = 16 * float(np.linalg.norm(x) * np.linalg.norm(k)) + 1e-300
    agree(getattr(ours, name), getattr(model, name), x, k, mode, "fft", scale=scale)


def test_integers_are_exact_under_every_method():
    x = np.full(3000, 2**17 - 1, np.int64)
    k = np.full(3000, 2**17 - 3, np.int64)
    want = np.convolve(x, k)
    for method in ("auto", "direct", "fft"):
        np.testing.assert_array_equal(ours.convolve(x, k, method=method), want)


@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
@given(
    data=st.data(),
    sizes=st.tuples(*[st.integers(1, 6)] * 4),
    mode=modes,
    boundary=st.sampled_from(["fill", "pad", "wrap", "circular", "symm", "symmetric"]),
    fill=st.sampled_from([0, 1, -3, 2.5, True]),
)
@settings(max_examples=200, deadline=None)
def test_planes(name, data, sizes, mode, boundary, fill):
    x, k = data.draw(arrays(DTYPES, sizes[:2])), data.draw(arrays(DTYPES, sizes[2:]))
    # A negative fill of an unsigned result is undefined in C.
    assume(fill >= 0 or np.result_type(x, k).kind != "u")
    scale = window_sum(np.append(np.abs(x), abs(fill)), k)
    agree(getattr(ours, name), getattr(model, name), x, k, mode, boundary, fill, scale=scale)


@pytest.mark.parametrize("name", ["fftconvolve", "oaconvolve"])
@given(data=st.data(), rank=st.integers(1, 3), mode=modes)
@settings(max_examples=150, deadline=None)
def test_chosen_axes_and_broadcasting(name, data, rank, mode):
    axes = data.draw(st.none() | st.lists(st.integers(-rank, rank - 1), min_size=1, max_size=rank))
    one = st.tuples(*[st.sampled_from([1, 2, 3, 7])] * rank)
    x = data.draw(arrays((*FLOATS, "complex64", "int16"), data.draw(one)))
    k = data.draw(arrays((*FLOATS, "complex128", "uint8"), data.draw(one)))
    single = {np.dtype(array.dtype).char in "fF" for array in (x, k)}
    assume(single != {True, False})
    scale = 16 * float(np.linalg.norm(x.astype(complex)) * np.linalg.norm(k.astype(complex)))
    agree(getattr(ours, name), getattr(model, name), x, k, mode, axes, scale=scale)


@given(
    data=st.data(),
    taps=st.integers(1, 12),
    shape=st.tuples(st.integers(1, 3), st.integers(2, 6)),
    up=st.integers(1, 7),
    down=st.integers(1, 7),
    mode=st.sampled_from(EXTENSIONS),
    axis=st.integers(-2, 1),
    cval=st.sampled_from([0.0, 2.5]),
)
@example(data=None, taps=5, shape=(2, 3), up=3, down=2, mode="antireflect", axis=1, cval=0.0)
@settings(max_examples=250, deadline=None)
def test_upfirdn(data, taps, shape, up, down, mode, axis, cval):
    shape = shape[::-1] if axis in (0, -2) else shape
    if data is None:
        h, x = np.arange(1.0, taps + 1), np.arange(1.0, np.prod(shape) + 1).reshape(shape) ** 2
    else:
        dtypes = ("int16", "uint8", "float32", "float64", "complex64", "complex128")
        h, x = data.draw(arrays(dtypes, (taps,))), data.draw(arrays(dtypes, shape))
    scale = window_sum(np.append(np.abs(x), cval), h) * 25
    agree(ours.upfirdn, model.upfirdn, h, x, up, down, axis, mode, cval, scale=scale)


@pytest.mark.parametrize("mode", [name for name in EXTENSIONS if name not in ("constant", "antisymmetric")])
def test_upfirdn_continues_one_sample_as_it_is(mode):
    """SciPy divides by zero here, or reads beyond the sample."""
    assert ours.upfirdn([1.0, 1, 1, 1], [3.0], mode=mode).tolist() == [12.0] * 4


@pytest.mark.parametrize("name", ["convolve", "correlate", "fftconvolve", "oaconvolve"])
@pytest.mark.parametrize(
    "arguments",
    [
        ([1], 2),
        (1, [2]),
        ([1], [[2]]),
        ([1, 2, 3], [1, 2], "spam"),
        ([1, 2, 3], [1, 2], None),
        (np.ones((2, 3)), np.ones((3, 2)), "valid"),
        ([], [1.0]),
        ([1.0], []),
        ("abc", [1]),
        (object(), [1]),
    ],
)
def test_bad_arrays(name, arguments):
    agree(getattr(ours, name), getattr(model, name), *arguments)


@pytest.mark.parametrize("name", ["fftconvolve", "oaconvolve"])
@pytest.mark.parametrize("axes", [[], [0, 0], [1], [-2], [0.5], "a", [[0]], (0,), 0, -1, np.array([0])])
def test_axes(name, axes):
    agree(getattr(ours, name), getattr(model, name), np.arange(5.0), np.array([1.0, 10]), "full", axes, scale=1000)


@pytest.mark.parametrize("name", ["convolve", "correlate"])
@pytest.mark.parametrize("method", ["bacon", None, 0])
def test_bad_method(name, method):
    agree(getattr(ours, name), getattr(model, name), [1, 2], [3], "full", method)


@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
@pytest.mark.parametrize(
    "options",
    [
        {"mode": "spam"},
        {"mode": 2},
        {"boundary": "spam"},
        {"boundary": None},
        {"boundary": "reflect"},
        {"fillvalue": []},
        {"fillvalue": [1, 2]},
        {"fillvalue": 1j},
        {"fillvalue": 300},
        {"fillvalue": float("nan")},
        {"fillvalue": "a"},
    ],
)
def test_bad_options_of_planes(name, options):
    x = np.ones((2, 3), np.int8)
    agree(getattr(ours, name), getattr(model, name), x, x[:1], **options)


@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
@pytest.mark.parametrize("dtype", ["float16", "bool", "object"])
def test_planes_of_other_types(name, dtype):
    x = np.ones((2, 3), dtype)
    agree(getattr(ours, name), getattr(model, name), x, x)


@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
@pytest.mark.parametrize("shapes", [((3,), (3,)), ((), ()), ((1, 2, 3), (1, 1, 1)), ((0, 3), (1, 1)), ((1, 1), (0, 3))])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_planes_of_other_ranks_and_empty_ones(name, shapes, mode):
    agree(getattr(ours, name), getattr(model, name), np.ones(shapes[0]), np.ones(shapes[1]), mode)


@pytest.mark.parametrize(
    ("h", "x", "options"),
    [
        ([], [1.0], {}),
        ([[1]], [1.0], {}),
        (1, [1.0], {}),
        ([1], 3.0, {}),
        ([1], [1.0], {"up": 0}),
        ([1], [1.0], {"down": -1}),
        ([1], [1.0], {"up": "a"}),
        ([1], [1.0], {"up": None}),
        ([1], [1.0], {"mode": "spam"}),
        ([1], [1.0], {"mode": None}),
        ([1], [1.0], {"axis": 1}),
        ([1], [1.0], {"axis": -2}),
        ([1], [1.0], {"cval": 1j}),
        ([1], [1.0], {"cval": "a"}),
        (np.ones(2, np.longdouble), [1.0], {}),
        (np.ones(2, object), [1.0], {}),
        ([1, 2, 3], [], {}),
        ([1, 2, 3], [1, 2], {"up": 2.5}),
    ],
)
def test_bad_input_of_upfirdn(h, x, options):
    agree(ours.upfirdn, model.upfirdn, h, x, **options, scale=100)


def test_a_nan_stays_in_its_windows():
    x = np.ones(1000)
    x[300] = np.nan
    k = np.ones(50)
    for function in (ours.fftconvolve, ours.oaconvolve, ours.convolve):
        bad = np.flatnonzero(np.isnan(function(x, k)))
        assert bad.tolist() == list(range(300, 350))
