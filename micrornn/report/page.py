"""Measures as one HTML file that needs nothing from elsewhere. Its pictures are drawn by plotly, the extra `report`.

page       the file, as text
require    MissingError, before anything is measured, where plotly is not installed

Words, tables and coloured texts are plain HTML. The numbers of curves and heat maps go along as JSON, and page.js
draws them; page.css is how it looks, at any width, light and dark. Whatever comes from the run is escaped, and
the page's own rules (Content-Security-Policy) forbid it to fetch anything.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Sequence
from html import escape as html_escape
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import numpy as np

from micrornn.data import UNITS
from micrornn.errors import MissingError, counted
from micrornn.inspect.kinds import ALL, grave
from micrornn.inspect.measure import Measure, Verdict
from micrornn.inspect.panels import Coloured, Heat, Lines, Panel, Rows, Slides, subject
from micrornn.inspect.register import about, names
from micrornn.printable import printable, visible
from micrornn.report.lanes import drawing
from micrornn.report.numbers import Budget, to_json
from micrornn.report.run import Run, learning

TITLES = {  # of what is no measure of the register
    "diagnosis": "Diagnosis: what is well, what is not, what to try first",
    "advise": "Advice: which num_steps, which batch_size",
    "compare": "Comparison: which settings can be told apart",
    "search": "Search: settings drawn at random, the worse half dropped at each rung",
    "trajectory": "Trajectory: one example, a mini-batch, all examples at a time",
    "flow_over_training": "Over training: how the gradient changed",
}
MOST_TOKENS = 4000  # of a coloured text
LETTERS = 45  # of a text below a heat map that takes half of the page's width
NARROW, WIDE = 9, 24  # letters of a window in the drawing, on a phone and elsewhere


def title_of(what: str) -> str:
    """Of a measure; of one that was taken of some part, with that."""
    name, of, part = what.partition("_of_")
    title = about(name).title if name in names() else TITLES.get(what, what.replace("_", " "))
    return f"{title.partition(':')[0]} of the {part}" if of and name in names() else title


def require() -> None:
    """MissingError with the command that installs it."""
    if importlib.util.find_spec("plotly") is None:
        raise MissingError("a page needs plotly, which is not installed\n  pip install 'micrornn[report]'")


def escape(text: str) -> str:
    """`text` as it may stand in the page: nothing in it is an element, a direction or half a character."""
    return html_escape(printable(text))


def page(run: Run, found: Sequence[tuple[Measure, Sequence[Panel]]]) -> str:
    """The whole file. Each measure is a part that a link can open: page.html#credit."""
    require()
    from plotly.offline import get_plotlyjs

    curve = learning(run.metrics, run.unit)
    drawn = [panel for _, panels in found for panel in panels]
    writer = _Writer(Budget.of([curve, *drawn]))
    parts: list[tuple[str, str, str, Sequence[Verdict]]] = []
    if run.lanes and run.vocab:
        parts.append(("lanes", "Lanes and windows", _drawing(run), ()))
    if curve is not None:
        parts.append(("learning", "Learning curve", writer.panels([curve]), ()))
    parts += [
        (measure.what, title_of(measure.what), _subject(measure) + writer.panels(panels),
         measure.verdicts)
        for measure, panels in found
    ]  # fmt: skip
    here = files("micrornn.report")
    return "".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
            "style-src 'unsafe-inline'; img-src data: blob:\">\n",
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n',
            f"<title>{escape(run.name)} · micrornn {escape(run.tool)}</title>\n",
            f"<style>\n{here.joinpath('page.css').read_text('utf-8')}</style>\n</head>\n<body>\n",
            _header(run, parts),
            *(_part(*part) for part in parts),
            _footer(run),
            f'<script type="application/json" id="panels">{_script_safe(writer.data)}</script>\n',
            f"<script>{get_plotlyjs()}</script>\n",
            f"<script>\n{here.joinpath('page.js').read_text('utf-8')}</script>\n</body>\n</html>\n",
        ]
    )


