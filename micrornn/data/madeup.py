"""Sentences that are made up: tasks on files have something to learn from where no files are named.

tagged_sentences    about flights, a tag for each word: which city a word names depends on what stands before it
said_of_films       a word or two about a film, good or bad: what a word means depends on a "not" before it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

CITIES = (
    "boston", "dallas", "denver", "oakland", "atlanta", "san francisco", "san diego", "new york", "new orleans",
    "salt lake city",
)  # fmt: skip
DAYS = ("monday", "tuesday", "friday", "sunday", "saturday morning", "friday evening")
OPENINGS = ("show me flights", "i need a flight", "what is the fare", "list all flights", "is there a flight")
FILLERS = ("please", "that is cheap", "with one stop", "nonstop")

GOOD = ("good", "fine", "moving", "clever", "brilliant", "funny", "charming", "gripping")
BAD = ("bad", "dull", "tedious", "stupid", "awful", "flat", "clumsy", "boring")
SUBJECTS = ("the film", "this film", "the plot", "the acting", "the music", "it", "the whole story", "the ending")
TURNS = ("was", "is", "seemed", "felt", "turned out")
DEGREES = ("", "very", "really", "quite", "rather")


def _drawing(seed: int, what: int) -> tuple[np.random.Generator, Callable[[Sequence[str]], str]]:
    """Random numbers, and a function that draws one of several."""
    rng = np.random.default_rng([seed, what])
    return rng, lambda of: of[int(rng.integers(len(of)))]


def tagged_sentences(seed: int, count: int = 1500) -> Iterator[tuple[list[str], list[str]]]:
    """(words, tags) of each sentence. Where a flight starts and where it goes may be told in either order, and after
    "between" the first city is the start."""
    rng, one = _drawing(seed, 1)
    for _ in range(count):
        start, goal = rng.choice(len(CITIES), 2, replace=False)
        a, b = (CITIES[start], "start"), (CITIES[goal], "goal")
        way = int(rng.integers(4))
        parts: list[tuple[str, str]] = [(one(OPENINGS), "")]
        if way == 0:
            parts += [("between", ""), a, ("and", ""), b]
        elif way == 1:
            parts += [("to", ""), b, ("from", ""), a]
        elif way == 2:
            parts += [("that leave", ""), a, ("for", ""), b]
        else:
            parts += [("from", ""), a, ("to", ""), b]
        if rng.random() < 0.5:
            parts += [("on", ""), (one(DAYS), "day")]
        if rng.random() < 0.4:
            parts.append((one(FILLERS), ""))
        words, tags = [], []
        for text, name in parts:
            for n, word in enumerate(text.split()):
                words.append(word)
                tags.append("O" if not name else f"{'I' if n else 'B'}-{name}")
        yield words, tags


def said_of_films(seed: int, count: int = 2000) -> Iterator[tuple[str, str]]:
    """(text, pos or neg) of each; a few words follow that say nothing."""
    rng, one = _drawing(seed, 2)
    for _ in range(count):
        good = bool(rng.integers(2))
        turned = bool(rng.integers(2))  # by a "not"
        word = one(GOOD if good != turned else BAD)
        said = f"{one(SUBJECTS)} {one(TURNS)} {'not ' if turned else ''}{one(DEGREES)} {word}"
        if rng.random() < 0.5:  # the other way, about something else, which does not count
            said = f"they say it is {'not ' if rng.integers(2) else ''}{one((*GOOD, *BAD))}, but {said}"
        if rng.random() < 0.3:
            said += f", i saw {one(SUBJECTS)} on {one(DAYS)}"
        yield " ".join(said.split()), "pos" if good else "neg"
