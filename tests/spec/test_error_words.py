"""The words of every error of the spec: the fact, the rule with its numbers, a fix from the shapes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from importlib.resources import files

import pytest

from convkit import catalogue
from convkit.errors import ConvError, OptionError, ShapeError, by, choose
from convkit.spec import ConvSpec, sizes

arrays, network = ConvSpec.of_arrays, ConvSpec.of_network

CASES: list[tuple[Callable[[], object], type[ConvError], str]] = [
    (
        lambda: arrays(2, mode="valid").windows((4, 4), (5, 5)),
        ShapeError,
        """ConvError[shape.kernel-does-not-fit]: kernel 5x5 does not fit the padded input 4x4
  rule   dilation*(kernel-1)+1 <= input+padding:  5 <= 4 is false on axes 0, 1
  try    padding=1 | mode="same" | a kernel up to 4x4""",
    ),
    (
        lambda: network(2, padding=((1, 0), (0, 0)), dilation=(3, 1)).windows((4, 9), (4, 2)),
        ShapeError,
        """ConvError[shape.kernel-does-not-fit]: kernel 4x2 does not fit the padded input 5x9
  rule   dilation*(kernel-1)+1 <= input+padding:  10 <= 5 is false on axes 0
  try    padding=3 | mode="same" | a kernel up to 2x9""",
    ),
    (
        lambda: arrays(2).windows((4, 4), (3,)),
        ShapeError,
        """ConvError[shape.wrong-rank]: input 4x4 and kernel 3 are not both 2-dimensional
  rule   a size for each of the 2 convolved axes
  try    arrays with 2 axes, or axes= to pick the axes to convolve along""",
    ),
    (
        lambda: arrays(2).windows((4, 4), (3, 0)),
        ShapeError,
        """ConvError[shape.empty-kernel]: the kernel 3x0 is empty along axis 1
  rule   a kernel has at least one element on every axis
  try    a kernel of size 1 holding a single 1 leaves the input as it is""",
    ),
    (
        lambda: arrays(2, boundary=("zero", ("zero", "edge"))).windows((4, 0), (3, 2)),
        ShapeError,
        """ConvError[shape.nothing-to-extend]: \
