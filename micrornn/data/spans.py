"""Spans of words that tags tell of, and how well they were found.

is_spans    whether tags are of this kind: O, B-name, I-name, also E-name and S-name
spans       tags -> the spans (first, last + 1, name)
f1          precision, recall and F1 of spans, as conlleval counts them

    word   a   flight  to  san     francisco
    tag    O   O       O   B-city  I-city       -> (3, 5, "city")

After conlleval, the script of the shared task of CoNLL-2000 (Tjong Kim Sang and Buchholz, 2000): a span counts as found
if its first word, its last word and its name are right; tags may be IOB1, IOB2 or IOBES. An I- without a beginning, or
behind another name, begins a span.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_TAG = re.compile(r"O|[BIES]-.+")


def is_spans(tags: Iterable[str]) -> bool:
    """Whether all tags are O, or a letter of where in a span a word stands with the name of the span."""
    tags = set(tags)
    return all(_TAG.fullmatch(tag) for tag in tags) and any(tag[0] in "BI" and tag != "O" for tag in tags)


def spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first, last + 1, name) of each span of a sentence, in their order."""
    found, start = [], -1
    before, name_before = "O", ""
    for place, tag in enumerate([*tags, "O"]):
        where, _, name = tag.partition("-")
        other = name != name_before
        if start >= 0 and (other or before in ("E", "S") or where in ("B", "S", "O")):
            found.append((start, place, name_before))
            start = -1
        if where != "O" and start < 0:
            start = place
        before, name_before = where, name
    return found


def f1(right: Iterable[Sequence[str]], found: Iterable[Sequence[str]]) -> tuple[float, float, float]:
    """(precision, recall, F1 = 2PR / (P + R)), in 0..1, over all spans of all sentences; 0 where there is nothing."""
    hits = said = there = 0
    for true, guess in zip(right, found):
        a, b = set(spans(true)), set(spans(guess))
        hits, said, there = hits + len(a & b), said + len(b), there + len(a)
    precision, recall = hits / max(1, said), hits / max(1, there)
    return precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0
