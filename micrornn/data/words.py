"""How a text is cut into words and marks, and how they come together again without losing a space.

split      a text to pieces: words, marks (punctuation, symbols), whitespace, each with the space before it
chunks     a stream of text cut where no piece is cut
Count      what a text consists of, and how its marks are spaced
Spacing    the rule by which pieces become ids, and ids text

Between two tokens there usually is a space, or usually is none: none before a comma, none behind an opening bracket.
Which marks stand close to what is before or behind them is counted in the text itself, since some texts have a space
before every comma. Where a text departs from what is usual, a token says so: ` ` where there is a space after all,
`<join>` where there is none. So the usual space costs no token, and decode(encode(text)) is the text, to the space.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from micrornn.errors import DataError

UNKNOWN, JOIN, SPACE = "<unk>", "<join>", " "
# Longer than any line; a text without whitespace would otherwise be gathered up whole in memory.
MOST_CHARACTERS = 1 << 20
# Scripts that are written without spaces: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese.
UNSPACED = re.compile("[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
LONG = 5  # characters of a word in these scripts, on average: a text that has been split into words has two to four
LONGEST = 50  # characters of a word in any script, on average: no language has such words


@cache
def _pattern() -> re.Pattern[str]:
    """One space may stand before a word or a mark, and belongs to it; several are a piece of their own, as code begins
    its lines with; all other whitespace is single characters."""
    kinds = ("Mn", "Mc", "Me")
    points = [code for code in range(0x300, 0x1F000) if unicodedata.category(chr(code)) in kinds]
    marks = "".join(re.escape(chr(code)) for code in points)  # combining ones belong to the letter before them
    word = rf"\w[\w{marks}]*(?:['’][^\W_][\w{marks}]*)*"
    return re.compile(rf"  +| ?(?:{UNKNOWN}|{word}|[^\s\w])|\s")


def split(text: str) -> list[str]:
    """The pieces of `text`; put together they are the text."""
    return _pattern().findall(text)


def chunks(texts: Iterable[str]) -> Iterator[str]:
    """Yield the same text, cut only before or behind whitespace, and before all spaces of several."""
    rest = ""
    for text in texts:
        text = rest + text
        word = "" if text[-1:].isspace() else text.rsplit(None, 1)[-1]
        cut = len(text[: len(text) - len(word)].rstrip(" "))
        text, rest = text[:cut], text[cut:]
        if len(rest) > MOST_CHARACTERS:
            raise unsplit(1, len(rest), "more than ")
        if text:
            yield text
    if rest:
        yield rest


def unsplit(words: int, characters: int, least: str = "", script: bool = False) -> DataError:
    """What to say of a text whose words cannot be told apart."""
    length = f"1 word of {least}{characters:,}" if words == 1 else f"{words:,} words of {characters / words:.0f}"
    return DataError(
        f"words are split on whitespace and punctuation; this text has {length} characters"
        f"{'' if words == 1 else ' on average'}{', in a script without spaces' if script else ''}: use `level=char`"
    )


def token_of(piece: str) -> str:
    """The piece without the space before it; spaces alone are a token."""
    return piece[1:] if piece[0] == " " and not piece.isspace() else piece


def is_mark(token: str) -> bool:
    """Whether it is a single character that is neither of a word nor whitespace."""
    return len(token) == 1 and not token.isspace() and not (token.isalnum() or token == "_")


class Count:
    """How often each token comes (`counts`), and which marks mostly stand close to what is before them (`before`) and
    to what is behind them (`after`).

    What stands beside a mark may be a mark that always stands close, as a comma behind a bracket does, and tells
    nothing of the first: words count, and marks only where there is never a word.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        index: dict[str, int] = {}
        flags = np.zeros((0, 3), bool)  # of each piece: is whitespace, has a space before it, is a mark
        # Of each piece: all of them; those behind a word, and behind a mark; and those that have no space behind them,
        # less those that have one, before a word, and before a mark.
        seen = np.zeros((5, 0), np.int64)
        last, unspaced, characters = -1, 0, 0
        for text in chunks(texts):
            ids = np.array([last, *(index.setdefault(piece, len(index)) for piece in split(text))])
            flags = np.concatenate([flags, *([_flags(piece)] for piece in list(index)[len(flags) :])])
            seen = np.pad(seen, ((0, 0), (0, len(flags) - seen.shape[1])))
            before, here = ids[:-1], ids[1:]
            blank, spaced, mark = flags.T
            here_solid, before_solid = ~blank[here] & (before >= 0), ~blank[before] & (before >= 0)
            seen[0] += np.bincount(here, minlength=len(flags))
            for n, marks in enumerate((False, True)):
                beside = before_solid & (mark[before] == marks)
                seen[1 + n] += np.bincount(here[beside], minlength=len(flags))
                beside = here_solid & (mark[here] == marks)
                sign = np.where(spaced[here[beside]], -1.0, 1.0)
                seen[3 + n] += np.bincount(before[beside], sign, len(flags)).astype(np.int64)
            last = int(ids[-1])
            if not text.isascii():
                found = UNSPACED.findall(text)
                unspaced, characters = unspaced + len(found), characters + sum(map(len, found))
        self.counts: dict[str, int] = {}
        close: dict[str, np.ndarray] = {}
        for n, (piece, row) in enumerate(zip(index, seen.T)):
            token = token_of(piece)
            self.counts[token] = self.counts.get(token, 0) + int(row[0])
            if flags[n, 2]:
                row[1:3] *= -1 if flags[n, 1] else 1
                close[token] = close.get(token, 0) + row
        self.before = {token for token, row in close.items() if (row[1] or row[2]) > 0}
        self.after = {token for token, row in close.items() if (row[3] or row[4]) > 0}
        self._check(unspaced, characters)

    def _check(self, runs: int, characters: int) -> None:
        """DataError where most of the text is in a script without spaces and nobody has split it into words, or where
        there are no words for another reason."""
        words = {token: n for token, n in self.counts.items() if not (token.isspace() or is_mark(token))}
        letters, count = sum(len(token) * n for token, n in words.items()), sum(words.values())
        if characters > letters / 2 and characters > LONG * runs:
            raise unsplit(runs, characters, script=True)
        if letters > LONGEST * count:
            raise unsplit(count, letters)


