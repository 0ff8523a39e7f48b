"""Sentences with a tag for each word, from CoNLL and CoNLL-U files.

read_tagged    files -> Examples, a tag for each word

CoNLL: a word a line, its columns separated by tabs or blanks, an empty line between sentences; the word is the first
column and its tag the last one. `-DOCSTART-` lines are no sentence.

CoNLL-U (universaldependencies.org/format.html): ten columns separated by tabs, comments behind #; the word is FORM and
its tag UPOS. A range such as 3-4 (a token that consists of two words) and an empty node such as 8.1 are no words.

    1   i      I      PRON   _   Case=Nom   3   nsubj   _   _            i        O
    2   would  will   AUX    _   _          3   aux     _   _            would    O
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from micrornn.data.rows import BadRows, Example, lines
from micrornn.errors import ConfigError, DataError, counted, quoted, some

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # of CoNLL-U
FORMATS = ("auto", "conll", "conllu")
_ID = re.compile(r"\d+([-.]\d+)?")


class _Reader:
    """One file, sentence by sentence. What is wrong with a row spoils its sentence."""

    def __init__(self, path: Path, format: str, word: str, tag: str, bad: BadRows):
        self.path, self.bad = path, bad
        self.format = "conllu" if format == "auto" and path.suffix == ".conllu" else format
        self.asked = word, tag
        self.tabs, self.width, self.first = False, 0, 0  # how columns are separated, how many, and in which line
        self.word = self.tag = -1
        self.read: list[Example] = []

    def sentences(self, rows: Iterable[tuple[int, str]]) -> list[Example]:
        sentence: list[tuple[int, str]] = []
        for number, row in rows:
            if row.strip():
                sentence.append((number, row))
            elif sentence:
                self._sentence(sentence)
                sentence = []
        if sentence:
            self._sentence(sentence)
        return self.read

    def _sentence(self, rows: list[tuple[int, str]]) -> None:
        words, tags, places, started = [], [], [], False
        for number, row in rows:
            if self._is_comment(row, started):
                continue
            started = True
            cells = self._cells(number, row)
            if cells[0] == "-DOCSTART-" and self.format != "conllu":
                continue
            problem = self._problem(cells)
            if problem:
                self.bad.add(self.path, number, problem)
                return
            if self.format == "conllu" and not cells[0].isdigit():
                continue
            words.append(cells[self.word])
            tags.append(cells[self.tag])
            places.append(number)
        if words:
            self.read.append(Example(words, tags, self.path, places))
        elif self.format == "conllu":
            self.bad.add(self.path, rows[0][0], "a sentence without a word")

    def _is_comment(self, row: str, started: bool) -> bool:
        """In CoNLL-U a word never begins a line; elsewhere # may be a word, and then it has as many columns as others
        have."""
        if not row.startswith("#"):
            return False
        if not self.width:
            return self.format == "conllu" or row.startswith("# ")
        return self.format == "conllu" or (not started and len(self._split(row)) != self.width)

    def _split(self, row: str) -> list[str]:
        return [cell.strip() for cell in row.split("\t")] if self.tabs else row.split()

    def _cells(self, number: int, row: str) -> list[str]:
        """The cells of a row; the first row of a file says how they are separated and how many there are."""
        if not self.width:
            self.tabs = "\t" in row.strip()
            cells = self._split(row)
            if self.format == "auto":
                self.format = "conllu" if self.tabs and len(cells) == 10 and _ID.fullmatch(cells[0]) else "conll"
            self.tabs |= self.format == "conllu"
            cells = self._split(row)
            if cells[0] != "-DOCSTART-":
                self.width, self.first = 10 if self.format == "conllu" else len(cells), number
                self.word = self._column(self.asked[0], "form", 0, "`word_column`", number)
                self.tag = self._column(self.asked[1], "upos", self.width - 1, "`tag_column`", number)
            return cells
        return self._split(row)

    def _column(self, asked: str, name: str, place: int, setting: str, line: int) -> int:
        """The index of a column that is asked for by its number from 1, from the end by -1, or by its name."""
        if not asked:
            place = COLUMNS.index(name) if self.format == "conllu" else place
        elif self.format == "conllu" and asked.lower() in COLUMNS:
            place = COLUMNS.index(asked.lower())
        elif re.fullmatch(r"-?\d+", asked, re.ASCII) and 0 < abs(int(asked)) <= self.width:
            place = int(asked) - 1 if int(asked) > 0 else self.width + int(asked)
        else:
            names = f", or one of {', '.join(COLUMNS)}" if self.format == "conllu" else ""
            raise ConfigError(
                f"{setting} is {quoted(asked)}; {self.path}:{line} has {counted(self.width, 'column')}: give a number "
                f"in 1..{self.width}{names}"
            )
        if self.format == "conll" and self.width < 2:
            raise DataError(
                f"{self.path}:{line}: 1 column, wanted a word and its tag, separated by a tab or blanks, an empty line "
                "between sentences"
            )
        return place

    def _problem(self, cells: Sequence[str]) -> str:
        if len(cells) != self.width:
            told = "CoNLL-U has 10, separated by tabs" if self.format == "conllu" else ""
            told = told or f"line {self.first} has {self.width}"
            return f"{counted(len(cells), 'column')}, and {told}"
        if self.format == "conllu" and not _ID.fullmatch(cells[0]):
            return f"the first column is {quoted(cells[0])}, wanted the number of a word, such as 3, 3-4 or 8.1"
        for place, what in ((self.word, "word"), (self.tag, "tag")):
            if not cells[place]:
                return f"column {place + 1} is empty, wanted a {what}"
        return ""


def read_tagged(paths: Sequence[Path], bad: BadRows, format: str = "auto", word: str = "", tag: str = "",
                encoding: str = "utf-8") -> list[Example]:  # fmt: skip
    """The sentences of all files.

    bad        what to do with rows that cannot be used: the sentence of such a row is left out, or it is an error
    format     auto, conll or conllu: by itself each file tells by its first row
    word, tag  their columns: a number from 1, from the end as -1, of CoNLL-U a name such as xpos; "": the usual ones
    """
    found = []
    for path in paths:
        sentences = _Reader(path, format, word, tag, bad).sentences(lines(path, encoding))
        if not sentences and not bad.count:
            raise DataError(f"{path} holds no sentence; wanted a word and its tag a line")
        found += sentences
    if not found:
        raise DataError(f"no sentence is left of {some(paths, 1)}")
    return found
