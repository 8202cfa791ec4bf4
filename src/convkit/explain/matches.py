"""A match: one geometry that gives y, and all the ways of saying it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from convkit.catalogue import say
from convkit.explain.writing import Written, convkit_code, write_all
from convkit.spec import ConvSpec, Window
from convkit.spec.options import Sides

_FAR, _FEW_VALUES = 5, 4


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
    operations: list[tuple[bool, bool]] = field(default_factory=list[tuple[bool, bool]])
    sides: list[tuple[Sides, ...]] = field(default_factory=list[tuple[Sides, ...]])
    specs: list[ConvSpec] = field(default_factory=list[ConvSpec])
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


def match_lines(number: int, match: Match) -> list[str]:
    """A match as lines of text."""
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
    places: list[str] = []
    for name, window in zip(names, windows, strict=True):
        place = name if window.stride == 1 else f"{window.stride}*{name}"
        if window.start:
            place += f" {'+' if window.start > 0 else '-'} {abs(window.start)}"
        places.append(place)
    return ", ".join(places)


def _side_names(sides: tuple[Sides, ...]) -> str:
    flat = {name for pair in sides for name in pair}
    if len(flat) == 1:
        return flat.pop()
    return "(" + ", ".join(b if b == a else f"({b}, {a})" for b, a in sides) + ")"


def sifted(matches: list[Match], values: int) -> tuple[list[Match], list[Match]]:
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


def unusual(match: Match) -> tuple[int, ...]:
    """The plainest first, then the plainest way of saying it, then the least shifted."""
    spec = match.specs[0] if match.specs else None
    named = 3 if spec is None else 0 if spec.mode in ("full", "valid") else 1 if spec.mode else 2
    return (match.cost, named, *(abs(window.start) for window in match.windows))
