"""Looking for a pattern in a signal: raw correlation is fooled by loud places."""

from __future__ import annotations

from functools import partial

import numpy as np

import convkit as ck
from convkit.scenes.figures import Plot, Table, caption, cells, curve
from convkit.scenes.scene import Example, Outcome, equal, scene


@scene("find-signal", "signals")
def find_signal() -> Outcome:
    """Squared difference and cosine, both made of correlations, find what the raw score misses."""
    x = np.array([0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0])
    pattern = np.array([3, 4, 5])
    raw = ck.correlate(x, pattern, mode="valid")
    energy = ck.correlate(x * x, np.ones(3, dtype=np.int64), mode="valid")
    norm = int((pattern * pattern).sum())
    difference = energy - 2 * raw + norm
    length = np.sqrt(energy * float(norm))
    cosine = np.divide(raw, length, out=np.zeros(raw.size), where=length > 0)
    words = partial(caption, "find-signal")
    return Outcome(
        [
            equal("raw-peak", [7, 62], [int(raw.argmax()), int(raw.max())]),
            equal("true-place", 50, int(raw[6])),
            equal("difference", [6], np.flatnonzero(difference == 0)),
            equal("cosine", [6], np.flatnonzero(cosine >= 1 - 1e-12)),
            equal("windows", [int(((x[i : i + 3] - pattern) ** 2).sum()) for i in range(12)], difference),
        ],
        [
            Table(
                words("table"),
                cells(np.vstack([raw, difference, cosine.round(4)])),
                columns=[str(i) for i in range(12)],
                names=[words("raw"), words("difference"), words("cosine")],
                marked=frozenset({(0, 7), (1, 6), (2, 6)}),
            ),
            Plot(words("plot"), [curve(words("raw"), raw / raw.max()), curve(words("cosine"), cosine)], "stem"),
        ],
        Example(x, pattern, {"operation": "correlation", "mode": "valid"}),
    )
