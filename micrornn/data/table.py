"""Tables of numbers in text files: CSV, TSV and their kin. Nothing is guessed that could be wrong without a sign of it.

records         the rows of a table's lines: (line, cells)
read_table      a file, or several of the same form, as a Table
Table           the rows, their names, and where they stand
Form            how numbers stand in cells: a cell as a number, a row as numbers

A column is chosen by its name, or by its position from 1. Where the first row names fewer columns than the rows hold,
no name can be trusted, and the position alone will do. What is wrong is told with file and line.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from micrornn.data.dates import is_date
from micrornn.data.files import shown
from micrornn.data.rows import BadRows, lines
from micrornn.errors import ConfigError, DataError, counted, listed, named, quoted

# Where two would do, the first is taken: a comma may stand in a cell of the others, a blank in any.
DELIMITERS = {"tab": "\t", "semicolon": ";", "comma": ",", "bar": "|", "space": " "}
MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "?", ".")  # cells that say that nothing is there
LOOKED_AT = 50  # rows that tell what separates the cells


def delimiter_of(text: str) -> str:
    """The character that a setting means: its name, or itself; "auto" stays. ConfigError where it is neither."""
    if text == "auto" or text in DELIMITERS or len(text) == 1:
        return DELIMITERS.get(text, text)
    raise ConfigError(f"`delimiter` is {quoted(text)}; it must be auto, {', '.join(DELIMITERS)} or one character")


def records(
    source: Iterable[tuple[int, str]], delimiter: str, comment: str, where: str
) -> Iterator[tuple[int, list[str]]]:
    """(line, cells without blanks around them) of each row; the line is the one that the row begins in. Empty lines,
    and those that begin with `comment`, are passed over. DataError names the line where a quote is not closed."""
    first = last = 0  # lines of the row at hand

    def plain() -> Iterator[str]:
        nonlocal first, last
        for last, text in source:
            if first or (text.strip() and not (comment and text.lstrip().startswith(comment))):
                first = first or last
                yield (text.strip() if delimiter == " " else text) + "\n"

    reader = csv.reader(plain(), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        first = 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            told = {"unexpected end of data": "a quote is opened and not closed"}.get(str(error), str(error))
            raise DataError(f'{where}:{first or last}: {told}; write a quote within a cell twice, as in ""') from None
        yield first, [cell.strip() for cell in cells]


def _separator(source: Sequence[tuple[int, str]], comment: str, where: str, decimal: str) -> str:
    """What separates the cells: of all candidates the one that gives most rows the same number of them, above one."""
    best, found = 0.0, ","
    for candidate in DELIMITERS.values():
        try:
            widths = [len(cells) for _, cells in records(source, candidate, comment, where)][:LOOKED_AT]
        except DataError:  # of this candidate a quote stands in the middle of a cell
            continue
        for width, count in Counter(widths).items():
            score = count / len(widths) if width > 1 else 0.0
            if candidate != decimal and score > best + (0.2 if candidate == " " else 0.0):
                best, found = score, candidate
    return found


class Missing(ValueError):
    """A number that is not there."""


class Form(NamedTuple):
    """How numbers stand in cells.

    decimal    what stands before the decimals
    missing    numbers or words that say that nothing is there, besides MISSING
    absent     what becomes of a row in which a number is missing: an error that names it, skip, or previous: that of
               the row before stands in
    """

    decimal: str = "."
    missing: Sequence[str] = ()
    absent: str = "error"

    def number(self, cell: str) -> float | None:
        """A cell as a number; None where nothing is there. ValueError where it is something else, or not finite."""
        if cell.lower() in MISSING or cell in self.missing:
            return None
        if "_" in cell or ("." in cell and self.decimal != "."):  # Python would allow both
            raise ValueError
        value = float(cell.replace(self.decimal, "."))
        if not math.isfinite(value):
            raise ValueError
        return None if any(_same(value, other) for other in self.missing) else value

    def kind(self, cell: str) -> str:
        """What a cell is: number, missing or text."""
        try:
            return "missing" if self.number(cell) is None else "number"
        except ValueError:
            return "text"

    def row(self, cells: Sequence[str], names: Sequence[str], before: Sequence[float] | None) -> list[float] | None:
        """The numbers in the cells of a row, whose columns have these names; None where one is missing and such rows
        are to be left out. Missing, ValueError: what is wrong."""
        row = []
        for n, (cell, name) in enumerate(zip(cells, names)):
            try:
                value = self.number(cell)
            except ValueError:
                raise ValueError(f"{name} is {quoted(cell)}, wanted a number") from None
            if value is None and self.absent == "previous" and before is not None:
                value = before[n]
            if value is None and self.absent == "skip":
                return None
            if value is None:
                raise Missing(f"{name} is missing" + (f" ({cell})" if cell else ""))
            row.append(value)
        return row


def _same(value: float, other: str) -> bool:
    try:
        return float(other) == value
    except ValueError:
        return False


@dataclass
class Table:
    """Rows of one or more files.

    where    (file, line) of each row
    cells    the cells of each row, all of the same number
    names    of the columns, as the first row has them; empty where it names none, or not all
    header   the first row's line and cells where it is one, whether they can be trusted or not
    form     how numbers stand in the cells
    bad      rows that are not as the others, or whose numbers are none
    """

    bad: BadRows
    form: Form
    where: list[tuple[Path, int]] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)
    names: tuple[str, ...] = ()
    header: tuple[str, list[str]] | None = None

    @property
    def width(self) -> int:
        return len(self.cells[0])

    def name(self, column: int) -> str:
        return self.names[column] if self.names else f"column {column + 1}"

    def find(self, wanted: str, setting: str) -> int:
        """The index of the column that a name or a position from 1 means. DataError says which there are."""
        example = ", ".join(cell or "(empty)" for cell in self.cells[0])
        if wanted in self.names:
            if self.names.count(wanted) > 1:
                raise DataError(
                    f"`{setting}`: two columns are named {quoted(wanted)}; choose by position, as in `{setting}=2`"
                )
            return self.names.index(wanted)
        if wanted.isascii() and wanted.isdigit() and 0 < int(wanted[:9]) <= self.width:
            return int(wanted) - 1
        if self.header and not self.names:
            where, cells = self.header
            raise DataError(
                f"{where}: the header names {counted(len(cells), 'column')}, and the rows hold "
                f"{counted(self.width, 'cell')}: which is {quoted(wanted)} cannot be told\n"
                f"  choose columns by position from 1, as in `{setting}={min(3, self.width)}`; the first row is "
                f"{example[:80]}"
            )
        there = listed(f"{n} {name}" for n, name in enumerate(self.names, 1)) or f"1 to {self.width}: {example[:80]}"
        raise DataError(f"`{setting}`: there is no column {quoted(wanted)}; the table has {there}")

    def numbers(self, columns: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(rows, len(columns)) float64, and which rows of the table they are, (rows,)."""
        values: list[list[float]] = []
        kept = []
        names = [self.name(column) for column in columns]
        for n, cells in enumerate(self.cells):
            before = values[-1] if values else None
            try:
                row = self.form.row([cells[column] for column in columns], names, before)
            except Missing as error:
                hint = "; `missing=skip` leaves such rows out, `missing=previous` takes the number before"
                if self.form.absent == "previous":
                    hint = ", and there is no row before it whose number could stand in"
                self.bad.add(*self.where[n], f"{error}{hint}")
            except ValueError as error:
                hint = " (a decimal comma? `decimal=,`)" if self.form.decimal == "." and "," in str(error) else ""
                self.bad.add(*self.where[n], f"{error}{hint}")
            else:
                if row is not None:
                    values.append(row)
                    kept.append(n)
        return np.array(values, np.float64).reshape(-1, len(columns)), np.array(kept, np.intp)


