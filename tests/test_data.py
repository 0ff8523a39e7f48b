"""micrornn.data: what goes in comes out, wherever it is cut, and bad input is named."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micrornn.data import (
    Decoder,
    Vocab,
    default_cache_dir,
    find,
    read_chunks,
    stdlib_sources,
    tokenize,
    words,
)
from micrornn.data.text import contains
from micrornn.errors import DataError

settings.register_profile("data", deadline=None, max_examples=80)
settings.load_profile("data")

sizes = st.integers(1, 9)
# One to four bytes each, all kinds of whitespace, a byte order mark, combining marks.
texts = st.text(st.sampled_from("ab \n\r\t\x0b\x85\u2028é\u0301ж日🙂\ufeff"), min_size=1, max_size=60)


def cut(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


# -- vocabularies


@given(text=texts, size=sizes)
def test_characters_round_trip_wherever_cut(text: str, size: int) -> None:
    vocab = Vocab.build(cut(text, size), "char")
    assert vocab.tokens == sorted(set(text))
    ids = vocab.encode(text)
    assert vocab.decode(ids) == vocab.decode(ids.tolist()) == text
    assert (np.concatenate(list(vocab.encode_chunks(cut(text, size)))) == ids).all()
    assert Vocab.from_dict(json.loads(json.dumps(vocab.to_dict()))) == vocab


# Words and marks of several scripts, all that words are made of, marks that usually stand close, odd spaces.
prose = st.lists(
    st.sampled_from(
        ["don't", "o’er", "Übel", "e\u0301t", "नमस्ते", "x_1", ",", ".", "(", '"', "-", "—", "'", "🙂", "<unk>"]
    )
    | st.sampled_from([" ", " ", " ", " ", "  ", "\n", "\t", "\r\n", "\u00a0", "<", "\u0301"])
    | st.characters(),
    max_size=40,
).map("".join)


@given(text=prose, size=sizes)
def test_words_round_trip_to_the_space_wherever_cut(text: str, size: int) -> None:
    if not text.strip():
        return
    vocab = Vocab.build(cut(text, size), "word")
    assert vocab == Vocab.build([text], "word")
    ids = vocab.encode(text)
    assert vocab.decode(ids) == text == "".join(vocab.pieces(ids)) == _one_by_one(vocab, ids)
    assert (np.concatenate(list(vocab.encode_chunks(cut(text, size)))) == ids).all()
    assert Vocab.from_dict(json.loads(json.dumps(vocab.to_dict()))) == vocab
    other = Vocab.build(["something, else. (And 'this'.)"], "word")  # whose marks are spaced in another way
    assert other.decode(other.encode("else (this, and 'something'.) this,this", "skip")).replace("<join>", "")


def _one_by_one(vocab: Vocab, ids: np.ndarray) -> str:
    half = len(ids) // 2
    decode = Decoder(vocab, ids[:half].tolist())
    return vocab.decode(ids[:half]) + "".join(decode(int(token)) for token in ids[half:])


def test_punctuation_is_its_own_token_and_the_usual_space_none() -> None:
    text = "Well, he said (to them) and (us): 'let it be', and they didn't; it's state-of-the-art.\n" * 3
    vocab = Vocab.build([text], "word")
    told = [vocab.tokens[i] for i in vocab.encode("Well, they (didn't) said.\n")]
    assert told == ["Well", ",", "they", "(", "didn't", ")", "said", ".", "\n"]
    assert vocab.decode(vocab.encode("Well , they")) == "Well , they"  # what is unusual is told
    assert len(vocab.encode("Well , they")) == 4
    code = Vocab.build(["def f(a):\n    if a:\n        return a\n"], "word")
    told = [code.tokens[i] for i in code.encode("def f(a):\n        return  a\n")]
    assert told[-5:] == ["        ", "return", " ", " ", "a"] or told[-6:-1] == ["        ", "return", " ", " ", "a"]
    spaced = Vocab.build(["the cat , the dog .\n" * 3], "word")  # a text with a space before every comma
    assert [spaced.tokens[i] for i in spaced.encode("the dog , the cat .")] == ["the", "dog", ",", "the", "cat", "."]


@pytest.mark.parametrize(
    "text, told",
    [
        ("春はあけぼのやうやう白くなりゆく山ぎは、少し明かりて。" * 50, "100 words of 12 characters on average, in"),
        ("สวัสดีชาวโลกทุกคน\n" * 50, "17 characters on average, in a script"),
        ("ab" * 700, "this text has 1 word of 1,400 characters: use `level=char`"),
        ("x" * 60 + " " + "y" * 60, "2 words of 60 characters on average: use `level=char`"),
        ("x" * 600_000 + "y" * 600_000, "1 word of more than 1,200,000 characters"),
    ],
)
def test_a_text_without_words_is_told_so(text: str, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        Vocab.build(cut(text, 500_000), "word")
    assert "words are split on whitespace and punctuation" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["我 喜欢 学习 中文 。\n", "Donaudampfschifffahrtsgesellschaft ist kein Wort.\n", "나는 학생입니다.\n"]
)
def test_long_words_and_words_that_somebody_has_split_are_words(text: str) -> None:
    assert Vocab.build([text * 9], "word").size > 4


def test_words_of_before_are_still_read() -> None:
    """A run whose words were split at whitespace alone can be sampled and evaluated."""
    old = Vocab.from_dict({"kind": "word", "tokens": ["<eos>", "to", "be,", "or", "not"]})
    ids = old.encode("to be, or\nnot to be,\n")
    assert ids.tolist() == [1, 2, 3, 0, 4, 1, 2, 0] and old.decode(ids) == "to be, or\nnot to be,\n"
    assert _one_by_one(old, ids) == "".join(old.pieces(ids)) == "to be, or\nnot to be,\n" and old.newline == 0
    assert Vocab.from_dict(json.loads(json.dumps(old.to_dict()))) == old and old.spacing is None
    with pytest.raises(DataError, match=r"word 'be' at line 2, column 8, position 17"):
        old.encode("to be, or\nnot to be\n")


def test_words_between_spaces() -> None:
    """As a text that somebody has prepared: `<unk>` stands in it, and each line ends in `<eos>`."""
    text = " the n 's <unk> \n the <unk> , the-n\r\n"
    vocab = Vocab.build([text[:9], text[9:]], "spaced")
    assert vocab.tokens == ["<unk>", "<eos>", "the", "'s", ",", "n", "the-n"] and vocab.newline == 1
    ids = vocab.encode(text)
    assert ids.tolist() == [2, 5, 3, 0, 1, 2, 0, 4, 6, 1] and vocab.decode(ids) == "the n 's <unk>\nthe <unk> , the-n\n"
    assert vocab.encode("an other the\n").tolist() == [0, 0, 2, 1] and Vocab.from_dict(vocab.to_dict()) == vocab
    assert Vocab.build([text], "spaced", max_size=3).tokens == ["<unk>", "<eos>", "the"]
    with pytest.raises(DataError, match="holds no words"):
        Vocab.build([" \n\n "], "spaced")


@given(st.binary(max_size=40), sizes)
def test_bytes_round_trip(data: bytes, size: int) -> None:
    vocab = Vocab.build([], "byte")
    text = data.decode("utf-8", "surrogateescape")
    ids = vocab.encode(text)
    assert bytes(ids) == data and vocab.decode(ids) == text == "".join(vocab.pieces(ids)) and vocab.dtype == np.uint8
    assert Vocab.from_dict(json.loads(json.dumps(vocab.to_dict()))) == vocab


@given(
    text=st.text("abcdé\n ,", min_size=1),
    kind=st.sampled_from(["char", "word"]),
    limit=st.integers(4, 9),
    least=st.integers(1, 3),
)
def test_limited_vocabularies_keep_the_frequent(text: str, kind: str, limit: int, least: int) -> None:
    tokens = list(text) if kind == "char" else [words.token_of(piece) for piece in words.split(text)]
    counts = Counter(tokens)
    try:
        vocab = Vocab.build([text], kind, limit, least)
    except DataError:
        ordinary = [counts[t] for t in counts if t not in (" ", "<unk>")]
        assert not text.strip() or max(ordinary) < least
        return
    special = {"\ufffd", "<unk>", "<join>", " "} if kind == "word" else {"\ufffd"}
    dropped = counts.keys() - set(vocab.tokens)
    kept = counts.keys() - dropped - special
    assert vocab.size <= limit and (vocab.unknown is not None) == bool(dropped)
    for rare in dropped:
        assert counts[rare] < least or all((-counts[t], t) < (-counts[rare], rare) for t in kept)
    assert all(counts[t] >= least for t in kept)
    if kind == "word":  # what tells of spaces, and they themselves, apart
        tokens = [t for t in tokens if t.strip(" ")]
    expected = [t if t in vocab.tokens else vocab.tokens[vocab.unknown or 0] for t in tokens]
    told = [vocab.tokens[i] for i in vocab.encode(text)]
    assert [t for t in told if kind == "char" or (t.strip(" ") and t != "<join>")] == expected


def test_unknown_is_one_token_and_ids_are_as_small_as_can_be() -> None:
    vocab = Vocab.build(["the <unk> the cat\nthe sat <unk>\n"], "word", max_size=5)
    assert vocab.tokens == ["<unk>", "<join>", " ", "the", "\n"]
    assert vocab.decode(vocab.encode("the dog sat\n")) == "the <unk> <unk>\n"
    assert Vocab.build(["aabc"], "char", max_size=2).decode([1, 0]) == "\ufffda"
    for size, dtype in (255, "uint8"), (256, "uint16"), (65535, "uint16"), (65536, "uint32"):
        text = "".join(map(chr, range(0x10000, 0x10000 + size)))
        vocab = Vocab.build([text], "char")
        assert vocab.encode(text).dtype == dtype and vocab.decode(vocab.encode(text)) == text
        with pytest.raises(DataError):  # the largest id is not taken for the mark of an unseen character
            vocab.encode(text + "x")


# -- files


@given(texts=st.lists(texts, min_size=1, max_size=3), size=sizes, mark=st.booleans())
def test_read_chunks_is_cat(tmp_path_factory: pytest.TempPathFactory, texts, size: int, mark: bool) -> None:
    folder = tmp_path_factory.mktemp("cat")
    paths = [folder / f"{i}.txt" for i in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_bytes(text.encode("utf-8-sig" if mark or text[0] == "\ufeff" else "utf-8"))
    num_bytes: list[int] = []
    chunks = list(read_chunks(paths, size, num_bytes.append))
    assert "".join(chunks) == "".join(texts)
    assert all(chunks) and all(len(chunk) <= size for chunk in chunks)
    assert sum(num_bytes) == sum(path.stat().st_size for path in paths)


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt", "sub/d.md", ".hidden", ".git/e.txt", "[x].txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    monkeypatch.chdir(tmp_path)

    def names(*patterns: str) -> list[str]:
        return [os.path.relpath(path, tmp_path) for path in find(patterns)]

    assert names(str(tmp_path)) == ["[x].txt", "a.txt", "b.txt", "sub/c.txt", "sub/d.md"]
    assert names("**/*.txt") == ["[x].txt", "a.txt", "b.txt", "sub/c.txt"]
    assert names("sub", "b.txt", "sub/c.txt", "./b.txt") == ["sub/c.txt", "sub/d.md", "b.txt"]
    assert names("[x].txt") == ["[x].txt"]  # what is there is no glob


def test_stdlib_sources_are_typical_code_in_a_fixed_order() -> None:
    paths = stdlib_sources()
    assert paths == stdlib_sources() and len(paths) > 300
    assert not {"test", "tests", "site-packages", "encodings"} & {part for p in paths for part in p.parts[-3:]}
    last = {path.name[0] for path in paths[-len(paths) // 20 :]}
    assert len(last) > 5  # the validation part is no single corner of the alphabet
    assert len("".join(read_chunks(paths))) > 5e6


# -- token files


@pytest.mark.parametrize("kind", ["char", "word"])
def test_tokenize_and_find_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind) -> None:
    text = "the cat é sat\n" * 50 + "日本 語\n"
    (tmp_path / "a.txt").write_text(text)
    paths, cache = [tmp_path / "a.txt"], tmp_path / "deep" / "cache"
    heard: list[tuple[int, int]] = []
    monkeypatch.setattr("micrornn.data.tokens.CHUNK_BYTES", 7)
    tokens = tokenize(paths, kind, cache, progress=lambda done, total: heard.append((done, total)))
    vocab = Vocab.build([text], kind)
    assert tokens.vocab == vocab and tokens.num_characters == len(text)
    assert len(tokens) == len(vocab.encode(text)) and (tokens[:] == vocab.encode(text)).all()
    assert tokens.vocab.decode(tokens[3:9]) == vocab.decode(vocab.encode(text)[3:9])
    shares = [count / len(tokens) for count in Counter(tokens[:].tolist()).values()]
    assert tokens.entropy == pytest.approx(-sum(share * math.log(share) for share in shares))
    assert heard == sorted(heard) and heard[-1][0] == heard[-1][1]
    assert sorted(p.suffix for p in cache.iterdir()) == [".json", ".tokens"]  # nothing half-written stays

    def never(*_: object) -> None:
        raise AssertionError("tokenized again")

    again = tokenize(paths, kind, cache, progress=never)
    assert again.fingerprint == tokens.fingerprint and again.path == tokens.path

    # Cut short, zeroed, with a sidecar that cannot be read or is of another text: made anew, and the same.
    ids, about = tokens.path, tokens.path.with_suffix(".json")
    zeros, deep = bytes(ids.stat().st_size), about.read_bytes()[:32] + b"[" * 100_000
    damages = [(ids, b"123"), (ids, zeros), (about, b'{"format":'), (about, deep), (about, zeros)]
    damages += [(ids, bytes([ids.read_bytes()[0] ^ 1]) + ids.read_bytes()[1:])]
    damages += [(about, about.read_bytes().replace(b'"entropy": ', b'"entropy": 1'))]
    for path, content in damages:
        path.unlink()
        path.write_bytes(content)
        assert (tokenize(paths, kind, cache)[:] == vocab.encode(text)).all()
        assert tokenize(paths, kind, cache, progress=never).fingerprint == tokens.fingerprint

    # The same text elsewhere has the same fingerprint, another text has not.
    (tmp_path / "b.txt").write_text(text)
    assert tokenize([tmp_path / "b.txt"], kind, cache).fingerprint == tokens.fingerprint
    (tmp_path / "b.txt").write_text(text.replace("cat", "tac"))
    assert tokenize([tmp_path / "b.txt"], kind, cache).fingerprint != tokens.fingerprint


def test_cache_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("some text")
    tokens = tokenize([tmp_path / "a.txt"], "char", tmp_path / "a.txt" / "cache")  # below a file: no folder can be
    assert tokens.path is None and tokens.vocab.decode(tokens[:]) == "some text" and "in memory" in repr(tokens)
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "own"))
    assert default_cache_dir() == tmp_path / "own"
    assert tokenize([tmp_path / "a.txt"], "char").path.parent == tmp_path / "own"
    monkeypatch.delenv("MICRORNN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "micrornn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "micrornn"


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc (Linux only)")
def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    # 48 MB of text through a limit of 8 MB: what was touched is given back. In a process of its own, as the
    # high-water mark never falls.
    program = """
