"""The README's tables, from files of ``convkit bench --json``.

``python benchmarks/table.py results.json ...`` prints them; ``python benchmarks/table.py`` writes them, made from
``benchmarks/results/*.json``, between the markers of README.md and README.zh.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convkit import catalogue
from convkit.catalogue import say

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
READMES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh.md"}
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"

ORDER = ("networks", "training", "layers", "filters")
"""Files of results in the order of their tables; others follow."""

WORDS = {
    "en": {
        "with": "{cpu}, {threads} threads, medians of {rounds} rounds; {peers}.",
        "ours": "convkit {version} on Python {python}",
    },
    "zh": {
        "with": "{cpu}，{threads} 个线程，{rounds} 轮取中位数；{peers}。",
        "ours": "convkit {version}，Python {python}",
    },
}

WRITTEN = ("problem", "network", "class", "best")
"""Columns of words; others hold numbers."""

Row = Sequence[str]


def markdown(document: dict[str, Any], language: str = "en") -> str:
    """The table of one file, under a line that says what it was measured with."""
    words = WORDS[language]
    peers = ", ".join(
        [words["ours"].format(version=document["convkit"], python=document["python"])]
        + [f"{name} {number}" for name, number in document["versions"].items()]
    )
    line = words["with"].format(
        cpu=document["cpu"], threads=document["threads"], rounds=document["rounds"], peers=peers
    )
    with catalogue.using(language):
        group, columns, rows = _contents(document)
        title = say(f"{group}.title")
        head = [say(f"{group}.{'column.' if group == 'bench' else ''}{name}", limit=0.9) for name in columns]
    marks = ["---" if name in WRITTEN else "---:" for name in columns]
    return "\n".join([f"**{title}** · {line}", "", *map(_line, (head, marks, *rows))]) + "\n"


def _contents(document: dict[str, Any]) -> tuple[str, Row, list[Row]]:
    """Its name in the catalogue, its columns, its rows: of networks, classes of layers, or single problems."""
    if "summary" in document:
        columns = ("network", "ours", "flops", "best", "peer", "ratio")
        return "bench.networks", columns, [_network(result) for result in document["results"]]
    if document["classes"]:
        columns = ("class", "count", "mean", "worst", "behind")
        return "bench.classes", columns, [_class(one) for one in document["classes"]]
    columns = ("problem", "ours", "flops", "bytes", "best", "peer", "ratio", "fraction")
    return "bench", columns, [_problem(result) for result in document["results"]]


def _line(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"


def _problem(result: dict[str, Any]) -> Row:
    return [
        result["name"],
        _ours(result),
        f"{result['flops_per_second'] / 1e9:.3g}",
        f"{result['bytes_per_second'] / 1e9:.3g}",
        *_peer(result),
        f"{result['fraction_of_bound']:.0%}",
    ]


def _network(result: dict[str, Any]) -> Row:
    return [result["name"], _ours(result), f"{result['flops_per_second'] / 1e9:.3g}", *_peer(result)]


def _class(one: dict[str, Any]) -> Row:
    return [
        say(f"bench.class.{one['name']}"),
        str(one["count"]),
        f"{one['mean']:.2f}",
        f"{one['worst']:.2f}",
        str(one["behind"]),
    ]


def _ours(result: dict[str, Any]) -> str:
    return _time(_seconds(result)[result["ours"]])


def _peer(result: dict[str, Any]) -> Row:
    """The best peer, its time, the ratio."""
    best = result["best_peer"]
    return ["–"] * 3 if best is None else [best, _time(_seconds(result)[best]), f"{result['ratio']:.2f}"]


def _seconds(result: dict[str, Any]) -> dict[str, float]:
    return {timing["name"]: timing["seconds"] for timing in result["timings"]}


def _time(seconds: float) -> str:
    unit, size = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if seconds >= s), ("µs", 1e-6))
    value = seconds / size
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def tables(paths: Sequence[Path], language: str) -> str:
    """The tables of several files, one after another."""
    return "\n".join(markdown(json.loads(path.read_text(encoding="utf-8")), language) for path in paths)


def committed() -> list[Path]:
    """The files that the README's tables are made from."""
    return sorted(
        RESULTS.glob("*.json"),
        key=lambda path: (ORDER.index(path.stem) if path.stem in ORDER else len(ORDER), path.stem),
    )


def between(text: str) -> str:
    """What stands between the markers."""
    return text.partition(BEGIN + "\n")[2].partition(END)[0]


def renewed(text: str, table: str) -> str:
    """``text`` with ``table`` between its markers.

    Raises
    ------
    ValueError
        If a marker is missing.
    """
    before, begin, rest = text.partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} must stand on lines of their own")
    return before + begin + table + end + after


if __name__ == "__main__":
    named = [Path(name) for name in sys.argv[1:]]
    if named:
        print(tables(named, "en"), end="")
    else:
        for language, readme in READMES.items():
            text = readme.read_text(encoding="utf-8")
            readme.write_text(renewed(text, tables(committed(), language)), encoding="utf-8")
