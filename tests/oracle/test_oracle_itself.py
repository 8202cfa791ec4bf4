"""The oracle's own promises: exact numbers of any kind, traces that add up, missing samples, overflow."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given

from convkit.catalogue import LANGUAGES
from convkit.errors import IntegerOverflowError
from convkit.oracle import (
    Grid,
    TraceError,
    adapters,
    adjoint,
    array_operator,
    bias_gradient,
    inner,
    input_gradient,
    kernel_gradient,
    network_operator,
    omit,
    trace,
    transposed_operator,
)
from convkit.oracle.exact import Gaussian
from convkit.spec import ConvSpec
from tests.oracle.strategies import Case, array_cases, lattice, network_cases, random_array


def convolve(x: list, k: list, mode: str = "full", operation: str = "convolution", **options: object) -> list:
    x_grid, k_grid = Grid.of(x), Grid.of(k)
    spec = ConvSpec.of_arrays(x_grid.rank, operation, mode, **options)
    return array_operator(spec, x_grid.shape, k_grid.shape).apply(x_grid, k_grid).nested()


class Symbol:
    """A product or sum of letters, written out: nothing but + and *."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __add__(self, other: Symbol) -> Symbol:
        return Symbol(f"{self.text}+{other.text}")

    def __mul__(self, other: Symbol) -> Symbol:
        return Symbol(f"{self.text}{other.text}")


def test_convolution_flips_and_correlation_does_not() -> None:
    assert convolve([1, 2, 3, 4, 5, 6], [1, 2, 3], "valid") == [10, 16, 22, 28]
    assert convolve([1, 2, 3, 4, 5, 6], [1, 2, 3], "valid", "correlation") == [14, 20, 26, 32]


def test_symbols_need_only_plus_and_times() -> None:
    out = convolve([Symbol(c) for c in "abc"], [Symbol(c) for c in "ijk"])
    assert [value.text for value in out] == ["ai", "bi+aj", "ci+bj+ak", "cj+bk", "ck"]


@pytest.mark.parametrize("kind", [Fraction, Decimal, int, complex, float])
def test_numbers_of_every_kind_keep_their_kind(kind: type) -> None:
    out = convolve([kind(1), kind(2), kind(3)], [kind(4), kind(5)])
    assert out == [4, 13, 22, 15]
    assert {type(value) for value in out} == {kind}


def test_fractions_are_exact() -> None:
    third = Fraction(1, 3)
    assert convolve([third] * 3, [third, 2 * third], "valid") == [Fraction(1, 3)] * 2


def test_integers_are_as_long_as_they_need() -> None:
    assert convolve([10**30, 1], [10**30, 7]) == [10**60, 8 * 10**30, 7]


def test_an_empty_axis_gives_zeros() -> None:
    spec = ConvSpec.of_arrays(1)
    assert array_operator(spec, (0,), (4,)).apply(Grid((0,), []), Grid.of([1, 2, 3, 4])).values == [0, 0, 0]


def test_the_last_axis_outside_decides() -> None:
    # Axis 0 holds 5 outside, axis 1 holds 0: a corner is outside both, and axis 1 was extended last.
    out = convolve([[1]], [[1, 1], [1, 1]], boundary=("constant", "zero"), fill=5)
    assert out == [[6, 6], [6, 6]]
    out = convolve([[1]], [[1, 1], [1, 1]], boundary=("zero", "constant"), fill=5)
    assert out == [[11, 11], [11, 11]]


def test_beyond_a_zero_boundary_there_is_no_term() -> None:
    assert convolve([1.0, 2.0], [1.0, inf]) == [1.0, inf, inf]
    out = convolve([1.0, 2.0], [1.0, inf], boundary="constant", fill=0.0)
    assert out[0] != out[0]


def test_nan_and_infinity_touch_their_windows_only() -> None:
    x = [1.0, 1.0, nan, 1.0, 1.0, inf, 1.0, 1.0]
    out = convolve(x, [0.0, 1.0], "same")
    assert [str(value) for value in out] == ["0.0", "1.0", "nan", "nan", "1.0", "nan", "inf", "1.0"]


