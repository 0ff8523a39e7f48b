"""What of a text a vocabulary lacks: how much, where the first of it stands, and what may be meant.

Unseen    counts, and makes the error
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from micrornn.errors import DataError

# What people type for one another, and what editors make of it.
ALIKE = (
    "\"“”„‟«»″", "'‘’‚‛′`´", "-‐‑‒–—―−", " \u00a0\u2002\u2003\u2009\u202f\u3000\t",
    "\n\r\u2028\u2029\x85\x0b\x0c", "·•∙", "*×", "…⋯",
)  # fmt: skip
LONGER = {"…": "...", "—": "--", "–": "--", "æ": "ae", "œ": "oe", "ß": "ss", "ﬁ": "fi", "ﬂ": "fl"}


SKIP = "`unseen=skip` leaves out what it lacks"


class Unseen:
    """Counts the tokens of a text that a vocabulary lacks.

    count, total    so many of so many tokens
    first           the first of them, None if there is none
    position        of the first, in characters from the beginning of the text, from 0
    line, column    the same as an editor tells it, from 1
    """

    def __init__(self, kind: str, tokens: Sequence[str]) -> None:
        self.kind, self.tokens = kind, tokens
        self.count = self.total = self.position = 0
        self.line, self.column = 1, 1
        self.first: str | None = None
        self._read = 0  # characters before the piece at hand
        self._line_start = 0  # position of the first character of the line at hand
        self._line = 1

    def add(self, text: str, total: int, count: int = 0, first: str = "", offset: int = 0) -> None:
        """One more piece of text: `count` of its `total` tokens are unseen, the first of them at `offset`."""
        self.total += total
        if count and self.first is None:
            before = text[:offset]
            self.first, self.position = first, self._read + offset
            self.line = self._line + before.count("\n")
            start = self._read + before.rfind("\n") + 1 if "\n" in before else self._line_start
            self.column = self.position - start + 1
        self.count += count
        if self.first is None:  # else nobody asks where we are
            self._line += text.count("\n")
            if "\n" in text:
                self._line_start = self._read + text.rfind("\n") + 1
            self._read += len(text)

    def error(self, where: str = "", remedy: str = SKIP) -> DataError:
        """In two lines: what, where, how many; what it may be, what to do (`remedy`). `where`: a file, or a flag."""
        assert self.first is not None
        one = "character" if self.kind == "char" else "word"
        token = f"{self.first!r} (U+{ord(self.first):04X})" if self.kind == "char" else repr(self.first[:80])
        place = f"line {self.line:,}, column {self.column:,}, position {self.position:,}"
        told = f"{where}: " if where else ""
        known = self.known_as()
        return DataError(
            f"{told}{one} {token} at {place}, is unknown to the model: "
            f"{self.count:,} of {self.total:,} are not in its vocabulary\n"
            f"  {known + '; ' if known else ''}{remedy}"
        )

    def known_as(self) -> str:
        """What the vocabulary has in place of the first, as far as can be told."""
        assert self.first is not None
        there, first = set(self.tokens), self.first
        composed, decomposed = unicodedata.normalize("NFC", first), unicodedata.normalize("NFD", first)
        for other, form in ((decomposed, "NFD (decomposed letters)"), (composed, "NFC (composed letters)")):
            if other != first and (set(other) if self.kind == "char" else {other}) <= there:
                shown = " + ".join(f"{c!r} (U+{ord(c):04X})" for c in other) if self.kind == "char" else other
                return f"the vocabulary has it as {shown}: normalise this text to {form}"
        if self.kind == "char" and any(unicodedata.normalize("NFD", token)[1:] == first for token in there):
            return "the vocabulary has letters that are composed with it: normalise this text to NFC"
        for alike in _alike(first):
            if alike in there or (self.kind == "char" and len(alike) > 1 and set(alike) <= there):
                code = f" (U+{ord(alike):04X})" if len(alike) == 1 else ""
                return f"the vocabulary has {alike!r}{code}, which may be meant"
        return ""


def _alike(token: str) -> list[str]:
    """What looks like the token, or is typed for it; the likeliest first."""
    found = []
    for group in ALIKE:
        for mark in group:
            if mark in token:
                found += [token.replace(mark, other) for other in group if other != mark]
    found += [token.replace(mark, other) for mark, other in LONGER.items() if mark in token]
    compatible = unicodedata.normalize("NFKC", token)
    return [one for one in [*found, compatible, token.lower(), token.capitalize(), token.upper()] if one != token]
