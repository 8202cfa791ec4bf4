"""Every call that is emitted for a spec is run in its library and compared with our own result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.explain.values import compute
from convkit.explain.writing import convkit_code, write, write_all
from convkit.spec import ConvSpec
from convkit.spec.dialects import LIBRARIES
from convkit.spec.options import BOUNDARIES
from tests.explain.peers import RUNNABLE, TENSORFLOW, asymmetric, run

SIZES = {1: (9,), 2: (8, 7), 3: (6, 5, 7)}
KERNELS = {1: [(3,), (4,)], 2: [(3, 4), (2, 3), (3, 5)], 3: [(2, 3, 2)]}


def assert_all_agree(spec: ConvSpec, x: np.ndarray, k: np.ndarray, known: str, **names: np.ndarray) -> set[str]:
    """Run every emitted call; returns the libraries that had words."""
    lead = 0 if spec.mode is not None else 2
    expected = compute(spec, x, k, names.get("b"))
    shapes = {"kernel_shape": k.shape[lead:], "input_shape": x.shape[lead:]} if known == "sizes" else {}
    bias = "b" if "b" in names else None
    said: set[str] = set()
    for written in write_all(spec, bias=bias, **shapes):
        assert (written.code is None) != (written.reason is None)
        if written.code is None or written.library not in RUNNABLE:
            continue
        # what a note restricts is run only where its condition holds; with sizes known there is a reason instead
        restricted = any(note.key in ("note.short-pads", "note.convolve2d-fit") for note in written.notes)
        if restricted and any(n <= size for n, size in zip(x.shape[lead:], k.shape[lead:])):
            continue
        if any(note.key == "note.odd-only" for note in written.notes) and any(n % 2 == 0 for n in k.shape):
            continue
        if any(note.key == "note.onnx-evaluator" for note in written.notes):
            continue  # onnx.reference raises on its own grouped ConvTranspose
        result = run(written.library, written.code, x=x, **({"k": k} if lead == 0 else {"w": k}), **names)
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9, err_msg=f"{written.library}: {written.code}")
        said.add(written.library)
    np.testing.assert_array_equal(run("convkit", convkit_code(spec, bias=bias), x=x, k=k, w=k, **names), expected)
    return said


@pytest.mark.parametrize("known", ["sizes", "symbols"])
@pytest.mark.parametrize("operation", ["convolution", "correlation"])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_modes(rank: int, mode: str, operation: str, known: str) -> None:
    for kernel in KERNELS[rank]:
        spec = ConvSpec.of_arrays(rank, operation, mode)
        said = assert_all_agree(spec, asymmetric(SIZES[rank]), asymmetric(kernel, 1), known)
        assert {"scipy.signal", "torch", "onnx", *TENSORFLOW} <= said
        assert ("numpy" in said) == (rank == 1)
        assert ("scipy.ndimage" in said) == (mode == "same")
        assert ("opencv" in said) == (mode == "same" and rank == 2)


@pytest.mark.parametrize("known", ["sizes", "symbols"])
@pytest.mark.parametrize("boundary", [name for name in BOUNDARIES if name != "zero"])
@pytest.mark.parametrize("operation", ["convolution", "correlation"])
@pytest.mark.parametrize("rank", [1, 2])
def test_boundaries(rank: int, operation: str, boundary: str, known: str) -> None:
    for kernel in KERNELS[rank]:
        for mode in ("same", "full"):
            spec = ConvSpec.of_arrays(rank, operation, mode, boundary=boundary, fill=2.5)
            said = assert_all_agree(spec, asymmetric(SIZES[rank]), asymmetric(kernel, 1), known)
            assert "scipy.signal" in said
            assert ("scipy.ndimage" in said) == (mode == "same")


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_spec_of_arrays(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 2), label="rank")
    kernel = tuple(data.draw(st.integers(1, 5)) for _ in range(rank))
    mode = data.draw(st.sampled_from(["full", "same", "valid"]))
    names = st.sampled_from(BOUNDARIES)
    boundary = data.draw(st.one_of(names, st.tuples(*[names] * rank), st.tuples(*[st.tuples(names, names)] * rank)))
    spec = ConvSpec.of_arrays(
        rank,
        data.draw(st.sampled_from(["convolution", "correlation"])),
        mode,
        boundary=boundary,
        fill=data.draw(st.sampled_from([0, 3])),
        stride=tuple(data.draw(st.integers(1, 3)) for _ in range(rank)),
        dilation=tuple(data.draw(st.sampled_from([1, 1, 2])) for _ in range(rank)),
        anchor=tuple(data.draw(st.integers(0, n - 1)) for n in kernel)
        if mode == "same" and data.draw(st.booleans())
        else None,
    )
    assert_all_agree(
        spec, asymmetric((11, 12)[:rank]), asymmetric(kernel, 1), data.draw(st.sampled_from(["sizes", "symbols"]))
    )


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_spec_of_networks(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3), label="rank")
    groups = data.draw(st.sampled_from([1, 2]))
    direction = data.draw(st.sampled_from(["forward", "transposed"]))
    kernel = tuple(data.draw(st.integers(1, 4)) for _ in range(rank))
    stride = tuple(data.draw(st.integers(1, 3)) for _ in range(rank))
    pads = tuple(
        data.draw(st.one_of(st.just((1, 1)), st.just((0, 0)), st.tuples(st.integers(0, 2), st.integers(0, 2))))
        for _ in range(rank)
    )
    options: dict = {"stride": stride, "groups": groups}
    if direction == "forward":
        options["padding"] = data.draw(st.sampled_from(["same", pads, 1]))
        options["dilation"] = data.draw(st.sampled_from([1, 2]))
        options["boundary"] = data.draw(st.sampled_from(["zero", "reflect", "constant"]))
        options["fill"] = 2
    else:
        options["padding"] = tuple((b, b) for b, _ in pads) if data.draw(st.booleans()) else 0
        options["output_padding"] = tuple(s - 1 for s in stride) if data.draw(st.booleans()) else 0
    operation = data.draw(st.sampled_from(["correlation", "convolution"]))
    spec = ConvSpec.of_network(rank, operation, direction=direction, **options)
    x = asymmetric((2, 2 * groups, *(9, 8, 7)[:rank]))
    w = asymmetric((2 * groups, 3 if direction == "transposed" else 2, *kernel), 1)
    outs = w.shape[1] * groups if direction == "transposed" else w.shape[0]
    bias = {"b": asymmetric((outs,), 2)} if data.draw(st.booleans()) else {}
    assert_all_agree(spec, x, w, data.draw(st.sampled_from(["sizes", "symbols"])), **bias)


def test_complex_kernels_are_conjugated_where_the_library_does() -> None:
    x = asymmetric((6, 7)) + 1j * asymmetric((6, 7), 2)
    k = asymmetric((3, 2), 1) - 2j * asymmetric((3, 2), 3)
    spec = ConvSpec.of_arrays(2, "correlation", "same", boundary="wrap")
    expected = compute(spec, x, k)
    for library in ("scipy.signal", "scipy.ndimage"):
        written = write(spec, library, kernel_shape=k.shape, input_shape=x.shape)
        np.testing.assert_allclose(run(library, written.code or "", x=x, k=k), expected, rtol=1e-12)
    assert "note.real-only" in [note.key for note in write(spec, "torch").notes]


@pytest.mark.parametrize(
    ("spec", "library", "reason"),
    [
        (ConvSpec.of_arrays(2), "numpy", "np.convolve works along 1 axes, this is along 2"),
        (ConvSpec.of_arrays(1, dilation=2), "scipy.signal", "scipy.signal.convolve has no dilation"),
        (
            ConvSpec.of_arrays(2, mode="full"), "scipy.ndimage",
            "scipy.ndimage.convolve returns one output for every sample, and this is mode full",
        ),
        (ConvSpec.of_arrays(2, "correlation", "same", boundary="wrap"), "opencv", "cv2.filter2D has no boundary wrap"),
        (
            ConvSpec.of_arrays(1, mode="same", boundary="symmetric"), "torch",
            "torch.nn.functional.pad has no boundary symmetric",
        ),
        (ConvSpec.of_arrays(1, mode="same", boundary="edge"), "onnx", "onnx Conv has no boundary edge"),
        (ConvSpec.of_arrays(1, mode="same", boundary="reflect"), "matlab", "imfilter has no boundary reflect"),
        (ConvSpec.of_network(2), "numpy", "NumPy has no batch, channels and groups"),
        (ConvSpec.of_network(1, groups=2), "tensorflow", "tf.nn.convolution has no groups (here 2) on every device"),
        (
            ConvSpec.of_arrays(1, mode="same", boundary=(("edge", "wrap"),)), "scipy.ndimage",
            "it has one boundary for all sides, and these differ",
        ),
    ],
)  # fmt: skip
def test_reasons(spec: ConvSpec, library: str, reason: str) -> None:
    written = write(spec, library)
    assert written.code is None
    assert str(written.reason) == reason


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (ConvSpec.of_arrays(1), "conv(x, k, 'full')"),
        (ConvSpec.of_arrays(2, "correlation", "valid"), "conv2(x, conj(rot90(k, 2)), 'valid')"),
        (ConvSpec.of_arrays(2, "correlation", "same", boundary="edge"), "imfilter(x, k, 'replicate', 'same', 'corr')"),
        (ConvSpec.of_arrays(2, stride=(2, 1)), "y = conv2(x, k, 'full'); y = y(1:2:end, :)"),
    ],
)
def test_matlab(spec: ConvSpec, code: str) -> None:
    assert write(spec, "matlab").code == code


def test_every_library_is_asked() -> None:
    assert tuple(written.library for written in write_all(ConvSpec.of_arrays(2))) == LIBRARIES
