"""Text on screens: letters of every script show and line up, and nothing in it steers a terminal or turns a page."""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from test_layering import CLI, FILES, ROOT

from micrornn.data import Lanes, Vocab
from micrornn.errors import counted
from micrornn.inspect.panels import Coloured, Heat
from micrornn.printable import cells, cut, pad, printable, shell_word, tail, visible
from micrornn.report.lanes import drawing, piece
from micrornn_cli.console import out
from micrornn_cli.drawing import draw
from micrornn_cli.main import main
from micrornn_cli.panels import draw as draw_panel

# Controls of both kinds, overrides and marks of direction, what has no shape, marks, wide letters, letters.
anything = st.text(
    st.sampled_from("\x00\x07\x1b\x7f\x9b\x90\u202e\u2066\u200f\u061c\u2028\ufeff\ue000\udcff\n\r\t")
    | st.sampled_from("ab שж日한é\u0301\u093f\u200d🙂ｱ")
    | st.characters()
)
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ue000-\uf8ff]"
)


@given(anything)
@settings(max_examples=300, deadline=None)
def test_nothing_steers_and_letters_stay(text: str) -> None:
    shown, picture = printable(text), visible(text)
    assert not OBEYED.search(shown) and not OBEYED.search(picture) and not re.search("[\n\t]", picture)
    assert printable(shown) == shown and visible(picture) == picture
    shown.encode(), picture.encode()
    assert [c for c in text if unicodedata.category(c)[0] in "LMN" and not 0xFE00 <= ord(c) < 0xFE10] == [
        c for c in picture if unicodedata.category(c)[0] in "LMN"
    ]


@given(anything, anything, st.integers(0, 12))
@settings(max_examples=300, deadline=None)
def test_cells_add_up(a: str, b: str, width: int) -> None:
    assert cells(a + b) == cells(a) + cells(b)
    assert cells(pad(a, width)) == width and a.startswith(cut(a, width)) and a.endswith(tail(a, width))
    assert cells(tail(a, width)) <= width and cells(cut(a, width)) <= width
    assert cells(a) > width or (cut(a, width) == a and pad(a, width).startswith(a))


def test_signs() -> None:
    assert printable("a\x1b[2J\x9b\x7f\r\n\t\ue123\udcff") == "a␛[2J\ufffd␡␍\n\t\ufffd\ufffd"
    assert visible("a\n\tb\u202ec") == "a⏎→b·c" and printable("می\u200cخواهم \u202e") == "می\u200cخواهم ·"
    assert [cells(c) for c in ("a", "ё", "語", "ｱ", "가", "\u1100\u1161\u11a8", "e\u0301", "नी", "\u200d")] == [
        1, 1, 2, 1, 2, 2, 1, 1, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["plain.txt", "two words", "it's", "a\x1b[2J", b"caf\xe9 'x'\\", "é\u202e", "a\nb"])
def test_a_quoted_name_is_that_name_in_a_shell(name: str | bytes) -> None:
    words = shell_word(os.fsdecode(name))
    assert printable(words) == words and "\n" not in words
    ran = subprocess.run(["bash", "-c", f"printf %s {words}"], capture_output=True, check=True)
    assert ran.stdout == os.fsencode(name)


