"""Dates as tables have them, and whether they rise.

is_date          whether a cell is a date, or a time of a day
falls_at         the first date that is not later than the one before
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_CLOCK = r"(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?)?"
_YEAR_FIRST = re.compile(r"(\d{4})[-/.](\d{1,2})(?:[-/.](\d{1,2}))?" + _CLOCK)
_YEAR_LAST = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})" + _CLOCK)

Key = tuple[float, ...]


def is_date(cell: str) -> bool:
    """Whether a cell is a date such as 1958-03, 1871-01-01, 31.12.2020, 12/31/2020 or 2020-01-01 00:00. A year alone
    is as good a number."""
    found = _YEAR_FIRST.fullmatch(cell)
    if found:
        return 1 <= int(found[2]) <= 12 and 1 <= int(found[3] or 1) <= 31
    found = _YEAR_LAST.fullmatch(cell)
    return bool(found) and (1 <= int(found[1]) <= 31 and 1 <= int(found[2]) <= 31)  # type: ignore[index]


def keys(cells: Sequence[str]) -> tuple[list[Key], int | None]:
    """What to sort dates or numbers by, and the first cell that is neither (None: all are one). Where the year comes
    last, the day comes first, unless one of them says otherwise."""
    found: list[Key] = []
    month_first = any((m := _YEAR_LAST.fullmatch(cell)) and int(m[2]) > 12 for cell in cells)
    for n, cell in enumerate(cells):
        date = _YEAR_FIRST.fullmatch(cell) or _YEAR_LAST.fullmatch(cell)
        if date and is_date(cell):
            a, b, c, *clock = (part or "0" for part in date.groups())
            parts = [a, b, c] if date.re is _YEAR_FIRST else [c, a, b] if month_first else [c, b, a]
            hour, minute, second, rest = clock
            found.append((*map(float, (*parts, hour, minute, second)), float(f"0.{rest}")))
        else:
            try:
                found.append((float(cell),))
            except ValueError:
                return found, n
    return found, None


def falls_at(cells: Sequence[str]) -> tuple[int, str] | None:
    """Where the first cell stands that is no date or is not later than the one before, and what is wrong with it; None
    where all rise."""
    found, other = keys(cells)
    for n in range(1, len(found)):
        if found[n] <= found[n - 1]:
            how = "comes twice" if found[n] == found[n - 1] else f"comes after {cells[n - 1]}"
            return n, f"{cells[n]} {how}"
    return None if other is None else (other, f"{cells[other] or 'nothing'} is no date")
