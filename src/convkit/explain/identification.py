"""Which conventions turn x and k into y: a search over every one of them, exact where the numbers are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import product
from typing import Any

import numpy as np

from convkit.catalogue import say
from convkit.errors import ShapeError, by
from convkit.explain.card import passport
from convkit.explain.findings import diagnose, ties
from convkit.explain.meaning import Note
from convkit.explain.readings import readings
from convkit.explain.responses import Arrays, Equality, Response, canonical, places_of, respond
from convkit.explain.writing import Written, convkit_code, write_all
from convkit.spec import ConvSpec, Window
from convkit.spec.options import BOUNDARIES, Sides

Key = tuple[bool, bool, tuple[Window, ...]]
_FIXED = tuple(name for name in BOUNDARIES if name != "constant")
_SMALL = 600
_FAR, _FEW_VALUES = 5, 4
_MOST_SIDES = 300


@dataclass(slots=True)
class Match:
    """One geometry that gives y, with every operation and boundary under which it does.

    Attributes
    ----------
    windows : tuple of Window
        Where the kernel lies; the boundary apart.
    operations : list of (flips, conjugate)
        Under which ways of laying the kernel.
    sides : list of tuple of Sides
        Under which boundaries.
    specs : list of ConvSpec
        The ways of saying it, the most usual first; empty where it is only a part of a result.
    fill : number
        The constant outside, where that was found.
    """

    windows: tuple[Window, ...]
    network: str
    groups: int
    operations: list[tuple[bool, bool]] = field(default_factory=lambda: [])
    sides: list[tuple[Sides, ...]] = field(default_factory=lambda: [])
    specs: list[ConvSpec] = field(default_factory=lambda: [])
    fill: Any = 0
    numbers: str = "real"

    @property
    def codes(self) -> list[str]:
        """The ways of saying it, as our calls."""
        return list(dict.fromkeys(self._code(spec) for spec in self.specs))

    def _code(self, spec: ConvSpec) -> str:
        if spec.mode is None and self.network == "arrays":
            return f"{convkit_code(spec, 'x[None, None]', 'k[None, None]')}[0, 0]"
        return convkit_code(spec)

    def calls(self) -> list[Written]:
        """Other libraries' single calls for it."""
        found: dict[str, Written] = {}
        kernels = tuple(window.kernel for window in self.windows)
        sizes = tuple(window.size for window in self.windows)
        for spec in self.specs:
            if spec.mode is None and self.network == "arrays":
                continue
            for written in write_all(spec, kernel_shape=kernels, input_shape=sizes):
                if written.code and written.composed == "call":
                    found.setdefault(written.code, written)
        return list(found.values())

    @property
    def boundaries(self) -> str:
        """The boundaries under which it holds, in words."""
        if all(window.inside for window in self.windows):
            return say("explain.identify.any-boundary")
        names = [_side_names(sides) for sides in self.told_sides()]
        return " | ".join(dict.fromkeys(names))

    def told_sides(self) -> list[tuple[Sides, ...]]:
        """The boundaries worth telling: mixtures only where no single one does."""
        uniform = [sides for sides in self.sides if len({name for pair in sides for name in pair}) == 1]
        return uniform or self.sides

    @property
    def operation(self) -> str:
        """The operations under which it holds, in words."""
        words = ["convolution" if flips else "correlation" for flips, _ in self.operations]
        if any(window.up > 1 for window in self.windows) or self.network == "transposed":
            words = ["transposed-correlation" if flips else "transposed-convolution" for flips, _ in self.operations]
        return " | ".join(say(f"explain.operation.{word}") for word in dict.fromkeys(words))

    @property
    def cost(self) -> int:
        """How far-fetched it is: 0 for a plain full or valid result; each unusual option adds to it."""
        windows = self.windows
        cost = sum(3 * (kind > 1) for kind in (
            max(w.stride for w in windows), max(w.dilation for w in windows), max(w.up for w in windows)))  # fmt: skip
        cost += 2 * (len({w.stride for w in windows}) > 1) + 2 * (len({w.dilation for w in windows}) > 1)
        names = [{name for pair in sides for name in pair} for sides in self.told_sides()]
        if not all(window.inside for window in windows) and {"zero"} not in names:
            cost += 2 if any(len(one) == 1 for one in names) else 5
        if not self.specs:
            return cost + 6
        first = self.specs[0]
        if first.mode is None and self.network == "arrays":
            cost += 3
        if first.mode is None and first.padding != "same":
            pads = first.padding or ()
            cost += 2 * any(b != a for b, a in pads)
            cost += 6 * any(max(p) >= w.reach for p, w in zip(pads, windows, strict=True) if max(p))
        return cost + (first.anchor is not None)


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
            lines += ["", *_match_lines(number, match)]
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