@pytest.mark.parametrize(("n", "k", "s"), [(6, 3, 2), (5, 4, 3)])
def test_stride_takes_every_s_th_output(n: int, k: int, s: int) -> None:
    x, kernel = list(range(1, n + 1)), [3, 1, 4, 1][:k]
    for mode in ("full", "same", "valid"):
        assert convolve(x, kernel, mode, stride=s) == convolve(x, kernel, mode)[::s]


def test_dilation_puts_zeros_between_the_elements() -> None:
    for mode in ("full", "valid"):
        assert convolve([1, 2, 3, 4, 5, 6], [1, 2, 3], mode, dilation=2) == convolve(
            [1, 2, 3, 4, 5, 6], [1, 0, 2, 0, 3], mode
        )
    # The anchor is an element of the kernel, not a position of the dilated one.
    x = [1, 2, 3, 4, 5, 6]
    dilated = convolve(x, [1, 2, 3, 4], "same", dilation=2)
    assert dilated == convolve(x, [1, 0, 2, 0, 3, 0, 4], "same", anchor=2)


def test_long_wrap() -> None:
    assert convolve([1, 10], [1, 1, 1, 1, 1], "same", boundary="wrap") == [23, 32]


def test_transposed_is_stamping() -> None:
    spec = ConvSpec.of_network(1, direction="transposed", stride=2, padding=[(1, 0)], output_padding=1)
    operator = transposed_operator(spec, (1, 1, 3), (1, 1, 3))
    out = operator.apply(Grid((1, 1, 3), [1, 10, 100]), Grid((1, 1, 3), [1, 2, 3])).values
    assert out == [2, 13, 20, 130, 200, 300, 0]


@lattice(60)
@given(network_cases(dtype="int64", direction="transposed"))
def test_transposed_is_the_adjoint_of_forward(case: Case) -> None:
    y_like = transposed_operator(
        ConvSpec.of_network(case.x.ndim - 2, direction="transposed", **case.options),
        case.x.shape,
        case.k.shape,
    )
    options = {name: value for name, value in case.options.items() if name != "output_padding"}
    spec = ConvSpec.of_network(case.x.ndim - 2, **options)
    forward = network_operator(spec, y_like.output_shape, case.k.shape)
    g, w = adapters.to_grid(case.x), adapters.to_grid(case.k)
    # An output_padding of a stride or more leaves room for windows that nothing comes from.
    wide = Grid.full(forward.output_shape, 0)
    for index in g.indices():
        wide[index] = g[index]
    assert input_gradient(forward, wide, w) == y_like.apply(g, w)


@lattice(60)
@given(array_cases())
def test_the_trace_adds_up_to_the_value_and_serialises(case: Case) -> None:
    options = dict(case.options)
    operator = adapters.operator_of(case.operation, case.x.shape, case.k.shape, case.mode, **options)
    x, k = adapters.to_grid(case.x), adapters.to_grid(case.k)
    steps = trace(operator, x, k)
    steps.verify()
    assert steps.values() == operator.apply(x, k).values
    assert len(json.loads(json.dumps(steps.to_dict()))["steps"]) == len(steps)
    axes = case.options.get("axes", range(case.x.ndim))
    along = axes if case.k.ndim == case.x.ndim else range(case.k.ndim)
    assert all(len(step.terms) == np.prod([case.k.shape[axis] for axis in along]) for step in steps)


def test_a_trace_of_a_network_holds_the_bias() -> None:
    operator = network_operator(ConvSpec.of_network(1, padding=1), (1, 2, 3), (2, 2, 3))
    x, w = Grid((1, 2, 3), [1, 2, 3, 4, 5, 6]), Grid((2, 2, 3), list(range(12)))
    steps = trace(operator, x, w, Grid.of([100, 200]), outputs=[(0, 1, 0)])
    (step,) = steps
    assert [term.source for term in step.terms] == [
        "zero",
        (0, 0, 0),
        (0, 0, 1),
        "zero",
        (0, 1, 0),
        (0, 1, 1),
    ]
    assert step.value == 200 + 1 * 7 + 2 * 8 + 4 * 10 + 5 * 11
    assert steps[(0, 1, 0)] is step
    with pytest.raises(KeyError):
        steps[(0, 0, 0)]


