"""Pooling by compiled kernels: every window and layout, NaN, gradients of any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import convkit as ck
from convkit.planner import pooling

FLOATS = st.sampled_from(("float32", "float64"))


def laid(shape: tuple[int, ...], dtype: str, how: str) -> np.ndarray:
    """An array (batch, channels, ...) that lies in memory in one of several ways."""
    if how == "last":
        return np.moveaxis(np.zeros((shape[0], *shape[2:], shape[1]), dtype), -1, 1)
    if how == "every-second":
        return np.zeros((*shape[:-1], 2 * shape[-1]), dtype)[..., ::2]
    return np.zeros(shape, dtype)


@st.composite
def calls(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    """An array and the options of a call."""
    rank = draw(st.integers(1, 3))
    sizes = tuple(draw(st.integers(1, 5)) for _ in range(rank))
    space = tuple(size + draw(st.integers(0, 40 if axis == rank - 1 else 6)) for axis, size in enumerate(sizes))
    pads = tuple((draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))) for size in sizes)
    strides = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    x = laid((draw(st.integers(1, 2)), draw(st.sampled_from((1, 3, 16, 21)))) + space, draw(FLOATS),
             draw(st.sampled_from(("first", "last", "every-second"))))  # fmt: skip
    x[...] = np.random.default_rng(draw(st.integers(0, 9))).integers(-3, 4, x.shape)
    return x, {"size": sizes, "stride": strides, "padding": pads, "ceil": draw(st.booleans())}


def by_numpy(x: np.ndarray, kind: str, options: dict[str, Any]) -> Any:
    """The same without kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "_poolers", [])
        return ck.pool(x, kind=kind, **options)


@settings(max_examples=250, deadline=None)
@given(calls(), st.sampled_from(("max", "mean")))
def test_any_window(call: tuple[np.ndarray, dict[str, Any]], kind: Any) -> None:
    x, options = call
    ours, expected = ck.pool(x, kind=kind, **options), by_numpy(x, kind, options)
    assert ours.dtype == expected.dtype
    if kind == "max":
        assert np.array_equal(ours, expected)
    else:
        assert np.allclose(ours, expected, rtol=1e-5 if x.dtype == np.float32 else 1e-13, atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(calls(), st.integers(0, 9))
def test_any_gradient_of_the_largest(call: tuple[np.ndarray, dict[str, Any]], seed: int) -> None:
    """Equal numbers are many here: the first of them takes it all."""
    x, options = call
    gradients = []
    for poolers in (list(pooling._poolers), []):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pooling, "_poolers", poolers)
            tensor = torch.from_numpy(x.copy("K")).requires_grad_()
            y = ck.pool(tensor, **options)
            g = torch.from_numpy(np.random.default_rng(seed).integers(-8, 9, y.shape).astype(x.dtype))
            y.backward(g)
            gradients.append(tensor.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("size", "stride", "pad"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (7, 7, 0), (5, 3, 2), (2, 2, 1)])
def test_as_torch(dtype: Any, memory: Any, size: int, stride: int, pad: int) -> None:
    x = torch.randn((2, 19, 21, 28), dtype=dtype, generator=torch.Generator().manual_seed(1))
    for kind, peer in (("max", functional.max_pool2d), ("mean", functional.avg_pool2d)):
        results = []
        for call in (lambda t, k=kind: ck.pool(t, size, kind=k, stride=stride, padding=pad),
                     lambda t, p=peer: p(t, size, stride, pad)):  # fmt: skip
            tensor = x.to(memory_format=memory).detach().requires_grad_()
            y = call(tensor)
            g = torch.randn(y.shape, dtype=dtype, generator=torch.Generator().manual_seed(2))
            y.backward(g)
            results.append((y.detach(), tensor.grad))
        for ours, expected in zip(*results):
            assert torch.allclose(ours, expected, rtol=1e-5, atol=1e-6)
        assert results[0][0].is_contiguous(memory_format=memory)


@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_gradients(kind: Any, memory: Any) -> None:
    x = torch.randn((2, 3, 6, 7), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = x.to(memory_format=memory).requires_grad_()

    def pool(tensor: torch.Tensor) -> torch.Tensor:
        return ck.pool(tensor, 3, kind=kind, stride=2, padding=1)

    assert torch.autograd.gradcheck(pool, (x,))
    assert torch.autograd.gradgradcheck(pool, (x,))


@pytest.mark.parametrize("how", ["first", "last"])
@pytest.mark.parametrize("kind", ["max", "mean"])
def test_nan_and_infinity_touch_the_windows_that_hold_them(kind: Any, how: str) -> None:
    """A NaN is larger than anything, infinity included; the first of two takes the gradient."""
    x = laid((1, 17, 9, 12), "float32", how)
    x[...] = np.random.default_rng(1).standard_normal(x.shape)
    x[0, 3, 4, 5], x[0, 3, 4, 6], x[0, 16, 0, 0], x[0, 16, 0, 1] = np.nan, np.inf, -np.inf, np.nan
    options = {"size": (3, 3), "stride": 2, "padding": 1}
    ours, expected = ck.pool(x, kind=kind, **options), by_numpy(x, kind, options)
    assert np.array_equal(np.isnan(ours), np.isnan(expected))
    assert np.array_equal(np.isinf(ours), np.isinf(expected))
    if kind == "max":
        tensor = torch.from_numpy(x.copy("K")).requires_grad_()
        ck.pool(tensor, **options).sum().backward()
        assert tensor.grad is not None
        assert float(tensor.grad.sum()) == ours.size


def test_threads_and_batches_change_no_bit() -> None:
    before = ck.num_threads()
    x = np.random.default_rng(1).standard_normal((5, 33, 40, 44)).astype("float32")
    results = set()
    try:
        for threads in (1, 2, 3):
            ck.set_num_threads(threads)
            results.add(ck.pool(x, (3, 3), kind="mean", stride=2, padding=1).tobytes())
    finally:
        ck.set_num_threads(before)
    ones = [ck.pool(x[n : n + 1], (3, 3), kind="mean", stride=2, padding=1) for n in range(5)]
    assert results == {np.concatenate(ones).tobytes()}


def test_other_types_go_the_other_way() -> None:
    for dtype in ("float16", "int32", "uint8", ">f4"):
        x = np.arange(30).reshape(5, 6).astype(dtype)
        assert np.array_equal(ck.pool(x, 2), [[7, 9, 11], [19, 21, 23]])
        assert np.array_equal(ck.pool(x, 2, kind="mean"), [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]])


def test_a_long_signal_in_little_memory() -> None:
    """The row that a window's rows become is cut, however long."""
    x = np.random.default_rng(1).standard_normal((1, 1, 200_003)).astype("float32")
    ours = ck.pool(x, (3,), stride=2, padding=1)
    assert np.array_equal(ours, by_numpy(x, "max", {"size": (3,), "stride": 2, "padding": 1}))
    wide = np.ascontiguousarray(np.broadcast_to(x[..., :9000], (1, 7, 9000)).transpose(0, 2, 1)).transpose(0, 2, 1)
    assert np.array_equal(ck.pool(wide, (4,)), by_numpy(wide, "max", {"size": (4,)}))
