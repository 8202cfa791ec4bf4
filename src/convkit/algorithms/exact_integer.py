"""Exact integers: sums proven exact, in floating point where it can hold them, in digits where it cannot.

Four engines form sums of integer products without error:

- compiled sums of products, and float64 sums, as long as no partial sum can reach 2**53;
- float64 transforms, as long as their error bound stays below one half, rounded afterwards;
- int64 sums, as long as no partial sum can reach 2**63 (or wrapping is what was asked for).

Larger numbers are split into balanced digits ``x = sum_t x_t * 2**(b*t)``, ``|x_t| <= 2**(b-1)``, convolved digit by
digit and put together with carries, so that the result, or the fact that it does not fit, is known exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from convkit.algorithms.support import inner_products
from convkit.codegen.memory import type_name
from convkit.errors import IntegerOverflowError
from convkit.planner import registry
from convkit.planner.algorithm import Alone, Array, Cost, ErrorBound, Reason
from convkit.planner.machine import Machine, current
from convkit.planner.plan import Plan, plan_for
from convkit.planner.problem import Problem

FLOAT_EXACT = 2**53
SAFE_ROUNDING = 0.4
"""Error up to which a sum rounds to the right integer, with a margin below one half."""

CHUNK = 1 << 15
"""Sums turned into integers at a time."""

SPLITS = (1, 2, 3, 4, 5, 6, 8)
_ENGINES = ("compiled", "products", "transform", "integers")


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the digits are cut and which engine convolves them.

    Attributes
    ----------
    engine : {"compiled", "products", "transform", "integers"}
        As in the module's list.
    plan : Plan
        Of one pair of digits.
    input_digits, kernel_digits, bits : int
        Number of digits of either side, and bits of one digit; one digit means the number itself.
    """

    engine: str
    plan: Plan
    input_digits: int
    kernel_digits: int
    bits: int


@dataclass(frozen=True, slots=True)
class ExactKernel:
    """The kernel with the sums that its bounds are computed from."""

    values: Array
    least: int
    peak: int
    absolute_sum: int


