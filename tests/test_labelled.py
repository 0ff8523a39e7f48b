"""Texts with a label each: files, folders and tables, and what is wrong with them told by file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from micrornn.data.labelled import read_labelled
from micrornn.data.rows import BadRows
from micrornn.errors import ConfigError, DataError


def read(folder: Path, files: dict[str, str], bad: BadRows | None = None, **given: Any) -> list[tuple[str, str, str]]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode(given.get("encoding", "utf-8")))
    found, _ = read_labelled([folder / name for name in files], bad or BadRows(False), **given)
    return [(one.text, one.label, f"{one.path.relative_to(folder)}:{one.line}") for one in found]


def test_a_file_for_each_class(tmp_path: Path) -> None:
    found = read(tmp_path, {"good.txt": "nice\r\nvery nice\r\n", "bad.txt": "dull"})
    assert found == [("nice", "good", "good.txt:1"), ("very nice", "good", "good.txt:2"), ("dull", "bad", "bad.txt:1")]
    same = {"rt-polarity.pos": "fähig\n", "rt-polarity.neg": "öde\n"}
    assert [label for _, label, _ in read(tmp_path, same, encoding="cp1252")] == ["pos", "neg"]
    assert [label for _, label, _ in read(tmp_path, {"a/x.en": "one\n", "b/x.en": "two\n"})] == ["a", "b"]


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    files = {
        "r/pos/1.txt": "good\n\nindeed\n", "r/pos/2.txt": "fine\n", "r/neg/1.txt": "bad\n", "r/mixed/9.txt": "both\n",
        "r/urls.txt": "x\n",
    }  # fmt: skip
    found = read(tmp_path, files)
    assert [(text.strip()[-6:], label) for text, label, _ in found] == [
        ("indeed", "pos"), ("fine", "pos"), ("bad", "neg"), ("both", "mixed"),
    ]  # fmt: skip
    how = read_labelled([tmp_path / name for name in files], BadRows(False))[1]
    assert how == "a file is a text, its label the name of its folder; left out, beside the folders: 1"
    lines = read(tmp_path, {"l/pos/1.txt": "a\nb\n", "l/pos/2.txt": "c\n", "l/neg/1.txt": "d\n"}, each="line")
    assert [(text, label) for text, label, _ in lines] == [("a", "pos"), ("b", "pos"), ("c", "pos"), ("d", "neg")]


@pytest.mark.parametrize(
    "name, text, given, wanted",
    [
        ("a.csv", 'id,Text,Label\n7,"good, ""very"" good",1\n8,bad,0\n', {}, 'good, "very" good=1 bad=0'),
        ("a.csv", "sentiment;review\npos;good, yes\nneg;bad\n", {}, "good, yes=pos bad=neg"),
        ("a.tsv", 'sentence\tlabel\nthe " sign\t1\n"a ""b"" c"\t0\n"so" they "say"\t1\n', {},
         'the " sign=1 a "b" c=0 "so" they "say"=1'),
        ("a.txt", "1\tgood\n0\tbad\n1\tfine\n", {"text": "2", "label": "1"}, "good=1 bad=0 fine=1"),  # no header
        ("a.txt", "stars\twords\n5\tgood\n1\tbad\n", {"text": "2", "label": "1"}, "good=5 bad=1"),  # one all the same
        ("a.tsv", "x\ty\ngood\tp\nbad\tn\n", {"text": "x", "label": "y"}, "good=p bad=n"),
        ("a.csv", 'text,label\n"two\nlines",p\nbad,n\n', {}, "two\nlines=p bad=n"),
    ],
)  # fmt: skip
def test_tables(name: str, text: str, given: dict[str, str], wanted: str, tmp_path: Path) -> None:
    found = read(tmp_path, {name: text}, **given)
    assert " ".join(f"{said}={label}" for said, label, _ in found) == wanted
    rows = (tmp_path / name).read_text().split("\n")
    for said, _, place in found:
        assert said.split()[0].strip('"') in rows[int(place.rpartition(":")[2]) - 1]


@pytest.mark.parametrize(
    "files, given, words",
    [
        ({"all.txt": "a\nb\n"}, {}, r"all\.txt: one file alone is one class; give a file for each class"),
        ({"a.txt": "x\n\ny\n", "b.txt": "z\n"}, {}, r"a\.txt:2: a text without a word"),
        ({"p/1.txt": "x\n", "p/2.txt": "", "n/1.txt": "z\n"}, {}, r"p/2\.txt:1: a text without a word"),
        ({"a.csv": "text,label\nx,1\ny\n"}, {}, r"a\.csv:3: 1 field, and line 1 has 2"),
        ({"a.csv": "text,label\nx,1\n ,0\n"}, {}, r"a\.csv:3: column 1 is empty, wanted a text"),
        ({"a.csv": "text,label\nx,\n"}, {}, r"a\.csv:2: column 2 is empty, wanted a label"),
        ({"a.csv": "what,which\nx,1\n"}, {}, r"a\.csv: which column holds the text is not clear; its first row has "
         r"1 'what', 2 'which'\n  choose one by name or number with `text_column`"),
        ({"a.csv": "text,label\nx,1\n"}, {"label": "sort"}, r"'sort' is no column; its first row has 1 'text'"),
        ({"a.csv": "text,label\nx,1\n"}, {"label": "3"}, r"'3' is no column"),
        ({"a.csv": "text,label\nx,1\n"}, {"label": "text"}, r"text and label are both column 1"),
        ({"a.csv": 'text,label\n"x,1\ny,0\n'}, {}, r"a\.csv:2: a quote is opened and not closed"),
        ({"a.csv": "text,label\n"}, {}, r"a\.csv: no row is left below its header"),
        ({"a.txt": "x\n", "b.txt": "y\n"}, {"text": "1"}, r"columns for text and label are for a table"),
    ],
)  # fmt: skip
def test_what_is_refused(files: dict[str, str], given: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises((DataError, ConfigError), match=words):
        read(tmp_path, files, **given)


def test_bad_rows_are_left_out_and_mixed_encodings_told(tmp_path: Path) -> None:
    bad = BadRows(True)
    files = {"a.tsv": "text\tlabel\ngood\tp\nbad\n\tn\ndull\tn\n"}
    assert [text for text, *_ in read(tmp_path, files, bad)] == ["good", "dull"] and bad.count == 2
    (tmp_path / "p.txt").write_bytes("é\n".encode() * 40 + b"\xe9\n")
    (tmp_path / "n.txt").write_text("bad\n")
    with pytest.raises(DataError, match=r"p\.txt is UTF-8 but for 1 byte that is not: .*line 41"):
        read_labelled([tmp_path / "p.txt", tmp_path / "n.txt"], BadRows(False))
