"""sample, eval and predict: what a trained model says is right, for people and for machines."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from made_up_runs import FOX, hardly_trained

from micrornn.checkpoint import RunFolder, load, save
from micrornn.ops import cross_entropy
from micrornn.runs import load_run
from micrornn.tape import no_tape
from micrornn_cli.exits import Exit
from micrornn_cli.predict import Lines


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return hardly_trained(tmp_path_factory.mktemp("lstm"))


def test_sample_writes_the_prompt_and_so_many_characters(micrornn, lstm):
    code, text, err = micrornn("sample", lstm.path, "--prompt", "the ", "--length", 50, "--seed", 3)
    assert (code, err) == (0, "")
    assert text.startswith("the ") and len(text) == 54
    _, plain, _ = micrornn("sample", lstm.best, "--prompt", "the ", "--length", 50, "--seed", 3, "--json")
    found = json.loads(plain)
    assert found == {
        "run": str(lstm.best), "prompt": "the ", "text": text[4:], "length": 50, "temperature": 1.0,
        "top_k": 0, "seed": 3,
    }  # fmt: skip
    assert micrornn("sample", lstm.path, "--length", 50, "--seed", 4)[1] != text
    assert micrornn("sample", lstm.path, "--last", "--prompt", "the ", "--length", 50, "--seed", 3)[1] != text


def test_the_likeliest_needs_no_seed(micrornn, lstm):
    """Temperature 0, a tiny temperature, and the likeliest one only are the same."""
    ways = [
        ("--temperature", 0, "--seed", 1),
        ("--temperature", 1e-300, "--seed", 2),
        ("--top-k", 1, "--seed", 3),
    ]
    assert len({micrornn("sample", lstm.path, "--length", 40, *way)[1] for way in ways}) == 1


def test_sample_streams_and_takes_a_closed_pipe_for_an_end(lstm):
    command = [sys.executable, "-m", "micrornn_cli", "sample", str(lstm.path), "--length", "100000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert len(process.stdout.read(20)) == 20
        process.stdout.close()
        assert "Traceback" not in process.stderr.read().decode()


NAN = float("nan")


@pytest.mark.parametrize(
    "name, value", [("decoder.bias", NAN), ("rnn.weight_hh_l0", math.inf), ("embedding.weight", -NAN)]
)
def test_a_model_that_is_not_finite_is_told_with_exit_code_6(micrornn, lstm, tmp_path, name, value):
    arrays, meta = load(lstm.best)
    arrays[f"parameter/{name}"].flat[:] = value
    save(tmp_path / "broken.ckpt", arrays, meta)
    (tmp_path / "text.txt").write_text(FOX)
    for arguments in (("sample",), ("sample", "--json"), ("eval", tmp_path / "text.txt", "--json")):
        code, out, err = micrornn(arguments[0], tmp_path / "broken.ckpt", *arguments[1:])
        assert (code, out) == (Exit.DIVERGED, "") and f"{name} holds" in err and "Warning" not in err, err
    some = ("flow", "truncation", "jacobian", "states", "nonfinite", "all")
    for measure in some if name == "rnn.weight_hh_l0" else ("jacobian", "nonfinite"):
        code, out, err = micrornn(
            "inspect", measure, tmp_path / "broken.ckpt", "--text", tmp_path / "text.txt", "--json"
        )
        assert code == Exit.DIVERGED and f"{name} holds" in err and "Warning" not in err, err
        json.loads(out, parse_constant=pytest.fail)
    start = ("--init-from", tmp_path / "broken.ckpt", "--out", tmp_path / "new")
    code, _, err = micrornn("train", tmp_path / "text.txt", *start)
    assert code == Exit.DIVERGED and f"{name} holds" in err and not (tmp_path / "new").exists()
    RunFolder.create(tmp_path / "run", lstm.config).save(arrays, meta, best=False)
    code, out, err = micrornn("advise", tmp_path / "run", "--minutes", 0.1, "--json")
    assert (code, out) == (Exit.DIVERGED, "") and f"{name} holds" in err, err


def test_json_knows_no_infinity(micrornn, tmp_path):
    """The perplexity of a loss above 709 nats is beyond any float."""
    folder = hardly_trained(tmp_path, level="word", num_updates=2)
    arrays, meta = load(folder.last)
    arrays["parameter/decoder.weight"] *= 1e5
    save(tmp_path / "lost.ckpt", arrays, meta)
    code, out, _ = micrornn("eval", tmp_path / "lost.ckpt", tmp_path / "text.txt", "--json")
    found = json.loads(out, parse_constant=pytest.fail)
    assert (code, found["perplexity"]) == (0, None) and found["loss"] > 709


def test_several_samples_have_seeds_of_their_own(micrornn, lstm):
    code, text, _ = micrornn("sample", lstm.path, "--length", 20, "--num-samples", 3, "--seed", 5, "--prompt", "the ")
    _, rows, _ = micrornn(
        "sample", lstm.path, "--length", 20, "--num-samples", 3, "--seed", 5, "--prompt", "the ", "--json"
    )
    rows = [json.loads(row) for row in rows.splitlines()]
    alone = [micrornn("sample", lstm.path, "--length", 20, "--seed", s, "--prompt", "the ")[1] for s in (5, 6, 7)]
    assert code == 0 and ["the " + row["text"] for row in rows] == alone and [row["seed"] for row in rows] == [5, 6, 7]
    ended = [one if one.endswith("\n") else one + "\n" for one in alone]
    assert text == "".join(f"--- seed {seed} ---\n{one}" for seed, one in zip((5, 6, 7), ended))


def test_until_and_endless(micrornn, lstm):
    whole = micrornn("sample", lstm.path, "--length", 2000)[1]
    end = whole.index("o") + 1
    assert micrornn("sample", lstm.path, "--until", "o")[1] == whole[:end]
    assert micrornn("sample", lstm.path, "--until", "o", "--endless", "--length", 1)[1] == whole[:end]
    for wrong in (["--until", ""], ["--endless", "--json"], ["--endless", "--num-samples", 2], ["--top-p", 0]):
        assert micrornn("sample", lstm.path, *wrong)[0] == Exit.USAGE


def test_eval_finds_the_loss_that_training_found(micrornn, lstm):
    best = min(row["val_loss"] for row in lstm.metrics() if row["val_loss"] is not None)
    code, out, err = micrornn("eval", lstm.path, "--json")
    found = json.loads(out)
    assert (code, err, found["loss"]) == (0, "", best)
    assert found["bits_per_character"] == best / math.log(2)
    assert json.loads(micrornn("eval", lstm.path, "--last", "--json")[1])["loss"] > best
    assert f"{best:.4f} nats per character" in micrornn("eval", lstm.path)[1]


def test_eval_carries_the_state_over_windows(micrornn, lstm, tmp_path):
    """One lane in windows of 7 time steps gives the loss of the text in one piece."""
    (tmp_path / "b.txt").write_text(FOX[100 : 100 + 7 * 31 + 1])
    model, vocab, _ = load_run(lstm.path)
    ids = vocab.encode((tmp_path / "b.txt").read_text()).astype(np.int32)[:, None]
    with no_tape():
        whole = cross_entropy(model(ids[:-1])[0], targets=ids[1:]).item()
    _, out, _ = micrornn("eval", lstm.path, tmp_path / "b.txt", "--batch-size", 1, "--num-steps", 7, "--json")
    found = json.loads(out)
    assert found["loss"] == pytest.approx(whole, rel=1e-5)
    assert (found["predicted"], found["tokens"]) == (217, 218)


def test_eval_of_words_is_perplexity(micrornn, tmp_path):
    folder = hardly_trained(tmp_path, level="word", num_updates=10)
    found = json.loads(micrornn("eval", folder.path, "--json")[1])
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert "perplexity" in micrornn("eval", folder.path)[1]


def test_a_text_that_changed_is_not_what_was_held_out(micrornn, tmp_path):
    folder = hardly_trained(tmp_path, num_updates=10)
    (tmp_path / "text.txt").write_text(FOX[1:])
    code, _, err = micrornn("eval", folder.path)
    assert code == Exit.DATA and "has changed" in err and "Name FILES" in err


def test_predict_of_a_text_is_its_next_token(micrornn, lstm, tmp_path, monkeypatch):
    """For each line the likeliest token, that `sample` at temperature 0 would write; from a file or standard input."""
    prompts = ["the", "she s", ""]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts) + "\n")
    table = micrornn("predict", lstm.path, tmp_path / "prompts.txt", "--csv", "--proba")[1].splitlines()
    assert (
        table[0].startswith("line,answer,token 1,probability 1,token 2,") and len(set(map(len, csv.reader(table)))) == 1
    )
    code, out, err = micrornn("predict", lstm.path, tmp_path / "prompts.txt", "--json", "--proba")
    assert code == 0, err
    for prompt, row in zip(prompts, map(json.loads, out.splitlines()), strict=True):
        given = ("--prompt", prompt) if prompt else ()
        wrote = micrornn("sample", lstm.path, *given, "--temperature", 0, "--length", 1)[1]
        assert row["answer"] == wrote[len(prompt) :] == row["probabilities"][0][0]
        shares = [share for _, share in row["probabilities"]]
        assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the\n"), encoding="utf-8"))
    assert len(micrornn("predict", lstm.path)[1].splitlines()) == 1
    for data, encoding in ((b"the\n\xff\n", "utf-8"), (b"no mark of order", "utf-16"), (b"\x81", "cp1252")):
        (tmp_path / "prompts.txt").write_bytes(data)
        code, _, err = micrornn("predict", lstm.path, tmp_path / "prompts.txt", "--encoding", encoding)
        assert code == Exit.DATA and f"prompts.txt: is not {encoding}; name" in err and "line 0" not in err
    code, _, err = micrornn("predict", lstm.path, tmp_path / "prompts.txt", "--horizon", 2, "--proba")
    assert code == Exit.USAGE and "leave --proba out" in err


def test_what_is_in_a_pipe_is_at_hand_and_what_has_not_come_is_not_waited_for(tmp_path):
    read, write = os.pipe()
    lines = Lines(f"/dev/fd/{read}", "standard input", "utf-8")
    each = iter(lines)
    os.write(write, "\ufeffone\r\ntwo\nthr".encode())
    assert next(each) == "one" and lines.at_hand and next(each) == "two" and not lines.at_hand
    os.write(write, "ée\n".encode()[:1])  # a character in two parts
    os.write(write, "ée\n".encode()[1:])
    assert next(each) == "thrée" and not lines.at_hand
    os.write(write, b"end")
    os.close(write)
    assert list(each) == ["end"]
    os.close(read)
    (tmp_path / "file.txt").write_text("a\n\nb")
    lines = Lines(str(tmp_path / "file.txt"), "file.txt", "utf-8")
    assert list(lines) == ["a", "", "b"] and lines.at_hand
