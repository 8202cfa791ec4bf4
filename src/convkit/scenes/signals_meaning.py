"""What convolution means: the flip, the echo, the sum of scaled copies, the working by hand."""

from __future__ import annotations

from functools import partial

import numpy as np

import convkit as ck
from convkit import oracle
from convkit.scenes.figures import Lines, Plot, Table, caption, cells, curve
from convkit.scenes.scene import Example, Outcome, equal, scene
from convkit.spec import ConvSpec


@scene("flip", "signals")
def flip() -> Outcome:
    """Convolution turns the kernel round, correlation does not; a symmetric kernel hides the difference."""
    x, k, symmetric = np.arange(1, 7), np.array([1, 2, 3]), np.array([1, 2, 1])
    turned = ck.convolve(x, k, mode="valid")
    straight = ck.correlate(x, k, mode="valid")
    network = ck.conv(x[None, None], k[None, None])[0, 0]
    words = partial(caption, "flip")
    return Outcome(
        [
            equal("convolution", [10, 16, 22, 28], turned),
            equal("correlation", [14, 20, 26, 32], straight),
            equal("network", straight, network),
            equal("reversed", turned, ck.correlate(x, k[::-1], mode="valid")),
            equal("symmetric", ck.correlate(x, symmetric, mode="valid"), ck.convolve(x, symmetric, mode="valid")),
        ],
        [
            Table(
                words("table"),
                cells([turned, straight, network]),
                names=[words("convolution"), words("correlation"), words("network")],
            )
        ],
        Example(x, k, {"mode": "valid"}),
    )


@scene("echo", "signals")
def echo() -> Outcome:
    """A signal arrives over four paths, each weaker and one sample later."""
    x, paths = np.arange(1.0, 7), np.array([1, 0.9, 0.8, 0.7])
    heard = ck.convolve(x, paths)
    second = oracle.trace(
        oracle.array_operator(ConvSpec.of_arrays(1), (6,), (4,)),
        oracle.Grid.of(x.tolist()),
        oracle.Grid.of(paths.tolist()),
    ).steps[1]
    products = sorted((term for term in second.terms if term.source != "zero"), key=lambda term: term.source)
    terms = " + ".join(f"{_plain(term.x)}x{_plain(term.k)}" for term in products)
    words = partial(caption, "echo")
    copies = [np.pad(strength * x, (delay, 3 - delay)) for delay, strength in enumerate(paths)]
    return Outcome(
        [
            equal("heard", [1, 2.9, 5.6, 9, 12.4, 15.8, 12.2, 8.3, 4.2], heard, 1e-12),
            equal("second", "1x0.9 + 2x1", terms),
            equal("second-value", second.sum(), heard[1], 1e-12),
            equal("copies", sum(copies), heard, 1e-12),
        ],
        [
            Table(
                words("table"),
                cells([*copies, heard]),
                names=[*(words("path", strength=s) for s in paths), words("sum")],
                columns=[str(n) for n in range(9)],
            ),
            Plot(words("plot"), [curve(words("sent"), x), curve(words("sum"), heard)], "stem"),
        ],
        Example(x, paths),
    )


@scene("superposition", "signals")
def superposition() -> Outcome:
    """Every input sample launches a scaled copy of the impulse response; their sum is the convolution."""
    x, response = np.array([2, -1, 3, 0, 4]), np.array([5, 2, -3])
    stamps = np.stack([ck.convolve(np.where(np.arange(5) == i, x, 0), response) for i in range(5)])
    whole = ck.convolve(x, response)
    impulse = ck.convolve(np.array([1]), response)
    expected = np.zeros((5, 7), dtype=np.int64)
    for i, value in enumerate(x):
        expected[i, i : i + 3] = value * response
    operator = oracle.array_operator(ConvSpec.of_arrays(1), (3,), (3,))
    symbols = ["0"] * 5
    for link in operator.links():
        if isinstance(link.source, tuple):
            term = "abc"[link.source[0]] + "ijk"[link.kernel[0]]
            n = link.output[0]
            symbols[n] = term if symbols[n] == "0" else f"{symbols[n]}+{term}"
    symbols = ["+".join(sorted(symbol.split("+"))) for symbol in symbols]
    words = partial(caption, "superposition")
    return Outcome(
        [
            equal("sum", stamps.sum(axis=0), whole),
            equal("stamps", expected, stamps),
            equal("impulse", response, impulse),
            equal("symbols", "ai aj+bi ak+bj+ci bk+cj ck", " ".join(symbols)),
        ],
        [
            Table(
                words("table"),
                cells(np.vstack([stamps, whole])),
                names=[*(f"x[{i}] = {value}" for i, value in enumerate(x)), words("total")],
            ),
            Table("(a, b, c) * (i, j, k)", [symbols], columns=[f"y[{n}]" for n in range(5)]),
        ],
        Example(x, response),
    )


