"""What an identification says beyond its matches: why there are ties, and what went wrong where there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit.explain.meaning import Note
from convkit.explain.numbers import number
from convkit.explain.responses import Array, Arrays, Equality, Response, canonical, places_of, respond
from convkit.explain.writing import convkit_code
from convkit.spec import ConvSpec, Window
from convkit.spec.options import BOUNDARIES

if TYPE_CHECKING:
    from convkit.explain.matches import Match

_MOST_FINDINGS = 4
_FEW = 4
_SHOWN_VALUES = 24


def ties(arrays: Arrays, matches: Sequence[Match], equal: Equality) -> list[Note]:
    """Why several conventions give the same y."""
    notes: list[Note] = []
    if not matches:
        return notes
    flipped = arrays.k[(slice(None), slice(None), *([slice(None, None, -1)] * arrays.rank))]
    if not arrays.x.any():
        return [Note("identify.zero-input")]
    if all(size == 1 for size in arrays.k.shape[2:]):
        notes.append(Note("identify.one-element"))
    elif bool((np.asarray(arrays.k == flipped)).all()):
        notes.append(Note("identify.symmetric"))
    elif any(len({flips for flips, _ in match.operations}) == 2 for match in matches):
        notes.append(Note("identify.both-operations"))
    if any(len(match.told_sides()) > 1 and not all(w.inside for w in match.windows) for match in matches):
        notes.append(Note("identify.boundary-tie"))
    if any(window.count == 1 for window in matches[0].windows):
        notes.append(Note("identify.one-output"))
    if len(matches) > 1:
        notes.append(Note("identify.several", {"count": len(matches)}))
    return notes


def diagnose(
    views: Sequence[Arrays], matches: Sequence[Match], equal: Equality, claimed: ConvSpec | None
) -> list[Note]:
    """What was probably meant, and what was done instead."""
    arrays = views[0]
    notes: list[Note] = []
    if claimed is not None:
        arrays = _view_of(views, claimed)
        notes += _against_claim(arrays, matches, equal, claimed)
    if not matches:
        notes += _near_misses(arrays, equal)
    for match in matches:
        notes += [note for note in _remarks(arrays, match, equal, claimed) if note not in notes]
    return notes[: _MOST_FINDINGS + len(matches)]


def _view_of(views: Sequence[Arrays], spec: ConvSpec) -> Arrays:
    wanted = "arrays" if spec.mode is not None else "transposed" if spec.direction == "transposed" else "network"
    return next((view for view in views if view.network == wanted), views[-1])


def outcome(arrays: Arrays, spec: ConvSpec) -> Array:
    """What ``spec`` gives for these arrays."""
    windows = spec.windows(arrays.x.shape[2:], arrays.k.shape[2:])
    return lay(arrays, windows, spec.flips, spec.conjugate, spec.fill)


def lay(arrays: Arrays, windows: Sequence[Window], flips: bool, conjugate: bool, fill: Any = 0) -> Array:
    """The outputs of ``windows``, however far outside they lie."""
    sides = tuple(window.sides for window in windows)
    far = max((max(-w.first, w.last - (w.size - 1) * w.up, 0) for w in windows), default=0)
    response = respond(
        arrays, flips, conjugate, [w.dilation for w in windows], sides, [w.up for w in windows], fill, margin=far
    )
    values = response.at([w.start for w in windows], [w.stride for w in windows], [w.count for w in windows])
    assert values is not None  # the margin reaches as far as the windows
    return values


def _against_claim(arrays: Arrays, matches: Sequence[Match], equal: Equality, claimed: ConvSpec) -> list[Note]:
    code = convkit_code(claimed)
    expected = outcome(arrays, claimed)
    if equal.all(expected, arrays.y):
        return [Note("identify.as-claimed", {"code": code})]
    notes = [Note("identify.not-claimed", {"code": code, "values": shown(expected)})]
    wanted = canonical(claimed.windows(arrays.x.shape[2:], arrays.k.shape[2:]))
    for match in matches:
        notes += [note for note in _difference(match, wanted, claimed) if note not in notes]
    if expected.shape == arrays.y.shape:
        wrong = np.argwhere(~equal.close(expected, arrays.y))
        places = "; ".join(", ".join(map(str, cell[2:] if arrays.network == "arrays" else cell)) for cell in wrong[:6])
        notes.append(Note("identify.cells", {"count": len(wrong), "total": expected.size, "cells": places}))
    return notes


def _difference(match: Match, wanted: tuple[Window, ...], claimed: ConvSpec) -> list[Note]:
    """How a match differs from what was claimed."""
    notes: list[Note] = []
    pairs = list(zip(match.windows, wanted, strict=True))
    if len(pairs) == 0:
        return notes
    flips = {flipped for flipped, _ in match.operations}
    if flips == {not claimed.flips}:
        notes.append(Note("identify.forgot-flip" if claimed.operation == "convolution" else "identify.flipped"))
    if claimed.conjugate and match.numbers == "complex" and all(not conj for _, conj in match.operations):
        notes.append(Note("identify.forgot-conjugate"))
    if any(m.stride < w.stride for m, w in pairs):
        done, wished = (" x ".join(str(pair[side].stride) for pair in pairs) for side in (0, 1))
        notes.append(Note("identify.stride-cropped", {"done": done, "claimed": wished}))
    elif any(m.stride != w.stride for m, w in pairs):
        notes.append(Note("identify.other-stride", {"done": " x ".join(str(m.stride) for m, _ in pairs)}))
    if any(m.dilation != w.dilation for m, w in pairs):
        notes.append(Note("identify.other-dilation", {"done": " x ".join(str(m.dilation) for m, _ in pairs)}))
    shifts = [m.start - w.start for m, w in pairs]
    if any(shifts) and all(m.dilation == w.dilation for m, w in pairs):
        notes.append(Note("identify.shifted", {"shift": ", ".join(f"{shift:+d}" for shift in shifts)}))
    claim = canonical(_with(match.windows, [window.sides for window in wanted]))
    if all(canonical(_with(match.windows, sides)) != claim for sides in match.sides):
        notes.append(Note("identify.wrong-boundary", {"names": match.boundaries}))
    return notes


def _with(windows: Sequence[Window], sides: Sequence[Any]) -> list[Window]:
    return [replace(window, sides=pair) for window, pair in zip(windows, sides, strict=True)]


def _remarks(arrays: Arrays, match: Match, equal: Equality, claimed: ConvSpec | None) -> Iterator[Note]:
    """What a match reminds of: a stride that was forgotten, a circle that was cut."""
    if len(match.windows) != arrays.rank or match.network != arrays.network:
        return
    windows = match.windows
    flips, conjugate = match.operations[0]
    zero = any(name == "zero" for sides in match.sides for pair in sides for name in pair)
    if (
        zero and arrays.network == "arrays" and (True in {flip for flip, _ in match.operations})
        and all(w.start == 1 - w.reach and w.count == w.size and w.stride == w.up == 1 for w in windows)
        and any(w.kernel > 1 for w in windows)
    ):  # fmt: skip
        wrapped = [replace(w, sides=("wrap", "wrap")) for w in windows]
        circular = lay(arrays, wrapped, True, conjugate)
        if not equal.all(circular, arrays.y):
            yield Note("identify.truncated", {"values": shown(circular)})
    if not match.specs and all(w.stride == 1 for w in windows):
        for step in (2, 3, 4):
            counts = [-(-_steps_room(w) // step) for w in windows]
            if all(count == w.count for count, w in zip(counts, windows, strict=True)):
                strided = [replace(w, stride=step) for w in windows]
                meant = lay(arrays, strided, flips, conjugate)
                yield Note("identify.cropped-like-stride", {"stride": step, "values": shown(meant)})
                break


def _steps_room(window: Window) -> int:
    """Outputs with stride 1 if the padding after is that before."""
    return max(0, window.size + 2 * max(0, -window.start) - window.reach + 1)


@dataclass(frozen=True, slots=True)
class _Near:
    """An expected output that y is compared with."""

    response: Response
    start: tuple[int, ...]
    stride: tuple[int, ...]
    values: Array


def _near_misses(arrays: Arrays, equal: Equality) -> list[Note]:
    """No convention gives y: say which one nearly does."""
    folded = _folded(arrays, equal)
    if folded is not None:
        return [folded]
    turned = _turned(arrays, equal)
    if turned:
        return turned
    nears = list(_expected(arrays))
    for test in (_constant, _scaled, _wrapped, _saturated, _rounded, _few_cells, _border_only):
        found = next((note for near in nears if (note := test(near, arrays, equal)) is not None), None)
        if found is not None:
            return [found]
    return [Note("identify.nothing-near")]


def _expected(arrays: Arrays) -> Iterator[_Near]:
    """The usual outputs of the shape of y."""
    rank = arrays.rank
    conjugates = (False, True) if "c" in arrays.x.dtype.kind + arrays.k.dtype.kind else (False,)
    starts = list(product(*(range(1 - size, 1) for size in arrays.k.shape[2:])))
    middle = [(size - 1) / 2 for size in arrays.k.shape[2:]]
    starts.sort(key=lambda start: sum(abs(-s - m) if s else 0.0 for s, m in zip(start, middle, strict=True)))
    for name in BOUNDARIES:
        if name == "constant":
            continue
        for stride, flips, conjugate in product((1, 2, 3), (True, False), conjugates):
            response = respond(arrays, flips, conjugate, (1,) * rank, ((name, name),) * rank)  # type: ignore[arg-type]
            for start in starts[:200]:
                values = response.at(start, (stride,) * rank, arrays.y.shape[2:])
                windows = response.windows(arrays, start, (stride,) * rank)
                if values is None or any(w.last > w.size - 1 + max(0, -w.start) + stride - 1 for w in windows):
                    continue
                yield _Near(response, start, (stride,) * rank, values)


def _match(near: _Near, arrays: Arrays) -> Match:
    """The expected output as a match."""
    from convkit.explain.matches import Match
    from convkit.explain.readings import readings

    windows = tuple(
        Window(w.size, w.kernel, w.count, w.start, w.stride, w.dilation, w.up)
        for w in canonical(near.response.windows(arrays, near.start, near.stride), sides=False)
    )
    match = Match(windows, arrays.network, arrays.groups, sides=[near.response.sides])
    conjugate = near.response.conjugate or (arrays.network == "arrays" and not near.response.flips)
    match.operations.append((near.response.flips, conjugate))
    match.specs = readings(match)
    return match


def _name(near: _Near, arrays: Arrays) -> str:
    """The expected output as a call, or as a description of its windows."""
    from convkit.explain.matches import geometry

    match = _match(near, arrays)
    operation = "convolve" if near.response.flips else "correlate"
    return match.codes[0] if match.codes else f"{operation}: {geometry(match.windows)}"


def _constant(near: _Near, arrays: Arrays, equal: Equality) -> Note | None:
    rest = arrays.y - near.values
    each = rest.reshape(rest.shape[0], rest.shape[1], -1)[:1, :, :1]
    if rest.shape[1] > 1 and rest.size > each.size and not equal.close(each, each[:, :1]).all():
        if equal.all(rest, np.broadcast_to(each.reshape(1, -1, *[1] * arrays.rank), rest.shape)):
            bias = ", ".join(_plain(value) for value in each.reshape(-1)[:8])
            return Note("identify.bias", {"code": _name(near, arrays), "bias": bias + ", ..." * (each.size > 8)})
        return None
    if rest.size > 1 and equal.all(rest, np.broadcast_to(rest.reshape(-1)[:1], rest.shape).reshape(rest.shape)):
        return Note("identify.offset", {"code": _name(near, arrays), "offset": _plain(rest.reshape(-1)[0])})
    return None


def _scaled(near: _Near, arrays: Arrays, equal: Equality) -> Note | None:
    where = np.argwhere(near.values != 0)
    if len(where) < 2 or not arrays.y.any():
        return None
    index = tuple(where[0])
    top, bottom = arrays.y[index], near.values[index]
    # cross-multiplied, so that integers stay exact
    if not equal.all(arrays.y * bottom / _scale(equal, bottom), near.values * top / _scale(equal, bottom)):
        return None
    total = arrays.k.sum()
    key = (
        "normalised"
        if total != 0 and equal.close(top * total / _scale(equal, total), bottom / _scale(equal, total))
        else "scaled"
    )
    return Note(f"identify.{key}", {"code": _name(near, arrays), "factor": _plain(top / bottom), "sum": _plain(total)})


def _scale(equal: Equality, value: Any) -> Any:
    return 1 if equal.tolerance == 0 else abs(value)


def _wrapped(near: _Near, arrays: Arrays, equal: Equality) -> Note | None:
    if arrays.y.dtype.kind == "c" or not _whole(arrays.y) or not _whole(near.values):
        return None
    for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "int32"):
        limits = np.iinfo(dtype)
        span = int(limits.max) - int(limits.min) + 1
        if arrays.y.min() < limits.min or arrays.y.max() > limits.max:
            continue
        if equal.all((near.values - int(limits.min)) % span + int(limits.min), arrays.y):
            return Note("identify.wrapped", {"code": _name(near, arrays), "dtype": dtype, "span": span})
    return None


def _saturated(near: _Near, arrays: Arrays, equal: Equality) -> Note | None:
    if arrays.y.dtype.kind in "cO" or not _whole(arrays.y):
        return None
    for dtype in ("uint8", "int8", "uint16", "int16"):
        limits = np.iinfo(dtype)
        clipped = np.clip(np.rint(near.values), limits.min, limits.max)
        if equal.all(clipped, arrays.y) and np.any(np.rint(near.values) != clipped):
            return Note("identify.saturated", {"code": _name(near, arrays), "dtype": dtype})
    return None


def _rounded(near: _Near, arrays: Arrays, equal: Equality) -> Note | None:
    if arrays.y.dtype.kind != "f" or not _whole(arrays.y):
        return None
    for word, rounding in (("rint", np.rint), ("trunc", np.trunc), ("floor", np.floor)):
        if equal.all(rounding(near.values), arrays.y):
            return Note(f"identify.rounded-{word}", {"code": _name(near, arrays)})
    return None


def _border_only(near: _Near, arrays: Arrays, equal: Equality) -> Note | None:
    windows = near.response.windows(arrays, near.start, near.stride)
    inner = np.ones(arrays.y.shape[2:], bool)
    for axis, window in enumerate(windows):
        places = window.start + np.arange(window.count) * window.stride
        ok = (places >= 0) & (places + window.reach - 1 <= (window.size - 1) * window.up)
        inner &= ok.reshape([-1 if other == axis else 1 for other in range(arrays.rank)])
    same: Array = np.all(equal.close(near.values, arrays.y), axis=(0, 1))
    # one slip at the border is no boundary: half of the border must differ
    if inner.sum() < 2 or not same[inner].all() or 2 * (~same).sum() < (~inner).sum() or same.all():
        return None
    return Note(
        "identify.border-only", {"code": _name(near, arrays), "count": int((~same).sum()), "inner": int(inner.sum())}
    )


def _few_cells(near: _Near, arrays: Arrays, equal: Equality) -> Note | None:
    wrong = np.argwhere(~equal.close(near.values, arrays.y))
    if not 0 < len(wrong) <= min(_FEW, arrays.y.size // 2) or _border_only(near, arrays, equal) is not None:
        return None
    cells = "; ".join(", ".join(map(str, cell[2:] if arrays.network == "arrays" else cell)) for cell in wrong)
    values = ", ".join(_plain(near.values[tuple(cell)]) for cell in wrong)
    return Note("identify.few-cells", {"code": _name(near, arrays), "cells": cells, "values": values})


def _turned(arrays: Arrays, equal: Equality) -> list[Note]:
    """Whether y comes out after axes are exchanged, or the kernel is flipped along some axes only."""
    rank = arrays.rank
    changes: list[tuple[str, Callable[[], Arrays]]] = []
    if rank == 2:
        changes = [
            ("output-transposed", lambda: replace(arrays, y=np.swapaxes(arrays.y, 2, 3))),
            ("kernel-transposed", lambda: replace(arrays, k=np.swapaxes(arrays.k, 2, 3))),
        ]
    for key, change in changes:
        note = _first_place(change(), equal, f"identify.{key}", {})
        if note is not None:
            return [note]
    for count in range(1, rank):
        for axes in combinations(range(rank), count):
            turned = replace(arrays, k=np.flip(arrays.k, tuple(axis + 2 for axis in axes)))
            note = _first_place(turned, equal, "identify.partly-flipped", {"axes": ", ".join(map(str, axes))})
            if note is not None:
                return [note]
    return []


def _first_place(arrays: Arrays, equal: Equality, key: str, facts: dict[str, object]) -> Note | None:
    strides = [range(1, 2)] * arrays.rank
    for name in ("zero", "wrap", "reflect", "symmetric", "edge"):
        for flips in (True, False):
            response = respond(arrays, flips, False, (1,) * arrays.rank, ((name, name),) * arrays.rank)  # type: ignore[arg-type]
            for start, stride in places_of(response, arrays, equal, strides):
                values = response.at(start, stride, arrays.y.shape[2:])
                assert values is not None
                near = _Near(response, start, stride, values)
                specs = _match(near, arrays).specs
                if specs and (specs[0].mode is not None or arrays.network != "arrays"):
                    return Note(key, {**facts, "code": _name(near, arrays)})
    return None


def _folded(arrays: Arrays, equal: Equality) -> Note | None:
    """A circular convolution of some other length than that of x."""
    if arrays.network != "arrays":
        return None
    full = outcome(arrays, ConvSpec.of_arrays(arrays.rank, mode="full"))
    length = arrays.y.shape[2:]
    folded = np.zeros_like(full, shape=(1, 1, *length))
    for index in np.ndindex(*full.shape[2:]):
        folded[(0, 0, *(i % m for i, m in zip(index, length, strict=True)))] += full[(0, 0, *index)]
    if equal.all(folded, arrays.y):
        return Note("identify.circular-length", {"length": " x ".join(map(str, length))})
    return None


def _whole(values: Array) -> bool:
    return bool(np.all(values == np.floor(values))) if values.dtype.kind == "f" else values.dtype.kind in "iuO"


def _plain(value: Any) -> str:
    return number(value.item() if hasattr(value, "item") else value)


def shown(values: Array) -> str:
    """Values as nested lists, shortened where there are many."""
    trimmed = values[0, 0] if values.shape[:2] == (1, 1) else values
    if trimmed.size <= _SHOWN_VALUES:
        return str(trimmed.tolist())
    head = ", ".join(_plain(value) for value in trimmed.reshape(-1)[:8])
    return f"[{head}, ...]"
