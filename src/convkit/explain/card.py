"""The passport of a call: what it computes, item by item, and the same call in other libraries' words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, cast

from convkit.catalogue import say
from convkit.errors import OptionError, ShapeError
from convkit.explain.formula import STRIPS, formula, size_lines
from convkit.explain.meaning import Meaning, Note
from convkit.explain.reading import meaning_of
from convkit.explain.writing import Written, convkit_code, write_all
from convkit.spec import ConvSpec


@dataclass(frozen=True, slots=True)
class Passport:
    """What a spec means, item by item, and the same call elsewhere.

    Attributes
    ----------
    spec : ConvSpec
        What is computed.
    code : str
        Our own call.
    calls : tuple of Written
        The call in each library, or the reason why it has none.
    notes : tuple of Note
        What to keep in mind; filled where the passport was made from another library's call.
    input_shape, kernel_shape : tuple of int or None
        Sizes along the convolved axes, where given.
    """

    spec: ConvSpec
    code: str
    calls: tuple[Written, ...]
    notes: tuple[Note, ...] = ()
    input_shape: tuple[int, ...] | None = None
    kernel_shape: tuple[int, ...] | None = None

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The items, label and value, in the language in force."""
        spec = self.spec
        values: list[tuple[str, str]] = [
            ("operation", say(f"explain.operation.{_operation(spec)}")),
            ("flip", say(f"explain.flip.{'yes' if spec.operation == 'convolution' else 'no'}")),
            ("conjugation", say(f"explain.conjugation.{'yes' if spec.conjugate else 'no'}")),
            ("extent", self._extent()),
            ("boundary", self._boundary()),
            ("anchor", self._anchor()),
            ("stride", " x ".join(map(str, spec.stride))),
            ("dilation", " x ".join(map(str, spec.dilation))),
        ]
        if spec.mode is None:
            values.append(("groups", str(spec.groups)))
        values += [
            ("layout", say(f"explain.layout.{spec.direction if spec.mode is None else 'arrays'}")),
            ("dtype", self._dtype()),
            ("nan", say(f"explain.nan.{spec.nan}")),
            ("formula", formula(spec, self.kernel_shape)),
        ]
        if self.input_shape is not None and self.kernel_shape is not None:
            values.append(("size", "; ".join(size_lines(spec, self.input_shape, self.kernel_shape))))
        return [(say(f"explain.label.{name}"), value) for name, value in values]

    def _extent(self) -> str:
        spec = self.spec
        if spec.mode is not None:
            return say(f"explain.extent.{spec.mode}")
        if spec.padding == "same":
            return say("explain.extent.padding-same")
        pads = ", ".join(f"({before}, {after})" for before, after in spec.padding or ())
        key = "padding-transposed" if spec.direction == "transposed" else "padding"
        return say(f"explain.extent.{key}", pads=pads, spare=", ".join(map(str, spec.output_padding)) or "0")

    def _boundary(self) -> str:
        spec = self.spec
        if spec.direction == "transposed":
            return say("explain.boundary-none")
        sides = list(dict.fromkeys(name for pair in spec.boundary for name in pair))
        strips = "; ".join(f"{name}: {STRIPS[name]}" for name in sides)
        if "constant" in sides:
            strips += f" (v = {spec.fill})"
        if len(sides) > 1:
            each = [before if before == after else f"({before}, {after})" for before, after in spec.boundary]
            strips += f" [{', '.join(each)}]"
        return strips

    def _anchor(self) -> str:
        spec = self.spec
        if spec.mode != "same":
            return say("explain.anchor.none")
        if spec.anchor is not None:
            each = ", ".join("-" if anchor is None else str(anchor) for anchor in spec.anchor)
            return say("explain.anchor.given", anchors=each)
        if self.kernel_shape is not None:
            each = ", ".join(str(spec.anchor_of(axis, size)) for axis, size in enumerate(self.kernel_shape))
            return say("explain.anchor.given", anchors=each)
        return say(f"explain.anchor.{spec.operation}")

    def _dtype(self) -> str:
        spec = self.spec
        if spec.dtype is None:
            return say("explain.dtype.free")
        return say("explain.dtype.given", dtype=spec.dtype, overflow=say(f"explain.overflow.{spec.overflow}"))

    def text(self) -> str:
        """The passport as plain text."""
        lines = [self.code, ""]
        lines += [f"{label}: {value}" for label, value in self.rows]
        lines += [f"{say('explain.label.note')}: {note}" for note in self.notes]
        lines += ["", say("explain.calls-title")]
        for written in self.calls:
            lines.append(f"  {say(f'explain.library.{written.library}')}")
            body = written.code.splitlines() if written.code else [f"- {written.reason}"]
            lines += [f"    {line}" for line in body]
            lines += [f"      ({note})" for note in written.notes]
        return "\n".join(lines)

    def markdown(self) -> str:
        """The passport as Markdown."""
        lines = [f"`{self.code}`", "", f"| {say('explain.label.item')} | {say('explain.label.value')} |", "|---|---|"]
        lines += [f"| {label} | {_cell(value)} |" for label, value in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes), "", f"**{say('explain.calls-title')}**", ""]
        for written in self.calls:
            lines.append(f"{say(f'explain.library.{written.library}')}:")
            lines += ["", "```python", written.code, "```", ""] if written.code else [f"{written.reason}", ""]
            lines += [f"- {note}" for note in written.notes] + ([""] if written.notes else [])
        return "\n".join(lines).strip() + "\n"

    def html(self) -> str:
        """The passport as a self-contained piece of HTML."""
        rows = "".join(f'<tr><th scope="row">{escape(a)}</th><td>{escape(b)}</td></tr>' for a, b in self.rows)
        notes = "".join(f"<li>{escape(str(note))}</li>" for note in self.notes)
        calls = ""
        for written in self.calls:
            said = f"<pre><code>{escape(written.code)}</code></pre>" if written.code else escape(str(written.reason))
            hints = "".join(f"<br/><small>{escape(str(note))}</small>" for note in written.notes)
            name = escape(say(f"explain.library.{written.library}"))
            calls += f'<tr><th scope="row">{name}</th><td>{said}{hints}</td></tr>'
        return (
            f'<section class="convkit-passport"><p><code>{escape(self.code)}</code></p><table>{rows}</table>'
            f"{f'<ul>{notes}</ul>' if notes else ''}"
            f"<table><caption>{escape(say('explain.calls-title'))}</caption>{calls}</table></section>"
        )

    _repr_html_ = html

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """The passport as plain data, for programs."""
        spec = self.spec
        return {
            "code": self.code,
            "operation": spec.operation,
            "direction": spec.direction,
            "flip": "yes" if spec.operation == "convolution" else "no",
            "conjugation": "yes" if spec.conjugate else "no",
            "mode": spec.mode,
            "padding": spec.padding if isinstance(spec.padding, str) else [list(p) for p in spec.padding or ()],
            "output_padding": list(spec.output_padding),
            "boundary": [list(sides) for sides in spec.boundary],
            "fill": spec.fill if not isinstance(spec.fill, complex) else [spec.fill.real, spec.fill.imag],
            "anchor": None if spec.anchor is None else list(spec.anchor),
            "stride": list(spec.stride),
            "dilation": list(spec.dilation),
            "groups": spec.groups,
            "dtype": spec.dtype,
            "overflow": spec.overflow,
            "nan": spec.nan,
            "formula": formula(spec, self.kernel_shape),
            "rows": [list(row) for row in self.rows],
            "notes": [str(note) for note in self.notes],
            "calls": [
                {
                    "library": written.library,
                    "code": written.code,
                    "reason": None if written.reason is None else str(written.reason),
                    "notes": [str(note) for note in written.notes],
                }
                for written in self.calls
            ],
        }