def read_table(paths: Sequence[Path], bad: BadRows, *, delimiter: str = "auto", comment: str = "#", header: bool = True,
               encoding: str = "utf-8", form: Form = Form()) -> Table:  # fmt: skip  # noqa: B008
    """The rows of all files, one after the other.

    header    whether the first row of a file may name the columns; it does where none of its cells is a number or a
              date. False: it is a row as all others
    """
    table = Table(bad, form)
    for path in paths:
        source, where = list(lines(path, encoding)), named(shown(path))
        separator = (
            delimiter if delimiter != "auto" else _separator(source[: 4 * LOOKED_AT], comment, where, form.decimal)
        )
        rows = list(records(source, separator, comment, where))
        names: tuple[str, ...] = ()
        if header and rows and not any(form.kind(cell) == "number" or is_date(cell) for cell in rows[0][1]):
            line, cells = rows.pop(0)
            table.header, names = table.header or (f"{where}:{line}", cells), tuple(cells)
        if not rows:
            raise DataError(f"{where} holds {'the names of columns, and no row' if names else 'no row'}")
        _add(table, path, rows, names)
    return table


def _add(table: Table, path: Path, rows: list[tuple[int, list[str]]], names: tuple[str, ...]) -> None:
    """The rows of a file behind those that are there. A row that has not as many cells as most is a bad one."""
    widths = Counter(len(cells) for _, cells in rows)
    width = len(names) if widths[len(names)] * 2 >= len(rows) else widths.most_common(1)[0][0]
    if table.cells and (width != table.width or (names if len(names) == width else ()) != table.names):
        raise DataError(
            f"{named(shown(path))} has other columns than {named(shown(table.where[0][0]))}: "
            f"{', '.join(names) or f'{width:,} of them'}"
        )
    table.names = names if len(names) == width else ()
    for line, cells in rows:
        if len(cells) == width:
            table.where.append((path, line))
            table.cells.append(cells)
        else:
            which = "the header names" if table.names else "most rows hold"
            table.bad.add(path, line, f"{counted(len(cells), 'cell')}, where {which} {width:,}")
