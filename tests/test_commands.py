"""sample, eval, gradcheck, tape and info: what they print is right, for people and for machines."""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Micrornn

from micrornn import cells
from micrornn.checkpoint import RunFolder, load, save
from micrornn.checks import check_cell
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.ops import cross_entropy
from micrornn.runs import load_run
from micrornn.tape import OPS, no_tape
from micrornn.train import Training, run
from micrornn_cli.exits import Exit
from micrornn_cli.predict import Lines

TEXT = "the quick brown fox jumps over the lazy dog.\npack my box with five dozen jugs.\n" * 40
CELLS, GRANULARITIES = cells.CELLS, ("primitive", "cell", "sequence")


def trained(folder: Path, **settings: Any) -> RunFolder:
    """A run of a few updates, in which the last checkpoint is worse than the best."""
    (folder / "text.txt").write_text(TEXT)
    given = {"hidden_size": 12, "embedding_size": 6, "batch_size": 4, "num_steps": 8, "val_fraction": 0.2}
    config = Config(**(given | {"val_every": 10, "num_updates": 30, "lr": 0.02} | settings))
    tokens = tokenize([folder / "text.txt"], config.level, folder / "cache")
    where = RunFolder.create(folder / "run", config.to_dict() | {"task": "text", "files": [str(folder / "text.txt")]})
    training = Training(config, tokens)
    for _ in run(training, where):
        pass
    training.model.flat.data[...] *= 0.5
    where.save(*training.snapshot(), best=False)
    where.close()
    return where


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained(tmp_path_factory.mktemp("lstm"))


@pytest.fixture
def micrornn(micrornn: Micrornn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Micrornn:
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))  # of tokens; Numba's folder is set by now
    return micrornn


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
    (tmp_path / "text.txt").write_text(TEXT)
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
    folder = trained(tmp_path, level="word", num_updates=2)
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
    (tmp_path / "b.txt").write_text(TEXT[100 : 100 + 7 * 31 + 1])
    model, vocab, _ = load_run(lstm.path)
    ids = vocab.encode((tmp_path / "b.txt").read_text()).astype(np.int32)[:, None]
    with no_tape():
        whole = cross_entropy(model(ids[:-1])[0], targets=ids[1:]).item()
    _, out, _ = micrornn("eval", lstm.path, tmp_path / "b.txt", "--batch-size", 1, "--num-steps", 7, "--json")
    found = json.loads(out)
    assert found["loss"] == pytest.approx(whole, rel=1e-5)
    assert (found["predicted"], found["tokens"]) == (217, 218)


def test_eval_of_words_is_perplexity(micrornn, tmp_path):
    folder = trained(tmp_path, level="word", num_updates=10)
    found = json.loads(micrornn("eval", folder.path, "--json")[1])
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert "perplexity" in micrornn("eval", folder.path)[1]


def test_mistakes_are_told_in_two_lines(micrornn, lstm, tmp_path):
    (tmp_path / "new.txt").write_text("the quick bröwn fox, again and again")
    (tmp_path / "short.txt").write_text("a")
    (tmp_path / "alone.ckpt").write_bytes(lstm.best.read_bytes())
    cases = [
        (("sample", lstm.path, "--prompt", "Ä"), Exit.DATA, "'Ä' (U+00C4)"),
        (("sample", tmp_path / "none"), Exit.CHECKPOINT, "No such file"),
        (("sample", tmp_path), Exit.CHECKPOINT, "not a run folder"),
        (("sample", tmp_path / "new.txt"), Exit.CHECKPOINT, "not a micrornn checkpoint"),
        (("sample", lstm.path, "--temperature", "nan"), Exit.USAGE, "--temperature"),
        (("eval", lstm.path, tmp_path / "new.txt"), Exit.DATA, "new.txt: character 'ö' (U+00F6)"),
        (("eval", lstm.path, tmp_path / "short.txt"), Exit.DATA, "1 tokens"),
        (("eval", tmp_path / "alone.ckpt"), Exit.CHECKPOINT, "Name FILES"),
        (("gradcheck", lstm.path, "--cell", "gru"), Exit.USAGE, "--cell is for a fresh network"),
        *((("gradcheck", flag, 0), Exit.USAGE, flag) for flag in ("--num-layers", "--hidden-size")),
        *((("tape", flag, -1), Exit.USAGE, flag) for flag in ("--batch-size", "--seq-len")),
        (("sample", lstm.path, "--length", 0), Exit.USAGE, "--length"),
        (("eval", lstm.path, "--batch-size", 0), Exit.USAGE, "--batch-size"),
    ]  # fmt: skip
    for arguments, wanted, words in cases:
        code, out, err = micrornn(*arguments)
        assert (code, out) == (wanted, ""), (arguments, err)
        message = err[err.index("Error:") :]
        assert words in message and len(message.strip().splitlines()) <= 2, message


