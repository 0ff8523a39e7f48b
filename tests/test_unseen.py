"""What a vocabulary lacks is counted, told with its place in the file and what may be meant, and left out if asked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from micrornn.config import Config
from micrornn.data import Encoder, Vocab, read_tokens
from micrornn.errors import ConfigError, DataError
from micrornn.evaluate import encode_files
from micrornn.train import Training
from micrornn_cli.main import main

SMALL = {"hidden_size": 9, "embedding_size": 5, "batch_size": 2, "num_steps": 5, "num_updates": 2, "threads": 1}
LINE = "the quick brown fox; the lazy dog\n"


def told(call: Callable[[], object]) -> str:
    with pytest.raises((DataError, ConfigError)) as caught:
        call()
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


@pytest.mark.parametrize("kind", ["char", "word"])
def test_the_place_is_that_in_the_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocab = Vocab.build([LINE], kind)
    text = LINE * 1500 + "the lazy Ünlü dog\n" + LINE * 9 + "Ü"
    path = tmp_path / "a file.txt"
    path.write_text(text)
    monkeypatch.setattr("micrornn.data.reading.CHUNK_BYTES", 1000)
    words = told(lambda: encode_files([path], vocab))
    position = len(LINE) * 1500 + len("the lazy ")
    assert f"line 1,501, column 10, position {position:,}" in words and "a file.txt" in words
    assert {"char": "3 of", "word": "2 of"}[kind] in words
    for n in (1, 3, 1000):  # and it does not matter how it is cut
        encoder = Encoder(vocab, "skip")
        ids = np.concatenate(list(encoder.encode(text[i : i + n] for i in range(0, len(text), n))))
        assert (encoder.found.line, encoder.found.column, encoder.found.position) == (1501, 10, position)
        assert vocab.decode(ids).startswith(LINE * 1500 + "the lazy")
    read = encode_files([path, path], vocab, "skip")
    assert read.unseen == 2 * encoder.found.count and read.total == 2 * encoder.found.total and read.skipped
    assert "left out" in read.words() and len(read.ids) == 2 * len(ids)
    assert "`vocab_size`" in told(lambda: encode_files([path], vocab, "unknown"))
    assert "one of error, skip, unknown" in told(lambda: encode_files([path], vocab, "nix"))


def test_unknown_is_read_where_the_vocabulary_has_it() -> None:
    vocab = Vocab.build(["a a a b b c , , , ,\n\n\n"], "word", max_size=6)
    encoder = Encoder(vocab)
    ids = np.concatenate(list(encoder.encode(["b , nix <unk> a\n"])))
    assert vocab.decode(ids).count("<unk>") == 3 and encoder.found.count == 2, "one stands in the text itself"
    assert vocab.decode(vocab.encode("b , nix a\n", "skip")) == " , a\n"
    assert "2 of 5 are not in its vocabulary" in told(lambda: vocab.encode("b, nix a\n", "error"))


@pytest.mark.parametrize(
    "kind, known, text, hint",
    [
        ("char", "cafe\u0301 o\n", "caf\u00e9", r"has it as 'e' (U+0065) + '́' (U+0301): normalise this text to NFD"),
        ("char", "caf\u00e9 eo\n", "cafe\u0301", "composed with it: normalise this text to NFC"),
        ("char", 'say "no"\n', "say “no”", "the vocabulary has '\"' (U+0022), which may be meant"),
        ("char", "don’t\n", "don't", "the vocabulary has '’' (U+2019)"),
        ("char", "a - b\n", "a — b", "the vocabulary has '-' (U+002D)"),
        ("char", "a b ...\n", "a\u00a0b", "the vocabulary has ' ' (U+0020)"),
        ("char", "a b ...\n", "a b…", "the vocabulary has '...'"),
        ("char", "abc\n", "aBc", "the vocabulary has 'b' (U+0062)"),
        ("word", "we don't know\n", "we don’t know", 'the vocabulary has "don\'t"'),
        ("word", "na\u0308her now\n", "n\u00e4her", "normalise this text to NFD"),
        ("word", "the end\n", "The end", "the vocabulary has 'the'"),
        ("char", "abc\n", "abж", "\n  `unseen=skip`"),
    ],
)
def test_what_may_be_meant(kind: str, known: str, text: str, hint: str) -> None:
    words = told(lambda: Vocab.build([known], kind).encode(text, where="--prompt"))
    assert hint in words and words.startswith("--prompt: ")
    form = re.search(r"normalise this text to (NF[CD])", words)
    if form:  # the advice works
        Vocab.build([known], kind).encode(unicodedata.normalize(form[1], text))  # type: ignore[arg-type]


def run(folder: Path, text: str, **settings: object) -> Path:
    """A run folder with a model of that text."""
    from micrornn.checkpoint import RunFolder
    from micrornn.train import run as train

    (folder / "learned.txt").write_text(text)
    config = Config(**SMALL | settings)  # type: ignore[arg-type]
    training = Training(config, read_tokens([folder / "learned.txt"], config))
    out = RunFolder.create(folder / "run", config.to_dict() | {"files": [str(folder / "learned.txt")]})
    for _ in train(training, out):
        pass
    out.close()
    return folder / "run"


def cli(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0), *capsys.readouterr()


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path, LINE * 40, val_fraction=0.1)
    other = tmp_path / "other.txt"
    other.write_text(LINE * 20 + "Übel\n", "latin-1")
    code, _, err = cli(capsys, "eval", folder, other)
    assert code == 3 and "--encoding latin-1" in err
    code, _, err = cli(capsys, "eval", folder, other, "--encoding", "latin-1")
    assert code == 3 and "character 'Ü' (U+00DC) at line 21, column 1" in err and "--unseen skip" in err
    code, out, _ = cli(capsys, "eval", folder, other, "--encoding", "latin-1", "--unseen", "skip", "--json")
    assert code == 0 and {"unseen": 1, "of": len(LINE) * 20 + 5, "skipped": True}.items() <= json.loads(out).items()
    code, out, _ = cli(capsys, "eval", folder, other, "--encoding", "latin-1", "--unseen", "skip")
    assert code == 0 and "1 of 685 unseen in training (0.15 %), left out" in out
    code, out, _ = cli(
        capsys, "inspect", "states", folder, "--text", other, "--encoding", "latin-1", "--unseen", "skip"
    )
    assert code == 0 and "1 of 685 unseen" in " ".join(out.split())
    code, out, err = cli(capsys, "sample", folder, "--prompt", "the ÜX", "--length", "5")
    assert code == 3 and "--prompt: character 'Ü' (U+00DC) at line 1, column 5" in err and not out
    code, out, err = cli(capsys, "sample", folder, "--prompt", "the ÜX", "--length", "5", "--unseen", "skip")
    assert code == 0 and "2 of 6 characters unseen in training, left out" in err and out.startswith("the ÜX")


def test_a_text_to_validate_on(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                               monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """From a file of its own, in the words of FILES; the whole of these is learned from."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("the cat 's <unk>\n" * 20)
    Path("b.txt").write_text("a dog the cat\n" * 6)
    sizes = [word for name, n in SMALL.items() for word in (f"--{name.replace('_', '-')}", n)]
    command = ["train", "a.txt", "--level", "spaced", "--validation", "b.txt", *sizes, "--out", "run"]
    code, _, err = cli(capsys, *command)
    assert code == 0 and "12 of 30 unseen in training (40 %), read as unknown): 30 words" in " ".join(err.split()), err
    Path("part.txt").write_text("cat 's <unk>\nthe cat")
    beside = [*command[:5], "part.txt", *command[6:-1], "part"]
    assert "it stands in the text: its loss says nothing of new text" in " ".join(cli(capsys, *beside)[2].split())
    assert cli(capsys, *beside, "--val-fraction", 0.2)[2].startswith("Error: --val-fraction and --validation both")
    monkeypatch.chdir("/")
    code, out, _ = cli(capsys, "eval", tmp_path / "run", "--last", "--json")
    same = cli(capsys, "eval", tmp_path / "run", tmp_path / "b.txt", "--last", "--json")[1]
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    found = json.loads(out)
    assert code == 0 and found["loss"] == json.loads(same)["loss"] == last["val_loss"] and found["tokens"] == 30
    assert json.loads(cli(capsys, "inspect", "flow", tmp_path / "run", "--json")[1])
    Path(tmp_path, "b.txt").rename(tmp_path / "c.txt")
    moved = cli(capsys, "train", "--resume", tmp_path / "run", "--num-updates", 3, "--validation", tmp_path / "c.txt")
    assert moved[0] == 0, moved[2]
    Path(tmp_path, "c.txt").write_text("the dog\n" * 9)
    code, _, err = cli(capsys, "train", "--resume", tmp_path / "run", "--num-updates", 4)
    assert code == 4 and "the text of this run has changed since" in err

    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("the cat sat\n" * 20)
    Path("b.txt").write_text("the dog\n" * 9)
    Path("empty.txt").touch()
    Path("photo.jpg").write_bytes(bytes(range(256)) * 3)
    for path, words in [
        ("none.txt", "no such file or folder"), ("empty.txt", "the text is empty"), ("photo.jpg", "photo.jpg"),
        ("b.txt", "b.txt: word 'dog' at line 1, column 5, position 4, is unknown to the model: 9 of 27"),
    ]:  # fmt: skip
        command[5] = path
        code, out, err = cli(capsys, *command[:-1], "other")
        assert code == 3 and not out and len(err.splitlines()) <= 2 and not Path("other").exists(), err
        assert err.startswith("Error: --validation: ") and words in err
    assert "with --vocab-size the rarest" in err


