"""Layers of a recorded model that are done as one: which they are, the same bits as in steps, and that it is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import convkit as ck
from convkit import codegen
from convkit.catalogue import using
from convkit.nn.zoo.registry import build
from convkit.verbs import chains
from tests.nn.test_accelerate import settled

pytestmark = pytest.mark.skipif(codegen.why_not() is not None, reason="no kernel can be compiled here")


def block(inside: int, wide: int, outside: int, stride: int) -> nn.Sequential:
    """Widen, filter each channel, narrow."""
    return nn.Sequential(
        nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
        nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
        nn.Conv2d(wide, outside, 1, bias=False), nn.BatchNorm2d(outside),
    )  # fmt: skip


class Blocks(nn.Module):
    """A strided block, and one that its input is added to."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.down, self.same = block(9, 70, 14, 2), block(14, 84, 14, 1)
        self.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(x)
        return x + self.same(x)


def run(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """Recorded, and the accelerated model."""
    fast = ck.nn.accelerate(model)
    with torch.no_grad():
        found = [fast(x) for _ in range(3)]
    torch.testing.assert_close(found[0], found[2], rtol=1e-4, atol=1e-4)
    return found[2], fast


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 4])
def test_blocks_are_one_step_each(layout: Any, dtype: torch.dtype, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    model = settled(Blocks(dtype))
    x = torch.randn(batch, 9, 98, 90, dtype=dtype).contiguous(memory_format=layout)
    found, fast = run(model, x)
    assert fast.joined_layers(x) == [("down.0", "down.3", "down.6"), ("same.0", "same.3", "same.6")]
    monkeypatch.setattr(chains.BandStep, "of", classmethod(lambda *_: None))
    steps, apart = run(model, x)
    assert apart.joined_layers(x) == []
    assert torch.equal(found, steps)


class Both(nn.Module):
    """A block whose widened pictures go out as well."""

    def __init__(self) -> None:
        super().__init__()
        whole = block(8, 72, 12, 1)
        self.wide, self.rest = whole[:3], whole[3:]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        wide = self.wide(x)
        return wide, self.rest(wide)


def test_what_others_read_is_stored() -> None:
    model, x = settled(Both()), torch.randn(2, 8, 90, 92).contiguous(memory_format=torch.channels_last)
    fast = ck.nn.accelerate(model)
    with torch.no_grad():
        found, expected = [fast(x) for _ in range(3)][2], model(x)
    assert fast.joined_layers(x) == [("rest.3", "rest.6")]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    planes = x.contiguous()
    with torch.no_grad():
        later = [fast(planes) for _ in range(3)][2]
    assert fast.joined_layers(planes) == [], "its samples lie in planes"
    for ours, theirs in zip(later, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_mobilenet_is_done_so() -> None:
    torch.manual_seed(0)
    model, x = build("mobilenet_v2", classes=10, size=160, channels=3).eval(), torch.randn(1, 3, 160, 160)
    found, fast = run(model, x)
    groups = fast.joined_layers(x)
    assert [len(group) for group in groups[:3]] == [3, 3, 3]
    assert groups[0][0] == "features.0.0"
    with torch.no_grad():
        torch.testing.assert_close(found, model(x), rtol=1e-3, atol=1e-4)


def test_the_report_says_so() -> None:
    torch.manual_seed(3)
    model, x = settled(Blocks(torch.float32)), torch.randn(1, 9, 98, 90)
    fast = ck.nn.accelerate(model, x)
    together = fast.acceleration.together
    assert [len(names) for names in together] == [3, 3]
    for language, word in (("en", "a few rows at a time"), ("zh", "每次只算几行")):
        with using(language):
            assert word in str(fast.acceleration)
            assert " + ".join(together[0]) in str(fast.acceleration)
    assert fast.acceleration.check(model, x).within
