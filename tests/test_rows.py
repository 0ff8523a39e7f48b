"""Rows of files, and symbols: what is bad is named with file and line, or counted and listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from micrornn.data.rows import BadRows, lines
from micrornn.data.symbols import Symbols
from micrornn.errors import DataError


def test_lines_have_the_numbers_that_an_editor_shows(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\n\r\ntwo\u2028still two\x0b\rthree\n".encode())
    assert list(lines(path)) == [(1, "one"), (2, ""), (3, "two\u2028still two\x0b"), (4, "three")]
    path.write_bytes("naïve\n".encode() + "café\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"(?s)a\.txt is UTF-8 but for 1 byte that is not: .*line 2"):
        list(lines(path))
    assert [line for _, line in lines(path, "cp1252")] == ["naÃ¯ve", "café"]


def test_bad_rows_are_an_error_or_counted_and_listed() -> None:
    with pytest.raises(DataError, match=r"a\.tsv:3: three fields\n  mend it, or leave .* `skip_bad_rows`"):
        BadRows(False).add("a.tsv", 3, "three fields")
    bad = BadRows(True)
    assert bad.told() == {}
    for line in range(1, 8):
        bad.add(Path("a.tsv"), line, "empty")
    assert bad.count == 7
    assert bad.told()["left out"].startswith("7; a.tsv:1: empty; a.tsv:2: empty;")
    assert bad.told()["left out"].endswith("a.tsv:5: empty; and 2 more")


def test_symbols_keep_the_most_frequent_and_tell_of_the_others() -> None:
    said = [["b", "a", "c"], ["a", "c"], ["d"]]
    assert Symbols.build(said).tokens == ["<unk>", "a", "c", "b", "d"]
    few = Symbols.build(said, max_size=3)
    assert few.tokens == ["<unk>", "a", "c"] and few.encode(["a", "zzz", "d"]).tolist() == [1, 0, 0]
    assert Symbols.build(said, min_count=2, always=["</s>"]).tokens == ["<unk>", "</s>", "a", "c"]
    labels = Symbols.build(said, unknown=False)
    assert labels.unknown is None and "a" in labels and "<unk>" not in labels and len(labels) == 4
    ids = labels.encode(["d", "a"])
    assert ids.dtype == np.int32 and labels.decode(ids) == ["d", "a"]
    with pytest.raises(DataError, match="'x' is unknown; there are a, c, b, d"):
        labels.encode(["a", "x"])
    assert Symbols(list("abcdefghij")).some() == "a, b, c, d, e, f, g, h and 2 more"
    for given, words in (({"min_count": 9}, r"'a', the most frequent, comes 2 times; change min_count \(9\)"),
                         ({"max_size": 1}, "change the limit of 1")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            Symbols.build(said, **given)
    with pytest.raises(DataError, match="damaged list of symbols"):
        Symbols(["a", "a"])
