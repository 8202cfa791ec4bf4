"""Every registered algorithm, forced, against the oracle: within the bound that its plan states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import (
    box,
    col2im,
    compiled,
    compiled_integer,
    depthwise,
    exact_integer,
    implicit_gemm,
    rows,
    sliding_box,
    winograd,
)
from convkit.algorithms.support import fourier_layers, gradients
from convkit.errors import AccuracyError
from convkit.oracle import adapters
from convkit.planner import registry
from convkit.planner.plan import forget_plans
from convkit.verbs import bilinear
from tests.oracle.agreement import assert_agrees, extended, magnitudes, products, roundoff, truth, verb
from tests.oracle.strategies import DTYPES, Case, array_cases, lattice, network_cases, random_array

assert ck.convolve  # the algorithms register themselves when the verbs are loaded
NAMES = [algorithm.name for algorithm in registry.algorithms()]
FLOATS = tuple(pair for pair in DTYPES if np.result_type(*pair).kind in "fc" and pair[0] != "float16")
REAL = tuple(pair for pair in FLOATS if np.result_type(*pair).kind == "f")
TYPES = {"exact-integer": DTYPES, "compiled-exact": DTYPES, "rows": REAL, "box": REAL}
TYPES["sliding-box"] = (("float32", "float32"),)
GRADIENTS = {
    "kernel-gradient", "depthwise-gradient", "channelwise-gradient", "winograd-gradient-2", "winograd-gradient-4",
}  # fmt: skip
NETWORK_ONLY = {"polyphase", "col2im", "implicit-gemm", "depthwise", "winograd-2", "winograd-4", *GRADIENTS}
FACTORED = {"separable": 1, "low-rank": 2, "box": 1, "sliding-box": 1}
BYTES = {"byte-box", "byte-separable"}


@pytest.fixture(autouse=True)
def compile_everything(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small problems, which are not worth compiling for, are the ones that an oracle can check."""
    monkeypatch.setattr(compiled, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(compiled, "LEAST_OF_A_ROW", 0)
    monkeypatch.setattr(compiled_integer, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(compiled_integer, "LEAST_OF_A_ROW", 0)
    monkeypatch.setattr(rows, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(implicit_gemm, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(col2im, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(winograd, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(depthwise, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(depthwise, "LEAST_GROUPS", 1)
    monkeypatch.setattr(fourier_layers, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(box, "LEAST", 2)
    monkeypatch.setattr(sliding_box, "LEAST", 2)
    forget_choices()
    yield
    forget_choices()


def forget_choices() -> None:
    """Plans made under other limits are not for other tests."""
    forget_plans()
    exact_integer._scheme.cache_clear()
    fourier_layers._tiling_of.cache_clear()


def test_the_algorithms_are_all_here() -> None:
    expected = {"compiled", "direct", "separable", "low-rank", "gemm", "fft", "overlap-save", "exact-integer"}
    expected |= {"rows", "box", "sliding-box", *BYTES}
    assert expected <= set(NAMES)


def _factored(shape: tuple[int, ...], dtype: str, rank: int, seed: int) -> np.ndarray:
    """A kernel that is a sum of ``rank`` outer products."""
    terms = []
    for term in range(rank):
        vectors = [random_array((n,), "float64", seed + 10 * term + axis) for axis, n in enumerate(shape)]
        terms.append(reduce(np.multiply.outer, vectors))
    return sum(terms).astype(dtype)


def applies(call: Callable[[], object]) -> bool:
    """Whether the forced algorithm takes the call; if not, it must say why."""
    try:
        call()
    except AccuracyError as error:
        if error.code != "accuracy.method-does-not-apply" or not str(error.facts["why"]):
            raise
        return False
    return True


def assert_within_bound(case: Case, name: str) -> None:
    """The forced algorithm's answer, the bound of its plan, and the exact answer."""
    plan = ck.Convolver(case.k, case.operation, case.mode, method=name, **case.options).plan(case.x.shape, case.x.dtype)
    ours = verb(case, method=name)
    assert plan.choice == name
    bound = plan.error_bound
    if bound.kind == "exact":
        assert_agrees(ours, truth(case), 0, 0)
        return
    wide = "complex128" if ours.dtype.kind == "c" else "float64"
    expected = truth(case, dtype=wide)
    sizes = magnitudes(case)
    if bound.kind == "elementwise":
        allowed = bound.factor * sizes
    else:
        allowed = (
            bound.factor
            * np.linalg.norm(extended(case).astype(np.complex128))
            * np.linalg.norm(case.k.astype(np.complex128))
        )
    # The reference itself is rounded once.
    allowed = allowed + 2.0**-52 * sizes
    assert roundoff(ours.dtype) <= bound.factor < 1e-3
    error = np.abs(ours.astype(np.complex128) - expected)
    assert np.all(error <= allowed), f"error {error.max()} where {np.max(allowed)} is allowed"


ELSEWHERE = NETWORK_ONLY | BYTES | {"overlap-save", "recursive"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ELSEWHERE])
def test_forced_within_its_bound(name: str) -> None:
    done = 0

    @lattice(100)
    @given(array_cases(dtypes=TYPES.get(name, FLOATS)), st.integers(0, 99))
    def check(case: Case, seed: int) -> None:
        nonlocal done
        if name in FACTORED:
            # Large enough for two factored passes to be fewer products than the kernel has.
            assume(case.k.ndim == case.x.ndim == 2 and "axes" not in case.options)
            case.k = _factored(tuple(n + 4 for n in case.k.shape), case.k.dtype.name, FACTORED[name], seed)
            case.x = random_array(tuple(n + 12 for n in case.x.shape), case.x.dtype.name, seed)
            if name == "box":  # constant along the rows, the columns, or both
                axis = seed % 3
                case.k[...] = case.k.take([0], axis) if axis < 2 else case.k[0, 0]
            if name == "sliding-box":
                case.k[...] = case.k[0, 0]
        if name == "dot":
            case.options = {name: value for name, value in case.options.items() if name == "axes"}
        if name == "swapped":
            assume(case.x.size > case.k.size and case.k.ndim == case.x.ndim)
            case.x, case.k, case.mode, case.options = case.k, case.x, "full", {}
        if applies(lambda: verb(case, method=name)):
            done += 1
            (assert_within_bound_of_sums if name in FACTORED else assert_within_bound)(case, name)

    check()
    assert done >= 10, f"{name} applied to {done} of the draws only"


LARGER = {
    "a long row": Case(random_array((3001,), "float64", 1), random_array((190,), "float64", 2), mode="same"),
    "a wide kernel": Case(random_array((64, 51), "float32", 3), random_array((12, 17), "float32", 4), "correlation"),
    "rows": Case(
        random_array((3, 700), "float64", 5), random_array((64,), "float64", 6), "convolution", "valid", {"axes": (1,)}
    ),
    "wrapped": Case(
        random_array((80, 97), "complex128", 7),
        random_array((8, 9), "complex128", 8),
        "correlation",
        "same",
        {"boundary": ("wrap", ("reflect", "constant")), "fill": 1.5},
    ),
}


def assert_within_bound_of_sums(case: Case, name: str) -> tuple[float, float]:
    """As `assert_within_bound`, the reference summed in extended precision; the error and what is allowed."""
    terms = products(case)
    plan = ck.Convolver(case.k, case.operation, case.mode, method=name, **case.options).plan(case.x.shape, case.x.dtype)
    error = np.abs(verb(case, method=name) - sum(terms)).astype(float)
    bound = plan.error_bound
    if bound.kind == "elementwise":
        allowed = bound.factor * sum(np.abs(term) for term in terms).astype(float)
    else:
        norms = [np.linalg.norm(array.astype(np.complex128)) for array in (extended(case), case.k)]
        allowed = bound.factor * norms[0] * norms[1]
    assert np.all(error <= allowed), f"error {error.max()} where {np.max(allowed)} is allowed"
    return float(error.max()), float(np.max(allowed))


@pytest.mark.parametrize("name", ["direct", "gemm", "fft", "overlap-save"])
@pytest.mark.parametrize("call", LARGER)
def test_larger_problems_within_the_bound(name: str, call: str) -> None:
    error, allowed = assert_within_bound_of_sums(LARGER[call], name)
    # A bound that is a million times the error would hold for anything.
    assert error >= 1e-6 * allowed


def test_overlap_save_within_its_bound() -> None:
    done = 0

    @lattice(60)
    @given(array_cases(dtypes=FLOATS, axes="never"), st.integers(0, 99))
    def check(case: Case, seed: int) -> None:
        nonlocal done
        assume(case.x.ndim < 3)
        shape = tuple(n + (60 if case.x.ndim == 2 else 700) for n in case.x.shape)
        case.x = random_array(shape, case.x.dtype.name, seed)
        if applies(lambda: verb(case, method="overlap-save")):
            done += 1
            assert_within_bound_of_sums(case, "overlap-save")

    check()
    assert done >= 10


@pytest.mark.parametrize("name", sorted(BYTES))
def test_bytes_within_the_bound_and_a_rounding(name: str) -> None:
    done = 0

    @lattice(100)
    @given(array_cases(dtypes=(("uint8", "float32"),), axes="never"), st.integers(0, 99))
    def check(case: Case, seed: int) -> None:
        nonlocal done
        assume(case.k.ndim == 2)
        case.options |= {"stride": 1, "dilation": (1, seed % 2 + 1), "fill": 0}
        case.x = 2 * random_array(tuple(n + 12 for n in case.x.shape), "uint8", seed)
        if name == "byte-box":
            case.k[...] = case.k[0, 0]
        else:
            case.k = _factored(tuple(n + 2 for n in case.k.shape), "float32", 1, seed)
        case.k /= np.abs(case.k.sum()) + np.float32(0.1)  # results within and beyond 0 to 255
        if not applies(lambda: verb(case, method=name, dtype="uint8")):
            return
        done += 1
        convolver = ck.Convolver(case.k, case.operation, case.mode, method=name, dtype="uint8", **case.options)
        terms = products(case)
        bound = convolver.plan(case.x.shape, "uint8").error_bound
        assert bound.kind == "elementwise"
        allowed = 0.5 + bound.factor * sum(np.abs(term) for term in terms)
        assert np.all(np.abs(verb(case, method=name, dtype="uint8") - np.clip(sum(terms), 0, 255)) <= allowed)

    check()
    assert done >= 10, f"{name} applied to {done} of the draws only"


FORWARD = [name for name in NAMES if name not in {*FACTORED, *BYTES, *GRADIENTS, "compiled-exact", "recursive"}]


@pytest.mark.parametrize("name", FORWARD)
def test_networks_forced(name: str) -> None:
    done = 0
    direction = "transposed" if name in ("polyphase", "col2im") else "forward"
    verbs = {
        "forward": (ck.conv, adapters.oracle_conv),
        "transposed": (ck.conv_transpose, adapters.oracle_conv_transpose),
    }
    ours_of, truth_of = verbs[direction]
    types = ("int64",) if name == "exact-integer" else ("float64", "float32", "int64")

    @lattice(60)
    @given(network_cases(direction=direction), st.sampled_from(types))
    def check(case: Case, dtype: str) -> None:
        nonlocal done
        x_shape, k_shape = case.x.shape, case.k.shape
        if name.startswith("winograd"):
            assume(case.x.ndim == 4)
            x_shape, k_shape = (*x_shape[:2], x_shape[2] + 2, x_shape[3] + 2), (*k_shape[:2], 3, 3)
            case.options.update(stride=1, dilation=1)
        case.x, case.k = random_array(x_shape, dtype, 1), random_array(k_shape, dtype, 2)
        if not applies(lambda: ours_of(case.x, case.k, method=name, **case.options)):
            return
        done += 1
        ours = ours_of(case.x, case.k, method=name, **case.options)
        scale = float((np.linalg.norm(case.x.astype(float)) + 9) * np.linalg.norm(case.k.astype(float))) * 3
        assert_agrees(ours, truth_of(case.x, case.k, **case.options), scale, case.k.size)

    check()
    few = ("compiled", "dot", "rows", "swapped", "col2im")
    assert done >= (1 if name in few else 10), f"{name} applied to {done} of the draws only"


@pytest.mark.parametrize("name", ["kernel-gradient", "winograd-gradient-2", "winograd-gradient-4"])
def test_gradients_of_weights_forced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3 x 3 weights, as layers ask for them: any padding, boundary, groups and order of the kernel."""
    done = 0
    monkeypatch.setattr(gradients, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(bilinear.Bilinear, "_method_of_adjoint", lambda _: name)

    @lattice(60)
    @given(network_cases(), st.sampled_from(("float64", "float32")))
    def check(case: Case, dtype: str) -> None:
        nonlocal done
        assume(case.x.ndim == 4)
        case.x = random_array((*case.x.shape[:2], case.x.shape[2] + 2, case.x.shape[3] + 2), dtype, 1)
        case.options.update(stride=1, dilation=1)
        shape = (*case.k.shape[:2], 3, 3)
        g = random_array(adapters.network_of(case.x.shape, shape, **case.options).output_shape, dtype, 4)
        if not applies(lambda: ck.conv_weight_gradient(g, case.x, shape, **case.options)):
            return
        done += 1
        expected = adapters.oracle_conv_weight_gradient(g, case.x, shape, **case.options)
        scale = float(np.linalg.norm(g.astype(float)) * (np.linalg.norm(case.x.astype(float)) + 3)) * 4
        assert_agrees(ck.conv_weight_gradient(g, case.x, shape, **case.options), expected, scale, g.size)

    check()
    assert done >= 10, f"{name} applied to {done} of the draws only"


@pytest.mark.parametrize("peak", [2**7, 2**20, 2**31, 2**45, 2**62])
@pytest.mark.parametrize(("n", "k"), [(50, 7), (400, 130), (5000, 900)])
def test_integers_of_every_size_are_exact(peak: int, n: int, k: int) -> None:
    """As far as the sums fit; where they do not, saturated and wrapped exactly."""
    source = np.random.default_rng(9)
    x, kernel = source.integers(-peak, peak, n), source.integers(-peak, peak, k)
    exact = [sum(int(a) * int(b) for a, b in zip(x[i : i + k], kernel[::-1])) for i in range(0, n - k + 1, 97)]
    fits = all(-(2**63) <= value < 2**63 for value in exact)
    ours = ck.convolve(x, kernel, "valid", overflow="raise" if 2 * peak.bit_length() + k.bit_length() < 62 else "wrap")
    if fits:
        assert ours[::97].tolist() == exact
    else:
        assert ours[::97].tolist() == [(value + 2**63) % 2**64 - 2**63 for value in exact]
        clipped = ck.convolve(x, kernel, "valid", overflow="saturate")
        assert clipped[::97].tolist() == [min(max(value, -(2**63)), 2**63 - 1) for value in exact]
        with pytest.raises(ck.errors.IntegerOverflowError):
            ck.convolve(x, kernel, "valid")


def test_a_bias_that_does_not_fit_is_not_added_silently() -> None:
    x, w, bias = np.array([[[2**62]]]), np.array([[[1]]]), np.array([2**62])
    with pytest.raises(ck.errors.IntegerOverflowError):
        ck.conv(x, w, bias)
    assert ck.conv(x, w, bias, overflow="saturate").tolist() == [[[2**63 - 1]]]
    assert ck.conv(x, w, bias, overflow="wrap").tolist() == [[[-(2**63)]]]


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ck.errors.OptionError) as caught:
        ck.convolve(np.zeros(3), np.ones(2), method="ffft")
    assert caught.value.code == "option.unknown-value"
    assert 'method="fft"' in str(caught.value)
