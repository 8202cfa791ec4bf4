"""The size algebra in both directions, each formula against counting by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit.errors import ShapeError
from convkit.oracle import direct
from convkit.spec import OUTSIDE, ConvSpec, index_map, sizes
from tests.oracle.strategies import Case, array_cases, lattice, network_cases

small = st.integers(1, 4)
pads = st.tuples(st.integers(0, 4), st.integers(0, 4))


def starts_that_fit(length: int, kernel: int, stride: int, dilation: int) -> list[int]:
    """Every start of a dilated kernel inside ``length`` positions, counted one by one."""
    return [
        start for start in range(0, length, stride) if all(0 <= start + dilation * j < length for j in range(kernel))
    ]


@lattice(300)
@given(st.integers(0, 20), st.integers(1, 6), small, small, pads)
def test_padded_size(size: int, kernel: int, stride: int, dilation: int, pad: tuple[int, int]) -> None:
    count = len(starts_that_fit(size + sum(pad), kernel, stride, dilation))
    answer = sizes.padded_size(size, kernel, stride, dilation, pad)
    assert answer.value == count
    if count:
        assert _worked_out(answer.numbers) == count


@lattice(200)
@given(st.integers(0, 20), st.integers(1, 6), small, small)
def test_full_size_counts_every_touch(size: int, kernel: int, stride: int, dilation: int) -> None:
    reach = dilation * (kernel - 1) + 1
    answer = sizes.full_size(size, kernel, stride, dilation)
    assert answer.value == len(range(0, size + reach - 1, stride))
    assert _worked_out(answer.numbers) == answer.value


@lattice(100)
@given(st.integers(0, 30), small)
def test_same_size_is_one_for_every_stride_th_input(size: int, stride: int) -> None:
    assert sizes.same_size(size, stride).value == len(range(0, size, stride))


@lattice(300)
@given(st.integers(1, 20), st.integers(1, 6), small, small)
def test_same_padding_is_the_least_that_gives_the_same_size(size: int, kernel: int, stride: int, dilation: int) -> None:
    before, after = sizes.same_padding(size, kernel, stride, dilation)
    count = -(-size // stride)
    assert after - before in (0, 1)
    fits = starts_that_fit(size + before + after, kernel, stride, dilation)
    assert len(fits) >= count
    if before + after > 0:
        assert len(starts_that_fit(size + before + after - 1, kernel, stride, dilation)) < count


@lattice(300)
@given(st.integers(1, 9), st.integers(1, 6), small, small, pads, st.integers(0, 3))
def test_transposed_size_undoes_padded_size(
    size: int, kernel: int, stride: int, dilation: int, pad: tuple[int, int], extra: int
) -> None:
    extra = min(extra, stride - 1)
    answer = sizes.transposed_size(size, kernel, stride, dilation, pad, extra)
    assert _worked_out(answer.numbers) == answer.value
    if answer.value >= 1:
        assert sizes.padded_size(answer.value, kernel, stride, dilation, pad).value == size
        stamped = (size - 1) * stride + dilation * (kernel - 1) + 1
        assert answer.value == len(range(stamped)) - sum(pad) + extra


@lattice(300)
@given(st.integers(1, 9), st.integers(1, 6), small, small, pads)
def test_input_sizes_are_all_that_give_the_output(
    output: int, kernel: int, stride: int, dilation: int, pad: tuple[int, int]
) -> None:
    least, most = sizes.input_sizes(output, kernel, stride, dilation, pad)
    found = [n for n in range(80) if len(starts_that_fit(n + sum(pad), kernel, stride, dilation)) == output]
    if found:
        assert (least.value, most.value) == (found[0], found[-1])
        assert _worked_out(most.numbers) == most.value
    else:
        # Padding alone gives more outputs than were asked for: no input is small enough.
        assert most.value < 0


def test_an_output_needs_a_sample() -> None:
    with pytest.raises(ShapeError) as caught:
        sizes.input_sizes(0, 3)
    assert caught.value.code == "shape.no-such-output"


@lattice(300)
@given(st.integers(1, 15), st.integers(1, 5), small, pads, st.sampled_from(("floor", "ceil")))
def test_pooled_size(size: int, window: int, stride: int, pad: tuple[int, int], rounding: str) -> None:
    padded = size + sum(pad)
    if window > padded:
        return
    starts = [start for start in range(0, padded + stride, stride) if start + window <= padded]
    if rounding == "ceil":
        following = starts[-1] + stride
        if starts[-1] + window < padded and following < size + pad[0]:
            starts.append(following)
    assert sizes.pooled_size(size, window, stride, pad, rounding).value == len(starts)


@lattice(100)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)), max_size=4))
def test_receptive_field_walks_back_through_the_layers(layers: list[tuple[int, int, int]]) -> None:
    seen = {0}
    for kernel, stride, dilation in reversed(layers):
        seen = {position * stride + dilation * j for position in seen for j in range(kernel)}
    field = sizes.receptive_field(layers)
    assert field.value == max(seen) - min(seen) + 1
    assert _worked_out(field.numbers) == field.value


def test_a_size_says_its_reason() -> None:
    assert str(sizes.padded_size(14, 5)) == (
        "floor((input + padding - (dilation*(kernel-1)+1)) / stride) + 1 = floor((14 + 0+0 - (1*(5-1)+1)) / 1) + 1 = 10"
    )


def _worked_out(numbers: str) -> int:
    from math import ceil, floor

    return eval(numbers, {"ceil": ceil, "floor": floor})


@lattice(200)
@given(array_cases(axes="never"))
def test_windows_stand_where_the_definition_says(case: Case) -> None:
    """The lowered geometry, kernel laid down reversed for a convolution, against the oracle's own formula."""
    spec = ConvSpec.of_arrays(case.x.ndim, case.operation, case.mode, **case.options)
    for axis, window in enumerate(spec.windows(case.x.shape, case.k.shape)):
        n, k = case.x.shape[axis], case.k.shape[axis]
        for o in range(window.count):
            for laid in range(k):
                element = k - 1 - laid if spec.flips else laid
                expected = direct.position(spec, axis, o, element, n, k)
                assert o * window.stride + window.start + laid * window.dilation == expected
        touched = [direct.position(spec, axis, o, j, n, k) for o in range(window.count) for j in range(k)]
        if touched:
            assert (window.first, window.last) == (min(touched), max(touched))
            assert window.span == max(touched) - min(touched) + 1
            assert window.inside == (min(touched) >= 0 and max(touched) < n)
        else:
            assert window.last == window.first - 1