the input is empty along axis 1, so boundary edge has no sample to repeat
  rule   edge, reflect, symmetric and wrap need at least one sample
  try    boundary="zero" | mode="valid\"""",
    ),
    (
        lambda: network(1, direction="transposed", padding=2).windows((1,), (3,)),
        ShapeError,
        """ConvError[shape.empty-output]: nothing is left along axis 0: the output would have -1 samples
  rule   (input-1)*stride + dilation*(kernel-1)+1 - padding + output_padding >= 1:  \
(1-1)*1 + 1*(3-1)+1 - 2-2 + 0 = -1
  try    less padding, or a larger kernel or stride""",
    ),
    (
        lambda: sizes.input_sizes(0, 3),
        ShapeError,
        """ConvError[shape.no-such-output]: an output of 0 samples has no input
  rule   output >= 1
  try    output=1 or more""",
    ),
    (
        lambda: arrays(1, mode="smae"),
        OptionError,
        """ConvError[option.unknown-value]: mode='smae' is not known
  rule   mode is one of: full, same, valid
  try    mode="same\"""",
    ),
    (
        lambda: arrays(1, boundary="?"),
        OptionError,
        """ConvError[option.unknown-value]: boundary='?' is not known
  rule   boundary is one of: zero, constant, edge, reflect, symmetric, wrap
  try    boundary="zero" | boundary="constant" | boundary="edge" | boundary="reflect" | \
boundary="symmetric" | boundary="wrap\"""",
    ),
    (
        lambda: arrays(1, stride=1.5),
        OptionError,
        """ConvError[option.not-a-whole-number]: stride=1.5 is not a whole number
  rule   stride is an integer >= 1, or one for each axis
  try    stride=1""",
    ),
    (
        lambda: network(2, padding=(1, True)),
        OptionError,
        """ConvError[option.not-a-whole-number]: padding=True is not a whole number
  rule   padding is an integer >= 0, or one for each axis
  try    padding=0""",
    ),
    (
        lambda: arrays(2, stride=(2, -1)),
        OptionError,
        """ConvError[option.too-small]: stride=-1 is too small
  rule   stride >= 1:  -1 >= 1 is false
  try    stride=1""",
    ),
    (
        lambda: network(2, dilation=(1, 2, 3)),
        OptionError,
        """ConvError[option.wrong-length]: dilation=(1, 2, 3) has 3 entries for 2 axes
  rule   one value for all axes, or exactly one for each:  3 == 2 is false
  try    dilation with 2 entries, or a single value""",
    ),
    (
        lambda: arrays(2, boundary=("edge", ("wrap", "edge", "zero"))),
        OptionError,
        """ConvError[option.not-a-pair]: boundary entry ('wrap', 'edge', 'zero') is not a pair
  rule   each axis has one value, or a pair (before, after)
  try    boundary=((before, after), ...)""",
    ),
    (
        lambda: arrays(1, mode="full", anchor=1),
        OptionError,
        """ConvError[option.anchor-needs-same]: anchor= was given with mode="full"
  rule   only mode="same" lays the kernel's anchor on the output sample; full and valid hold every position
  try    mode="same", or leave anchor out""",
    ),
    (
        lambda: arrays(2, mode="same", anchor=(0, 3)).windows((9, 9), (2, 3)),
        OptionError,
        """ConvError[option.anchor-out-of-kernel]: anchor 3 lies outside a kernel of 3 on axis 1
  rule   0 <= anchor <= kernel-1:  3 <= 2 is false
  try    anchor=2 or less""",
    ),
    (
        lambda: network(1, direction="transposed", stride=2, dilation=3, output_padding=3),
        OptionError,
        """ConvError[option.output-padding]: output_padding=3 is too large on axis 0
  rule   output_padding < max(stride, dilation):  3 < max(2, 3) is false
  try    a smaller output_padding, or a larger stride""",
    ),
    (
        lambda: network(1, direction="transposed", padding="same").windows((4,), (3,)),
        OptionError,
        """ConvError[option.transposed-same]: padding="same" has no meaning for a transposed convolution
  rule   several input sizes lead to the same strided output, so the padding cannot be told from it
  try    padding as numbers, with output_padding""",
    ),
    (
        lambda: arrays(1, accuracy=0.0),
        OptionError,
        """ConvError[option.tolerance-not-positive]: accuracy=0.0 is not a positive tolerance
  rule   accuracy is "norm", "elementwise", or a relative tolerance > 0
  try    accuracy=1e-6""",
    ),
]


@pytest.mark.parametrize(("call", "kind", "words"), CASES, ids=[words.split("]")[0][10:] for _, _, words in CASES])
def test_words(call: Callable[[], object], kind: type[ConvError], words: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.text("en") == words
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(("call", "kind", "words"), CASES, ids=[words.split("]")[0][10:] for _, _, words in CASES])
def test_chinese_words_hold_the_same_numbers(call: Callable[[], object], kind: type[ConvError], words: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    lines = caught.value.text("zh").splitlines()
    assert len(lines) == 3
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in line) for line in lines[:1])
    english = words.splitlines()
    numbers = lambda line: sorted(part for part in _split(line) if part.isdigit())  # noqa: E731
    assert numbers(lines[0]) == numbers(english[0])


def _split(line: str) -> list[str]:
    return "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in line).split()


def test_every_code_of_the_file_is_tested_here() -> None:
    written = json.loads(files("convkit").joinpath("locales/en/errors.json").read_text(encoding="utf-8"))["error"]
    of_the_spec = {f"{family}.{name}" for family in ("shape", "option") for name in written[family]}
    assert of_the_spec == {words.split("]")[0][10:] for _, _, words in CASES}


def test_unknown_words_get_the_nearest_known_one() -> None:
    assert choose("mode", "valid", ("full", "valid")) == "valid"
    with pytest.raises(OptionError) as caught:
        choose("nan", 3, ("propagate", "omit"))
    assert caught.value.line("try") == 'nan="propagate" | nan="omit"'


def test_sizes_are_written_as_people_write_them() -> None:
    assert [by((3, 4, 5)), by((7,)), by(())] == ["3x4x5", "7", "()"]


def test_an_error_survives_pickling() -> None:
    error = ShapeError("empty-kernel", kernel="3x0", axis=1)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ShapeError
    assert (again.code, str(again)) == (error.code, str(error))


def test_the_language_in_force_is_used() -> None:
    error = ShapeError("no-such-output", output=0)
    with catalogue.using("zh"):
        assert "没有哪个输入" in str(error)
    assert "has no input" in error.text("en")