def test_a_text_that_changed_is_not_what_was_held_out(micrornn, tmp_path):
    folder = trained(tmp_path, num_updates=10)
    (tmp_path / "text.txt").write_text(TEXT[1:])
    code, _, err = micrornn("eval", folder.path)
    assert code == Exit.DATA and "has changed" in err and "Name FILES" in err


def test_every_cell_agrees_in_every_granularity(micrornn, monkeypatch):
    # one of each kind; test_gradcheck.py goes through all of them
    some = {name: CELLS[name] for name in ("rnn", "lstm_peephole", "gru_before")}
    monkeypatch.setattr("micrornn_cli.gradcheck.CELL_NAMES", tuple(some))
    sizes = ("--hidden-size", 3, "--input-size", 2, "--seq-len", 3)
    code, out, _ = micrornn("gradcheck", "--json", *sizes)
    found = json.loads(out)
    assert code == 0 and found["passed"]
    assert [(n["cell"], n["granularity"]) for n in found["networks"]] == [
        (cell, granularity)
        for cell in some for granularity in GRANULARITIES if granularity != "sequence" or CELLS[cell].derivable
    ]  # fmt: skip
    for network in found["networks"]:
        checks, cell = {check["name"]: check for check in network["checks"]}, CELLS[network["cell"]]
        states = {"x"} | {f"{state}_0" for state in cell.states}
        assert len(checks) == 2 * len(cell.parameters) + len(states) and states <= checks.keys()
        assert min(check["decimals"] for check in checks.values()) >= 10
        assert len(checks["x"]["decimals_by_step"]) == 3
        assert checks["weight_ih_l1"]["numbers"] == len(cell.gates) * 9


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 9, 30), (3, 40, 3)])
def test_no_relu_of_the_check_is_near_its_kink(sizes):
    num_layers, hidden_size, seq_len = sizes
    found = check_cell(
        "rnn_relu", "sequence", num_layers=num_layers, hidden_size=hidden_size, seq_len=seq_len, project=True
    )
    assert found.kink > 1 / 3 and found.passed


@pytest.mark.parametrize("op, where", [("tanh", "primitive"), ("lstm", "sequence")])
def test_a_gradient_that_is_a_little_wrong_is_found(micrornn, monkeypatch, lstm, op, where):
    """One part in a million of one op, in a fresh network, along a projection and in a trained model."""
    told = cells.CELLS[op].op if op in cells.CELLS else OPS[op]
    right = told.back

    def wrong(k, saved, dy, needs):
        first, *rest = right(k, saved, dy, needs)
        return None if first is None else first * (1 + 1e-6), *[None if r is None else r * (1 + 1e-6) for r in rest]

    monkeypatch.setattr(told, "back", wrong)
    for arguments in (["--cell", "lstm", "--samples", "20"], ["--cell", "lstm", "--projected"], [lstm.path]):
        code, out, _ = micrornn("gradcheck", *arguments, "--granularity", where)
        assert code == Exit.FAILED
        assert re.search(rf"WRONG: .* fewer than 10 decimals.*lstm, {where}", " ".join(out.split())), out


def test_a_trained_model_agrees(micrornn, lstm, tmp_path):
    code, out, err = micrornn("gradcheck", lstm.path)
    assert (code, err) == (0, "") and "one random direction" in out and "Right: " in out
    (tmp_path / "alone.ckpt").write_bytes(lstm.best.read_bytes())
    code, out, err = micrornn("gradcheck", tmp_path / "alone.ckpt", "--granularity", "cell")
    assert code == 0 and "random tokens" in err


