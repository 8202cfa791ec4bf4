"""Their call -> our meaning, for functions on plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from convkit.errors import choose
from convkit.explain.meaning import Meaning, Note
from convkit.explain.reading_networks import onnx, tensorflow, torch
from convkit.explain.source import Call, CallError, Expression, literal, read
from convkit.spec.dialects import DIALECTS, OPENCV_NUMBERS, Dialect
from convkit.spec.options import whole_number


def meaning_of(text: str, kernel_shape: Sequence[int] | None = None) -> Meaning:
    """What a call, written as text, computes.

    Parameters
    ----------
    text : str
        ``"scipy.ndimage.convolve(x, k, mode='mirror')"``; one of the functions of `convkit.spec.dialects`, or a
        verb of convkit.
    kernel_shape : sequence of int, optional
        Sizes of the kernel along the convolved axes, where the call does not show them.

    Raises
    ------
    CallError
        Codes ``call.*``: the call cannot be read, or asks for something that has no equal here.
    OptionError
        ``option.unknown-value``: a word that the function does not know.

    Examples
    --------
    >>> meaning_of("scipy.ndimage.convolve(x, k, mode='mirror')").code
    "ck.convolve(x, k, mode='same', boundary='reflect', anchor=[n // 2 for n in k.shape])"
    """
    call = read(text)
    dialect = DIALECTS.get(call.name)
    if dialect is None:
        return _own(text, call, kernel_shape)
    meaning = _READERS.get(dialect.library, _plain)(text.strip(), call, dialect, kernel_shape)
    notes = [*meaning.notes]
    if dialect.operation == "correlation" and "conv" in dialect.name.rpartition(".")[2].lower():
        notes.insert(0, Note("note.no-flip", {"function": dialect.name}))
    if meaning.anchor_text() is not None:
        element = "K//2" if meaning.anchor == "upper" else "(K-1)//2"
        notes.append(Note("note.anchor", {"function": dialect.name, "element": element, "verb": f"ck.{meaning.verb}"}))
    if dialect.conjugates:
        notes.append(Note("note.conjugates", {"function": dialect.name}))
    if not meaning.rank_known:
        notes.append(Note("note.rank", {"rank": meaning.rank}))
    return replace(meaning, notes=tuple(notes))


def _own(text: str, call: Call, kernel_shape: Sequence[int] | None) -> Meaning:
    verb = call.name.removeprefix("convkit.")
    network = verb in ("conv", "conv_transpose")
    kernel = "w" if network else "k"
    options: dict[str, object] = {"mode": literal(call, "mode")} if not network else {}
    for name in call.given:
        if name in ("weights", "mask", "out"):
            options[name] = call[name]
        elif name not in ("x", kernel, "bias", "mode"):
            options[name] = literal(call, name)
    shape = tuple(kernel_shape) if kernel_shape is not None else _shape(call[kernel])
    if network and shape is not None and kernel_shape is None:
        shape = shape[2:]
    known, rank = _rank(options, shape, (), 2 if network else 1)
    bias = None if not network or call["bias"] is None else call.text("bias")
    meaning = Meaning(
        call=text.strip(), dialect=None, verb=verb, rank=rank, rank_known=known, x=call.text("x"),
        k=call.text(kernel), bias=bias, options=options, kernel_shape=shape,
        notes=() if known else (Note("note.rank", {"rank": rank}),),
    )  # fmt: skip
    _ = meaning.spec  # an option that cannot be is refused here, with the verb's own words
    return meaning


def _shape(value: object) -> tuple[int, ...] | None:
    """Shape of an array that is written out in the call."""
    sizes: list[int] = []
    while isinstance(value, list | tuple) and value:
        items = cast("Sequence[object]", value)
        sizes.append(len(items))
        value = items[0]
    return tuple(sizes) or None


def _rank(
    options: Mapping[str, object], shape: Sequence[int] | None, ranks: Sequence[int], usual: int
) -> tuple[bool, int]:
    """Whether the number of axes can be told from the call, and what it is."""
    if len(ranks) == 1:
        return True, ranks[0]
    if shape is not None:
        return True, len(shape)
    for name in ("axes", "stride", "dilation", "padding", "anchor", "output_padding", "origin", "boundary"):
        value = options.get(name)
        if isinstance(value, list | tuple):
            return True, len(cast("Sequence[object]", value))
    return False, usual


def _boundary(call: Call, dialect: Dialect) -> tuple[dict[str, object], list[Note]]:
    """Our ``boundary`` and ``fill`` for theirs."""
    if not dialect.boundaries or dialect.boundary not in call.arguments:
        return {}, []
    word = literal(call, dialect.boundary)
    fill = literal(call, dialect.fill) if dialect.fill in call.arguments else 0
    ours: str = dialect.boundaries[choose(dialect.boundary, word, dialect.boundaries)]
    ours = "constant" if ours == "zero" and fill != 0 else ours
    options: dict[str, object] = {"boundary": ours}
    if ours == "constant":
        options["fill"] = fill
    if ours == word:
        return options, []
    return options, [Note("note.word", {"theirs": f"{dialect.boundary}={word!r}", "ours": f"boundary={ours!r}"})]


def _plain(text: str, call: Call, dialect: Dialect, kernel_shape: Sequence[int] | None) -> Meaning:
    """NumPy, scipy.signal, scipy.ndimage, MATLAB's conv family: an extent, a boundary, an anchor."""
    _only(call, dialect, ("mode", "shape", dialect.boundary, dialect.fill, "origin", "axes", "axis", "up", "down"))
    word = "shape" if dialect.library == "matlab" else "mode"
    mode = dialect.mode or dialect.modes[choose(word, literal(call, word), dialect.modes)]
    options: dict[str, object] = {"mode": mode}
    changes, notes = _boundary(call, dialect)
    options |= changes
    shape = tuple(kernel_shape) if kernel_shape is not None else _shape(call[dialect.k])
    origin: tuple[int, ...] = ()
    if "axis" in call.arguments:
        options["axes"] = (literal(call, "axis"),)
    elif call.arguments.get("axes") is not None:
        axes = literal(call, "axes")
        options["axes"] = (axes,) if isinstance(axes, int) else tuple(cast("Sequence[int]", axes))
        if "origin" not in call.arguments:
            # scipy.signal: the kernel has all the axes, and shape says nothing about those convolved
            shape = None
    hints: dict[str, object] = {**options, "origin": call.arguments.get("origin")}
    known, rank = _rank(hints, shape, dialect.ranks, 2 if dialect.library == "scipy.ndimage" else 1)
    if "origin" in call.arguments:
        origin = _origins(literal(call, "origin"), rank)
    if dialect.name == "scipy.signal.upfirdn" and _positive(call, "up") > 1:
        return _upsampled(text, call, dialect)
    if dialect.name == "scipy.signal.upfirdn":
        options["stride"] = _positive(call, "down")
    if mode != "full" and dialect.library in ("numpy", "scipy.signal"):
        notes.append(Note("note.longer-kernel", {"function": dialect.name}))
    if dialect.library in ("numpy", "scipy.ndimage"):
        notes.append(Note(f"note.integers-{dialect.library.removeprefix('scipy.')}", {"function": dialect.name}))
    return Meaning(
        call=text,
        dialect=dialect,
        verb="convolve" if dialect.operation == "convolution" else "correlate",
        rank=rank,
        rank_known=known,
        x=call.text(dialect.x),
        k=call.text(dialect.k),
        options=options,
        anchor=dialect.anchor if mode == "same" else "none",
        origin=origin,
        kernel_shape=shape,
        notes=tuple(notes),
    )


