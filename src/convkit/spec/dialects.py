"""Other libraries' words for the same things: what each call computes, told in the words of `ConvSpec`. Data only.

A `Dialect` is one function of one library: its signature, whether it flips, how far it reaches, which kernel element
it lays on the output sample, and its names for what stands outside the array. ``explain`` reads and writes calls
with these records; ``compat`` uses the maps of boundary words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from convkit.spec.options import BoundaryName, Mode, Operation

AnchorRule = Literal["lower", "upper", "odd-only", "none"]
"""Kernel element on the output sample of ``same``: ``(K-1)//2``, ``K//2``, the middle (even sizes refused), or none."""

Verb = Literal["arrays", "network", "transposed"]
Words = Mapping[str, BoundaryName]


def _words(**names: BoundaryName) -> Words:
    return MappingProxyType(names)


NDIMAGE: Words = MappingProxyType(
    {
        "reflect": "symmetric",
        "mirror": "reflect",
        "nearest": "edge",
        "constant": "zero",
        "wrap": "wrap",
        "grid-mirror": "symmetric",
        "grid-constant": "zero",
        "grid-wrap": "wrap",
    }
)
"""``scipy.ndimage`` filters. Its ``reflect`` repeats the edge sample; ``numpy.pad``'s does not."""

CONVOLVE2D = _words(fill="zero", wrap="wrap", symm="symmetric")
UPFIRDN = _words(constant="zero", symmetric="symmetric", reflect="reflect", edge="edge", wrap="wrap")
OPENCV = _words(
    BORDER_DEFAULT="reflect",
    BORDER_REFLECT_101="reflect",
    BORDER_REFLECT101="reflect",
    BORDER_REFLECT="symmetric",
    BORDER_REPLICATE="edge",
    BORDER_CONSTANT="zero",
)
"""OpenCV's ``borderType``; ``filter2D`` refuses ``BORDER_WRAP``."""

OPENCV_NUMBERS: Mapping[int, str] = MappingProxyType(
    {0: "BORDER_CONSTANT", 1: "BORDER_REPLICATE", 2: "BORDER_REFLECT", 4: "BORDER_REFLECT_101"}
)
"""The numbers behind OpenCV's constants."""

TORCH_PAD = _words(constant="zero", reflect="reflect", replicate="edge", circular="wrap")
TENSORFLOW_PAD = _words(CONSTANT="zero", REFLECT="reflect", SYMMETRIC="symmetric")
ASTROPY = _words(fill="zero", wrap="wrap", extend="edge")
IMFILTER = _words(symmetric="symmetric", replicate="edge", circular="wrap")
"""MATLAB's ``imfilter``; a number pads with that number."""

EXTENTS: Mapping[str, Mode] = MappingProxyType({"full": "full", "same": "same", "valid": "valid"})


@dataclass(frozen=True, eq=False, kw_only=True)
class Dialect:
    """One function of one library.

    Attributes
    ----------
    name : str
        Its full name, ``"scipy.ndimage.convolve"``.
    library : str
        The library it is written under in a passport, ``"scipy.ndimage"``.
    signature : str
        Its parameters as in its own documentation.
    x, k : str
        Which parameters are the array and the kernel.
    verb : {"arrays", "network", "transposed"}
        Arrays as they are; batch and channels; the adjoint of that.
    operation : {"convolution", "correlation"}
        Whether it flips.
    conjugates : bool
        Whether it conjugates a complex kernel.
    ranks : tuple of int
        Numbers of convolved axes it takes; empty for any.
    mode : Mode or None
        Its extent where it has no ``mode`` parameter.
    modes : mapping of str to Mode
        Its words for the extent.
    boundaries : mapping of str to BoundaryName
        Its words for what stands outside; empty where that is always zero.
    boundary, fill : str
        Names of those parameters.
    anchor : AnchorRule
        Kernel element on the output sample of ``same``.
    weights : str
        Order of the kernel's axes.
    ignored : frozenset of str
        Parameters that do not change what is computed.
    """

    name: str
    library: str
    signature: str
    x: str
    k: str
    verb: Verb = "arrays"
    operation: Operation = "convolution"
    conjugates: bool = False
    ranks: tuple[int, ...] = ()
    mode: Mode | None = None
    modes: Mapping[str, Mode] = field(default_factory=lambda: EXTENTS)
    boundaries: Words = field(default_factory=_words)
    boundary: str = "boundary"
    fill: str = "fill_value"
    anchor: AnchorRule = "lower"
    weights: str = "space"
    ignored: frozenset[str] = frozenset()


