"""Sums of oscillations: how few a factor is, what a recursion with their numbers gives, and what is refused."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from convkit.planner import exponentials
from convkit.planner.exponentials import Fit, fit_of, smoothness_of


def gaussian(sigma: float, truncate: float = 4.0) -> np.ndarray:
    reach = int(truncate * sigma + 0.5)
    return np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))


def response(fit: Fit, size: int, length: int) -> np.ndarray:
    """What the recursion makes of one sample, in the order of its arrival."""
    samples = np.zeros(length)
    samples[0] = 1
    total = np.zeros(length)

    def at(i: int) -> float:
        return samples[i] if i >= 0 else 0.0

    for t1, minus_t2, b0, b1, c0, c1 in fit.terms:
        newer = older = 0.0
        for i in range(length):
            now = (
                t1 * newer + minus_t2 * older + b0 * at(i) + b1 * at(i - 1) + c0 * at(i - size) + c1 * at(i - size - 1)
            )
            newer, older = now, newer
            total[i] += now
    return total


FACTORS = {
    "gaussian": gaussian(11), "even size": gaussian(11)[1:], "slope": gaussian(9) * np.arange(-36, 37),
    "decay": np.exp(-np.arange(80) / 13), "growth": np.exp(np.arange(80) / 13), "wave": np.cos(np.arange(90) / 7 + 0.3),
    "off centre": gaussian(15)[20:], "one": np.array([3.0]), "pair": np.array([1.0, 3.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", FACTORS)
def test_the_numbers_give_the_factor_and_nothing_after_it(name: str) -> None:
    w = FACTORS[name]
    (smooth,) = smoothness_of(w, 1e-4)
    fit, norm = fit_of(w, smooth), np.linalg.norm(w)
    found = response(fit, len(w), 3 * len(w) + 5)
    arrival = w[::-1] if smooth.direction == "forward" else w
    error = np.linalg.norm(found[: len(w)] - arrival)
    assert error == pytest.approx(fit.error * norm, rel=1e-3, abs=1e-9 * norm)
    assert error <= smooth.error * norm <= 1e-4 * norm
    # What has left is gone, but for roundoff, which the bound counts.
    assert np.abs(found[len(w) :]).max() <= fit.growth * 2.0**-53 * len(found) * norm
    assert fit.total == pytest.approx(w.sum(), abs=1e-4 * norm * len(w) ** 0.5)
    assert fit.growth <= smooth.growth


@pytest.mark.parametrize(("accuracy", "terms"), [(1e-2, 3), (1e-3, 4), (1e-4, 4), (1e-5, 5), (1e-6, 5)])
@pytest.mark.parametrize("sigma", [5, 20, 150])
def test_a_gaussian_takes_few_terms_however_wide(sigma: float, accuracy: float, terms: int) -> None:
    (smooth,) = smoothness_of(gaussian(sigma), accuracy)
    assert (smooth.terms, smooth.parity) == (terms, "even")


def test_directions_and_parities() -> None:
    known = {name: smoothness_of(w, 1e-4)[0] for name, w in FACTORS.items()}
    assert [known[name].parity for name in ("gaussian", "slope", "decay")] == ["even", "odd", "none"]
    assert known["decay"].terms == known["growth"].terms == known["wave"].terms == 1
    assert (known["decay"].direction, known["growth"].direction) == ("backward", "forward")


def test_each_axis_has_its_share() -> None:
    kernel = np.outer(gaussian(9), FACTORS["decay"])
    one, other = smoothness_of(kernel, 1e-3)
    assert one.error + other.error + one.error * other.error <= 1e-3
    assert smoothness_of(kernel.astype("float32"), 1e-3) == (one, other)


def test_what_is_refused() -> None:
    rng = np.random.default_rng(1)
    two_sided = np.exp(-np.abs(np.arange(-40, 41)) / 10)
    for kernel in (rng.random(60), two_sided, rng.random((20, 20)), np.zeros(9), np.array([1.0, np.nan, 1.0]),
                   np.ones(5, complex)):  # fmt: skip
        assert smoothness_of(kernel, 1e-4) == ()
    assert smoothness_of(gaussian(20), 1e-13) == ()


def test_the_example() -> None:
    assert doctest.run_docstring_examples(smoothness_of, vars(exponentials)) is None
