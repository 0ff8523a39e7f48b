"""CoNLL and CoNLL-U files, and spans as conlleval counts them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from micrornn.data.conll import read_tagged
from micrornn.data.rows import BadRows
from micrornn.data.spans import f1, is_spans, spans
from micrornn.errors import ConfigError, DataError

U = "{}\t{}\tlemma\t{}\tX{}\t_\t0\troot\t_\t_\n"
ATIS = Path(os.environ.get("MICRORNN_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "tagging_atis"


def read(path: Path, text: str, skip: bool = False, **given: Any) -> tuple[list[tuple[str, str]], BadRows]:
    path.write_text(text, "utf-8")
    bad = BadRows(skip)
    found = read_tagged([path], bad, **given)
    assert all(len(s.words) == len(s.labels) == len(s.lines) and s.path == path for s in found)
    rows = path.read_text("utf-8").split("\n")
    assert all(word in rows[n - 1] for s in found for word, n in zip(s.words, s.lines))
    return [(" ".join(s.words), " ".join(s.labels)) for s in found], bad


def u(*rows: tuple[object, str, str]) -> str:
    return "".join(U.format(n, word, tag, tag) for n, word, tag in rows) + "\n"


def test_conllu(tmp_path: Path) -> None:
    text = "# sent_id = 1\n# text = vámonos al mar\n" + u(
        ("1-2", "vámonos", "_"), (1, "vamos", "VERB"), (2, "nos", "PRON"), ("3-4", "al", "_"), (3, "a", "ADP"),
        (4, "el", "DET"), (5, "mar", "NOUN"), ("5.1", "elided", "VERB"),
    ) + "#text = New York\n" + u((1, "New York", "PROPN"), (2, "#", "SYM"))  # fmt: skip
    for name in ("a.conllu", "a.txt"):  # told by its content alone
        found, _ = read(tmp_path / name, text)
        assert found == [("vamos nos a el mar", "VERB PRON ADP DET NOUN"), ("New York #", "PROPN SYM")]
    assert read(tmp_path / "a.conllu", text, tag="xpos")[0][1] == ("New York #", "XPROPN XSYM")
    assert read(tmp_path / "a.conllu", text, word="3", tag="-3")[0][1] == ("lemma lemma", "root root")


def test_conll(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n  \n\n# 2 CD O\n. . O O\n"
    found, _ = read(tmp_path / "a.txt", text.replace("# 2 CD", "# # CD"))
    assert found == [("EU rejects", "B-ORG O"), ("# .", "O O")]
    assert read(tmp_path / "a.txt", text.replace(" ", "\t"), tag="2")[0][0] == ("EU rejects", "NNP VBZ")
    hashes = "#monday\tO\nin\tO\nNew York\tB-LOC\n\n#\tO\n"  # a word may begin with #, or be one, and hold a blank
    assert read(tmp_path / "b.tsv", hashes)[0] == [("#monday in New York", "O O B-LOC"), ("#", "O")]
    comments = "# id 7f3\tdomain=en\nthe\t_\t_\tO\n\n# id 8 x\nThames _\t_\tB-LOC\n".replace("Thames _", "Thames\t_")
    assert read(tmp_path / "c.conll", comments)[0] == [("the", "O"), ("Thames", "B-LOC")]


@pytest.mark.parametrize(
    "name, text, given, words",
    [
        ("a.txt", "a X\nb\n", {}, r"a\.txt:2: 1 column, and line 1 has 2"),
        ("a.txt", "a X\n\nb Y Z\n", {}, r"a\.txt:3: 3 columns, and line 1 has 2"),
        ("a.txt", "a\tX\nb\t\n", {}, r"a\.txt:2: column 2 is empty, wanted a tag"),
        ("a.txt", "only words\nand\n", {"tag": "3"}, r"`tag_column` is '3'; .*a\.txt:1 has 2 columns: .* in 1\.\.2$"),
        ("a.txt", "a\nb\n", {}, r"a\.txt:1: 1 column, wanted a word and its tag"),
        ("a.txt", "\n\n", {}, r"a\.txt holds no sentence"),
        ("a.txt", "", {}, "the text is empty"),
        ("a.conllu", "1 a b X _ _ 0 root _ _\n", {}, r"a\.conllu:1: 1 column, and CoNLL-U has 10, separated by tabs"),
        ("a.conllu", u((1, "a", "X"), ("one", "b", "X")), {}, r"a\.conllu:2: the first column is 'one', wanted"),
        ("a.conllu", "# a\n\n" + u((1, "a", "X")), {}, r"a\.conllu:1: a sentence without a word"),
        ("a.conllu", u((1, "a", "X")), {"word": "shape"}, r"`word_column` is 'shape'; .* one of id, form, lemma"),
        ("a.conllu", u((1, "a", "")), {}, r"a\.conllu:1: column 4 is empty, wanted a tag"),
    ],
)  # fmt: skip
def test_what_is_refused_with_file_and_line(name: str, text: str, given: dict[str, Any], words: str,
                                            tmp_path: Path) -> None:  # fmt: skip
    with pytest.raises((DataError, ConfigError), match=words):
        read(tmp_path / name, text, **given)


def test_a_bad_row_spoils_its_sentence_alone(tmp_path: Path) -> None:
    found, bad = read(tmp_path / "a.txt", "a X\nb Y\n\nc X\nd\ne X\n\nf Y\n", skip=True)
    assert found == [("a b", "X Y"), ("f", "Y")] and bad.count == 1
    assert bad.listed[0].endswith("a.txt:5: 1 column, and line 1 has 2")
    with pytest.raises(DataError, match=r"no sentence is left of .*b\.conllu"):
        read(tmp_path / "b.conllu", "1\tx\n", skip=True)


@pytest.mark.parametrize(
    "tags, wanted",
    [
        ("O B-LOC I-LOC O B-PER", [(1, 3, "LOC"), (4, 5, "PER")]),
        ("I-LOC I-LOC B-LOC I-PER", [(0, 2, "LOC"), (2, 3, "LOC"), (3, 4, "PER")]),  # IOB1
        ("B-LOC O I-LOC", [(0, 1, "LOC"), (2, 3, "LOC")]),
        ("S-PER B-LOC I-LOC E-LOC S-LOC", [(0, 1, "PER"), (1, 4, "LOC"), (4, 5, "LOC")]),  # IOBES
        ("E-LOC E-LOC I-LOC", [(0, 1, "LOC"), (1, 2, "LOC"), (2, 3, "LOC")]),
        ("B-a-b I-a-b", [(0, 2, "a-b")]),
        ("O O", []),
    ],
)
def test_spans(tags: str, wanted: list[tuple[int, int, str]]) -> None:
    assert spans(tags.split()) == wanted


def test_f1_counts_whole_spans() -> None:
    right = [["B-LOC", "I-LOC", "O", "B-PER"], ["O", "B-ORG"]]
    found = [["B-LOC", "O", "O", "B-PER"], ["B-ORG", "B-ORG"]]  # one too short, one right; one too many, one right
    precision, recall, value = f1(right, found)
    assert (precision, recall, value) == pytest.approx((2 / 4, 2 / 3, 4 / 7))
    assert f1(right, right)[2] == 1 and f1([["O"]], [["O"]]) == (0, 0, 0)
    assert is_spans(["O", "B-LOC"]) and not is_spans(["O"]) and not is_spans(["NOUN", "B-LOC"])
    assert not is_spans(["O", "IN"])


@pytest.mark.skipif(not ATIS.is_dir(), reason=f"there is no {ATIS.name} in shared/data")
def test_real_sentences() -> None:
    files = [ATIS / f"en_atis-ud-{part}.conllu" for part in ("dev", "test")]
    found = read_tagged(files, BadRows(False))
    assert len(found) == 572 + 586
    assert found[0].words[:3] == ["i", "would", "like"] and found[0].labels[:3] == ["PRON", "AUX", "VERB"]
    known = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN SYM VERB"
    assert " ".join(sorted({tag for s in found for tag in s.labels})) == known
