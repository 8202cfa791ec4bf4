"""How large a layer's output is, what pooling keeps, and every product of one small volume."""

from __future__ import annotations

from functools import partial

import numpy as np

import convkit as ck
from convkit import oracle
from convkit.scenes.figures import Lines, Table, caption, cells
from convkit.scenes.scene import Outcome, equal, scene
from convkit.spec import ConvSpec
from convkit.spec.sizes import input_sizes, padded_size, transposed_size


@scene("sizes", "networks")
def sizes() -> Outcome:
    """14x14 under a 5x5 kernel gives 10x10; stride, padding and dilation, and the way back."""
    cases = [  # input, kernel, stride, padding, dilation
        (14, 5, 1, 0, 1),
        (14, 5, 1, 2, 1),
        (14, 5, 2, 0, 1),
        (14, 3, 2, 1, 1),
        (14, 3, 1, 0, 3),
        (7, 3, 2, 0, 1),
        (8, 3, 2, 0, 1),
        (224, 7, 2, 3, 1),
    ]
    rows, computed, algebra, back = [], [], [], []
    for n, k, s, p, d in cases:
        x, w = np.zeros((1, 1, n), np.float32), np.zeros((1, 1, k), np.float32)
        m = ck.conv(x, w, stride=s, padding=p, dilation=d).shape[-1]
        up = ck.conv_transpose(np.zeros((1, 1, m), np.float32), w, stride=s, padding=p, dilation=d).shape[-1]
        computed.append(m)
        size = padded_size(n, k, s, d, (p, p))
        algebra.append(size.value)
        least, most = (bound.value for bound in input_sizes(m, k, s, d, (p, p)))
        back.append(bool(least <= n <= most and up == least == transposed_size(m, k, s, d, (p, p)).value))
        rows.append([str(v) for v in (n, k, s, p, d)] + [str(m), f"{least}..{most}" if least < most else str(least)])
    square = ck.conv(np.zeros((1, 1, 14, 14), np.float32), np.zeros((1, 1, 5, 5), np.float32))
    pooled = [ck.pool(np.zeros((1, 1, 5, 5)), 2, ceil=ceil).shape[-1] for ceil in (False, True)]
    words = partial(caption, "sizes")
    columns = [words(name) for name in ("input", "kernel", "stride", "padding", "dilation", "output", "back")]
    return Outcome(
        [
            equal("square", [1, 1, 10, 10], list(square.shape)),
            equal("table", [10, 14, 5, 7, 8, 3, 3, 112], computed),
            equal("algebra", computed, algebra),
            equal("back", [True] * len(cases), back),
            equal("rounding", [2, 3], pooled),
        ],
        [Table(words("table"), rows, columns=columns), Lines(words("rule"), str(padded_size(14, 5)))],
    )


@scene("pooling", "networks")
def pooling() -> Outcome:
    """The largest and the mean of each 2x2 block."""
    x = np.array([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])
    most = ck.pool(x, 2, kind="max")
    mean = ck.pool(x.astype(np.float64), 2, kind="mean")
    as_convolution = ck.correlate(x.astype(np.float64), np.full((2, 2), 0.25), mode="valid", stride=2)
    words = partial(caption, "pooling")
    return Outcome(
        [
            equal("max", [[6, 8], [3, 4]], most),
            equal("mean", [[3.25, 5.25], [2, 2]], mean),
            equal("convolution", mean, as_convolution, 1e-12),
        ],
        [
            Table(words("input"), cells(x)),
            Table(words("max"), cells(most)),
            Table(words("mean"), cells(mean)),
        ],
    )


@scene("volume", "networks")
def volume() -> Outcome:
    """A 5x5x3 input padded to 7x7x3, two 3x3x3 filters, stride 2: every cell is 27 products and a bias."""
    x = (np.arange(75).reshape(1, 3, 5, 5) * 7 + 3) % 5 - 1
    w = (np.arange(54).reshape(2, 3, 3, 3) * 11 + 2) % 4 - 1
    bias = np.array([1, -2])
    out = ck.conv(x, w, bias, stride=2, padding=1)
    spec = ConvSpec.of_network(2, stride=2, padding=1)
    operator = oracle.network_operator(spec, x.shape, w.shape)
    grid = oracle.Grid.of
    trace = oracle.trace(operator, grid(x.tolist()), grid(w.tolist()), grid(bias.tolist()))
    truth = np.array([int(step.value) for step in trace]).reshape(trace.shape)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    loops = np.array(
        [
            [
                [int((padded[0, :, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3] * w[o]).sum() + bias[o]) for c in range(3)]
                for r in range(3)
            ]
            for o in range(2)
        ]
    )
    words = partial(caption, "volume")
    first = trace.steps[0]
    line = " + ".join(f"{_signed(t.x)}*{_signed(t.k)}" for t in first.terms) + f" + {first.bias} = {first.value}"
    return Outcome(
        [
            equal("shapes", "1x3x7x7 -> 1x2x3x3", f"{_by(padded.shape)} -> {_by(out.shape)}"),
            equal("cells", truth, out),
            equal("loops", loops, out[0]),
            equal("products", [27] * 18, [len(step.terms) for step in trace]),
        ],
        [
            *(Table(words("input", channel=c), cells(padded[0, c])) for c in range(3)),
            *(Table(words("output", filter=o, bias=int(bias[o])), cells(out[0, o])) for o in range(2)),
            Lines(words("first"), line),
        ],
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _signed(value: object) -> str:
    return f"({value})" if int(value) < 0 else str(value)  # type: ignore[call-overload]