SCRIPTS = {
    "russian": "Шла Саша по шоссе и сосала сушку.\n",
    "japanese": "雨ニモマケズ 風ニモマケズ。\n",
    "hindi": "सत्यमेव जयते नानृतम्\n",
    "decomposed": unicodedata.normalize("NFD", "Žluťoučký kůň úpěl ďábelské ódy.\n"),
    "hebrew": "בראשית ברא אלהים\u202e\n",
    "korean in parts": unicodedata.normalize("NFD", "나랏말싸미 듕귁에 달아\n"),
    "controls": "\x1b[31mred\x9b0m \x07\u2067\n",
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("width", [60, 80, 133])
def test_lanes_line_up_in_every_script(name: str, width: int) -> None:
    text = SCRIPTS[name] * 20
    vocab = Vocab.build([text], "char")
    lanes = Lanes(vocab.encode(text), 3, 17)
    lines = draw(lanes, vocab, width).plain.splitlines()
    bars = {tuple(cells(line[:n]) for n, c in enumerate(line) if c in "│┌┬┐") for line in lines[1:-2]}
    assert len(bars) == 1 and not OBEYED.search("".join(lines))
    assert visible(text[:4]) in lines[2]
    svg = drawing(lanes, vocab, 9)
    assert not OBEYED.search(svg) and visible(text[:3]) in svg
    assert all(cells(piece(lanes, vocab, b, w, 9)) <= 9 for b in range(3) for w in range(lanes.num_windows))


def test_bars_stand_below_their_letters() -> None:
    tokens = list("ab日本e\u0301ж\n\u0301c語")
    values = np.where([t in "日c" for t in tokens], 1.0, -1.0)
    lines = [str(line) for line in draw_panel(Coloured("t", tokens, values, "h"), 40, False).plain.splitlines()]
    for letters, bars in zip(lines[2:-1:2], lines[3:-1:2]):
        assert cells(letters) == len(bars)
        for n, letter in enumerate(letters):
            assert (bars[cells(letters[:n])] == "█") == (letter in "日c") if cells(letter) else True
    heat = Heat("h", "token", "unit", "h", tokens, [0], values[None], centred=True)
    picture = draw_panel(heat, 40, False).plain.splitlines()
    row, axis = next(a for a in picture if "┤" in a), next(a for a in picture if "日" in a)
    assert row[cells(axis[: axis.index("日")])] == "#" and row[cells(axis[: axis.index("ж")])] == "="


def test_whatever_is_printed_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    out.print("a \x1b[2Jname", style="bold")
    assert capsys.readouterr().out == "a ␛[2Jname\n"
    assert isinstance(out, Console)


EVIL = "x\x1b]0;t\x07\x9b2J\u202e"


@pytest.mark.parametrize(
    "words",
    [
        ["sample", EVIL], ["eval", EVIL], ["inspect", "flow", EVIL], ["train", EVIL], ["train", "--resume", EVIL],
        ["train", "--config", EVIL], ["train", "a.txt", "--out", EVIL], ["train", "a.txt", "--cell", EVIL],
        ["advise", EVIL], ["gradcheck", EVIL], [EVIL], ["inspect", EVIL], ["train", "folder"],
        ["sample", "a.ckpt", "--length", EVIL], ["inspect", "flow", "a", "--save", EVIL], ["train", f"--{EVIL}"],
    ],
    ids=lambda words: " ".join(word for word in words if word != EVIL) + " EVIL",
)  # fmt: skip
def test_no_name_steers_the_terminal(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("some text " * 9)
    Path("folder").mkdir()
    Path("folder", EVIL).write_bytes(b"\xff\xfe\xfd")
    if "--out" in words:
        Path(EVIL).mkdir()
        Path(EVIL, "config.toml").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr().err
    assert ended.value.code and told.startswith(("Error", "Usage")) and not OBEYED.search(told), repr(told)


NOUNS = (
    "rows|words|tokens|(?:time )?steps|updates|lanes|sequences|forecasts|parameters|columns|cells|lines|bytes|arrays|"
    "settings|seeds|runs|values|windows|epochs|validations|records|fields|batches|minutes|states|units|symbols|axes|"
    "cotangents|outputs|layers|cores|gradients|files|rungs|inputs|kernels"
)
PLURAL = {  # what is never 1 where it is told, or is no count
    "len(set(names))", "len(names)", "seeds", "lanes.num_lines", "words", "len(column)", "2 * found.lag", "len(paths)",
    "steps", "lanes", "states", "quoted(plan.brackets)", "len(measure[f'loss_{batch}']) - 1", "count", "vocab_size",
    "size", "counts['bytes kept']", "counts[f'bytes {way}']", "out.ndim", "lanes_of(found)", "len(confusion.labels)",
}  # fmt: skip


def test_a_count_and_its_noun_agree() -> None:
    """A whole number that may be 1 stands before its noun by `errors.counted`."""
    found = []
    for path in FILES + CLI:
        strings = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.JoinedStr))
        for number, text in (pair for string in strings for pair in itertools.pairwise(string.values)):
            noun = re.match(rf" ({NOUNS})\b", str(getattr(text, "value", "")))
            if noun and isinstance(number, ast.FormattedValue):
                count = ast.unparse(number.value)
                rounded = number.format_spec is not None and "." in ast.unparse(number.format_spec)
                words = isinstance(number.value, ast.IfExp) or count.startswith(("number(", "', '.join("))
                if not (rounded or words or count.isupper() or count in PLURAL):
                    found.append(f"{path.relative_to(ROOT)}:{number.lineno}: {{{count}}} {noun[1]}")
    assert not found, found


def test_counted() -> None:
    assert [counted(n, "row") for n in (0, 1, 2, 1234)] == ["0 rows", "1 row", "2 rows", "1,234 rows"]
    assert [counted(n, "row is", "rows are") for n in (1, 2)] == ["1 row is", "2 rows are"]
    assert [counted(n, "minute") for n in (1.0, 0.5)] == ["1 minute", "0.5 minutes"]
