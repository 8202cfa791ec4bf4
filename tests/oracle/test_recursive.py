"""Recursions against the definition: smooth factors of every kind, boundaries, layouts, types; bits, NaN, bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms.support import recursions
from convkit.errors import AccuracyError
from convkit.planner import exponentials, nonfinite
from convkit.planner.exponentials import smoothness_of
from convkit.planner.plan import forget_plans
from tests.oracle.agreement import extended, truth
from tests.oracle.strategies import Case, lattice, random_array

BOUNDARIES = ("zero", "constant", "edge", "reflect", "symmetric", "wrap")
FACTORS = ("gaussian", "even size", "slope", "curvature", "decay", "growth", "off centre", "one", "pair")


def factor(kind: str, sigma: float) -> np.ndarray:
    """A smooth factor; none but the first four looks the same from both ends."""
    reach = int(3.5 * sigma + 0.5)
    j = np.arange(-reach, reach + 1.0)
    bell = np.exp(-(j**2) / (2 * sigma**2))
    return {
        "gaussian": bell, "even size": np.exp(-((j[1:] - 0.5) ** 2) / (2 * sigma**2)), "slope": j * bell,
        "curvature": (j**2 / sigma**2 - 1) * bell, "decay": np.exp(-(j - j[0]) / sigma),
        "growth": np.exp((j - j[-1]) / sigma), "off centre": bell[reach // 2 :], "one": np.array([2.0]),
        "pair": np.array([2.0, 1.0]),
    }[kind]  # fmt: skip


def recursive(case: Case, accuracy: float) -> tuple[np.ndarray, float]:
    """What it gives, and the bound of its plan."""
    prepared = ck.Convolver(case.k, case.operation, case.mode, accuracy=accuracy, method="recursive", **case.options)
    plan = prepared.plan(case.x.shape, case.x.dtype)
    assert plan.choice == "recursive"
    assert plan.error_bound.kind == "norm"
    assert plan.error_bound.factor <= accuracy
    return prepared.apply(case.x), plan.error_bound.factor


def check(case: Case, accuracy: float, expected: np.ndarray) -> float:
    """The error as a part of what is allowed."""
    ours, factor = recursive(case, accuracy)
    assert ours.shape == expected.shape
    norms = np.linalg.norm(extended(case).astype(float)) * np.linalg.norm(case.k.astype(float))
    error = np.abs(ours.astype(float) - expected).max(initial=0)
    assert error <= factor * norms + 2.0**-50, (error / norms, factor)
    return float(error / (factor * norms + 1e-300))


def exact(case: Case) -> np.ndarray:
    """The terms of the definition, in float64."""
    verb = ck.convolve if case.operation == "convolution" else ck.correlate
    return verb(case.x.astype(float), case.k.astype(float), case.mode, method="direct", **case.options)


@st.composite
def cases(draw: st.DrawFn, most: int, widest: float) -> tuple[Case, float]:
    """Any geometry of one axis or two."""
    rank = draw(st.sampled_from((1, 2)))
    accuracy = draw(st.sampled_from((1e-2, 1e-3, 1e-4, 1e-5)))
    kinds = st.tuples(st.sampled_from(FACTORS), st.floats(1.5, widest))
    factors = [factor(*draw(kinds)) for _ in range(rank)]
    dtype = draw(st.sampled_from(("float32", "float64", "uint8", "int16")))
    kernel = factors[0] if rank == 1 else np.outer(*factors)
    shape = tuple(draw(st.integers(1, most)) for _ in range(rank))
    options: dict[str, object] = {
        "boundary": [tuple(draw(st.sampled_from(BOUNDARIES)) for _ in range(2)) for _ in range(rank)],
        "fill": draw(st.sampled_from((0, 3, -2.5))), "dilation": tuple(draw(st.integers(1, 3)) for _ in range(rank)),
    }  # fmt: skip
    if np.dtype(dtype).kind in "iu":
        options["dtype"] = "float32"
    mode = draw(st.sampled_from(("same", "full")))
    kernel = kernel.astype("float32" if dtype != "float64" else dtype)
    assume(smoothness_of(kernel, accuracy))  # a few of them, narrow and bent, are no sum of few oscillations
    case = Case(
        random_array(shape, dtype, draw(st.integers(0, 99))),
        kernel,
        draw(st.sampled_from(("convolution", "correlation"))), mode, options,
    )  # fmt: skip
    return case, accuracy


def test_a_narrow_bent_kernel_is_left_to_others() -> None:
    kernel = factor("curvature", 2.6).astype("float32")
    with pytest.raises(AccuracyError, match="few oscillations"):
        ck.convolve(np.ones(9, "float32"), kernel, accuracy=1e-5, method="recursive")
    most = [factor(kind, sigma).astype("float32") for kind in FACTORS for sigma in (1.5, 2.5, 4.0, 7.0, 9.0)]
    assert sum(bool(smoothness_of(one, 1e-5)) for one in most) > 0.9 * len(most)


@lattice(60)
@given(cases(most=13, widest=2.5))
def test_small_ones_against_the_oracle(drawn: tuple[Case, float]) -> None:
    case, accuracy = drawn
    check(case, accuracy, truth(case, dtype="float64"))


@lattice(120)
@given(cases(most=90, widest=9.0))
def test_around_vectors_and_bands(drawn: tuple[Case, float]) -> None:
    case, accuracy = drawn
    check(case, accuracy, exact(case))


@pytest.mark.parametrize("shape", [(700, 130), (130, 700), (33, 2100)])
def test_several_blocks_and_bands(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recursions, "WIDEST", 500)
    recursions.cut_of.cache_clear()
    forget_plans()
    for boundary in BOUNDARIES:
        for kinds in (("gaussian", "slope"), ("decay", "growth")):
            kernel = np.outer(factor(kinds[0], 6), factor(kinds[1], 4)).astype("float32")
            case = Case(random_array(shape, "float32", 1), kernel, mode="same", options={"boundary": boundary})
            check(case, 1e-4, exact(case))
    recursions.cut_of.cache_clear()
    forget_plans()


@pytest.mark.parametrize("size", [1, 511, 512, 513, 40_000, 300_001])
def test_signals_cut_into_pieces(size: int) -> None:
    for kind in ("gaussian", "growth", "off centre"):
        kernel = factor(kind, 25).astype("float32")
        for boundary in ("zero", "wrap"):
            options = {"boundary": boundary, "dilation": 2}
            case = Case(random_array((size,), "float32", 1), kernel, mode="same", options=options)
            check(case, 1e-4, exact(case))


def test_what_is_allowed_is_needed() -> None:
    """The fit's part of the bound is no guess: an input made for it is off by nearly as much."""
    kernel = factor("gaussian", 12)
    fitted = recursive(Case(np.eye(1, 2 * len(kernel), len(kernel))[0], kernel, mode="full"), 1e-2)
    difference = fitted[0][len(kernel) : 2 * len(kernel)] - kernel
    case = Case(difference[::-1].copy(), kernel, mode="same")
    assert check(case, 1e-2, exact(case)) > 0.5


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_any_layout(dtype: str) -> None:
    whole = random_array((180, 140), dtype, 3)
    kernel = np.outer(factor("growth", 3), factor("slope", 4)).astype("float64" if dtype == "float64" else "float32")
    views = [whole[::-1, ::-1], whole.T, whole[::2, ::3], np.asfortranarray(whole), whole[5:, 7:]]
    for view in views:
        case = Case(view, kernel, mode="same", options={"boundary": "reflect"})
        ours, _ = recursive(case, 1e-4)
        check(case, 1e-4, exact(case))
        assert (
            ours.tobytes() == recursive(Case(view.copy(), kernel, mode="same", options=case.options), 1e-4)[0].tobytes()
        )


