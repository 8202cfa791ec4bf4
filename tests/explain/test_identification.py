"""Whatever convention made y is found again; ties are admitted; near misses and public mix-ups are named."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convkit as ck
from convkit.catalogue import using
from convkit.errors import ConvError
from convkit.explain import identify
from convkit.explain.values import compute
from convkit.spec import ConvSpec
from tests.explain.peers import asymmetric, run

# vdumoulin/conv_arithmetic, issue 17: padding 1 and stride 2 were announced
ARITHMETIC_X = [[2, 2, 3, 3, 3], [0, 1, 3, 0, 3], [2, 3, 0, 1, 3], [3, 3, 2, 1, 2], [3, 3, 0, 2, 3]]
ARITHMETIC_K = [[2, 0, 1], [1, 0, 0], [0, 1, 1]]


def keys(identification) -> list[str]:
    return [finding.key.removeprefix("identify.") for finding in identification.findings]


def test_a_stride_that_was_announced_and_not_made() -> None:
    printed = [[1, 6, 5], [7, 10, 9], [7, 10, 8]]
    found = identify(ARITHMETIC_X, ARITHMETIC_K, printed)
    assert keys(found) == ["cropped-like-stride"]
    assert "stride 2 with the same padding gives [[1, 5, 6], [7, 8, 3], [3, 10, 4]]" in found.text()
    claimed = identify(
        ARITHMETIC_X, ARITHMETIC_K, printed, claimed=ConvSpec.of_arrays(2, "correlation", "same", stride=2)
    )
    assert keys(claimed)[:3] == ["not-claimed", "stride-cropped", "cells"]
    right = identify(ARITHMETIC_X, ARITHMETIC_K, [[1, 5, 6], [7, 8, 3], [3, 10, 4]])
    assert [match.codes[0] for match in right.matches] == ["ck.correlate(x, k, mode='same', stride=2)"]
    assert any("padding=1, stride=2" in (call.code or "") for call in right.matches[0].calls())


def test_an_output_that_belongs_to_another_input() -> None:
    # SciPy issue 14369: the output expected there belongs to a last row of 7 8 9; 6 7 8 was typed
    k, y = [[1, 1], [2, 2]], [[21, 27], [39, 45]]
    meant = identify([[1, 2, 3], [4, 5, 6], [7, 8, 9]], k, y)
    assert [match.codes[0] for match in meant.matches] == ["ck.correlate(x, k, mode='valid')"]
    typed = identify([[1, 2, 3], [4, 5, 6], [6, 7, 8]], k, y)
    assert typed.found == "none"
    assert keys(typed) == ["few-cells"]
    assert "ck.correlate(x, k, mode='valid')" in typed.text()
    assert "should be 35, 41" in typed.text()


def test_a_circle_that_was_cut() -> None:
    cut = identify([1, 2, 3, 4], [1, 1, 1, 0], [1, 3, 6, 9])
    assert "truncated" in keys(cut)
    assert "the circular one is [8, 7, 6, 9]" in cut.text()
    assert "ck.convolve(x, k, mode='same', anchor=0)" in [code for match in cut.matches for code in match.codes]
    circular = identify([1, 2, 3, 4], [1, 1, 1, 0], [8, 7, 6, 9])
    assert "truncated" not in keys(circular)
    assert all("boundary='wrap'" in code for match in circular.matches for code in match.codes)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_round_trip_of_arrays(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 2))
    shape = tuple(data.draw(st.integers(5, 8)) for _ in range(rank))
    kernel = tuple(data.draw(st.integers(1, 4)) for _ in range(rank))
    mode = data.draw(st.sampled_from(["full", "same", "valid"]))
    dilation = tuple(data.draw(st.sampled_from([1, 1, 2])) for _ in range(rank))
    if mode == "valid":
        dilation = tuple(1 if 2 * (k - 1) + 1 > n else d for k, n, d in zip(kernel, shape, dilation))
    names = st.sampled_from(["zero", "edge", "reflect", "symmetric", "wrap"])
    boundary = data.draw(st.one_of(names, st.tuples(*[names] * rank)))
    spec = ConvSpec.of_arrays(
        rank, data.draw(st.sampled_from(["convolution", "correlation"])), mode,
        boundary=boundary if rank > 1 or isinstance(boundary, str) else boundary[0],
        stride=tuple(data.draw(st.integers(1, 3)) for _ in range(rank)), dilation=dilation,
        anchor=tuple(data.draw(st.integers(0, n - 1)) for n in kernel) if mode == "same" else None,
    )  # fmt: skip
    exact = data.draw(st.booleans())
    x, k = asymmetric(shape, 3), asymmetric(kernel, 4)
    x, k = (x.astype(int), k.astype(int)) if exact else (x / 7, k / 3)
    found = identify(x, k, compute(spec, x, k))
    assert found.holds(spec, x.shape, k.shape) == "yes"
    assert found.found != "none" or found.far_fetched
    assert (found.tolerance == 0) == exact


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_round_trip_of_networks(data: st.DataObject) -> None:
    groups, direction = data.draw(st.sampled_from([1, 2])), data.draw(st.sampled_from(["forward", "transposed"]))
    stride, padding = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 1))
    options = {"output_padding": stride - 1} if direction == "transposed" and data.draw(st.booleans()) else {}
    spec = ConvSpec.of_network(
        1, data.draw(st.sampled_from(["correlation", "convolution"])),
        direction=direction, stride=stride, padding=padding, groups=groups, **options,
    )  # fmt: skip
    x, w = asymmetric((2, 2 * groups, 8), 1).astype(int), asymmetric((2 * groups, 2, 3), 2).astype(int)
    found = identify(x, w, compute(spec, x, w))
    assert found.holds(spec, x.shape, w.shape) == "yes"
    assert any(code.startswith("ck.conv") for match in found.matches for code in match.codes)


@pytest.mark.parametrize("stride", [2, 3])
def test_plain_arrays_transposed(stride: int) -> None:
    x, k = asymmetric((5,)), asymmetric((4,), 1)
    y = ck.conv_transpose(x[None, None], k[None, None], stride=stride)[0, 0]
    best = identify(x, k, y).matches[0]
    assert best.codes[0] == f"ck.conv_transpose(x[None, None], k[None, None], stride={stride})[0, 0]"
    np.testing.assert_array_equal(run("convkit", best.codes[0], x=x, k=k), y)


def test_every_way_of_saying_a_match_gives_y() -> None:
    x, k = asymmetric((7, 6)).astype(int), asymmetric((3, 2), 1).astype(int)
    y = ck.correlate(x, k, "same", boundary="symmetric")
    match = identify(x, k, y).matches[0]
    said = {"scipy.ndimage", "scipy.signal", "opencv"} & {call.library for call in match.calls()}
    assert {"scipy.ndimage", "opencv"} <= said
    assert "scipy.ndimage.correlate(x, k, mode='reflect')" in [call.code for call in match.calls()]
    for code in match.codes:
        np.testing.assert_array_equal(run("convkit", code, x=x, k=k), y)
    for call in match.calls():
        if call.library != "matlab":
            arrays = {"x": x.astype(float), "k": k.astype(float)}
            np.testing.assert_allclose(run(call.library, call.code or "", **arrays), y)


def test_symmetric_kernels_hide_the_flip() -> None:
    found = identify([3, 1, 4, 1, 5, 9, 2], [1, 2, 1], ck.convolve([3, 1, 4, 1, 5, 9, 2], [1, 2, 1], "same"))
    assert "symmetric" in keys(found)
    assert {code.split("(")[0] for code in found.matches[0].codes} == {"ck.convolve", "ck.correlate"}
    assert found.found == "one"


def test_fractions_are_compared_exactly() -> None:
    x = np.array([Fraction(n, 7) for n in (3, 1, 4, 1, 5)], object)
    k = np.array([Fraction(1, 3), Fraction(2, 5)], object)
    y = ck.convolve(x, k)
    assert identify(x, k, y).matches[0].codes == ["ck.convolve(x, k, mode='full')"]
    y[2] += Fraction(1, 10**30)
    assert identify(x, k, y).found == "none"


def test_large_integers_are_compared_exactly() -> None:
    x, k = np.array([2**40, 1, 2**41 + 1]), np.array([2**40 + 3, 5])
    y = np.array([int(a) for a in np.convolve(x.astype(object), k.astype(object))], object)
    assert identify(x, k, y).matches[0].codes == ["ck.convolve(x, k, mode='full')"]
    assert identify(x, k, y + np.array([0, 0, 1, 0])).found == "none"


def test_a_complex_kernel_tells_whether_it_was_conjugated() -> None:
    x, k = asymmetric((7,)) + 1j * asymmetric((7,), 5), asymmetric((3,), 1) + 2j * asymmetric((3,), 6)
    conjugated = identify(x, k, ck.correlate(x, k, "valid"))
    assert conjugated.matches[0].codes == ["ck.correlate(x, k, mode='valid')"]
    plain = identify(x, k, ck.correlate(x, np.conj(k), "valid"), claimed="ck.correlate(x, k, mode='valid')")
    assert "forgot-conjugate" in keys(plain)


@pytest.mark.parametrize(
    ("make", "claimed", "key"),
    [
        (lambda x, k: ck.correlate(x, k, "valid"), "ck.convolve(x, k, mode='valid')", "forgot-flip"),
        (lambda x, k: ck.convolve(x, k, "valid"), "ck.correlate(x, k, mode='valid')", "flipped"),
        (lambda x, k: ck.convolve(x, k, "same", boundary="edge"), "ck.convolve(x, k, mode='same')", "wrong-boundary"),
        (lambda x, k: ck.convolve(x, k, "same", anchor=0), "ck.convolve(x, k, mode='same')", "shifted"),
        (lambda x, k: ck.convolve(x, k, "valid", dilation=2), "ck.convolve(x, k, mode='valid')", "other-dilation"),
        (lambda x, k: ck.convolve(x, k, "same"), "ck.convolve(x, k, mode='same')", "as-claimed"),
    ],
)
@pytest.mark.parametrize("rank", [1, 2])
def test_what_was_claimed_and_what_was_done(rank: int, make, claimed: str, key: str) -> None:
    x, k = 50 + asymmetric((9, 8)[:rank]).astype(int), asymmetric((3, 4)[:rank], 1).astype(int)
    found = identify(x, k, make(x, k), claimed=claimed)
    assert key in keys(found)
    assert found.found == "one"


@pytest.mark.parametrize(
    ("spoil", "key", "words"),
    [
        (lambda y: y + 5, "offset", "plus 5"),
        (lambda y: y * 3, "scaled", "times 3"),
        (lambda y: y % 256, "wrapped", "uint8"),
        (lambda y: np.clip(y, 0, 255), "saturated", "saturated"),
        (lambda y: y + (np.arange(y.size).reshape(y.shape) == 3), "few-cells", "a slip"),
    ],
)
def test_near_misses(spoil, key: str, words: str) -> None:
    x, k = np.abs(asymmetric((7, 6))).astype(int) * 3, asymmetric((3, 2), 1).astype(int) * 2
    found = identify(x, k, spoil(ck.convolve(x, k, "same")))
    assert found.found == "none"
    assert keys(found) == [key]
    assert words in found.text()
    assert "ck.convolve(x, k, mode='same')" in found.text()


def test_a_normalised_kernel() -> None:
    x, k = asymmetric((7, 6)), np.array([[1.0, 2, 3], [4, 5, 7]])
    found = identify(x, k, ck.convolve(x, k / k.sum(), "same"))
    assert keys(found) == ["normalised"]
    assert "divided by its sum 22" in found.text()


@pytest.mark.parametrize(
    ("rounding", "key"), [(np.rint, "rounded-rint"), (np.trunc, "rounded-trunc"), (np.floor, "rounded-floor")]
)
def test_rounded_results(rounding, key: str) -> None:
    x, k = asymmetric((8,)), np.array([0.31, 0.24, -0.17])
    assert keys(identify(x, k, rounding(ck.convolve(x, k, "same")))) == [key]


def test_a_border_of_unknown_kind() -> None:
    x, k = asymmetric((9, 8)).astype(int), asymmetric((3, 3), 1).astype(int)
    y = ck.convolve(x, k, "same")
    y[0], y[-1], y[:, 0], y[:, -1] = 77, 78, 79, 80
    assert "border-only" in keys(identify(x, k, y))


def test_a_constant_beyond_the_edge_is_found() -> None:
    x, k = asymmetric((9,)).astype(int), asymmetric((4,), 1).astype(int)
    found = identify(x, k, ck.convolve(x, k, "same", boundary="constant", fill=-7))
    assert found.matches[0].codes[0] == "ck.convolve(x, k, mode='same', boundary='constant', fill=-7)"


def test_axes_that_were_exchanged_or_flipped_by_halves() -> None:
    x, k = asymmetric((7, 6)).astype(int), asymmetric((3, 4), 1).astype(int)
    assert keys(identify(x, k, ck.convolve(x, k, "same").T)) == ["output-transposed"]
    assert keys(identify(x, k, ck.convolve(x, k.T, "same"))) == ["kernel-transposed"]
    assert keys(identify(x, k, ck.convolve(x, k[::-1], "same"))) == ["partly-flipped"]


def test_a_circle_of_another_length() -> None:
    x, k = np.array([3, 1, 4, 1, 5]), np.array([2, 7, 1, 8])
    y = np.rint(np.fft.ifft(np.fft.fft(x, 6) * np.fft.fft(k, 6)).real).astype(int)
    found = identify(x, k, y)
    assert keys(found) == ["circular-length"]
    assert "length 6" in found.text()


def test_noise_is_not_taken_for_anything() -> None:
    rng = np.random.default_rng(5)
    found = identify(asymmetric((8, 7)), asymmetric((3, 3), 1), rng.standard_normal((8, 7)))
    assert found.found == "none"
    assert keys(found) == ["nothing-near"]


def test_nothing_can_be_told_from_zeros() -> None:
    assert keys(identify([0, 0, 0], [1, 2], [0, 0, 0, 0])) == ["zero-input"]


def test_the_answer_is_plain_data_too() -> None:
    found = identify([1, 2, 3, 4, 5, 6], [1, 2, 3], [14, 20, 26, 32])
    data = found.to_dict()
    assert data["found"] == "one"
    assert data["tolerance"] == 0
    assert data["matches"][0]["codes"] == ["ck.correlate(x, k, mode='valid')"]
    assert {"library": "numpy", "code": "np.correlate(x, k, mode='valid')"} in data["matches"][0]["calls"]
    with using("zh"):
        assert "任意（没有窗口超出数组）" in found.text()
        assert "any (" not in found.text()


@pytest.mark.parametrize("arrays", [([1, 2], [[1]], [1, 2]), ([1, 2], [], [1]), (1, 2, 3)])
def test_arrays_that_do_not_go_together(arrays) -> None:
    with pytest.raises(ConvError) as caught:
        identify(*arrays)
    assert caught.value.code == "shape.cannot-identify"
    assert "equally many axes" in str(caught.value)
    assert "轴数相同" in caught.value.text("zh")
