"""gradcheck, tape and info, help and mistakes: what they print is right, for people and for machines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Micrornn
from made_up_runs import hardly_trained

from micrornn import cells
from micrornn.checkpoint import RunFolder
from micrornn.checks import check_cell
from micrornn.tape import OPS
from micrornn_cli.exits import Exit

CELLS, GRANULARITIES = cells.CELLS, ("primitive", "cell", "sequence")


@pytest.fixture(scope="module")
def lstm(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return hardly_trained(tmp_path_factory.mktemp("lstm"))


@pytest.fixture
def micrornn(micrornn: Micrornn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Micrornn:
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))  # of tokens; Numba's folder is set by now
    return micrornn


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
        (("eval", lstm.path, tmp_path / "short.txt"), Exit.DATA, "1 token,"),
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
    for arguments in (["--cell", "lstm", "--samples", "5"], ["--cell", "lstm", "--projected"], [lstm.path]):
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


@pytest.mark.parametrize(
    "words",
    ["train", "train tags", "train series", "gradcheck", "bench", "tape", "sample", "predict", "eval", "compare"],
)
def test_help_is_as_narrow_as_the_terminal(micrornn, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = micrornn(*words.split(), "--help")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    assert "lstm_peephole" in out or "train" not in words
