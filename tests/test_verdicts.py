"""What the measures say of models of which it is known what is wrong with them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from micrornn.checkpoint import RunFolder
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.inspect.carried import carried
from micrornn.inspect.credit import credit
from micrornn.inspect.fading import growing
from micrornn.inspect.flow import flow
from micrornn.inspect.flow_verdicts import never_forgets, stuck
from micrornn.inspect.jacobian import jacobian
from micrornn.inspect.measure import Learned, Measure, Verdict
from micrornn.inspect.nonfinite import nonfinite
from micrornn.inspect.recorded import record
from micrornn.inspect.states import states
from micrornn.inspect.subject import Subject, open_subject
from micrornn.inspect.truncation import truncation
from micrornn.inspect.watched import flow_over_training
from micrornn.inspect.weights import weights
from micrornn.tasks.reading import entropy
from micrornn.train import Training


@pytest.mark.parametrize("counts", [[1], [5, 5], [1, 2, 3, 0, 10]])
def test_frequencies_are_the_unigram_entropy(counts):
    ids = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    shares = [n / sum(counts) for n in counts if n]
    assert entropy(ids, len(counts)) == pytest.approx(-sum(p * math.log(p) for p in shares))


@pytest.mark.parametrize("loss, kind", [(0.5, "healthy"), (1.9, "healthy"), (1.99, "unlearned"), (9.0, "unlearned")])
def test_a_loss_near_the_frequencies_is_never_healthy(loss, kind):
    beside = [("frequencies", "by word frequencies alone", 2.0), ("ln_V", "by chance (ln V)", 3.0)]
    about = {"learned": {"loss": loss, "unit": "nats per word", "beside": beside}}
    found = Measure("flow", about, {}, {}, {}, (Verdict("healthy", "Fine."), Verdict("dead", "A tenth.")))
    assert [verdict.kind for verdict in found.verdicts] == [kind, "dead"]
    for verdict in found.verdicts:
        assert verdict.words.endswith(
            f"Loss {loss:.3g} nats per word; 2 by word frequencies alone, 3 by chance (ln V)."
        )
        assert "Loss" not in verdict.short and verdict.numbers["ln_V"] == 3
    assert Learned(0.0, "", [("baseline", "by guessing", 0.0)]).anything  # nothing is there to be learned
    assert Learned(5.0).anything and Learned(5.0, "squared error").words == "Loss 5 squared error."  # who knows


# --- what is wrong with these is known -------------------------------------------------------------------------------

TEXT = "".join(
    f"{n} small boats ({n % 7} of them red) lay in the bay, said the {n % 5}. pilot.\n" for n in range(90, 0, -1)
)
SIZES = {"hidden_size": 20, "embedding_size": 6, "batch_size": 6, "num_steps": 24, "schedule": "constant", "seed": 4}


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """(cell, updates, settings) -> the path of a run that was trained so; each once."""
    folder, made = tmp_path_factory.mktemp("runs"), dict[str, str]()
    (folder / "text.txt").write_text(TEXT)

    def train(cell: str, updates: int, **settings: Any) -> str:
        name = f"{cell}-{updates}-{'-'.join(map(str, settings.values()))}"
        if name not in made:
            config = Config(cell=cell, num_updates=updates, **(SIZES | {"lr": 0.01} | settings))
            training = Training(config, tokenize([folder / "text.txt"], "char", folder / "cache"))
            run = RunFolder.create(
                folder / name, config.to_dict() | {"task": "text", "files": [str(folder / "text.txt")]}
            )
            training.watch(20)
            for _ in range(updates):
                training.update()
                if training.pending is not None and training.pending.gradients:
                    run.gradients.append(training.pending.gradients)
            run.save(*training.snapshot(), best=False)
            run.close()
            made[name] = str(run.path)
        return made[name]

    return train


def nothing(parameters: dict[str, np.ndarray]) -> None:
    """As it was trained."""


def radius(value: float, inputs: float = 1.0) -> Callable[[dict[str, np.ndarray]], None]:
    def change(parameters: dict[str, np.ndarray]) -> None:
        w = parameters["rnn.weight_hh_l0"]
        w[...] = np.random.default_rng(1).normal(size=w.shape)
        w *= value / np.abs(np.linalg.eigvals(w)).max()
        for name in ("weight_ih", "bias_ih", "bias_hh"):
            parameters[f"rnn.{name}_l0"] *= inputs

    return change


def times(factor: float) -> Callable[[dict[str, np.ndarray]], None]:
    def change(parameters: dict[str, np.ndarray]) -> None:
        for name, weight in parameters.items():
            if name.startswith("rnn.weight"):
                weight *= factor

    return change


def relu_runs_away(parameters: dict[str, np.ndarray]) -> None:
    w = parameters["rnn.weight_hh_l0"]
    w[...] = 1.4 * np.roll(np.eye(len(w)), 1, axis=0)
    parameters["rnn.weight_ih_l0"] *= 1e-5
    parameters["rnn.bias_ih_l0"][...] = 1e-4
    parameters["rnn.bias_hh_l0"][...] = 0


def dead(share: float) -> Callable[[dict[str, np.ndarray]], None]:
    def change(parameters: dict[str, np.ndarray]) -> None:
        bias = parameters["rnn.bias_hh_l0"]
        bias[: round(share * len(bias))] = -1e4

    return change


def not_a_number(parameters: dict[str, np.ndarray]) -> None:
    parameters["rnn.weight_hh_l0"][2, 3] = np.nan


QUIET = {"flow": (), "weights": (), "credit": (), "jacobian": ()}  # none of these kinds in any measure
GONE = {"flow": ("vanishing",), "credit": ("vanishing",), "jacobian": ("vanishing",)}
PATHOLOGIES: dict[str, tuple[str, int, dict[str, Any], Callable[[dict[str, np.ndarray]], None], dict[str, Any]]] = {
    "lstm": ("lstm", 150, {}, nothing, QUIET),
    "rnn": ("rnn", 40, {"lr": 0.003}, nothing, GONE),
    "rnn, few time steps": ("rnn", 150, {"num_steps": 4}, nothing, {"credit": (), "jacobian": ()}),
    "NaN": ("gru", 0, {}, not_a_number, dict.fromkeys((*QUIET, "nonfinite"), ("nonfinite",))),
    "radius 0.4": ("rnn", 0, {}, radius(0.4), GONE),
    "radius 3, small inputs": ("rnn", 0, {}, radius(3.0, 0.01), {"flow": ("exploding",), "credit": ("exploding",),
                                                                "jacobian": ("chaotic", "exploding")}),
    "relu 1.4": ("rnn_relu", 0, {}, relu_runs_away, {"flow": ("exploding",), "credit": ("exploding",),
                                                    "jacobian": ("exploding",)}),
    "forget bias -6, new": ("lstm", 0, {"forget_bias": -6.0}, nothing, GONE | {"flow": ("vanishing", "saturated")}),
    "forget bias 9, trained": ("lstm", 150, {"forget_bias": 9.0}, nothing, {"flow": ("saturated",)}),
    "dead, 15 %": ("rnn_relu", 100, {}, dead(0.15), {"flow": ("dead",), "states": ("dead",)}),
    "dead, 40 %": ("rnn_relu", 100, {}, dead(0.4), {"flow": ("dead",), "states": ("dead",)}),
    "dead, all": ("rnn_relu", 100, {}, dead(1.0), GONE | {"flow": ("vanishing", "dead"), "weights": ("dead",)}),
    "weights x 12": ("rnn", 150, {}, times(12.0), {"flow": ("exploding", "saturated"), "credit": ("exploding",),
                                                       "jacobian": ("exploding",)}),
    "lr 1": ("lstm", 60, {"lr": 1.0}, nothing, {"flow": ("saturated",)}),
    "lr 1e-7": ("lstm", 60, {"lr": 1e-7}, nothing, dict.fromkeys((*QUIET, "nonfinite", "states"), ("unlearned",))),
}  # fmt: skip


def measures_of(subject: Subject) -> dict[str, Measure]:
    about, steps = subject.about(), subject.model.config.num_steps
    short, long = list(subject.windows(steps, 2, 4)), list(subject.windows(80, 2, 4))
    with np.errstate(all="ignore"):
        found = {name: f(subject.model, short, **about) for name, f in (("flow", flow), ("weights", weights))}
        found |= {name: f(subject.model, long, **about) for name, f in (("credit", credit), ("jacobian", jacobian))}
        found["nonfinite"] = nonfinite(subject.model, short, **about)
        found["states"] = states(subject.model, subject.material.vocab, subject.material.tokens, tokens=1500, **about)
    return found


@pytest.mark.parametrize("name", PATHOLOGIES)
def test_each_pathology_gets_its_word_from_each_measure(train, name):
    cell, updates, settings, change, wanted = PATHOLOGIES[name]
    subject = open_subject(train(cell, updates, **settings))
    change({n: parameter.data for n, parameter in subject.model.flat.parameters.items()})
    found = measures_of(subject)
    kinds = {what: [verdict.kind for verdict in measure.verdicts] for what, measure in found.items()}
    for what, words in wanted.items():
        assert set(words) <= set(kinds[what]), (kinds, found[what].verdicts)
        assert words or kinds[what] in (["healthy"], ["unsure"]), (kinds, found[what].verdicts)
    # no measure contradicts another, and none calls something exploding that it did not see explode
    for kind in ("vanishing", "nonfinite"):
        said = {what for what in ("flow", "credit", "jacobian") if kind in kinds[what]}
        sure = {what for what in ("flow", "credit", "jacobian") if kinds[what] != ["unsure"]}
        assert said in (set(), sure), kinds
    assert "exploding" not in kinds["weights"]
    for measure in found.values():
        for verdict in measure.verdicts:
            words = f"{verdict.words} {verdict.advice}"
            assert verdict.kind == "nonfinite" or not re.search(r"\binf\b|\bnan\b|\d[eE]\+\d", words), (
                words
            )  # a step of "inf", a count of 1.1e+03
            assert not re.search(r"--num-steps \d", words), words  # which num_steps to take, advise alone says


@pytest.mark.parametrize("cell", ["indrnn", "minlstm", "slstm", "rnn_leaky"])
def test_every_measure_looks_at_cells_with_other_weights_than_the_usual(train, cell):
    subject = open_subject(train(cell, 20, num_layers=2, hidden_size=12))
    found = measures_of(subject)
    found["truncation"] = truncation(subject.model, subject.windows(32, 2, 4), **subject.about())
    assert all(measure.verdicts for measure in found.values())
    names = set(subject.model.flat.parameters)
    assert all(f"rnn.{name}" in names for name in found["weights"].axes["weight"].places)  # none that it has not


def test_a_gradient_that_grows_to_where_the_text_tells_more_does_not_explode():
    lags = np.arange(32)
    assert growing(np.exp(np.log(2.7) * np.minimum(lags, 20) / 20)) is None
    lag, growth = growing(1.2**lags)
    assert lag == 31 and growth > 200


def test_watched_while_it_trained_a_plain_rnn_vanishes_and_an_lstm_does_not(train):
    for cell, updates, lr, kind in (("rnn", 40, 0.003, "vanishing"), ("lstm", 150, 0.01, "healthy")):
        found = flow_over_training(train(cell, updates, lr=lr))
        assert found.verdicts[0].kind == kind, found.verdicts
        assert found["carried"].shape == (1 + updates // 20, 1)  # updates 1, 20, 40, ...


@pytest.mark.parametrize(
    "share, loss, suffers, fault",
    [(0.95, 1.2, False, False), (0.95, 2.0, False, True), (0.95, 1.2, True, True), (0.995, 1.2, False, True),
     (0.5, 2.5, True, False), (0.95, None, False, True)],
)  # fmt: skip
def test_saturation_is_a_fault_only_where_learning_suffers(share, loss, suffers, fault):
    learned = None if loss is None else Learned(loss, "nats", [("baseline", "by guessing", 2.0)])
    found = stuck(
        ("lstm_l0",), ("i", "f"), np.array([[share / 2, 0.1]]), np.array([[share / 2, 0.9]]), learned, suffers
    )
    assert [verdict.kind for verdict in found] == ["saturated"] * fault


def test_forget_gates_that_never_close_are_told_and_open_ones_are_not():
    for forgets, told in ((5e-5, True), (0.1, False), (np.nan, False), (0.004, False)):
        assert bool(never_forgets(("lstm_l0",), np.array([forgets]), 20)) == told


def test_vanishing_depends_on_what_the_run_asks_for(train):
    """The same network: over 2 time steps enough is left, over 30 nothing."""
    subject = open_subject(train("rnn", 150))
    layers = [record(subject.model, window).layers for window in subject.windows(60, 2, 4)]
    few, many = carried(layers, 4), carried(layers, 60)
    assert not few.verdicts() and many.verdicts()[0].kind == "vanishing"
    assert "half of num_steps 60" in many.verdicts()[0].words and "1 %" in many.verdicts()[0].words
    assert few.enough and not carried(layers, 1000).enough
