"""The algorithm `col2im` and its kernel: every geometry, every layout, the same bits however it is called."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.algorithms import col2im as algorithm
from convkit.algorithms.support import col2im_tiles
from convkit.codegen import col2im
from convkit.codegen.col2im import Col2im
from convkit.codegen.target import Target
from convkit.planner.plan import forget_plans, plan_for
from convkit.planner.problem import Problem
from convkit.spec.epilogue import Epilogue
from convkit.spec.window import Window
from tests.codegen.isa import TARGETS, written
from tests.codegen.kernel_calls import call, runnable


@pytest.fixture(autouse=True)
def small_problems_too(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(algorithm, "LEAST_PRODUCTS", 0)
    before = ck.num_threads()
    yield
    ck.set_num_threads(before)
    forget_plans()


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Small integers: sums of their products are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def lying(array: np.ndarray, order: str) -> np.ndarray:
    """The same numbers with channels side by side, or in another order in memory."""
    if order == "channels":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 2, -1)), -1, 2)
    if order == "backwards":
        return array[..., ::-1].copy()[..., ::-1]
    return np.asfortranarray(array) if order == "columns" else array


ORDERS = st.sampled_from(("pixels", "channels", "backwards", "columns"))


@pytest.mark.parametrize("machine", runnable(), ids=lambda target: f"{target.vector_bytes}-byte-vectors")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("phases", col2im.PHASES)
def test_rows_are_added_up(machine: Target, dtype: str, phases: int) -> None:
    """Any number of columns and of rows, none for a phase included; nothing is written beyond the row."""
    item, lanes = np.dtype(dtype).itemsize, machine.vector_bytes // np.dtype(dtype).itemsize
    for columns, most in product((1, lanes - 1, lanes * phases, 4 * lanes * phases + 3, 9 * lanes + 2), (0, 1, 5)):
        counts = np.arange(most, most - phases, -1).clip(0)
        offsets = np.random.default_rng(3).integers(0, 40, counts.sum() + 1)
        x, out = numbers((2, columns + 8 * lanes + 40), dtype, 1), np.full((2, columns + 1), 7, dtype)
        call(
            Col2im(dtype, lanes, phases), col2im.ARGUMENTS, machine, out=out, x=x, offsets=offsets * item,
            counts=counts, channels=2, out_channel=out.strides[0], x_channel=x.strides[0], columns=columns,
        )  # fmt: skip
        expected = np.zeros((2, columns), dtype)
        begins = np.concatenate(([0], np.cumsum(counts)))
        for n, phase in product(range(columns), range(phases)):
            if n % phases == phase:
                expected[:, n] = x[:, offsets[begins[phase] : begins[phase + 1]] + n // phases].sum(axis=1)
        assert np.array_equal(out[:, :-1], expected), (columns, most)
        assert (out[:, -1] == 7).all()


@pytest.mark.parametrize("isa", list(TARGETS))
def test_sums_stay_in_registers(isa: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    for dtype, phases in product(("float32", "float64"), col2im.PHASES):
        lanes = target.vector_bytes // np.dtype(dtype).itemsize
        assert written(Col2im(dtype, lanes, phases), isa)[1] == []


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Layers that are transposed ones or gradients, of any padding."""
    windows = []
    for axis in range(rank := draw(st.integers(1, 2))):
        up = draw(st.sampled_from((1, 2, 4) if axis == rank - 1 else (1, 2, 3, 4)))
        size, kernel, count = (draw(st.integers(1, most)) for most in (24, 5, 40))
        start, dilation = draw(st.integers(-9, 4)), draw(st.integers(1, 3))
        windows.append(Window(size, kernel, count, start, 1, dilation, up))
    dtype = draw(st.sampled_from(("float32", "float64")))
    return Problem(
        tuple(windows), batch=draw(st.integers(1, 3)), groups=draw(st.integers(1, 3)),
        in_channels=draw(st.integers(1, 9)), out_channels=draw(st.integers(1, 5)),
        input_dtype=draw(st.sampled_from((dtype, dtype, "uint8"))), kernel_dtype=dtype, compute_dtype=dtype,
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(problems(), ORDERS, ORDERS, ORDERS, st.sampled_from((None, Epilogue(False, False, "relu"))))
def test_any_geometry(problem: Problem, samples: str, weights: str, result: str, epilogue: Epilogue | None) -> None:
    x = np.abs(numbers(problem.input_shape, "float64", 1)).astype(problem.input_dtype)
    w = numbers(problem.kernel_shape, problem.compute_dtype, 2)
    problem = problem.derive(epilogue=epilogue)
    assume(algorithm.Col2im().applies(problem) is None)
    results = []
    for method in ("col2im", "polyphase" if problem.upsampled else "direct"):
        out = lying(np.full(problem.output_shape, 7.5, w.dtype), result)
        plan = plan_for(problem, method)
        plan.run(plan.prepare(lying(w, weights)), lying(x, samples), out)
        results.append(out)
    assert np.array_equal(*results)


def test_threads_and_batches_change_no_bit() -> None:
    source = np.random.default_rng(1)
    for stride, size in ((1, 40), (2, 37), (4, 50)):
        x, w = source.standard_normal((5, 3, size, 61)), source.standard_normal((24, 3, 5, 4))
        g = source.standard_normal(ck.conv(x, w, stride=stride, padding=1).shape)
        options: dict[str, Any] = {"stride": stride, "padding": 1}
        results = set()
        for threads in (1, 2, 3):
            ck.set_num_threads(threads)
            results.add(ck.conv_transpose(g, w, method="col2im", **options).tobytes())
            ones = [ck.conv_transpose(g[n : n + 1], w, method="col2im", **options) for n in range(5)]
            results.add(np.concatenate(ones).tobytes())
        assert len(results) == 1


def test_a_cut_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows of outputs in a task or many, and few samples in a program."""
    source = np.random.default_rng(1)
    g, w = source.standard_normal((2, 24, 60, 61)), source.standard_normal((24, 3, 3, 3))
    results = set()
    for shared, steps in ((10, 1 << 14), (1, 1 << 14), (1000, 1)):
        monkeypatch.setattr(col2im_tiles, "SHARED", shared)
        monkeypatch.setattr(col2im_tiles, "PROGRAM_STEPS", steps)
        for cached in (col2im_tiles.blocking, col2im_tiles.program, col2im_tiles.samples_at_once):
            cached.cache_clear()
        results.add(ck.conv_transpose(g, w, stride=2, method="col2im").tobytes())
    assert len(results) == 1
    col2im_tiles.blocking.cache_clear()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_windows(value: float) -> None:
    g, w = numbers((1, 8, 12, 20), "float64", 1), numbers((8, 2, 3, 3), "float64", 2)
    g[0, 3, 4, 19] = value
    for stride in (1, 2):
        y = ck.conv_transpose(g, w, stride=stride, method="col2im")
        expected = ck.conv_transpose(g, w, stride=stride, method="polyphase" if stride > 1 else "direct")
        assert np.array_equal(y, expected, equal_nan=True)
        assert np.isfinite(y).sum() == y.size - 2 * 9


def test_it_is_the_way_of_a_first_layers_gradient() -> None:
    for stride, kernel in ((1, 3), (2, 7), (4, 11)):
        back = Window(224, kernel, (224 - kernel) // stride + 1, 0, stride).input_adjoint()
        types: Any = dict.fromkeys(("input_dtype", "kernel_dtype", "compute_dtype"), "float32")
        problem = Problem((back, back), in_channels=64, out_channels=3, **types)
        assert plan_for(problem).choice == "col2im"


def test_nothing_outside_the_arrays_is_touched() -> None:
    """A fault would end the process, so it has one of its own."""
    command = [sys.executable, "-m", "tests.codegen.guarded_col2im"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr
