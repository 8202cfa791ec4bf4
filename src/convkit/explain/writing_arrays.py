"""A spec in the words of the libraries of plain arrays: NumPy, SciPy, OpenCV, MATLAB, astropy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from convkit.explain.draft import CannotSay, Draft, numpy_padded
from convkit.explain.meaning import Note
from convkit.explain.symbols import Size, Symbol, sequence
from convkit.spec.dialects import ASTROPY, CONVOLVE2D, IMFILTER, NDIMAGE, OPENCV, word_for


def _verb(draft: Draft) -> str:
    return "convolve" if draft.spec.operation == "convolution" else "correlate"


def numpy(draft: Draft) -> str:
    """``numpy.convolve`` and ``correlate``: one axis, zeros outside."""
    draft.refuse(network="NumPy", ranks=(1,), function=f"np.{_verb(draft)}", dilation=f"np.{_verb(draft)}")
    return _numpy_like(draft, f"np.{_verb(draft)}")


def _numpy_like(draft: Draft, function: str) -> str:
    mode = draft.spec.mode
    swaps = function.startswith("np.")
    if draft.plain_padding() and (mode != "same" or _usual_anchor(draft)):
        if not (swaps and mode == "same"):
            return f"{function}({draft.x}, {draft.k}, mode='{mode}'){draft.picked()}"
        if draft.kernel_shape is None or draft.input_shape is None:
            draft.notes.append(Note("note.longer-kernel", {"function": function}))
            return f"{function}({draft.x}, {draft.k}, mode='same'){draft.picked()}"
        if draft.kernel_shape[0] <= draft.input_shape[0]:
            return f"{function}({draft.x}, {draft.k}, mode='same'){draft.picked()}"
    return f"{function}({numpy_padded(draft)}, {draft.k}, mode='valid'){draft.picked()}"


def _usual_anchor(draft: Draft) -> bool:
    return draft.anchored_as("lower" if draft.spec.operation == "convolution" else "upper")


def scipy_signal(draft: Draft) -> str:
    """``scipy.signal``: any rank with zeros outside; in two dimensions a few boundaries as well."""
    function = f"scipy.signal.{_verb(draft)}"
    draft.refuse(network="SciPy", dilation=function)
    if draft.rank == 2 and not draft.plain_padding() and draft.spec.mode != "valid":
        names = {draft.name(name) for sides in draft.spec.boundary for name in sides}
        word = word_for(next(iter(names)), CONVOLVE2D) if len(names) == 1 else None
        if word and (draft.spec.mode == "full" or draft.anchored_as("lower")) and _fits(draft):
            fill = f", fillvalue={draft.spec.fill!r}" if names == {"constant"} else ""
            return (
                f"{function}2d({draft.x}, {draft.k}, mode='{draft.spec.mode}', boundary='{word}'{fill}){draft.picked()}"
            )
    return _numpy_like(draft, function)


def _fits(draft: Draft) -> bool:
    """Whether the kernel is no longer than the array; convolve2d's boundaries go wrong where it is."""
    if draft.kernel_shape is None or draft.input_shape is None:
        draft.notes.append(Note("note.convolve2d-fit"))
        return True
    return all(k <= n for k, n in zip(draft.kernel_shape, draft.input_shape, strict=True))


def scipy_ndimage(draft: Draft) -> str:
    """``scipy.ndimage``: as many outputs as inputs, every boundary, any anchor."""
    function = f"scipy.ndimage.{_verb(draft)}"
    draft.refuse(network="SciPy", dilation=function)
    if draft.spec.mode != "same":
        raise CannotSay("only-same", function=function, mode=draft.spec.mode)
    boundary = draft.boundary()
    mode = repr(word_for(boundary, NDIMAGE))
    fill = f", cval={draft.spec.fill!r}" if boundary == "constant" else ""
    origins: list[Size] = [draft.anchor(axis) - draft.kernel(axis) // 2 for axis in range(draft.rank)]
    origin = ""
    if any(value != 0 for value in origins):
        alike = all(isinstance(value, int) for value in origins) and len(set(origins)) == 1
        origin = f", origin={origins[0] if alike or draft.rank == 1 else sequence(origins)}"
    draft.notes.append(Note("note.integers-ndimage", {"function": function}))
    return f"{function}({draft.x}, {draft.k}, mode={mode}{fill}{origin}){draft.picked()}"


def opencv(draft: Draft) -> str:
    """``cv2.filter2D``: two axes, correlation, saturating."""
    draft.refuse(network="OpenCV", ranks=(2,), function="cv2.filter2D", dilation="cv2.filter2D")
    if draft.spec.mode != "same":
        raise CannotSay("only-same", function="cv2.filter2D", mode=draft.spec.mode)
    boundary = draft.boundary()
    word = word_for(boundary, OPENCV) if boundary != "constant" else None
    if word is None:
        raise CannotSay("boundary", function="cv2.filter2D", boundary=boundary)
    kernel, anchors = draft.k, [draft.anchor(axis) for axis in range(2)]
    if draft.spec.operation == "convolution":
        kernel = f"cv2.flip({draft.k}, -1)"
        anchors = [draft.kernel(axis) - 1 - anchor for axis, anchor in enumerate(anchors)]
    default = draft.spec.anchor is None or all(anchor == draft.kernel(axis) // 2 for axis, anchor in enumerate(anchors))
    point = "" if default else f", anchor=({anchors[1]}, {anchors[0]})"
    draft.notes.append(Note("note.filter2d-types"))
    return f"cv2.filter2D({draft.x}, -1, {kernel}{point}, borderType=cv2.{word}){draft.picked()}"


def matlab(draft: Draft) -> str:
    """MATLAB's ``conv`` family, and ``imfilter`` where something stands outside."""
    draft.refuse(network="MATLAB", dilation="MATLAB")
    spec = draft.spec
    plain = draft.plain_padding() or spec.mode == "valid"
    flipped = spec.operation == "correlation"
    if spec.mode == "same":
        _matlab_anchor(draft)
    pick = ""
    if any(step != 1 for step in spec.stride):
        draft.composed = True
        pick = f"; y = y({', '.join(f'1:{step}:end' if step != 1 else ':' for step in spec.stride)})"
    if plain:
        function = {1: "conv", 2: "conv2"}.get(draft.rank, "convn")
        kernel = draft.k
        if flipped:
            kernel = {1: f"conj(flip({draft.k}))", 2: f"conj(rot90({draft.k}, 2))"}.get(
                draft.rank, f"conj(reshape(flip({draft.k}(:)), size({draft.k})))"
            )
        call = f"{function}({draft.x}, {kernel}, '{spec.mode}')"
    else:
        boundary = draft.boundary()
        word = repr(spec.fill) if boundary == "constant" else repr(word_for(boundary, IMFILTER))
        if boundary != "constant" and word_for(boundary, IMFILTER) is None:
            raise CannotSay("boundary", function="imfilter", boundary=boundary)
        operation = "corr" if flipped else "conv"
        draft.notes.append(Note("note.imfilter-types"))
        call = f"imfilter({draft.x}, {draft.k}, {word}, '{spec.mode}', '{operation}')"
    return f"y = {call}{pick}" if pick else call


def _matlab_anchor(draft: Draft) -> None:
    """MATLAB centres a convolution on ``K//2``, which is ``(K-1)//2`` of the kernel turned round."""
    rule = "upper" if draft.spec.operation == "convolution" else "lower"
    if draft.anchored_as(rule):
        return
    if draft.kernel_shape is None and draft.spec.anchor is None:
        draft.notes.append(Note("note.odd-kernels", {"function": "MATLAB"}))
        return
    raise CannotSay("anchor", function="MATLAB", anchor=sequence([draft.anchor(axis) for axis in range(draft.rank)]))


def astropy(draft: Draft) -> str:
    """``astropy.convolution``: as many outputs as inputs, odd kernels, or even ones by FFT."""
    function = "astropy.convolution.convolve"
    draft.refuse(network="astropy", ranks=(1, 2, 3), function=function, dilation=function)
    if draft.spec.mode != "same":
        raise CannotSay("only-same", function=function, mode=draft.spec.mode)
    boundary = draft.boundary()
    word = word_for(boundary, ASTROPY)
    if word is None:
        raise CannotSay("boundary", function=function, boundary=boundary)
    kernels = [draft.kernel(axis) for axis in range(draft.rank)]
    anchors = [draft.anchor(axis) for axis in range(draft.rank)]
    kernel = draft.k
    if draft.spec.operation == "correlation":
        kernel = f"np.flip({draft.k})"
        anchors = [size - 1 - anchor for size, anchor in zip(kernels, anchors, strict=True)]
    symbolic = any(isinstance(size, Symbol) for size in kernels)
    odd = all(isinstance(size, int) and size % 2 == 1 for size in kernels)
    centred = symbolic and draft.spec.anchor is None
    if not centred and any(anchor != size // 2 for anchor, size in zip(anchors, kernels, strict=True)):
        raise CannotSay(
            "anchor", function=function, anchor=sequence([draft.anchor(axis) for axis in range(draft.rank)])
        )
    if not odd and not centred:
        function = "astropy.convolution.convolve_fft"
        if word == "extend":
            raise CannotSay("boundary", function=function, boundary=boundary)
    elif symbolic:
        draft.notes.append(Note("note.odd-only", {"function": function}))
    fill = f", fill_value={draft.spec.fill!r}" if boundary == "constant" else ""
    draft.notes.append(Note("note.nan-astropy"))
    return (
        f"{function}({draft.x}, {kernel}, boundary='{word}'{fill}, normalize_kernel=False, nan_treatment='fill')"
        f"{draft.picked()}"
    )


WRITERS: Mapping[str, Callable[[Draft], str]] = {
    "numpy": numpy,
    "scipy.signal": scipy_signal,
    "scipy.ndimage": scipy_ndimage,
    "opencv": opencv,
    "matlab": matlab,
    "astropy": astropy,
}
