"""The words of every error: the fact, the rule with its numbers, a fix; and no code without a test of its words."""

from __future__ import annotations

import copy
import pickle
import re
import sys
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import convkit as ck
from convkit import catalogue
from convkit.cli.app import build
from convkit.data import sounds
from convkit.data.files import read as read_file
from convkit.explain.difference import diff
from convkit.planner import Problem, plan_for
from convkit.spec import ConvSpec

X, K = np.arange(8.0), np.array([1.0, 2.0, 3.0])
IMAGE = np.arange(30.0).reshape(5, 6)


def flushed() -> Any:
    """A stream that has ended."""
    stream = ck.Convolver(K).stream()
    stream.push(X)
    stream.flush()
    return stream


def begun() -> Any:
    """A stream in the middle of a float64 signal."""
    stream = ck.Convolver(K).stream()
    stream.push(X)
    return stream


def separable_by_a_lie() -> None:
    """A plan told that a kernel is one outer product, and a kernel that is not."""
    window = ConvSpec.of_arrays(2, mode="same").windows((5, 6), (2, 2))
    plan_for(Problem(window, structure="separable", rank=1), "separable").prepare(
        np.array([[[[[1.0, 2.0], [3.0, 4.0]]]]])
    )


def train_with_a_label_too_few() -> None:
    """Three pictures, two labels."""
    ck.nn.train(ck.nn.digit_network(), torch.zeros(3, 1, 8, 8), torch.zeros(2, dtype=torch.long), epochs=1)


