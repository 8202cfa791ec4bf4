"""Passports, formulas, differences, plans in words, and the sentences of both languages."""

from __future__ import annotations

import json
import re
import string
from importlib.resources import files
from xml.etree import ElementTree

import numpy as np
import pytest

import convkit as ck
from convkit.catalogue import texts, using
from convkit.errors import ConvError
from convkit.explain import diff, passport, plan_markdown, plan_text
from convkit.explain.formula import formula
from convkit.explain.symbols import Symbol
from convkit.explain.values import compute
from convkit.spec import ConvSpec
from tests.explain.peers import asymmetric

SPECS = [
    ConvSpec.of_arrays(1, "convolution", "same", stride=2, boundary="reflect"),
    ConvSpec.of_arrays(2, "correlation", "same", dilation=(1, 2), anchor=(1, 0), boundary=("wrap", ("edge", "zero"))),
    ConvSpec.of_arrays(2, "correlation", "full", boundary="constant", fill=3),
    ConvSpec.of_arrays(2, "convolution", "valid", dilation=2),
    ConvSpec.of_network(1, stride=2, padding=((1, 2),), groups=2),
    ConvSpec.of_network(1, "convolution", padding="same"),
    ConvSpec.of_network(2, direction="transposed", stride=(2, 1), padding=1, output_padding=(1, 0)),
    ConvSpec.of_network(1, "convolution", direction="transposed", dilation=2),
]


def evaluate(spec: ConvSpec, x: np.ndarray, k: np.ndarray) -> dict[tuple[int, ...], float]:
    """Every output by the printed formula itself, for zeros outside."""
    text = formula(spec, k.shape)
    target, _, rest = text.removeprefix("out").partition(" = ")
    outer, _, body = rest.partition(" of ")
    bounds = re.findall(r"(j\d*)=0\.\.(\d+)", outer)
    sizes = spec.output_sizes(x.shape, k.shape)
    names = re.findall(r"i\d*", target)

    class Zero:
        def __init__(self, array):
            self.array = array

        def __getitem__(self, index):
            index = index if isinstance(index, tuple) else (index,)
            inside = all(0 <= i < n for i, n in zip(index, self.array.shape))
            return self.array[index] if inside else 0

    values = {}
    for index in np.ndindex(*sizes):
        total = 0
        for taps in np.ndindex(*(int(last) + 1 for _, last in bounds)):
            scope = dict(zip(names, index)) | {name: tap for (name, _), tap in zip(bounds, taps)}
            total += eval(body, {"x": Zero(x), "k": Zero(k), "conj": np.conj}, scope)
        values[index] = total
    return values


@pytest.mark.parametrize("operation", ["convolution", "correlation"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("rank", [1, 2])
def test_the_printed_formula_computes_the_result(rank: int, mode: str, operation: str) -> None:
    x, k = asymmetric((8, 7)[:rank]), asymmetric((4, 3)[:rank], 1)
    for stride, dilation in ((1, 1), (2, 1), (1, 2), (2, 2)):
        spec = ConvSpec.of_arrays(rank, operation, mode, stride=stride, dilation=dilation)
        result = compute(spec, x, k)
        for index, value in evaluate(spec, x, k).items():
            assert value == pytest.approx(result[index])


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (SPECS[0], "out[i] = sum over j of x[2*i + (K - 1) // 2 - j] * k[j]"),
        (SPECS[4], "out[b, o, i] = sum over c, j of x[b, group(o)*C/2 + c, 2*i - 1 + j] * w[o, c, j]"),
        (SPECS[5], "out[b, o, i] = sum over c, j of x[b, c, i + K - 1 - p - j] * w[o, c, j]"),
        (
            SPECS[6],
            (
                "out[b, o, 2*i0 + j0 - 1, i1 + j1 - 1] += "
                "x[b, c, i0, i1] * w[c, o, j0, j1] for all c, i0, i1, j0, j1"
            ),
        ),
        (SPECS[7], "out[b, o, i + 2*j] += x[b, c, i] * w[c, o, K - 1 - j] for all c, i, j"),
    ],
)  # fmt: skip
def test_formulas(spec: ConvSpec, text: str) -> None:
    assert formula(spec) == text


