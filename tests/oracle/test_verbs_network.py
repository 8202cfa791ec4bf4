"""``ck.conv``, ``ck.conv_transpose``, their gradients, ``ck.pool`` and ``Convolver`` against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit as ck
from convkit.oracle import adapters
from tests.oracle.agreement import assert_agrees, truth
from tests.oracle.strategies import Case, array_cases, lattice, network_cases, pool_cases, random_array

DTYPES = st.sampled_from(("float64", "float32", "int64", "complex128"))


def _scale(case: Case) -> float:
    return float(np.linalg.norm(case.x.astype(complex)) * np.linalg.norm(case.k.astype(complex))) + 3 * float(
        np.abs(case.k).sum()
    )


def _retyped(case: Case, dtype: str) -> Case:
    case.x, case.k = random_array(case.x.shape, dtype, 1), random_array(case.k.shape, dtype, 2)
    return case


@lattice(160)
@given(network_cases(), DTYPES, st.booleans())
def test_conv(case: Case, dtype: str, biased: bool) -> None:
    case = _retyped(case, dtype)
    bias = random_array((case.k.shape[0],), dtype, 3) if biased else None
    expected = adapters.oracle_conv(case.x, case.k, bias, **case.options)
    assert_agrees(ck.conv(case.x, case.k, bias, **case.options), expected, _scale(case), case.k[0].size)


@lattice(120)
@given(network_cases(direction="transposed"), DTYPES, st.booleans())
def test_conv_transpose(case: Case, dtype: str, biased: bool) -> None:
    case = _retyped(case, dtype)
    outs = case.k.shape[1] * case.options["groups"]
    bias = random_array((outs,), dtype, 3) if biased else None
    expected = adapters.oracle_conv_transpose(case.x, case.k, bias, **case.options)
    ours = ck.conv_transpose(case.x, case.k, bias, **case.options)
    assert_agrees(ours, expected, _scale(case), case.k[:, 0].size)


@lattice(120)
@given(network_cases(), st.sampled_from(("float64", "float32", "int64")))
def test_gradients(case: Case, dtype: str) -> None:
    case = _retyped(case, dtype)
    operator = adapters.network_of(case.x.shape, case.k.shape, **case.options)
    g = random_array(operator.output_shape, dtype, 4)
    scale = float(np.linalg.norm(g.astype(float)) * (np.linalg.norm(case.k.astype(float)) + 3))
    expected = adapters.oracle_conv_input_gradient(g, case.k, case.x.shape, **case.options)
    ours = ck.conv_input_gradient(g, case.k, case.x.shape, **case.options)
    assert_agrees(ours, expected, scale * 4, case.k.size)
    expected = adapters.oracle_conv_weight_gradient(g, case.x, case.k.shape, **case.options)
    scale = float(np.linalg.norm(g.astype(float)) * (np.linalg.norm(case.x.astype(float)) + 3)) * 4
    assert_agrees(ck.conv_weight_gradient(g, case.x, case.k.shape, **case.options), expected, scale, g.size)


@lattice(150)
@given(pool_cases(), st.sampled_from(("float64", "float32", "uint8", "int64")))
def test_pool(drawn: tuple[tuple[int, ...], dict], dtype: str) -> None:
    shape, options = drawn
    x = random_array(shape, dtype, 5)
    size = options.pop("size")
    expected = adapters.oracle_pool(x, size, **options)
    ours = ck.pool(x, size, **options)
    if options["kind"] != "mean":
        assert (ours.dtype, ours.tolist()) == (expected.dtype, expected.tolist())
    else:
        assert_agrees(ours, expected, np.abs(x.astype(float)).max(), 16)


@pytest.mark.parametrize("shape", [(9,), (6, 7), (2, 7, 6), (2, 3, 5, 6), (1, 2, 4, 5, 6)])
def test_pool_of_one_size_for_all_axes(shape: tuple[int, ...]) -> None:
    x = random_array(shape if len(shape) != 3 else (2, 3, 7), "float64", 6)
    for kind in ("max", "mean"):
        np.testing.assert_allclose(ck.pool(x, 2, kind=kind), adapters.oracle_pool(x, 2, kind=kind), rtol=1e-14)


def test_pool_keeps_nan_in_its_windows() -> None:
    x = random_array((1, 1, 6, 7), "float64", 7)
    x[0, 0, 3, 2] = np.nan
    for kind in ("max", "mean"):
        options = {"kind": kind, "stride": 1, "padding": 1}
        np.testing.assert_allclose(ck.pool(x, (3, 2), **options), adapters.oracle_pool(x, (3, 2), **options))


@lattice(150)
@given(array_cases(dtypes=(("float64", "float64"), ("int64", "int64"), ("complex128", "complex128"))))
def test_convolver_and_its_adjoint(case: Case) -> None:
    convolver = ck.Convolver(case.k, case.operation, case.mode, **case.options)
    expected = truth(case)
    scale = float(np.linalg.norm(case.x) + 10) * float(np.linalg.norm(case.k) + 1) * 4
    assert_agrees(convolver.apply(case.x), expected, scale, case.k.size)
    y = random_array(expected.shape, case.x.dtype.name, 8)
    options = {**case.options, "fill": 0}
    wanted = adapters.oracle_adjoint(y, case.k, case.x.shape, case.operation, case.mode, **options)
    ours = convolver.adjoint(y, case.x.shape)
    scale = float(np.linalg.norm(y) + 1) * float(np.linalg.norm(case.k) + 1) * 8
    assert_agrees(ours, wanted, scale, case.k.size)


@pytest.mark.parametrize("operation", ["convolution", "correlation"])
@pytest.mark.parametrize(("mode", "k"), [("full", 4), ("same", 6), ("valid", 5), ("valid", 64), ("full", 200)])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_streaming_does_not_depend_on_the_blocks(operation: str, mode: str, k: int, dtype: str) -> None:
    x, kernel = random_array((1000,), dtype, 9), random_array((k,), dtype, 10)
    whole = ck.Convolver(kernel, operation, mode).apply(x)
    answers = []
    for blocks in ([1000], [1, 2, 3, 994], [0, 500, 0, 499, 1], [7] * 142 + [6]):
        stream = ck.Convolver(kernel, operation, mode).stream(axis=0)
        parts, start = [], 0
        for size in blocks:
            parts.append(stream.push(x[start : start + size]))
            start += size
        parts.append(stream.flush())
        answers.append(np.concatenate(parts))
    assert all(answer.tobytes() == answers[0].tobytes() for answer in answers)
    assert answers[0].shape == whole.shape
    if dtype == "int64":
        assert np.array_equal(answers[0], whole)
    else:
        np.testing.assert_allclose(answers[0], whole, atol=1e-11)
