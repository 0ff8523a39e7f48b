"""What blew up first is found: op, layer, time step; and a run that diverges tells it by itself."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_runs import TEXT, made_up

from micrornn.cells import find_cell
from micrornn.checkpoint import RunFolder
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.divergence import LOST_UPDATES
from micrornn.errors import ConfigError, DivergedError
from micrornn.inspect.nonfinite import LOST, blown, nonfinite, panels
from micrornn.inspect.subject import open_subject
from micrornn.inspect.window import Window
from micrornn.layers import Linear
from micrornn.ops import cross_entropy
from micrornn.tape import Tape
from micrornn.tasks.text import LanguageModel
from micrornn.train import Training, run
from micrornn_cli.exits import Exit
from micrornn_cli.main import main

T, B, V = 9, 3, 5
CELLS = ("rnn", "lstm", "gru")


def recorded(model: LanguageModel) -> tuple[Tape, Any]:
    rng = np.random.default_rng(0)
    ids, targets = (rng.integers(1, V, (T, B)).astype(np.int32) for _ in range(2))
    ids[4, 1] = 0  # token 0 comes once, at time step 4
    with Tape() as tape:
        loss = cross_entropy(model(ids)[0], targets=targets)
    return tape, loss


def network(**settings: Any) -> LanguageModel:
    given = {"hidden_size": 4, "embedding_size": 3, "num_layers": 2, "dtype": "float64"}
    model = LanguageModel(Config(**(given | settings)), V)
    model.parameters()
    return model


@pytest.mark.parametrize("cell", CELLS)
def test_all_is_finite(cell):
    assert blown(*recorded(network(cell=cell))) is None


def test_a_value_in_the_embedding():
    model = network()
    model.embedding.weight.data[0, 2] = np.nan
    found = blown(*recorded(model))
    assert (found.what, found.op, found.layer, found.t) == ("value", "embedding", "embedding", 4)
    assert math.isnan(found.number) and [(x.name, x.finite) for x in found.inputs] == [("embedding.weight", False)]
    assert "op embedding, layer embedding, time step 4: its output is nan" in found.words()
    assert "embedding.weight 5x3 is itself not finite" in found.words()


@pytest.mark.parametrize("granularity", ["sequence", "cell", "primitive"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_value_inside_of_a_layer(cell, granularity):
    """At time step 4 of layer 0, and nowhere else, what comes in is inf; with a bias of -inf it makes NaN."""
    model = network(cell=cell, granularity=granularity)
    model.embedding.weight.data[0] = 1e308
    model.rnn.weights["weight_ih_l0"].data[...] = 10
    if granularity != "primitive":  # there the product shows
        model.rnn.weights["bias_ih_l0"].data[...] = -np.inf
    with np.errstate(all="ignore"):
        found = blown(*recorded(model))
    assert (found.what, found.layer, found.t) == ("value", f"{cell}_l0", 4)
    if granularity == "sequence":
        wanted = {"rnn": "h", "lstm": "gate i", "gru": "gate r"}[cell]
        assert found.op == cell and f"layer {cell}_l0, time step 4: its {wanted} is nan" in found.words()
        assert [x.name for x in found.inputs if not x.finite] == ["rnn.bias_ih_l0"]
        (x,) = [x for x in found.inputs if x.name == "x"]
        assert (x.shape, x.finite, x.high) == ((T, B, 3), True, 1e308)


def test_the_second_layer_is_told_from_the_first():
    model = network(cell="gru")
    model.rnn.weights["bias_hh_l1"].data[2 * 4] = np.inf  # of n: it ends up as 1
    with np.errstate(all="ignore"):
        found = blown(*recorded(model))
    assert (found.op, found.layer, found.t, found.array) == ("gru", "gru_l1", 0, "hidden")


@pytest.mark.parametrize("n, gate", list(enumerate("ifgo")))
def test_the_gate_is_named(n, gate):
    model = network(cell="lstm")
    model.rnn.weights["bias_hh_l1"].data[n * 4 + 2] = np.nan
    assert (found := blown(*recorded(model))).array == f"gate {gate}" and found.layer == "lstm_l1"


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_gradient_inside_of_a_layer(cell, reverse):
    """All values are finite. On its way back the gradient overflows at the first time step that is come to."""
    model = network(cell=cell, num_layers=1)
    x = model.embedding(np.random.default_rng(0).integers(0, V, (T, B)))
    weights = [model.rnn.weights[f"{kind}_l0"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    zeros = [np.zeros((B, 4))] * len(model.rnn.cell.states)
    seed = np.zeros((T, B, 4))
    seed[6] = 1e200  # from time step 6 on, on the way back
    with Tape(guard=False) as tape:  # what it holds is tampered with below
        y, *_ = find_cell(cell).op(x, *zeros, *weights, reverse=reverse)
    tape.records[0].scope = f"{cell}_l0"
    with np.errstate(all="ignore"):
        assert blown(tape, y, seed) is None
        weights[1].data[...] *= 1e130  # one time step back 1e330
        tape.records[0].saved["weights"] = (weights[0].data, weights[1].data)
        found = blown(tape, y, seed)
    assert (found.what, found.op, found.layer) == ("gradient", cell, f"{cell}_l0")
    assert found.t == (7 if reverse else 5), found
    assert "gradient of" in found.words() and "weight_hh" in found.words()


def test_a_gradient_outside_of_a_layer():
    """Finite in the decoder's weight, but the sum that goes on to the states is not."""
    model = network(cell="rnn", num_layers=1)
    tape, loss = recorded(model)
    row = next(r for r in tape.records if r.op.name == "linear")
    with np.errstate(all="ignore"):
        found = blown(tape, loss, 1e308)
        assert found is None
        x, weight = row.saved
        row.saved = (x, weight * 1e200)
        found = blown(tape, loss, 1e308)
    assert (found.what, found.op, found.layer, found.t, found.array) == ("gradient", "linear", "decoder", T - 1, "x")


