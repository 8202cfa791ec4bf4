"""Boundary index maps against numpy.pad: long pads, one side, arrays of one sample."""

from __future__ import annotations

import numpy as np
import pytest

from convkit.spec import OUTSIDE, ConvSpec, index_map, source_index
from convkit.spec.options import BOUNDARIES

REPEATING = [name for name in BOUNDARIES if name not in ("zero", "constant")]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 0), (0, 5), (1, 2), (23, 31)])
@pytest.mark.parametrize("name", REPEATING)
def test_index_map_is_numpy_pad_of_the_indices(name: str, size: int, before: int, after: int) -> None:
    expected = np.pad(np.arange(size), (before, after), mode=name)
    assert index_map(-before, before + size + after, size, (name, name)) == expected.tolist()


@pytest.mark.parametrize("name", ["zero", "constant"])
@pytest.mark.parametrize("size", [0, 1, 3])
def test_nothing_stands_outside(name: str, size: int) -> None:
    assert index_map(-2, size + 5, size, (name, name)) == [OUTSIDE] * 2 + list(range(size)) + [OUTSIDE] * 3


@pytest.mark.parametrize("before", BOUNDARIES)
@pytest.mark.parametrize("after", BOUNDARIES)
def test_each_side_follows_its_own_boundary(before: str, after: str) -> None:
    size = 3
    whole = {name: index_map(-8, 8 + size + 8, size, (name, name)) for name in BOUNDARIES}
    assert index_map(-8, 8 + size + 8, size, (before, after)) == (
        whole[before][:8] + [0, 1, 2] + whole[after][8 + size :]
    )


@pytest.mark.parametrize("name", REPEATING)
def test_an_empty_array_has_nothing_to_repeat(name: str) -> None:
    assert source_index(-1, 0, name) == source_index(4, 0, name) == OUTSIDE


@pytest.mark.parametrize(
    ("given", "rank", "spread"),
    [
        ("edge", 2, (("edge", "edge"),) * 2),
        (("edge", "wrap"), 2, (("edge", "edge"), ("wrap", "wrap"))),
        ((("edge", "wrap"), "zero"), 2, (("edge", "wrap"), ("zero", "zero"))),
        (("edge", "wrap"), 1, (("edge", "wrap"),)),
        ((("edge", "wrap"),), 1, (("edge", "wrap"),)),
        (["reflect"], 1, (("reflect", "reflect"),)),
    ],
)
def test_how_a_boundary_is_written(given: object, rank: int, spread: tuple) -> None:
    assert ConvSpec.of_arrays(rank, boundary=given).boundary == spread


@pytest.mark.parametrize(
    ("operation", "expected"), [("convolution", [0, 0, 1, 1, 2]), ("correlation", [0, 1, 1, 2, 2])]
)
def test_default_anchors(operation: str, expected: list[int]) -> None:
    spec = ConvSpec.of_arrays(1, operation, "same")
    assert [spec.anchor_of(0, k) for k in range(1, 6)] == expected


def test_anchors_are_for_each_axis() -> None:
    spec = ConvSpec.of_arrays(3, "convolution", "same", anchor=(3, None, 0))
    assert [spec.anchor_of(axis, 5) for axis in range(3)] == [3, 2, 0]
    spec = ConvSpec.of_arrays(2, "correlation", "same", anchor=1)
    assert [spec.anchor_of(axis, 4) for axis in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("given", "rank", "pairs"),
    [
        (2, 2, ((2, 2), (2, 2))),
        ((1, 2), 2, ((1, 1), (2, 2))),
        (((1, 0), (0, 3)), 2, ((1, 0), (0, 3))),
        (((1, 0), 4), 2, ((1, 0), (4, 4))),
        ("valid", 2, ((0, 0), (0, 0))),
    ],
)
def test_how_padding_is_written(given: object, rank: int, pairs: tuple) -> None:
    assert ConvSpec.of_network(rank, padding=given).padding == pairs


def test_a_spec_is_hashable_and_frozen() -> None:
    one = ConvSpec.of_arrays(2, mode="same", boundary=["edge", "wrap"], stride=[1, 2], anchor=[0, 1])
    two = ConvSpec.of_arrays(2, mode="same", boundary=("edge", "wrap"), stride=(1, 2), anchor=(0, 1))
    assert one == two
    assert hash(one) == hash(two)
    with pytest.raises(AttributeError):
        one.rank = 3  # type: ignore[misc]
