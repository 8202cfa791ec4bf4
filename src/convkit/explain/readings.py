"""From a geometry back to the ways of saying it: modes, anchors, paddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from convkit.errors import ConvError
from convkit.explain.responses import canonical
from convkit.spec import ConvSpec, Window
from convkit.spec.options import Sides

if TYPE_CHECKING:
    from convkit.explain.matches import Match

_MOST_SIDES = 4


def readings(match: Match) -> list[ConvSpec]:
    """Every spec that lowers to the match's geometry, the most usual first.

    The transposed operation counts as an unusual way of saying what a forward one says as well.
    """
    sizes = tuple(window.size for window in match.windows)
    kernels = tuple(window.kernel for window in match.windows)
    found: list[ConvSpec] = []
    inside = all(window.inside for window in match.windows)
    zero: Sides = ("zero", "zero")
    sides = [(zero,) * len(match.windows)] if inside else match.told_sides()[:_MOST_SIDES]
    for one in sides:
        for flips, conjugate in match.operations:
            for spec in _candidates(match, flips, conjugate, one):
                try:
                    windows = spec.windows(sizes, kernels)
                except ConvError:
                    continue
                bare = tuple(
                    Window(w.size, w.kernel, w.count, w.start, w.stride, w.dilation, w.up)
                    for w in canonical(windows, sides=False)
                )
                # a network's way of saying it only where plain arrays have none
                roundabout = match.network == "arrays" and spec.mode is None and found
                if bare == match.windows and spec.flips == flips and spec not in found and not roundabout:
                    found.append(spec)
    return found


def _candidates(match: Match, flips: bool, conjugate: bool, sides: tuple[Sides, ...]) -> Iterator[ConvSpec]:
    windows, rank = match.windows, len(match.windows)
    shared: dict[str, Any] = {
        "stride": tuple(w.stride for w in windows),
        "dilation": tuple(w.dilation for w in windows),
    }
    outside: dict[str, Any] = {"boundary": sides, "fill": match.fill}
    if any(window.up > 1 for window in windows) or match.network == "transposed":
        yield from _transposed(match, flips)
        return
    operation = "convolution" if flips else "correlation"
    if match.network == "arrays" and conjugate == (not flips):
        for mode in ("full", "valid", "same"):
            yield ConvSpec.of_arrays(rank, operation, mode, **shared, **outside)
        anchors: list[int] = []
        for window in windows:
            lead = -window.start if window.start <= 0 else 1
            steps, rest = divmod(lead, window.dilation)
            if rest or not 0 <= steps < window.kernel:
                break
            anchors.append(window.kernel - 1 - steps if flips else steps)
        else:
            usual = [(w.kernel - 1) // 2 if flips else w.kernel // 2 for w in windows]
            if anchors != usual:
                yield ConvSpec.of_arrays(rank, operation, "same", anchor=tuple(anchors), **shared, **outside)
    if conjugate and match.numbers == "complex":
        return
    shared["groups"] = match.groups
    pads: list[tuple[int, int]] = []
    for window in windows:
        before = -window.start
        after = (window.count - 1) * window.stride + window.reach - before - window.size
        if before < 0 or after < 1 - window.stride:
            return
        pads.append((before, max(0, after)))
    # a stride leaves samples over at the end, so an even padding may hide behind an uneven one
    even = tuple((max(pair),) * 2 for pair in pads)
    yield ConvSpec.of_network(rank, operation, padding=even, **shared, **outside)
    yield ConvSpec.of_network(rank, operation, padding=tuple((b, b) for b, _ in pads), **shared, **outside)
    yield ConvSpec.of_network(rank, operation, padding="same", **shared, **outside)
    yield ConvSpec.of_network(rank, operation, padding=tuple(pads), **shared, **outside)


def _transposed(match: Match, flips: bool) -> Iterator[ConvSpec]:
    pads: list[tuple[int, int]] = []
    spares: list[int] = []
    for window in match.windows:
        before = window.start + window.reach - 1
        whole = (window.size - 1) * window.up + window.reach
        after = whole - before - window.count
        if before < 0:
            return
        spare = before - after if after < before else 0
        if 0 < spare < max(window.up, window.dilation):
            pads.append((before, before))
            spares.append(spare)
        else:
            pads.append((before, max(0, after)))
            spares.append(max(0, -after))
    try:
        yield ConvSpec.of_network(
            len(match.windows), "correlation" if flips else "convolution", direction="transposed",
            stride=tuple(w.up for w in match.windows), dilation=tuple(w.dilation for w in match.windows),
            padding=tuple(pads), output_padding=tuple(spares), groups=match.groups,
        )  # fmt: skip
    except ConvError:
        return
