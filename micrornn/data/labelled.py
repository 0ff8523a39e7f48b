"""Texts with a label each: from a file for each class, a folder for each class, or a table.

read_labelled   files -> Labelled, and how the files were understood
Labelled        a text, its label, and where it stands

    good.txt  bad.txt          a line is a text, its label the name of its file
    reviews/pos/17_8.txt       a file is a text, its label the name of its folder
    reviews.tsv                a row is a text; its header, or the settings, say which columns hold text and label
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from micrornn.data.reading import read_chunks
from micrornn.data.rows import BadRows, lines
from micrornn.data.table import records
from micrornn.errors import ConfigError, DataError, counted, quoted

TABLES = (".csv", ".tsv", ".tab")
TEXT = ("text", "sentence", "review", "phrase", "comment", "content", "tweet", "message", "body")
LABEL = ("label", "sentiment", "class", "target", "polarity", "category", "stars", "rating")
MOST_CLASSES = 1000
Progress = Callable[[int, int], None] | None


class Labelled(NamedTuple):
    """A text, its label, and the file and the line in which it stands."""

    text: str
    label: str
    path: Path
    line: int


def read_labelled(paths: Sequence[Path], bad: BadRows, encoding: str = "utf-8", text: str = "", label: str = "",
                  each: str = "auto", progress: Progress = None) -> tuple[list[Labelled], str]:  # fmt: skip
    """All texts of the files, those of one class after the other, or in the order of a table; and in words, how these
    were understood.

    bad          what to do with rows without a text or a label
    text, label  columns of a table: a name of its header, or a number from 1; "": by the usual names
    each         what a text is in files that are no table: a line, a file, or (auto) a file if a folder has several
    """
    if all(path.suffix.lower() in TABLES for path in paths) or (len(paths) == 1 and (text or label)):
        found: list[Labelled] = []
        for path in paths:
            how = _table(found, path, bad, encoding, text, label)
        if not found:
            raise DataError(f"{paths[0]}: no row is left below its header")
        return found, f"a row is a text; {how}"
    if text or label:
        raise ConfigError("columns for text and label are for a table: one file, or files that end in .csv or .tsv")
    if len(paths) == 1:
        raise DataError(
            f"{paths[0]}: one file alone is one class; give a file for each class, a folder with a folder for each "
            "class,\n  or a table (.csv, .tsv) with a column for the text and one for the label"
        )
    return _classes(paths, bad, encoding, each, progress)


def _classes(paths: Sequence[Path], bad: BadRows, encoding: str, each: str,
             progress: Progress) -> tuple[list[Labelled], str]:  # fmt: skip
    """From files whose names, or whose folders' names, are labels."""
    folders = {path.parent for path in paths}
    above = {folder for folder in folders if any(folder in other.parents for other in folders)}
    inside = [path for path in paths if path.parent not in above]
    kinds = len(folders - above)
    by_folder = kinds > 1 and (len(inside) > kinds or len({path.stem for path in inside}) < len(inside))
    whole = each == "file" or (each == "auto" and by_folder and len(inside) > kinds)
    if not by_folder:
        inside, above = list(paths), set()
    names = [path.parent.name for path in inside] if by_folder else _names(inside)
    if len(set(names)) > MOST_CLASSES:
        raise DataError(f"there would be {len(set(names)):,} classes; give a file or a folder for each class")
    beside = len(paths) - len(inside)
    found = []
    how = (
        f"a {'file' if whole else 'line'} is a text, its label the name of its {'folder' if by_folder else 'file'}"
        + (f"; left out, beside the folders: {beside:,}" if beside else "")
    )
    for done, (path, name) in enumerate(zip(inside, names), 1):
        for line, text in _texts(path, encoding, whole):
            if text.strip():
                found.append(Labelled(text, name, path, line))
            else:
                bad.add(path, line, "a text without a word")
        if progress is not None:
            progress(done, len(inside))
    return found, how


def _texts(path: Path, encoding: str, whole: bool) -> Iterable[tuple[int, str]]:
    if path.stat().st_size == 0:
        return [(1, "")]
    return [(1, "".join(read_chunks([path], encoding=encoding)))] if whole else lines(path, encoding)


def _names(paths: Sequence[Path]) -> list[str]:
    """A name for each file, so that all differ: without its suffix, else the suffix alone, else the folder."""
    for name in (lambda path: path.stem, lambda path: path.suffix.strip("."), lambda path: path.name,
                 lambda path: str(path)):  # fmt: skip
        names = [name(path) for path in paths]
        if len(set(names)) == len(names) and all(names):
            return names
    return [str(path) for path in paths]


def _table(found: list[Labelled], path: Path, bad: BadRows, encoding: str, text: str, label: str) -> str:
    """Add the rows of a table; in words, how it was understood."""
    rows = list(_rows(path, encoding))
    if not rows:
        raise DataError(f"{path} holds empty lines alone")
    line, header = rows[0]
    names = [name.strip() for name in header]
    by_name = not (text.isdigit() and label.isdigit())
    columns = _column(path, names, text, TEXT, "text"), _column(path, names, label, LABEL, "label")
    if columns[0] == columns[1]:
        raise ConfigError(f"{path}: text and label are both column {columns[0] + 1}; choose two")
    # Columns that were chosen by number leave it open whether the first row is a header: a label comes again.
    labels = {row[columns[1]].strip() for _, row in rows[1:] if len(row) > columns[1]}
    first = 1 if by_name or header[columns[1]].strip() not in labels else 0
    for line, row in rows[first:]:
        if len(row) != len(header):
            bad.add(path, line, f"{counted(len(row), 'field')}, and line {rows[0][0]} has {len(header)}")
        elif not (said := row[columns[0]]).strip():
            bad.add(path, line, f"column {columns[0] + 1} is empty, wanted a text")
        elif not (name := row[columns[1]].strip()):
            bad.add(path, line, f"column {columns[1] + 1} is empty, wanted a label")
        else:
            found.append(Labelled(said, name, path, line))
    called = [f"{what} is column {n + 1}" + f" ({names[n]})" * first for what, n in zip(("text", "label"), columns)]
    return ", ".join(called)


def _column(path: Path, names: Sequence[str], asked: str, usual: Sequence[str], what: str) -> int:
    """The index of a column by its name, its number from 1, or by the names that such columns usually have."""
    folded = [name.casefold() for name in names]
    if asked in names:
        return names.index(asked)
    if asked.isascii() and asked.isdigit() and 1 <= int(asked) <= len(names):
        return int(asked) - 1
    found = [n for n, name in enumerate(folded) if name in usual]
    if not asked and len(found) == 1:
        return found[0]
    there = ", ".join(f"{n} {quoted(name[:20])}" for n, name in enumerate(names[:8], 1))
    told = f"{quoted(asked)} is no column" if asked else f"which column holds the {what}"
    raise ConfigError(
        f"{path}: {told}{'' if asked else ' is not clear'}; its first row has {there}{' ...' * (len(names) > 8)}\n"
        f"  choose one by name or number with `{what}_column`"
    )


def _rows(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of each row that is not empty; a tab separates fields if the first row has one, else a comma or
    a semicolon."""
    source = list(lines(path, encoding))
    first = next((text for _, text in source if text.strip()), "")
    if "\t" in first:  # with tabs between them, most files have quotes that are part of the text
        for line, text in source:
            if text.strip():
                yield line, [_unquoted(cell) for cell in text.split("\t")]
    else:
        yield from records(source, ";" if first.count(";") > first.count(",") else ",", "", str(path))


def _unquoted(cell: str) -> str:
    quotes = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quotes and '"' not in cell[1:-1].replace('""', "") else cell
