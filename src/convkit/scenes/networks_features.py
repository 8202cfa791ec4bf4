"""An X or an O, by three features of 3x3 pixels."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

import convkit as ck
from convkit.scenes.figures import Lines, Picture, Table, caption, cells, number
from convkit.scenes.scene import Example, Outcome, at_least, below, equal, scene

Array = NDArray[np.float64]

SIDE = 9
REACH, SCALES, TURN, NOISE = 1.7, (0.85, 1.1), 12, 0.1
"""How drawings are distorted: shift in pixels, scale, degrees, and the deviation of the noise (paper -1, ink 1)."""

FEATURES = np.array(
    [
        [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]],  # a stroke down to the right
        [[-1, -1, 1], [-1, 1, -1], [1, -1, -1]],  # a stroke down to the left
        [[1, -1, 1], [-1, 1, -1], [1, -1, 1]],  # where they cross
    ]
)


@scene("x-or-o", "networks")
def x_or_o() -> Outcome:
    """Three small features, ReLU, pooling and a vote name shifted, turned, scaled and noisy drawings."""
    clean = np.stack([_drawn(kind, np.zeros((1, 2)), np.ones(1), np.zeros(1))[0] for kind in "XO"])
    learned, labels = _distorted(1000, 0)
    drawings, truth = _distorted(1000, 1)
    # The vote's weights, by least squares, come from other drawings than those it is judged on.
    rows = _seen(learned)
    votes = np.linalg.solve(rows.T @ rows + np.eye(rows.shape[1]), rows.T @ np.where(labels == 0, 1.0, -1.0))
    said = (_seen(drawings) @ votes < 0).astype(int)
    distance = ((drawings[:, None] - clean) ** 2).sum(axis=(2, 3))
    nearest = distance.argmin(axis=1)
    same = ((drawings > 0)[:, None] == (clean > 0)).all(axis=(2, 3)).sum()
    maps = _maps(clean)
    # On a clean X a feature fits perfectly where its stroke lies: nine pixels agree, the mean product is 1.
    sharp = np.where(clean[0] > 0, 1, -1)
    fits = ck.conv(sharp[None, None], FEATURES[:, None])[0] / 9
    places = ((0, 1, 1), (1, 5, 1), (2, 3, 3))
    by_hand = [float((sharp[r : r + 3, c : c + 3] * FEATURES[f]).mean()) for f, r, c in places]
    words = partial(caption, "x-or-o")
    strokes = [words("down-right"), words("down-left"), words("crossing")]
    confusion = np.zeros((2, 2), dtype=int)
    np.add.at(confusion, (truth, said), 1)
    return Outcome(
        [
            at_least("features", 0.99, float((said == truth).mean())),
            below("nearest", 0.8, float((nearest == truth).mean())),
            equal("same", 0, int(same)),
            equal("drawings", 1000, len(drawings)),
            equal("fits", [1.0, 1.0, 1.0], by_hand),
            equal("maps", by_hand, [fits[place] for place in places], 1e-12),
        ],
        [
            *(Picture(words("drawing", kind=kind), -image) for kind, image in zip("XO", clean, strict=True)),
            *(Table(name, cells(feature)) for name, feature in zip(strokes, FEATURES, strict=True)),
            *(
                Picture(words("map", kind=kind), np.concatenate(list(np.pad(m, ((0, 0), (0, 0), (0, 1)))), axis=1))
                for kind, m in zip("XO", maps, strict=True)
            ),
            Picture(words("distorted"), -_sheet(drawings[485:515])),
            Table(words("confusion"), cells(confusion), columns=["X", "O"], names=["X", "O"]),
            Table(
                words("shares"),
                [[number(float((who == truth).mean()))] for who in (said, nearest)],
                columns=[words("right")],
                names=[words("by-features"), words("by-pixels")],
            ),
            Lines(words("sharp"), "\n".join(" ".join(".#"[int(v > 0)] for v in row) for row in sharp)),
        ],
        Example(sharp, FEATURES[2], {"operation": "correlation", "mode": "valid"}),
    )


def _maps(drawings: Array) -> Array:
    """What the features find: their mean product with every 3x3 window, ReLU; beyond the border there is paper."""
    fit = ck.conv(drawings[:, None], FEATURES[:, None] / 9, padding=1, boundary="constant", fill=-1.0)
    return np.maximum(fit, 0)


def _seen(drawings: Array) -> Array:
    """The strongest fit in each 2x2 block of each map, and a constant, for the vote."""
    pooled = np.asarray(ck.pool(_maps(drawings), 2, kind="max", ceil=True)).reshape(len(drawings), -1)
    return np.concatenate([pooled, np.ones((len(drawings), 1))], axis=1)


def _distorted(count: int, seed: int) -> tuple[Array, NDArray[np.int64]]:
    """Half of them X (0), half O (1), each distorted by chance."""
    chance = np.random.default_rng(seed)
    parts = []
    for kind in "XO":
        each = count // 2
        shift = chance.uniform(-REACH, REACH, (each, 2))
        scale, turn = chance.uniform(*SCALES, each), np.deg2rad(chance.uniform(-TURN, TURN, each))
        parts.append(_drawn(kind, shift, scale, turn))
    drawings = np.concatenate(parts)
    return drawings + chance.normal(0, NOISE, drawings.shape), np.repeat([0, 1], count // 2)


def _drawn(kind: str, shift: Array, scale: Array, turn: Array) -> Array:
    """Strokes with soft edges, ink 1 on paper -1, from the distance of every pixel to the nearest stroke."""
    row, column = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    down, right = row - shift[:, :1, None], column - shift[:, 1:, None]
    cos, sin, scale = (v[:, None, None] for v in (np.cos(turn), np.sin(turn), scale))
    u, v = (cos * right + sin * down) / scale, (cos * down - sin * right) / scale
    if kind == "O":
        away = abs(np.hypot(u, v) - 3)
    else:
        away = np.minimum(_to_diagonal(u, v), _to_diagonal(u, -v))
    return 2 * np.clip(1.25 - away * scale / 0.75, 0, 1) - 1


def _to_diagonal(u: Array, v: Array) -> Array:
    """Distance to the stroke from (-3, -3) to (3, 3)."""
    along, across = (u + v) / np.sqrt(2), (u - v) / np.sqrt(2)
    return np.hypot(across, np.maximum(abs(along) - 3 * np.sqrt(2), 0))


def _sheet(tiles: Array, columns: int = 6) -> Array:
    """Drawings in rows, with a line between them."""
    framed = np.pad(tiles, ((0, 0), (0, 1), (0, 1)))
    rows = [np.concatenate(list(framed[i : i + columns]), axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)[:-1, :-1]
