"""The course: pages that are read and run, and checks of the exercises that each ends in.

PAGES           the pages in their order, each from a file of this package with its checks
find(number)    one of them
check(page, file)    the reader's answers against the truth, exercise by exercise (exercise.py, answers.py)

The pages are docs/learn/*.md; a wheel has them as micrornn/learn/pages/*.md. A check computes what is right, by finite
differences or by the plainest loop, and knows no stored answers.
"""

from __future__ import annotations

from micrornn.errors import ConfigError, quoted
from micrornn.learn import arrays, fast, scalars, unrolled, vanishing, windows
from micrornn.learn.answers import Report as Report
from micrornn.learn.answers import check as check
from micrornn.learn.exercise import Page as Page

__all__ = ["PAGES", "Page", "Report", "check", "find"]

PAGES: tuple[Page, ...] = tuple(part.PAGE for part in (scalars, arrays, unrolled, windows, vanishing, fast))


def find(number: str) -> Page:
    """The page of this number. ConfigError where there is none."""
    for page in PAGES:
        if number == str(page.number):
            return page
    raise ConfigError(f"there is no page {quoted(number)}; there are 1 to {len(PAGES)}: `micrornn learn` lists them")


def __dir__() -> list[str]:
    return __all__
