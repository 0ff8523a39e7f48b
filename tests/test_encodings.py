"""Files that are no UTF-8: what they are is guessed from all of them, and the advice works when it is tried."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from micrornn.data import read_bytes, read_chunks, tokenize
from micrornn.data.encodings import codec, guess
from micrornn.data.peculiar import Peculiar, looks_like
from micrornn.errors import ConfigError, DataError
from micrornn.evaluate import encode_files

TEXTS = {
    "french": "Où est passé le garçon ? Il a été élève à l’école, « très doué », jusqu’à l’été.\n",
    "german": "Während der Übung fraß der größere Bär süße Äpfel – „köstlich“, sagte er.\n",
    "english": "It’s “quoted” text — with a café, naïve résumés and a few dashes – that’s all there is.\n",
    "polish": "Zażółć gęślą jaźń, powiedział ślusarz; żółw szedł wąską ścieżką wśród łąk.\n",
    "czech": "Příliš žluťoučký kůň úpěl ďábelské ódy, když řeka tekla přes město.\n",
    "russian": "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n",
    "greek": "Τη γλώσσα μου έδωσαν ελληνική· το σπίτι φτωχικό στις αμμουδιές του Ομήρου.\n",
    "turkish": "Işık ılık bir akşamdı; çocuklar ağaçların altında şarkı söylüyor, güneş batıyordu.\n",
    "hebrew": "בראשית ברא אלהים את השמים ואת הארץ והארץ היתה תהו ובהו\n",
    "japanese": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n",
    "chinese": "我们的国家有很多人，他们在这里工作和学习，也会说自己的语言。这是一个大城市。\n",
    "traditional": "我們的國家有很多人，他們在這裡工作和學習，也會說自己的語言。這是一個大城市。\n",
    "korean": "나는 오늘 학교에 가서 친구를 만나고 책을 읽었다. 그리고 집에 돌아와서 밥을 먹었다.\n",
}
KEPT_IN = [
    ("french", "cp1252"), ("french", "mac-roman"), ("german", "cp1252"), ("english", "cp1252"), ("polish", "cp1250"),
    ("polish", "iso8859-2"), ("czech", "cp1250"), ("russian", "cp1251"), ("russian", "koi8-r"), ("russian", "cp866"),
    ("russian", "iso8859-5"), ("greek", "cp1253"), ("turkish", "cp1254"), ("hebrew", "cp1255"), ("japanese", "cp932"),
    ("japanese", "euc_jp"), ("chinese", "gb18030"), ("traditional", "big5"), ("korean", "cp949"),
    ("french", "utf-16"), ("german", "utf-16-le"), ("russian", "utf-16-be"), ("chinese", "utf-16-le"),
    ("english", "utf-32"),
]  # fmt: skip


@pytest.mark.parametrize("name, encoding", KEPT_IN)
@pytest.mark.parametrize("among", [0, 400])
def test_the_advice_gives_the_text_back(name: str, encoding: str, among: int, tmp_path: Path) -> None:
    """Also where nearly all of the text is ASCII. Tried as it is printed: with `encoding`, and with iconv."""
    text = ("plain words, 1 to 10; nothing else here\n" * among + TEXTS[name]) * 5
    path = tmp_path / "it's a file.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(DataError) as caught:
        list(read_chunks([path], 512))
    told = str(caught.value)
    advised = re.search(r"`encoding=(\S+)`, or:\n  (iconv .*) > utf8.txt$", told)
    assert advised and len(told.splitlines()) == 2, told
    assert "".join(read_chunks([path], 512, encoding=advised[1])) == text
    if shutil.which("iconv"):
        ran = subprocess.run(["bash", "-c", advised[2]], capture_output=True, check=True)
        assert ran.stdout.decode().removeprefix("\ufeff") == text


@pytest.mark.parametrize(
    "damage, told, left",
    [
        (lambda data: data[:4000] + b"\x92" + data[4000:], "UTF-8 but for 1 byte that is not: byte 0x92", 0),
        (lambda data: data[:3000] + b"\xe9\xff" + data[3000:] + b"\xc0 x", "UTF-8 but for 3 that are not", -2),
        (lambda data: data + "語".encode()[:2], "ends in the middle of a character", 0),
    ],
)
def test_nearly_utf8_stays_utf8(damage, told: str, left: int, tmp_path: Path) -> None:
    text = TEXTS["german"] * 100
    path = tmp_path / "a.txt"
    path.write_bytes(damage(text.encode()))
    with pytest.raises(DataError, match=told) as caught:
        list(read_chunks([path]))
    advised = str(caught.value).splitlines()[1].removesuffix(" > utf8.txt")
    assert "line " in str(caught.value)
    if shutil.which("iconv"):  # its exit code says that something was left out
        kept = subprocess.run(["bash", "-c", advised], capture_output=True, check=False).stdout.decode()
        assert kept[: left or None] == text


def test_what_is_nothing_known_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(DataError, match=r"looks binary: a NUL byte at offset 0\n.*`level=byte` reads any file"):
        list(read_chunks([path]))
    assert guess(bytes(range(128, 256)) * 9) is None
    assert "".join(read_bytes([path], 100)).encode("utf-8", "surrogateescape") == path.read_bytes()
    tokens = tokenize([path], "byte", tmp_path)
    assert bytes(tokens[:]) == path.read_bytes() and tokens.vocab.size == 256
    for name in ("nix", "undefined", "base64", "a\0b", "é" * 3, "x" * 10_000):
        with pytest.raises(ConfigError, match="`encoding`: there is no"):
            codec(name)
    path.write_bytes(b"plain \x81")
    with pytest.raises(DataError, match=r"is not cp1252: byte 0x81 at offset 6, line 1"):
        list(read_chunks([path], encoding="Windows-1252"))


def test_what_is_utf8_and_read_as_something_else_is_told(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.txt", tmp_path / "cache"
    path.write_text(TEXTS["german"] * 9)
    for encoding, told in (
        ("cp1252", "a.txt is UTF-8, as it seems, and is read as cp1252 (`encoding`)"),
        ("utf-8", ""),
    ):
        assert "; ".join(tokenize([path], "char", cache, encoding=encoding).notes) == told
    path.write_text("plain " * 9)
    assert tokenize([path], "char", cache, encoding="cp1252").notes == []
    assert "read as utf-16-le" in tokenize([path], "char", cache, encoding="utf-16-le").notes[0]
    vocab = tokenize([path], "char", cache).vocab  # for another text there is the encoding of the run, and UTF-8
    for written in ("utf-8", "utf-16-le"):
        path.write_bytes("plain \n".encode(written))
        assert vocab.decode(encode_files([path], vocab, "skip", usual="utf-16-le").ids) == "plain "


def notes(*texts: str) -> str:
    peculiar = Peculiar()
    for text in texts:
        peculiar.add(text)
    return "; ".join(peculiar.notes())


@pytest.mark.parametrize(
    "texts, told",
    [
        (["a line\r", "\nanother\r\n"], r"its lines end in \r\n"),
        (["one\r\ntwo\nthree\n"], r"1 of its 3 lines end in \r\n"),
        (["one\rtwo\r"], r"lines end in \r alone"),
        (["one\r two\n"], r"it has 1 \r without"),
        (["x y " * 300], "it is a single line of 1,200 characters"),
        (["na\u0308he\n"], "decomposed (NFD): ä is U+0061 + U+0308"),
        (["A plain line,\nand another one, with commas.\nYes, it is.\n" * 5, "näher\n"], ""),
    ],
)
def test_what_is_odd_is_told(texts: list[str], told: str) -> None:
    assert (told in notes(*texts)) if told else notes(*texts) == ""


@pytest.mark.parametrize(
    "head, form",
    [
        ("date,price,volume\n" + "2020-01-02,3.5,100\n" * 9, "CSV"),
        ('name;note\n"a;b";12\n' * 9, "CSV"),
        ("x\ty\n" + "1.5\t2\n" * 9, "TSV"),
        ('{"text": "one", "id": 1}\n' * 5, "JSON lines"),
        ('[\n {"a": 1},\n {"a": 2}\n]\n', "JSON"),
        ("# id = 1\n" + "1\tshow\tshow\tVERB\t0\n2\tme\tI\tPRON\t1\n" * 3 + "\n1\tgo\tgo\tVERB\t0\n", "CoNLL"),
        (("EU NNP B-NP B-ORG\nrejects VBZ B-VP O\ncall NN I-NP O\n\n") * 3, "CoNLL"),
        ("To be, or not to be, that is the question:\nWhether 'tis nobler, in the mind, to suffer\n" * 9, None),
        ("def f(a, b):\n    return a + b\n\n\nclass A:\n    x = [1, 2]\n" * 5, None),
        ("red green\nblue black\n\nwhite grey\nup down\nleft right\n", None),
        ("- [ ] one, 2\n- [x] two, 3\n* three\n\n# title\n" * 3, None),
        ("", None), ("word", None), ("{", None),
    ],
)  # fmt: skip
def test_tables_are_recognised_and_prose_is_not(head: str, form: str | None) -> None:
    found = looks_like(head)
    assert found == form if form is None else (found or "").startswith(form), found


def test_another_text_with_the_same_size_and_times_is_another_text(tmp_path: Path) -> None:
    import os

    path, cache = tmp_path / "a.txt", tmp_path / "cache"
    seen = []
    for text in ("the cat sat\n" * 9, "the dog ran\n" * 9):
        path.write_text(text)
        os.utime(path, ns=(1, 1))
        tokens = tokenize([path], "char", cache)
        seen.append(tokens.vocab.decode(tokens[:]))
    assert seen == ["the cat sat\n" * 9, "the dog ran\n" * 9]
    path.rename(tmp_path / "b.txt")  # and the same text is found again wherever it lies
    before = len(list(cache.iterdir()))
    assert tokenize([tmp_path / "b.txt"], "char", cache).fingerprint == tokens.fingerprint
    assert len(list(cache.iterdir())) == before
