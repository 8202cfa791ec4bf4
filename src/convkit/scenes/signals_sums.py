"""Convolution as adding up: sliding means, dice, pulses that pile up."""

from __future__ import annotations

from fractions import Fraction
from functools import partial, reduce

import numpy as np

import convkit as ck
from convkit.scenes.figures import Plot, Table, caption, cells, curve
from convkit.scenes.scene import Example, Outcome, below, equal, scene


@scene("moving-average", "signals")
def moving_average() -> Outcome:
    """Convolution with a box is a sliding mean."""
    row = ck.data.photograph()[100].astype(np.float64)
    width = 9
    smooth = ck.convolve(row, np.full(width, 1 / width), mode="valid")
    sums = np.concatenate([[0], np.cumsum(row)])
    means = (sums[width:] - sums[:-width]) / width
    words = partial(caption, "moving-average")
    return Outcome(
        [
            equal("means", means, smooth, 1e-12 * 255 * width),
            equal(
                "constant",
                np.full(12, 3.0),
                ck.convolve(np.full(20, 3.0), np.full(9, 1 / 9), mode="valid"),
                1e-14,
            ),
            below("calmer", np.abs(np.diff(row)).mean(), np.abs(np.diff(smooth)).mean()),
        ],
        [Plot(words("plot"), [curve(words("row"), row), curve(words("mean"), smooth, np.arange(4, 252))])],
        Example(np.array([1, 2, 9, 2, 1, 4]), np.array([1, 1, 1])),
    )


@scene("dice", "signals")
def dice() -> Outcome:
    """The distribution of a sum is the convolution of the distributions."""
    die = np.ones(6, dtype=np.int64)
    two = ck.convolve(die, die)
    many = 5
    ways = reduce(ck.convolve, [die] * many)
    counted = np.bincount(np.indices((6,) * many).sum(axis=0).ravel())
    faces = np.arange(many, 6 * many + 1)
    words = partial(caption, "dice")
    return Outcome(
        [
            equal("ways", [1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1], two),
            equal("four", "3/36", f"{two[4 - 2]}/{two.sum()}"),
            equal("probability", str(Fraction(1, 12)), str(Fraction(int(two[4 - 2]), int(two.sum())))),
            equal("five", counted, ways),
            equal("mean", 17.5, float((faces * ways).sum() / ways.sum()), 1e-12),
        ],
        [
            Table(words("table"), cells([two]), columns=[str(n) for n in range(2, 13)]),
            Plot(
                words("plot", dice=many),
                [curve(words("ways"), ways, faces)],
                "bar",
                words("sum"),
            ),
        ],
        Example(die, die),
    )


@scene("pulses", "signals")
def pulses() -> Outcome:
    """A pulse every half second into a response that fades over minutes: the output climbs to a plateau."""
    spacing, fading, seconds = 0.5, 90.0, 600.0
    count = int(seconds / spacing)
    ratio = np.exp(-spacing / fading)
    response = ratio ** np.arange(count)
    level = ck.convolve(np.ones(count), response)[:count]
    closed = (1 - ratio ** np.arange(1, count + 1)) / (1 - ratio)
    plateau = 1 / (1 - ratio)
    time = spacing * np.arange(count)
    words = partial(caption, "pulses")
    return Outcome(
        [
            equal("closed-form", np.zeros(count), level / closed - 1, 1e-12),
            equal("plateau", plateau, level[-1], 0.002 * plateau),
            below("never-over", np.full(count, plateau), level),
        ],
        [
            Plot(
                words("plot"),
                [curve(words("level"), level, time), curve(words("plateau"), np.full(count, plateau), time)],
                across=words("seconds"),
            )
        ],
        Example(np.ones(6, dtype=np.int64), np.array([8, 4, 2, 1])),
    )
