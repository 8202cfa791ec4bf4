"""Their call -> our meaning, for the network libraries: batch, channels, groups, and where the channels stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from convkit.errors import choose
from convkit.explain.meaning import Meaning, Note
from convkit.explain.source import Call, CallError, literal
from convkit.spec.dialects import Dialect


def torch(text: str, call: Call, dialect: Dialect, kernel_shape: Sequence[int] | None) -> Meaning:
    """``torch.nn.functional``: our own layouts and, apart from the names, our own options."""
    transposed = dialect.verb == "transposed"
    names = ("stride", "padding", "dilation", "groups", *(("output_padding",) if transposed else ()))
    options = {name: _tuple(literal(call, name)) for name in names}
    notes: tuple[Note, ...] = ()
    if isinstance(options["padding"], str):
        choose("padding", options["padding"], ("same", "valid"))
        if options["padding"] == "same":
            notes = (Note("note.torch-same"),)
    return Meaning(
        call=text,
        dialect=dialect,
        verb="conv_transpose" if transposed else "conv",
        rank=dialect.ranks[0],
        x=call.text("input"),
        k=call.text("weight"),
        bias=None if call["bias"] is None else call.text("bias"),
        options=options,
        kernel_shape=None if kernel_shape is None else tuple(kernel_shape),
        notes=notes,
    )


def tensorflow(text: str, call: Call, dialect: Dialect, kernel_shape: Sequence[int] | None) -> Meaning:
    """``tf.nn``: channels last, weights (space, in, out)."""
    layout = literal(call, "data_format")
    last = layout is None or str(layout).endswith("C")
    if layout is not None:
        choose("data_format", layout, ("NWC", "NHWC", "NDHWC", "NCW", "NCHW", "NCDHW"))
    stride = literal(call, "stride" if "stride" in call.arguments else "strides")
    dilation = literal(call, "dilations")
    padding = literal(call, "padding")
    each = [cast("Sequence[int]", item) for item in (stride, dilation) if isinstance(item, list | tuple)]
    lengths = [len(item) - 2 for item in each if len(item) > 3]
    if dialect.ranks:
        known, rank = True, dialect.ranks[0]
    elif layout is not None:
        known, rank = True, len(str(layout)) - 2
    elif lengths:
        known, rank = True, lengths[0]
    else:
        known, rank = kernel_shape is not None, 2 if kernel_shape is None else len(kernel_shape)
    options = {
        "stride": _space(stride, rank, last),
        "padding": _tensorflow_padding(call, padding, rank, last),
        "dilation": _space(dilation, rank, last),
    }
    x, before, after = call.text("input"), "", ""
    if last:
        x, before, after = f"np.moveaxis({x}, -1, 1)", "np.moveaxis(", ", 1, -1)"
    return Meaning(
        call=text,
        dialect=dialect,
        verb="conv",
        rank=rank,
        rank_known=known,
        x=x,
        k=f"np.moveaxis({call.text('filters')}, (-1, -2), (0, 1))",
        options=options,
        before=before,
        after=after,
        kernel_shape=None if kernel_shape is None else tuple(kernel_shape),
        notes=(Note("note.layout", {"function": dialect.name}),),
    )


def _tensorflow_padding(call: Call, padding: object, rank: int, last: bool) -> object:
    if isinstance(padding, str):
        return choose("padding", padding, ("SAME", "VALID")).lower()
    given = cast("Sequence[Sequence[int]]", padding) if isinstance(padding, list | tuple) else ()
    if len(given) != rank + 2:
        raise CallError("unsupported-option", function=call.name, parameter="padding", value=call.text("padding"))
    pairs = [tuple(pair) for pair in given]
    return tuple(pairs[1:-1] if last else pairs[2:])


def _space(value: object, rank: int, last: bool) -> object:
    """The entries of the spatial axes; TensorFlow also takes one for batch and one for channels."""
    if value is None:
        return 1
    if not isinstance(value, list | tuple):
        return value
    items = tuple(cast("Sequence[int]", value))
    if len(items) == rank + 2:
        items = items[1:-1] if last else items[2:]
    return items[0] if len(items) == 1 else items


def onnx(text: str, call: Call, dialect: Dialect, kernel_shape: Sequence[int] | None) -> Meaning:
    """``Conv`` and ``ConvTranspose``, their attributes written as keywords."""
    transposed = dialect.verb == "transposed"
    attributes = {
        name: literal(call, name) for name in ("dilations", "strides", "pads", "kernel_shape", "auto_pad", "group")
    }
    kernel = kernel_shape if kernel_shape is not None else cast("Sequence[int] | None", attributes["kernel_shape"])
    known, rank = False, 2
    for value, count in (
        (kernel, 1),
        (attributes["strides"], 1),
        (attributes["dilations"], 1),
        (attributes["pads"], 2),
    ):
        if value is not None:
            known, rank = True, len(cast("Sequence[int]", value)) // count
            break
    dilation = _tuple(attributes["dilations"]) or 1
    stride = _tuple(attributes["strides"]) or 1
    options: dict[str, object] = {"stride": stride, "padding": _onnx_padding(call, attributes, kernel, rank)}
    options |= {"dilation": dilation, "groups": attributes["group"]}
    if transposed:
        options["output_padding"] = _tuple(literal(call, "output_padding")) or 0
        if literal(call, "output_shape") is not None:
            raise CallError(
                "unsupported-option", function=call.name, parameter="output_shape", value=repr(call["output_shape"])
            )
    return Meaning(
        call=text,
        dialect=dialect,
        verb="conv_transpose" if transposed else "conv",
        rank=rank,
        rank_known=known,
        x=call.text("X"),
        k=call.text("W"),
        bias=None if call["B"] is None else call.text("B"),
        options=options,
        kernel_shape=None if kernel is None else tuple(kernel),
    )


def _onnx_padding(call: Call, attributes: dict[str, object], kernel: Sequence[int] | None, rank: int) -> object:
    auto = choose("auto_pad", attributes["auto_pad"], ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if auto == "NOTSET":
        pads = cast("Sequence[int] | None", attributes["pads"])
        return 0 if pads is None else tuple((pads[axis], pads[axis + rank]) for axis in range(rank))
    if auto == "VALID":
        return 0
    refused = CallError("unsupported-option", function=call.name, parameter="auto_pad", value=repr(auto))
    if call.name == "onnx.ConvTranspose":
        raise refused
    if auto == "SAME_UPPER":
        return "same"
    strides, dilations = attributes["strides"], cast("Sequence[int] | None", attributes["dilations"]) or (1,) * rank
    if kernel is None or any(s != 1 for s in cast("Sequence[int] | None", strides) or ()):
        # the spare pad stands in front, and with strides its size depends on the input
        raise refused
    totals = [step * (size - 1) for step, size in zip(dilations, kernel, strict=True)]
    return tuple((total - total // 2, total // 2) for total in totals)


def _tuple(value: object) -> object:
    return tuple(cast("Sequence[object]", value)) if isinstance(value, list | tuple) else value
