"""Kernels that are sums of few oscillations: what a recursion needs to know of a smooth factor.

A factor ``w`` with ``w[j] ~ sum_p g_p(j)`` and ``g_p(j) = t1 g_p(j-1) - t2 g_p(j-2)`` is convolved by carrying two
numbers a term from output to output, however many elements it has. Poles are estimated from a subspace of the factor's
Hankel matrix (Roy and Kailath, ESPRIT, 1989); those of symmetric factors stand on the unit circle, where their
frequencies are refined by least squares with the amplitudes eliminated (Golub and Pereyra, 1973). No pole lies outside
the unit circle, so rounding errors do not grow like powers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convkit.planner.problem import Smooth
from convkit.planner.structure import Array, cross_factors

MOST_TERMS = 6
"""Terms beyond which a recursion is not worth its registers."""

TYPICAL = Smooth(4, "even", "forward", 0.0, 1.0)
"""What may be expected of a smooth factor before it is looked at."""

SAMPLES = 64
"""Elements of a factor, evenly spaced, that its poles are estimated from."""

REFINED = 256
"""Elements that frequencies are refined on."""

REMEMBERED = 128

ROUNDINGS = 6
"""Units of roundoff that a product of a step may be off by: those of its number, of the product and of the sums."""

Parity = Literal["even", "odd", "none"]
Reals = NDArray[np.float64]
Poles = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """``w[j] ~ sum_p g_p(a)``, where the age ``a`` counts from the end at which samples enter.

    ``y[i] = t1 y[i-1] - t2 y[i-2] + b0 e[i] + b1 e[i-1] + c0 e[i-K] + c1 e[i-K-1]`` is the sum over the window that
    ends with the entering sample ``e[i]``: what entered is taken out again when it leaves, so the window is exact.

    Attributes
    ----------
    terms : ndarray of float64, (p, 6)
        ``t1``, ``-t2``, ``b0``, ``b1``, ``c0`` and ``c1`` of each.
    error : float
        ``|w - fit|_2 / |w|_2``.
    growth : float
        How many units of roundoff, compared with ``|w|_2``, one step may leave in the outputs.
    total : float
        The sum of the fit.
    """

    terms: Reals
    error: float
    growth: float
    total: float


def smoothness_of(kernel: Array, accuracy: float) -> tuple[Smooth, ...]:
    """For each axis, of how few oscillations the kernel's factor is a sum within a share of ``accuracy``.

    Empty if the kernel is no outer product, or a factor of it is no such sum.

    Examples
    --------
    >>> i = np.arange(-40, 41)
    >>> smoothness_of(np.exp(-(i**2) / 200), 1e-4)[0].terms
    4
    """
    if kernel.dtype.kind not in "fiub" or kernel.size == 0 or not np.isfinite(kernel).all():
        return ()
    found = [[kernel]] if kernel.ndim == 1 else cross_factors(kernel)
    if found is None:
        return ()
    share = 0.9 * accuracy / kernel.ndim
    smooth = [_smooth(np.ascontiguousarray(vector, np.float64).tobytes(), share) for vector in found[0]]
    return tuple(each for each in smooth if each is not None) if None not in smooth else ()


def fit_of(vector: Array, smooth: Smooth) -> Fit:
    """The oscillations that ``smooth`` says the factor is a sum of; found once for the same elements."""
    return _fit(np.ascontiguousarray(vector, np.float64).tobytes(), smooth.terms, smooth.parity, smooth.direction)


@lru_cache(maxsize=REMEMBERED)
def _smooth(elements: bytes, share: float) -> Smooth | None:
    """The fewest terms that meet ``share``, and how the recursion runs."""
    w = np.frombuffer(elements)
    norm = float(np.linalg.norm(w))
    if norm == 0 or not math.isfinite(norm):
        return None
    parity: Parity = "none"
    for name, sign in (("even", 1), ("odd", -1)):
        if np.linalg.norm(w - sign * w[::-1]) <= 0.01 * share * norm and len(w) > 1:
            parity = name  # type: ignore[assignment]
    values = np.linalg.svd(_hankel(w)[0], compute_uv=False)
    directions = ("forward", "backward") if parity == "none" else ("forward",)
    for terms in range(1, MOST_TERMS + 1):
        if np.linalg.norm(values[2 * terms :]) > 100 * share * np.linalg.norm(values):
            continue
        for direction in directions:
            fit = _fit(elements, terms, parity, direction)
            grown = fit.growth * 64 * len(w) * 2.0**-53
            if fit.error <= share and grown <= share:
                # Rounded up, so that kernels that are fitted alike have the same plan.
                error = math.ceil(fit.error / share * 8) / 8 * share
                return Smooth(terms, parity, direction, error, 2.0 ** math.ceil(math.log2(fit.growth)))
    return None


@lru_cache(maxsize=REMEMBERED)
def _fit(elements: bytes, terms: int, parity: Parity, direction: str) -> Fit:
    w: Reals = np.frombuffer(elements)
    w = w[::-1] if direction == "forward" else w
    if parity == "none":
        sections = _sections(_poles(w, terms), terms)
    else:
        sections = [(complex(np.exp(1j * omega)), None) for omega in _frequencies(w, terms, parity).tolist()]
    # For each section, the sequences that obey its recurrence, at the ages of the window and one on either side.
    ages = np.arange(-1, len(w) + 1)
    parts = [_sequences(one, other, ages, parity) for one, other in sections]
    basis: Reals = np.concatenate(parts, axis=1)
    scale: Reals = np.maximum(np.linalg.norm(basis[1:-1], axis=0), 1e-300)
    amplitudes: Reals = np.linalg.lstsq(basis[1:-1] / scale, w, rcond=None)[0] / scale
    rows, fitted = np.zeros((terms, 6)), np.zeros(len(w))
    growth, norm, done = 1.0, float(np.linalg.norm(w)) or 1.0, 0
    for number, ((one, other), part) in enumerate(zip(sections, parts, strict=True)):
        g: Reals = part @ amplitudes[done : done + part.shape[1]]
        done += part.shape[1]
        rows[number] = _numbers(one, other, g, parity)
        fitted += g[1:-1]
        carried = 3 * float(np.linalg.norm(g[1:-1])) + float(np.abs(rows[number, 2:]).sum())
        growth += carried * _echo(one, other, len(w)) / norm
    return Fit(rows, float(np.linalg.norm(fitted - w)) / norm, ROUNDINGS * growth, float(fitted.sum()))


def _numbers(one: complex, other: complex | None, g: Reals, parity: Parity) -> tuple[float, ...]:
    """The six numbers of a term whose weights, at ages -1 to K, are ``g``; see `Fit`."""
    t1 = 2 * one.real if other is None else (one + other).real
    t2 = (1.0 if parity != "none" else abs(one) ** 2) if other is None else (one * other).real
    first = float(g[1])
    if parity != "none":
        sign, before = (1.0 if parity == "even" else -1.0), -float(g[0])
        return t1, -t2, first, before, sign * before, sign * first
    before, leaving = float(g[2] - t1 * g[1]), float(t2 * g[-3] - t1 * g[-2])
    return t1, -t2, first, before, leaving, float(t2 * g[-2])


def _sequences(one: complex, other: complex | None, ages: Array, parity: Parity) -> Reals:
    """Real sequences that obey a section's recurrence: two, or the one that has the parity, one a column."""
    if parity != "none":
        angle = np.angle(one) * (ages - (len(ages) - 3) / 2)
        found = [np.cos(angle) if parity == "even" else np.sin(angle)]
    elif other is None:
        power = np.exp(np.log(one) * ages)
        found = [power.real, power.imag]
    else:
        found = [pole.real ** ages.clip(0) for pole in ((one,) if other == 0 else (one, other))]
    return np.stack(found, axis=1).astype(np.float64)


