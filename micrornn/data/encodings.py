"""What a file that is no UTF-8 is written in, guessed from all of it, and what to do about that.

codec          an encoding by its name, as `encoding` takes it
undecodable    the error that says what a file is, as it seems, and the command that helps
guess          the likeliest of the encodings that texts are kept in

A guess is made of what each candidate makes of the bytes: of the characters beyond ASCII, how many are ones that texts
in that script mostly consist of, less those that no text has. One byte alone would tell nothing: 0xe9 is é in
Windows-1252, й in Windows-1251, И in KOI8-R, and the beginning of a character in Shift-JIS.
"""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from micrornn.errors import ConfigError, DataError, counted, quoted
from micrornn.printable import shell_word, visible

MOST_BYTES = 16 << 20  # of a larger file its beginning, and as much around the place in question
TELLING = 1 << 16  # so many bytes in lines that are not all ASCII are enough to tell
FEW = 4  # fewer characters beyond ASCII are no word in another script
LEAST = 0.5  # below this score no candidate is named
STRAY = 0.05  # of the characters beyond ASCII so many may be no UTF-8 in a file that is UTF-8 for the rest

_WESTERN = "éèàâçêëîïôûùäöüßñáíóúãõåæøœÀÉÈÄÖÜÅØÆÇÑ’‘“”„–—…«»°§€£ ¿¡"
_CENTRAL = "ąćęłńóśźżĄĆĘŁŃÓŚŹŻěščřžýáíéúůďťňŘŠČŽőűÁÉăâîșțşţđĐ’“”„–—…«» "
_RUSSIAN = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъёіїєОАИНТСРВПКДЯ–—«» "
_GREEK = "αοιετσνηυρπκμλςωγδθχφβξζψάέήίόύώΑΟΙΕΤΣΝΗ"
_TURKISH = "ğışöüçİĞŞÖÜÇâî’“”–"
_HEBREW = "".join(map(chr, range(0x5D0, 0x5EB)))
_ARABIC = "".join(map(chr, range(0x621, 0x64B))) + "،؟"
_KANA = "".join(map(chr, (*range(0x3041, 0x3094), *range(0x30A1, 0x30F7)))) + "、。ー「」"
_CHINESE = (
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心"
    "多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知样现分将"
    "外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女力机给等几很业最间新什打便位因重被"
    "走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代产入先山五太水万市，。、“”：；！？"
)
_TRADITIONAL = "這來國個說們為時會著過學對裡後麼沒還發當無開經頭長樣現將與進實點種聲話兒機給幾業間電門東關產"
_HANGUL = (
    "이다는의에을가고은하지로한를도사기나니그아서자시어리대해인보수일있들만정라주전게요과부여거구마것면안제모"
    "장오무상내동원성생러문소선말식조비와신용우세경발행유관데반저재연계물"
)


@dataclass(frozen=True)
class Candidate:
    """codec: Python's name; name: as people say it; iconv: its name for iconv; common: what texts in it consist of;
    never: what no text in it has, as a pattern."""

    codec: str
    name: str
    iconv: str
    common: str
    never: str = "(?!)"


# Words do not begin with these letters; those of other alphabets do not stand beside Latin ones.
_NO_RUSSIAN = r"\b[ъьыЪЬЫ]|[a-z][а-яё]|[а-яё][a-z]"
_NO_HEBREW = r"[ךםןףץ][א-ת]|[a-z][א-ת]|[א-ת][a-z]"  # the first are forms of the end of a word
_NO_GREEK = r"ς[α-ω]|[a-z][α-ω]|[α-ω][a-z]"
_NO_ARABIC = r"[a-z][\u0621-\u064a]|[\u0621-\u064a][a-z]"

