"""Layers on float16 and bfloat16: read and stored where they lie, sums in float32, rounded once."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch.nn import grad as by_torch

import convkit as ck
from convkit.verbs.network_calls import network_call

functional = torch.nn.functional
KINDS = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
"""Half the distance from 1 to the next number."""

LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "winograd": ((2, 40, 17, 22), (33, 40, 3, 3), {"padding": 1}),
    "winograd, whole vectors": ((1, 64, 28, 28), (64, 64, 3, 3), {"padding": 1}),
    "winograd, groups": ((1, 12, 9, 14), (18, 4, 3, 3), {"padding": 1, "groups": 3}),
    "pixels": ((2, 64, 14, 19), (48, 64, 1, 1), {}),
    "first": ((1, 3, 40, 45), (32, 3, 7, 7), {"stride": 2, "padding": 3}),
    "strided": ((2, 20, 15, 20), (24, 20, 5, 5), {"stride": 2, "padding": 2}),
    "dilated": ((1, 24, 20, 21), (17, 24, 3, 2), {"dilation": 2, "padding": (2, 1)}),
    "depthwise": ((2, 33, 17, 22), (33, 1, 3, 3), {"padding": 1, "groups": 33}),
    "depthwise, wide": ((1, 48, 14, 19), (48, 1, 7, 7), {"padding": 3, "groups": 48}),
    "depthwise, strided": ((2, 32, 20, 25), (64, 1, 3, 5), {"stride": 2, "padding": (1, 2), "groups": 32}),
    "narrow groups": ((2, 40, 15, 16), (80, 2, 3, 3), {"padding": 1, "groups": 20}),
}
LAYOUTS = ("planes", "pixels", "apart")


def tensor(shape: tuple[int, ...], dtype: torch.dtype, layout: str, seed: int = 0) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape))).to(dtype)
    if layout == "pixels":
        return values.contiguous(memory_format=torch.channels_last)
    if layout == "apart":
        wide = torch.zeros((*shape[:-1], 2 * shape[-1]), dtype=dtype)
        wide[..., ::2] = values
        return wide[..., ::2]
    return values


def weights(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return (tensor(shape, torch.float32, "planes") / np.prod(shape[1:]) ** 0.5).to(dtype)


def close(found: torch.Tensor, exact: torch.Tensor, dtype: torch.dtype) -> None:
    """One rounding of the result, and what sums in float32 may be off."""
    assert found.dtype == dtype
    error = (found.double() - exact).abs() - 1.01 * KINDS[dtype] * exact.abs()
    assert float(error.max()) <= 2e-5 * float(exact.abs().max())


CASES = pytest.mark.parametrize(
    ("dtype", "layout", "name"), list(product(KINDS, LAYOUTS, LAYERS)), ids=lambda one: str(one).removeprefix("torch.")
)


@CASES
def test_layers_agree_with_float64(dtype: torch.dtype, layout: str, name: str) -> None:
    shape, kernel, options = LAYERS[name]
    x, w, bias = tensor(shape, dtype, layout), weights(kernel, dtype), tensor(kernel[:1], dtype, "planes")
    exact = functional.conv2d(x.double(), w.double(), bias.double(), **options)
    close(ck.conv(x, w, bias, **options), exact, dtype)
    for kind in (dtype, torch.float32):  # what is added is read as it lies, before the one rounding
        add = tensor(tuple(exact.shape), kind, layout, 1)
        ended = ck.conv(x, w, bias, add=add, activation="relu", **options)
        close(ended, functional.relu(exact + add.double()), dtype)


@CASES
def test_gradients_agree_with_float64(dtype: torch.dtype, layout: str, name: str) -> None:
    shape, kernel, options = LAYERS[name]
    x, w = tensor(shape, dtype, layout), weights(kernel, dtype)
    g = tensor(tuple(functional.conv2d(x.float(), w.float(), **options).shape), dtype, layout, 2)
    wide = by_torch.conv2d_input(shape, w.double(), g.double(), **options)
    close(ck.conv_input_gradient(g, w, shape, **options), wide, dtype)
    wide = by_torch.conv2d_weight(x.double(), kernel, g.double(), **options)
    close(ck.conv_weight_gradient(g, x, kernel, **options), wide, dtype)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_layers(dtype: torch.dtype, stride: int) -> None:
    x, w = tensor((2, 24, 9, 10), dtype, "planes"), weights((24, 17, 4, 3), dtype)
    exact = functional.conv_transpose2d(x.double(), w.double(), stride=stride, padding=1)
    close(ck.conv_transpose(x, w, stride=stride, padding=1), exact, dtype)
    close(ck.conv_transpose(x, w, stride=stride, padding=1, activation="silu"), functional.silu(exact), dtype)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("rank", [1, 3])
def test_signals_and_volumes(dtype: torch.dtype, rank: int) -> None:
    x, w = tensor((2, 12, *(40, 11, 9)[3 - rank :]), dtype, "planes"), weights((19, 12, *[3] * rank), dtype)
    exact = getattr(functional, f"conv{rank}d")(x.double(), w.double(), padding=1, stride=2)
    close(ck.conv(x, w, padding=1, stride=2), exact, dtype)


@pytest.mark.parametrize("boundary", ["edge", "reflect", "wrap", "constant"])
@pytest.mark.parametrize("name", ["winograd", "strided", "depthwise"])
def test_boundaries(boundary: str, name: str) -> None:
    """A fill that bfloat16 does not hold is added as it is."""
    shape, kernel, options = LAYERS[name]
    x, w = tensor(shape, torch.bfloat16, "pixels"), weights(kernel, torch.bfloat16)
    given = {**options, "boundary": boundary, "fill": 1 / 3}
    exact = ck.conv(x.double().contiguous(), w.double(), method="direct", **given)
    close(ck.conv(x, w, **given), exact, torch.bfloat16)


@pytest.mark.parametrize("name", LAYERS)
def test_a_result_is_its_sums_rounded(name: str) -> None:
    """Of the same arithmetic on the same numbers in float32: half to even, once."""
    shape, kernel, options = LAYERS[name]
    x, w = tensor(shape, torch.bfloat16, "planes"), weights(kernel, torch.bfloat16)
    types = "bfloat16", "float32"
    spelled = {"operation": "correlation", "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "boundary": "zero",
               "fill": 0, "dtype": None, "overflow": "raise", "accuracy": "norm", **options}  # fmt: skip
    chosen = {network_call("forward", shape, kernel, one, one, "auto", spelled).operator.plan().choice for one in types}
    (method,) = chosen
    sums = ck.conv(x.float(), w.float(), method=method, **options)
    assert torch.equal(ck.conv(x, w, method=method, **options), sums.bfloat16())


def test_samples_and_threads_do_not_change_bits() -> None:
    shape, kernel, options = LAYERS["winograd"]
    x, w = tensor(shape, torch.bfloat16, "planes"), weights(kernel, torch.bfloat16)
    whole = ck.conv(x, w, **options)
    assert torch.equal(whole, torch.cat([ck.conv(one[None], w, **options) for one in x]))
    before = ck.num_threads()
    try:
        ck.set_num_threads(1)
        assert torch.equal(whole, ck.conv(x, w, **options))
    finally:
        ck.set_num_threads(before)


@pytest.mark.parametrize("name", ["winograd", "pixels", "depthwise"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_touches_its_windows_alone(name: str, value: float) -> None:
    shape, kernel, options = LAYERS[name]
    x, w = tensor(shape, torch.bfloat16, "planes"), weights(kernel, torch.bfloat16)
    x[0, 2, 8, 9] = value
    bias = torch.ones(kernel[0])
    found = ck.conv(x, w, bias, activation="relu", **options)
    exact = functional.relu(functional.conv2d(x.double(), w.double(), bias.double(), **options))
    assert torch.equal(found.isnan(), exact.isnan())
    finite = exact.isfinite()
    assert torch.equal(found.isfinite(), finite)
    close(found[finite], exact[finite], torch.bfloat16)


def held(call: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, int]:
    """What a call gives, and bytes that NumPy had at most, with those of all tensors that torch was asked for."""
    call()
    call()
    made: list[int] = []

    def counted(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def call(*given: Any, **named: Any) -> torch.Tensor:
            found = function(*given, **named)
            made.append(0 if given and found is given[0] else found.nbytes)
            return found

        return call

    with pytest.MonkeyPatch.context() as patch:
        for where, names in ((torch, ("empty", "empty_strided")), (torch.Tensor, ("to", "float", "contiguous"))):
            for name in names:
                patch.setattr(where, name, counted(getattr(where, name)))
        tracemalloc.start()
        try:
            out = call()
            return out, tracemalloc.get_traced_memory()[1] + sum(made)
        finally:
            tracemalloc.stop()


def test_what_is_widened_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    x, w = tensor((2, 24, 131, 140), torch.bfloat16, "planes"), weights((24, 24, 1, 1), torch.bfloat16)
    out, peak = held(lambda: ck.conv(x, w))
    assert peak > 2 * out.nbytes


@pytest.mark.parametrize("layout", ["planes", "pixels"])
@pytest.mark.parametrize("name", LAYERS)
def test_nothing_is_widened_beside_the_result(layout: str, name: str) -> None:
    (_, channels, *_), kernel, options = LAYERS[name]
    shape = (2, channels, 130, 140)
    x, w = tensor(shape, torch.bfloat16, layout), weights(kernel, torch.bfloat16)
    out, peak = held(lambda: ck.conv(x, w, tensor(kernel[:1], torch.float32, "planes"), activation="relu", **options))
    room = 300_000 + 16 * w.numel()  # weights are made ready, programs are records
    assert peak < out.nbytes + room
    g = tensor(tuple(out.shape), torch.bfloat16, layout)
    gradient, peak = held(lambda: ck.conv_input_gradient(g, w, shape, **options))
    assert peak < gradient.nbytes + room
    parts = 64 * 4 * w.numel()  # sums of parts, where there are few weights
    _, peak = held(lambda: ck.conv_weight_gradient(g, x, kernel, **options))
    assert peak < room + min(parts, 1 << 22)


def test_numpy_arrays_are_layers_too() -> None:
    kind = np.dtype(ml_dtypes.bfloat16)
    source = np.random.default_rng(0)
    x, w = source.standard_normal((1, 24, 20, 21)).astype(kind), source.standard_normal((17, 24, 3, 3)).astype(kind)
    add = source.standard_normal((1, 17, 20, 21)).astype(kind)
    out = np.empty(add.shape, kind)
    found = ck.conv(x, w, add=add, padding=1, out=out)
    exact = ck.conv(x.astype("float64"), w.astype("float64"), add=add.astype("float64"), padding=1)
    assert found is out
    assert np.abs(out.astype("float64") - exact).max() <= 1.01 * 2.0**-8 * np.abs(exact).max()
    half = ck.conv(x.astype("float16"), w.astype("float16"), padding=1)
    assert half.dtype == np.float16


def test_tensors_need_no_other_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where NumPy has no name for bfloat16, torch widens it."""
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    shape, kernel, options = LAYERS["winograd"]
    shape = (1, *shape[1:-1], 23)  # a layer not seen before
    x, w = tensor(shape, torch.bfloat16, "planes"), weights(kernel, torch.bfloat16)
    close(ck.conv(x, w, **options), functional.conv2d(x.double(), w.double(), **options), torch.bfloat16)


def test_nothing_outside_the_arrays_is_touched() -> None:
    """A fault would end the process, so it has one of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.codegen.guarded_halves"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr


def test_the_guard_pages_do_guard() -> None:
    command = [sys.executable, "-m", "tests.codegen.guarded_halves", "reach-out"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode != 0
    assert b"untouched" not in done.stdout