def test_symbols_keep_their_value() -> None:
    k = Symbol("k")
    for text, value in [
        ((k - 1) // 2 * 2, lambda n: (n - 1) // 2 * 2),
        (k - (k - 1) // 2 - 1, lambda n: n - (n - 1) // 2 - 1),
        (3 - (k + 2), lambda n: 3 - (n + 2)),
        (2 * (k - 1) // 2, lambda n: 2 * (n - 1) // 2),
        ((k * 3) // 2 - k // 2, lambda n: (n * 3) // 2 - n // 2),
    ]:
        for n in (1, 2, 5, 8):
            assert eval(str(text), {"k": n}) == value(n), text


@pytest.mark.parametrize("spec", SPECS)
def test_a_passport_is_said_in_both_languages(spec: ConvSpec) -> None:
    card = passport(spec)
    assert len(card.calls) == 9
    english = card.text()
    assert "flip: the kernel is" in english
    assert formula(spec) in english
    with using("zh"):
        chinese, page, marks = card.text(), card.html(), card.markdown()
    assert "翻转：" in chinese or "翻转: " in chinese
    ElementTree.fromstring(page)
    assert marks.count("\n| ") >= len(card.rows)
    prose = [value for label, value in _rows(card) if not re.match(r"^[\x00-\x7f]*$", value)]
    for sentence in prose:
        assert not re.findall(r"\b(the|kernel|every|one|outputs)\b", sentence), sentence
    json.dumps(card.to_dict())


def _rows(card) -> list[tuple[str, str]]:
    with using("zh"):
        return card.rows


def test_a_passport_of_something_that_has_a_spec() -> None:
    class Holder:
        spec = SPECS[0]

    assert passport(Holder()).spec == SPECS[0]
    assert passport("ck.convolve(x, k, mode='same', stride=2, boundary='reflect')").spec == SPECS[0]
    with pytest.raises(ConvError) as caught:
        passport(3)
    assert caught.value.code == "option.not-a-spec"
    assert "int is neither a spec nor a call" in str(caught.value)


def test_a_passport_with_sizes_has_numbers() -> None:
    card = passport(SPECS[0], input_shape=(9,), kernel_shape=(4,))
    text = card.text()
    assert "x[2*i + 1 - j]" in text
    assert "ceil(9 / 2) = 5" in text
    assert "k.shape" not in text


def test_which_outputs_differ_and_why() -> None:
    x, k = np.arange(1, 43).reshape(6, 7), np.arange(1, 10).reshape(3, 3)
    found = diff("ck.convolve(x, k, mode='same')", "scipy.ndimage.convolve(x, k)", x, k)
    assert found.mask is not None
    border = np.ones((6, 7), bool)
    border[1:-1, 1:-1] = False
    np.testing.assert_array_equal(found.mask, border)
    assert [note.key for note in found.notes] == ["diff.boundary", "diff.count", "diff.border"]
    assert "# # # # # # #\n  # . . . . . #" in found.text()


@pytest.mark.parametrize(
    ("a", "b", "keys"),
    [
        ("np.convolve(x, k)", "np.convolve(x, k)", ["diff.same-spec"]),
        ("np.convolve(x, k)", "np.correlate(x, k, 'full')", ["diff.operation", "diff.count"]),
        ("np.convolve(x, k)", "np.convolve(x, k, 'same')", ["diff.extent", "diff.shapes"]),
        (
            "np.convolve(x, k, 'same')",
            "scipy.ndimage.convolve(x, k, mode='constant')",
            ["diff.anchor", "diff.count", "diff.moved"],
        ),
        ("ck.conv(x, w)", "ck.conv(x, w, stride=2)", ["diff.stride", "diff.shapes"]),
        ("scipy.ndimage.correlate(x, k)", "cv2.filter2D(x, -1, k)", ["diff.boundary", "diff.count", "diff.border"]),
    ],
)
def test_differences_on_an_example_of_its_own(a: str, b: str, keys: list[str]) -> None:
    found = diff(a, b)
    assert [note.key for note in found.notes] == keys
    json.dumps(found.to_dict())


def test_a_plan_in_words() -> None:
    plan = ck.plan((64, 64), (7, 5), "float64", mode="same")
    marks = plan_markdown(plan)
    assert plan_text(plan.report()) == str(plan.report())
    assert f"**{plan.choice}**" in marks
    assert "Left out:" in marks
    with using("zh"):
        assert "未采用：" in plan_markdown(plan)
    with pytest.raises(ConvError) as caught:
        plan_text("fft")
    assert caught.value.code == "option.not-a-plan"
    assert "str has no report of a plan" in str(caught.value)


def _own(language: str) -> dict[str, str]:
    tree = json.loads(files("convkit").joinpath("locales", language, "explain.json").read_text(encoding="utf-8"))

    def flat(node: dict, prefix: str = "") -> dict[str, str]:
        out: dict[str, str] = {}
        for key, value in node.items():
            out |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return out

    return flat(tree)


def test_both_languages_have_the_same_sentences() -> None:
    english, chinese = _own("en"), _own("zh")
    assert english.keys() == chinese.keys()
    for key, sentence in english.items():
        fields = [
            {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
            for text in (sentence, chinese[key])
        ]
        assert fields[0] == fields[1], key


def test_every_sentence_is_used() -> None:
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in files("convkit").joinpath("explain").iterdir()
        if path.name.endswith(".py")
    )
    families = (
        "label.",
        "library.",
        "operation.",
        "flip.",
        "conjugation.",
        "extent.",
        "anchor.",
        "layout.",
        "dtype.",
        "overflow.",
        "nan.",
    )
    for key in _own("en"):
        name = key.removeprefix("explain.")
        if key.startswith("error."):
            name = key.split(".")[-2]
        elif name.startswith(families):
            continue
        stem = (
            name.removeprefix("cannot.")
            .removeprefix("note.integers-")
            .removeprefix("identify.rounded-")
            .removeprefix("diff.")
            .removeprefix("identify.")
        )
        assert stem in source, key
    assert set(_own("en")) <= set(texts("en"))