@pytest.mark.parametrize("cell", ("rnn", "rnn_relu", "lstm", "gru"))
def test_contributions_add_up_and_are_the_same_in_every_granularity(micrornn, cell):
    """Of primitive and cell records they are watched on their way, of a sequence made of what it saved."""
    sizes = ("--batch-size", 3, "--seq-len", 4)
    found = [
        json.loads(micrornn("tape", "--json", "--cell", cell, "--granularity", granularity, *sizes)[1])
        for granularity in GRANULARITIES
    ]
    first, *others = [{(c["weight"], c["t"]): c["norm"] for c in tape["contributions"]} for tape in found]
    assert {t for _, t in first} == {0, 1, 2, 3}
    assert {w for w, _ in first} == {"W_ih", "W_hh", "b_ih", "b_hh", "W_out", "b_out"}
    for other in others:
        assert other == pytest.approx(first, abs=1e-14)
    assert all(tape["difference"] < 1e-14 for tape in found)
    assert len(found[0]["records"]) > len(found[1]["records"]) > len(found[2]["records"])
    for weight in ("W_ih", "b_out"):
        shares = [abs(c["share"]) for c in found[0]["contributions"] if c["weight"] == weight]
        assert sum(shares) == pytest.approx(1)


def test_the_tape_speaks_of_x_h_and_c(micrornn):
    records = json.loads(micrornn("tape", "--json", "--cell", "lstm")[1])["records"]
    made = {output["name"] for record in records for output in record["outputs"]}
    assert {"x0", "x2", "h_init", "c_init", "h0", "c0", "h2", "c2", "y", "loss"} <= made
    after = next(r for r in records if r["t"] == 1 and r["op"] == "linear" and "h0" in r["inputs"])
    assert after["inputs"] == ["h0", "W_hh", "b_hh"] and after["scope"] == "lstm_l0"
    state = next(output for r in records for output in r["outputs"] if output["name"] == "c1")
    assert np.shape(state["value"]) == np.shape(state["gradient"]) == (1, 2)
    assert all(
        output["gradient"] is None
        for record in json.loads(micrornn("tape", "--json", "--no-backward")[1])["records"]
        for output in record["outputs"]
    )


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_what_people_read_fits_and_is_plain_off_a_terminal(micrornn, lstm, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in (
        ("tape", "--cell", "lstm", "--batch-size", 2),
        ("tape", "--cell", "gru", "--granularity", "sequence", "--hidden-size", 9),
        ("gradcheck", "--cell", "rnn_relu", "--seq-len", 12, "--samples", 1, "--num-layers", 1),
        ("eval", lstm.path),
        ("info",),
    ):
        code, text, _ = micrornn(*arguments)
        assert code == 0 and "\x1b" not in text and "\r" not in text
        assert max(map(len, text.splitlines())) <= columns, arguments
    assert "h_init, W_hh, b_hh)" in micrornn("tape")[1].replace("\n", " ") or columns < 80


def test_a_stream_of_another_encoding_is_written_to():
    command = [sys.executable, "-m", "micrornn_cli", "tape"]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stdout.isascii() and done.stdout


def test_info(micrornn):
    code, out, _ = micrornn("info", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["versions"].keys() >= {"python", "micrornn", "numpy", "numba", "llvmlite", "click", "rich"}
    assert found["versions"]["numpy"] == np.__version__
    assert found["kernels"]["tile"]["rows"] * found["kernels"]["vector_bytes"] > 0
    assert found["devices"]["cpu"] == {"available": True, "why_not": None}
    for device in found["devices"].values():
        assert device["available"] or device["why_not"]
    assert found["caches"]["kernels"]["bytes"] > 0 == found["caches"]["tokens"]["bytes"]


@pytest.mark.parametrize("command", ["sample", "eval", "gradcheck", "tape", "info"])
def test_help_has_an_example_and_imports_little(command):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "micrornn_cli", command, "--help"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert f"\n    micrornn {command}" in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"numba", "numpy", "rich"}


def test_predict_of_a_text_is_its_next_token(micrornn, lstm, tmp_path, monkeypatch):
    """For each line the likeliest token, that `sample` at temperature 0 would write; from a file or standard input."""
    prompts = ["the", "she s", ""]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts) + "\n")
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


@pytest.mark.parametrize(
    "words",
    ["train", "train tags", "train series", "gradcheck", "bench", "tape", "sample", "predict", "eval", "compare"],
)
def test_help_is_as_narrow_as_the_terminal(micrornn, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = micrornn(*words.split(), "--help")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    assert "lstm_peephole" in out or "train" not in words
