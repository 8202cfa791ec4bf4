"""convkit.compat.scipy_ndimage against scipy.ndimage itself."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage as model

from convkit.compat import scipy_ndimage as ours
from convkit.compat.scipy_ndimage.smoothing import gaussian_kernel
from tests.conventions.agreement import COMPLEX, FLOATS, INTEGERS, agree, arrays, outcome, window_sum

MODES = (
    "reflect", "mirror", "nearest", "wrap", "constant", "grid-mirror", "grid-wrap", "grid-constant",
)  # fmt: skip
modes = st.sampled_from(MODES)
# Halves, quarters and whole numbers: sums of them are exact, so a truncated one must be the same whatever the order.
weights = st.sampled_from([-3.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0, 7.0])
IMAGES = ("bool", *INTEGERS, *FLOATS)
images = st.sampled_from([(5,), (1,), (4, 3), (2, 7), (1, 4), (3, 2, 4)])


@pytest.mark.parametrize("name", ours.__all__)
def test_the_same_signature(name):
    mine, theirs = (inspect.signature(getattr(module, name)) for module in (ours, model))
    assert list(mine.parameters) == list(theirs.parameters)
    for key, parameter in mine.parameters.items():
        assert parameter.default == theirs.parameters[key].default
        assert parameter.kind == theirs.parameters[key].kind


@st.composite
def kernels(draw, rank, largest=4, dtype="float64"):
    shape = draw(st.tuples(*[st.integers(1, largest)] * rank))
    values = draw(st.lists(weights, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return np.array(values, dtype).reshape(shape)


def origins(size):
    return st.integers(-(size // 2), (size - 1) // 2)


@pytest.mark.parametrize("name", ["correlate", "convolve"])
@given(data=st.data(), shape=images, mode=modes, cval=st.sampled_from([0.0, 1.0, -2.5]))
@settings(max_examples=200, deadline=None)
def test_kernels_of_the_same_rank(name, data, shape, mode, cval):
    x, k = data.draw(arrays(IMAGES[1:], shape)), data.draw(kernels(len(shape)))
    origin = [data.draw(origins(size)) for size in k.shape]
    output = data.draw(st.sampled_from([None, np.float64, np.uint8, "int16", np.dtype("float32"), np.uint64]))
    scale = window_sum(np.append(np.abs(x), abs(cval)), k)
    agree(getattr(ours, name), getattr(model, name), x, k, output, mode, cval, origin, scale=scale)


@pytest.mark.parametrize("name", ["correlate1d", "convolve1d"])
@given(data=st.data(), shape=images, mode=modes, cval=st.sampled_from([0.0, 1.0, -2.5]))
@settings(max_examples=200, deadline=None)
def test_one_axis(name, data, shape, mode, cval):
    x, k = data.draw(arrays(IMAGES[1:], shape)), data.draw(kernels(1, 9))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    scale = window_sum(np.append(np.abs(x), abs(cval)), k)
    origin = data.draw(origins(k.size))
    agree(getattr(ours, name), getattr(model, name), x, k, axis, None, mode, cval, origin, scale=scale)


@pytest.mark.parametrize("name", ["correlate", "convolve", "correlate1d", "convolve1d"])
@given(data=st.data(), mode=modes, cval=st.sampled_from([0.0, 1.5]), kind=st.sampled_from(["x", "k", "both"]))
@settings(max_examples=100, deadline=None)
def test_complex_images_and_weights(name, data, mode, cval, kind):
    x = data.draw(arrays(COMPLEX if kind != "k" else FLOATS, (6,)))
    k = data.draw(kernels(1)) * (1 if kind == "x" else 1 - 2j)
    cval = cval * (1 if kind == "k" else 1 + 1j)
    scale = 4 * window_sum(np.append(np.abs(x), abs(cval)), k)
    agree(getattr(ours, name), getattr(model, name), x, k, mode=mode, cval=cval, scale=scale)


@given(data=st.data(), name=st.sampled_from(["correlate", "convolve"]), mode=modes)
@settings(max_examples=100, deadline=None)
def test_some_axes(data, name, mode):
    x = data.draw(arrays(("int32", "float64"), (3, 4, 2)))
    axes = tuple(data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)))
    k = data.draw(kernels(len(axes)))
    # Shifts that every axis allows, since the axes may come in any order.
    origin = [data.draw(origins(min(k.shape))) for _ in axes]
    agree(getattr(ours, name), getattr(model, name), x, k, mode=mode, origin=origin, axes=axes, scale=window_sum(x, k))


@given(
    data=st.data(),
    shape=images,
    sigma=st.sampled_from([0, 0.3, 0.8, 1.7]),
    order=st.integers(0, 3),
    mode=modes,
    radius=st.sampled_from([None, 0, 1, 4]),
)
@settings(max_examples=150, deadline=None)
def test_gaussian(data, shape, sigma, order, mode, radius):
    x = data.draw(arrays((*FLOATS, *COMPLEX), shape))
    reach = int(4 * sigma + 0.5) if radius is None else radius
    gain = float(np.abs(gaussian_kernel(sigma, order, reach)).sum()) if sigma else 1.0
    options = {"mode": mode, "cval": 1.5, "radius": radius}
    if sigma:
        agree(ours.gaussian_filter1d, model.gaussian_filter1d, x, sigma, 0, order, scale=150 * gain, **options)
    scale = 150 * max(1.0, gain) ** len(shape)
    agree(ours.gaussian_filter, model.gaussian_filter, x, sigma, order, scale=scale, **options)


@pytest.mark.parametrize("sigma", [0.4, 1, 2.3, (1, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
@pytest.mark.parametrize("mode", ["reflect", "nearest", "constant"])
def test_gaussian_of_an_integer_image_truncates_the_same_sums(sigma, dtype, mode):
    """Where the sum comes out whole, the last bit decides: flat and saturated regions above all."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 120, (40, 31)).astype(dtype)
    x[5:30, 4:25] = 255 if dtype == "uint8" else 1000
    x[8:20, 10:20] = 17
    agree(ours.gaussian_filter, model.gaussian_filter, x, sigma, mode=mode)


