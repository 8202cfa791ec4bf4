"""Blocks as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from convkit.catalogue import width
from convkit.explain.blocks import Block, Paragraph, Table


def text(blocks: Sequence[Block]) -> str:
    """The blocks, one under the other."""
    return "\n\n".join(_block(block) for block in blocks)


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return "\n".join(block.lines)
    if isinstance(block, Table):
        return "\n".join(_table(block))
    return "\n".join([block.caption, *(f"  {line}" for line in block.lines), *block.after])


def _table(table: Table) -> list[str]:
    rows = [("", table.columns), *table.rows]
    labels = max(map(width, (label for label, _ in rows)), default=0)
    sizes = [max(width(cells[i]) for _, cells in rows) for i in range(len(table.columns))]
    lines = [table.caption]
    for label, cells in rows:
        if table.total and label == table.total:
            lines.append("  " + "-" * (labels + 1 + sum(size + 2 for size in sizes)))
        body = "".join("  " + right(cell, size) for cell, size in zip(cells, sizes, strict=True))
        lines.append(f"  {label}{' ' * (labels - width(label))} {body}".rstrip())
    return lines


def right(text: str, size: int) -> str:
    """The text pushed to the right end of ``size`` columns."""
    return " " * (size - width(text)) + text
