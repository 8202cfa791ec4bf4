"""Calls of other libraries, read as text: run there, run here, compared; and what is refused, with its words."""

from __future__ import annotations

import inspect
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from convkit.catalogue import using
from convkit.errors import ConvError
from convkit.explain import passport, translate
from convkit.explain.source import read, signature
from convkit.explain.values import compute
from convkit.spec.dialects import DIALECTS
from tests.explain import tensorflow_formula
from tests.explain.peers import RUNNABLE, TENSORFLOW, asymmetric, run

LINE = [
    "np.convolve(x, k)",
    "np.convolve(x, k, 'same')",
    "np.convolve(x, k, mode='valid')",
    "numpy.correlate(x, k)",
    "np.correlate(x, k, 'same')",
    "scipy.signal.convolve(x, k, method='direct')",
    "scipy.signal.correlate(x, k, mode='same')",
    "scipy.signal.fftconvolve(x, k, 'same')",
    "scipy.signal.oaconvolve(x, k)",
    "scipy.signal.upfirdn(k, x)",
    "scipy.signal.upfirdn(k, x, down=3)",
    "scipy.signal.upfirdn(k, x, 3, 2)",
    "scipy.signal.upfirdn(k, x, down=2, mode='reflect')",
    "scipy.ndimage.convolve(x, k)",
    "scipy.ndimage.correlate(x, k, mode='wrap', origin=-1)",
    "scipy.ndimage.convolve1d(x, k, mode='constant', cval=2.5)",
    "astropy.convolution.convolve_fft(x, k, boundary='wrap')",
]
PLANE = [
    "scipy.signal.convolve2d(x, k, 'same', 'symm')",
    "scipy.signal.correlate2d(x, k, mode='same')",
    "scipy.signal.correlate2d(x, k, boundary='fill', fillvalue=3)",
    "scipy.signal.convolve(x, k, 'valid')",
    "scipy.signal.fftconvolve(x, k, axes=(0, 1))",
    "scipy.ndimage.convolve(x, k, mode='mirror')",
    "scipy.ndimage.convolve(x, k, mode='grid-wrap')",
    "scipy.ndimage.convolve(x, k, origin=(0, -1))",
    "scipy.ndimage.correlate(x, k, mode='grid-constant', cval=1, origin=(-1, 0))",
    "scipy.ndimage.correlate1d(x, k[0], axis=0)",
    "scipy.ndimage.convolve1d(x, k[1], axis=-1, origin=-1)",
    "cv2.filter2D(x, -1, k)",
    "cv2.filter2D(x, -1, k, borderType=cv2.BORDER_REFLECT)",
    "cv2.filter2D(x, -1, k, anchor=(0, 1), delta=2.5, borderType=cv2.BORDER_REPLICATE)",
    "cv2.filter2D(x, -1, k, None, (-1, 0), 0, 0)",
    "astropy.convolution.convolve_fft(x, k, normalize_kernel=False)",
]
NETWORK = [
    "torch.nn.functional.conv2d(x, w, padding=1)",
    "torch.nn.functional.conv2d(x, w, b, stride=(2, 1), dilation=2)",
    "torch.nn.functional.conv2d(x, w, padding='same')",
    "torch.nn.functional.conv_transpose2d(x, w, None, 2, (1, 0), 1)",
    "torch.nn.functional.conv_transpose2d(x, v, stride=3, groups=2)",
]