# Where two read the same bytes equally well, the first is named.
CANDIDATES = (
    Candidate("latin-1", "Latin-1", "LATIN1", _WESTERN),
    Candidate("cp1252", "Windows-1252", "CP1252", _WESTERN),
    Candidate("cp1250", "Windows-1250", "CP1250", _CENTRAL),
    Candidate("iso8859-2", "Latin-2", "LATIN2", _CENTRAL),
    Candidate("cp1251", "Windows-1251", "CP1251", _RUSSIAN, _NO_RUSSIAN),
    Candidate("koi8-r", "KOI8-R", "KOI8-R", _RUSSIAN, _NO_RUSSIAN),
    Candidate("cp866", "CP866", "CP866", _RUSSIAN, _NO_RUSSIAN),
    Candidate("iso8859-5", "ISO 8859-5", "ISO-8859-5", _RUSSIAN, _NO_RUSSIAN),
    Candidate("cp1253", "Windows-1253", "CP1253", _GREEK, _NO_GREEK),
    Candidate("iso8859-7", "ISO 8859-7", "ISO-8859-7", _GREEK, _NO_GREEK),
    Candidate("cp1254", "Windows-1254", "CP1254", _TURKISH),
    Candidate("cp1255", "Windows-1255", "CP1255", _HEBREW, _NO_HEBREW),
    Candidate("cp1256", "Windows-1256", "CP1256", _ARABIC, _NO_ARABIC),
    Candidate("mac-roman", "Mac Roman", "MACINTOSH", _WESTERN),
    Candidate("cp850", "CP850 (DOS)", "CP850", _WESTERN),
    Candidate("euc_jp", "EUC-JP", "EUC-JP", _KANA),
    Candidate("cp932", "Shift-JIS", "CP932", _KANA),
    Candidate("cp949", "EUC-KR", "CP949", _HANGUL),
    Candidate("big5", "Big5", "BIG5", _CHINESE + _TRADITIONAL),
    Candidate("gb18030", "GB18030", "GB18030", _CHINESE),
)
_WIDE = {
    "utf-16": Candidate("utf-16", "UTF-16", "UTF-16", ""),
    "utf-16-le": Candidate("utf-16-le", "UTF-16 without a mark", "UTF-16LE", ""),
    "utf-16-be": Candidate("utf-16-be", "UTF-16 without a mark", "UTF-16BE", ""),
    "utf-32": Candidate("utf-32", "UTF-32", "UTF-32", ""),
}


def codec(name: str) -> str:
    """Python's own name of an encoding. ConfigError if there is none of this name, or it is none of texts."""
    try:
        found = codecs.lookup(name)
        if getattr(found, "_is_text_encoding", True) and found.incrementaldecoder is not None:
            "a".encode(name)  # `undefined` is one that never does
            return found.name
    except (LookupError, ValueError, UnicodeError):
        pass
    raise ConfigError(
        f"`encoding`: there is no {quoted(name)}; utf-8, cp1252, latin-1, utf-16, shift_jis, gb18030, koi8-r are some"
    )


def guess(data: bytes) -> Candidate | None:
    """The likeliest encoding of bytes that are no UTF-8; None where nothing is likely."""
    for mark, name in ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
                       (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):  # fmt: skip
        if data.startswith(mark):
            return _WIDE[name]
    if 0 in data:
        return _wide(data)
    data = _telling(data)
    best, found = LEAST, None
    for candidate in CANDIDATES:
        score = _score(data, candidate)
        if score > best + 1e-9:
            best, found = score, candidate
    return found