def test_the_first_that_is_merely_large():
    model = network(cell="lstm")
    model.embedding.weight.data[0] = 50.0
    tape, loss = recorded(model)
    assert blown(tape, loss) is None and blown(tape, loss, limit=60.0) is None
    found = blown(tape, loss, limit=40.0)
    assert (found.op, found.t, found.number) == ("embedding", 4, 50.0)


def test_the_measure_shows_the_window_in_which_it_happens(tmp_path):
    subject = open_subject(str(made_up("healthy", tmp_path).path))
    windows = list(subject.windows(16, 3, 4))
    sound = nonfinite(subject.model, windows, **subject.about())
    assert sound.verdicts[0].kind == "healthy" and "3 windows" in sound.verdicts[0].words
    assert sound["value"].shape == (len(sound.axes["record"].places), 16)
    assert sound["largest_value"][1] == pytest.approx(np.max(sound["value"][1]))

    token = int(next(iter(set(windows[1].inputs.flat) - set(windows[0].inputs.flat))))
    at = int(np.argwhere(windows[1].inputs == token)[0][0])
    subject.model.embedding.weight.data[token] = np.inf
    found = nonfinite(subject.model, windows, **subject.about())
    (verdict,) = found.verdicts
    assert verdict.kind == "nonfinite" and verdict.numbers["window"] == 2 and verdict.numbers["t"] == at
    assert f"in window 2: op embedding, layer embedding, time step {at}" in verdict.words
    json.dumps(found.to_dict(), allow_nan=False)
    (inputs,) = found.subject["inputs"]
    assert inputs["name"] == "embedding.weight" and not inputs["finite"]
    assert panels(found)[-1].rows[0][2] == "NO" and panels(sound)[-1].title == "Records"


def test_a_loss_beyond_all_probabilities_counts_though_it_is_finite(tmp_path):
    subject = open_subject(str(made_up("healthy", tmp_path).path))
    subject.model.decoder.weight.data[...] *= 1e5
    (verdict,) = nonfinite(subject.model, subject.windows(16, 1, 4)).verdicts
    assert verdict.kind == "nonfinite" and verdict.numbers["loss"] > LOST
    assert "op linear, layer decoder, time step" in verdict.words and "All is finite" in verdict.words


def test_nothing_to_look_at_is_told():
    with pytest.raises(ConfigError, match="no window"):
        nonfinite(network(), [])
    ids = np.zeros((T, B), np.int32)
    with pytest.raises(ConfigError, match="no recurrent layer"):
        nonfinite(Linear(2, 2), [Window(ids, ids, None)])


