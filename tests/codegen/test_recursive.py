"""The kernel of recursions: its values, its state from call to call, its marks, its flag, its instructions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convkit.codegen import recursive
from convkit.codegen.pack import FILL, ZEROS
from convkit.codegen.target import Target, host
from convkit.planner import exponentials
from tests.codegen.isa import SPILL, TARGETS, written
from tests.codegen.kernel_calls import call, runnable

ROOT = Path(__file__).parents[2]
SIZE = 9
"""Rows of a window."""


def numbers(terms: int, parity: str) -> np.ndarray:
    """Terms that are damped, or that are not and have the parity's signs."""
    found = np.random.default_rng(terms).uniform(-1, 1, (terms, 6))
    found[:, 0], found[:, 1] = 1.1, -0.7
    if parity != "none":
        sign = 1 if parity == "even" else -1
        found[:, 1], found[:, 4], found[:, 5] = -1, sign * found[:, 3], sign * found[:, 2]
    return found


def expected(x: np.ndarray, w: np.ndarray, entering: np.ndarray, leaving: np.ndarray) -> np.ndarray:
    """The recurrence, term by term."""
    out = np.zeros((len(entering), x.shape[1]))
    for t1, minus_t2, b0, b1, c0, c1 in w:
        newer, older, before, left = np.zeros((4, x.shape[1]))
        for n, (enters, leaves) in enumerate(zip(entering, leaving, strict=True)):
            now = t1 * newer + minus_t2 * older + b0 * enters + b1 * before + c0 * leaves + c1 * left
            newer, older, before, left = now, newer, enters, leaves
            out[n] += now
    return out


class Run:
    """A kernel with memory for its state."""

    def __init__(self, nest: recursive.Recursion, machine: Target, x: np.ndarray, w: np.ndarray, fill: float) -> None:
        self.nest, self.machine, self.x, self.w = nest, machine, x, w
        vectors = -(-x.shape[1] // nest.lanes)
        self.state = np.zeros(vectors * nest.state_bytes // 8 + 8)
        self.state[-8:] = 7
        self.found = np.zeros(1, np.int64)
        self.blank = np.zeros(2 * recursive.BLANK // x.itemsize, x.dtype)
        self.blank[len(self.blank) // 2 :] = fill

    def rows(self, entering: np.ndarray, leaving: np.ndarray, start: str) -> np.ndarray:
        """Rows of results, from no state or from what is kept."""
        table = np.concatenate([entering, leaving]).astype(np.int64)
        out = np.full((len(entering), self.x.shape[1]), 99, self.nest.stored)
        none = np.zeros(self.nest.state_bytes // 8)
        call(
            self.nest, recursive.ARGUMENTS, self.machine, out=out, x=self.x, w=self.w, rows_at=table, blank=self.blank,
            state=none if start == "new" else self.state, keep=self.state, found=self.found, leave=8 * len(entering),
            rows=len(entering), columns=self.x.shape[1], out_row=out.strides[0],
            state_step=0 if start == "new" else self.nest.state_bytes,
        )  # fmt: skip
        assert (self.state[-8:] == 7).all()
        return out


@pytest.mark.parametrize("parity", ["even", "odd", "none"])
@pytest.mark.parametrize(("source", "stored"), [("float32", "float32"), ("float64", "float64"), ("uint8", "float32")])
def test_values_and_state(source: str, stored: str, parity: str) -> None:
    for machine in runnable():
        for terms, columns in ((1, 1), (2, 7), (3, 8), (4, 9), (4, 33)):
            nest = recursive.recursion_for(machine, source, stored, terms, parity)
            if nest is None:  # too few registers
                assert (terms, parity, machine.registers) == (4, "none", 16)
                continue
            x = (np.random.default_rng(1).standard_normal((40, columns)) * 20).astype(source)
            entering = np.arange(40) * x.strides[0]
            leaving = np.concatenate([np.full(SIZE, ZEROS), entering[:-SIZE]])
            entering[[5, 20]] = ZEROS, FILL
            rows = [x[n].astype(float) for n in range(40)]
            rows[5], rows[20] = np.zeros(columns), np.full(columns, 3.0)
            gone = [np.zeros(columns)] * SIZE + [x[n].astype(float) for n in range(40 - SIZE)]
            w = numbers(terms, parity)
            run = Run(nest, machine, x, w, 3)
            whole = run.rows(entering, leaving, "new")
            wanted = expected(x, w, np.array(rows), np.array(gone))
            assert np.allclose(whole, wanted, rtol=2e-6, atol=2e-6 * np.abs(wanted).max())
            # The same rows in two calls, the state handed over: not a bit differs.
            parts = [run.rows(entering[:17], leaving[:17], "new"), run.rows(entering[17:], leaving[17:], "kept")]
            assert np.concatenate(parts).tobytes() == whole.tobytes()
            assert run.found[0] == 0


@pytest.mark.parametrize("columns", [8, 13])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_found_however_late(columns: int, bad: float) -> None:
    machine = host()
    assert machine is not None
    nest = recursive.recursion_for(machine, "float32", "float32", 3, "even")
    assert nest is not None
    for column in (0, columns - 1):
        x = np.ones((60, columns), "float32")
        x[2, column] = bad
        entering = np.arange(60) * x.strides[0]
        leaving = np.concatenate([np.full(SIZE, ZEROS), entering[:-SIZE]])
        run = Run(nest, machine, x, numbers(3, "even"), 0)
        out = run.rows(entering, leaving, "new")
        assert run.found[0] == 1
        assert np.isfinite(out[:, np.arange(columns) != column]).all()


@pytest.mark.parametrize("isa", TARGETS)
def test_nothing_is_put_on_the_stack(isa: str) -> None:
    target = TARGETS[isa]
    assert target is not None
    made = 0
    for terms in range(1, exponentials.MOST_TERMS + 1):
        for parity in ("even", "odd", "none"):
            for source, stored in (("float32", "float32"), ("float64", "float64"), ("uint8", "float32")):
                nest = recursive.recursion_for(target, source, stored, terms, parity)
                if nest is None:
                    continue
                text, spilled = written(nest, isa)
                fused = r"vfn?m(?:add|sub)\d+pd" if isa != "neon" else r"fml[as]\tv\d+\.2d"
                blocks = re.split(r"\n(?=\.LBB)", text)
                # Whole vectors come before the last columns, whose mask may wait in memory.
                loop = next(block for block in blocks if len(re.findall(fused, block)) >= 2 * terms)
                assert re.findall(SPILL[isa], loop) == []
                assert len(spilled) <= 2
                made += 1
    assert made >= 30


def test_too_many_terms_for_the_registers() -> None:
    avx2 = TARGETS["avx2"]
    assert avx2 is not None
    assert recursive.recursion_for(avx2, "float32", "float32", 7, "none") is None
    with pytest.raises(ValueError, match="vector registers"):
        recursive.Recursion("float32", "float32", 4, 7, "none").module(avx2)


@pytest.mark.parametrize("words", [[], ["reach-out"]])
def test_guard_pages(words: list[str]) -> None:
    command = [sys.executable, "-m", "tests.codegen.guarded_recursions", *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if words:
        assert result.returncode < 0  # the guard does bite
    else:
        assert result.stdout.strip() == "untouched", result.stderr