import re, sys
from pathlib import Path
import micrornn.data.tokens as module
from micrornn.data import Lanes, tokenize

def high_water() -> int:
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

module.RESIDENT_BYTES = 8 << 20
folder = Path(sys.argv[1])
with open(folder / "a.txt", "wb") as file:
    for _ in range(48):
        file.write(bytes(range(32, 127)) * 10526)
before = high_water()
tokens = tokenize([folder / "a.txt"], "char", folder)
lanes = Lanes(tokens, 16, 4096)
total = sum(int(lanes.window(w)[0].sum()) for w in range(lanes.num_windows))
print(high_water() - before, len(tokens), lanes.num_windows)
"""
    ran = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    grown, num_tokens, num_windows = map(int, ran.stdout.split())
    assert num_tokens == 48 * 95 * 10526 and num_windows > 700
    assert grown < 43  # MB: 25 here, 61 without giving back


@given(st.lists(st.integers(0, 1), max_size=30), st.lists(st.integers(0, 1), min_size=1, max_size=8), sizes)
def test_whether_a_row_stands_in_a_text(text: list[int], row: list[int], size: int) -> None:
    found = any(text[at : at + len(row)] == row for at in range(len(text)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("micrornn.data.text.AT_ONCE", size)
        assert contains(np.array(text), np.array(row)) == found