_SHOWN = 8


def _fenced(part: str) -> str:
    return part if part.startswith("- ") else f"```text\n{part}\n```"


def _match_lines(number: int, match: Match) -> list[str]:
    if match.codes:
        head, *others = match.codes
        lines = [f"{number}. {head}"]
        lines += [f"   = {code}" for code in others[:6]]
        calls = [call.code or "" for call in match.calls() if "\n" not in (call.code or "")]
        lines += [f"   = {code}" for code in calls[:8]]
    else:
        lines = [f"{number}. {say('explain.identify.cropped', operation=match.operation)}"]
    lines.append(f"   {say('explain.identify.boundaries', names=match.boundaries)}")
    lines.append(f"   {say('explain.identify.geometry', geometry=geometry(match.windows))}")
    return lines


def geometry(windows: Sequence[Window]) -> str:
    """Where each output begins, axis by axis: ``2*i - 1``."""
    names = ["i"] if len(windows) == 1 else [f"i{axis}" for axis in range(len(windows))]
    return ", ".join(
        f"{name if w.stride == 1 else f'{w.stride}*{name}'}{f' + {w.start}' if w.start > 0 else f' - {-w.start}' if w.start else ''}"
        for name, w in zip(names, windows, strict=True)
    )


def _side_names(sides: tuple[Sides, ...]) -> str:
    flat = {name for pair in sides for name in pair}
    if len(flat) == 1:
        return flat.pop()
    return "(" + ", ".join(b if b == a else f"({b}, {a})" for b, a in sides) + ")"


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
        raise ShapeError("cannot-identify", input=by(given[0].shape), kernel=by(given[1].shape), output=by(given[2].shape))
    equal = _equality(given, tolerance)
    numbers = [_comparable(array, given) for array in given]
    keys: dict[Key, tuple[Response, tuple[int, ...], tuple[int, ...]]] = {}
    matches: list[Match] = []
    tried = 0
    views = list(_views(*numbers))
    for arrays in views:
        groups: dict[tuple[Window, ...], Match] = {}
        for response, strides, fill in _responses(arrays, equal, max_stride, max_dilation, lambda: bool(groups)):
            tried += 1
            for start, stride in places_of(response, arrays, equal, strides):
                windows = response.windows(arrays, start, stride)
                plain = canonical(windows)
                keys.setdefault((response.flips, response.conjugate, plain), (response, start, stride))
                _join(groups, arrays, response, windows, fill)
        for match in groups.values():
            match.specs = readings(match)
        whole = [match for match in groups.values() if match.specs]
        matches += whole or groups.values()
    near, far = _sifted(sorted(matches, key=_unusual), given[2].size)
    claim = None if claimed is None else _claim(claimed, given[1].shape)
    findings = [*ties(views[0], near, equal), *diagnose(views, near, equal, claim)]
    return Identification(tuple(near), tuple(findings), equal.tolerance, tried, frozenset(keys), tuple(far))


def _sifted(matches: list[Match], values: int) -> tuple[list[Match], list[Match]]:
    """The plausible matches, and those that a few values fit by chance.

    A match stands back where another is plainer by two unusual options, and where it is unusual itself and y has
    too few values to bear it out.
    """
    if not matches:
        return [], []
    least = matches[0].cost
    bearable = _FAR if values <= _FEW_VALUES and any(match.specs for match in matches) else least + _FAR - 1
    near = [match for match in matches if match.cost < min(bearable, least + _FAR - 1)]
    return near, [match for match in matches if match not in near]


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


