"""The scenes that train: starts and segments. They repeat, say their words, and see a broken `ck.conv`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import convkit as ck
from convkit import nn, scenes
from convkit.catalogue import LANGUAGES, texts, using
from convkit.nn import segments, starts


def labels(value):
    if isinstance(value, scenes.Label):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from labels(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from labels(getattr(value, name))


@pytest.mark.parametrize("name", ["initialisation", "segment"])
def test_a_scene_that_trains_is_right_and_leaves_no_trace(name):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    steps = []
    report = scenes.run(scenes.find(name), lambda step, of, loss: steps.append((step, of)))
    assert report.ok, [(check.name, check.wanted, check.found) for check in report.checks]
    assert all(one <= of for one, of in steps)
    assert steps[-1][0] == steps[-1][1]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    for language in LANGUAGES:
        used = set()
        with using(language):
            checks = [report.scene.label(check) for check in report.checks]
            for label in [report.scene.title, report.scene.shows, *checks, *labels(list(report.outcome.figures))]:
                assert str(label)
                used.add(label.key)
        assert used == {key for key in texts(language) if key.startswith(f"scenes.{name}.")}


@pytest.mark.parametrize("damage", ["blind", "wrong"])
def test_a_broken_convolution_is_seen_by_segments(monkeypatch, damage):
    real = ck.conv

    def broken(x, *rest, **options):
        y = real(x, *rest, **options)
        if damage == "blind":
            return y * 0
        return y + 0.1 if not torch.is_tensor(y) else y  # the network's layer and the verb no longer agree

    monkeypatch.setattr(ck, "conv", broken)
    monkeypatch.setattr(nn, "learn_segments", lambda **options: segments.learn_segments(pictures=32, epochs=1), False)
    report = scenes.run(scenes.find("segment"))
    failed = {check.name for check in report.checks if not check.ok}
    assert ("mean" if damage == "blind" else "layer") in failed


def test_a_broken_convolution_is_seen_by_starts(monkeypatch):
    real = ck.conv
    monkeypatch.setattr(ck, "conv", lambda *arguments, **options: real(*arguments, **options) * 0)
    monkeypatch.setattr(nn, "compare_starts", lambda **options: starts.compare_starts(steps=3), False)
    report = scenes.run(scenes.find("initialisation"))
    assert {"he", "sizes-large", "sizes-he"} <= {check.name for check in report.checks if not check.ok}


def test_starts_repeat():
    one, two = (starts.compare_starts(steps=4, seed=5) for _ in range(2))
    assert list(one) == ["zero", "small", "large", "he"]
    for name in one:
        np.testing.assert_array_equal(one[name].losses, two[name].losses)
        assert one[name].accuracy == two[name].accuracy
    with np.errstate(invalid="ignore"):
        lost = np.flatnonzero(~np.isfinite(one["large"].losses))
    assert lost.size == 0 or np.isnan(one["large"].losses[lost[0] + 1 :]).all()


def test_drawings_show_what_their_labels_say():
    images, truth = segments.draw(40, np.random.default_rng(3))
    assert images.shape == truth.shape == (40, segments.SIDE, segments.SIDE)
    assert set(np.unique(truth)) == {0, 1, 2, 3}
    for image, label in zip(images, truth, strict=True):
        assert len(np.unique(label)) == 3  # background and two shapes
        ground = image[label == 0].mean()
        assert all(image[label == shape].mean() > ground + 0.3 for shape in np.unique(label)[1:])


def test_overlap():
    confusion = np.array([[8, 2], [1, 4]])
    empty = np.zeros(0)
    result = segments.Segmentation([], confusion, empty, empty, empty, empty, empty)
    np.testing.assert_allclose(result.overlaps, [8 / 11, 4 / 7])


def test_alone_restores_after_an_error():
    from convkit.nn.alone import alone

    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), alone(3):
        torch.rand(5).div_(1 // 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
