"""The tour's page: one file, no network, English and 中文 inside."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from convkit.catalogue import LANGUAGES, language
from convkit.cli.draw import both, drawn
from convkit.scenes import Label, Report, Scene

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2733;--soft:#5b6773;--paper:#fff;--line:#d5dbe1;--good:#1b7837;--bad:#b2182b;
--mark:#fde0b8}
@media (prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9aa6b2;--paper:#14191f;--line:#36414c;--good:#6cc487;
--bad:#ff7a85;--mark:#6b4a16}}
body{font:16px/1.55 system-ui,"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif;color:var(--ink);
background:var(--paper);max-width:64rem;margin:2rem auto;padding:0 1rem}
html[data-speak=en] [lang=zh],html[data-speak=zh] [lang=en]{display:none}
h1{font-size:1.9rem;margin:.2em 0}h2{margin:2.4em 0 .2em;border-top:1px solid var(--line);padding-top:1em}
nav{display:flex;gap:.5rem;justify-content:flex-end}button{font:inherit;padding:.3em .9em;border:1px solid var(--line);
border-radius:.4em;background:none;color:inherit;cursor:pointer}button[aria-pressed=true]{border-color:currentColor}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.15em .6em;text-align:right;
border:1px solid var(--line)}table.checks{width:100%}table.checks td,table.checks th{text-align:left}
th{font-weight:600}td.mark{background:var(--mark)}.figures{display:flex;flex-wrap:wrap;gap:1rem 2rem;align-items:end}
figure{margin:.8em 0;max-width:100%;overflow-x:auto}figcaption{color:var(--soft);font-size:.92em}
img{image-rendering:pixelated;max-width:100%;height:auto}pre{line-height:1.3;overflow-x:auto}
svg{max-width:100%;height:auto}svg text{font-size:11px;fill:currentColor}.axis{stroke:var(--soft)}
.key i{display:inline-block;width:.8em;height:.8em;margin-right:.3em}
.ok{color:var(--good)}.off{color:var(--bad);font-weight:700}
.name{color:var(--soft);font-size:.9rem;font-weight:400}details{margin:.6em 0}
"""

_SCRIPT = """
const speak=(name)=>{document.documentElement.dataset.speak=name;document.documentElement.lang=name;
document.querySelectorAll('nav button').forEach(b=>b.setAttribute('aria-pressed',String(b.value===name)))};
document.querySelectorAll('nav button').forEach(b=>b.addEventListener('click',()=>speak(b.value)));
speak(document.documentElement.dataset.speak);
"""


def tour(reports: Sequence[Report], missed: Sequence[Scene]) -> str:
    """The whole page: what was run, and what was not because an extra is missing."""
    green = sum(report.ok for report in reports)
    summary = Label(
        "cli.tour.summary",
        {
            "green": green,
            "red": len(reports) - green,
            "missed": len(missed),
            "seconds": f"{sum(report.seconds for report in reports):.1f}",
        },
    )
    parts = [f"<h1>{both(Label('cli.tour.page-title'))}</h1>", f"<p>{both(Label('cli.tour.page-intro'))}</p>"]
    parts.append(f'<p class="{"ok" if green == len(reports) else "off"}">{both(summary)}</p>')
    topic = ""
    for report in reports:
        if report.scene.topic != topic:
            topic = report.scene.topic
            parts.append(f"<h1>{both(Label(f'cli.tour.topic.{topic}'))}</h1>")
        parts.append(_section(report))
    for scene in missed:
        words = Label("cli.tour.not-run", {"extra": scene.extra})
        parts.append(f"<h2>{both(scene.title)}</h2><p>{both(scene.shows)}</p><p>{both(words)}</p>")
    return document("".join(parts))


def single(report: Report, steps: str = "") -> str:
    """A page with one scene, and the explanation of its call."""
    frame = f'<iframe title="" style="width:100%;height:40rem;border:0" srcdoc="{escape(steps)}"></iframe>'
    return document(_section(report) + (frame if steps else ""))


def _section(report: Report) -> str:
    scene = report.scene
    rows = []
    for check in report.checks:
        mark, kind = ("✓", "ok") if check.ok else ("✗", "off")
        rows.append(
            f"<tr><td>{both(scene.label(check))}</td><td>{escape(check.wanted)}</td>"
            f'<td>{escape(check.found)}</td><td class="{kind}">{mark}</td></tr>'
        )
    head = "".join(f"<th>{both(Label(f'cli.tour.column.{name}'))}</th>" for name in ("what", "expected", "got"))
    return (
        f'<section id="{scene.name}"><h2>{both(scene.title)} <span class="name">{scene.name}, '
        f"{report.seconds:.3g} s</span></h2><p>{both(scene.shows)}</p>"
        f'<div class="figures">{"".join(drawn(figure) for figure in report.outcome.figures)}</div>'
        f'<table class="checks"><tr>{head}<th></th></tr>{"".join(rows)}</table></section>'
    )


def document(body: str) -> str:
    """A whole page around ``body``, with its style and the buttons that choose the language."""
    names = {"en": "English", "zh": "中文"}
    buttons = "".join(f'<button value="{name}">{names[name]}</button>' for name in LANGUAGES)
    return (
        f'<!DOCTYPE html><html lang="{language()}" data-speak="{language()}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>convkit</title>'
        f"<style>{_STYLE}</style></head><body><nav>{buttons}</nav>{body}<script>{_SCRIPT}</script></body></html>\n"
    )
