"""A spec in the words of torch, TensorFlow and ONNX. Plain arrays get a batch and a channel of 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from convkit.explain.draft import CannotSay, Draft
from convkit.explain.meaning import Note
from convkit.explain.symbols import Size, scalar_or_sequence, sequence
from convkit.spec.dialects import TENSORFLOW_PAD, TORCH_PAD, word_for

Pads = list[tuple[Size, Size]]


def _pads(draft: Draft, library: str) -> Pads:
    """The padding as numbers or expressions; a network's ``"same"`` where it can be worked out."""
    spec = draft.spec
    if not draft.network:
        return draft.pads()
    if spec.padding != "same":
        return [(before, after) for before, after in spec.padding or ()]
    if draft.input_shape is not None and draft.kernel_shape is not None:
        return [(before, after) for before, after in spec.pads(draft.input_shape, draft.kernel_shape)]
    if any(step != 1 for step in spec.stride):
        raise CannotSay("same-needs-sizes", library=library)
    totals = [(draft.kernel(axis) - 1) * spec.dilation[axis] for axis in range(draft.rank)]
    return [(total // 2, total - total // 2) for total in totals]


def _conjugation(draft: Draft, library: str) -> None:
    if draft.spec.conjugate:
        draft.notes.append(Note("note.real-only", {"function": library}))


def _steps(draft: Draft, stride: str, dilation: str) -> str:
    text = ""
    for name, values in ((stride, draft.spec.stride), (dilation, draft.spec.dilation)):
        if any(value != 1 for value in values):
            text += f", {name}={scalar_or_sequence(values)}"
    return text


def torch(draft: Draft) -> str:
    """``torch.nn.functional``: native for symmetric zero padding, ``pad`` before it otherwise."""
    draft.refuse(ranks=(1, 2, 3), function="torch.nn.functional")
    if draft.spec.direction == "transposed":
        return _torch_transposed(draft)
    spec, axes = draft.spec, range(draft.rank)
    spatial = ", ".join(str(axis + (2 if draft.network else 0)) for axis in axes)
    kernel = f"{draft.k}.flip({spatial})" if spec.operation == "convolution" else draft.k
    x, end = draft.x, ""
    if not draft.network:
        x, kernel, end = f"{x}[None, None]", f"{kernel}[None, None]", "[0, 0]"
        _conjugation(draft, "torch")
    padding = ""
    unit = all(step == 1 for step in spec.stride)
    if spec.padding == "same" and unit and draft.plain_padding():
        padding = ", padding='same'"
    else:
        pads = _pads(draft, "torch")
        if draft.plain_padding() and all(before == after for before, after in pads):
            if any(before != 0 for before, _ in pads):
                padding = f", padding={scalar_or_sequence([before for before, _ in pads])}"
        elif any(pad != (0, 0) for pad in pads):
            x = _torch_padded(draft, x, pads)
    options = padding + _steps(draft, "stride", "dilation") + (f", groups={spec.groups}" if spec.groups != 1 else "")
    bias = f", {draft.bias}" if draft.bias else ""
    return f"torch.nn.functional.conv{draft.rank}d({x}, {kernel}{bias}{options}){end}"


def _torch_padded(draft: Draft, x: str, pads: Pads) -> str:
    boundary = draft.boundary()
    word = word_for(boundary, TORCH_PAD)
    if word is None:
        raise CannotSay("boundary", function="torch.nn.functional.pad", boundary=boundary)
    if word in ("reflect", "circular"):
        if draft.input_shape is None or not all(isinstance(side, int) for pad in pads for side in pad):
            draft.notes.append(Note("note.short-pads", {"function": "torch.nn.functional.pad"}))
        elif any(
            isinstance(side, int) and side > size - (word == "reflect")
            for size, pad in zip(draft.input_shape, pads, strict=True)
            for side in pad
        ):
            raise CannotSay("long-pads", function="torch.nn.functional.pad", boundary=boundary)
    draft.composed = True
    # torch lists the last axis first
    widths = sequence([side for pad in reversed(pads) for side in pad])
    value = f", value={draft.spec.fill!r}" if boundary == "constant" else ""
    mode = "" if word == "constant" else f", mode='{word}'"
    return f"torch.nn.functional.pad({x}, {widths}{mode}{value})"


def _torch_transposed(draft: Draft) -> str:
    spec = draft.spec
    pads = _pads(draft, "torch")
    if any(before != after for before, after in pads):
        raise CannotSay("uneven-transposed", function=f"conv_transpose{draft.rank}d")
    spatial = ", ".join(str(axis + 2) for axis in range(draft.rank))
    kernel = f"{draft.k}.flip({spatial})" if spec.operation == "convolution" else draft.k
    options = (
        f", padding={scalar_or_sequence([before for before, _ in pads])}"
        if any(pads_ != (0, 0) for pads_ in pads)
        else ""
    )
    if any(spec.output_padding):
        options += f", output_padding={scalar_or_sequence(spec.output_padding)}"
    options += _steps(draft, "stride", "dilation") + (f", groups={spec.groups}" if spec.groups != 1 else "")
    bias = f", {draft.bias}" if draft.bias else ""
    return f"torch.nn.functional.conv_transpose{draft.rank}d({draft.x}, {kernel}{bias}{options})"


def tensorflow(draft: Draft) -> str:
    """``tf.nn``: channels last, so arrays are turned there and back."""
    draft.refuse(ranks=(1, 2, 3), function="tf.nn.convolution")
    spec, rank = draft.spec, draft.rank
    if spec.groups != 1:
        raise CannotSay("groups", function="tf.nn.convolution", groups=spec.groups)
    if any(s != 1 for s in spec.stride) and any(d != 1 for d in spec.dilation):
        raise CannotSay("stride-and-dilation", function="tf.nn.convolution")
    if spec.direction == "transposed":
        return _tensorflow_transposed(draft)
    flip = spec.operation == "convolution"
    if draft.network:
        there = (0, *range(2, rank + 2), 1)
        back = (0, rank + 1, *range(1, rank + 1))
        kernel = f"tf.reverse({draft.k}, {[axis + 2 for axis in range(rank)]})" if flip else draft.k
        kernel = f"tf.transpose({kernel}, {(*range(2, rank + 2), 1, 0)})"
        x = f"tf.transpose({draft.x}, {there})"
    else:
        _conjugation(draft, "TensorFlow")
        kernel = f"tf.reverse({draft.k}, {list(range(rank))})" if flip else draft.k
        x, kernel, back = f"{draft.x}[None, ..., None]", f"{kernel}[..., None, None]", ()
    padding = "VALID"
    if spec.padding == "same" and draft.plain_padding():
        padding = "SAME"
    else:
        pads = _pads(draft, "TensorFlow")
        if any(pad != (0, 0) for pad in pads):
            x = _tensorflow_padded(draft, x, pads)
    call = f"tf.nn.convolution({x}, {kernel}, padding='{padding}'{_steps(draft, 'strides', 'dilations')})"
    if not draft.network:
        return f"{call}[0, ..., 0]"
    added = f"{call} + {draft.bias}" if draft.bias else call
    draft.composed = True
    return f"tf.transpose({added}, {back})"


def _tensorflow_padded(draft: Draft, x: str, pads: Pads) -> str:
    boundary = draft.boundary()
    word = word_for(boundary, TENSORFLOW_PAD)
    if word is None:
        raise CannotSay("boundary", function="tf.pad", boundary=boundary)
    if word != "CONSTANT":
        if draft.input_shape is None or not all(isinstance(side, int) for pad in pads for side in pad):
            draft.notes.append(Note("note.short-pads", {"function": "tf.pad"}))
        elif any(
            isinstance(side, int) and side > size - (word == "REFLECT")
            for size, pad in zip(draft.input_shape, pads, strict=True)
            for side in pad
        ):
            raise CannotSay("long-pads", function="tf.pad", boundary=boundary)
    draft.composed = True
    widths = ", ".join(["(0, 0)", *(sequence(list(pad)) for pad in pads), "(0, 0)"])
    value = f", constant_values={draft.spec.fill!r}" if boundary == "constant" else ""
    return f"tf.pad({x}, ({widths}), '{word}'{value})"


def _tensorflow_transposed(draft: Draft) -> str:
    spec, rank = draft.spec, draft.rank
    if any(step != 1 for step in spec.dilation):
        raise CannotSay("dilation", function="tf.nn.conv_transpose")
    pads = _pads(draft, "TensorFlow")
    lengths: list[Size] = []
    crops = [":"]
    for axis, (before, after) in enumerate(pads):
        whole = (draft.size(axis) - 1) * spec.stride[axis] + draft.kernel(axis)
        spare = spec.output_padding[axis]
        assert isinstance(after, int)
        if spare - after >= spec.stride[axis]:
            raise CannotSay("output-padding", function="tf.nn.conv_transpose")
        lengths.append(whole + max(0, spare - after))
        crops.append(f"{before}:{whole - after + spare}" if (before, after) != (0, 0) else ":")
    flip = spec.operation == "convolution"
    kernel = f"tf.reverse({draft.k}, {[axis + 2 for axis in range(rank)]})" if flip else draft.k
    shape = ", ".join([f"{draft.x}.shape[0]", *map(str, lengths), f"{draft.k}.shape[1]"])
    crop = f"[{', '.join(crops)}]" if any(part != ":" for part in crops) else ""
    call = (
        f"tf.nn.conv_transpose(tf.transpose({draft.x}, {(0, *range(2, rank + 2), 1)}), "
        f"tf.transpose({kernel}, {(*range(2, rank + 2), 1, 0)}), ({shape}), "
        f"{scalar_or_sequence(spec.stride)}, 'VALID'){crop}"
    )
    draft.composed = True
    added = f"{call} + {draft.bias}" if draft.bias else call
    return f"tf.transpose({added}, {(0, rank + 1, *range(1, rank + 1))})"


def onnx(draft: Draft) -> str:
    """An ONNX node, run by ONNX's own evaluator: zeros outside, any padding."""
    spec, rank = draft.spec, draft.rank
    draft.refuse(ranks=(1, 2, 3), function="onnx Conv")
    transposed = spec.direction == "transposed"
    if not draft.plain_padding() and not (spec.mode == "valid"):
        raise CannotSay("boundary", function="onnx Conv", boundary=_named(draft))
    x, kernel, end = draft.x, draft.k, "[0]"
    if spec.operation == "convolution":
        axes = tuple(axis + (2 if draft.network else 0) for axis in range(rank))
        kernel = f"np.flip({kernel}, {axes})" if draft.network else f"np.flip({kernel})"
    if not draft.network:
        x, kernel, end = f"{x}[None, None]", f"{kernel}[None, None]", "[0][0, 0]"
        _conjugation(draft, "ONNX")
    attributes = ""
    if spec.padding == "same":
        attributes += ", auto_pad='SAME_UPPER'"
    else:
        pads = _pads(draft, "ONNX")
        if any(pad != (0, 0) for pad in pads):
            attributes += f", pads=[{', '.join(str(pad[side]) for side in (0, 1) for pad in pads)}]"
    for name, values, usual in (
        ("strides", spec.stride, 1),
        ("dilations", spec.dilation, 1),
        ("output_padding", spec.output_padding, 0),
    ):
        if any(value != usual for value in values):
            attributes += f", {name}={list(values)}"
    if spec.groups != 1:
        attributes += f", group={spec.groups}"
        if transposed:
            draft.notes.append(Note("note.onnx-evaluator"))
    name = "ConvTranspose" if transposed else "Conv"
    inputs, feeds = '"x", "w"', f'"x": {x}, "w": {kernel}'
    if draft.bias:
        inputs, feeds = inputs + ', "b"', f'{feeds}, "b": {draft.bias}'
    return (
        f'node = onnx.helper.make_node("{name}", [{inputs}], ["y"]{attributes})\n'
        f"y = onnx.reference.ReferenceEvaluator(node).run(None, {{{feeds}}}){end}"
    )


def _named(draft: Draft) -> str:
    names = sorted({draft.name(name) for sides in draft.spec.boundary for name in sides})
    return ", ".join(names)


WRITERS: Mapping[str, Callable[[Draft], str]] = {"torch": torch, "tensorflow": tensorflow, "onnx": onnx}