def test_a_corrupted_trace_is_found() -> None:
    operator = array_operator(ConvSpec.of_arrays(1), (3,), (2,))
    x, k = Grid.of([1, 2, 3]), Grid.of([4, 5])
    steps = trace(operator, x, k)
    steps[(1,)].value += 1
    with pytest.raises(TraceError, match=r"output \(1\) is 14, but its 2 terms add up to 13") as caught:
        steps.verify()
    assert caught.value.code == "trace.wrong-sum"
    steps = trace(operator, x, k)
    term = steps[(2,)].terms[0]
    steps[(2,)].terms[0] = type(term)(term.source, term.kernel, term.x, term.k, 99)
    with pytest.raises(TraceError, match=r"3 \* 4 = 12, not 99") as caught:
        steps.verify()
    assert caught.value.code == "trace.wrong-product"
    del steps[(2,)].terms[0]
    with pytest.raises(TraceError):
        steps.verify()
    for name in LANGUAGES:
        assert "99" in caught.value.text(name)
        assert len(caught.value.text(name).splitlines()) == 3


def test_a_trace_writes_every_kind_of_number() -> None:
    x = Grid.of([Fraction(1, 3), 2, Decimal("0.5"), 1 + 2j, nan])
    operator = array_operator(ConvSpec.of_arrays(1), (5,), (1,))
    written = trace(operator, x, Grid.of([1])).to_dict()
    assert [step["value"] for step in written["steps"]] == ["1/3", 2, "0.5", [1.0, 2.0], "nan"]
    json.dumps(written, allow_nan=False)


