"""What in a text a unit might follow: position in line, inside quotes, depth of brackets, ...

properties(tokens, kind)    each as one number for every token

Each is known from what was read so far, but for `last of a word`: who follows that foresees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from micrornn.data.vocab import EOS

RARE = 0.002  # a property that is off its usual value less often is not looked for
NEWLINES = ("\n", EOS)
OPENING, CLOSING = "([{", ")]}"


def _run(tokens: Sequence[str], goes_on: Callable[[str], bool]) -> Iterator[float]:
    """How many tokens in a row go on up to here."""
    at = 0
    for token in tokens:
        at = at + 1 if goes_on(token) else 0
        yield at


def _in_line(tokens: Sequence[str]) -> Iterator[float]:
    return _run(tokens, lambda token: token not in NEWLINES)


def _in_word(tokens: Sequence[str]) -> Iterator[float]:
    return _run(tokens, str.isalnum)


def _last_of_word(tokens: Sequence[str]) -> Iterator[float]:
    return (token.isalnum() and not after.isalnum() for token, after in zip(tokens, [*tokens[1:], ""]))


def _quotes(tokens: Sequence[str]) -> Iterator[float]:
    """Double quotes, straight or curved; an empty line ends them, so that one that is missing does no further harm.
    Single ones are apostrophes as often as not."""
    inside, before = False, ""
    for token in tokens:
        if token == '"':
            inside = not inside
        elif token in "\u201c\u201d\u00ab\u00bb":
            inside = token in "\u201c\u00ab"
        elif token in NEWLINES and before in NEWLINES:
            inside = False
        before = token
        yield inside


def _brackets(tokens: Sequence[str]) -> Iterator[float]:
    depth = 0
    for token in tokens:
        depth = max(0, depth + (token in OPENING) - (token in CLOSING))
        yield depth


def _capitals(tokens: Sequence[str]) -> Iterator[float]:
    """Two capitals or more without a small letter since the word began."""
    word = ""
    for token in tokens:
        word = word + token if token.isalpha() else ""
        yield len(word) > 1 and word.isupper()


def _indent(tokens: Sequence[str]) -> Iterator[float]:
    """Spaces at the beginning of the line, in all of the line; a tab counts as four."""
    width, beginning = 0, True
    for token in tokens:
        if token == "\n":
            width, beginning = 0, True
        elif beginning and token in " \t":
            width += 4 if token == "\t" else 1
        else:
            beginning = False
        yield width


def _comment(tokens: Sequence[str]) -> Iterator[float]:
    """From a # to the end of the line."""
    inside = False
    for token in tokens:
        inside = token != "\n" and (inside or token == "#")
        yield inside


def _space(tokens: Sequence[str]) -> Iterator[float]:
    return map(str.isspace, tokens)


Property = Callable[[Sequence[str]], Iterator[float]]

ANY: dict[str, Property] = {"position in line": _in_line, "inside quotes": _quotes, "depth of brackets": _brackets}
CHARACTERS: dict[str, Property] = ANY | {
    "position in word": _in_word, "last of a word": _last_of_word, "word in capitals": _capitals,
    "whitespace": _space, "indentation": _indent, "inside a # comment": _comment,
}  # fmt: skip


def properties(tokens: Sequence[str], kind: str) -> dict[str, np.ndarray]:
    """What a unit might follow, each (len(tokens),) float64. For `kind` char, word or byte; those that hardly vary in
    this text are left out."""
    table = ANY if kind == "word" else CHARACTERS
    found = {name: np.fromiter(rule(tokens), np.float64, len(tokens)) for name, rule in table.items()}
    return {name: x for name, x in found.items() if np.mean(x != np.median(x)) >= RARE}
