"""Turn a file of `convkit bench --json` into a Markdown table: ``python benchmarks/table.py results.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def markdown(document: dict[str, Any]) -> str:
    """The table, under a line that says what it was measured with."""
    peers = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    lines = [
        f"{document['cpu']}, {document['threads']} threads, medians of {document['rounds']} rounds; {peers}.",
        "",
        "| problem | convkit | best peer | ratio | of bound |",
        "|---|---:|---|---:|---:|",
    ]
    for result in document["results"]:
        seconds = {timing["name"]: timing["seconds"] for timing in result["timings"]}
        best = result["best_peer"]
        peer = "–" if best is None else f"{best} {1e3 * seconds[best]:.3g} ms"
        ratio = "–" if result["ratio"] is None else f"{result['ratio']:.2f}"
        lines.append(
            f"| {result['suite']}: {result['name']} | {1e3 * seconds['convkit']:.3g} ms | {peer} | {ratio} "
            f"| {result['fraction_of_bound']:.0%} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
