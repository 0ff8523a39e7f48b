"""Makes text of a corpus, a model or a user safe to show. Everything that is shown passes through here.

printable   running text: a sign replaces what would control a terminal; letters of every script stay
visible     text in a picture, where every character must be seen: line ends and tabs become signs, too
cells       the columns of a terminal that a text takes
cut, tail   the beginning or the end of a text, as much as fits into so many columns
pad         a text in exactly so many columns
shell_word  the name of a file, to be pasted into a shell

A control character is shown as its symbol (␛), a character without a shape (a stray byte, private use) as U+FFFD. One
that only changes the text around it (direction overrides, order marks, a soft hyphen) is shown as `·`, and has no
effect.
"""

from __future__ import annotations

import shlex
import unicodedata

SIGNS = {"\n": "⏎", "\t": "→"}
# Running text keeps these: Persian and Indic spelling, and emoji of several parts, need the two joiners.
RUNNING = "\n\t\u200c\u200d"
# Format characters (Cf) that are visible: signs for numbers, years and verses in Arabic, Syriac and Kaithi.
WRITTEN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
PRESENTATION = range(0xFE00, 0xFE10)  # they choose the shape of the character before, and on some terminals its width
CARRIER = "◌"  # carries a combining mark that has nothing to stand on


class _Signs(dict[int, str]):
    """A table for str.translate: code point -> what is shown for it, computed when it is first needed."""

    def __init__(self, keep: str) -> None:
        super().__init__((ord(character), character) for character in keep)

    def __missing__(self, code: int) -> str:
        self[code] = sign = _sign(chr(code))
        return sign


def _sign(character: str) -> str:
    code, kind = ord(character), unicodedata.category(character)
    if character in SIGNS:
        return SIGNS[character]
    if code < 0x20 or code == 0x7F:
        return chr(0x2400 + code) if code < 0x20 else "␡"
    if kind in ("Cc", "Cs", "Co", "Cn"):
        return "\ufffd"
    if kind in ("Cf", "Zl", "Zp") and code not in WRITTEN:
        return "·"
    return character


_RUNNING, _DRAWN = _Signs(RUNNING), _Signs("")
_DRAWN.update(dict.fromkeys(PRESENTATION, ""))


def printable(text: str) -> str:
    """`text` without anything that controls a terminal or a page, except for line ends and tabs."""
    return text if text.isprintable() else text.translate(_RUNNING)


def visible(text: str) -> str:
    """`text` for a picture: as `printable`, with line ends as ⏎ and tabs as →. It may be given in parts."""
    return text if text.isascii() and text.isprintable() else text.translate(_DRAWN)


def standing(text: str) -> str:
    """`text`, with a sign before it that carries its first character if that is a combining mark."""
    return CARRIER + text if text and not _width(text[0]) else text


def cells(text: str) -> int:
    """Columns of a terminal: two for a wide character (East Asian width W and F), none for a combining mark."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    code = ord(character)
    # In Hangul that is written in parts, vowels and final consonants are drawn into the syllable before them.
    if unicodedata.category(character) in ("Mn", "Me", "Mc") or 0x1160 <= code <= 0x11FF or 0xD7B0 <= code <= 0xD7FF:
        return 0
    if character in "\u200b\u200c\u200d":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """The beginning of `text`, as much as fits into `width` columns."""
    return text[: _fitting(text, width)]


def tail(text: str, width: int) -> str:
    """The end of `text`, as much as fits into `width` columns. It does not begin with a combining mark."""
    text = text[len(text) - _fitting(text[::-1], width) :]
    return text.lstrip("".join({c for c in text if not _width(c)}))


def _fitting(text: str, width: int) -> int:
    used = 0
    for n, character in enumerate(text):
        used += _width(character)
        if used > width:
            return n
    return len(text)


def pad(text: str, width: int) -> str:
    """`text` in `width` columns: filled up with blanks, or cut at its end."""
    text = cut(text, width)
    return text + " " * (width - cells(text))


def shell_word(name: str) -> str:
    """A file's name as a shell reads it; bytes that cannot be shown are written as $'\\xff'."""
    return shlex.quote(name) if name.isprintable() else "$'" + "".join(map(_escape, name)) + "'"


def _escape(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if character.isprintable() or "\ud800" <= character < "\udc80":  # no file is called by such a surrogate
        return printable(character)
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
