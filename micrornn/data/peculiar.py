"""What of a text is worth a word before hours go into it: its line ends, its letters, and tables read as prose.

Peculiar       listens to the text as it is read; `notes()` says what there is to say
looks_like     CSV, JSON lines, CoNLL: a file with more structure than a text has
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Sequence

from micrornn.errors import counted

HEAD = 1 << 16  # characters from the beginning that are looked at for structure
ONE_LINE = 1000  # characters from which on it is odd that there is no line end
TAG = re.compile(r"[BIESLU]-\S+|O|_|[A-Z]+\$?|[.,:;()'`\"-]+")


class Peculiar:
    """`add` is called with each piece of the text."""

    def __init__(self) -> None:
        self.head = ""
        self.characters = self.crlf = self.cr = self.newlines = 0
        self.decomposed: str | None = None
        self._ends_in_cr = False

    def add(self, text: str) -> None:
        if len(self.head) < HEAD:
            self.head += text[: HEAD - len(self.head)]
        self.characters += len(text)
        self.newlines += text.count("\n")
        if "\r" in text or self._ends_in_cr:
            self.cr += text.count("\r")
            self.crlf += text.count("\r\n") + (self._ends_in_cr and text.startswith("\n"))
        self._ends_in_cr = text.endswith("\r")
        if self.decomposed is None and not text.isascii() and not unicodedata.is_normalized("NFC", text):
            self.decomposed = _decomposed(text)

    def notes(self) -> list[str]:
        """A line each, for people."""
        found = []
        form = looks_like(self.head)
        if form:
            found.append(f"it looks like {form}, and is read as plain text: what is between the values is learned too")
        if self.cr and self.crlf == self.newlines == self.cr:
            found.append(r"its lines end in \r\n (as on Windows): \r is a character of it, and a prompt needs \r\n too")
        elif self.crlf:
            found.append(rf"{self.crlf:,} of its {counted(self.newlines, 'line')} end in \r\n, the others in \n")
        elif self.cr and not self.newlines:
            found.append(rf"its lines end in \r alone (as on old Macs), {self.cr:,} of them: there is no \n in it")
        elif self.cr:
            found.append(rf"it has {self.cr:,} \r without a \n behind it")
        elif not self.newlines and self.characters >= ONE_LINE:
            found.append(f"it is a single line of {counted(self.characters, 'character')}")
        if self.decomposed:
            parts = " + ".join(f"U+{ord(c):04X}" for c in self.decomposed)
            found.append(
                f"some of its letters are decomposed (NFD): {unicodedata.normalize('NFC', self.decomposed)} is {parts}"
            )
        return found


def _decomposed(text: str) -> str | None:
    """The first letter of several characters that might be one."""
    for n in range(1, len(text)):
        pair = text[n - 1 : n + 1]
        if unicodedata.combining(pair[1]) and len(unicodedata.normalize("NFC", pair)) == 1:
            return pair
    return None


def looks_like(head: str) -> str | None:
    """What the beginning of a text is, if it is no prose and no code."""
    lines = head.split("\n")
    lines = [line.rstrip("\r") for line in (lines[:-1] if len(head) == HEAD else lines)][:200]
    full = [line for line in lines if line.strip()]
    if len(full) < 3:
        return "JSON" if full and _is_json(head) else None
    if sum(line.lstrip()[:1] in ("{", "[") and _is_json(line) for line in full) >= 0.9 * len(full):
        return "JSON lines"
    if len(head) < HEAD and full[0].lstrip()[0] in "{[" and _is_json(head):
        return "JSON"
    rows = [line for line in full if not line.startswith("#")]
    if _is_conll(rows, any(not line.strip() for line in lines[:-1])):
        return "CoNLL (a word and its tags a line)"
    for mark, name in (("\t", "TSV"), (",", "CSV"), (";", "CSV"), ("|", "CSV")):
        if _is_table(rows, mark):
            return name
    return None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _is_conll(rows: Sequence[str], gaps: bool) -> bool:
    """Columns, in blocks between empty lines: numbered words (CoNLL-U), or a word and what looks like tags."""
    if not gaps or len(rows) < 5:
        return False
    columns = [row.split("\t") if "\t" in row else row.split() for row in rows]
    width = len(columns[0])
    if width < 2 or sum(len(row) == width for row in columns) < 0.95 * len(rows):
        return False
    numbered = sum(row[0].split("-")[0].split(".")[0].isdigit() for row in columns) >= 0.95 * len(rows)
    return (numbered and width >= 4) or sum(bool(TAG.fullmatch(row[-1])) for row in columns) >= 0.9 * len(rows)


def _is_table(rows: Sequence[str], mark: str) -> bool:
    """As many fields in each line; two alone are a table only if there are numbers in half of the lines."""
    if len(rows) < 5:
        return False
    try:
        fields = list(csv.reader(rows, delimiter=mark, strict=False))
    except csv.Error:
        return False
    width = max(len(fields[n]) for n in range(2))
    if width < 2 or sum(len(row) == width for row in fields) < 0.95 * len(fields):
        return False
    numbers = sum(any(re.fullmatch(r"\s*[-+]?[\d.,]*\d\s*%?", field) for field in row) for row in fields)
    short = sum(len(field) for row in fields for field in row) / sum(map(len, fields)) < 60
    return short and (numbers >= len(fields) / 2 or (width >= 4 and mark != ",") or (width >= 4 and numbers > 0))
