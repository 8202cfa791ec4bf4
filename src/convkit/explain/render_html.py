"""An explanation as one self-contained piece of HTML: real tables, no script, nothing fetched."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from convkit.catalogue import language
from convkit.explain.blocks import Block, Paragraph, Table

if TYPE_CHECKING:
    from convkit.explain.explanation import Explanation

_STYLE = (
    ".convkit-explanation{font:15px/1.5 system-ui,sans-serif;max-width:70rem}"
    ".convkit-explanation table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    ".convkit-explanation caption{text-align:left;font-weight:600;padding:.5em 0}"
    ".convkit-explanation th,.convkit-explanation td{border:1px solid #7676769c;padding:.2em .6em;text-align:right}"
    ".convkit-explanation .total td,.convkit-explanation .total th{border-top:3px double;font-weight:700}"
    ".convkit-explanation .scroll{overflow-x:auto}.convkit-explanation .scroll:focus{outline:3px solid #5a9bf2}"
    ".convkit-explanation code{font:14px ui-monospace,monospace}"
)


def html(explanation: Explanation) -> str:
    """Paragraphs, picture, tables and steps. Wide tables scroll and can be reached with the keyboard."""
    blocks = explanation.blocks()
    opening, rest = blocks[0], blocks[1:]
    body = _block(opening) + f'<div class="scroll" tabindex="0">{explanation.svg()}</div>'
    body += "".join(_block(block) for block in rest)
    return f'<section class="convkit-explanation" lang="{language()}"><style>{_STYLE}</style>{body}</section>'


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return "<p>" + "<br/>".join(escape(line) for line in block.lines) + "</p>"
    if isinstance(block, Table):
        head = "".join(f'<th scope="col">{escape(column)}</th>' for column in block.columns)
        rows = ""
        for label, cells in block.rows:
            kind = ' class="total"' if block.total and label == block.total else ""
            data = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            rows += f'<tr{kind}><th scope="row">{escape(label)}</th>{data}</tr>'
        caption = escape(block.caption)
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table><caption>{caption}</caption>'
            f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    items = "".join(f"<li><code>{escape(line)}</code></li>" for line in block.lines)
    after = "".join(f"<p>{escape(line)}</p>" for line in block.after)
    return f"<h3>{escape(block.caption)}</h3><ul>{items}</ul>{after}"
