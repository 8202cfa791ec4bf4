"""The words of the refusals of convkit.compat.numpy, scipy_signal and scipy_ndimage, in both languages."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from string import Formatter

import numpy as np
import pytest

from convkit import catalogue
from convkit.compat import numpy as compat_numpy
from convkit.compat import scipy_ndimage as ndimage
from convkit.compat import scipy_signal as signal

A = np.arange(6.0)
M = np.arange(12.0).reshape(3, 4)
C = M + 1j

# key: (exception, call, English words)
REFUSALS = {
    "numpy.empty": (ValueError, lambda: compat_numpy.convolve([], A), "a cannot be empty"),
    "numpy.empty-argument": (
        ValueError,
        lambda: compat_numpy.correlate(A, []),
        "second array argument cannot be empty",
    ),
    "numpy.too-deep": (ValueError, lambda: compat_numpy.convolve(M, A), "object too deep for desired array"),
    "numpy.too-small-depth": (ValueError, lambda: compat_numpy.correlate(1, A), "object of too small depth"),
    "numpy.mode": (ValueError, lambda: compat_numpy.convolve(A, A, "all"), "Use one of 'valid', 'same', or 'full'"),
    "numpy.mode-number": (ValueError, lambda: compat_numpy.convolve(A, A, 9), "must be 0, 1, or 2, not 9"),
    "numpy.mode-not-understood": (TypeError, lambda: compat_numpy.convolve(A, A, None), "mode not understood"),
    "numpy.not-a-number": (ValueError, lambda: compat_numpy.convolve(["a"], A), "data type <U32 must provide numbers"),
    "scipy_signal.ranks": (ValueError, lambda: signal.convolve(M, A), "volume and kernel should have the same dim"),
    "scipy_signal.mode": (ValueError, lambda: signal.convolve(A, A, "all"), "Acceptable mode flags are 'valid'"),
    "scipy_signal.mode-lower-case": (ValueError, lambda: signal.fftconvolve(A, A, "all"), "acceptable mode flags"),
    "scipy_signal.method": (
        ValueError,
        lambda: signal.convolve(A, A, method="dft"),
        "Acceptable method flags are 'auto'",
    ),
    "scipy_signal.neither-fits": (
        ValueError,
        lambda: signal.convolve(M, M.T, "valid"),
        "For 'valid' mode, one must be",
    ),
    "scipy_signal.axes-empty": (ValueError, lambda: signal.fftconvolve(A, A, axes=[]), "axes cannot be empty"),
    "scipy_signal.axes-not-integers": (ValueError, lambda: signal.fftconvolve(A, A, axes=0.5), "scalar or iterable of"),
    "scipy_signal.axes-out-of-range": (ValueError, lambda: signal.fftconvolve(A, A, axes=1), "axes exceeds dimension"),
    "scipy_signal.axes-repeated": (ValueError, lambda: signal.fftconvolve(M, M, axes=(1, 1)), "axes must be unique"),
    "scipy_signal.shapes": (
        ValueError,
        lambda: signal.fftconvolve(M, M[:2], axes=1),
        re.escape("incompatible shapes for in1 and in2: (3, 4) and (2, 4)"),
    ),
    "scipy_signal.not-matrices": (ValueError, lambda: signal.convolve2d(A, A), "convolve2d inputs must both be 2-D"),
    "scipy_signal.boundary": (
        ValueError,
        lambda: signal.convolve2d(M, M, boundary="edge"),
        "Acceptable boundary flags",
    ),
    "scipy_signal.no-such-type": (
        ValueError,
        lambda: signal.convolve2d(M > 1, M > 1),
        "not available for this type: bool",
    ),
    "scipy_signal.fill-empty": (ValueError, lambda: signal.convolve2d(M, M, fillvalue=[]), "cannot be an empty array"),
    "scipy_signal.fill-not-scalar": (ValueError, lambda: signal.convolve2d(M, M, fillvalue=A), "must be scalar or an"),
    "scipy_signal.fill-cast": (ValueError, lambda: signal.convolve2d(M, M, fillvalue=1j), "could not cast `fillvalue`"),
    "scipy_signal.taps": (ValueError, lambda: signal.upfirdn([], A), "h must be 1-D with non-zero length"),
    "scipy_signal.factors": (ValueError, lambda: signal.upfirdn([1], A, up=0), "Both up and down must be >= 1"),
    "scipy_signal.no-signature": (TypeError, lambda: signal.upfirdn([1], A.astype("O")), "No matching signature found"),
    "scipy_signal.axis": (IndexError, lambda: signal.upfirdn([1], A, axis=3), "axis 3 is out of range for 1 axes"),
    "scipy_signal.extension": (ValueError, lambda: signal.upfirdn([1], A, mode="mirror"), "Unknown mode: mirror"),
    "scipy_ndimage.mode": (
        RuntimeError,
        lambda: ndimage.correlate1d(A, [1], mode="edge"),
        "boundary mode not supported",
    ),
    "scipy_ndimage.several-modes": (
        RuntimeError,
        lambda: ndimage.correlate(A, [1], mode=["wrap"]),
        "sequence of modes",
    ),
    "scipy_ndimage.axis-out-of-range": (ValueError, lambda: ndimage.laplace(M, axes=5), "specified axis: 5 is out of"),
    "scipy_ndimage.axes-repeated": (ValueError, lambda: ndimage.laplace(M, axes=(0, 0)), "axes must be unique"),
    "scipy_ndimage.sequence-length": (
        RuntimeError,
        lambda: ndimage.uniform_filter(M, [1, 2, 3]),
        "length equal to input",
    ),
    "scipy_ndimage.complex-cval": (ValueError, lambda: ndimage.correlate1d(A, [1j], cval=1j), "complex-valued cval"),
    "scipy_ndimage.not-real": (
        TypeError,
        lambda: ndimage.correlate1d(A, [1], cval="a"),
        "must be real number, not str",
    ),
    "scipy_ndimage.output-complex": (
        RuntimeError,
        lambda: ndimage.correlate1d(C, [1], output="f8"),
        "must have complex",
    ),
    "scipy_ndimage.output-numeric": (
        RuntimeError,
        lambda: ndimage.correlate1d(A, [1], output="O"),
        "must have numeric",
    ),
    "scipy_ndimage.output-shape": (RuntimeError, lambda: ndimage.correlate1d(A, [1], output=M), "shape not correct"),
    "scipy_ndimage.type": (RuntimeError, lambda: ndimage.correlate1d(A.astype("e"), [1]), "'float16'.* not supported"),
    "scipy_ndimage.no-weights": (RuntimeError, lambda: ndimage.correlate1d(A, []), "no filter weights given"),
    "scipy_ndimage.weights-rank": (
        RuntimeError,
        lambda: ndimage.correlate(A, M),
        re.escape("weights.ndim (2) must match len(axes) (1)"),
    ),
    "scipy_ndimage.origin": (ValueError, lambda: ndimage.correlate1d(A, [1], origin=1), "Invalid origin; origin must"),
    "scipy_ndimage.origin-of-window": (ValueError, lambda: ndimage.uniform_filter1d(A, 2, origin=4), "invalid origin"),
    "scipy_ndimage.size": (RuntimeError, lambda: ndimage.uniform_filter1d(A, 0), "incorrect filter size"),
    "scipy_ndimage.order": (
        ValueError,
        lambda: ndimage.gaussian_filter1d(A, 1, order=-1),
        "order must be non-negative",
    ),
    "scipy_ndimage.radius": (ValueError, lambda: ndimage.gaussian_filter1d(A, 1, radius=-1), "Radius must be a nonneg"),
}


def _own(language: str) -> dict[str, str]:
    """This area's sentences, by key without the leading ``compat.``."""
    tree = json.loads(files("convkit").joinpath("locales", language, "compat.json").read_text(encoding="utf-8"))
    return {f"{room}.{name}": text for room, texts in tree["compat"].items() for name, text in texts.items()}


@pytest.mark.parametrize("key", REFUSALS)
def test_the_type_and_the_words(key):
    kind, call, words = REFUSALS[key]
    with pytest.raises(kind, match=words) as raised:
        call()
    assert type(raised.value) is kind
    with catalogue.using("zh"), pytest.raises(kind) as translated:
        call()
    assert str(translated.value) != str(raised.value)
    assert re.search("[\u4e00-\u9fff]", str(translated.value))


def test_a_warning_where_a_real_output_is_asked_of_a_complex_result():
    with pytest.warns(UserWarning, match="promoting specified output dtype to complex"):
        assert ndimage.correlate1d(C, [1.0], output=float).dtype == np.complex128


def test_every_sentence_is_reached():
    assert set(_own("en")) == {*REFUSALS, "scipy_ndimage.promoted"}


def test_both_languages_have_the_same_keys_and_placeholders():
    english, chinese = _own("en"), _own("zh")
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        places = [sorted(name for _, name, _, _ in Formatter().parse(words) if name) for words in (text, chinese[key])]
        assert places[0] == places[1], key
