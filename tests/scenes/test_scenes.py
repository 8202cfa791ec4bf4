"""Every scene is right on the real library, and wrong as soon as the library is."""

from __future__ import annotations

import numpy as np
import pytest

import convkit as ck
from convkit import scenes
from convkit.catalogue import LANGUAGES, texts, using
from convkit.errors import OptionError
from convkit.scenes import Check, Label, Outcome, Report, Scene
from convkit.scenes.scene import at_least, below, equal, shown

QUICK = [name for name, scene in scenes.SCENES.items() if scene.lengthy == "no"]
WANTED = {
    "flip", "echo", "superposition", "pulses", "moving-average", "dice", "interest", "interest-continuous", "buns",
    "hand-tables", "circular", "theorem", "properties", "find-signal", "window", "smooth", "sobel", "sharpen",
    "separable", "image-difference", "template", "sizes", "pooling", "volume", "dense-to-conv", "perceptron",
    "and-gate", "activations", "mlp", "groups", "equivariance", "x-or-o", "transposed", "gradient", "preprocess",
    "digits", "initialisation", "segment",
}  # fmt: skip
VERBS = ("convolve", "correlate", "conv", "conv_transpose", "pool")


def test_the_tour_is_complete():
    assert set(scenes.SCENES) == WANTED


@pytest.mark.parametrize("name", QUICK)
def test_a_scene_is_right(name):
    report = scenes.run(scenes.find(name))
    off = [(check.name, check.wanted, check.found) for check in report.checks if not check.ok]
    assert report.ok, off
    assert report.outcome.figures or report.outcome.checks


def _disturbed(verb):
    """A verb that adds something wrong, which depends on its first argument, to every output."""

    def wrong(x, *rest, **options):
        y = np.array(verb(x, *rest, **options))
        if y.dtype.kind in "iu":
            y += 1 + 3 * int(np.abs(np.asarray(x).astype(np.int64)).max())
        else:
            y += 1.5 + 0.37 * float(np.abs(np.asarray(x)).max()) + np.asarray(x).size
        return y

    return wrong


def _wrong_size(verb):
    return lambda *arguments, **options: np.pad(np.asarray(verb(*arguments, **options)), 1)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("damage", [_disturbed, _wrong_size])
def test_a_broken_verb_makes_the_scene_fail(name, damage, monkeypatch):
    if name == "sizes":
        damage = _wrong_size  # its arrays are all zeros: only their shapes speak
    for verb in VERBS:
        monkeypatch.setattr(ck, verb, damage(getattr(ck, verb)))
    try:
        report = scenes.run(scenes.find(name))
    except (ValueError, IndexError):
        return  # arrays that no longer fit together are as loud as a failed check
    assert not report.ok


def test_a_missing_flip_is_seen(monkeypatch):
    monkeypatch.setattr(ck, "convolve", lambda x, k, *rest, **options: ck.correlate(x, k, *rest, **options))
    for name in ("flip", "superposition", "interest", "properties"):
        assert not scenes.run(scenes.find(name)).ok, name


@pytest.mark.parametrize("name", QUICK)
def test_every_check_can_fail(name):
    for check in scenes.run(scenes.find(name)).checks:
        assert check.ok
        if isinstance(check.got, str):
            spoilt = check.got + "!"
        else:
            spoilt = np.array(check.got)
            if spoilt.dtype.kind == "b":
                spoilt = ~spoilt
            else:
                size = float(np.abs(np.asarray(check.expected, float)).max()) + float(np.abs(spoilt).max())
                spoilt = spoilt + (-1 if check.relation == "at-least" else 1) * (1 + 2 * size)
        assert not Check(check.name, check.expected, spoilt, check.relation, check.tolerance).ok, check.name


def _labels(value):
    if isinstance(value, Label):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _labels(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _labels(getattr(value, name))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_is_there_and_used(language):
    used = set()
    with using(language):
        for name in QUICK:
            report = scenes.run(scenes.find(name))
            checks = [report.scene.label(check) for check in report.checks]
            for label in [report.scene.title, report.scene.shows, *checks, *_labels(list(report.outcome.figures))]:
                assert str(label)
                used.add(label.key)
    known = {key for key in texts(language) if key.startswith("scenes.") and key.count(".") > 1}
    known = {key for key in known if key.split(".")[1] in QUICK}  # the others' words are looked at where they train
    assert used == known


def test_sobel_equals_scipy_exactly():
    from scipy import ndimage

    report = scenes.run(scenes.find("sobel"))
    checks = {check.name: check for check in report.checks}
    photo = ck.data.photograph().astype(np.int64)
    for axis, name in ((1, "scipy-right"), (0, "scipy-down")):
        np.testing.assert_array_equal(checks[name].got, ndimage.sobel(photo, axis=axis))


def test_sobel_without_scipy_keeps_its_own_definition(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    report = scenes.run(scenes.find("sobel"))
    assert report.ok
    assert {"right", "down"} <= {check.name for check in report.checks}
    assert "scipy-right" not in {check.name for check in report.checks}


def test_the_network_of_three_layers_without_torch(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    report = scenes.run(scenes.find("mlp"))
    assert report.ok
    names = {check.name for check in report.checks}
    assert "loops" in names
    assert "torch" not in names


def test_examples_are_what_explain_can_walk_through():
    for name in QUICK:
        example = scenes.run(scenes.find(name)).outcome.example
        if example is not None:
            assert ck.explain(example.x, example.k, **example.options).text()


def test_an_unknown_scene_names_the_nearest():
    with pytest.raises(OptionError, match='scene="circular"'):
        scenes.find("circlar")


def test_comparisons():
    assert equal("x", [1, 2], np.array([1, 2])).ok
    assert not equal("x", [1, 2], [1, 2, 3]).ok
    assert not equal("x", [1.0], [1 + 1e-9]).ok
    assert equal("x", [1.0], [1 + 1e-9], 1e-8).ok
    assert not equal("x", [1.0], [np.nan], 1e9).ok
    assert not equal("x", "a", "b").ok
    assert not equal("x", "1", 1).ok
    assert at_least("x", 2, 2).ok
    assert not at_least("x", 2, 1.9).ok
    assert below("x", 2, 1.9).ok
    assert not below("x", 2, 2).ok
    nothing = Report(Scene("flip", "signals", lambda: Outcome([])), Outcome([]), 0.0)
    assert not nothing.ok


def test_values_on_a_line():
    assert shown([[1, 2.5], [3, -0.0]]) == "1 2.5 / 3 0"
    assert shown(0.985, "at-least") == ">= 0.985"
    with using("zh"):
        assert shown(np.zeros((6, 7))) == "42 个数（6x7）"
    assert Check("x", np.zeros(30), np.full(30, 0.5), "equal", 1.0).found == "largest difference 0.5"