# --- what a run says by itself ----------------------------------------------------------------------------------

SMALL = ["--hidden-size", "16", "--embedding-size", "8", "--batch-size", "4", "--num-steps", "16"]
FIRST = re.compile(
    r"first to (blow up|be larger than [\d.e+]+(, at update \d+)?): op (\w+), layer (\S+), time step (\d+): its "
)


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


@pytest.mark.parametrize("cell", ["rnn", "rnn_relu", "lstm", "gru"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("clip", [0, 1])
def test_a_learning_rate_of_10000_stops_with_what_blew_up_first(text, tmp_path, capsys, cell, optimizer, clip):
    out = tmp_path / "run"
    flags = ["--cell", cell, "--optimizer", optimizer, "--clip-norm", str(clip), "--lr", "1e4", "--num-updates", "500"]
    with pytest.raises(SystemExit) as done:
        main(["train", str(text), *SMALL, *flags, "--out", str(out)])
    err = capsys.readouterr().err
    assert done.value.code == Exit.DIVERGED, err
    what, first = err[err.index("Error:") :].strip().splitlines()
    assert re.match(r"Error: update \d+: the (loss|gradient's norm|validation loss) is \S+", what)
    assert "; the checkpoint of update 0 is kept. Lower --lr" in what
    assert FIRST.search(first), first
    arrays, meta = RunFolder.open(out).load_last()
    assert meta["updates"] == 0 and all(np.isfinite(array).all() for array in arrays.values())


def training(text: Path, **settings: Any) -> Training:
    given = {"hidden_size": 12, "embedding_size": 6, "batch_size": 4, "num_steps": 8, "num_updates": 40}
    return Training(Config(**(given | settings)), tokenize([text], "char", text.parent / "cache"))


def test_the_message_names_a_weight_that_is_not_finite(text):
    one = training(text, cell="gru")
    one.update()
    one.model.rnn.weights["weight_hh_l0"].data[3, 3] = np.inf
    with pytest.raises(DivergedError) as caught:
        one.update()
    what, first = str(caught.value).splitlines()
    assert what == "update 2: the gradient's norm is nan"  # inside of a sigmoid inf is just a 1
    assert "op gru, layer gru_l0, time step" in first and "rnn.weight_hh_l0 36x12 is itself not finite" in first


def test_a_norm_that_overflows_though_every_number_is_finite(text):
    one = training(text, cell="lstm", loss="sum")
    norms = one.model.decoder
    norms.weight.data[...] *= 1e25
    with pytest.raises(DivergedError, match=r"gradient's norm is inf\nfirst to be larger than 1.84e\+19: op linear"):
        one.update()


def test_a_validation_loss_that_blows_up_names_it_too(text):
    one = training(text, cell="lstm", val_every=1)
    step = one.optimizer.update

    def broken(*arguments: float) -> None:
        step(*arguments)
        one.model.decoder.bias.data[0] = np.nan

    one.optimizer.update = broken
    with pytest.raises(DivergedError) as caught:
        list(run(one))
    what, first = str(caught.value).splitlines()
    assert "the validation loss is nan. Lower `lr`" in what and "op linear, layer decoder, time step 0" in first


def test_a_run_that_is_lost_for_a_while_is_let_go_on(text):
    """As long as no weight is large: a decoder that is turned the wrong way, and turned back before it is too late;
    and with weights of ordinary size for as long as it takes."""
    one = training(text, cell="rnn_relu", optimizer="sgd", lr=1e-9, num_updates=100)
    one.model.rnn.weights["bias_hh_l0"].data[...] = 90  # h is large, no weight is
    assert min(one.update().loss for _ in range(2 * LOST_UPDATES)) > LOST

    two = training(text, cell="lstm", optimizer="sgd", lr=1e-9, num_updates=100)
    for large in (True, False, True):
        two.model.decoder.weight.data[...] *= 1e6 if large else 1e-6
        for _ in range(LOST_UPDATES - 1):
            assert (two.update().loss > LOST) == large
    with pytest.raises(DivergedError, match=rf"for {LOST_UPDATES} updates it was above 103, and decoder.weight has"):
        two.update()
