"""Money and buns: what comes in, convolved with what becomes of it. In an integral the dx matters."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

import convkit as ck
from convkit.scenes.figures import Plot, Table, caption, curve, number
from convkit.scenes.scene import Example, Outcome, equal, scene


def simpson(samples: int) -> NDArray[np.float64]:
    """Simpson's weights 1 4 2 4 ... 4 1 over 3, for an odd number of samples."""
    weights = np.full(samples, 2.0)
    weights[1::2] = 4
    weights[[0, -1]] = 1
    return weights / 3


@scene("interest", "signals")
def interest() -> Outcome:
    """Deposits meet compound growth: the balance is deposits convolved with growth."""
    years = np.arange(6)
    deposits, growth = np.full(6, 100.0), 1.05**years
    balance = ck.convolve(deposits, growth)[:6]
    uneven = np.array([100.0, 0, 250, 0, 0, 40])
    by_year = [sum(uneven[i] * 1.05 ** (n - i) for i in range(n + 1)) for n in years]
    words = partial(caption, "interest")
    return Outcome(
        [
            equal("balance", 680.1912812500001, balance[5], 1e-9),
            equal("years", 100 * (1.05 ** (years + 1) - 1) / 0.05, balance, 1e-9),
            equal("uneven", by_year, ck.convolve(uneven, growth)[:6], 1e-9),
        ],
        [
            Table(
                words("table"),
                [[number(100 * 1.05 ** (5 - i)) for i in years]],
                columns=[words("year", year=i) for i in years],
                names=[words("worth")],
            ),
            Plot(words("plot"), [curve(words("balance"), balance, years)], "bar", words("axis")),
        ],
        Example(deposits, growth.round(4)),
    )


@scene("interest-continuous", "signals")
def interest_continuous() -> Outcome:
    """The same as an integral: samples are multiplied by dx, and by the weights of Simpson's rule."""

    def balance(steps: int) -> tuple[float, float]:
        dx = 5 / steps
        time = dx * np.arange(steps + 1)
        income, growth = np.full(steps + 1, 100.0), 1.05**time
        raw = float(ck.convolve(income, growth)[steps])
        weighted = float(ck.convolve(income * simpson(steps + 1), growth)[steps])
        return raw, weighted * dx

    rows = [(steps, *balance(steps)) for steps in (10, 100, 1000)]
    exact = 566.2648757248821
    words = partial(caption, "interest-continuous")
    return Outcome(
        [
            equal("balance", exact, rows[-1][2], 1e-9),
            equal("closed-form", 100 * (1.05**5 - 1) / np.log(1.05), rows[-1][2], 1e-9),
            equal("dx-matters", exact, rows[-1][1] * 5 / 1000, 0.6),
        ],
        [
            Table(
                words("table"),
                [[number(5 / s), number(raw), number(raw * 5 / s), f"{good:.10f}"] for s, raw, good in rows],
                columns=["dx", words("raw"), words("times-dx"), words("simpson")],
            )
        ],
    )


@scene("buns", "signals")
def buns() -> Outcome:
    """Buns are baked all day and spoil with age: the spoiled ones are production convolved with the spoiled share."""
    steps = 1440
    dx = 24 / steps
    hours = dx * np.arange(steps + 1)
    baked, spoiled_share = np.full(steps + 1, 100.0), 1 - 2.0 ** (-hours / 24)
    weights = simpson(steps + 1)
    spoiled = float(ck.convolve(baked * weights, spoiled_share)[steps]) * dx
    good = float(ck.convolve(baked * weights, 1 - spoiled_share)[steps]) * dx
    over_day = ck.convolve(baked, spoiled_share)[: steps + 1] * dx
    words = partial(caption, "buns")
    return Outcome(
        [
            equal("spoiled", 2400 - 1200 / np.log(2), spoiled, 1e-9),
            equal("all", 2400.0, spoiled + good, 1e-9),
        ],
        [
            Plot(
                words("plot"),
                [curve(words("baked"), 100 * hours, hours), curve(words("spoiled"), over_day, hours)],
                across=words("hours"),
            )
        ],
    )