@pytest.mark.parametrize("call", LINE)
@pytest.mark.parametrize("size", [3, 4])
def test_calls_along_one_axis(call: str, size: int) -> None:
    x, k = asymmetric((9,)), np.abs(asymmetric((size,), 1)) + 0.5
    library = DIALECTS[read(call).name].library
    for given in (None, k.shape):
        translation = translate(call, kernel_shape=given)
        np.testing.assert_allclose(
            run("convkit", translation.code, x=x, k=k), run(library, call, x=x, k=k), rtol=1e-9, atol=1e-9
        )
    if translation.meaning.verb in ("convolve", "correlate") and "np.sum" not in translation.code:
        np.testing.assert_allclose(compute(translation.spec, x, k), run(library, call, x=x, k=k), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("call", PLANE)
@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (3, 2)])
def test_calls_along_two_axes(call: str, shape: tuple[int, int]) -> None:
    x, k = asymmetric((7, 6)), asymmetric(shape, 1)
    library = DIALECTS[read(call).name].library
    expected = run(library, call, x=x, k=k)
    np.testing.assert_allclose(run("convkit", translate(call).code, x=x, k=k), expected, rtol=1e-9, atol=1e-9)
    if "1d" in call:
        return
    meaning = translate(call, kernel_shape=shape)
    np.testing.assert_allclose(run("convkit", meaning.code, x=x, k=k), expected, rtol=1e-9, atol=1e-9)
    if "delta" not in call:
        np.testing.assert_allclose(compute(meaning.spec, x, k), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("call", NETWORK)
def test_network_calls(call: str) -> None:
    arrays = {
        "x": asymmetric((2, 4, 9, 8)),
        "b": asymmetric((4,), 2),
        "w": asymmetric((4, 4, 3, 2), 1),
        "v": asymmetric((4, 3, 4, 2), 1),
    }
    np.testing.assert_allclose(run("convkit", translate(call).code, **arrays), run("torch", call, **arrays), rtol=1e-9)


ONNX = [
    ("onnx.Conv(x, w, pads=[1, 0, 2, 1])", {"pads": [1, 0, 2, 1]}),
    ("onnx.Conv(x, w, strides=[2, 1], dilations=[1, 2], group=1)", {"strides": [2, 1], "dilations": [1, 2]}),
    ("onnx.Conv(x, w, auto_pad='SAME_UPPER', strides=[2, 2])", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("onnx.Conv(x, w, auto_pad='SAME_LOWER', kernel_shape=[3, 2])", {"auto_pad": "SAME_LOWER", "kernel_shape": [3, 2]}),
    ("onnx.ConvTranspose(x, w, strides=[2, 3], output_padding=[1, 0])", {"strides": [2, 3], "output_padding": [1, 0]}),
]


@pytest.mark.parametrize(("call", "attributes"), ONNX)
def test_onnx_nodes(call: str, attributes: dict) -> None:
    arrays = {"x": asymmetric((2, 4, 8, 9)), "w": asymmetric((4, 4, 3, 2), 1)}
    kind = read(call).name.removeprefix("onnx.")
    node = (
        f'node = onnx.helper.make_node("{kind}", ["x", "w"], ["y"], **{attributes!r})\n'
        'y = onnx.reference.ReferenceEvaluator(node).run(None, {"x": x, "w": w})[0]'
    )
    np.testing.assert_allclose(run("convkit", translate(call).code, **arrays), run("onnx", node, **arrays), rtol=1e-9)


TF_CALLS = [
    "tf.nn.conv2d(x, w, 1, 'SAME')",
    "tf.nn.conv2d(x, w, [1, 2, 2, 1], 'SAME')",
    "tf.nn.conv2d(x, w, strides=2, padding='VALID')",
    "tf.nn.conv2d(x, w, 1, [[0, 0], [1, 2], [0, 1], [0, 0]])",
    "tf.nn.convolution(x, w, padding='SAME', dilations=[2, 1])",
]


@pytest.mark.parametrize("call", TF_CALLS)
def test_tensorflow_calls(call: str) -> None:
    arrays = {"x": asymmetric((2, 9, 8, 3)), "w": asymmetric((3, 2, 3, 4), 1)}
    ours = run("convkit", translate(call).code, **arrays)
    documented = eval(call, {"tf": SimpleNamespace(nn=tensorflow_formula), **arrays})
    np.testing.assert_allclose(ours, documented, rtol=1e-9)
    for library in TENSORFLOW:
        np.testing.assert_allclose(ours, run(library, call, **arrays), rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("conv(x, k)", "ck.convolve(x, k, mode='full')"),
        ("conv2(x, k, 'same')", "ck.convolve(x, k, mode='same', anchor=[n // 2 for n in k.shape])"),
        ("imfilter(x, k)", "ck.correlate(x, k, mode='same', anchor=[(n - 1) // 2 for n in k.shape])"),
        (
            "imfilter(x, k, 'replicate', 'conv')",
            "ck.convolve(x, k, mode='same', boundary='edge', anchor=[n // 2 for n in k.shape])",
        ),
        ("imfilter(x, k, 5, 'full')", "ck.correlate(x, k, mode='full', boundary='constant', fill=5)"),
        ("filter2(h, x, 'valid')", "ck.correlate(x, h, mode='valid')"),
    ],
)  # fmt: skip
def test_matlab(call: str, code: str) -> None:
    assert translate(call).code == code


def test_signatures_are_those_of_the_libraries() -> None:
    import importlib

    for name in DIALECTS:
        module, _, function = name.rpartition(".")
        if module not in ("scipy.signal", "scipy.ndimage", "astropy.convolution"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = inspect.signature(getattr(importlib.import_module(module), function)).parameters
        ours = signature(name)
        assert list(ours.names) == list(theirs)[: len(ours.names)], name
        for parameter, default in ours.defaults.items():
            assert theirs[parameter].default == default, (name, parameter)
        for parameter in ours.keyword_only:
            assert theirs[parameter].kind is inspect.Parameter.KEYWORD_ONLY


def test_a_target_is_written_as_well() -> None:
    translation = translate("np.convolve(x, k, 'same')", to="torch", kernel_shape=(4,))
    x, k = asymmetric((9,)), asymmetric((4,), 1)
    assert translation.target is not None
    np.testing.assert_allclose(run("torch", translation.target.code or "", x=x, k=k), np.convolve(x, k, "same"))
    refused = translate("scipy.ndimage.convolve(x, k, mode='reflect')", to="torch")
    assert "torch cannot say it: torch.nn.functional.pad has no boundary symmetric" in refused.text()


@pytest.mark.parametrize("library", ["numpy", "scipy.signal", "scipy.ndimage", "torch", "onnx"])
def test_a_passport_of_anothers_call_gives_calls_that_run(library: str) -> None:
    x, k = asymmetric((9,)), asymmetric((4,), 1)
    card = passport(
        "scipy.ndimage.correlate(x, k, mode='constant', origin=-1)", kernel_shape=k.shape, input_shape=x.shape
    )
    expected = run("scipy.ndimage", "scipy.ndimage.correlate(x, k, mode='constant', origin=-1)", x=x, k=k)
    written = next(written for written in card.calls if written.library == library)
    assert written.code is not None
    assert library in RUNNABLE
    np.testing.assert_allclose(run(library, written.code, x=x, k=k), expected)


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        ("x + k", "call.not-a-call", "is not a call"),
        ("np.convolve(x, k", "call.not-a-call", "is not a call"),
        ("np.convolve(*x)", "call.not-a-call", "is not a call"),
        ("scipy.ndimage.convole(x, k)", "call.unknown-function", "scipy.ndimage.convolve"),
        ("os.remove('x')", "call.unknown-function", "os.remove is not a function known here"),
        ("np.convolve(x, k, made='same')", "call.unknown-parameter", "mode="),
        ("np.convolve(x, k, 'same', 1)", "call.too-many-arguments", "at most 3: a, v, mode"),
        ("np.convolve(x, k, v=k)", "call.twice", "v twice"),
        ("np.convolve(x)", "call.missing-argument", "was not given v"),
        ("np.convolve(x, k, mode=word)", "call.not-a-literal", "mode=word of numpy.convolve is not written out"),
        ("scipy.ndimage.convolve(x, k, output=y)", "call.unsupported-option", "output=y of scipy.ndimage.convolve"),
        ("astropy.convolution.convolve(x, k, boundary=None)", "call.unsupported-option", "boundary=None"),
        ("onnx.Conv(x, w, auto_pad='SAME_LOWER', strides=[2, 2])", "call.unsupported-option", "auto_pad"),
        ("scipy.ndimage.convolve(x, k, mode='mirrored')", "option.unknown-value", "mirror"),
        ("scipy.ndimage.convolve(x, k, mode=('wrap', 'mirror'))", "option.unknown-value", "('wrap', 'mirror')"),
        ("cv2.filter2D(x, -1, k, borderType=cv2.BORDER_WRAP)", "option.unknown-value", "BORDER_WRAP"),
        ("ck.convolve(x, k, mode='sane')", "option.unknown-value", 'mode="same"'),
    ],
)
def test_what_cannot_be_read_is_said(call: str, code: str, words: str) -> None:
    with pytest.raises(ConvError) as caught:
        translate(call)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert caught.value.text("zh") != caught.value.text("en")


def test_a_fixed_shift_needs_the_size_of_the_kernel() -> None:
    translation = translate("scipy.ndimage.convolve(x, k, origin=1)")
    with pytest.raises(ConvError, match="kernel_shape") as caught:
        _ = translation.spec
    assert caught.value.code == "call.needs-kernel-size"
    assert translate("scipy.ndimage.convolve(x, k, origin=1)", kernel_shape=(4, 5)).spec.anchor == (3, 3)


def test_nothing_in_a_call_is_run() -> None:
    with pytest.raises(ConvError):
        translate("np.convolve(x, k, mode=__import__('os').getcwd())")
    assert translate("np.convolve(open('x'), k)").code == "ck.convolve(open('x'), k, mode='full')"


def test_translations_are_said_in_both_languages() -> None:
    call = "scipy.ndimage.convolve(x, k, mode='mirror')"
    english = translate(call, to="opencv").text()
    with using("zh"):
        chinese = translate(call, to="opencv").text()
    assert "lays element K//2 on the output sample" in english
    assert "个元素对准输出样本" in chinese
    assert "element" not in chinese