@pytest.mark.parametrize("name", ["correlate", "convolve"])
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant"])
def test_tenths_of_an_integer_image_truncate_the_same_sums(name, mode):
    rng = np.random.default_rng(4)
    x = rng.integers(0, 256, (23, 31)).astype(np.uint8)
    x[4:15, 6:20] = 250
    k = np.array([[0.1, 0.2, 0.1], [0.0, 0.1, 0.2], [0.1, 0.1, 0.1], [0.05, 0.05, -0.1]])
    agree(getattr(ours, name), getattr(model, name), x, k, mode=mode, cval=3)
    agree(getattr(ours, f"{name}1d"), getattr(model, f"{name}1d"), x, k.ravel(), mode=mode, cval=3, axis=0)


@given(data=st.data(), shape=images, mode=modes, cval=st.sampled_from([0.0, 3.0, -2.5]))
@settings(max_examples=150, deadline=None)
def test_uniform(data, shape, mode, cval):
    x = data.draw(arrays((*IMAGES, *COMPLEX), shape))
    # A negative mean wraps to nearly 2**64, from which SciPy's running sum in double precision does not come back.
    assume(cval >= 0 or x.dtype != np.uint64)
    size = [data.draw(st.integers(1, 6)) for _ in shape]
    origin = [data.draw(st.integers(-(n // 2), (n - 1) // 2)) for n in size]
    scale = window_sum(np.append(np.abs(x), abs(cval)), [1])
    agree(ours.uniform_filter, model.uniform_filter, x, size, None, mode, cval, origin, scale=scale)
    agree(
        ours.uniform_filter1d, model.uniform_filter1d, x, size[0], 0, None, mode, cval, origin[0], scale=scale
    )  # fmt: skip


@pytest.mark.parametrize("name", ["sobel", "prewitt"])
@given(data=st.data(), shape=images, mode=modes)
@settings(max_examples=100, deadline=None)
def test_edges(name, data, shape, mode):
    x = data.draw(arrays((*IMAGES[1:], *COMPLEX), shape))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    mode = [mode, *data.draw(st.lists(modes, min_size=len(shape) - 1, max_size=len(shape) - 1))]
    agree(getattr(ours, name), getattr(model, name), x, axis, None, mode, 2.0, scale=100 * 32)


@given(data=st.data(), shape=images, mode=modes)
@settings(max_examples=100, deadline=None)
def test_second_differences(data, shape, mode):
    x = data.draw(arrays((*IMAGES[1:], *COMPLEX), shape))
    axes = data.draw(st.none() | st.just((0,)) | st.just(tuple(range(len(shape)))[::-1]))
    agree(ours.laplace, model.laplace, x, None, mode, 1.0, axes=axes, scale=100 * 12)
    if x.dtype.kind == "f":
        agree(ours.gaussian_laplace, model.gaussian_laplace, x, 1.2, None, mode, axes=axes, scale=300)
        agree(
            ours.gaussian_gradient_magnitude, model.gaussian_gradient_magnitude, x + 100, 0.9, None, mode,
            axes=axes, scale=400,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["sobel", "prewitt", "laplace"])
def test_edges_of_a_mask(name):
    x = np.zeros((6, 7), bool)
    x[1:4, 2:6] = True
    assert np.count_nonzero(getattr(ours, name)(x) != (getattr(model, name)(x).view(np.uint8) != 0)) == 0


@pytest.mark.parametrize("name", ["correlate", "convolve", "uniform_filter", "gaussian_filter", "sobel", "laplace"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", ">f8", ">i2"])
def test_output_may_be_the_input_or_a_view(name, dtype):
    x = (np.arange(30).reshape(5, 6) * 7 % 31).astype(dtype)
    argument = {"uniform_filter": 3, "gaussian_filter": 1.0, "sobel": 0}.get(name, np.array([[1.0, -2], [0, 3]]))
    arguments = () if name == "laplace" else (argument,)
    want = getattr(model, name)(x, *arguments)
    got = x.copy()
    returned = getattr(ours, name)(got, *arguments, output=got)
    assert returned is got
    np.testing.assert_allclose(got, want, rtol=1e-6)
    wide = np.zeros((5, 12), dtype)
    getattr(ours, name)(x, *arguments, output=wide[:, ::-2])
    np.testing.assert_allclose(wide[:, ::-2], want, rtol=1e-6)


@pytest.mark.parametrize("output", ["f4", "U2", "O", "spam", "?", ">i2", float, bool, object, np.zeros(4), [0, 0, 0]])
@pytest.mark.parametrize("image", [np.array([1.5, 2, 3]), np.array([1.5, 2j, 3])])
@pytest.mark.parametrize("name", ["correlate", "convolve1d"])
def test_outputs(name, image, output):
    agree(getattr(ours, name), getattr(model, name), image, [1, 1.6], output=output, scale=10)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "object"])
@pytest.mark.parametrize("name", ["correlate", "correlate1d"])
def test_types_that_are_refused(name, dtype):
    agree(getattr(ours, name), getattr(model, name), np.ones(3, dtype), [1.0])
    agree(getattr(ours, name), getattr(model, name), np.ones(3), [1.0], output=np.zeros(3, dtype))


@pytest.mark.parametrize("name", ["correlate", "convolve", "correlate1d", "convolve1d"])
@pytest.mark.parametrize(
    "options",
    [
        {"mode": "spam"},
        {"mode": None},
        {"mode": ["reflect"]},
        {"mode": "REFLECT"},
        {"cval": 1j},
        {"cval": "a"},
        {"cval": None},
        {"cval": [1]},
        {"origin": 2},
        {"origin": -2},
        {"origin": 0.5},
        {"origin": "a"},
        {"origin": [0, 0]},
        {"weights": [[1, 2]]},
        {"weights": []},
        {"weights": ["a"]},
    ],
)
def test_bad_options(name, options):
    arguments = {"weights": [1, 10, 100], **options}
    agree(getattr(ours, name), getattr(model, name), np.arange(5.0), scale=1e4, **arguments)


@pytest.mark.parametrize("name", ["correlate", "convolve", "correlate1d"])
def test_a_single_number_is_no_kernel(name):
    agree(getattr(ours, name), getattr(model, name), np.arange(5.0), 3)


@pytest.mark.parametrize("axes", [0, (0,), (1, 0), (0, 0), (2,), (-3,), (), "a", [0.5], [[0]]])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("correlate", ([[1.0, 2, 3]],)),
        ("convolve", ([1.0, 2],)),
        ("uniform_filter", (2,)),
        ("gaussian_filter", (1,)),
        ("laplace", ()),
        ("gaussian_laplace", (1,)),
        ("gaussian_gradient_magnitude", (1,)),
    ],
)
def test_axes(name, arguments, axes):
    x = np.arange(12.0).reshape(3, 4)
    agree(getattr(ours, name), getattr(model, name), x, *arguments, axes=axes, scale=1e4)


@pytest.mark.parametrize("axis", [2, -3, 0.5, "a", None])
@pytest.mark.parametrize("name", ["sobel", "prewitt", "correlate1d", "uniform_filter1d", "gaussian_filter1d"])
def test_bad_axis(name, axis):
    arguments = {"correlate1d": ([1, 2],), "uniform_filter1d": (3,), "gaussian_filter1d": (1,)}.get(name, ())
    raised = agree(getattr(ours, name), getattr(model, name), np.ones((3, 4)), *arguments, axis=axis)
    assert isinstance(raised, Exception)


@pytest.mark.parametrize("value", [0, -1, 2.5, "a", None, [2], [2, 3, 4]])
@pytest.mark.parametrize("name", ["uniform_filter", "uniform_filter1d", "gaussian_filter", "gaussian_filter1d"])
def test_bad_sizes(name, value):
    x = np.arange(12.0).reshape(3, 4)
    agree(getattr(ours, name), getattr(model, name), x, value, scale=1e3)


@pytest.mark.parametrize(
    "options",
    [
        {"order": -1},
        {"order": 1.5},
        {"order": "a"},
        {"order": [0, 1, 2]},
        {"radius": -1},
        {"radius": 1.5},
        {"truncate": "a"},
        {"truncate": -1},
        {"mode": ["wrap", "reflect", "wrap"]},
    ],
)
@pytest.mark.parametrize("name", ["gaussian_filter", "gaussian_filter1d"])
def test_bad_options_of_the_gaussian(name, options):
    agree(getattr(ours, name), getattr(model, name), np.arange(12.0).reshape(3, 4), 1, scale=1e3, **options)


@pytest.mark.parametrize("name", ["correlate", "correlate1d", "uniform_filter", "gaussian_filter", "sobel"])
@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant"])
def test_empty_images(name, mode):
    x = np.zeros((0, 3))
    arguments = {"correlate": ([[1.0, 2]],), "correlate1d": ([1.0],), "uniform_filter": (2,), "gaussian_filter": (1,)}
    agree(getattr(ours, name), getattr(model, name), x, *arguments.get(name, ()), mode=mode)


def test_numbers_that_do_not_fit_keep_their_lowest_bits():
    for dtype in INTEGERS:
        x = np.array([100, 2, 3, 127], dtype)
        for k in ([2.0, 0], [-1.5, 0.25], [1000.0, 7]):
            agree(ours.correlate, model.correlate, x, k)
            agree(ours.correlate1d, model.correlate1d, x, k)
    agree(ours.correlate, model.correlate, np.array([2**63 + 2048, 5], np.uint64), [1.0, 0])


def test_a_nan_under_a_weight_of_zero():
    """correlate leaves such weights out; correlate1d multiplies."""
    x = np.array([1.0, np.nan, 2, 3, np.inf, 4, 5])
    for name in ("correlate", "correlate1d", "convolve", "convolve1d"):
        agree(getattr(ours, name), getattr(model, name), x, [2.0, 0, 1], scale=10)
        agree(getattr(ours, name), getattr(model, name), x, [0, 1.0, -1], scale=10)


def test_a_nan_stays_in_its_windows():
    """SciPy's running sum carries one on to the end of the line."""
    x = np.ones(20)
    x[4] = np.nan
    assert np.flatnonzero(np.isnan(ours.uniform_filter1d(x, 3))).tolist() == [3, 4, 5]
    assert isinstance(outcome(model.uniform_filter1d, x, 3), np.ndarray)
