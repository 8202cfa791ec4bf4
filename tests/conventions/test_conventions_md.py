"""CONVENTIONS.md itself is read, and what its tables say is held against the libraries they speak of.

A row is data: its cells say operation, anchor, length or boundary, and the library named in it is run. A row that
names a library which is not run here must be listed in ``BY_HAND``; so a new row cannot pass unread.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from astropy.convolution import convolve as astropy_convolve
from astropy.convolution import convolve_fft
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from scipy import ndimage, signal

DOCUMENT = (Path(__file__).parents[2] / "CONVENTIONS.md").read_text(encoding="utf-8")
BY_HAND = ("tf.", "Keras", "MATLAB")
Row = dict[str, str]
Filter = Callable[[np.ndarray, np.ndarray], np.ndarray]


def tables() -> list[list[Row]]:
    """Every table of the document that has a header, as rows of cells without bold marks."""
    found: list[list[Row]] = []
    for block in re.findall(r"(?:^\|.*\n)+", DOCUMENT, re.MULTILINE):
        lines = [
            [cell.replace("\\|", "|").replace("**", "").strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in block.strip().splitlines()
        ]
        header, _, *rows = lines
        found.append([dict(zip(header, row, strict=True)) for row in rows])
    return found


def table(*columns: str) -> list[Row]:
    """The one table that has these columns."""
    (found,) = [rows for rows in tables() if set(columns) <= set(rows[0])]
    return found


# ---------------------------------------------------------------------------------- flip, mode, anchor


def _opencv(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    return cv2.filter2D(x[None], -1, k[None], borderType=cv2.BORDER_CONSTANT)[0]


def _torch(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    image, weight = (torch.from_numpy(array)[None, None] for array in (x, k))
    pad = k.size - 1
    padded = torch.nn.functional.pad(image, (pad // 2, pad - pad // 2))
    result = torch.nn.functional.conv1d(padded, weight)
    if pad % 2 == 0:  # an uneven 'same' makes PyTorch warn of a copy; it is checked in test_torch
        assert torch.equal(result, torch.nn.functional.conv1d(image, weight, padding="same"))
    return result[0, 0].numpy()


def _onnx(auto_pad: str) -> Filter:
    def run(x: np.ndarray, k: np.ndarray) -> np.ndarray:
        node = helper.make_node("Conv", ["x", "k"], ["y"], auto_pad=auto_pad)
        values = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in "xky"]
        model = helper.make_model(
            helper.make_graph([node], "same", values[:2], values[2:]),
            opset_imports=[helper.make_opsetid("", 11)],
            ir_version=onnx.IR_VERSION,
        )
        return ReferenceEvaluator(model).run(None, {"x": x[None, None], "k": k[None, None]})[0][0, 0]

    return run


def _rows(call: Callable[..., np.ndarray]) -> Filter:
    return lambda x, k: call(x[None], k[None], "same")[0]


SAME: dict[str, Filter] = {
    "numpy.convolve": lambda x, k: np.convolve(x, k, "same"),
    "numpy.correlate": lambda x, k: np.correlate(x, k, "same"),
    "scipy.signal.convolve": lambda x, k: signal.convolve(x, k, "same", "direct"),
    "fftconvolve": lambda x, k: signal.fftconvolve(x, k, "same"),
    "oaconvolve": lambda x, k: signal.oaconvolve(x, k, "same"),
    "scipy.signal.correlate": lambda x, k: signal.correlate(x, k, "same", "direct"),
    "scipy.signal.convolve2d": _rows(signal.convolve2d),
    "scipy.signal.correlate2d": _rows(signal.correlate2d),
    "scipy.ndimage.convolve": lambda x, k: ndimage.convolve(x, k, mode="constant"),
    "scipy.ndimage.correlate": lambda x, k: ndimage.correlate(x, k, mode="constant"),
    "cv2.filter2D": _opencv,
    "torch": _torch,
    "SAME_UPPER": _onnx("SAME_UPPER"),
    "SAME_LOWER": _onnx("SAME_LOWER"),
    "astropy.convolution.convolve": lambda x, k: astropy_convolve(x, k, "fill") * k.sum(),
    "astropy.convolution.convolve_fft": lambda x, k: convolve_fft(x, k) * k.sum(),
}
FLIP = table("call", "operation", "anchor")


def runners(row: Row) -> list[str]:
    return [name for name in SAME if re.search(rf"(^|[^\w.]){re.escape(name)}($|[^\w.])", row["call"])]


def anchored(x: np.ndarray, k: np.ndarray, operation: str, anchor: int) -> list[float]:
    """The two anchored formulas at the head of the document."""
    sign = -1 if operation == "convolution" else 1
    places = [[i + sign * (j - anchor) for j in range(k.size)] for i in range(x.size)]
    return [sum(x[p] * k[j] for j, p in enumerate(row) if 0 <= p < x.size) for row in places]


def test_every_row_about_flip_and_anchor_has_a_runner_or_is_done_by_hand() -> None:
    unread = [row["call"] for row in FLIP if not runners(row) and not any(name in row["call"] for name in BY_HAND)]
    assert unread == ["`scipy.signal.upfirdn(h, x, up, down)`"]  # it has no `same`
    assert {name for row in FLIP for name in runners(row)} == set(SAME)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("call", SAME)
def test_operation_and_anchor(call: str, size: int) -> None:
    (row,) = [row for row in FLIP if call in runners(row)]
    x = np.array([3.0, -1, 4, 1, -5, 9, 2, -6, 5])
    k = np.array([2.0, 7, -1, 8, 3, -4])[:size]
    if "refuses even sizes" in row["anchor"]:
        cell = "(K-1)//2"
        if size % 2 == 0:
            with pytest.raises(Exception, match="odd"):
                SAME[call](x, k)
            return
    else:
        (cell, *_) = re.findall(r"\(K-1\)//2|K//2", row["anchor"])
    anchor = size // 2 if cell == "K//2" else (size - 1) // 2
    operation = row["operation"].split()[0].strip(",")
    np.testing.assert_allclose(SAME[call](x, k), anchored(x, k, operation, anchor), atol=1e-12)


IMPULSE = table("answer", "who")
SHORT = {
    "numpy.convolve": "numpy.convolve",
    "scipy.signal.convolve": "scipy.signal.convolve",
    "convolve2d": "scipy.signal.convolve2d",
    "scipy.ndimage.convolve": "scipy.ndimage.convolve",
    "astropy convolve_fft": "astropy.convolution.convolve_fft",
    "numpy.correlate": "numpy.correlate",
    "scipy.signal.correlate": "scipy.signal.correlate",
    "scipy.ndimage.correlate": "scipy.ndimage.correlate",
    "OpenCV": "cv2.filter2D",
    "ONNX SAME_LOWER": "SAME_LOWER",
    "ONNX SAME_UPPER": "SAME_UPPER",
    "scipy.signal.correlate2d": "scipy.signal.correlate2d",
    "torch": "torch",
}
HAND = {"MATLAB conv", "MATLAB filter2", "TensorFlow", "Keras"}


@pytest.mark.parametrize("row", IMPULSE, ids=lambda row: row["answer"])
def test_the_impulse(row: Row) -> None:
    expected = np.zeros(9)
    for value, place in re.findall(r"(\d) at (\d)", row["answer"]):
        expected[int(place)] = int(value)
    x, k = np.eye(9)[4], np.array([1.0, 2.0])
    who = [name.strip() for name in row["who"].split(":", 1)[1].split(",")]
    who = [name for name in who if name not in ("`(K-1)//2`", "`K//2`")]
    assert who
    for name in who:
        if name not in HAND:
            np.testing.assert_allclose(SAME[SHORT[name]](x, k), expected, atol=1e-12, err_msg=name)


# ------------------------------------------------------------------------------------------ beyond the edge

LETTERS, LETTER_VALUES = "abcd", np.array([1.0, 2.0, 3.0, 4.0])
FILL = 7.0
EDGE = table("what lies outside `a b c d`", "convkit, `numpy.pad`")
DRAWN = [row for row in EDGE if row["what lies outside `a b c d`"] != "default"]


def drawing(row: Row) -> list[float]:
    """The values that stand at positions -3 .. 6, read from the drawing."""
    values = {"0": 0.0, "v": FILL, **dict(zip(LETTERS, LETTER_VALUES, strict=True))}
    return [values[letter] for letter in re.findall(r"[0a-dv]", row["what lies outside `a b c d`"])]


def extended(correlate: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> list[float]:
    """What a filter sees at positions -3 .. 6, brought into the array by kernels that only shift."""
    shifts = np.eye(7)
    before, middle, after = (correlate(LETTER_VALUES, shifts[place]) for place in (0, 3, 6))
    return [*before[:3], *middle, *after[1:]]


def _ndimage(cell: str) -> list[list[float]]:
    fill = FILL if "cval=v" in cell else 0.0
    modes = [part.strip() for part in cell.split(",") if "cval" not in part]
    return [extended(lambda x, k, m=mode: ndimage.correlate1d(x, k, mode=m, cval=fill)) for mode in modes]


def _cv2(cell: str) -> list[list[float]]:
    border = getattr(cv2, "BORDER_" + cell.split()[0])
    shifts = lambda x, k: cv2.filter2D(x[None], -1, k[None], borderType=border)[0]  # noqa: E731
    return [extended(shifts)]


def _torch_pad(cell: str) -> list[list[float]]:
    layer = torch.nn.Conv1d(1, 1, 7, padding=3, padding_mode=cell, bias=False, dtype=torch.float64)

    def run(x: np.ndarray, k: np.ndarray) -> np.ndarray:
        layer.weight.data[:] = torch.from_numpy(k)
        return layer(torch.from_numpy(x)[None, None]).detach().numpy()[0, 0]

    return [extended(run)]


def _convolve2d(cell: str) -> list[list[float]]:
    name, fill = cell.split(",")[0], FILL if "fillvalue=v" in cell else 0.0
    return [extended(lambda x, k: signal.convolve2d(x[None], k[None, ::-1], "same", name, fill)[0])]


def _upfirdn(cell: str) -> list[list[float]]:
    name, fill = cell.split(",")[0], FILL if "cval=v" in cell else 0.0
    return [extended(lambda x, k: signal.upfirdn(k[::-1], x, mode=name, cval=fill)[3:-3])]


def _astropy(cell: str) -> list[list[float]]:
    name, fill = cell.split(",")[0], FILL if "fill_value=v" in cell else 0.0
    return [extended(lambda x, k: astropy_convolve(x, k[::-1], boundary=name, fill_value=fill, normalize_kernel=False))]


def _numpy(cell: str) -> list[list[float]]:
    name = cell.split()[0].strip("`,")
    mode = "constant" if name == "zero" else name
    options = {"constant_values": FILL if "fill=v" in cell else 0.0} if mode == "constant" else {}
    return [np.pad(LETTER_VALUES, 3, mode=mode, **options).tolist()]


def _onnx_pad(cell: str) -> list[list[float]]:
    node = helper.make_node("Pad", ["x", "pads"], ["y"], mode=cell)
    infos = [
        helper.make_tensor_value_info("x", TensorProto.DOUBLE, None),
        helper.make_tensor_value_info("pads", TensorProto.INT64, None),
        helper.make_tensor_value_info("y", TensorProto.DOUBLE, None),
    ]
    model = helper.make_model(
        helper.make_graph([node], "pad", infos[:2], infos[2:]),
        opset_imports=[helper.make_opsetid("", 19)],
        ir_version=onnx.IR_VERSION,
    )
    return [ReferenceEvaluator(model).run(None, {"x": LETTER_VALUES, "pads": np.array([3, 3])})[0].tolist()]


EDGES: dict[str, Callable[[str], list[list[float]]]] = {
    "convkit, `numpy.pad`": _numpy,
    "scipy.ndimage": _ndimage,
    "OpenCV `BORDER_`": _cv2,
    "torch `padding_mode`": _torch_pad,
    "convolve2d": _convolve2d,
    "upfirdn": _upfirdn,
    "astropy": _astropy,
    "ONNX `Pad`": _onnx_pad,
}


def test_every_column_about_edges_is_run_or_done_by_hand() -> None:
    assert set(EDGE[0]) - set(EDGES) == {"what lies outside `a b c d`", "`tf.pad`", "MATLAB `imfilter`"}


@pytest.mark.parametrize("library", EDGES)
@pytest.mark.parametrize("row", DRAWN, ids=lambda row: row["convkit, `numpy.pad`"])
def test_what_stands_beyond_the_edge(row: Row, library: str) -> None:
    cell = row[library]
    expected = drawing(row)
    assert len(expected) == 10
    if cell.startswith("–"):
        return
    if library.startswith("ONNX") and FILL in expected:
        return  # the value is an input of Pad, not a word of the table
    for seen in EDGES[library](cell):
        np.testing.assert_allclose(seen, expected, atol=1e-12)


def test_a_wrong_drawing_would_be_noticed() -> None:
    (row,) = [row for row in DRAWN if row["convkit, `numpy.pad`"] == "reflect"]
    assert _ndimage(row["scipy.ndimage"]) == [drawing(row)]
    assert _ndimage("reflect") != [drawing(row)]


# ----------------------------------------------------------------------------------------------- one NaN


@pytest.mark.parametrize("size", [3, 13])
def test_one_nan(size: int) -> None:
    rows = {row["library"]: row["outputs that become NaN"] for row in table("library", "outputs that become NaN")}
    x = np.zeros((40, 41), np.float32)
    x[20, 20] = np.nan
    k = np.ones((size, size), np.float32)
    spoiled = {
        "scipy.ndimage.convolve": ndimage.convolve(x, k),
        "convolve2d": signal.convolve2d(x, k, "same"),
        "fftconvolve": signal.fftconvolve(x, k, "same"),
        "cv2.filter2D": cv2.filter2D(x, -1, k),
    }
    for name, result in spoiled.items():
        kind = f"small `{name}`" if name == "cv2.filter2D" and size == 3 else f"`{name}`"
        if name == "cv2.filter2D" and size == 13:
            kind = "`cv2.filter2D` with a 13x13 kernel"
        (said,) = [text for cell, text in rows.items() if kind in cell]
        expected = x.size if said.startswith("all of them") else size * size
        assert np.isnan(result).sum() == expected, name