def _only(call: Call, dialect: Dialect, understood: Sequence[str]) -> None:
    """Refuse an option that has no equal here."""
    allowed = {dialect.x, dialect.k, *understood, *dialect.ignored}
    for name, value in call.given.items():
        if name not in allowed and value is not None:
            raise CallError("unsupported-option", function=call.name, parameter=name, value=repr(value))


def _origins(value: object, rank: int) -> tuple[int, ...]:
    each = tuple(cast("Sequence[int]", value)) if isinstance(value, list | tuple) else (cast("int", value),) * rank
    return each if any(each) else ()


def _positive(call: Call, parameter: str) -> int:
    return whole_number(parameter, literal(call, parameter), 1)


def _upsampled(text: str, call: Call, dialect: Dialect) -> Meaning:
    """``upfirdn`` with ``up`` above 1: zeros between the samples, which is a transposed convolution."""
    if literal(call, "mode") != "constant" or literal(call, "cval") != 0:
        raise CallError("unsupported-option", function=call.name, parameter="mode", value=repr(call["mode"]))
    down = _positive(call, "down")
    return Meaning(
        call=text,
        dialect=dialect,
        verb="conv_transpose",
        rank=1,
        x=f"{call.text('x')}[None, None]",
        k=f"{call.text('h')}[None, None]",
        options={"stride": (_positive(call, "up"),)},
        after="[0, 0]" + (f"[::{down}]" if down > 1 else ""),
        notes=(Note("note.upsampled", {"up": call["up"], "down": down}),),
    )