class ExactInteger:
    """Integer sums without error, or an error that says by how much they do not fit."""

    name = "exact-integer"

    def applies(self, problem: Problem) -> Reason | None:
        if problem.upsampled:
            return Reason("upsampled")
        return None if problem.exact else Reason("not-integer", dtype=problem.compute_dtype)

    def cost(self, problem: Problem, machine: Machine) -> Cost:
        # Values are not known yet: the figures are those of numbers whose sums float64 holds, and transforms tell
        # apart. Larger ones take another eight bytes for each sample and output of every digit.
        ways = [_products(problem), plan_for(_float_problem(problem).derive(accuracy="norm"))]
        cost = min((way.algorithm.cost(way.problem, machine) for way in ways), key=lambda cost: cost.seconds)
        result = 8 * math.prod(problem.output_shape)
        seconds = cost.seconds + 8 * result / machine.bandwidth + 120 * machine.call
        return Cost(cost.flops, cost.bytes + 2 * result, seconds, cost.workspace + 16 * CHUNK)

    def bound(self, problem: Problem) -> ErrorBound:
        return ErrorBound("exact", 0.0)

    def prepare(self, problem: Problem, kernel: Array) -> ExactKernel:
        values = kernel.astype(np.uint8) if kernel.dtype == bool else kernel
        largest = 0
        for g in range(problem.groups):
            for o in range(problem.out_channels):
                largest = max(largest, _absolute_sum(values[g, o]))
        return ExactKernel(values, *_extent(values), largest)

    def run(self, problem: Problem, prepared: ExactKernel, x: Array, out: Array) -> None:
        x = x.view(np.uint8) if x.dtype == bool else x
        fill = int(problem.fill.real)
        least, peak = _extent(x)
        least, peak = min(least, fill), max(peak, abs(fill))
        worst = peak * prepared.absolute_sum
        if problem.compute_dtype == "uint64" and min(least, prepared.least) < 0:
            # Negative sums are seen as such only in signed numbers.
            signed = problem.derive(compute_dtype="int64")
            self._sum(signed, prepared, x, peak, worst, out.view(np.int64), out)
        else:
            self._sum(problem, prepared, x, peak, worst, out, out)

    def alone(self, problem: Problem, prepared: ExactKernel) -> Alone | None:
        """A short signal whose sums int64 holds, by NumPy's own loop; nothing for other samples."""
        signed = problem.compute_dtype == "int64"
        if inner_products.why_not(problem) is not None or not signed or prepared.values.dtype == np.uint64:
            return None
        kernel = prepared.values[0, 0, 0, ::-1].astype(np.int64)
        row_sum, largest = inner_products.row_sum(problem), (2**63 - 1) // max(1, prepared.absolute_sum)

        def call(x: Array, out: Array | None) -> Array | None:
            if out is not None or _extent(x)[1] > largest:
                return None
            return row_sum(x.astype(np.int64, copy=False), kernel)

        return call

    def _sum(
        self,
        problem: Problem,
        prepared: ExactKernel,
        x: Array,
        peak: int,
        worst: int,
        sums_into: Array,
        out: Array,
    ) -> None:
        """Sums in the problem's type into ``sums_into``, which is ``out`` itself, or its bits read as signed."""
        scheme = _scheme(problem, peak.bit_length(), prepared.peak.bit_length(), worst.bit_length())
        inputs = _digits(x, scheme.input_digits, scheme.bits)
        kernels = _digits(prepared.values, scheme.kernel_digits, scheme.bits)
        places = scheme.input_digits + scheme.kernel_digits - 1
        fills = _digits(np.asarray(int(problem.fill.real)), scheme.input_digits, scheme.bits)
        if places == 1:
            _one(scheme, problem, inputs[0], kernels[0], fills[0], sums_into)
            if sums_into is not out and problem.overflow != "wrap":
                _settle(out, None, sums_into < 0, problem, -worst)
            return
        sums = np.zeros((places, *out.shape), np.int64)
        term = np.empty(out.shape, np.int64)
        for s, kernel in enumerate(kernels):
            for t, digit in enumerate(inputs):
                _one(scheme, problem, digit, kernel, fills[t], term)
                sums[s + t] += term
        _put_together(sums, scheme.bits, out, problem, worst, sums_into is not out)


def _extent(values: Array) -> tuple[int, int]:
    """The smallest value, and the largest magnitude."""
    if values.size == 0:
        return 0, 0
    least, most = int(values.min()), int(values.max())
    return least, max(abs(least), abs(most))


def _absolute_sum(values: Array) -> int:
    """Sum of absolute values as a Python int, however large."""
    if values.size * max(1, _extent(values)[1]) < 2**62:
        return int(np.abs(values.astype(np.int64)).sum())
    return sum(abs(int(value)) for value in values.ravel())


def _float_problem(problem: Problem) -> Problem:
    return problem.derive(compute_dtype="float64", accuracy="elementwise", structure="dense", rank=0, uniform=())


def _products(problem: Problem) -> Plan:
    return plan_for(_float_problem(problem))


