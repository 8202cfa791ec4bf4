"""Which conventions turn x and k into y: a search over every one of them, exact where the numbers are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import numpy as np

from convkit.catalogue import say
from convkit.errors import ShapeError, by
from convkit.explain.card import passport
from convkit.explain.findings import diagnose, ties
from convkit.explain.matches import Match, geometry, match_lines, sifted, unusual
from convkit.explain.meaning import Note
from convkit.explain.readings import readings
from convkit.explain.responses import Arrays, Equality, canonical, places_of
from convkit.explain.search import join, responses
from convkit.spec import ConvSpec, Window

Key = tuple[bool, bool, tuple[Window, ...]]
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Identification:
    """The answer of `identify`.

    Attributes
    ----------
    matches : tuple of Match
        What gives y, the most usual first.
    findings : tuple of Note
        Ties and diagnoses, in sentences.
    tolerance : float
        Differences up to this count as equal; 0 is exact.
    candidates : int
        Responses that y was compared with; each holds every extent, anchor, padding and stride.
    keys : frozenset
        Every geometry that gives y, the far-fetched ones included.
    far_fetched : tuple of Match
        What gives y too, by much less usual options.
    """

    matches: tuple[Match, ...]
    findings: tuple[Note, ...]
    tolerance: float
    candidates: int
    keys: frozenset[Key] = frozenset()
    far_fetched: tuple[Match, ...] = ()

    @property
    def found(self) -> str:
        """``"one"``, ``"several"`` or ``"none"``."""
        return "none" if not self.matches else "one" if len(self.matches) == 1 else "several"

    @property
    def specs(self) -> list[ConvSpec]:
        """Every way of saying every match."""
        return [spec for match in self.matches for spec in match.specs]

    def holds(self, spec: ConvSpec, x_shape: Sequence[int], k_shape: Sequence[int]) -> str:
        """``"yes"`` if ``spec`` is among the matches, else ``"no"``; what plays no part is not compared."""
        lead = 0 if spec.mode is not None else 2
        windows = spec.windows(tuple(x_shape)[lead:], tuple(k_shape)[lead:])
        return "yes" if (spec.flips, spec.conjugate, canonical(windows)) in self.keys else "no"

    def text(self) -> str:
        """The answer as plain text."""
        exact = say("explain.identify.exact") if self.tolerance == 0 else say(
            "explain.identify.tolerance", tolerance=f"{self.tolerance:.3g}")  # fmt: skip
        lines = [say("explain.identify.tried", count=self.candidates, how=exact)]
        if not self.matches:
            lines.append(say("explain.identify.none"))
        for number, match in enumerate(self.matches[:_SHOWN], 1):
            lines += ["", *match_lines(number, match)]
        if len(self.matches) > _SHOWN:
            lines += ["", say("explain.identify.more", count=len(self.matches) - _SHOWN)]
        if self.far_fetched:
            lines += ["", say("explain.identify.far-fetched", count=len(self.far_fetched))]
        if self.findings:
            lines += ["", *(f"- {finding}" for finding in self.findings)]
        return "\n".join(lines)

    def markdown(self) -> str:
        """The answer as Markdown."""
        head, *rest = self.text().split("\n\n")
        return "\n\n".join([head.replace("\n", "  \n"), *(_fenced(part) for part in rest)]) + "\n"

    def html(self) -> str:
        """The answer as a self-contained piece of HTML."""
        return f'<section class="convkit-identification"><pre>{escape(self.text())}</pre></section>'

    _repr_html_ = html

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain data, for programs."""
        return {
            "found": self.found,
            "tolerance": self.tolerance,
            "candidates": self.candidates,
            "matches": [
                {
                    "codes": match.codes,
                    "calls": [{"library": call.library, "code": call.code} for call in match.calls()],
                    "boundaries": match.boundaries,
                    "geometry": geometry(match.windows),
                }
                for match in self.matches
            ],
            "findings": [{"key": note.key, "text": str(note)} for note in self.findings],
        }


def _fenced(part: str) -> str:
    return part if part.startswith("- ") else f"```text\n{part}\n```"


