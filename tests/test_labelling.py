"""Tags and sentiment: padding changes nothing, labels are known by file and line, and what cannot be is refused."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Micrornn

from micrornn.data.rows import BadRows, Example
from micrornn.data.sequences import Padded
from micrornn.errors import DataError
from micrornn.tape import Tape
from micrornn.tasks.sentiment import Sentiment, SentimentSettings, tokens
from micrornn.tasks.tags import Tags, TagSettings
from micrornn_cli.exits import Exit

SIZES: dict[str, Any] = {"hidden_size": 5, "embedding_size": 4, "batch_size": 4, "dtype": "float64", "dropout": 0.0}
TAGGED = "the DET\ncat NOUN\nsat VERB\n\na DET\ndog NOUN\n\nthe DET\ndog NOUN\nran VERB\noff ADV\n\n" * 4


def sentiment(**given: Any) -> Sentiment:
    return Sentiment.prepare(SentimentSettings(**SIZES | given))


# --- padding


@pytest.mark.parametrize("read", ["every", "last", "mean", "max"])
def test_padding_changes_nothing_and_has_no_gradient(read: str) -> None:
    """Of both tasks with all read-outs: on either side, however long, whatever stands there."""
    smooth = {"label_smoothing": 0.1, "class_weights": "balanced"}
    made: Any = Tags.prepare(TagSettings(**SIZES, **smooth)) if read == "every" else sentiment(read=read)
    left = type(made)(dataclasses.replace(made.config, pad="left"), *EXAMPLES[type(made)])
    right = type(made)(made.config, *EXAMPLES[type(made)])
    model = right.network()
    gradients = []
    for task, wider in ((right, 0), (left, 0), (right, 3), (left, 3)):
        inputs, targets = task.batches.make(np.arange(3))
        assert not inputs.mask.all()
        if wider:
            ends = ((0, wider), (0, 0)) if task is right else ((wider, 0), (0, 0))
            values = np.pad(inputs.values, ends, constant_values=2)
            inputs = Padded(values, np.pad(inputs.mask, ends))
            targets = np.pad(targets, ends) if targets.ndim == 2 else targets
        with Tape() as tape:
            x = model.features(inputs.values, inputs.mask)
            loss, _ = model.loss(Padded(x, inputs.mask), targets)
        dx = tape.cotangents([x], [loss])[0]
        assert not dx[~inputs.mask].any() and dx[inputs.mask].any()
        flat = tape.cotangents(list(model.flat.parameters.values()), [loss])
        gradients.append([loss.item(), *(g for g in flat if g is not None)])
    for other in gradients[1:]:
        for one, two in zip(gradients[0], other, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-14)


def examples(text: str, tags: str) -> Any:
    return Example(text.split(), tags.split())


EXAMPLES: dict[type, Any] = {
    Tags: ([examples("a b a c", "X Y X Z"), examples("b", "Y"), examples("c a b", "Z X Z")] * 2, []),
    Sentiment: ([examples("a b a c", "pos"), examples("b", "neg"), examples("c a b", "pos")] * 2, []),
}


def test_a_batch_of_one_sentence_alone_is_answered_as_in_a_batch_of_many() -> None:
    for task in (Tags.prepare(TagSettings(**SIZES)), sentiment(max_len=7, keep="last")):
        model = task.network()
        inputs, _ = task.batches.make(np.arange(4))
        together, _ = model(inputs)
        for lane, row in enumerate(inputs.mask.T):
            alone, _ = model(inputs.values[row, lane][:, None])
            ours = together.data[row, lane] if task.per_step else together.data[lane]
            np.testing.assert_allclose(ours, alone.data[:, 0] if task.per_step else alone.data[0], rtol=1e-12)
            words = task.words.decode(inputs.values[row, lane])
            said = task.answer(np.array(ours), words, proba=True)
            found = next(task.predict(model, [task.parse(" ".join(words))], proba=True))
            assert found["answer"] == said["answer"]
            (strange,) = task.predict(model, [task.parse(" ".join([*words, "qwertz"]))])
            assert "qwertz" in strange["unknown"]
            both = [one["probabilities"] for one in (found, said)]
            assert both[0] == pytest.approx(both[1], rel=1e-12)


# --- what is told


def test_weights_smoothing_and_the_mean_over_batches() -> None:
    task = Tags.prepare(TagSettings(**SIZES, class_weights="balanced"))
    weights = task.class_weights
    assert weights is not None and (weights * task.counts).sum() == pytest.approx(task.counts.sum())
    model, total = task.network(), []
    inputs, targets = task._batches(task.held_out).make(np.arange(len(task.held_out[0])))
    whole = model.loss(inputs, targets)[0].item()
    found = task.evaluate(model)
    assert found["loss"] == pytest.approx(whole)
    assert found.keys() == {"loss", "accuracy", "span_f1"} and not total
    assert task.num_losses == 0 or task.batches.chosen.size == 0
    task.batches.next()
    assert task.num_losses == task.batches.lengths[task.batches.chosen].sum()
    matrix = task.confusion(model)
    assert matrix is not None and matrix.counts.sum() == sum(map(len, task.held_out[0]))
    assert np.trace(matrix.counts) / matrix.counts.sum() == pytest.approx(found["accuracy"])


def test_drawing_and_words_before_training() -> None:
    task = sentiment(max_len=12, keep="last", pad="left", read="max", bidirectional=False)
    picture, told = task.drawing(), task.told(task.network())
    assert "░░" in picture and ("-> neg" in picture or "-> pos" in picture)
    for box in ("embedding: 52 x 4", "1 x 5 LSTM", "max: the maximum over valid steps", "logits of classes (4, 2)"):
        assert box in picture
    assert "are cut to the last 12" in told["sequences"] and told["classes"].startswith("2: ")
    one = Tags(TagSettings(**SIZES), EXAMPLES[Tags][0], EXAMPLES[Tags][0][1:2])
    assert one.told(one.network())["not judged"] == "what is held out has no tag X, Z"
    assert all(len(line) < 100 for line in picture.splitlines())


def test_words_are_split_as_on_the_word_level() -> None:
    assert tokens("It's  NOT bad -- at all!\n\n") == ["it's", "not", "bad", "-", "-", "at", "all", "!"]


def test_a_class_that_was_not_learned_is_told_without_a_word_of_its_text() -> None:
    rows = [Example(["fine"], ["x"], "a.tsv", [2]), Example(["so", "so"], ["y"], "a.tsv", [3])]
    for place, label in ((2, "x"), (3, "y")):
        with pytest.raises(DataError, match=f"a.tsv:{place}: the class '{label}' is none of those that were learned"):
            Sentiment.known(rows, {"x", "y"} - {label}, BadRows(skip=False))


# --- from the command line


def test_tags_from_files(micrornn: Micrornn, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(TAGGED)
    (tmp_path / "dev.txt").write_text("the DET\ncat NOUN\n\nthe DET\ndog PROPN\n\na DET\ncat NOUN\nsat VERB\n")
    sizes = ["--hidden-size", 6, "--embedding-size", 5, "--batch-size", 4, "--num-updates", 4, "--val-every", 2]
    given = ["train", "tags", "train.txt", *sizes, "--validation", "dev.txt", "--min-count", 1]
    code, _, err = micrornn(*given, "--out", "run")
    assert code == Exit.DATA and "dev.txt:5: the tag 'PROPN' of 'dog' is none of those that were learned" in err
    assert "--skip-bad-rows" in err and not (tmp_path / "run").exists()
    code, _, err = micrornn(*given, "--skip-bad-rows", "--out", "run")
    assert code == 0 and "left out" in err and "not judged" in err, err
    assert "held out" in err and "of them learned from" not in err
    again = micrornn(*given[:3], *sizes, "--validation", "train.txt")[2]
    assert re.search(r"(\d+) held out, \1 of them learned from, too", " ".join(again.split())), again
    (tmp_path / "train.txt").unlink()  # a trained network does without
    (tmp_path / "new.txt").write_text("the DET\ncat NOUN\n\na DET\n??? SYM\n\na DET\ncat NOUN\nsat VERB\n")
    code, out, err = micrornn("eval", "run", "new.txt", "--skip-bad-rows", "--json")
    assert code == 0 and json.loads(out)["left_out"] == 1, err
    assert json.loads(out)["baselines"] == {"accuracy": 1.0} and json.loads(out)["sequences"] == 2
    code, out, err = micrornn("predict", "run", "dev.txt")
    assert code == Exit.DATA and "dev.txt:3: there is no word; wanted a sentence a line" in err
    (tmp_path / "tabs.txt").write_text("the\tDET\ncat\tNOUN\n")
    code, out, err = micrornn("predict", "run", "tabs.txt")
    assert code == Exit.DATA and not out and "tabs.txt:1: there is a tab in it" in err and "micrornn eval" in err


@pytest.mark.parametrize(
    "task, files, given, words",
    [
        ("tags", {"a.txt": "a X\nb X\n\na X\n"}, [], "there is no tag but 'X', and so nothing to learn; choose"),
        ("tags", {"a.txt": TAGGED}, ["--num-steps", 9], "--num-steps is no setting of the task tags; leave it out"),
        ("tags", {"a.txt": TAGGED}, ["--validation", "b.txt"], "--validation: no such file or folder: "),
        ("tags", {}, ["--validation", "b.txt"], "--validation is for FILES to learn from; name them too"),
        ("tags", {"a.txt": "a X\nb Y\n"}, [], "there is 1 sequence, and nothing can be held out of it"),
        ("tags", {"a.txt": "a X\nb Y\n\nc X\nd Y\n"}, ["--min-count", 5], "comes once; change min_count (5)"),
        ("tags", {"a.txt": TAGGED + "fat\n"}, [], "a.txt:49: 1 column, and line 1 has 2"),
        ("sentiment", {"a.txt": "good\n", "b.txt": "\n"}, [], "b.txt:1: a text without a word"),
        ("sentiment", {"a.txt": "good\n", "b.txt": "!?\n"}, ["--no-marks"], "b.txt:1: a text of punctuation alone"),
        ("sentiment", {"a.tsv": "text\tlabel\nx y\t1\nz\t1\n"}, [], "there is no class but '1', and so nothing to"),
        ("sentiment", {"a.txt": "good\n"}, [], "one file alone is one class; give a file for each class"),
        ("sentiment", {"a.txt": "good\n", "b.txt": b"b\xe9te\n"}, [], "b.txt"),
    ],
)  # fmt: skip
def test_what_is_refused_in_a_line_or_two(task: str, files: dict[str, Any], given: list[Any], words: str,
                                          micrornn: Micrornn, tmp_path: Path) -> None:  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    code, _, err = micrornn("train", task, *files, *given, "--out", "run")
    assert code in (Exit.DATA, Exit.USAGE) and words in " ".join(err.split()), err
    assert "Traceback" not in err and len(err.splitlines()) < 4 and not (tmp_path / "run").exists()
