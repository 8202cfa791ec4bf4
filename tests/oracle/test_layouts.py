"""Every algorithm on arrays that lie in memory in every way: the same result, wherever it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import convkit as ck
from convkit.errors import AccuracyError
from convkit.planner import registry
from convkit.planner.plan import forget_plans
from tests.oracle.strategies import random_array

Array = np.ndarray[Any, Any]

LAYOUTS: dict[str, Callable[[tuple[int, ...], str], Array]] = {
    "plain": lambda shape, dtype: np.empty(shape, dtype),
    "columns first": lambda shape, dtype: np.empty(shape[::-1], dtype).T,
    "rows and columns exchanged": lambda shape, dtype: np.empty((*shape[:-2], *shape[:-3:-1]), dtype).swapaxes(-1, -2),
    "backwards": lambda shape, dtype: np.empty(shape, dtype)[..., ::-1],
    "every second row upwards": lambda shape, dtype: np.empty((*shape[:-2], 2 * shape[-2], shape[-1]), dtype)[
        ..., ::-2, :
    ],
    "every third": lambda shape, dtype: np.empty((*shape[:-1], 3 * shape[-1]), dtype)[..., 1::3],
    "first axis last": lambda shape, dtype: np.moveaxis(np.empty((*shape[1:], shape[0]), dtype), -1, 0),
    "second axis last": lambda shape, dtype: np.moveaxis(np.empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1),
    "with a gap after each row": lambda shape, dtype: np.empty((*shape[:-1], shape[-1] + 5), dtype)[..., 2:-3],
}  # fmt: skip
ROWS, IMAGES = (3, 700), (3, 61, 67)
ALONE = {"dot", "rows", "swapped"}
EXACT = {"exact-integer", "compiled-exact"}
FLOATS = ("float32", "float64", "complex64")
LAYERS = {
    "overlap-save": 1,
    "implicit-gemm": 1,
    "depthwise": 24,
    "winograd-2": 1,
    "winograd-4": 2,
    "polyphase": 1,
    "col2im": 1,
    "gemm": 1,
    "direct": 2,
}
GRADIENTS = {
    "kernel-gradient", "depthwise-gradient", "channelwise-gradient", "winograd-gradient-2", "winograd-gradient-4",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The problems are small."""
    from convkit.algorithms import col2im, compiled_integer, depthwise, implicit_gemm, rows, sliding_box, winograd

    for module in (col2im, compiled_integer, depthwise, implicit_gemm, rows, winograd):
        monkeypatch.setattr(module, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(depthwise, "LEAST_GROUPS", 1)
    monkeypatch.setattr(sliding_box, "LEAST", 2)
    forget_plans()
    yield
    forget_plans()


def laid(x: Array, layout: str) -> Array:
    """The same numbers in memory in another way."""
    found = LAYOUTS[layout](x.shape, x.dtype.name)
    found[...] = x
    return found


def assert_same(name: str, run: Callable[[Array, Array | None], Array], x: Array, tolerance: float) -> None:
    """Every layout of the input with every layout of the result."""
    expected = run(x, None)
    scale = float(np.abs(expected).max())
    for given, wanted in product(LAYOUTS, LAYOUTS):
        if "second axis" in given + wanted and x.ndim < 3:
            continue
        around = LAYOUTS[wanted](expected.shape, expected.dtype.name)
        whole = around if around.base is None else around.base
        whole[...] = 77
        out = run(laid(x, given), around)
        assert out is around
        error = float(np.abs(out.astype(np.complex128) - expected).max())
        assert error <= tolerance * scale, (name, given, wanted, error / scale)
        # Nothing is written between the results.
        kept = np.array(whole)
        out[...] = 77
        assert (whole == 77).all(), (name, given, wanted, np.count_nonzero(kept != 77))


BYTES = {"byte-box", "byte-separable"}


def arrays(name: str) -> list[str]:
    """The types that an algorithm is tried with."""
    if name in BYTES:
        return ["uint8"]
    return ["int64", "uint8"] if name in EXACT else ["float32"] if name == "sliding-box" else [*FLOATS]


assert ck.convolve  # the algorithms register themselves when the verbs are loaded
NAMES = [
    algorithm.name
    for algorithm in registry.algorithms()
    if algorithm.name not in {*LAYERS, *GRADIENTS} - {"gemm", "direct", "overlap-save"}
]


@pytest.mark.parametrize("name", NAMES)
def test_arrays(name: str) -> None:
    done = 0
    for dtype in arrays(name):
        x = random_array(ROWS if name in ALONE else IMAGES, dtype, 3)
        k = random_array((9,) if name in ALONE else (6, 5), dtype, 4)
        axes: tuple[int, ...] = (1,) if name in ALONE else (1, 2)
        options: dict[str, Any] = {"mode": "same", "boundary": "reflect", "method": name}
        if name in ("dot", "swapped"):
            del options["boundary"]
        if name == "swapped":
            x, k, options["mode"] = x[:, :20], random_array((90,), dtype, 4), "full"
        if name in ("separable", "low-rank", "recursive"):
            k = np.multiply.outer(*(np.exp(-(np.linspace(-2, 2.5, n) ** 2)) for n in (31, 34))).astype(dtype)
        if name in ("box", "sliding-box"):
            k = np.full((31, 34), 0.5, dtype)
        if name in BYTES:
            options["dtype"] = "uint8"
            x = np.random.default_rng(3).integers(0, 256, x.shape).astype(np.uint8)
            factors = [1 / 30] * 6, [1.0] * 5
            if name == "byte-separable":
                factors = [0.1, 0.4, 0.3, 0.2], [0.2, 0.5, 0.3]
            k = np.multiply.outer(*(np.array(factor, np.float32) for factor in factors))
        if name == "recursive":
            options["accuracy"] = 1e-3

        def run(
            x: Array, out: Array | None, k: Array = k, axes: tuple[int, ...] = axes, options: Any = options
        ) -> Array:
            return ck.convolve(x, k, axes=axes, out=out, **options)

        try:
            run(x, None)
        except AccuracyError:
            continue
        done += 1
        assert_same(name, run, x, 0.0 if name in EXACT | BYTES else 1e-3 if name == "recursive" else 1e-5)
        if name not in ALONE:  # pixels of several colours
            last = np.ascontiguousarray(np.moveaxis(x, 0, -1))
            assert_same(
                name, lambda x, out, run=run: run(x, out, axes=(0, 1)), last, 1e-3 if name == "recursive" else 1e-5
            )
    assert done, f"{name} applied to none"


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("end", ["sums", "finished"])
def test_layers(name: str, dtype: str, end: str) -> None:
    groups = LAYERS[name]
    x, w = random_array((2, 24, 13, 15), dtype, 5), random_array((24, 24 // groups, 3, 3), dtype, 6)
    options: dict[str, Any] = {"padding": 1, "groups": groups, "method": name}
    if end == "finished":
        options |= {"bias": random_array((24,), dtype, 7), "activation": "relu"}
    if name == "polyphase":
        options |= {"stride": 2}
        assert_same(name, lambda x, out: ck.conv_transpose(x, w, out=out, **options), x, 1e-5)
    else:
        assert_same(name, lambda x, out: ck.conv(x, w, out=out, **options), x, 1e-5)


@pytest.mark.parametrize("groups", [1, 4, 12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients(groups: int, dtype: str, stride: int) -> None:
    x, w = random_array((2, 12, 13, 15), dtype, 9), random_array((12, 12 // groups, 3, 3), dtype, 6)
    options: dict[str, Any] = {"padding": 1, "groups": groups, "stride": stride}
    g = random_array(ck.conv(x, w, **options).shape, dtype, 8)
    of_weights = ck.conv_weight_gradient(g, x, w.shape, **options)
    of_input = ck.conv_input_gradient(g, w, x.shape, **options)
    for one, other in product(LAYOUTS, LAYOUTS):
        ours = ck.conv_weight_gradient(laid(g, one), laid(x, other), w.shape, **options)
        assert np.abs(ours - of_weights).max() <= 1e-5 * np.abs(of_weights).max(), (one, other)
        ours = ck.conv_input_gradient(laid(g, one), laid(w, other), x.shape, **options)
        assert np.abs(ours - of_input).max() <= 1e-5 * np.abs(of_input).max(), (one, other)
