"""English and 中文 have the same keys with the same placeholders, file by file."""

from __future__ import annotations

import string
from importlib.resources import files

import pytest

from convkit import catalogue

LOCALES = files("convkit").joinpath("locales")


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """What keeps two catalogues from being equal."""
    found = [f"only one has {key}" for key in sorted(one.keys() ^ other.keys())]
    common = sorted(one.keys() & other.keys())
    found += [f"placeholders of {key}" for key in common if placeholders(one[key]) != placeholders(other[key])]
    found += [f"no text for {key}" for key in common if not one[key].strip() or not other[key].strip()]
    return found


def test_keys_and_placeholders_are_equal() -> None:
    assert differences(dict(catalogue.texts("en")), dict(catalogue.texts("zh"))) == []


def test_each_file_has_its_pair() -> None:
    names = [{entry.name for entry in LOCALES.joinpath(name).iterdir()} for name in catalogue.LANGUAGES]
    assert names[0] == names[1]


def test_the_comparison_can_fail() -> None:
    assert differences({"a": "x {n}"}, {"a": "甲 {m}"}) == ["placeholders of a"]
    assert differences({"a": "x", "b": "y"}, {"a": " "}) == ["only one has b", "no text for a"]


def test_error_texts_are_chinese() -> None:
    texts = catalogue.texts("zh")
    facts = [text for key, text in texts.items() if key.startswith("error.") and key.endswith(".fact")]
    assert facts
    assert [text for text in facts if not any("\u4e00" <= letter <= "\u9fff" for letter in text)] == []


def test_transposed_convolution_is_not_called_deconvolution() -> None:
    english, chinese = catalogue.texts("en"), catalogue.texts("zh")
    for key, text in english.items():
        if "transposed convolution" in text.lower() and "deconvolution" not in text.lower():
            assert "反卷积" not in chinese[key], key


def test_languages() -> None:
    with catalogue.using("zh"):
        assert catalogue.language() == "zh"
        with catalogue.using("en"):
            assert catalogue.language() == "en"
        assert catalogue.language() == "zh"
    with pytest.raises(ValueError, match="'fr'"):
        catalogue.set_language("fr")


def test_the_environment_chooses_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVKIT_LANG", "zh_CN.UTF-8")
    assert catalogue.language() == "zh"
    monkeypatch.setenv("CONVKIT_LANG", "de")
    assert catalogue.language() == "en"
