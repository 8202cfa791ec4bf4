"""From a fully connected layer to a convolution: first locality, then sharing."""

from __future__ import annotations

from functools import partial

import numpy as np

import convkit as ck
from convkit.scenes.figures import Table, caption, cells
from convkit.scenes.scene import Outcome, equal, scene


@scene("dense-to-conv", "networks")
def dense_to_conv() -> Outcome:
    """A dense layer has a weight for every pair of positions; tie them along shifts and it is a convolution."""
    chance = np.random.default_rng(3)
    rows, columns, reach = 6, 5, 1
    image = chance.integers(-9, 10, (rows, columns))
    shared = chance.integers(-9, 10, (2 * reach + 1, 2 * reach + 1))
    # W[i, j, k, l]: from the input position (k, l) to the output position (i, j).
    dense = np.zeros((rows, columns, rows, columns), dtype=np.int64)
    for i, j, k, l in np.ndindex(dense.shape):  # noqa: E741
        if abs(k - i) <= reach and abs(l - j) <= reach:  # locality; what is left depends on the shift: sharing
            dense[i, j, k, l] = shared[k - i + reach, l - j + reach]
    by_dense = np.einsum("ijkl,kl->ij", dense, image)
    by_conv = ck.conv(image[None, None], shared[None, None], padding=reach)[0, 0]
    free, kept, tied = dense.size, int((_local(rows, columns, reach)).sum()), shared.size
    kernel_for_colour = ck.conv(np.zeros((1, 3, 8, 8), np.float32), np.zeros((100, 3, 7, 7), np.float32))
    words = partial(caption, "dense-to-conv")
    return Outcome(
        [
            equal("equal", by_dense, by_conv),
            equal("dense-weights", 10**9, 10**6 * 1000),
            equal("conv-weights", 14700, (2 * 3 + 1) ** 2 * 3 * kernel_for_colour.shape[1]),
            equal("free", [900, 208, 9], [free, kept, tied]),
        ],
        [
            Table(
                words("weights"),
                [[str(free), str(kept), str(tied)]],
                columns=[words("dense"), words("local"), words("shared")],
            ),
            Table(words("matrix"), cells(dense.reshape(rows * columns, rows * columns)[:12, :12])),
        ],
    )


def _local(rows: int, columns: int, reach: int) -> np.ndarray:  # type: ignore[type-arg]
    """Which pairs of positions lie within ``reach`` of each other."""
    i, j, k, l = np.indices((rows, columns, rows, columns))  # noqa: E741
    return (abs(k - i) <= reach) & (abs(l - j) <= reach)
