"""Rows of files, with the line that each stands in, and what becomes of those that are bad.

Example          words with a label for each, or for all of them, as a file has them
lines            a file's lines, each with its number from 1
BadRows          the first bad row is an error, or all are counted, listed and left out
skip_bad_rows    the setting that says which, for a task that reads rows
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from micrornn.config import setting
from micrornn.data.files import shown
from micrornn.data.reading import read_chunks
from micrornn.errors import DataError, named

MOST_LISTED = 5  # of the rows that were left out


def lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """(number, line without its end) of each line of a file. DataError where it is empty or in another encoding."""
    text = "".join(read_chunks([path], encoding=encoding))
    rows = re.split("\r\n|\n|\r", text)  # str.splitlines would also cut at what may stand in a text, such as U+2028
    yield from enumerate(rows[:-1] if not rows[-1] else rows, 1)


def skip_bad_rows() -> Any:
    """A row for the settings of a task that reads rows of files."""
    return setting(False, "Leave out rows that cannot be used, count them and list them; else the first is an error.")


class Example(NamedTuple):
    """words, and labels: one for each word, or a single one; lines: where each label stands in the file `path`."""

    words: list[str]
    labels: list[str]
    path: Path | str = ""
    lines: Sequence[int] = ()


class BadRows:
    """What to do with rows that cannot be used.

    skip     whether they are left out
    count    how many were
    listed   where the first ones stand, and what is wrong with them
    """

    def __init__(self, skip: bool):
        self.skip, self.count = skip, 0
        self.listed: list[str] = []

    def add(self, path: Path | str, line: int, what: str) -> None:
        """A bad row. DataError, with file and line, unless such rows are left out."""
        where = f"{named(shown(Path(path)))}:{line}: {what}"
        if not self.skip:
            raise DataError(f"{where}\n  mend it, or leave out what cannot be used with `skip_bad_rows`")
        self.count += 1
        if len(self.listed) < MOST_LISTED:
            self.listed.append(where)

    def told(self) -> dict[str, str]:
        """What to say of them before training; nothing if there are none."""
        if not self.count:
            return {}
        rest = self.count - len(self.listed)
        return {"left out": "; ".join([f"{self.count:,}", *self.listed]) + (f"; and {rest:,} more" if rest else "")}
