"""Another library's call in our words, with what differs; and, if asked, in a third library's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from convkit.catalogue import say
from convkit.errors import choose
from convkit.explain.card import Passport, array_text, passport_of
from convkit.explain.meaning import Meaning, Note
from convkit.explain.reading import meaning_of
from convkit.explain.writing import Written, write
from convkit.spec import ConvSpec
from convkit.spec.dialects import LIBRARIES

_ALIASES: Mapping[str, str] = {
    "cv2": "opencv",
    "tf": "tensorflow",
    "scipy": "scipy.signal",
    "ndimage": "scipy.ndimage",
    "np": "numpy",
}


@dataclass(frozen=True, slots=True)
class Translation:
    """A call and its equal.

    Attributes
    ----------
    call : str
        The call as it was written.
    meaning : Meaning
        What it computes.
    target : Written or None
        The call in the library asked for.
    """

    call: str
    meaning: Meaning
    target: Written | None = None

    @property
    def code(self) -> str:
        """The equal ``ck`` call as source text."""
        return self.meaning.code

    @property
    def spec(self) -> ConvSpec:
        """The spec of the call.

        Where the kernel's size is not known, it is the spec for odd kernels; `code` holds for every size.
        """
        return self.meaning.spec

    @property
    def notes(self) -> tuple[Note, ...]:
        """What differs, in sentences."""
        return self.meaning.notes + (self.target.notes if self.target is not None else ())

    @property
    def passport(self) -> Passport:
        """The passport of the call."""
        return passport_of(self.meaning)

    def text(self) -> str:
        """The translation as plain text."""
        lines = [self.call, f"= {self.code}"]
        if self.target is not None:
            name = say(f"explain.library.{self.target.library}")
            said = self.target.code or say("explain.no-words", library=name, reason=str(self.target.reason))
            lines.append(f"= {said}" if self.target.code else said)
        return "\n".join(lines + [f"- {note}" for note in self.notes])

    def markdown(self) -> str:
        """The translation as Markdown."""
        code = [self.call, self.code]
        after: list[str] = []
        if self.target is not None and self.target.code:
            code.append(self.target.code)
        elif self.target is not None:
            name = say(f"explain.library.{self.target.library}")
            after = [say("explain.no-words", library=name, reason=str(self.target.reason)), ""]
        lines = ["```python", *code, "```", "", *after, *(f"- {note}" for note in self.notes)]
        return "\n".join(lines).rstrip() + "\n"

    def html(self) -> str:
        """The translation as a self-contained piece of HTML."""
        lines = [self.call, self.code, *([self.target.code] if self.target and self.target.code else [])]
        code = "".join(f"<pre><code>{escape(line)}</code></pre>" for line in lines)
        notes = "".join(f"<li>{escape(str(note))}</li>" for note in self.notes)
        if self.target is not None and self.target.reason is not None:
            notes = f"<li>{escape(str(self.target.reason))}</li>{notes}"
        return f'<section class="convkit-translation">{code}<ul>{notes}</ul></section>'

    _repr_html_ = html

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """The translation as plain data, for programs."""
        return {
            "call": self.call,
            "code": self.code,
            "notes": [str(note) for note in self.notes],
            "target": None
            if self.target is None
            else {
                "library": self.target.library,
                "code": self.target.code,
                "reason": None if self.target.reason is None else str(self.target.reason),
            },
        }


def translate(call: str, *, to: str | None = None, kernel_shape: Sequence[int] | None = None) -> Translation:
    """Say another library's call in our words, with notes on what differs.

    Parameters
    ----------
    call : str
        A call as text; it is read, never run.
    to : str, optional
        A library of `convkit.spec.dialects.LIBRARIES` to say it in as well: ``to="torch"``.
    kernel_shape : sequence of int, optional
        Sizes of the kernel along the convolved axes; needed where the meaning depends on them.

    Raises
    ------
    CallError
        ``call.not-a-call``, ``call.unknown-function``, ``call.unknown-parameter``, ``call.too-many-arguments``,
        ``call.twice``, ``call.missing-argument``, ``call.not-a-literal``, ``call.unsupported-option``.
    OptionError
        ``option.unknown-value``.

    Examples
    --------
    >>> translate("np.correlate(a, v, 'same')").code
    "ck.correlate(a, v, mode='same')"
    >>> translate("F.conv2d(x, w, padding=1)", to="onnx").target.code.splitlines()[0]
    'node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])'
    """
    meaning = meaning_of(call, kernel_shape)
    target = None
    if to is not None:
        library = choose("to", _ALIASES.get(to, to), LIBRARIES)
        target = write(
            meaning.spec,
            library,
            array_text(meaning.x),
            array_text(meaning.k),
            meaning.bias,
            kernel_shape=meaning.kernel_shape,
        )
    return Translation(call.strip(), meaning, target)