def _signal(name: str, operation: Operation) -> Dialect:
    return Dialect(
        name=f"scipy.signal.{name}",
        library="scipy.signal",
        signature="in1, in2, mode='full', method='auto'"
        if name in ("convolve", "correlate")
        else "in1, in2, mode='full', axes=None",
        x="in1",
        k="in2",
        operation=operation,
        conjugates=operation == "correlation",
        anchor="lower" if operation == "convolution" else "upper",
        ignored=frozenset({"method"}),
    )


def _signal2d(name: str, operation: Operation) -> Dialect:
    return Dialect(
        name=f"scipy.signal.{name}",
        library="scipy.signal",
        signature="in1, in2, mode='full', boundary='fill', fillvalue=0",
        x="in1",
        k="in2",
        operation=operation,
        conjugates=operation == "correlation",
        ranks=(2,),
        boundaries=CONVOLVE2D,
        fill="fillvalue",
    )


def _ndimage(name: str, operation: Operation) -> Dialect:
    line = name.endswith("1d")
    return Dialect(
        name=f"scipy.ndimage.{name}",
        library="scipy.ndimage",
        signature="input, weights, axis=-1, output=None, mode='reflect', cval=0.0, origin=0"
        if line
        else "input, weights, output=None, mode='reflect', cval=0.0, origin=0, *, axes=None",
        x="input",
        k="weights",
        operation=operation,
        conjugates=operation == "correlation",
        ranks=(1,) if line else (),
        mode="same",
        boundaries=NDIMAGE,
        boundary="mode",
        fill="cval",
        anchor="upper",
    )


def _torch(rank: int, verb: Verb) -> Dialect:
    tail = "padding=0, dilation=1, groups=1"
    if verb == "transposed":
        tail = "padding=0, output_padding=0, groups=1, dilation=1"
    return Dialect(
        name=f"torch.nn.functional.{'conv_transpose' if verb == 'transposed' else 'conv'}{rank}d",
        library="torch",
        signature=f"input, weight, bias=None, stride=1, {tail}",
        x="input",
        k="weight",
        verb=verb,
        operation="correlation",
        ranks=(rank,),
        anchor="lower",
        weights="in, out/groups, space" if verb == "transposed" else "out, in/groups, space",
    )


def _tensorflow(name: str, rank: int | None) -> Dialect:
    return Dialect(
        name=f"tf.nn.{name}",
        library="tensorflow",
        signature={
            "convolution": "input, filters, strides=None, padding='VALID', data_format=None, dilations=None, name=None",
            "conv1d": "input, filters, stride, padding, data_format='NWC', dilations=None, name=None",
            "conv2d": "input, filters, strides, padding, data_format='NHWC', dilations=None, name=None",
            "conv3d": "input, filters, strides, padding, data_format='NDHWC', dilations=None, name=None",
        }[name],
        x="input",
        k="filters",
        verb="network",
        operation="correlation",
        ranks=(rank,) if rank else (),
        weights="space, in, out",
        ignored=frozenset({"name"}),
    )


def _onnx(name: str, verb: Verb) -> Dialect:
    extra = "output_padding=None, output_shape=None, " if verb == "transposed" else ""
    return Dialect(
        name=f"onnx.{name}",
        library="onnx",
        signature="X, W, B=None, *, auto_pad='NOTSET', dilations=None, group=1, kernel_shape=None, "
        f"{extra}pads=None, strides=None",
        x="X",
        k="W",
        verb=verb,
        operation="correlation",
        weights="in, out/groups, space" if verb == "transposed" else "out, in/groups, space",
    )


def _matlab(name: str, rank: int | None) -> Dialect:
    return Dialect(
        name=name,
        library="matlab",
        signature="A, B, shape='full'",
        x="A",
        k="B",
        ranks=(rank,) if rank else (),
        anchor="upper",
    )