def _operation(spec: ConvSpec) -> str:
    if spec.direction == "transposed":
        return f"transposed-{spec.operation}"
    return spec.operation


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def passport(
    spec_or_call: object,
    *,
    input_shape: Sequence[int] | None = None,
    kernel_shape: Sequence[int] | None = None,
) -> Passport:
    """The passport of a spec or of a call: operation, flip, extent, boundary, anchor ... and the call elsewhere.

    Parameters
    ----------
    spec_or_call : ConvSpec, str, or an object with a ``spec``
        A call as text may be ours or another library's: ``"scipy.ndimage.convolve(x, k, mode='mirror')"``.
    input_shape, kernel_shape : sequence of int, optional
        Shapes of the arrays, which turn expressions such as ``k.shape[0]`` into numbers. Batch and channels may
        be left out.

    Raises
    ------
    CallError
        Codes ``call.*``: the text cannot be read.
    OptionError
        ``option.not-a-spec``.

    Examples
    --------
    >>> print(passport("ck.convolve(x, k, mode='same')").calls[0].code)
    np.convolve(x, k, mode='same')
    """
    if isinstance(spec_or_call, str):
        meaning = meaning_of(spec_or_call, None)
        kernel = _spatial(kernel_shape, meaning.rank)
        if kernel is not None and len(kernel) != meaning.rank and not meaning.rank_known:
            kernel = tuple(cast("Sequence[int]", kernel_shape))
        elif kernel is not None and len(kernel) != meaning.rank:
            raise ShapeError("rank-differs", rank=meaning.rank, axes=len(kernel))
        meaning = meaning_of(spec_or_call, kernel) if kernel is not None else meaning
        return passport_of(meaning, _spatial(input_shape, meaning.rank))
    spec = spec_or_call if isinstance(spec_or_call, ConvSpec) else getattr(spec_or_call, "spec", None)
    if not isinstance(spec, ConvSpec):
        raise OptionError("not-a-spec", value=type(spec_or_call).__name__)
    kernel, sizes = _spatial(kernel_shape, spec.rank), _spatial(input_shape, spec.rank)
    calls = write_all(spec, kernel_shape=kernel, input_shape=sizes)
    return Passport(spec, convkit_code(spec), calls, (), sizes, kernel)


def passport_of(meaning: Meaning, input_shape: tuple[int, ...] | None = None) -> Passport:
    """The passport of a call that has been read."""
    names: Mapping[str, Any] = {"x": array_text(meaning.x), "k": array_text(meaning.k), "bias": meaning.bias}
    spec = meaning.spec
    calls = write_all(spec, kernel_shape=meaning.kernel_shape, input_shape=input_shape, **names)
    return Passport(spec, meaning.code, calls, meaning.notes, input_shape, meaning.kernel_shape)


def array_text(text: str) -> str:
    """Source text of an array that may be indexed: a literal list becomes an array."""
    return f"np.array({text})" if text.startswith(("[", "(")) and "np.sum" not in text else text


def _spatial(shape: Sequence[int] | None, rank: int) -> tuple[int, ...] | None:
    if shape is None:
        return None
    given = tuple(shape)
    return given[2:] if len(given) == rank + 2 else given
