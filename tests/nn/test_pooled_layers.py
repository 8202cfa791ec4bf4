"""Max-pooling in the stores of the layer before it: the same bits as in steps, and nothing of the layer's own size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from convkit import nn as knn
from convkit.planner.plan import plan_for
from convkit.planner.problem import Problem
from convkit.spec.epilogue import Epilogue
from convkit.spec.window import Window
from convkit.verbs import chains


class Model(nn.Module):
    """A layer, what follows it, and another layer."""

    def __init__(self, channels: int, activation: nn.Module, pool: nn.Module, dtype: torch.dtype, bias: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(16, channels, 3, padding=1, bias=bias, dtype=dtype)
        self.activation, self.pool = activation, pool
        self.second = nn.Conv2d(channels, 24, 1, dtype=dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.pool(self.activation(self.first(x))))


def three_times(model: nn.Module, x: torch.Tensor) -> tuple[list[torch.Tensor], Any]:
    """In steps, when the inputs' kind is seen again, and from the record."""
    fast = knn.accelerate(model.eval())
    with torch.no_grad():
        return [fast(x) for _ in range(3)], fast


POOLS = {2: nn.MaxPool2d(2), 4: nn.MaxPool2d(4, 4)}


@pytest.mark.parametrize("size", POOLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [16, 33])
def test_bits_are_those_of_steps(size: int, dtype: torch.dtype, layout: Any, channels: int) -> None:
    torch.manual_seed(channels)
    model = Model(channels, nn.GELU(), POOLS[size], dtype, channels == 33)
    x = torch.randn(2, 16, 37, 50, dtype=dtype).contiguous(memory_format=layout)
    found, fast = three_times(model, x)
    assert fast.pooled_layers(x) == {"first"}
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    exact = model.double()(x.double())
    assert torch.allclose(found[2].double(), exact, atol=1e-5)


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(3, 2), nn.MaxPool2d(2, 2, 1), nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2),
             nn.MaxPool2d((2, 4)), nn.MaxPool2d(3)]
)  # fmt: skip
def test_other_poolings_stay_steps(pool: nn.Module) -> None:
    torch.manual_seed(0)
    model, x = Model(24, nn.ReLU(), pool, torch.float32, True), torch.randn(1, 16, 41, 36)
    found, fast = three_times(model, x)
    assert fast.pooled_layers(x) == set()
    assert torch.allclose(found[0], found[2], atol=1e-6)


class Shared(nn.Module):
    """What is pooled is read once more."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 8, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.first(x)
        return self.second(nn.functional.max_pool2d(y, 2)), self.second(y)


def test_what_others_read_is_stored() -> None:
    torch.manual_seed(0)
    model, x = Shared(), torch.randn(1, 16, 40, 40)
    found, fast = three_times(model, x)
    assert fast.pooled_layers(x) == set()
    for ours, exact in zip(found[2], model(x), strict=True):  # type: ignore[arg-type]
        assert torch.allclose(ours, exact, atol=1e-5)


def test_nothing_as_large_as_what_is_pooled_is_kept() -> None:
    torch.manual_seed(0)
    model, x = Model(32, nn.ReLU(), nn.MaxPool2d(2), torch.float32, True), torch.randn(1, 16, 96, 96)
    sizes: list[int] = []
    for joined in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not joined:
                patch.setattr(chains.PooledStep, "of", classmethod(lambda *_: None))
            made: list[int] = []
            places = chains._places
            patch.setattr(chains, "_places", lambda *given: made.append((found := places(*given))[1]) or found)  # noqa: B023
            three_times(model, x)
            sizes.append(max(made))
    assert sizes[0] == 32 * 48 * 48 * 4
    assert sizes[1] == 32 * (48 * 48 + 96 * 96) * 4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_the_largest_as_in_torch(value: float) -> None:
    torch.manual_seed(0)
    model, x = Model(24, nn.ReLU(), nn.MaxPool2d(2), torch.float32, True), torch.randn(1, 16, 40, 44)
    fast = knn.accelerate(model.eval())
    with torch.no_grad():
        for _ in range(3):
            fast(x)
        assert fast.pooled_layers(x) == {"first"}
        x[0, 3, 17, 20] = value
        found, exact = fast(x), model(x)
    assert torch.equal(found.isnan(), exact.isnan())
    assert torch.allclose(found, exact, atol=1e-4, equal_nan=True)


def test_the_report_names_it() -> None:
    torch.manual_seed(0)
    model, x = Model(24, nn.ReLU(), nn.MaxPool2d(2), torch.float32, True).eval(), torch.randn(1, 16, 40, 44)
    fast = knn.accelerate(model, x)
    first, second = fast.acceleration.layers
    assert (first.folded, second.folded) == (("relu", "max-pool"), ())
    assert "relu + max-pool" in str(fast.acceleration)
    assert fast.acceleration.check(model, x).within


def test_plans_pool_where_tiles_hold_whole_windows() -> None:
    windows = (Window(24, 3, 24, -1), Window(20, 3, 20, -1))
    problem = Problem(
        windows, in_channels=16, out_channels=24, input_dtype="float32", kernel_dtype="float32",
        compute_dtype="float32", epilogue=Epilogue(True, False, "relu"),
    )  # fmt: skip
    four, two, gemm = (plan_for(problem, name) for name in ("winograd-4", "winograd-2", "implicit-gemm"))
    pooled = four.pooled((2, 2))
    assert pooled is not None
    assert pooled.problem.output_shape == (1, 1, 24, 12, 10)
    assert (two.pooled((2, 2)) is None, two.pooled((4, 4)) is None, four.pooled((4, 4)) is None) == (False, True, False)
    assert [four.pooled(size) for size in ((3, 3), (2, 4), (1, 1))] == [None] * 3
    assert gemm.pooled((2, 2)) is None
    added = plan_for(problem.derive(epilogue=Epilogue(True, True, "relu")), "winograd-4")
    assert added.pooled((2, 2)) is None