def test_a_word_prompt_that_ends_in_a_space_has_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path, "the quick brown fox jumps over the lazy dog\n" * 40, level="word", num_updates=60, lr=0.05)
    for prompt in ("the quick", "the quick ", "over the "):
        code, out, _ = cli(capsys, "sample", folder, "--prompt", prompt, "--length", "2", "--temperature", "0")
        assert code == 0 and re.fullmatch(prompt.rstrip() + r" \w+ \w+\n?", out), out


@pytest.mark.parametrize("level", ["byte", "word", "char"])
def test_any_file_is_learned_as_bytes(level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(bytes(range(256)) * 12 + "日本\n".encode() * 30)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    out = tmp_path / "run"
    code, _, err = cli(capsys, "train", path, "--level", level, *flags, "--out", out)
    if level != "byte":
        assert code == 3 and "--level byte reads any file" in err
        return
    assert code == 0 and "256 different bytes" in err
    code, text, _ = cli(capsys, "eval", out, path, "--json")
    assert code == 0 and json.loads(text)["bits_per_byte"] > 0 and json.loads(text)["tokens"] == path.stat().st_size
    command = [sys.executable, "-m", "micrornn_cli", "sample", str(out), "--length", "300", "--prompt", "日"]
    written = subprocess.run(command, capture_output=True, check=True).stdout
    assert 300 <= len(written) <= 303 and written.startswith("日".encode())  # as they are; the last may be half of one
    assert not written.isascii() and "\ufffd".encode() not in written and len(set(written)) > 99