def _astropy(name: str) -> Dialect:
    fft = ", crop=True, return_fft=False, fft_pad=None, psf_pad=None, min_wt=0.0, allow_huge=False"
    return Dialect(
        name=f"astropy.convolution.{name}",
        library="astropy",
        signature="array, kernel, boundary='fill', fill_value=0.0, nan_treatment='interpolate', normalize_kernel=True, "
        + (
            "mask=None, preserve_nan=False, normalization_zero_tol=1e-08"
            if name == "convolve"
            else "normalization_zero_tol=1e-08, preserve_nan=False, mask=None" + fft
        ),
        x="array",
        k="kernel",
        ranks=(1, 2, 3) if name == "convolve" else (),
        mode="same",
        boundaries=ASTROPY if name == "convolve" else _words(fill="zero", wrap="wrap"),
        anchor="odd-only" if name == "convolve" else "upper",
        ignored=frozenset({"normalization_zero_tol", "allow_huge", "fft_pad", "psf_pad", "min_wt"}),
    )


def _all() -> tuple[Dialect, ...]:
    return (
        Dialect(name="numpy.convolve", library="numpy", signature="a, v, mode='full'", x="a", k="v", ranks=(1,)),
        Dialect(
            name="numpy.correlate",
            library="numpy",
            signature="a, v, mode='valid'",
            x="a",
            k="v",
            operation="correlation",
            conjugates=True,
            ranks=(1,),
            anchor="upper",
        ),
        _signal("convolve", "convolution"),
        _signal("correlate", "correlation"),
        _signal("fftconvolve", "convolution"),
        _signal("oaconvolve", "convolution"),
        _signal2d("convolve2d", "convolution"),
        _signal2d("correlate2d", "correlation"),
        Dialect(
            name="scipy.signal.upfirdn",
            library="scipy.signal",
            signature="h, x, up=1, down=1, axis=-1, mode='constant', cval=0",
            x="x",
            k="h",
            ranks=(1,),
            mode="full",
            boundaries=UPFIRDN,
            boundary="mode",
            fill="cval",
            anchor="none",
        ),
        _ndimage("convolve", "convolution"),
        _ndimage("correlate", "correlation"),
        _ndimage("convolve1d", "convolution"),
        _ndimage("correlate1d", "correlation"),
        Dialect(
            name="cv2.filter2D",
            library="opencv",
            signature="src, ddepth, kernel, dst=None, anchor=(-1, -1), delta=0, borderType=4",
            x="src",
            k="kernel",
            operation="correlation",
            ranks=(2,),
            mode="same",
            boundaries=OPENCV,
            boundary="borderType",
            anchor="upper",
            ignored=frozenset({"dst"}),
        ),
        *(_torch(rank, verb) for verb in ("network", "transposed") for rank in (1, 2, 3)),
        _tensorflow("convolution", None),
        _tensorflow("conv1d", 1),
        _tensorflow("conv2d", 2),
        _tensorflow("conv3d", 3),
        _onnx("Conv", "network"),
        _onnx("ConvTranspose", "transposed"),
        _matlab("conv", 1),
        _matlab("conv2", 2),
        _matlab("convn", None),
        Dialect(
            name="filter2",
            library="matlab",
            signature="H, X, shape='same'",
            x="X",
            k="H",
            operation="correlation",
            ranks=(2,),
        ),
        # imfilter takes its options in any order, so only the two arrays are in the signature.
        Dialect(
            name="imfilter",
            library="matlab",
            signature="A, h, *options",
            x="A",
            k="h",
            operation="correlation",
            modes=MappingProxyType({"same": "same", "full": "full"}),
            boundaries=IMFILTER,
        ),
        _astropy("convolve"),
        _astropy("convolve_fft"),
    )


DIALECTS: Mapping[str, Dialect] = MappingProxyType({dialect.name: dialect for dialect in _all()})
"""Every known call, by its full name."""

LIBRARIES = (
    "numpy",
    "scipy.signal",
    "scipy.ndimage",
    "opencv",
    "torch",
    "tensorflow",
    "onnx",
    "matlab",
    "astropy",
)
"""The libraries that a call can be written for, in the order of a passport."""


def word_for(boundary: str, words: Words) -> str | None:
    """The first word of a library for our ``boundary``, or None; ``constant`` is its word for ``zero``.

    Examples
    --------
    >>> word_for("reflect", NDIMAGE), word_for("wrap", OPENCV)
    ('mirror', None)
    """
    wanted = "zero" if boundary == "constant" else boundary
    return next((word for word, ours in words.items() if ours == wanted), None)
