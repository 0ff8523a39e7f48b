"""The drawing of lanes and windows: which of them are shown, what text stands there, and the drawing as SVG.

few, piece    what every drawing needs
drawing       the SVG, for a page
"""

from __future__ import annotations

from html import escape

from micrornn.data import Lanes, LineLanes, Vocab
from micrornn.errors import counted
from micrornn.printable import cells, cut, standing, tail, visible


def few(n: int) -> list[int]:
    """The first two and the last of n."""
    return sorted({0, min(1, n - 1), n - 1})


def piece(lanes: Lanes | LineLanes, vocab: Vocab, b: int, w: int, width: int) -> str:
    """What lane b reads in window w, in at most `width` cells; cut in its middle if it is too long."""
    if isinstance(lanes, LineLanes):
        begin, end, _ = lanes.span(b, w)
        line = standing(visible(vocab.decode(lanes.tokens[begin : min(end, begin + 2 * width + 1)])))
        line = line + "░" * min(lanes.num_steps - (end - begin), width + 1)
        return line if cells(line) <= width else cut(line, width - 1) + "…"
    start = b * lanes.lane_len + w * lanes.num_steps
    take = min(lanes.num_steps, 2 * width + 1)  # combining marks take no cell
    head = standing(visible(vocab.decode(lanes.tokens[start : start + take])))
    if cells(head) <= width and take == lanes.num_steps:
        return head
    stop, last = start + lanes.num_steps, min(6, width // 3)
    ending = tail(visible(vocab.decode(lanes.tokens[stop - min(take, 2 * last) : stop])), last)
    return cut(head, width - cells(ending) - 1) + "…" + ending


LETTER, LINE = 7.9, 24.0  # the width of a letter and the height of a lane, in units of the drawing


def drawing(lanes: Lanes, vocab: Vocab, letters: int, carried: bool = True) -> str:
    """Lanes as rows, windows as columns, as an SVG whose windows are so many letters wide. Its colours are the
    page's: each element has a class. carried: whether a window starts from the state of the one before."""
    windows, rows = few(lanes.num_windows), few(lanes.batch_size)
    gap = 26.0 if windows[-1] > len(windows) - 1 else 0.0
    left, top, wide = 84.0, 46.0, letters * LETTER + 10
    places = [left + n * wide + (gap if gap and n == len(windows) - 1 else 0) for n in range(len(windows))]
    right, lines, y = places[-1] + wide, [], top
    for n, b in enumerate(rows):
        if n and b > rows[n - 1] + 1:
            lines.append(_text(left - 8, y + 16, "⋮", "label", "end"))
            lines += [_text(x + wide / 2, y + 16, "⋮", "label", "middle") for x in places]
            y += LINE
        lines.append(_text(left - 8, y + 16, f"lane {b + 1:,}", "label", "end"))
        for k, (x, w) in enumerate(zip(places, windows)):
            lines.append(f'<rect class="window tint{k}" x="{x:g}" y="{y:g}" width="{wide:g}" height="{LINE:g}"/>')
            lines.append(_text(x + 5, y + 16, piece(lanes, vocab, b, w, letters), "text"))
        y += LINE
    for k, (x, w) in enumerate(zip(places, windows)):
        at, anchor = (x + wide - 2, "end") if k and k == len(windows) - 1 else (x + 2, "start")
        lines.append(_text(at, top - 8, f"window {w + 1:,}", "label", anchor))
        lines.append(_text(at, y + 18, f"↑ update {w + 1:,}", f"label ink{k}", anchor))
    if gap:
        lines.append(_text(places[-1] - gap / 2, (top + y) / 2, "…", "label", "middle"))
    lines.append(_arrow(places[0], places[0] + wide, top - 28))
    lines.append(_text(places[0] + wide + 6, top - 24, f"num_steps {lanes.num_steps:,}", "size"))
    lines.append(f'<path class="arrow" d="M8,{top + 2:g} V{y - 2:g} M4,{top + 8:g} L8,{top + 2:g} L12,{top + 8:g} '
                 f'M4,{y - 8:g} L8,{y - 2:g} L12,{y - 8:g}"/>')  # fmt: skip
    lines += [_text(2, top - 24, "batch_size", "size"), _text(2, top - 8, f"{lanes.batch_size:,}", "size")]
    if len(windows) > 1:
        lines += _border(places[1], y + 30, carried)
    height = y + (78 if len(windows) > 1 else 26)
    label = f"{counted(lanes.batch_size, 'lane')}, in windows of {counted(lanes.num_steps, 'time step')}"
    return (
        f'<svg class="lanes" viewBox="0 0 {right + 2:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'style="max-width: {1.25 * right:.0f}px">{"".join(lines)}</svg>'
    )


def _border(x: float, y: float, carried: bool) -> list[str]:
    """What crosses the border between two windows: the state does (if it is carried), the gradient does not."""
    if not carried:
        return [
            f'<path class="border" d="M{x:g},{y:g} V{y + 44:g}"/>',
            _text(x - 6, y + 26, "state and gradient", "label", "end"),
            _text(x + 6, y + 26, "both stop here", "label"),
        ]
    return [
        f'<path class="border" d="M{x:g},{y:g} V{y + 44:g}"/>',
        _text(x - 6, y + 16, "state", "label", "end"),
        f'<path class="arrow" d="M{x - 2:g},{y + 12:g} h40 m-6,-4 l6,4 l-6,4"/>',
        _text(x + 44, y + 16, "carried on", "label"),
        f'<path class="arrow" d="M{x + 40:g},{y + 34:g} h-34 m6,-4 l-6,4 l6,4"/>',
        _text(x + 44, y + 38, "gradient stops", "label"),
    ]


def _arrow(start: float, stop: float, y: float) -> str:
    return (
        f'<path class="arrow" d="M{start:g},{y:g} H{stop:g} M{start + 6:g},{y - 4:g} L{start:g},{y:g} '
        f'L{start + 6:g},{y + 4:g} M{stop - 6:g},{y - 4:g} L{stop:g},{y:g} L{stop - 6:g},{y + 4:g}"/>'
    )


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}" xml:space="preserve">{escape(text)}</text>'