def _telling(data: bytes) -> bytes:
    """Lines with bytes beyond ASCII, from all over the text, as many as are enough. (No encoding that is guessed has
    a line end within a character.)"""
    lines = [line[:TELLING] for line in data.split(b"\n") if not line.isascii()]
    step = -(-sum(map(len, lines)) // TELLING) or 1
    return b"\n".join(lines[::step])


def _wide(data: bytes) -> Candidate | None:
    """Of bytes with NULs: UTF-16 of that order in which they are text, if they are."""
    common = {*map(chr, range(0x20, 0x7F)), *"\n\r\t"}.union(*(candidate.common for candidate in CANDIDATES))
    best, found = LEAST, None
    for name in ("utf-16-le", "utf-16-be"):
        try:
            text = data[: min(len(data), TELLING) // 2 * 2].decode(name)
        except UnicodeError:
            continue
        strange = sum(unicodedata.category(c) in ("Cc", "Co", "Cn") and c not in "\n\r\t\f" for c in text)
        score = sum(c in common for c in text) / len(text) if strange <= len(text) / 100 else 0.0
        if score > best and len(text) > 8:
            best, found = score, _WIDE[name]
    return found


def _score(data: bytes, candidate: Candidate) -> float:
    """Of the characters beyond ASCII, the share of common ones, less three times the share of impossible ones."""
    text = data.decode(candidate.codec, "replace")
    points = [c for c in text if c > "\x7f"]
    if not points or (len(points) < FEW and candidate.common not in (_WESTERN, _CENTRAL)):
        return 0.0
    common = set(candidate.common)
    odd = sum(c == "\ufffd" or unicodedata.category(c) in ("Cc", "Co", "Cn") for c in points)
    # A sign in the middle of a word is a letter of another encoding.
    inside = sum(
        not b.isalpha() and b > "\x7f" and b not in "’‘·" and a.isalpha() and c.isalpha()
        for a, b, c in zip(text, text[1:], text[2:])
    )
    never = len(re.findall(candidate.never, text))
    return (sum(c in common for c in points) - 3 * odd - 2 * inside - 3 * never) / len(points)


def undecodable(path: Path, encoding: str, offset: int, byte: int) -> DataError:
    """What to say of a file with a byte at `offset` that its encoding does not have."""
    where = f"byte 0x{byte:02x} at offset {offset:,}"
    data, line = _read(path, offset)
    where += f", line {line:,}" if line else ""
    name, word = visible(os.fspath(path)), shell_word(os.fspath(path))
    if encoding != "utf-8":
        return DataError(f"{name} is not {encoding}: {where}\n  without `encoding` you are told what it seems to be")
    stray, good, cut_off = _utf8(data)
    if cut_off and not stray:
        what = f"{name} ends in the middle of a character ({where}): it has been cut short. All but that"
        return DataError(f"{what} is kept by\n  iconv -c -f UTF-8 -t UTF-8 {word} > utf8.txt")
    if 0 < stray <= max(1, STRAY * good) and good and 0 not in data:
        what = counted(stray, "byte that is not", "that are not")
        return DataError(
            f"{name} is UTF-8 but for {what}: {where}. Mend the line, or leave such bytes out:\n"
            f"  iconv -c -f UTF-8 -t UTF-8 {word} > utf8.txt"
        )
    found = guess(data)
    if found is None:
        kind = "looks binary: a NUL byte" if byte == 0 else "is not UTF-8, nor anything else that is likely:"
        where = f"at offset {offset:,}" if byte == 0 else where
        return DataError(
            f"{name} {kind} {where}\n  leave it out, for instance with a glob such as 'texts/**/*.txt'; "
            "of the task text, `level=byte` reads any file, and `encoding=NAME` one of a known encoding"
        )
    return DataError(
        f"{name} is not UTF-8 ({where}) but, as it seems, {found.name}. Read it so with `encoding={found.codec}`, or:\n"
        f"  iconv -f {found.iconv} -t UTF-8 {word} > utf8.txt"
    )


def _utf8(data: bytes) -> tuple[int, int, bool]:
    """(bytes that are no UTF-8, characters of several bytes, whether the end cuts one off)."""
    whole = len(data) - 4 + codecs.utf_8_decode(data[-4:], "surrogateescape", False)[1] if len(data) >= 4 else len(data)
    text = data[:whole].decode("utf-8", "surrogateescape")
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    stray = int(np.count_nonzero((points >= 0xDC80) & (points <= 0xDCFF)))
    return stray, int(np.count_nonzero(points > 0x7F)) - stray, whole < len(data)


def _read(path: Path, offset: int) -> tuple[bytes, int]:
    """All of a file, of a large one two large parts; and the line (from 1) that the offset is in, 0 in a large one."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES)
            if len(data) < MOST_BYTES:
                return data, data.count(b"\n", 0, offset) + 1
            file.seek(max(MOST_BYTES, offset - MOST_BYTES // 2))
            return data + b"\n" + file.read(MOST_BYTES), 0
    except OSError:
        return b"", 0