def identify(
    x: Any,
    k: Any,
    y: Any,
    *,
    claimed: object = None,
    tolerance: float | None = None,
    max_stride: int = 4,
    max_dilation: int = 3,
) -> Identification:
    """Find the conventions under which ``k`` turns ``x`` into ``y``.

    Operation, conjugation, extent, boundary, anchor, padding, stride, dilation, groups and transposition are
    searched; integers and fractions are compared exactly.

    Parameters
    ----------
    x, k, y : array_like
        Input, kernel, output, of equal rank; or batch x channel x space with weights.
    claimed : ConvSpec or str, optional
        What it was meant to be; the answer then says how y differs from that.
    tolerance : float, optional
        Largest difference of floats that count as equal; by default 64 units of roundoff of the coarsest type,
        times max|x| * sum|k|.
    max_stride, max_dilation : int
        Largest ones that are tried.

    Returns
    -------
    Identification

    Raises
    ------
    ShapeError
        ``shape.cannot-identify``.

    Examples
    --------
    >>> identify([1, 2, 3, 4, 5, 6], [1, 2, 3], [10, 16, 22, 28]).matches[0].codes[0]
    "ck.convolve(x, k, mode='valid')"
    """
    given = [np.asarray(array) for array in (x, k, y)]
    if len({array.ndim for array in given}) != 1 or given[0].ndim == 0 or any(array.size == 0 for array in given):
        raise ShapeError(
            "cannot-identify", input=by(given[0].shape), kernel=by(given[1].shape), output=by(given[2].shape)
        )
    equal = _equality(given, tolerance)
    numbers = [_comparable(array, given) for array in given]
    keys: set[Key] = set()
    matches: list[Match] = []
    tried = 0
    views = list(_views(*numbers))
    for arrays in views:
        if matches and arrays.network == "arrays":
            break  # batch and channels explain y; volumes of numbers need not
        groups: dict[tuple[Window, ...], Match] = {}
        for response, strides, fill in responses(arrays, equal, max_stride, max_dilation, partial(bool, groups)):
            tried += 1
            for start, stride in places_of(response, arrays, equal, strides):
                windows = response.windows(arrays, start, stride)
                plain = canonical(windows)
                keys.add((response.flips, response.conjugate, plain))
                join(groups, arrays, response, windows, fill)
        for match in groups.values():
            match.specs = readings(match)
        whole = [match for match in groups.values() if match.specs]
        matches += whole or groups.values()
    near, far = sifted(sorted(matches, key=unusual), given[2].size)
    claim = None if claimed is None else _claim(claimed, given[1].shape)
    findings = [*ties(views[0], near, equal), *diagnose(views, near, equal, claim)]
    return Identification(tuple(near), tuple(findings), equal.tolerance, tried, frozenset(keys), tuple(far))


def _claim(claimed: object, kernel_shape: tuple[int, ...]) -> ConvSpec:
    return passport(claimed, kernel_shape=kernel_shape).spec


def _equality(arrays: Sequence[np.ndarray[Any, Any]], tolerance: float | None) -> Equality:
    kinds = [array.dtype for array in arrays if array.dtype.kind in "fc"]
    if tolerance is not None:
        return Equality(float(tolerance))
    if not kinds:
        return Equality()
    eps = max(float(np.finfo(kind).eps) for kind in kinds)
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.nanmax(np.abs(arrays[0].astype(complex))) * np.nansum(np.abs(arrays[1].astype(complex)))
    return Equality(64 * eps * max(float(size), float(np.finfo(float).tiny)))


def _comparable(array: np.ndarray[Any, Any], all_: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Integers as int64 where no sum can pass its end, as Python integers otherwise; floats in double precision."""
    if any(item.dtype.kind == "O" for item in all_):
        return array if array.dtype.kind == "O" else np.array(array.tolist(), object).reshape(array.shape)
    if all(item.dtype.kind in "biu" for item in all_):
        largest = max(abs(int(item.max())) + abs(int(item.min())) for item in all_)
        bound = largest * largest * all_[1].size
        return array.astype(np.int64 if bound < 2**62 else object)
    return array.astype(np.complex128 if any(item.dtype.kind == "c" for item in all_) else np.float64)


def _views(x: Any, k: Any, y: Any) -> Iterator[Arrays]:
    """Plain arrays; and, where the channel numbers allow it, a network's arrays."""
    if x.ndim >= 3 and y.shape[0] == x.shape[0]:
        if y.shape[1] == k.shape[0] and x.shape[1] % k.shape[1] == 0 and k.shape[0] % (x.shape[1] // k.shape[1]) == 0:
            yield Arrays(x, k, y, "network")
        if x.shape[1] == k.shape[0] and y.shape[1] % k.shape[1] == 0 and x.shape[1] % (y.shape[1] // k.shape[1]) == 0:
            yield Arrays(x, k, y, "transposed")
    yield Arrays(x[None, None], k[None, None], y[None, None])