@lattice(60)
@given(array_cases(dtypes=(("int64", "int64"),)))
def test_gradients_are_the_derivatives_of_a_bilinear_form(case: Case) -> None:
    """``<A(x,k), g>`` is linear in x and in k, so unit steps give its derivatives exactly."""
    options = {**case.options, "fill": 0}
    operator = adapters.operator_of(case.operation, case.x.shape, case.k.shape, case.mode, **options)
    x, k = adapters.to_grid(case.x), adapters.to_grid(case.k)
    g = adapters.to_grid(random_array(operator.output_shape, "int64", 5))
    for grid, gradient in ((x, input_gradient(operator, g, k)), (k, kernel_gradient(operator, g, x))):
        value = inner(operator.apply(x, k), g)
        for index in list(grid.indices())[:: max(1, len(grid.values) // 3)]:
            grid[index] += 1
            assert inner(operator.apply(x, k), g) - value == gradient[index]
            grid[index] -= 1
        assert sum(a * b for a, b in zip(grid.values, gradient.values)) == value


def test_the_fill_has_a_share_in_the_kernels_gradient() -> None:
    operator = array_operator(ConvSpec.of_arrays(1, mode="same", boundary="constant", fill=10), (2,), (3,))
    assert kernel_gradient(operator, Grid.of([1, 0]), Grid.of([1, 2])).values == [2, 1, 10]


def test_bias_gradient() -> None:
    assert bias_gradient(Grid((2, 2, 2), [1, 2, 3, 4, 5, 6, 7, 8])).values == [14, 22]


@lattice(60)
@given(array_cases(dtypes=(("complex128", "complex128"), ("int64", "int64"))))
def test_the_adjoint_identity_holds_exactly(case: Case) -> None:
    options = {**case.options, "fill": 0}
    operator = adapters.operator_of(case.operation, case.x.shape, case.k.shape, case.mode, **options)
    x, k = adapters.to_grid(case.x), adapters.to_grid(case.k)
    y = adapters.to_grid(random_array(operator.output_shape, case.x.dtype.name, 6))
    assert inner(operator.apply(x, k), y) == inner(x, adjoint(operator, y, k))


def test_omitted_samples() -> None:
    x = Grid.of([1, nan, 4, nan, nan])
    presence = Grid.of([1, 0, 1, 0, 0])
    operator = array_operator(ConvSpec.of_arrays(1, mode="valid"), (5,), (2,))
    out = omit(operator, x, Grid.of([1, 3]), presence).values
    # Windows (1 ?), (? 4), (4 ?), (? ?): the absent sample is the present one.
    assert out[:3] == [4, 16, 16]
    assert out[3] != out[3]


def test_omission_keeps_a_signed_kernel_sensible() -> None:
    # A difference beside a gap: the absent sample takes the mean of those present, so the slope there is 0.
    operator = array_operator(ConvSpec.of_arrays(1, "correlation", "valid"), (3,), (2,))
    assert omit(operator, Grid.of([1, 4, nan]), Grid.of([-1, 1]), Grid.of([1, 1, 0])).values == [3, 0]


def test_a_boundary_counts_as_present_and_copies_do_not() -> None:
    x, k, presence = Grid.of([nan, 6]), Grid.of([1, 1, 1]), Grid.of([0, 1])
    zero = array_operator(ConvSpec.of_arrays(1, mode="same"), (2,), (3,))
    assert omit(zero, x, k, presence).values[0] == Fraction(6 * 3, 2)
    edge = array_operator(ConvSpec.of_arrays(1, mode="same", boundary="edge"), (2,), (3,))
    assert omit(edge, x, k, presence).values[0] == 18


def test_weights_between_absent_and_present() -> None:
    half = Fraction(1, 2)
    operator = array_operator(ConvSpec.of_arrays(1, mode="valid"), (2,), (2,))
    out = omit(operator, Grid.of([2, 8]), Grid.of([1, 1]), Grid.of([1, half])).values
    assert out == [Fraction(2 + 4) * 2 / Fraction(3, 2)]


def test_overflow_policies() -> None:
    x, k = np.array([200, 100], np.uint8), np.array([2, 1], np.uint8)
    assert adapters.oracle_convolve(x, k).tolist() == [400, 400, 100]
    assert adapters.oracle_convolve(x, k, dtype="uint8", overflow="saturate").tolist() == [255, 255, 100]
    assert adapters.oracle_convolve(x, k, dtype="uint8", overflow="wrap").tolist() == [144, 144, 100]
    with pytest.raises(IntegerOverflowError):
        adapters.oracle_convolve(x, k, dtype="uint8")
    big = np.array([2**62, 2**62], np.int64)
    assert adapters.oracle_convolve(big, np.array([1, 1]), "valid", overflow="wrap").tolist() == [-(2**63)]
    with pytest.raises(IntegerOverflowError):
        adapters.oracle_convolve(big, np.array([1, 1]), "valid")


def test_floats_into_integers_round_half_to_even_and_saturate() -> None:
    out = adapters.oracle_convolve(np.array([1, 3, 5, 255, 0], np.uint8), np.array([0.5]), dtype="uint8")
    assert out.tolist() == [0, 2, 2, 128, 0]
    out = adapters.oracle_convolve(np.array([1, 200], np.uint8), np.array([-1.0, 2.0]), dtype="uint8")
    assert out.tolist() == [0, 0, 255]


def test_floats_are_summed_without_rounding() -> None:
    x, k = np.array([1e16, 1.0, -1e16]), np.ones(3)
    assert adapters.oracle_convolve(x, k, "valid").tolist() == [1.0]
    assert adapters.oracle_convolve(x, k, "valid", arithmetic="plain").tolist() == [0.0]


def test_exact_complex_numbers() -> None:
    a, b = Gaussian(Fraction(1, 3), 2), Gaussian(-1, Fraction(1, 2))
    assert a * b == Gaussian(Fraction(-4, 3), Fraction(-11, 6))
    assert a + 1 == Gaussian(Fraction(4, 3), 2)
    assert (a / 2).imag == 1
    assert abs(Gaussian(3, 4)) == 5
    with pytest.raises(TypeError, match="real numbers"):
        a / b


def test_grids_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="3 values do not fill"):
        Grid((2, 2), [1, 2, 3])
    with pytest.raises(ValueError, match="unequal"):
        Grid.of([[1, 2], [3]])
    with pytest.raises(IndexError):
        Grid.of([1, 2])[(-1,)]
    nested = [[[1, 2]], [[3, 4]]]
    assert Grid.of(nested).nested() == nested
    assert Grid.of(7).nested() == 7


def test_axes_in_another_order_take_the_kernels_axes_along() -> None:
    x, k = random_array((4, 5), "int64", 8), random_array((2, 3), "int64", 9)
    spread = adapters.oracle_convolve(x, k.T, axes=(1, 0))
    assert np.array_equal(spread, adapters.oracle_convolve(x, k))