def _echo(one: complex, other: complex | None, length: int) -> float:
    """The largest number by which an error made at one step is felt at a later one."""
    second = np.conj(one) if other is None else other
    if other is None and abs(one.imag) > 1e-9:
        return float(1 / abs(np.sin(np.angle(one))))  # |z|^m sin((m+1) a) / sin(a), |z| <= 1
    reach = np.arange(64 * length)
    nearest = max(abs(one), abs(second))
    return float(((reach + 1) * nearest**reach).max()) if second != 0 else 1.0


# ------------------------------------------------------------------------------------------------------------- poles


def _hankel(w: Reals) -> tuple[Reals, int]:
    """Neighbouring pieces of the factor, its elements thinned out, and how far apart those are."""
    apart = max(1, len(w) // SAMPLES)
    thin = w[::apart]
    return np.lib.stride_tricks.sliding_window_view(thin, len(thin) - len(thin) // 2), apart


def _poles(w: Reals, terms: int) -> Poles:
    """Poles, at most two a term, from the shift that takes a subspace of the Hankel matrix to itself."""
    matrix, apart = _hankel(w)
    left, values, _ = np.linalg.svd(matrix, full_matrices=False)
    kept = min(2 * terms, len(values), len(left) - 1)
    if kept < 1:
        return np.zeros(1, complex)
    kept = max(1, min(kept, int((values > 1e-13 * values[0]).sum())))
    basis = left[:, :kept]
    poles = np.linalg.eigvals(np.linalg.lstsq(basis[:-1], basis[1:], rcond=None)[0]).astype(complex)
    poles = poles[(np.abs(poles) > 1e-12) & (np.abs(np.angle(poles)) < 3.1)]  # others alternate in sign: noise
    rates = np.log(poles) / apart
    return np.exp(np.minimum(rates.real, 0) + 1j * rates.imag)


def _sections(poles: Poles, terms: int) -> list[tuple[complex, complex | None]]:
    """Poles by twos: one of each complex pair, real ones together, the last of these perhaps alone (with 0)."""
    pairs = [complex(z) for z in poles if z.imag > 1e-12]
    real = sorted((float(z.real) for z in poles if abs(z.imag) <= 1e-12), reverse=True)
    found: list[tuple[complex, complex | None]] = [(z, None) for z in pairs]
    found += [(complex(real[n]), complex(real[n + 1] if n + 1 < len(real) else 0)) for n in range(0, len(real), 2)]
    found += [(0j, 0j)] * (terms - len(found))
    return found[:terms]


def _frequencies(w: Reals, terms: int, parity: Parity) -> Reals:
    """Frequencies of cosines or sines about the middle whose sum comes closest to ``w``."""
    middle = (len(w) - 1) / 2
    estimate: Reals = np.sort(np.angle(_poles(w, terms))).astype(np.float64)
    estimate = estimate[estimate > 1e-12][:terms]
    spaced = (np.arange(terms) + (0.5 if parity == "even" else 1)) * math.pi / max(middle, 1)
    omega = estimate if len(estimate) == terms else spaced.astype(np.float64)
    picked = np.unique(np.linspace(0, len(w) - 1, min(len(w), REFINED)).round().astype(int))
    return _refined(omega, picked - middle, w[picked], parity)


def _refined(omega: Reals, at: Reals, w: Reals, parity: Parity) -> Reals:
    """Gauss-Newton steps on the frequencies alone, damped where they do not help."""

    def solved(omega: Reals) -> tuple[Reals, Reals, Reals, float]:
        angle = np.outer(at, omega)
        basis = np.cos(angle) if parity == "even" else np.sin(angle)
        slope = -np.sin(angle) if parity == "even" else np.cos(angle)
        amplitudes = np.linalg.lstsq(basis, w, rcond=None)[0]
        return basis, slope * at[:, None] * amplitudes, (rest := w - basis @ amplitudes), float(np.linalg.norm(rest))

    current, damping = solved(omega), 1e-6
    for _ in range(30):
        basis, slope, rest, error = current
        orthogonal = np.linalg.qr(basis)[0]
        slope = slope - orthogonal @ (orthogonal.T @ slope)
        scale = np.linalg.norm(slope, axis=0) + 1e-300
        system = np.vstack([slope / scale, math.sqrt(damping) * np.eye(len(omega))])
        step = np.linalg.lstsq(system, np.concatenate([rest, np.zeros(len(omega))]), rcond=None)[0] / scale
        trial = np.abs(omega + step)
        tried = solved(trial)
        if tried[3] < error and trial.max() < math.pi:
            omega, current, damping = trial, tried, damping / 10
            if tried[3] > 0.98 * error:
                break
        else:
            damping *= 30
            if damping > 10:
                break
    return omega