def _opencv(text: str, call: Call, dialect: Dialect, kernel_shape: Sequence[int] | None) -> Meaning:
    _only(call, dialect, ("ddepth", "anchor", "delta", "borderType"))
    border = call["borderType"]
    word = border.text.rpartition(".")[2] if isinstance(border, Expression) else border
    if isinstance(word, int):
        word = OPENCV_NUMBERS.get(word, str(word))
    boundary = dialect.boundaries[choose("borderType", word, dialect.boundaries)]
    options: dict[str, object] = {"mode": "same", "boundary": boundary}
    across, down = cast("tuple[int, int]", literal(call, "anchor"))
    if (across, down) != (-1, -1):
        # OpenCV's points are (x, y), and -1 is the middle
        options["anchor"] = tuple(None if place == -1 else place for place in (down, across))
    delta = call["delta"]
    notes = [Note("note.word", {"theirs": str(word), "ours": f"boundary={boundary!r}"}), Note("note.filter2d-types")]
    return Meaning(
        call=text,
        dialect=dialect,
        verb="correlate",
        rank=2,
        x=call.text("src"),
        k=call.text("kernel"),
        options=options,
        after="" if delta == 0 else f" + {call.text('delta')}",
        kernel_shape=tuple(kernel_shape) if kernel_shape is not None else _shape(call["kernel"]),
        notes=tuple(notes),
    )


def _matlab(text: str, call: Call, dialect: Dialect, kernel_shape: Sequence[int] | None) -> Meaning:
    if dialect.name != "imfilter":
        return _plain(text, call, dialect, kernel_shape)
    options: dict[str, object] = {"mode": "same", "boundary": "zero"}
    operation, notes = "corr", [Note("note.imfilter-types")]
    for item in call.extra:
        if isinstance(item, Expression):
            raise CallError("not-a-literal", function=call.name, parameter="options", value=item.text)
        if isinstance(item, int | float) and not isinstance(item, bool):
            options |= {"boundary": "constant", "fill": item} if item != 0 else {}
        elif item in ("conv", "corr"):
            operation = str(item)
        elif item in dialect.modes:
            options["mode"] = item
        else:
            choose("option", item, (*dialect.boundaries, *dialect.modes, "conv", "corr"))
            options["boundary"] = dialect.boundaries[str(item)]
            notes.append(Note("note.word", {"theirs": repr(item), "ours": f"boundary={options['boundary']!r}"}))
    shape = tuple(kernel_shape) if kernel_shape is not None else _shape(call["h"])
    known, rank = _rank(options, shape, (), 2)
    return Meaning(
        call=text,
        dialect=dialect,
        verb="convolve" if operation == "conv" else "correlate",
        rank=rank,
        rank_known=known,
        x=call.text("A"),
        k=call.text("h"),
        options=options,
        anchor="none" if options["mode"] != "same" else "upper" if operation == "conv" else "lower",
        kernel_shape=shape,
        notes=tuple(notes),
    )


def _astropy(text: str, call: Call, dialect: Dialect, kernel_shape: Sequence[int] | None) -> Meaning:
    _only(call, dialect, ("boundary", "fill_value", "nan_treatment", "normalize_kernel"))
    if literal(call, "boundary") is None:
        raise CallError("unsupported-option", function=call.name, parameter="boundary", value="None")
    changes, notes = _boundary(call, dialect)
    kernel, normalise = call.text("kernel"), literal(call, "normalize_kernel")
    if normalise not in (True, False):
        raise CallError("unsupported-option", function=call.name, parameter="normalize_kernel", value=repr(normalise))
    if normalise:
        notes.append(Note("note.normalised", {"function": dialect.name}))
    if literal(call, "nan_treatment") == "interpolate":
        notes.append(Note("note.nan", {"function": dialect.name}))
    if dialect.anchor == "odd-only":
        notes.append(Note("note.odd-only", {"function": dialect.name}))
    shape = tuple(kernel_shape) if kernel_shape is not None else _shape(call["kernel"])
    known, rank = _rank({}, shape, (), 2)
    return Meaning(
        call=text,
        dialect=dialect,
        verb="convolve",
        rank=rank,
        rank_known=known,
        x=call.text("array"),
        k=f"({kernel} / np.sum({kernel}))" if normalise else kernel,
        options={"mode": "same", **changes},
        anchor=dialect.anchor,
        kernel_shape=shape,
        notes=tuple(notes),
    )


_READERS: Mapping[str, Callable[[str, Call, Dialect, Any], Meaning]] = {
    "opencv": _opencv,
    "matlab": _matlab,
    "astropy": _astropy,
    "torch": torch,
    "tensorflow": tensorflow,
    "onnx": onnx,
}
