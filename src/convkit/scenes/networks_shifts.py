"""What a shift of the input does to a convolution, to pooling, and to the strongest answer of all."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

import convkit as ck
from convkit import kernels
from convkit.scenes.figures import Picture, Table, caption
from convkit.scenes.scene import Example, Outcome, at_least, below, equal, scene

SHIFTS = ((0, 1), (1, 0), (3, 5), (-7, 2), (12, -31))


@scene("equivariance", "networks")
def equivariance() -> Outcome:
    """Shift the photograph and its features shift with it, exactly; the strongest answer does not change at all."""
    photo = ck.data.photograph()[64:128, 40:136].astype(np.int64)
    kernel = kernels.sobel(1, dtype=np.int64)
    features = _edges(photo, kernel)
    moved = [_edges(_shifted(photo, shift), kernel) for shift in SHIFTS]
    back = [_shifted(features, shift) for shift in SHIFTS]
    layers = [_edges(_edges(_shifted(photo, shift), kernel) // 8, kernel.T) for shift in SHIFTS]
    deep = _edges(features // 8, kernel.T)
    strongest = [int(ck.pool(m[None, None], m.shape, kind="max")[0, 0, 0, 0]) for m in moved]
    # Away from the border zeros outside do no harm either: a small thing in the middle of nothing.
    thing = np.zeros((20, 22), dtype=np.int64)
    thing[7:11, 8:12] = photo[20:24, 30:34]
    inside = [ck.correlate(_shifted(thing, s), kernel, mode="same") for s in ((2, 3), (-3, 1))]
    expected = [_shifted(ck.correlate(thing, kernel, mode="same"), s) for s in ((2, 3), (-3, 1))]
    pooled = ck.pool(features[None, None], 2, kind="max")[0, 0]
    by_two = ck.pool(_shifted(features, (2, 4))[None, None], 2, kind="max")[0, 0]
    by_one = ck.pool(_shifted(features, (0, 1))[None, None], 2, kind="max")[0, 0]
    kept = float((by_one == pooled).mean())
    kept_before = float((_shifted(features, (0, 1)) == features).mean())
    turned = _edges(np.ascontiguousarray(np.rot90(photo)), kernel)
    alike = float((turned == np.rot90(features)).mean())
    words = partial(caption, "equivariance")
    return Outcome(
        [
            equal("shift", np.stack(back), np.stack(moved)),
            equal("layers", np.stack([_shifted(deep, shift) for shift in SHIFTS]), np.stack(layers)),
            equal("inside", np.stack(expected), np.stack(inside)),
            equal("strongest", [int(features.max())] * len(SHIFTS), strongest),
            equal("pooled", _shifted(pooled, (1, 2)), by_two),
            at_least("kept", kept_before, kept),
            below("turned", 0.5, alike),
        ],
        [
            Picture(words("photo"), photo),
            Picture(words("features"), features),
            Picture(words("shifted"), _shifted(photo, (12, -31))),
            Picture(words("moved"), moved[-1]),
            Table(
                words("table"),
                [[f"{share:.1%}"] for share in (kept_before, kept, alike)],
                columns=[words("same")],
                names=[words("before"), words("after"), words("turn")],
            ),
        ],
        Example(np.array([0, 0, 1, 3, 1, 0, 0, 0]), np.array([1, 0, -1]), {"mode": "same", "boundary": "wrap"}),
    )


def _edges(image: NDArray[np.int64], kernel: NDArray[np.int64]) -> NDArray[np.int64]:
    """Correlation on a picture whose borders touch, and ReLU."""
    return np.maximum(ck.correlate(image, kernel, mode="same", boundary="wrap"), 0)


def _shifted(image: NDArray[np.int64], shift: tuple[int, int]) -> NDArray[np.int64]:
    """Down and to the right, round the borders."""
    return np.roll(image, shift, axis=(0, 1))
