"""Step by step: the terms add up to the values, the values are the verb's, and a corrupted trace is found out."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.catalogue import using
from convkit.errors import ConvError
from convkit.explain import explain
from convkit.explain.blocks import Steps, Table, step_line
from convkit.oracle import TraceError
from convkit.spec.options import BOUNDARIES


def test_the_arithmetic_of_an_output() -> None:
    steps = explain([1, 2, 3, 4, 5, 6], [1, 2, 3])
    assert step_line(steps, steps.steps[2]) == "out[2] = 3*1 + 2*2 + 1*3 = 10"
    assert step_line(steps, steps.steps[0]) == "out[0] = 1*1 + [0]*2 + [0]*3 = 1"
    correlated = explain([1, 2, 3, 4, 5, 6], [1, 2, 3], operation="correlation", mode="valid")
    assert step_line(correlated, correlated.steps[0]) == "out[0] = 1*1 + 2*2 + 3*3 = 14"


def test_the_hand_table_of_1234_and_111() -> None:
    blocks = explain([1, 2, 3, 4], [1, 1, 1]).blocks()
    shifted, strip = [block for block in blocks if isinstance(block, Table)]
    assert [cells for _, cells in shifted.rows] == [
        ("1", "2", "3", "4", "", ""),
        ("", "1", "2", "3", "4", ""),
        ("", "", "1", "2", "3", "4"),
        ("1", "3", "6", "9", "7", "4"),
    ]
    assert strip.rows[0][1] == ("[0]", "[0]", "1", "2", "3", "4", "[0]", "[0]", "")
    assert strip.rows[1][1] == ("1", "1", "1", "", "", "", "", "", "1")


def test_a_circle_wraps_the_rows() -> None:
    text = explain([1, 2, 3, 4], [1, 2, 3, 0], mode="same", boundary="wrap", anchor=0)
    shifted = next(block for block in text.blocks() if isinstance(block, Table))
    assert shifted.rows[1][1] == ("[8]", "2", "4", "6")
    assert shifted.rows[-1][1] == ("18", "16", "10", "16")


def test_fractions_stay_exact() -> None:
    x, k = np.array([Fraction(1, 3), Fraction(1, 2)], object), np.array([Fraction(1, 7), Fraction(2)], object)
    explanation = explain(x, k)
    assert explanation.steps[1].value == Fraction(1, 14) + Fraction(2, 3)
    assert "out[1] = 1/2*1/7 + 1/3*2 = 31/42" in explanation.text()


def test_long_sums_are_shortened_honestly() -> None:
    explanation = explain(np.arange(60), np.arange(45) + 1, mode="valid")
    line = step_line(explanation, explanation.steps[0])
    assert line.count("*") == 8
    assert "... 37 more = " in line
    assert line.endswith(f" = {explanation.result[0]}")


def test_numbers_below_zero_are_bracketed() -> None:
    assert "out[0] = (-1)*(-2) = 2" in explain([-1], [-2]).text()


def test_volumes_name_their_coordinates() -> None:
    x, k = np.arange(24).reshape(2, 3, 4), np.arange(8).reshape(2, 2, 2)
    assert "out[0, 1, 2] = " in explain(x, k, mode="valid").text()


def test_a_network_with_bias() -> None:
    rng = np.random.default_rng(1)
    x, w, b = rng.integers(-4, 5, (1, 2, 5, 4)), rng.integers(-4, 5, (3, 2, 3, 2)), np.array([1, 2, 3])
    explanation = explain(x, w, b, stride=2, padding=1)
    np.testing.assert_array_equal(explanation.result, ck.conv(x, w, b, stride=2, padding=1))
    assert "+ bias[o]" in explanation.text()
    transposed = explain(x, w.transpose(1, 0, 2, 3), direction="transposed", stride=2, padding=(1, 0))
    assert not any(transposed.outside(step, term.kernel) for step in transposed.steps for term in step.terms)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_terms_give_the_values_for_any_spec(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3))
    shape = tuple(data.draw(st.integers(1, 5)) for _ in range(rank))
    kernel = tuple(data.draw(st.integers(1, 3)) for _ in range(rank))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    kind = data.draw(st.sampled_from(["int", "float", "complex"]))
    x, k = rng.integers(-9, 10, shape), rng.integers(-9, 10, kernel)
    if kind != "int":
        x, k = x + rng.random(shape), k * rng.random(kernel)
    if kind == "complex":
        x, k = x * (1 + 2j), k - 1j * rng.random(kernel)
    explanation = explain(
        x, k,
        operation=data.draw(st.sampled_from(["convolution", "correlation"])),
        mode=data.draw(st.sampled_from(["full", "same"])),
        boundary=data.draw(st.sampled_from(BOUNDARIES)),
        fill=2, stride=data.draw(st.integers(1, 2)), dilation=data.draw(st.integers(1, 2)),
    )  # fmt: skip
    explanation.verify()
    for step in explanation.steps:
        assert sum(term.product for term in step.terms) == pytest.approx(step.value)
    lines = next(block for block in explanation.blocks() if isinstance(block, Steps)).lines
    assert len(lines) == min(64, explanation.result.size)


def corrupt(explanation, kind: str) -> None:
    step = explanation.steps[3]
    if kind == "product":
        step.terms[1] = replace(step.terms[1], product=step.terms[1].product + 1)
    elif kind == "value":
        step.value += 1
    elif kind == "both":  # a sum that agrees with itself and not with the verb
        step.terms[1] = replace(step.terms[1], x=step.terms[1].x + 1, product=(step.terms[1].x + 1) * step.terms[1].k)
        step.value = step.sum()
    else:
        del step.terms[0]


@pytest.mark.parametrize("kind", ["product", "value", "both", "missing"])
@pytest.mark.parametrize("scale", [1, 0.37])
def test_a_corrupted_trace_fails(kind: str, scale: float) -> None:
    explanation = explain(np.arange(1, 8) * scale if scale != 1 else np.arange(1, 8), [1, 2, 3], mode="same")
    explanation.verify()
    corrupt(explanation, kind)
    with pytest.raises(TraceError):
        explanation.verify()


def test_saturated_results_are_checked_after_storing() -> None:
    explanation = explain(np.array([200, 100], np.uint8), [1, 1], dtype="uint8", overflow="saturate")
    assert explanation.result.tolist() == [200, 255, 100]
    assert explanation.steps[1].value == 300


@pytest.mark.parametrize("shape", [(5,), (4, 5), (1, 2, 4, 5)])
def test_pictures_are_wellformed(shape: tuple[int, ...]) -> None:
    x, k = np.arange(np.prod(shape)).reshape(shape), np.arange(1, 1 + 2 ** len(shape)).reshape((2,) * len(shape))
    options = {"padding": 1} if len(shape) == 4 else {"mode": "same"}
    explanation = explain(x, k, **options)
    picture = ElementTree.fromstring(explanation.svg())
    assert picture.attrib["role"] == "img"
    ElementTree.fromstring(explanation.html())
    ElementTree.fromstring(explanation.svg(explanation.steps[-1].output))
    with pytest.raises(ConvError) as caught:
        explanation.svg((99,) * len(shape))
    assert caught.value.code == "shape.no-such-cell"


def test_a_page_needs_no_script_and_no_mouse() -> None:
    page = explain([1, 2, 3], [1, 2]).html()
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert page.count('scope="row"') > 3
    assert 'tabindex="0"' in page
    assert "<caption>" in page


def test_every_language_and_rendering_holds_the_same_numbers() -> None:
    explanation = explain([1, 2, 3, 4], [1, 2], mode="same")
    english = [explanation.text(), explanation.markdown(), explanation.html()]
    with using("zh"):
        chinese = [explanation.text(), explanation.markdown(), explanation.html()]
    for one, other in zip(english, chinese, strict=True):
        assert "out[1] = 2*1 + 1*2 = 4" in one
        assert "out[1] = 2*1 + 1*2 = 4" in other
        assert "翻转" in other
        assert "kernel is" not in other
        assert "flipped" not in other
    with using("zh"):
        prose = re.sub(
            r"ck\.convolve\(.*\)|\b(ceil|input|stride|kernel|dilation|sum over|of|zero|out|mode|same)\b",
            "",
            explanation.text(),
        )
    assert not re.findall(r"[a-z]{4,}", prose)


@pytest.mark.parametrize(
    ("arguments", "options", "code", "words"),
    [
        (([1, 2], [1]), {"nan": "omit"}, "option.not-explained", "nan=omit is not explained"),
        (([[1, 2]], [1]), {}, "shape.wrong-rank", "1x2"),
        ((np.ones((200, 200)), np.ones((9, 9))), {}, "shape.too-large-to-explain", "a part of the input: x[:"),
        (([1, 2], [1]), {"mode": "sane"}, "option.unknown-value", 'mode="same"'),
        (([1, 2], [1, 1, 1]), {"mode": "valid"}, "shape.kernel-does-not-fit", "does not fit"),
        (([1, 2], [1]), {"axes": 0, "weights": [1, 1]}, "option.not-explained", "axes"),
    ],
)
def test_what_cannot_be_explained_is_said(arguments, options, code: str, words: str) -> None:
    with pytest.raises(ConvError) as caught:
        explain(*arguments, **options)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert caught.value.text("zh") != caught.value.text("en")


def test_the_room_is_called_as_the_function() -> None:
    import convkit.explain

    assert ck.explain([1, 2], [3]).result.tolist() == [3, 6]
    assert ck.explain.diff is convkit.explain.diff