@scene("hand-tables", "signals")
def hand_tables() -> Outcome:
    """Two ways to convolve by hand, correlation by reversing, circular by wrapping."""
    x, k = np.array([1, 2, 3, 4]), np.array([1, 1, 1])
    full = ck.convolve(x, k)
    rows = np.stack([ck.convolve(x * (k[j]), np.eye(1, 3, j, dtype=np.int64)[0]) for j in range(3)])
    columns = _layout([*rows, full], [f"x k[{j}]" for j in range(3)], rows_of=4)
    strip = _strip(x, k, full)
    wrapped = ck.convolve(x, k, mode="same", boundary="wrap", anchor=0)
    folded = full[:4].copy()
    folded[: full.size - 4] += full[4:]
    uneven = np.array([1, 2, 5])
    words = partial(caption, "hand-tables")
    return Outcome(
        [
            equal("full", [1, 3, 6, 9, 7, 4], full),
            equal("columns", HAND_COLUMNS, columns),
            equal("strip", HAND_STRIP, strip),
            equal("added", full, rows.sum(axis=0)),
            equal("carry", 1234 * 111, int(sum(int(v) * 10 ** (5 - n) for n, v in enumerate(full)))),
            equal("reversing", ck.correlate(x, uneven), ck.convolve(x, uneven[::-1])),
            equal("wrapping", wrapped, folded),
            equal("circular", [8, 7, 6, 9], wrapped),
        ],
        [
            Lines(words("columns"), columns),
            Lines(words("strip"), strip),
            Table(words("folded"), cells([full[:4], np.pad(full[4:], (0, 2)), folded])),
        ],
        Example(x, k),
    )


# The printed tables of (1 2 3 4) * (1 1 1), as one writes them on paper.
HAND_COLUMNS = """\
x k[0] |  1  2  3  4  .  .
x k[1] |  .  1  2  3  4  .
x k[2] |  .  .  1  2  3  4
-------+------------------
   sum |  1  3  6  9  7  4"""
HAND_STRIP = """\
       .  .  1  2  3  4  .  .
n=0    1  1  1                  1x1 = 1
n=1       1  1  1               1x1 + 2x1 = 3
n=2          1  1  1            1x1 + 2x1 + 3x1 = 6
n=3             1  1  1         2x1 + 3x1 + 4x1 = 9
n=4                1  1  1      3x1 + 4x1 = 7
n=5                   1  1  1   4x1 = 4"""


def _layout(rows: list[np.ndarray], names: list[str], rows_of: int) -> str:
    """Shifted rows under each other, added in columns; nothing is carried over."""
    lines = []
    for shift, (name, row) in enumerate(zip(names, rows, strict=False)):
        inside = [str(v) if shift <= n < shift + rows_of else "." for n, v in enumerate(row)]
        lines.append(f"{name} |" + "".join(f"{cell:>3}" for cell in inside))
    width = 3 * len(rows[-1])
    lines.append("-" * 7 + "+" + "-" * width)
    lines.append("   sum |" + "".join(f"{v:>3}" for v in rows[-1]))
    return "\n".join(lines)


def _strip(x: np.ndarray, k: np.ndarray, full: np.ndarray) -> str:
    """The turned kernel on a strip of paper, slid along the signal one sample at a time."""
    reach = k.size - 1
    paper = ["."] * reach + [str(v) for v in x] + ["."] * reach
    lines = ["     " + "".join(f"{cell:>3}" for cell in paper)]
    for n, value in enumerate(full):
        strip = "   " * n + "".join(f"{v:>3}" for v in k[::-1])
        pairs = [(x[n - j], k[j]) for j in range(reach, -1, -1) if 0 <= n - j < x.size]
        sums = " + ".join(f"{a}x{b}" for a, b in pairs)
        lines.append(f"n={n}  " + f"{strip:<{3 * len(paper)}}   {sums} = {value}")
    return "\n".join(lines)


def _plain(value: object) -> str:
    return f"{float(value):g}"  # type: ignore[arg-type]
