"""The passes of a batch norm against NumPy in float64, on every processor at hand; in bounds; free of spills."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest

from convkit.codegen import normalisation
from convkit.codegen.normalisation import Normalisation
from convkit.codegen.pooling_places import LargestPlaces
from convkit.codegen.target import Target
from tests.codegen.isa import TARGETS, written
from tests.codegen.kernel_calls import call, runnable

PASSES = ("sums", "apply", "gradient_sums", "gradient")
SIZES = [(1, 1, 5), (3, 2, 16), (2, 3, 33), (5, 4, 49), (4, 19, 1), (3, 40, 7)]
"""Samples, channels, numbers of each."""


def _run(machine: Target, pass_: Normalisation, size: tuple[int, int, int], arrays: dict[str, np.ndarray]) -> None:
    batch, channels, numbers = size
    planes = pass_.layout == "planes"
    call(
        pass_, normalisation.ARGUMENTS, machine, **arrays, constants_row=4 * channels, out_row=8 * channels,
        channels=channels, channel=4 * numbers, planes=batch, plane=4 * channels * numbers,
        columns=numbers if planes else channels, rows=batch * numbers, row=4 * channels,
    )  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", ["planes", "pixels"])
@pytest.mark.parametrize("activation", ["", "relu", "relu6"])
@pytest.mark.parametrize("add", ["none", "array"])
def test_passes(size: tuple[int, int, int], layout: Any, activation: str, add: Any) -> None:
    batch, channels, numbers = size
    shape = (batch, channels, numbers) if layout == "planes" else (batch, numbers, channels)
    over = (0, 2) if layout == "planes" else (0, 1)
    rng = np.random.default_rng(0)
    x, g, addend = (rng.standard_normal(shape).astype(np.float32) * 3 + 1 for _ in range(3))
    constants = rng.standard_normal((5, channels)).astype(np.float32)
    scale, shift, mean, slope, rest = (
        row[:, None] if layout == "planes" else row for row in constants.astype(np.float64)
    )
    z = x * scale + shift + (addend if add == "array" else 0)
    y = {"": z, "relu": np.maximum(z, 0), "relu6": np.clip(z, 0, 6)}[activation]
    for machine in runnable():
        out, second, sums = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros((2, channels))
        arrays = {"x": x, "g": g, "other": addend, "constants": constants, "second": second}
        _run(machine, Normalisation("sums", layout), size, {**arrays, "out": sums})
        wide = x.astype(np.float64)
        np.testing.assert_allclose(sums, [wide.sum(over), (wide * wide).sum(over)], rtol=1e-12)
        _run(machine, Normalisation("apply", layout, activation, add), size, {**arrays, "out": out})
        np.testing.assert_allclose(out, y, rtol=1e-5, atol=2e-6)
        through = out.copy()  # where gradients pass is what the kernel itself wrote
        passes = (through > 0) & ((through < 6) | (activation == "relu")) if activation else np.ones(shape, bool)
        h = np.where(passes, g, 0).astype(np.float64)
        from_mean = (x - mean.astype(np.float32)).astype(np.float64)
        arrays["other"] = through
        _run(machine, Normalisation("gradient_sums", layout, activation, add), size, {**arrays, "out": sums})
        np.testing.assert_allclose(sums, [h.sum(over), (h * from_mean).sum(over)], rtol=1e-12, atol=1e-10)
        _run(machine, Normalisation("gradient", layout, activation, add), size, {**arrays, "out": out})
        np.testing.assert_allclose(out, scale * h + slope * from_mean + rest, rtol=1e-5, atol=1e-5)
        if activation and add == "array":
            assert np.array_equal(second, h.astype(np.float32))


@pytest.mark.parametrize("layout", ["planes", "pixels"])
def test_sums_keep_small_deviations_from_a_large_mean(layout: Any) -> None:
    x = (np.float32(4096) + np.random.default_rng(0).standard_normal((1, 1, 4000)).astype(np.float32)).astype(
        np.float32
    )
    sums = np.zeros((2, 1))
    shape = (1, 1, 4000)
    _run(runnable()[0], Normalisation("sums", layout), shape, {
        "x": x, "g": x, "other": x, "constants": x, "second": x, "out": sums,
    })  # fmt: skip
    mean, squares = sums[:, 0] / x.size
    assert squares - mean * mean == pytest.approx(x.astype(np.float64).var(), rel=1e-6)


@pytest.mark.parametrize("isa", sorted(TARGETS))
@pytest.mark.parametrize("layout", ["planes", "pixels"])
def test_no_vector_is_spilled(isa: str, layout: Any) -> None:
    for does, activation, add in product(PASSES, ("", "relu6"), ("none", "array")):
        kernel = Normalisation(does, layout, activation, add)  # type: ignore[arg-type]
        _, spilled = written(kernel, isa)
        # A count of numbers may wait there, which is asked for once a row.
        assert [line for line in spilled if not line.startswith(("\tvmovd", "\tvmovq"))] == [], kernel.name
    for does, channels in product(("largest", "gradient"), ("many", "one")):
        kernel = LargestPlaces("float32", does, channels)  # type: ignore[arg-type]
        _, spilled = written(kernel, isa)
        assert spilled == [], kernel.name


def test_memory_outside_is_not_touched() -> None:
    command = [sys.executable, "-m", "tests.codegen.guarded_training"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "untouched", done.stderr
    assert subprocess.run([*command, "reach-out"], capture_output=True, check=False).returncode < 0