@pytest.mark.parametrize(
    ("shape", "axes"), [((5, 90, 70), (1, 2)), ((90, 70, 3), (0, 1)), ((3, 4000), (1,)), ((4000, 3), (0,))]
)
def test_a_batch_changes_no_bits(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = random_array(shape, "float32", 4)
    kernel = factor("off centre", 6) if len(axes) == 1 else np.outer(factor("slope", 5), factor("decay", 3))
    kernel = kernel.astype("float32")
    options = {"mode": "same", "boundary": "symmetric", "accuracy": 1e-4, "method": "recursive"}
    whole = ck.convolve(x, kernel, axes=axes, **options)
    outer = next(axis for axis in range(x.ndim) if axis not in axes)
    for n in range(shape[outer]):
        alone = ck.convolve(x.take(n, outer), kernel, **options)
        assert alone.tobytes() == whole.take(n, outer).tobytes()


@pytest.mark.parametrize("shape", [(400, 300), (60_000,)])
def test_threads_change_no_bits(shape: tuple[int, ...]) -> None:
    x, w = random_array(shape, "float32", 5), factor("off centre", 9)
    kernel = (w if len(shape) == 1 else np.outer(w, factor("gaussian", 5))).astype("float32")
    found, before = set(), ck.num_threads()
    try:
        for count in (1, 2, 3):
            ck.set_num_threads(count)
            found.add(ck.convolve(x, kernel, "same", accuracy=1e-4, method="recursive").tobytes())
    finally:
        ck.set_num_threads(before)
    assert len(found) == 1


@pytest.mark.parametrize("shape", [(150, 120), (9000,)])
def test_a_nan_touches_its_windows_alone(shape: tuple[int, ...]) -> None:
    x, w = random_array(shape, "float32", 6), factor("gaussian", 4)
    kernel = (w if len(shape) == 1 else np.outer(w, factor("even size", 3))).astype("float32")
    x[tuple(n // 2 for n in shape)], x[tuple(3 for _ in shape)] = np.nan, np.inf
    ours = ck.convolve(x, kernel, "same", accuracy=1e-4, method="recursive")
    expected = ck.convolve(x, kernel, "same", method="direct")
    assert np.array_equal(np.isnan(ours), np.isnan(expected))
    assert np.array_equal(np.isposinf(ours), np.isposinf(expected))
    finite = np.isfinite(expected)
    assert 0 < (~finite).sum() < finite.size // 2
    assert np.abs(ours[finite] - expected[finite]).max() < 1e-2
    assert "recursive" in nonfinite.SPREADING


def test_bytes_are_rounded_and_saturated() -> None:
    x = random_array((200, 90), "uint8", 7)
    kernel = np.outer(factor("gaussian", 4), factor("gaussian", 5)).astype("float32")
    kernel /= 0.9 * kernel.sum()
    options = {"mode": "same", "dtype": "uint8", "overflow": "saturate", "boundary": "reflect"}
    ours = ck.convolve(x, kernel, accuracy=1e-4, method="recursive", **options)
    expected = ck.convolve(x, kernel, method="direct", **options)
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - expected).max() <= 1


def test_it_is_offered_for_smooth_kernels_within_a_number() -> None:
    x = random_array((600, 600), "float32", 8)
    smooth = np.outer(factor("gaussian", 30), factor("gaussian", 30)).astype("float32")
    rough = random_array((211, 211), "float32", 9)

    def choice(kernel: np.ndarray, **options: object) -> str:
        return ck.Convolver(kernel, mode="same", **options).plan(x.shape, "float32").choice

    assert choice(smooth, accuracy=1e-4) == "recursive"
    assert choice(smooth) != "recursive"
    assert choice(rough, accuracy=1e-4) != "recursive"
    for kernel, options, word in (
        (smooth, {}, "1e-4"), (rough, {"accuracy": 1e-4}, "oscillations"),
        (smooth, {"accuracy": 1e-4, "stride": 2}, "stride"),
        (np.outer(np.outer([1, 2, 1], [1, 2]), [3, 1]).reshape(3, 2, 2) * 1.0, {"accuracy": 1e-4}, "two"),
        (np.ones(20_000), {"accuracy": 1e-4}, "further"),
    ):  # fmt: skip
        shape = x.shape if kernel.ndim == 2 else (30,) * kernel.ndim
        with pytest.raises(AccuracyError, match=word) as error:
            ck.Convolver(kernel, mode="same", method="recursive", **options).plan(shape, kernel.dtype)
        assert error.value.code == "accuracy.method-does-not-apply"


def test_the_fit_is_found_once() -> None:
    kernel = np.outer(factor("gaussian", 7), factor("gaussian", 7.5)).astype("float32")
    x = random_array((300, 300), "float32", 1)
    first = ck.convolve(x, kernel, "same", accuracy=1e-4, method="recursive")
    before = exponentials._fit.cache_info()
    again = ck.convolve(x, kernel.copy(), "same", accuracy=1e-4, method="recursive")
    assert exponentials._fit.cache_info().misses == before.misses
    assert first.tobytes() == again.tobytes()


def test_measuring_takes_it_along() -> None:
    kernel = np.outer(factor("gaussian", 20), factor("gaussian", 21)).astype("float32")
    x = random_array((400, 400), "float32", 2)
    case = Case(x, kernel, mode="same")
    ours = ck.convolve(x, kernel, "same", accuracy=1e-4, method="measure")
    assert np.abs(ours - exact(case)).max() <= 1e-4 * np.linalg.norm(x) * np.linalg.norm(kernel)
