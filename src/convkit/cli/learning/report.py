"""A run's report: one page that needs no network, in English and 中文."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from convkit.cli.draw import COLOURS, both
from convkit.cli.learning.plots import curves
from convkit.cli.learning.sheets import heat, sheet
from convkit.cli.page import document
from convkit.cli.raster import coloured, data_uri
from convkit.scenes.figures import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convkit.data import Pictures
    from convkit.nn.runs import Judgement, Run
    from convkit.nn.runs.history import History

WORST, EXAMPLES, MAPS, KERNELS = 24, 3, 16, 64
"""Mistakes, pictures whose maps are shown, maps of a layer and kernels at most."""


def written_report(run: Run, test: Pictures, judgement: Judgement, history: History, ending: str) -> str:
    """The page of a run whose network has been judged by the test part."""
    parts = [
        _head(run, judgement, history, ending),
        _curves(history),
        _confusion(run, judgement),
        _mistakes(run, test, judgement),
        _kernels(run),
        _inside(run, test, judgement),
        _costs(run),
        _recipe(run),
    ]
    return document("".join(parts))


def _words(name: str, /, **facts: object) -> str:
    return both(Label(f"report.{name}", facts))


def _section(name: str, body: str, /, **facts: object) -> str:
    words = f"<h2>{_words(f'{name}.title')}</h2><p>{_words(f'{name}.shows', **facts)}</p>"
    return f'<section id="{name}">{words}{body}</section>'


def _head(run: Run, judgement: Judgement, history: History, ending: str) -> str:
    about = run.about
    rows, columns, channels = about.shape
    facts = {
        "percent": f"{100 * judgement.accuracy:.2f}",
        "correct": judgement.correct,
        "pictures": len(judgement.labels),
        "data": about.data,
        "classes": len(about.classes),
        "shape": f"{rows}x{columns}x{channels}",
        "model": about.recipe.model,
        "best": history.best,
        "epochs": history.epoch,
        "seconds": f"{sum(row.seconds for row in history.epochs):.0f}",
    }
    title = f"<h1>{_words('title', **facts)}</h1>"
    return f"{title}<p>{_words('summary', **facts)}</p><p>{_words(f'ending.{ending}', **facts)}</p>"


def _curves(history: History) -> str:
    epochs = [row.epoch for row in history.epochs]
    loss = [("loss", [row.loss for row in history.epochs])]
    accuracy = [("accuracy", [100 * row.accuracy for row in history.epochs])]
    if all(row.validation_loss is not None for row in history.epochs):
        loss.append(("validation-loss", [row.validation_loss or 0.0 for row in history.epochs]))
        accuracy.append(("validation-accuracy", [100 * (row.validation_accuracy or 0.0) for row in history.epochs]))
    steps = list(range(1, len(history.losses) + 1))
    body = "".join(
        f"<figure>{curves([(epochs, values) for _, values in series], scale=scale)}"
        f"<figcaption>{_legend([name for name, _ in series])} → {_words('curves.epoch')}</figcaption></figure>"
        for series, scale in ((loss, "log"), (accuracy, "linear"))
    )
    body += (
        f"<figure>{curves([(steps, history.losses)], scale='log')}<figcaption>{_legend(['step-loss'])} → "
        f"{_words('curves.step')}</figcaption></figure>"
        f"<figure>{curves([(epochs, [row.rate for row in history.epochs])])}<figcaption>{_legend(['rate'])} → "
        f"{_words('curves.epoch')}</figcaption></figure>"
    )
    return _section("curves", f'<div class="figures">{body}</div>')


def _legend(names: Sequence[str]) -> str:
    return " ".join(
        f'<span class="key"><i style="background:{COLOURS[i % 4]}"></i>{_words(f"curves.{name}")}</span>'
        for i, name in enumerate(names)
    )


def _confusion(run: Run, judgement: Judgement) -> str:
    names, table = run.about.classes, judgement.confusion
    if len(names) > 30:  # a table of a hundred classes is no picture: the pairs that are mixed up most are
        return _section("pairs", _pairs(names, table))
    most = max(1, int((table - np.diag(np.diag(table))).max()))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for i, row in enumerate(judgement.by_class(names)):
        cells = "".join(_cell(int(value), "hit" if i == j else "miss", most) for j, value in enumerate(table[i]))
        recall = "-" if row["accuracy"] is None else f"{100 * float(str(row['accuracy'])):.2f} %"
        precision = "-" if row["precision"] is None else f"{100 * float(str(row['precision'])):.2f} %"
        rows.append(f"<tr><th>{escape(names[i])}</th>{cells}<td>{recall}</td><td>{precision}</td></tr>")
    ends = f"<th>{_words('confusion.recall')}</th><th>{_words('confusion.precision')}</th>"
    return _section("confusion", f"<figure><table><tr><td></td>{head}{ends}</tr>{''.join(rows)}</table></figure>")


def _cell(value: int, kind: str, most: int) -> str:
    if kind == "hit":
        return f'<td class="mark">{value}</td>'
    depth = 0.75 * value / most
    return f'<td style="background:rgba(217,95,2,{depth:.2f})">{value or ""}</td>'


def _pairs(names: tuple[str, ...], table: NDArray[np.int64]) -> str:
    off = table - np.diag(np.diag(table))
    order = np.argsort(-off, axis=None, kind="stable")[:20]
    rows = [
        f"<tr><td>{escape(names[i])}</td><td>{escape(names[j])}</td><td>{off[i, j]}</td></tr>"
        for i, j in zip(*np.unravel_index(order, off.shape))
        if off[i, j]
    ]
    head = "".join(f"<th>{_words(f'pairs.{name}')}</th>" for name in ("true", "said", "count"))
    return f"<figure><table><tr>{head}</tr>{''.join(rows)}</table></figure>"


def _picture(pixels: NDArray[np.uint8], caption: str, side: int = 112) -> str:
    factor = max(1, side // max(pixels.shape[:2]))
    height, width = pixels.shape[0] * factor, pixels.shape[1] * factor
    image = f'<img alt="" width="{width}" height="{height}" src="{data_uri(pixels)}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _plain(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image[..., 0] if image.shape[-1] == 1 else image


def _mistakes(run: Run, test: Pictures, judgement: Judgement) -> str:
    worst = judgement.worst(WORST)
    if not len(worst):
        return _section("mistakes", f"<p>{_words('mistakes.none')}</p>", wrong=0)
    shares, names = judgement.shares, run.about.classes
    figures = []
    for place, image in zip(worst.tolist(), test.take(worst)):
        true, said = int(judgement.labels[place]), int(judgement.said[place])
        facts = {"true": names[true], "said": names[said], "percent": f"{100 * shares[place, said]:.0f}"}
        figures.append(
            _picture(_plain(image), f"{_words('mistakes.one', **facts)}<br><small>{escape(test.names[place])}</small>")
        )
    wrong = len(judgement.labels) - judgement.correct
    return _section("mistakes", f'<div class="figures">{"".join(figures)}</div>', wrong=wrong)


def _kernels(run: Run) -> str:
    from convkit.nn.runs.looking import first_kernels

    kernels = first_kernels(run.network)
    if kernels is None:
        return ""
    shown = kernels[:KERNELS]
    if kernels.shape[1] == 3:  # colour kernels are colour pictures, grey in the middle
        most = np.abs(shown).max(axis=(1, 2, 3), keepdims=True)
        tiles = np.rint(127.5 + 127.5 * shown / np.where(most, most, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
        pixels = np.stack([_tiled(tiles[..., c]) for c in range(3)], axis=-1)
    else:
        pixels = coloured(sheet(shown.reshape(-1, *kernels.shape[2:])[:KERNELS]), "signed")
    out, inside, rows, columns = kernels.shape
    return _section("kernels", _picture(pixels, "", 384), out=out, inside=inside, size=f"{rows}x{columns}")


def _tiled(tiles: NDArray[np.uint8], columns: int = 8) -> NDArray[np.uint8]:
    count, height, width = tiles.shape
    columns = min(columns, count)
    whole = np.full((-(-count // columns) * (height + 1) - 1, columns * (width + 1) - 1), 255, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        whole[top : top + height, left : left + width] = tile
    return whole


def _inside(run: Run, test: Pictures, judgement: Judgement) -> str:
    """A few test pictures of different classes: where the network looks, and what its layers make of them."""
    from convkit.nn.runs.looking import feature_maps, saliency

    firsts = [int(np.flatnonzero(test.labels == label)[0]) for label in np.unique(test.labels)[:EXAMPLES]]
    parts = []
    for place, image in zip(firsts, test.take(np.array(firsts))):
        said = int(judgement.said[place])
        figures = [_picture(_plain(image), escape(run.about.classes[int(test.labels[place])]))]
        seen = heat(saliency(run.network, run.preprocess, image, said))
        figures.append(_picture(seen, _words("inside.saliency", name=run.about.classes[said])))
        maps = feature_maps(run.network, run.preprocess, image)
        for name in list(maps)[:: max(1, len(maps) // 4)][:5]:
            figures.append(_picture(coloured(sheet(maps[name][:MAPS], 4), "signed"), escape(name)))
        parts.append(f'<div class="figures">{"".join(figures)}</div>')
    return _section("inside", "".join(parts))


def _costs(run: Run) -> str:
    from convkit.nn.runs.costs import layer_costs, matrix_peak

    costs, peak = layer_costs(run.network, run.about.shape), matrix_peak()
    columns = ("layer", "kind", "out", "parameters", "multiply-adds", "field", "time", "fraction")
    rows = []
    for cost in costs:
        fraction = cost.fraction(peak)
        cells: list[Any] = [
            escape(cost.name),
            cost.kind,
            "x".join(map(str, cost.out)),
            f"{cost.parameters:,}",
            f"{cost.multiply_adds:,}" if cost.multiply_adds else "",
            _words("costs.all") if cost.field is None else f"{cost.field}x{cost.field}",
            f"{1e6 * cost.seconds:.1f}",
            "" if fraction is None else f"{100 * fraction:.0f} %",
        ]
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    total = [
        _words("costs.total"),
        "",
        "",
        f"{sum(cost.parameters for cost in costs):,}",
        f"{sum(cost.multiply_adds for cost in costs):,}",
        "",
        f"{1e6 * sum(cost.seconds for cost in costs):.1f}",
        "",
    ]
    rows.append(f"<tr>{''.join(f'<th>{cell}</th>' for cell in total)}</tr>")
    head = "".join(f"<th>{_words(f'costs.{name}')}</th>" for name in columns)
    table = f"<figure><table><tr>{head}</tr>{''.join(rows)}</table></figure>"
    return _section("costs", table, gigaflops=f"{peak / 1e9:.0f}")


def _recipe(run: Run) -> str:
    recipe = run.about.recipe
    facts = {name: getattr(recipe, name) for name in recipe.facts()} | dict(run.about.counts)
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items()
    )
    return _section("recipe", f"<figure><table>{rows}</table></figure>")
