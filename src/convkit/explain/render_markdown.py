"""Blocks as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from convkit.explain.blocks import Block, Paragraph, Table


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks, one under the other."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return "  \n".join(_escape(line) for line in block.lines)
    if isinstance(block, Table):
        lines = [f"**{_escape(block.caption)}**", ""]
        lines.append("| | " + " | ".join(map(_escape, block.columns)) + " |")
        lines.append("|---|" + "--:|" * len(block.columns))
        for label, cells in block.rows:
            bold = "**" if block.total and label == block.total else ""
            shown = [f"{bold}{_escape(cell)}{bold}" if cell else "" for cell in cells]
            lines.append(f"| {bold}{_escape(label)}{bold} | " + " | ".join(shown) + " |")
        return "\n".join(lines)
    code = ["```text", *block.lines, "```"]
    return "\n".join([f"**{_escape(block.caption)}**", "", *code, *(f"\n{_escape(line)}" for line in block.after)])


def _escape(text: str) -> str:
    return "".join("\\" + letter if letter in "\\|*_`<" else letter for letter in text)