def bfloat16_in_numpy_alone() -> None:
    """bfloat16 where neither torch tensors nor ml_dtypes bring it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ml_dtypes", None)
        ck.convolve(X, K, dtype="bfloat16")


def unreadable() -> None:
    """A file that may not be opened."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "x.npy"
        np.save(path, X)
        patch.setattr(np, "load", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        read_file(path)


WORDS: list[tuple[str, Callable[[], Any], list[str]]] = [
    ("accuracy.not-separable", separable_by_a_lie, ["the 2x2 kernel is not one outer product"]),
    ("dtype.complex-to-real", lambda: ck.convolve(X + 1j, K, dtype="float32"), ["complex128", "float32", ".real"]),
    ("dtype.no-bfloat16", bfloat16_in_numpy_alone, ["bfloat16", "torch", 'dtype="float32"']),
    ("dtype.no-bool-result", lambda: ck.convolve(X, K, dtype=bool), ["dtype=bool", "float64", "result > 0"]),
    ("dtype.no-order", lambda: ck.pool(IMAGE + 1j, 2), ["complex128", 'kind="mean"']),
    ("dtype.not-a-number", lambda: ck.convolve(["a"], K), ["hold no numbers", "astype(float)"]),
    ("dtype.out", lambda: ck.convolve(X, K, out=np.empty(10, np.int64)), ["int64", "float64", 'dtype="int64"']),
    ("dtype.unknown", lambda: ck.convolve(X, K, dtype="flaot32"), ["'flaot32'", 'dtype="float32"']),
    (
        "dtype.bias",
        lambda: ck.conv(np.ones((1, 1, 3), int), np.ones((1, 1, 2), int), np.array([0.5])),
        ["float64 bias", "int64", "bias.astype(int)"],
    ),
    ("option.mask-not-bool", lambda: ck.convolve(X, K, mask=np.ones(8)), ["float64", "mask.astype(bool)"]),
    ("option.masked-array", lambda: ck.convolve(np.ma.masked_array(X), K), ["x is a masked array", "mask=~x.mask"]),
    (
        "option.not-a-shape",
        lambda: ck.conv_input_gradient(np.ones((1, 1, 2)), np.ones((1, 1, 3)), 4),
        ["input_shape=4", "x.shape"],
    ),
    (
        "option.objects-complete",
        lambda: ck.convolve(np.array([Fraction(1, 2)] * 3), np.array([1]), mask=np.ones(3, bool)),
        ["object array", "floats"],
    ),
    ("option.out-not-writable", lambda: ck.convolve(X, K, out=[0.0] * 10), ["list", "np.empty(shape)"]),
    (
        "option.out-with-tensors",
        lambda: ck.convolve(torch.zeros(4), torch.ones(2), out=np.empty(5, np.float32)),
        ["gradients", "leave out= away"],
    ),
    ("option.pool-padding", lambda: ck.pool(IMAGE, 2, padding=2), ["padding=2", "2 < 2 is false"]),
    ("option.repeated-axis", lambda: ck.convolve(IMAGE, np.ones((2, 2)), axes=(0, -2)), ["(0, -2)", "once"]),
    ("option.stream-empty", lambda: ck.Convolver(K).stream().flush(), ["before any block", "push(x[:0])"]),
    ("option.stream-ended", lambda: flushed().push(X), ["has been flushed", "convolver.stream()"]),
    ("option.stream-kernel", lambda: ck.Convolver(np.ones((2, 3))).stream(), ["2x3", "k.ndim == 1"]),
    ("option.stream-nan", lambda: ck.Convolver(K, nan="omit").stream(), ['nan="omit"', 'nan="propagate"']),
    ("option.stream-wrap", lambda: ck.Convolver(K, boundary="wrap").stream(), ['"wrap"', 'boundary="reflect"']),
    ("option.unknown-option", lambda: ck.Convolver(K, boundry="wrap"), ["Convolver", "boundry", "ck.convolve"]),
    ("option.weights-range", lambda: ck.convolve(X, K, weights=X - 2), ["-2.0", "weight >= 0", "mask="]),
    ("option.fill", lambda: ck.convolve([1], [1], boundary="constant", fill=0.5), ["fill=0.5", "int64"]),
    (
        "shape.adjoint-open",
        lambda: ck.Convolver(K, stride=2).adjoint(np.ones(5)),
        ["stride 2 along axis 0", "2 input sizes", "shape="],
    ),
    (
        "shape.cannot-broadcast",
        lambda: ck.convolve(np.ones((4, 5)), np.ones((3, 2)), axes=1),
        ["4x5", "3x2", "axis 0", "4 and 3"],
    ),
    ("shape.labels-differ", train_with_a_label_too_few, ["3 pictures have 2 labels", "3 == 2 is false"]),
    ("shape.network-rank", lambda: ck.conv(IMAGE, np.ones((2, 2))), ["5x6", "2x2", "x[None]"]),
    (
        "shape.pool-nothing",
        lambda: ck.pool(X, 2, padding=10, dilation=20),
        ["window 0 on axis 0", "-10, 10", "dilation"],
    ),
    ("shape.pool-rank", lambda: ck.pool(X, (2, 2)), ["2 axes", "array of 1"]),
    ("shape.stream-block", lambda: begun().push(np.ones(3, np.float32)), ["float32", "float64", "block.astype"]),
    ("shape.weights-shape", lambda: ck.convolve(X, K, weights=np.ones(7)), ["weights of shape 7", "input 8"]),
    (
        "shape.channels",
        lambda: ck.conv(np.ones((1, 3, 5)), np.ones((4, 2, 3))),
        ["3 channels", "4x2x3", "expect 2", "3 == 2 is false"],
    ),
    (
        "shape.groups",
        lambda: ck.conv(np.ones((1, 3, 5)), np.ones((4, 2, 3)), groups=2),
        ["3 input channels", "2 groups", "3 mod 2 = 1"],
    ),
    ("shape.bias", lambda: ck.conv(np.ones((1, 1, 5)), np.ones((4, 1, 3)), np.ones(3)), ["3", "4", "np.zeros(4)"]),
    (
        "shape.gradient",
        lambda: ck.conv_input_gradient(np.ones((1, 1, 3)), np.ones((1, 1, 3)), (1, 1, 4)),
        ["1x1x3", "1x1x4", "1x1x2"],
    ),
    ("shape.out", lambda: ck.convolve(X, K, out=np.empty(9)), ["shape 9", "10"]),
    ("shape.no-such-axis", lambda: ck.convolve(IMAGE, K, axes=2), ["no axis 2", "2 axes", "axes=-1"]),
    ("shape.rank-mismatch", lambda: ck.convolve(IMAGE, K), ["5x6", "1 == 2 is false", "axes=(-1,)"]),
    ("integer.nan", lambda: ck.convolve([np.nan, 1.0], [1.0], dtype="uint8"), ["1 results are NaN", "uint8"]),
    (
        "integer.does-not-fit",
        lambda: ck.convolve(np.array([200, 200], np.uint8), [2], dtype="uint8"),
        ["2 exact results", "0 <= result <= 255", "400", 'overflow="saturate"'],
    ),
    ("file.unreadable", unreadable, ["x.npy cannot be read: Permission denied"]),
    (
        "option.spec-and-options",
        lambda: ck.explain(X, K, spec=ConvSpec.of_arrays(1), stride=2),
        ["stride", "leave out one of the two"],
    ),
    (
        "shape.rank-differs",
        lambda: diff("scipy.signal.convolve2d(x, k)", "ck.convolve(x, k)", x=X, k=K),
        ["2 axes", "kernel has 1"],
    ),
]


@pytest.mark.parametrize(("code", "call", "said"), WORDS, ids=[code for code, _, _ in WORDS])
def test_the_words(code: str, call: Callable[[], Any], said: list[str]) -> None:
    with pytest.raises(ck.ConvError) as caught:
        call()
    error = caught.value
    assert error.code == code
    english, chinese = error.text("en"), error.text("zh")
    for words in said:
        assert words in english, english
    assert re.match(rf"ConvError\[{code}\]: .+\n  rule   .+\n  try    .+", english)
    assert re.search("[\u4e00-\u9fff]", chinese)
    assert not re.search(r"\{\w*\}", english + chinese)


def test_an_error_survives_copying_and_pickling() -> None:
    with pytest.raises(ck.ConvError) as caught:
        ck.convolve(IMAGE, K)
    for twin in (pickle.loads(pickle.dumps(caught.value)), copy.deepcopy(caught.value)):
        assert type(twin) is type(caught.value)
        assert str(twin) == str(caught.value)


def test_a_corrupted_result_is_said() -> None:
    story = ck.explain(np.array([1, 2, 3]), np.array([1, 2]))
    story.result[1] += 1
    with pytest.raises(ck.ConvError) as caught:
        story.verify()
    assert caught.value.code == "trace.differs-from-verb"
    assert "output (1) is 4 term by term, and 5 by the verb" in str(caught.value)


def test_two_sounds_of_different_rates(tmp_path: Path) -> None:
    for name, rate in (("a.wav", 8000), ("b.wav", 16000)):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(np.arange(50, dtype="<i2").tobytes())
    arguments = ["convolve", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--output", str(tmp_path / "c.wav")]
    done = CliRunner().invoke(build(arguments), arguments)
    assert done.exit_code == 1
    assert "ConvError[file.rates-differ]" in done.output
    assert "8000 == 16000 is false" in done.output
    assert not (tmp_path / "c.wav").exists()


def test_sounds_without_soundfile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ck.ConvError) as caught:
        sounds._soundfile()
    assert caught.value.code == "missing.sounds"
    assert "pip install 'convkit[image]'" in str(caught.value)


def test_every_code_of_the_catalogue_is_named_in_a_test() -> None:
    codes = {key[6:-5] for key in catalogue.texts("en") if key.startswith("error.") and key.endswith(".fact")}
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("*.py"))
    # A family's tests may leave its name out: "kernel-does-not-fit" for "shape.kernel-does-not-fit".
    assert sorted(code for code in codes if code.split(".", 1)[1] not in tests) == []
