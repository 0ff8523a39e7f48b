"""Dates as people write them, to one form; made by the program, for an encoder and a decoder.

    source    Thursday, 5 March 1998        source    03/05/98
    target    1998-03-05                    target    1998-03-05

With two digits of a year, those from 69 on are of the last century, as in POSIX strptime.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np

from micrornn.config import setting
from micrornn.tasks.answering import Answering, AnsweringSettings
from micrornn.tasks.pairing import unlike

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FORMS = (  # the fields of `_written`; no two of them can be taken for one another
    "{day} {month} {year}", "{month} {day}, {year}", "{weekday}, {day} {month} {year}", "{day} {short} {year}",
    "{short} {day} {year}", "{short_weekday} {short} {day} {year}", "{day:02}.{number:02}.{year}",
    "{number:02}/{day:02}/{yy:02}", "{year}{number:02}{day:02}", "{year}/{number}/{day}",
)  # fmt: skip
FIRST, LAST = datetime.date(1969, 1, 1).toordinal(), datetime.date(2068, 12, 31).toordinal()


@dataclass(frozen=True)
class DatesSettings(AnsweringSettings):
    examples: int = setting(20_000, "Different dates that are made, those held out among them.", low=2, high=200_000)


class Dates(Answering):
    name, about = "dates", "encoder and decoder: a date in any of ten forms to year-month-day, made on the fly"
    Settings = DatesSettings
    config: DatesSettings

    def __init__(self, config: DatesSettings, data: None = None):
        super().__init__(config, unlike(_written, config))


def _written(rng: np.random.Generator) -> tuple[str, str]:
    """A date in one of the forms, and as year-month-day."""
    date = datetime.date.fromordinal(int(rng.integers(FIRST, LAST + 1)))
    month, weekday = MONTHS[date.month - 1], DAYS[date.weekday()]
    written = FORMS[int(rng.integers(len(FORMS)))].format(
        day=date.day, month=month, number=date.month, short=month[:3], year=date.year, yy=date.year % 100,
        weekday=weekday, short_weekday=weekday[:3],
    )  # fmt: skip
    return written, date.isoformat()