@lattice(100)
@given(network_cases())
def test_network_windows_stand_where_the_definition_says(case: Case) -> None:
    rank = case.x.ndim - 2
    spec = ConvSpec.of_network(rank, **case.options)
    for axis, window in enumerate(spec.windows(case.x.shape[2:], case.k.shape[2:])):
        n, k = case.x.shape[2 + axis], case.k.shape[2 + axis]
        for o in range(window.count):
            for laid in range(k):
                element = k - 1 - laid if spec.flips else laid
                expected = direct.position(spec, axis, o, element, n, k)
                assert o * window.stride + window.start + laid * window.dilation == expected


@lattice(100)
@given(network_cases(direction="transposed"))
def test_transposed_windows_gather_what_stamping_scatters(case: Case) -> None:
    rank = case.x.ndim - 2
    spec = ConvSpec.of_network(rank, direction="transposed", **case.options)
    for axis, window in enumerate(spec.windows(case.x.shape[2:], case.k.shape[2:])):
        n, k = case.x.shape[2 + axis], case.k.shape[2 + axis]
        s, d, before = spec.stride[axis], spec.dilation[axis], spec.padding[axis][0]
        stamped = {
            (i * s + d * (k - 1 - j if case.options["operation"] == "convolution" else j) - before, i, j)
            for i in range(n)
            for j in range(k)
        }
        gathered = set()
        for o in range(window.count):
            for laid in range(k):
                place = o * window.stride + window.start + laid * window.dilation
                if place % window.up == 0 and 0 <= place // window.up < n:
                    gathered.add((o, place // window.up, k - 1 - laid if spec.flips else laid))
        assert gathered == {(o, i, j) for o, i, j in stamped if 0 <= o < window.count}


@lattice(100)
@given(array_cases(axes="never"))
def test_adjoint_windows(case: Case) -> None:
    """The windows that carry gradients back join the same outputs, positions and elements."""
    spec = ConvSpec.of_arrays(case.x.ndim, case.operation, case.mode, **case.options)
    for window in spec.windows(case.x.shape, case.k.shape):
        forward = {
            (o, o * window.stride + window.start + j * window.dilation, j)
            for o in range(window.count)
            for j in range(window.kernel)
        }
        first, count = window.extension
        # Positions that nothing stands at are left out; those that a sample stands at are all there.
        held = range(first, first + count)
        sources = index_map(window.first, window.span, window.size, window.sides)
        assert all(window.first + p in held for p, source in enumerate(sources) if source != OUTSIDE)
        back = window.input_adjoint()
        found = set()
        for p in range(count):
            for laid in range(back.kernel):
                place = p * back.stride + back.start + laid * back.dilation
                if place % back.up == 0 and 0 <= place // back.up < back.size:
                    found.add((place // back.up, first + p, back.kernel - 1 - laid))
        assert found == {(o, p, j) for o, p, j in forward if p in held}
        kernel = window.kernel_adjoint()
        found = {
            (i, j * kernel.stride + kernel.start + i * kernel.dilation, j)
            for j in range(kernel.count)
            for i in range(kernel.kernel)
        }
        assert found == forward