def _responses(
    arrays: Arrays, equal: Equality, max_stride: int, max_dilation: int, found: Any
) -> Iterator[tuple[Response, list[range], Any]]:
    rank = arrays.rank
    laid = [(True, False), (False, False)]
    if arrays.x.dtype.kind == "c" or arrays.k.dtype.kind == "c":
        laid += [(False, True), (True, True)]
    elif arrays.network == "arrays":
        laid = [(True, False), (False, True)]
    strides = [range(1, (max_stride if m > 1 else 1) + 1) for m in arrays.y.shape[2:]]
    dilations = [
        d for d in product(*(range(1, (max_dilation if k > 1 else 1) + 1) for k in arrays.k.shape[2:]))
        if all((k - 1) * (step - 1) < n + m for k, step, n, m in zip(
            arrays.k.shape[2:], d, arrays.x.shape[2:], arrays.y.shape[2:], strict=True))
    ]  # fmt: skip
    if arrays.network != "transposed":
        for sides in _uniform(rank):
            for dilation, (flips, conjugate) in product(dilations, laid):
                yield respond(arrays, flips, conjugate, dilation, sides), strides, 0
        if arrays.x.size <= _SMALL or not found():
            for sides in _mixed(rank):
                for dilation, (flips, conjugate) in product(dilations, laid):
                    yield respond(arrays, flips, conjugate, dilation, sides), strides, 0
        if not found():
            for flips, conjugate in laid:
                fill = _fill(arrays, equal, flips, conjugate, strides)
                if fill is not None:
                    sides = (("constant", "constant"),) * rank
                    yield respond(arrays, flips, conjugate, (1,) * rank, sides, fill=fill), strides, fill
    if arrays.network != "network":
        ups = [u for u in product(range(1, max_stride + 1), repeat=rank) if max(u) > 1 or arrays.network == "transposed"]
        zero: tuple[Sides, ...] = (("zero", "zero"),) * rank
        for up, dilation, flips in product(ups, dilations, (True, False)):
            if all(abs((n - 1) * u + k - m) <= 3 * k + u for n, u, k, m in zip(
                arrays.x.shape[2:], up, arrays.k.shape[2:], arrays.y.shape[2:], strict=True)):  # fmt: skip
                yield respond(arrays, flips, False, dilation, zero, up), [range(1, 2)] * rank, 0


def _uniform(rank: int) -> Iterator[tuple[Sides, ...]]:
    for name in _FIXED:
        yield ((name, name),) * rank  # type: ignore[misc]


def _mixed(rank: int) -> Iterator[tuple[Sides, ...]]:
    """Boundaries that differ from axis to axis, or, along one axis, from side to side."""
    if rank == 1:
        for before, after in product(_FIXED, repeat=2):
            if before != after:
                yield ((before, after),)  # type: ignore[misc]
    elif len(_FIXED) ** rank <= _MOST_SIDES:
        for names in product(_FIXED, repeat=rank):
            if len(set(names)) > 1:
                yield tuple((name, name) for name in names)  # type: ignore[misc]


def _fill(arrays: Arrays, equal: Equality, flips: bool, conjugate: bool, strides: Sequence[range]) -> Any:
    """The constant that would have to stand outside, from one output whose window leaves the array."""
    rank = arrays.rank
    one: tuple[int, ...] = (1,) * rank
    zero = respond(arrays, flips, conjugate, one, (("zero", "zero"),) * rank)
    unit = respond(arrays, flips, conjugate, one, (("constant", "constant"),) * rank, fill=1)
    reaches = arrays.k.shape[2:]
    for stride in product(*strides):
        for start in product(*(range(1 - reach, 1) for reach in reaches)):
            plain = zero.at(start, stride, arrays.y.shape[2:])
            lifted = unit.at(start, stride, arrays.y.shape[2:])
            if plain is None or lifted is None:
                continue
            gain = lifted - plain
            where = np.argwhere(gain != 0)
            if not len(where):
                continue
            index = tuple(where[0])
            rest = arrays.y[index] - plain[index]
            fill = rest / gain[index]
            if equal.tolerance == 0:
                if rest % gain[index] != 0:
                    continue
                fill = rest // gain[index]
            if fill != 0 and equal.all(plain + gain * fill, arrays.y):
                return fill.item() if hasattr(fill, "item") else fill
    return None


def _join(
    groups: dict[tuple[Window, ...], Match], arrays: Arrays, response: Response, windows: tuple[Window, ...], fill: Any
) -> None:
    bare = canonical(windows, sides=False)
    bare = tuple(Window(w.size, w.kernel, w.count, w.start, w.stride, w.dilation, w.up) for w in bare)
    match = groups.setdefault(bare, Match(
        bare, arrays.network, arrays.groups, fill=fill,
        numbers="complex" if "c" in arrays.x.dtype.kind + arrays.k.dtype.kind else "real"))  # fmt: skip
    if (response.flips, response.conjugate) not in match.operations:
        match.operations.append((response.flips, response.conjugate))
    if response.sides not in match.sides:
        match.sides.append(response.sides)


def _unusual(match: Match) -> tuple[int, ...]:
    """The plainest first, then the plainest way of saying it, then the least shifted."""
    spec = match.specs[0] if match.specs else None
    named = 3 if spec is None else 0 if spec.mode in ("full", "valid") else 1 if spec.mode else 2
    return (match.cost, named, *(abs(window.start) for window in match.windows))
