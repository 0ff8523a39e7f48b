"""Text of a corpus, a model or a user, as a terminal or a page may show it. All that is shown goes through here.

printable   running text: what would steer a terminal is drawn as a sign, letters of every script stay
visible     the same for pictures, where every character is to be seen: line ends and tabs are signs too
cells       how many columns of a terminal a text takes
cut, tail   the beginning or the end of a text, as much as fits into so many columns
pad         a text in just so many columns
shell_word  the name of a file, to be pasted into a shell

A control character shows as its symbol (␛), what has no shape (a stray byte, private use) as U+FFFD, and what only
changes the text around it (direction overrides, marks of order, a soft hyphen) as `·`, so that it changes nothing.
"""

from __future__ import annotations

import shlex
import unicodedata

SIGNS = {"\n": "⏎", "\t": "→"}
# Running text keeps these: persian and indic spelling, and emoji of several parts, need the two joiners.
RUNNING = "\n\t\u200c\u200d"
# Format characters (Cf) that are written: signs of numbers, years and verses in arabic, syriac and kaithi.
WRITTEN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
PRESENTATION = range(0xFE00, 0xFE10)  # they choose the shape of the character before, and on some terminals its width
CARRIER = "◌"  # carries a combining mark that has nothing to stand on


class _Signs(dict[int, str]):
    """What str.translate asks for: code point -> what is shown for it, decided when it first comes up."""

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
    """`text` with nothing in it that a terminal or a page would obey, but for line ends and tabs."""
    return text if text.isprintable() else text.translate(_RUNNING)


def visible(text: str) -> str:
    """`text` in a picture: as `printable`, line ends as ⏎, tabs as →. Parts of a text may be drawn one by one."""
    return text if text.isascii() and text.isprintable() else text.translate(_DRAWN)


def standing(text: str) -> str:
    """`text` with something for its first character to stand on, if that is a combining mark."""
    return CARRIER + text if text and not _width(text[0]) else text


def cells(text: str) -> int:
    """Columns of a terminal: two for a wide character (East Asian width W and F), none for a combining mark."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    code = ord(character)
    # Vowels and final consonants of Hangul that is written in parts lie in the syllable before them.
    if unicodedata.category(character) in ("Mn", "Me", "Mc") or 0x1160 <= code <= 0x11FF or 0xD7B0 <= code <= 0xD7FF:
        return 0
    if character in "\u200b\u200c\u200d":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """The beginning of `text`, as much as fits into `width` columns."""
    return text[: _fitting(text, width)]


def tail(text: str, width: int) -> str:
    """The end of `text`, as much as fits into `width` columns; it begins with no combining mark."""
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
    """`text` in `width` columns: blanks behind it, or its end cut off."""
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
