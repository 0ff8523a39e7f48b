"""The columns of a table that make a series: what is forecast, what is read besides, and when each row was.

TableSettings   how a table is read, as settings of a task
Columns         numbers over time, with the place of each row in its file
read_columns    from files, by the names or positions that settings give
row_reader      the same of one line after the other, as they come
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from micrornn.config import Config, setting
from micrornn.data.dates import falls_at, is_date
from micrornn.data.files import shown
from micrornn.data.rows import BadRows, skip_bad_rows
from micrornn.data.table import Form, Table, delimiter_of, read_table, records
from micrornn.errors import DataError, counted, listed, named, quoted
from micrornn.schema import Rule, check_table

NONE = "none"  # as the time column: the rows are in order, whatever their dates say


@dataclass(frozen=True)
class TableSettings(Config):
    """How a table is read, and which of its columns."""

    target: str = setting("", "The column to forecast, by name or position from 1; several with commas between.")
    inputs: str = setting("", "Further columns to read, by name or position from 1, with commas between.")
    time: str = setting(
        "",
        "The column of dates, which must rise; by default the first one, if it holds dates. none: they may not rise.",
    )
    missing: str = setting(
        "error", "What to do where a number is missing: refuse it, skip the row, or take the previous number.",
        choices=("error", "skip", "previous"),
    )  # fmt: skip
    missing_value: str = setting(
        "", "What else says that a number is missing, such as -99.99; several with commas between."
    )
    delimiter: str = setting(
        "auto", "What separates the cells: auto, tab, semicolon, comma, bar, space or a character."
    )
    comment: str = setting("#", "Lines that begin with this are passed over.")
    header: bool = setting(True, "The first row names the columns, where none of its cells is a number or a date.")
    decimal: str = setting(".", "What stands before the decimals of a number.", choices=(".", ","))
    skip_bad_rows: bool = skip_bad_rows()


class Chosen(NamedTuple):
    """names and positions (from 0) of the columns, the `targets` first of them are forecast; time: that of the dates,
    -1 where there are none; width: of the table."""

    names: tuple[str, ...]
    positions: tuple[int, ...]
    targets: int
    time: int
    width: int

    def to_dict(self) -> dict[str, Any]:
        return self._asdict() | {"names": list(self.names), "positions": list(self.positions)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Chosen:
        """DataError where it is not what `to_dict` gave."""
        whole = Rule(int, low=0, high=10**6)
        rules = {"names": Rule(list, items=Rule(str), most=10**6), "positions": Rule(list, items=whole, most=10**6)}
        rules |= {"targets": Rule(int, low=1, high=10**6), "time": Rule(int, low=-1, high=10**6), "width": whole}
        found = check_table(found, rules, "columns", DataError)
        if len(found["names"]) != len(found["positions"]) or found["targets"] > len(found["names"]):
            raise DataError("columns: names and positions do not fit together")
        return cls(tuple(found["names"]), tuple(found["positions"]), *(found[n] for n in ("targets", "time", "width")))


@dataclass(frozen=True)
class Columns:
    """values (T, D), T rows in order of time; where: (file, line) of each; times: their dates as they stand there, ""
    where there are none; told: what to say of the reading."""

    chosen: Chosen
    values: np.ndarray
    where: list[tuple[Path, int]]
    times: list[str]
    told: dict[str, str]

    def span(self, start: int, end: int) -> str:
        """Rows start..end in words: their lines, and their dates."""
        lines = f"lines {self.where[start][1]:,} to {self.where[end - 1][1]:,}"
        return lines if not self.times[start] else f"{self.times[start]} to {self.times[end - 1]}, {lines}"


def read_columns(paths: Sequence[Path], config: TableSettings, target: str, inputs: str = "") -> Columns:
    """The columns with these names or positions, several with commas between.

    target    "": the only column that holds numbers
    """
    table = read_table(
        paths, BadRows(config.skip_bad_rows), delimiter=delimiter_of(config.delimiter), comment=config.comment,
        header=config.header, encoding=config.encoding, form=_form(config),
    )  # fmt: skip
    when = _time(table, config.time)
    chosen = _find_all(table, target, "target") if target else [_only(table, when)]
    targets = len(chosen)
    chosen += [column for column in (_find_all(table, inputs, "inputs") if inputs else []) if column not in chosen]
    for column in chosen:
        if column == when:
            raise DataError(f"{table.name(column)} tells the time of a row; it is no number to learn from")
    values, kept = table.numbers(chosen)
    if not len(values):
        raise DataError(f"{named(shown(paths[0]))} holds no row that can be used")
    where, times = [table.where[n] for n in kept], [table.cells[n][when] if when >= 0 else "" for n in kept]
    if when >= 0 and (fall := falls_at(times)):
        path, line = where[fall[0]]
        raise DataError(
            f"{named(shown(path))}:{line}: {fall[1]}; the dates of a series must rise\n"
            f"  sort the rows by {table.name(when)}, or give `time=none` if they stand in the right order"
        )
    names = tuple(table.name(column) for column in chosen)
    told = {"table": f"{counted(len(table.cells), 'row')} of {counted(table.width, 'column')}"}
    if table.header and not table.names:
        told["table"] += f", of which the header names {len(table.header[1])}: columns are chosen by position"
    if len(values) < len(table.cells):
        told["table"] += f"; {counted(len(values), 'row is', 'rows are')} used"
    return Columns(
        Chosen(names, tuple(chosen), targets, when, table.width), values, where, times, told | table.bad.told()
    )


def _form(config: TableSettings) -> Form:
    missing = [text.strip() for text in config.missing_value.split(",") if text.strip()]
    return Form(config.decimal, missing, config.missing)


def _find_all(table: Table, wanted: str, setting: str) -> list[int]:
    parts = [wanted] if wanted in table.names else [part.strip() for part in wanted.split(",")]
    found = [table.find(part, setting) for part in parts]
    return list(dict.fromkeys(found))


def _time(table: Table, wanted: str) -> int:
    if wanted == NONE:
        return -1
    if wanted:
        return table.find(wanted, "time")
    return 0 if table.width > 1 and sum(is_date(cells[0]) for cells in table.cells) * 2 > len(table.cells) else -1


def _only(table: Table, when: int) -> int:
    """The only column of numbers, of which the first row tells; DataError where another may be meant."""
    rest = [n for n in range(table.width) if n != when]
    found = [n for n in rest if table.form.kind(table.cells[0][n]) != "text"]
    doubtful = [n for n in rest if n not in found and any(map(str.isdigit, table.cells[0][n]))]
    if len(found) == 1 and not doubtful:
        return found[0]
    if table.header and not table.names:
        table.find("", "target")  # says why a position is wanted
    where = named(shown(table.where[0][0]))
    if not found and not doubtful:
        raise DataError(f"{where} holds no column of numbers; its first row is {listed(table.cells[0])}")
    there = [f"{n + 1} {table.names[n]}" if table.names else f"{n + 1}" for n in sorted(found + doubtful)]
    raise DataError(
        f"{where} holds {counted(len(found) + len(doubtful), 'column')} that may be numbers; which is to be forecast?\n"
        f"  choose with `target`, by name or position: {listed(there)}"
    )


class Row(NamedTuple):
    """One row of a table: values (D,), and its date."""

    values: np.ndarray
    time: str


def row_reader(chosen: Chosen, config: TableSettings, require: Callable[[np.ndarray], str]) -> Callable[
        [Iterable[str], str], Iterator[tuple[int, Row]]]:  # fmt: skip
    """A function (lines of a file, its name) -> (line number, Row) of each row, in turn, for a network that reads the
    columns `chosen`. A file may hold those columns alone, in that order, or all columns of the table that was learned
    from, or name them in its first row.

    require(values)    what is wrong with them; "" if nothing is
    """
    form, delimiter = _form(config), delimiter_of(config.delimiter)

    def read(lines: Iterable[str], where: str) -> Iterator[tuple[int, Row]]:
        source = ((n, text.rstrip("\r\n")) for n, text in enumerate(lines, 1))
        first: list[tuple[int, str]] = []
        for n, text in source:  # what separates the cells is seen in the first row
            first.append((n, text))
            if text.strip() and not (config.comment and text.lstrip().startswith(config.comment)):
                break
        separator = delimiter if delimiter != "auto" else _separates(first[-1][1] if first else "", config.decimal)
        places: list[int] | None = None
        before: list[float] | None = None
        for line, cells in records(itertools.chain(first, source), separator, config.comment, where):
            if places is None:
                places, named_here = _places(cells, chosen, config, f"{where}:{line}")
                when = _when(cells, chosen, places)
                if named_here:
                    continue
            if max(places) >= len(cells):
                raise DataError(f"{where}:{line}: {counted(len(cells), 'cell')}, wanted {max(places) + 1} or more")
            try:
                row = form.row([cells[n] for n in places], chosen.names, before)
            except ValueError as error:
                raise DataError(f"{where}:{line}: {error}") from None
            if row is not None:
                values = np.array(row)
                if wrong := require(values):
                    raise DataError(f"{where}:{line}: {wrong}")
                before = row
                yield line, Row(values, cells[when] if 0 <= when < len(cells) else "")

    return read


def _separates(line: str, decimal: str) -> str:
    return next((mark for mark in ("\t", ";", ",", "|") if mark in line and mark != decimal), " ")


def _places(cells: list[str], chosen: Chosen, config: TableSettings, where: str) -> tuple[list[int], bool]:
    """Where the columns stand in a file whose first row is this, and whether that row names them."""
    if config.header and all(name in cells for name in chosen.names):
        return [cells.index(name) for name in chosen.names], True
    kinds = [*map(_form(config).kind, cells)]
    dated = any(is_date(cell) for cell in cells)
    named_here = config.header and "text" in kinds and "number" not in kinds and not dated
    if named_here and (missing := _not_named(cells, chosen)):
        there = ", ".join(cells[:8]) + (", ..." if len(cells) > 8 else "")
        raise DataError(f"{where}: there is no column {quoted(missing)}; the first row names {there}")
    if len(cells) == chosen.width or (max(chosen.positions) < len(cells) and named_here):
        return list(chosen.positions), named_here
    if len(cells) == len(chosen.names):
        return list(range(len(cells))), named_here
    if len(cells) == len(chosen.names) + 1 and chosen.time >= 0 and (named_here or is_date(cells[0])):
        return list(range(1, len(cells))), named_here
    raise DataError(
        f"{where}: {counted(len(cells), 'cell')}; wanted {len(chosen.names)} ({', '.join(chosen.names)}), or the "
        f"{counted(chosen.width, 'column')} of the table that was learned from"
    )


def _not_named(cells: list[str], chosen: Chosen) -> str | None:
    """The first column that was learned from by its name, and is none of those that a first row names."""
    by_name = (name for name, at in zip(chosen.names, chosen.positions) if name != f"column {at + 1}")
    return next((name for name in by_name if name not in cells), None)


def _when(cells: list[str], chosen: Chosen, places: list[int]) -> int:
    if len(cells) == chosen.width:
        return chosen.time
    return 0 if chosen.time >= 0 and 0 not in places else -1