def _flags(piece: str) -> tuple[bool, bool, bool]:
    return piece.isspace(), token_of(piece) != piece, is_mark(token_of(piece))


@dataclass(frozen=True)
class Spacing:
    """Which of the tokens stand close to what is before them, and which to what is behind them: bool (V + 1,) each.

    Whitespace and `<join>` always do.
    """

    tokens: Sequence[str]
    before: np.ndarray
    after: np.ndarray
    _code: Mapping[str, int] = field(repr=False)
    _space: int
    _join: int

    @classmethod
    def of(cls, tokens: Sequence[str], before: Iterable[str], after: Iterable[str]) -> Spacing:
        """From the marks that stand close."""
        always = {token for token in tokens if token.isspace() or token == JOIN}
        near, far = always.union(before), always.union(after)
        # A piece is one number: its token, and whether a space stands before it.
        code = {token: 2 * n for n, token in enumerate(tokens) if token != JOIN}
        code |= {f" {token}": 2 * n + 1 for n, token in enumerate(tokens) if token != JOIN and not token.isspace()}
        # An unknown token where the vocabulary has none, id V, stands as a word does.
        before, after = (np.array([*(token in close for token in tokens), False]) for close in (near, far))
        space, join = (code.get(SPACE, -2) // 2, tokens.index(JOIN) if JOIN in tokens else -1)
        return cls(tokens, before, after, code, space, join)

    def unseen(self, pieces: Sequence[str]) -> np.ndarray:
        """bool (pieces,): which are no tokens."""
        code = self._code
        return np.fromiter((piece not in code for piece in pieces), bool, len(pieces))

    def known(self, pieces: list[str]) -> list[str]:
        """The pieces; so many spaces as never stood together are single ones."""
        new = {piece for piece in pieces if piece not in self._code and not piece.strip(" ")}
        return [part for piece in pieces for part in (piece if piece in new else [piece])] if new else pieces

    def encode(self, pieces: Sequence[str], unknown: int, last: int | None) -> np.ndarray:
        """int64: the ids of the pieces, and of what tells unusual spaces between them.

        unknown    stands for a piece that is no token; V if there is no token for that
        last       the token before the first piece, None at the beginning of a text
        """
        codes = np.fromiter((self._code.get(piece, -1) for piece in pieces), np.int64, len(pieces))
        for n in np.flatnonzero(codes < 0).tolist():
            codes[n] = 2 * unknown + (token_of(pieces[n]) != pieces[n])
        ids, spaced = codes >> 1, (codes & 1).astype(bool)
        previous = np.concatenate([[-1 if last is None else last], ids])[:-1]
        usual = ~(self.after[previous] | self.before[ids])
        usual[:1] &= last is not None
        odd, told = spaced != usual, np.where(spaced, self._space, self._join)
        odd &= told >= 0
        places = np.arange(len(ids)) + np.cumsum(odd)
        out = np.empty(len(ids) + int(odd.sum()), np.int64)
        out[places[odd] - 1] = told[odd]
        out[places] = ids
        return out

    def to_dict(self) -> dict[str, list[str]]:
        """The marks that stand close to what is before them, and to what is behind; fit for JSON."""
        sides = {"before": self.before, "after": self.after}
        return {
            name: [token for token, close in zip(self.tokens, side) if close and is_mark(token)]
            for name, side in sides.items()
        }

    def pieces(self, ids: np.ndarray) -> list[str]:
        """What each token adds to the text: itself, with the space that stands before it."""
        usual = ~(self.after[ids[:-1]] | self.before[ids[1:]])
        spaced = [False, *usual.tolist()]
        words = ["" if self.tokens[i] == JOIN else self.tokens[i] for i in ids.tolist()]
        return [f" {word}" if space else word for word, space in zip(words, spaced)]
