"""Pairs of a source and its target: read from files, held out, answered and judged."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from pathlib import Path
from typing import Any

import pytest

from micrornn import tasks
from micrornn.errors import DataError, MicrornnError
from micrornn.tasks.dates import FORMS
from micrornn.tasks.pairing import END_NAME
from micrornn.tasks.pairs import Pairs, PairsSettings
from micrornn_cli.exits import Exit
from micrornn_cli.main import main

SOUNDS = "cat\tK AE T\ncats\tK AE T S\nread\tR IY D\nread\tR EH D\ntea\tT IY\ntea\tT IY\neat\tIY T\nsea\tS IY\n"


def pairs(folder: Path, text: str | bytes = SOUNDS, **settings: Any) -> Pairs:
    path = folder / "pairs.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    usual = {"target_level": "word", "val_fraction": 0.3, "batch_size": 4, "hidden_size": 8}
    return Pairs.prepare(PairsSettings(**(usual | settings)), [path])


def test_what_the_batches_hold(tmp_path: Path) -> None:
    made = pairs(tmp_path)
    told = dict(made.batches.part) | dict(made.held_out)
    assert len(made.held_out) == 2 and len(told) == 6 and made.num_pairs == 7
    assert told["read"] == ["R IY D", "R EH D"] and told["tea"] == ["T IY"]  # all of a source on one side, each once
    seen = set()
    for _ in range(made.batches.num_windows):
        inputs, targets, _ = made.batches.next()
        for lane in range(targets.values.shape[1]):
            there = targets.mask[:, lane]
            source = made.codec.source.decode(inputs.source.values[inputs.source.mask[:, lane], lane])
            target = made.codec.target.decode(targets.values[there, lane])
            before = made.codec.target.decode(inputs.before.values[there, lane])
            assert target[-1] == END_NAME and before == [END_NAME, *target[:-1]]
            seen.add(("".join(source), " ".join(target[:-1])))
    assert seen == {(source, target) for source, targets in made.batches.part for target in targets}
    drawing = made.drawing()
    assert "last state (1, 4, 8)" in drawing and "lanes of a batch, . is padding\n" in drawing
    assert all(
        words in drawing for words in ("source (", "before (", "dot attention", "linear", "target  T IY <the end> .\n")
    )


def test_a_limit_leaves_symbols_unknown(tmp_path: Path) -> None:
    made = pairs(tmp_path, vocab_size=4, val_fraction=0.0)
    assert len(made.codec.source) == len(made.codec.target) == 4 and made.validation() is None
    assert made.codec.source.tokens[1:] == ["a", "e", "t"] and made.codec.ids("tax").tolist() == [3, 1, 0]
    with pytest.raises(MicrornnError, match="nothing is held out"):
        made.evaluate(made.network())


def test_what_answers_are_worth(tmp_path: Path) -> None:
    part = [("read", ["R IY D", "R EH D"]), ("tea", ["T IY"]), ("eat", ["IY T"])]
    found = pairs(tmp_path)._judged(["R EH D", "T", "K AE"], part)
    assert found == pytest.approx({"accuracy": 1 / 3, "token_error_rate": 3 / 7, "word_error_rate": 2 / 3})
    letters = pairs(tmp_path, target_level="char")
    found = letters._judged(["ein haus", "das"], [("a house", ["ein Haus"]), ("that", ["das Auto"])])
    assert found == pytest.approx({"accuracy": 0, "token_error_rate": 6 / 16, "word_error_rate": 2 / 4})


def test_baselines_need_no_network(tmp_path: Path) -> None:
    copied = pairs(tmp_path, "".join(f"{n}\t{n}\n" for n in range(20)), target_level="char")
    assert copied.baselines["accuracy"] == ("by copying the source", 1.0)
    assert copied.baselines["token_error_rate"][1] == 0
    usual = pairs(tmp_path, "".join(f"{n}\tyes\n" for n in range(20)))
    assert usual.baselines["accuracy"] == ("by always saying the most frequent target", 1.0)
    words, loss = usual.baselines["loss"]  # 14 of 14 targets end and say yes, and one more of each symbol is counted
    assert words == "by the frequency of tokens alone" and loss == pytest.approx(-math.log(15 / 31))


@pytest.mark.parametrize(
    "text, settings, words",
    [
        ("a\tb\nc\td\te\n", {}, "pairs.tsv:2: 3 fields, wanted 2: SOURCE <tab> TARGET"),
        ("a\tb\n\nno tab here\n", {}, "pairs.tsv:3: 1 field, wanted 2"),
        ("a\tb\nc\t\n", {}, "pairs.tsv:2: the target is empty"),
        (" \tb\n", {}, "pairs.tsv:1: the source is empty"),
        ("a\tb\nlong\tc\n", {"max_len": 3}, "pairs.tsv:2: the source has 4 tokens, more than `max_len=3`"),
        ("a\ta b c\n", {"max_len": 2}, "pairs.tsv:1: the target has 3 tokens, more than `max_len=2`"),
        ("schön\tS OE N\n".encode() * 9 + "Öl\tOE L\n".encode("latin-1"), {}, "line 10"),
        ("\n \n", {}, "pairs.tsv: no line of it is a pair, SOURCE <tab> TARGET"),
        ("", {}, "the text is empty"),
        ("a\tb\n", {}, "1 sequence, and nothing can be held out of it"),
        ("a\tb\nc\td\n", {"num_steps": 9}, "`num_steps` is no setting of the task pairs"),
        ("a\tb\nc\td\n", {"hidden_size": 7, "bidirectional": True}, "`hidden_size=7` is odd"),
        ("a\tb\nc\td\n", {"teacher_forcing": "often"}, "`teacher_forcing` is 'often'; it must be a probability"),
        ("a\tb\nc\td\n", {"attention": "all"}, "`attention`: there is no 'all'; choose one of none, dot, additive"),
    ],
)
def test_bad_input_is_told_in_a_line_or_two(text: str | bytes, settings: dict[str, Any], words: str,
                                            tmp_path: Path) -> None:  # fmt: skip
    with pytest.raises(MicrornnError) as error:
        pairs(tmp_path, text, **settings).network()
    told = str(error.value)
    assert words in told and len(told.splitlines()) <= 2


def test_bad_rows_are_left_out_counted_and_listed(tmp_path: Path) -> None:
    made = pairs(tmp_path, SOUNDS + "one\n" * 7 + "\n\tT\n", skip_bad_rows=True)
    told = made.told(made.network())["left out"]
    assert told.startswith("8; ") and "pairs.tsv:9: 1 field, wanted 2" in told and told.endswith("and 3 more")
    assert made.num_pairs == 7
    with pytest.raises(DataError, match=r"learns from files; name one with lines SOURCE <tab> TARGET"):
        Pairs.prepare(PairsSettings())


def test_a_task_without_its_data_answers(tmp_path: Path) -> None:
    made = pairs(tmp_path, beam=2)
    model = made.network()
    later = Pairs.from_meta(made.config, json.loads(json.dumps(made.meta())))
    sources = [later.parse(line) for line in ("cat\n", "tax\n", "e")]
    answers = list(later.predict(model, sources, proba=True))
    for source, found, best in zip(sources, answers, made.answers(model, sources)):
        assert found["answer"] == made.codec.text(best[0]) and found["probability"] == math.exp(best[0].log_p)
        assert ("unknown" in found) == ("x" in source)
    assert answers[1]["unknown"] == ["x"] and len(answers[0]["others"]) == 1
    for line, words in (("cat\tK AE T", "there is a tab in it"), ("\n", "the source is empty")):
        with pytest.raises(DataError, match=words):
            later.parse(line)
    for damage in ({"target_tokens": ["a"]}, {"source_tokens": ["a", "a"]}, {"source_tokens": ["a"]}):
        with pytest.raises(DataError, match="damaged list of symbols"):
            Pairs.check_meta(made.meta() | damage)
    later.config = dataclasses.replace(later.config, skip_bad_rows=True)
    (tmp_path / "new.tsv").write_text("tax\tT AE K S\noak\tOW K\nno tab\n")
    found = later.judge(model, [tmp_path / "new.tsv"])
    assert set(found.scores) == {metric.name for metric in Pairs.metrics} == found.baselines.keys()
    assert found.baselines["accuracy"] == ("by always saying the most frequent target", 0.0)
    before = {name: value for name, value in made.meta().items() if name not in ("usual", "counts")}
    assert not Pairs.from_meta(later.config, before).judge(model, [tmp_path / "new.tsv"]).baselines  # as runs once were
    unseen = "3 of 6 tokens of sources and 1 of 6 tokens of targets unseen in training, read as <unk>"
    assert found.rows["unseen"] == found.values["unseen"] == unseen
    assert found.rows["left out"].startswith("1; ") and "new.tsv:3: 1 field" in found.rows["left out"]


def test_made_up_pairs_are_what_they_say() -> None:
    for name in ("reversal", "dates"):
        kind = tasks.find(name)
        made, again = (kind.prepare(kind.Settings(examples=300, seed=seed)) for seed in (1, 1))
        assert made.fingerprint == again.fingerprint != kind.prepare(kind.Settings(examples=300)).fingerprint
        part = [*made.batches.part, *made.held_out]
        assert made.num_pairs == 300
        for source, targets in part:
            assert len(targets) == 1, "two answers to one question"
            if name == "reversal":
                assert targets[0] == source[::-1] and 1 <= len(source) <= 8
            else:
                date = datetime.date.fromisoformat(targets[0])
                assert 1969 <= date.year <= 2068 and str(date.day) in source and str(date.year % 100) in source
    assert len(FORMS) == 10


def test_dates_are_learned(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is the reversal, by docs/topologies/encoder-decoder.md."""
    monkeypatch.chdir(tmp_path)
    sizes = ["--set", "examples=3000", "--num-updates", "240", "--hidden-size", "64", "--lr", "0.01"]
    assert code_of(["train", "dates", *sizes, "--out", "run"]) == Exit.OK
    capsys.readouterr()
    assert code_of(["eval", "run", "--json"]) == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] > 0.9 and found["token_error_rate"] < 0.05, found
    Path("new.txt").write_text("Monday, 3 May 1993")
    assert code_of(["predict", "run", "new.txt", "--beam", "3", "--proba", "--json"]) == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert found["answer"] == "1993-05-03" and 0.2 < found["probability"] <= 1 and len(found["others"]) == 2


def code_of(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)
