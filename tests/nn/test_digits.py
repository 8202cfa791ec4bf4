"""The digits scene: a network on `ck.conv` reads held-out digits, and a broken `ck.conv` is seen."""

from __future__ import annotations

import pytest
import torch

import convkit as ck
from convkit import scenes
from convkit.catalogue import LANGUAGES, using
from convkit.scenes import networks_digits


def test_the_network_reads_held_out_digits():
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    steps = []
    report = scenes.run(scenes.find("digits"), lambda step, of, loss: steps.append((step, of)))
    checks = {check.name: check for check in report.checks}
    assert report.ok, [(check.name, check.wanted, check.found) for check in report.checks]
    assert checks["accuracy"].got >= 0.985
    assert checks["held-out"].got == 355
    assert steps[-1] == (240, 240)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    for language in LANGUAGES:
        with using(language):
            labels = [report.scene.label(check) for check in report.checks]
            assert all(map(str, [*labels, *(figure.caption for figure in report.outcome.figures)]))


@pytest.mark.parametrize("damage", ["blind", "wrong"])
def test_a_broken_convolution_is_seen(monkeypatch, damage):
    real = ck.conv

    def broken(x, *rest, **options):
        y = real(x, *rest, **options)
        if damage == "blind":
            return y * 0
        return y + 0.1 if not torch.is_tensor(y) else y  # the network's layer and the verb no longer agree

    monkeypatch.setattr(networks_digits, "EPOCHS", 1)
    monkeypatch.setattr(ck, "conv", broken)
    report = scenes.run(scenes.find("digits"))
    failed = {check.name for check in report.checks if not check.ok}
    assert ("accuracy" if damage == "blind" else "layer") in failed
