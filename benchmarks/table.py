"""The README's table, from files of ``convkit bench --json``.

``python benchmarks/table.py results.json ...`` prints it; ``python benchmarks/table.py`` writes it, made from
``benchmarks/results/*.json``, between the markers of README.md and README.zh.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
READMES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh.md"}
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"

WORDS = {
    "en": {
        "head": "| problem | convkit | GFLOP/s | GB/s | best peer | its time | ratio | of bound |",
        "with": "{cpu}, {threads} threads, medians of {rounds} rounds; {peers}.",
        "ours": "convkit {version} on Python {python}",
    },
    "zh": {
        "head": "| 问题 | convkit | GFLOP/s | GB/s | 最快的同类库 | 其时间 | 倍数 | 占上限 |",
        "with": "{cpu}，{threads} 个线程，{rounds} 轮取中位数；{peers}。",
        "ours": "convkit {version}，Python {python}",
    },
}


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
    rows = [_row(result) for result in document["results"]]
    return "\n".join([line, "", words["head"], "|---|---:|---:|---:|---|---:|---:|---:|", *rows]) + "\n"


def _row(result: dict[str, Any]) -> str:
    seconds = {timing["name"]: timing["seconds"] for timing in result["timings"]}
    best = result["best_peer"]
    cells = [
        result["name"],
        _time(seconds[result["ours"]]),
        f"{result['flops_per_second'] / 1e9:.3g}",
        f"{result['bytes_per_second'] / 1e9:.3g}",
        "–" if best is None else best,
        "–" if best is None else _time(seconds[best]),
        "–" if result["ratio"] is None else f"{result['ratio']:.2f}",
        f"{result['fraction_of_bound']:.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def _time(seconds: float) -> str:
    unit, size = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if seconds >= s), ("µs", 1e-6))
    value = seconds / size
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def tables(paths: Sequence[Path], language: str) -> str:
    """The tables of several files, one after another."""
    return "\n".join(markdown(json.loads(path.read_text(encoding="utf-8")), language) for path in paths)


def committed() -> list[Path]:
    """The files that the README's table is made from."""
    return sorted(RESULTS.glob("*.json"))


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
