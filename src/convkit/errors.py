"""The errors: each states the fact, the rule with its numbers, and a fix computed from the shapes.

An error carries a stable ``code`` and its ``facts``; its words come from the catalogue when it is printed, so the
same error can be read in English and in 中文.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from convkit.catalogue import has, language, say, using


class ConvError(ValueError):
    """Something convkit could not do, said in three lines.

    Parameters
    ----------
    name : str
        The error within its family, for instance ``"kernel-does-not-fit"``.
    **facts
        The numbers and words that the catalogue's sentences need.

    Attributes
    ----------
    code : str
        ``family.name``, stable across versions, for instance ``"shape.kernel-does-not-fit"``.
    facts : dict
        What was passed in.
    """

    family = "conv"

    def __init__(self, name: str, /, **facts: object) -> None:
        self.code = f"{self.family}.{name}"
        self.facts = facts
        super().__init__(self.code)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.code.removeprefix(f"{self.family}."), self.facts)

    def line(self, part: str) -> str:
        """One line of the message: ``fact``, ``rule`` or ``try`` (empty where the catalogue has none)."""
        key = f"error.{self.code}.{part}"
        return say(key, **self.facts) if has(key) else ""

    def text(self, name: str | None = None) -> str:
        """The whole message, in ``name`` ("en", "zh") or in the language in force."""
        with using(name or language()):
            lines = [f"ConvError[{self.code}]: {self.line('fact')}"]
            lines += [f"  {part:<5}  {self.line(part)}" for part in ("rule", "try") if self.line(part)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def _rebuild(kind: type[ConvError], name: str, facts: dict[str, object]) -> ConvError:
    return kind(name, **facts)


class ShapeError(ConvError):
    """Sizes, ranks or axes that do not go together."""

    family = "shape"


class OptionError(ConvError):
    """An option's value that is unknown, out of range, or at odds with another option."""

    family = "option"


class DTypeError(ConvError, TypeError):
    """Element types that cannot be computed with, or not into the one asked for."""

    family = "dtype"


class IntegerOverflowError(ConvError, OverflowError):
    """An exact integer result that does not fit the type it is to be stored in."""

    family = "integer"


class AccuracyError(ConvError):
    """No algorithm meets the accuracy asked for, or the one named cannot do the problem."""

    family = "accuracy"


class FileError(ConvError, OSError):
    """A file that cannot be read, understood or written."""

    family = "file"


class DataError(ConvError):
    """Labelled pictures that are damaged, incomplete, or do not go together."""

    family = "data"


class RunError(ConvError):
    """A training run that cannot begin, go on or be used."""

    family = "run"


class MissingExtraError(ConvError, ImportError):
    """A feature whose optional dependency is not installed."""

    family = "missing"


def choose(option: str, value: object, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``allowed``; otherwise say what is, and what was probably meant."""
    names = tuple(allowed)
    if isinstance(value, str) and value in names:
        return value
    near = get_close_matches(value, names, n=1, cutoff=0.5) if isinstance(value, str) else []
    guess = f'{option}="{near[0]}"' if near else " | ".join(f'{option}="{name}"' for name in names)
    raise OptionError("unknown-value", option=option, value=repr(value), allowed=", ".join(names), guess=guess)


def by(sizes: Sequence[object]) -> str:
    """Sizes as people write them: ``3x4x5``; a single number stands alone, no axes is ``()``."""
    return "x".join(map(str, sizes)) or "()"
