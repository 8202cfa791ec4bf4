"""What becomes of sums before they are stored: activations in registers, the kernel that finishes sums in memory."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from convkit.algorithms.support.finishing import finish_compiled
from convkit.codegen import epilogue, finish
from convkit.codegen.epilogue import Ending
from convkit.codegen.target import Target
from convkit.planner import finishing
from convkit.planner.finishing import Operands
from convkit.spec.epilogue import ACTIVATIONS, Epilogue
from tests.codegen.kernel_calls import call, runnable

MACHINES = pytest.mark.parametrize("machine", runnable(), ids=lambda target: f"{target.vector_bytes}-byte-vectors")
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


SCALE = 2 * np.sqrt(2 / np.longdouble("3.14159265358979323846264"))


def _normal(x: np.ndarray) -> np.ndarray:
    """The normal distribution up to ``x``, by its series and by its continued fraction."""
    y, near = np.abs(x), np.abs(x) < 3
    inside = np.where(near, y, 0)
    term = total = inside.copy()
    for n in range(1, 120):
        term = term * inside**2 / (2 * n + 1)
        total = total + term
    density = np.exp(-y * y / 2) * SCALE / 4
    fraction = np.zeros_like(y)
    for n in range(400, 0, -1):
        fraction = n / (y + fraction)
    tail = np.where(near, np.longdouble(1) / 2 - density * total, density / (y + fraction))
    return np.where(x < 0, tail, 1 - tail)


def exact(activation: str, x: np.ndarray) -> np.ndarray:
    """The activation in extended precision."""
    x = x.astype(np.longdouble)
    with np.errstate(all="ignore"):
        sigmoid = 1 / (1 + np.exp(-x))
        gate = np.clip(x + 3, 0, 6)
        return {
            "relu": np.maximum(x, 0), "relu6": np.clip(x, 0, 6), "silu": x * sigmoid, "sigmoid": sigmoid,
            "tanh": np.tanh(x), "hardswish": x * gate / 6, "hardsigmoid": gate / 6,
            "gelu": x * _normal(x), "gelu_tanh": x / (1 + np.exp(-x * SCALE * (1 + np.longdouble("0.044715") * x * x))),
        }[activation]  # fmt: skip


def activated(activation: str, x: np.ndarray, machine: Target) -> np.ndarray:
    """By the kernel, one row."""
    out = np.full(len(x), 7, x.dtype)
    call(
        finish.Finish(x.dtype.name, Ending("", False, activation)), finish.ARGUMENTS, machine, out=out, sums=x, add=x,
        bias=x, planes=1, out_plane=0, sums_plane=0, add_plane=0, bias_plane=0, rows=1, out_row=0, sums_row=0,
        add_row=0, columns=len(x),
    )  # fmt: skip
    return out


def by_numpy(activation: str, x: np.ndarray) -> np.ndarray:
    """By NumPy, one channel."""
    out = x.copy()
    finishing.finish_by_numpy(Epilogue(False, False, activation), out.reshape(1, 1, 1, -1), finishing.NOTHING)  # type: ignore[arg-type]
    return out


def test_every_activation_is_compiled_and_known_to_numpy() -> None:
    assert set(epilogue.ACTIVATIONS) == set(ACTIVATIONS) == set(finishing._BY_NUMPY)


@MACHINES
@DTYPES
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_right_to_a_few_units(machine: Target, dtype: str, activation: str) -> None:
    source = np.random.default_rng(1)
    x = np.concatenate([
        source.standard_normal(1000) * 3, source.uniform(-90, 90, 500), source.standard_normal(500) * 1e-4,
        np.array([0.0, -3, 3, 6, -6, 700, -700, 1e-30, -1e-30]),
    ]).astype(dtype)  # fmt: skip
    expected = exact(activation, x)
    for found in (activated(activation, x, machine), by_numpy(activation, x)):
        error = np.abs(found - expected)
        unit = np.finfo(dtype).eps * np.maximum(np.abs(expected), np.finfo(dtype).tiny)
        # Where arguments are rounded first (x + 3), an error of the argument's last place is all that can be asked.
        slack = np.finfo(dtype).eps * (np.abs(x) + 3 if "hard" in activation else 0)
        if "gelu" in activation:  # so much larger is an error of the argument's last place in the tail
            power = 4 if activation == "gelu_tanh" else 2
            slack = slack + np.finfo(dtype).eps * np.abs(x) ** power * np.abs(expected)
        slack = slack + 200 * np.finfo(dtype).tiny  # beyond the largest exponential nothing is left
        assert (error <= 4 * unit + slack).all(), x[np.argmax(error / unit)]


@MACHINES
@DTYPES
def test_what_is_no_number_stays_none(machine: Target, dtype: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, -1, 1], dtype)
    for activation in ACTIVATIONS:
        found = activated(activation, x, machine)
        assert np.isnan(found[0]), activation
        assert np.isfinite(found[3:]).all()
        assert np.allclose(found, by_numpy(activation, x), rtol=1e-6, equal_nan=True), activation
    assert activated("relu", x, machine)[1:].tolist() == [np.inf, 0, 0, 1]
    assert activated("relu6", x, machine)[1:].tolist() == [6, 0, 0, 1]
    assert activated("tanh", x, machine)[1:3].tolist() == [1, -1]
    assert activated("sigmoid", x, machine)[1:3].tolist() == [1, 0]


def layouts(shape: tuple[int, ...], dtype: str, seed: int) -> dict[str, np.ndarray]:
    """Small integers in every way of lying in memory."""
    values = np.random.default_rng(seed).integers(-9, 10, shape).astype(dtype)
    batch, groups, channels, *space = shape
    last = np.ascontiguousarray(values.transpose(0, *range(3, len(shape)), 1, 2)).transpose(
        0, -2, -1, *range(1, len(shape) - 2)
    )
    wide = np.zeros((batch, groups, channels, *(2 * n for n in space)), dtype)
    spread = wide[(..., *(slice(None, n) for n in space))]
    spread[...] = values
    apart = wide.copy()[(..., *(slice(None, None, 2) for _ in space))]
    apart[...] = values
    return {"rows": values, "last": last, "spread": spread, "apart": apart}


@DTYPES
@pytest.mark.parametrize(
    "shape", [(2, 1, 5, 7, 9), (1, 3, 4, 40, 33), (3, 6, 1, 8), (2, 2, 3, 3, 4, 5), (1, 1, 1, 1, 1), (2, 1, 70, 1, 1)]
)
@pytest.mark.parametrize("epilogue", [Epilogue(True), Epilogue(False, True), Epilogue(True, True, "relu6")])
def test_sums_of_any_layout_are_finished_in_place(shape: tuple[int, ...], dtype: str, epilogue: Epilogue) -> None:
    bias = np.random.default_rng(3).integers(-9, 10, shape[1:3]).astype(dtype)
    for name, other in product(("rows", "last", "spread", "apart"), repeat=2):
        sums, add = layouts(shape, dtype, 1)[name], layouts(shape, dtype, 2)[other]
        operands = Operands(bias if epilogue.bias else None, add if epilogue.add else None)
        expected = sums + (bias.reshape(*bias.shape, *(1 for _ in shape[3:])) if epilogue.bias else 0)
        expected = expected + (add if epilogue.add else 0)
        if epilogue.activation:
            expected = np.clip(expected, 0, 6)
        whole = sums if sums.base is None else sums.base
        inside = whole.copy()
        finishing.finish_by_numpy(epilogue, sums, operands)
        assert np.array_equal(sums, expected), (name, other)
        again = layouts(shape, dtype, 1)[name]
        finishing.finish_in_place(epilogue, again, operands)
        assert np.array_equal(again, expected), (name, other)
        beyond = again if again.base is None else again.base
        assert np.count_nonzero(beyond != inside) <= again.size  # what lies between the sums is not touched


@DTYPES
def test_a_large_result_is_shared_out(dtype: str) -> None:
    """Many planes, one large plane, a batch of more steps than one program has."""
    for shape in ((1, 1, 300, 20, 21), (1, 1, 2, 400, 300), (5000, 1, 2, 3, 3)):
        sums = layouts(shape, dtype, 1)["rows"]
        bias = np.arange(shape[2], dtype=dtype)[None] + 1
        expected = np.maximum(sums + bias.reshape(1, -1, 1, 1), 0)
        assert finish_compiled(Epilogue(True, False, "relu"), sums, Operands(bias))
        assert np.array_equal(sums, expected), shape


@pytest.mark.parametrize("epilogue", [Epilogue(True, False, "relu"), Epilogue(False, True, "relu")])
def test_samples_of_one_number_that_lie_apart_are_all_finished(epilogue: Epilogue) -> None:
    sums = np.zeros((3, 1, 1, 2), np.float32)[..., :1]
    sums[...], add = [[[[-3]]], [[[5]]], [[[-7]]]], np.zeros((3, 1, 1, 2), np.float32)[..., :1]
    add[...] = [[[[1]]], [[[1]]], [[[9]]]]
    bias = np.full((1, 1), 4, np.float32)
    assert finish_compiled(epilogue, sums, Operands(bias if epilogue.bias else None, add if epilogue.add else None))
    assert sums.ravel().tolist() == ([1, 9, 0] if epilogue.bias else [0, 6, 2])