@lru_cache(maxsize=1024)
def _scheme(problem: Problem, input_bits: int, kernel_bits: int, sum_bits: int) -> Scheme:
    """The cheapest engine and splitting whose exactness is proven for numbers of so many bits."""
    peak, kernel_peak, worst = ((1 << bits) - 1 for bits in (input_bits, kernel_bits, sum_bits))
    best: tuple[float, Scheme] | None = None
    model = current()
    exact_reach = 2**64 if problem.compute_dtype == "uint64" else 2**63
    for digits in SPLITS:
        if digits == 1:
            bits, input_digits, kernel_digits = 64, 1, 1
            one, total = (peak, kernel_peak), worst
        else:
            bits = -(-max(input_bits, kernel_bits, 1) // digits) + 1
            input_digits, kernel_digits = (-(-(own + 1) // bits) for own in (input_bits, kernel_bits))
            one = min(peak, 1 << (bits - 1)), min(kernel_peak, 1 << (bits - 1))
            # Room for the sum of all digit pairs of one place, and for a carry.
            total = 2 * one[0] * one[1] * problem.terms * min(input_digits, kernel_digits)
        for engine in _ENGINES:
            plan = _engine(problem, engine, digits, one, total, worst < exact_reach)
            if plan is None:
                continue
            pairs, outputs = input_digits * kernel_digits, problem.outputs * problem.batch
            seconds = pairs * (plan.seconds + 16 * outputs / model.bandwidth)
            if digits > 1:  # cutting digits, adding their sums up and putting them together
                seconds += (8 * input_digits + 3 * pairs + 8 * digits) * 8 * outputs / model.bandwidth
            if best is None or seconds < best[0]:
                best = seconds, Scheme(engine, plan, input_digits, kernel_digits, bits)
    assert best is not None  # eight digits of nine bits are exact in float64 up to 2**35 terms
    return best[1]


def _engine(problem: Problem, engine: str, digits: int, one: tuple[int, int], total: int, fits: bool) -> Plan | None:
    """The plan of an engine if it is exact for digits up to ``one`` whose sums stay within ``total``."""
    if engine == "compiled":
        fused = problem.derive(result_dtype="")
        applies = digits == 1 and registry.algorithm("compiled-exact").applies(fused) is None
        return plan_for(fused, "compiled-exact") if applies and total < FLOAT_EXACT else None
    if engine == "products":
        return _products(problem) if total < FLOAT_EXACT else None
    if engine == "integers":
        wraps = problem.overflow == "wrap" or fits
        return plan_for(problem.derive(overflow="wrap"), "direct") if (total < 2**63 or wraps) else None
    if total >= FLOAT_EXACT:
        return None
    asked = _float_problem(problem).derive(accuracy="norm")
    # The norm of one block is at most that of the whole extended input.
    samples = math.prod(window.span for window in problem.windows) * problem.in_channels
    size = one[0] * math.sqrt(samples) * one[1] * math.sqrt(problem.terms)
    exact: list[Plan] = []
    for method in ("fft", "overlap-save"):
        algorithm = registry.algorithm(method)
        if algorithm.applies(asked) is None and algorithm.bound(asked).factor * size < SAFE_ROUNDING:
            exact.append(plan_for(asked, method))
    return min(exact, key=lambda plan: plan.seconds, default=None)


def _digits(values: Array, count: int, bits: int) -> list[Array]:
    """Balanced digits, lowest first: ``values == sum_t digits[t] << (bits*t)``."""
    if count == 1:
        return [values]
    rest = values.astype(np.uint64 if values.dtype == np.uint64 else np.int64)
    half, base = 1 << (bits - 1), 1 << bits
    digits: list[Array] = []
    for _ in range(count - 1):
        low = (rest & rest.dtype.type(base - 1)).astype(np.int64)
        carry = low >= half
        digits.append(low - base * carry)
        rest = (rest >> rest.dtype.type(bits)) + carry.astype(rest.dtype)
    digits.append(rest.astype(np.int64))
    return digits


def _one(scheme: Scheme, problem: Problem, x: Array, kernel: Array, fill: Array, out: Array) -> None:
    """Convolve one pair of digits exactly into an integer ``out``."""
    # Digits may be negative, whatever the numbers are: integers take the type of the target, which is signed then.
    own = scheme.plan.problem.compute_dtype
    # A fill beyond the target's numbers comes here only where sums wrap, or where it is multiplied by zero.
    held = int(fill) if out.dtype != np.int64 else (int(fill) + 2**63) % 2**64 - 2**63
    problem_of_digits = scheme.plan.problem.derive(
        fill=held, input_dtype=type_name(x.dtype), kernel_dtype=type_name(kernel.dtype),
        compute_dtype=type_name(out.dtype) if scheme.engine in ("compiled", "integers") else own,
    )  # fmt: skip
    plan = plan_for(problem_of_digits, scheme.plan.choice)
    if scheme.engine in ("compiled", "integers"):
        target = out if out.dtype == plan.problem.compute_dtype else np.empty(out.shape, plan.problem.compute_dtype)
        with np.errstate(over="ignore"):
            plan.algorithm.run(plan.problem, plan.algorithm.prepare(plan.problem, kernel), x, target)
        if target is not out:
            out[...] = target.astype(out.dtype)
        return
    # Sums and integers take eight bytes each, so the one becomes the other in place.
    in_place = out.flags.c_contiguous
    sums = out.view(np.float64) if in_place else np.empty(out.shape, np.float64)
    plan.algorithm.run(plan.problem, plan.algorithm.prepare(plan.problem, kernel), x, sums)
    flat, target = (sums.reshape(-1), out.reshape(-1)) if in_place else (sums, out)
    for at in range(0, len(flat), CHUNK):
        part = flat[at : at + CHUNK]
        target[at : at + CHUNK] = (
            np.rint(part).astype(np.int64) if scheme.engine == "transform" else part.astype(np.int64)
        )


def _put_together(sums: Array, bits: int, out: Array, problem: Problem, worst: int, signed: bool) -> None:
    """``sum_t sums[t] << (bits*t)`` into 64 bits, and what to do where it does not fit them."""
    low = np.zeros(out.shape, np.uint64)
    for t in range(len(sums)):
        if bits * t < 64:
            low += sums[t].astype(np.uint64) << np.uint64(bits * t)
    out[...] = low.view(np.int64) if out.dtype == np.int64 else low
    reach = 2**64 if out.dtype == np.uint64 else 2**63
    if problem.overflow == "wrap" or (worst < reach and not signed):
        return
    if worst < 2**63:  # then the digits' own sums may have wrapped, but the result has not
        _settle(out, None, low.view(np.int64) < 0, problem, -worst)
        return
    too_large, too_small = _misfits(sums, bits, low, out.dtype == np.uint64)
    _settle(out, too_large, too_small, problem, worst if too_large.any() else -worst)


def _settle(out: Array, too_large: Array | None, too_small: Array, problem: Problem, worst: int) -> None:
    """Raise for the sums that do not fit ``out``, or saturate them."""
    count = int(too_small.sum()) + (0 if too_large is None else int(too_large.sum()))
    if not count:
        return
    limits = np.iinfo(out.dtype)
    if problem.overflow == "raise":
        raise IntegerOverflowError(
            "does-not-fit",
            dtype=type_name(out.dtype),
            count=count,
            least=limits.min,
            largest=limits.max,
            worst=worst,
        )
    out[too_small] = limits.min
    if too_large is not None:
        out[too_large] = limits.max


def _misfits(sums: Array, bits: int, low: Array, unsigned: bool) -> tuple[Array, Array]:
    """Where the exact value lies above, and below, what 64 bits hold.

    Carries turn the sums into digits in ``0 .. 2**bits - 1`` and a signed top. A value fits if everything from bit 64
    up repeats its sign: all zeros, or for signed numbers all ones.
    """
    top = np.zeros(low.shape, np.int64)
    zeros = np.ones(low.shape, bool)
    ones = np.ones(low.shape, bool)
    for t in range(len(sums)):
        value = sums[t] + top
        digit, top = value & ((1 << bits) - 1), value >> bits
        hidden = max(0, 64 - bits * t)  # bits of this digit that the low half holds already
        if hidden < bits:
            zeros &= (digit >> hidden) == 0
            ones &= (digit >> hidden) == (1 << (bits - hidden)) - 1
    rest = top >> max(0, 64 - bits * len(sums))
    zeros &= rest == 0
    ones &= rest == -1
    negative = low.view(np.int64) < 0
    fits = zeros if unsigned else (zeros & ~negative) | (ones & negative)
    return ~fits & (top >= 0), ~fits & (top < 0)


registry.register(ExactInteger())
