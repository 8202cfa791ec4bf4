"""Layers with a bias, another array and an activation: the same as the steps one after another."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.errors import ConvError
from convkit.planner.plan import plan_for
from convkit.planner.problem import Problem
from convkit.spec.epilogue import ACTIVATIONS, Epilogue
from convkit.spec.window import Window

torch = pytest.importorskip("torch")

METHODS = ("auto", "implicit-gemm", "gemm", "direct", "fft")


def last(array: np.ndarray) -> np.ndarray:
    """The same numbers, channels side by side in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


def by_torch(sums: np.ndarray, bias: Any, add: Any, activation: str | None) -> np.ndarray:
    """Step by step, in the type of the sums."""
    total = torch.from_numpy(sums.copy())
    total = total if bias is None else total + torch.from_numpy(bias).reshape(-1, *(1,) * (sums.ndim - 2))
    total = total if add is None else total + torch.from_numpy(add)
    if activation == "gelu_tanh":
        return torch.nn.functional.gelu(total, approximate="tanh").numpy()
    return (total if activation is None else getattr(torch.nn.functional, activation)(total)).numpy()


@st.composite
def layers(draw: st.DrawFn) -> tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Direction, shapes and options."""
    rank, groups = draw(st.integers(1, 3)), draw(st.sampled_from((1, 1, 2, 3)))
    channels, outputs = groups * draw(st.integers(1, 9)), groups * draw(st.integers(1, 20))
    direction = draw(st.sampled_from(("conv", "conv_transpose")))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    space = tuple(draw(st.integers(5, 9)) for _ in range(rank))
    options: dict[str, Any] = {"groups": groups, "dilation": draw(st.integers(1, 2)), "stride": draw(st.integers(1, 2))}
    options["padding"] = tuple(draw(st.sampled_from(((0, 0), (0, 1), (2, 1)))) for _ in range(rank))
    if direction == "conv":
        return direction, (draw(st.integers(0, 3)), channels, *space), (outputs, channels // groups, *kernel), options
    options["output_padding"] = draw(st.integers(0, options["stride"] - 1))
    return direction, (draw(st.integers(0, 3)), channels, *space), (channels, outputs // groups, *kernel), options


@settings(max_examples=120, deadline=None)
@given(layers(), st.sampled_from(METHODS), st.sampled_from((None, "relu", "relu6")), st.booleans(), st.booleans(),
       st.sampled_from(("float32", "float64")), st.booleans())  # fmt: skip
def test_fused_is_step_by_step(
    layer: Any, method: str, activation: str | None, biased: bool, added: bool, dtype: str, side_by_side: bool
) -> None:
    """Bit for bit: sums of the same way, each addend rounded once, an activation that rounds nothing."""
    direction, x_shape, w_shape, options = layer
    source = np.random.default_rng(1)
    x, w = source.standard_normal(x_shape).astype(dtype), source.standard_normal(w_shape).astype(dtype)
    x = last(x) if side_by_side else x
    verb = getattr(ck, direction)
    try:
        sums = verb(x, w, method=method, **options)
    except ConvError:
        return  # a way that cannot do this layer
    if method == "auto":  # the way may be another where an epilogue is to be done
        sums = None
    whole = verb(x, w, **options) if sums is None else sums
    bias = source.standard_normal(whole.shape[1]).astype(dtype) if biased else None
    add = source.standard_normal(whole.shape).astype(dtype) if added else None
    found = verb(x, w, bias, method=method, activation=activation, add=add, **options)
    expected = by_torch(whole, bias, add, activation)
    if sums is None:
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)
    else:
        assert np.array_equal(found, expected)
    out = last(np.full(found.shape, 7, dtype)) if side_by_side else np.full(found.shape, 7, dtype)
    assert verb(x, w, bias, method=method, activation=activation, add=add, out=out, **options) is out
    assert np.array_equal(out, found)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("method", ["implicit-gemm", "gemm"])
def test_activations(method: str, activation: str, dtype: str) -> None:
    source = np.random.default_rng(2)
    x, w = (source.standard_normal(shape).astype(dtype) for shape in ((2, 7, 9, 11), (19, 7, 3, 3)))
    bias, add = (source.standard_normal(shape).astype(dtype) for shape in ((19,), (2, 19, 9, 11)))
    found = ck.conv(x, w, bias, padding=1, activation=activation, add=add, method=method)
    wide = (array.astype("float64") for array in (x, w, bias, add))
    x64, w64, bias64, add64 = wide
    expected = by_torch(ck.conv(x64, w64, padding=1), bias64, add64, activation)
    assert found.dtype == dtype
    rtol, atol = {"float16": (2e-3, 4e-3), "float32": (1e-4, 2e-5), "float64": (1e-11, 1e-12)}[dtype]
    assert np.allclose(found, expected, rtol, atol)


def test_integers_stay_exact() -> None:
    source = np.random.default_rng(3)
    x, w = source.integers(-9, 9, (2, 3, 8)), source.integers(-9, 9, (4, 3, 3))
    bias, add = source.integers(-50, 50, 4), source.integers(-50, 50, (2, 4, 6))
    expected = np.maximum(ck.conv(x, w) + bias[:, None] + add, 0)
    found = ck.conv(x, w, bias, activation="relu", add=add)
    assert found.dtype == np.int64
    assert np.array_equal(found, expected)
    assert np.array_equal(ck.conv(x, w, bias, activation="relu6", add=add), np.minimum(expected, 6))
    objects = ck.conv(x.astype(object), w.astype(object), bias, activation="relu", add=add)
    assert np.array_equal(objects, expected)
    assert objects.dtype == object
    huge = np.full((2, 4, 6), 2**63 - 1)
    with pytest.raises(ConvError) as caught:
        ck.conv(x, w, add=huge)
    assert caught.value.code == "integer.does-not-fit"
    assert ck.conv(x, w, add=huge, overflow="saturate").max() == 2**63 - 1


@pytest.mark.parametrize("method", ["implicit-gemm", "fft", "direct", "gemm"])
def test_what_is_no_number_stays_in_its_windows(method: str) -> None:
    """An activation neither hides a NaN nor lets one out; what it makes of infinity does not hide where that was."""
    source = np.random.default_rng(4)
    x, w = source.standard_normal((1, 6, 12, 13)), source.standard_normal((9, 6, 3, 3))
    bias = source.standard_normal(9)
    for value in (np.nan, np.inf, -np.inf):
        x[0, 2, 5, 6] = value
        sums = ck.conv(x, w, padding=1, method="direct")
        found = ck.conv(x, w, bias, padding=1, activation="relu", method=method)
        with np.errstate(invalid="ignore"):
            expected = by_torch(sums, bias, None, "relu")
        assert np.allclose(found, expected, equal_nan=True), value
        assert np.isfinite(found).sum() >= found.size - 9 * 9


def test_a_result_may_be_its_own_addend() -> None:
    """`out` that is read meanwhile is written at last."""
    source = np.random.default_rng(5)
    x, w = (source.standard_normal(shape).astype("f") for shape in ((2, 8, 9, 9), (8, 8, 3, 3)))
    expected = np.maximum(ck.conv(x, w, padding=1, method="implicit-gemm") + x, 0)
    assert ck.conv(x, w, padding=1, add=x, activation="relu", out=x, method="implicit-gemm") is x
    assert np.array_equal(x, expected)


def test_addends_of_any_strides() -> None:
    source = np.random.default_rng(6)
    x, w = (source.standard_normal(shape).astype("f") for shape in ((2, 8, 9, 9), (12, 8, 3, 3)))
    bias = np.broadcast_to(np.float32(0.5), 12)
    add = np.broadcast_to(source.standard_normal((2, 12, 1, 9)).astype("f"), (2, 12, 9, 9))
    expected = ck.conv(x, w, padding=1, method="implicit-gemm") + bias[:, None, None] + add
    assert np.array_equal(ck.conv(x, w, bias, padding=1, add=add, method="implicit-gemm"), expected)
    wide = np.zeros((2, 12, 9, 18), "f")
    out = wide[..., ::2]
    ck.conv(x, w, bias, padding=1, add=add, method="implicit-gemm", out=out)
    assert np.array_equal(out, expected)
    assert not wide[..., 1::2].any()


def test_threads_and_batches_change_no_bit() -> None:
    source = np.random.default_rng(7)
    x, w = (source.standard_normal(shape).astype("f") for shape in ((5, 33, 14, 15), (40, 33, 3, 3)))
    bias, add = (source.standard_normal(shape).astype("f") for shape in ((40,), (5, 40, 14, 15)))
    before, results = ck.num_threads(), set()
    for threads in (1, 2, 3):
        ck.set_num_threads(threads)
        for array, other in ((x, add), (last(x), last(add))):
            out = np.empty_like(other)
            ck.conv(array, w, bias, padding=1, activation="silu", add=other, method="implicit-gemm", out=out)
            results.add(np.ascontiguousarray(out).tobytes())
            for n in range(5):
                one = ck.conv(array[n : n + 1], w, bias, padding=1, activation="silu", add=other[n : n + 1],
                              method="implicit-gemm")  # fmt: skip
                assert one.tobytes() == np.ascontiguousarray(out[n : n + 1]).tobytes()
    ck.set_num_threads(before)
    assert len(results) == 1


def test_the_bound_counts_the_addends() -> None:
    window = Window(20, 3, 18)
    problem = Problem((window, window), in_channels=16, out_channels=16)
    plain = plan_for(problem, "implicit-gemm").error_bound
    both = plan_for(problem.derive(epilogue=Epilogue(True, True, "relu")), "implicit-gemm").error_bound
    assert plain.factor < both.factor < plain.factor + 2.1 * 2.0**-53


def test_a_report_counts_what_is_done_afterwards() -> None:
    window = Window(58, 3, 56)
    problem = Problem((window, window), in_channels=64, out_channels=64, input_dtype="float32",
                      kernel_dtype="float32", compute_dtype="float32")  # fmt: skip
    seconds = {}
    for one in (problem, problem.derive(epilogue=Epilogue(True, False, "relu"))):
        rows = plan_for(one).report().rows
        seconds[one] = {row.algorithm: row.cost.seconds for row in rows if row.cost is not None}
    (_, plain), (_, ended) = seconds.items()
    assert ended["gemm"] > plain["gemm"]
    assert ended["implicit-gemm"] == plain["implicit-gemm"]


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("shape.add", lambda x, w: ck.conv(x, w, add=np.ones((2, 4, 5)))),
        ("shape.bias", lambda x, w: ck.conv(x, w, np.ones(3))),
        ("option.unknown-value", lambda x, w: ck.conv(x, w, activation="rely")),
        ("dtype.activation", lambda x, w: ck.conv(x.astype(int), w.astype(int), activation="silu")),
        ("dtype.activation", lambda x, w: ck.conv(x * 1j, w, activation="relu")),
        ("dtype.activation", lambda x, w: ck.conv(x.astype(object), w, activation="tanh")),
        ("dtype.bias", lambda x, w: ck.conv(x.astype(int), w.astype(int), add=np.ones((2, 4, 6)))),
        ("dtype.complex-to-real", lambda x, w: ck.conv(x, w, add=np.ones((2, 4, 6)) * 1j)),
    ],
)
def test_what_does_not_go_together(code: str, call: Any) -> None:
    with pytest.raises(ConvError) as caught:
        call(np.ones((2, 3, 8)), np.ones((4, 3, 3)))
    assert caught.value.code == code
    assert caught.value.text("en") != caught.value.text("zh")


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers, by NumPy."""
    source = np.random.default_rng(8)
    x, w = (source.standard_normal(shape) for shape in ((2, 5, 8, 9), (6, 5, 3, 3)))
    add = source.standard_normal((2, 6, 6, 7))
    expected = ck.conv(x, w, np.arange(6.0), activation="silu", add=add)
    from convkit.algorithms.support import finishing

    monkeypatch.setattr(finishing.codegen, "why_not", lambda: "jit-off")
    found = ck.conv(x, w, np.arange(6.0), activation="silu", add=add, method="gemm")
    assert np.allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_about_layers(language: str) -> None:
    page = Path(__file__).parents[2] / "docs" / language / "layers.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert failed == 0
    assert tried >= 10