def _script_safe(data: Any) -> str:
    """JSON that may stand in a script element: no `<` in it can end that."""
    text = json.dumps(_shown(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shown(data: Any) -> Any:
    """The same data; texts as they may be shown: plotly draws them as they are."""
    if isinstance(data, str):
        return visible(data)
    if isinstance(data, dict):
        return {name: _shown(value) for name, value in data.items()}
    return [_shown(value) for value in data] if isinstance(data, list | tuple) else data


class _Writer:
    """Panels as HTML; the numbers of those that are drawn are collected in `data`."""

    def __init__(self, budget: Budget) -> None:
        self.data: list[dict[str, Any]] = []
        self.budget = budget

    def panels(self, panels: Sequence[Panel]) -> str:
        return f'<div class="panels">\n{"".join(map(self._panel, panels))}</div>\n'

    def _panel(self, panel: Panel) -> str:
        if isinstance(panel, Rows):
            kind, inside = "rows", _rows(panel)
        elif isinstance(panel, Coloured):
            kind, inside = "coloured", _coloured(panel)
        else:
            kind, inside = self._drawn(panel)
        note = f'<p class="note">{escape(panel.note)}</p>' if panel.note else ""
        return f'<figure class="panel {kind}"><h3>{escape(panel.title)}</h3>{inside}{note}</figure>\n'

    def _drawn(self, panel: Lines | Heat | Slides) -> tuple[str, str]:
        """A place for a picture, with its number in `data`, and what moves it."""
        n = len(self.data)
        self.data.append(to_json(panel, self.budget))
        shape = panel.panels[0] if isinstance(panel, Slides) and panel.panels else panel
        kind = "lines"
        if isinstance(shape, Heat):
            kind = "square" if shape.window else "low" if len(shape.y) <= 12 else "heat"
            if len(shape.x) > LETTERS and all(isinstance(x, str) and len(x) == 1 for x in shape.x):
                kind += " long"  # a text below it, which is to be read
        place = f'<div class="plot" data-panel="{n}" role="img" aria-label="{escape(panel.title)}"></div>'
        if isinstance(panel, Slides):
            last = max(0, len(self.data[n]["frames"]) - 1)
            return kind, place + _range(n, panel.label, 0, last, last)
        if isinstance(panel, Heat) and panel.window:
            return kind, place + _WINDOWS.format(
                range=_range(n, "K", 1, len(panel.y), min(panel.window, len(panel.y))), n=n
            )
        return kind, place


_WINDOWS = """{range}<p class="modes">
<label><input type="radio" name="mode{n}" value="windows" checked> windows of K, as in training</label>
<label><input type="radio" name="mode{n}" value="back"> each loss sees K time steps back</label></p>
<p class="share" aria-live="polite"></p>"""


def _range(n: int, label: str, low: int, high: int, value: int) -> str:
    return (
        f'<label class="slider"><span>{escape(label)}</span>'
        f'<input type="range" min="{low}" max="{high}" value="{value}" data-for="{n}">'
        f"<output>{value}</output></label>"
    )


def _rows(panel: Rows) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in panel.columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in panel.rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _coloured(panel: Coloured) -> str:
    """The text; each token on red (above 0) or blue (below), the stronger the further from 0."""
    parts = []
    for token, value in zip(panel.tokens[:MOST_TOKENS], np.asarray(panel.values, float)):
        strength = float(np.clip(value, -1, 1)) if np.isfinite(value) else 0.0
        shown = escape(visible(token)) + ("\n" if "\n" in token else "")
        kind = "u" if strength >= 0 else "d"
        parts.append(f'<i class={kind} style="--v:{abs(strength):.2f}" title="{value:.3g}">{shown}</i>')
    left = len(panel.tokens) - MOST_TOKENS
    more = f" … and {left:,} more" if left > 0 else ""
    key = (
        '<p class="key"><i class=d style="--v:1">-1</i><i class=d style="--v:.5">-0.5</i><i class=u style="--v:0">0</i>'
        f'<i class=u style="--v:.5">0.5</i><i class=u style="--v:1">1</i> {escape(panel.value_label)}</p>'
    )
    return f"{key}<pre>{''.join(parts)}{more}</pre>"


def _drawing(run: Run) -> str:
    """The lanes and windows of the run, narrow and wide, and the same in words."""
    assert run.lanes is not None and run.vocab is not None
    lanes, unit = run.lanes, UNITS[run.vocab.kind]
    b, t, length = lanes.batch_size, lanes.num_steps, counted(lanes.lane_len, *unit)
    facts = [
        ("batch_size", f"{b:,}", f"lanes: the text is cut into {counted(b, 'piece')} of {length}"),
        ("num_steps", f"{t:,}", "time steps: the gradient goes back to the left edge of a window, no further"),
        ("one update", f"{lanes.tokens_per_update:,}", f"{unit[b * t != 1]}: one window of every lane"),
        ("one epoch", f"{lanes.num_windows:,}", "updates: every window once"),
    ]
    table = "".join(f"<tr><th>{a}</th><td>{n}</td><td>{words}</td></tr>" for a, n, words in facts)
    pictures = "".join(
        f'<div class="{kind}">{drawing(lanes, run.vocab, letters, run.carried)}</div>'
        for kind, letters in (("narrow-only", NARROW), ("wide-only", WIDE))
    )
    return f'<figure class="panel drawing">{pictures}<table class="facts">{table}</table></figure>\n'


def _subject(measure: Measure) -> str:
    """On what it was measured; the run is told at the top of the page."""
    words = subject(measure, run=False)
    return f'<p class="subject">{escape(words)}</p>\n' if words else ""


def _header(run: Run, parts: Sequence[tuple[str, str, str, Sequence[Verdict]]]) -> str:
    facts = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(words)}</dd></div>" for name, words in run.facts)
    links = "".join(
        f'<a href="#{escape(name)}"{_mood(verdicts)}>{escape(title.split(":")[0])}</a>'
        for name, title, _, verdicts in parts
    )
    brief = "".join(
        f'<li>{_badge(v)} {_said(v.short)} <a href="#{escape(name)}">{escape(name.replace("_", " "))}</a></li>'
        for name, _, _, verdicts in parts
        for v in sorted(verdicts, key=lambda v: grave(v.kind))
    )
    short = f'<section class="brief"><h2>In short</h2><ul>{brief}</ul></section>\n' if brief else ""
    return (
        f'<header><button id="theme" type="button" aria-label="light or dark">◐</button>'
        f"<p>micrornn {escape(run.tool)}</p><h1>{escape(run.name)}</h1><dl>{facts}</dl></header>\n"
        f"<nav>{links}</nav>\n<main>\n{short}<noscript><p>The pictures need JavaScript.</p></noscript>\n"
    )


def _mood(verdicts: Sequence[Verdict]) -> str:
    """The gravest verdict, as a class."""
    worst = min((v.kind for v in verdicts), key=grave, default="")
    return f' class="{worst}"' if worst else ""


def _badge(verdict: Verdict) -> str:
    return f'<b class="badge {verdict.kind}" title="{escape(ALL[verdict.kind].words)}">{verdict.kind}</b>'


def _said(words: str) -> str:
    """Words of a verdict: flags look like flags, and no line ends before a `%`."""
    return re.sub(r"(--[a-z][a-z-]*)", r"<code>\1</code>", escape(words)).replace(" %", "&nbsp;%")


def _part(name: str, title: str, inside: str, verdicts: Sequence[Verdict]) -> str:
    said = "".join(
        f'<div class="verdict {v.kind}">{_badge(v)}<div><p>{_said(v.words)}</p>'
        + (f'<p class="advice">→ {_said(v.advice)}</p>' if v.advice else "")
        + "</div></div>"
        for v in verdicts
    )
    head = f'<h2><a href="#{escape(name)}">{escape(title)}</a></h2>'
    return f'<section id="{escape(name)}">{head}\n{inside}{said}</section>\n'


def _footer(run: Run) -> str:
    command = f"<p>Written by <code>{escape(run.command)}</code></p>" if run.command else ""
    return f"</main>\n<footer>{command}<p>micrornn {version('micrornn')}; pictures by plotly.js</p></footer>\n"
