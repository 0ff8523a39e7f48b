"""flow and weights: the numbers are those of plain backward passes, and made-up runs get the verdicts they deserve."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from made_up_runs import KINDS, made_up

from micrornn.cells import Weights
from micrornn.checkpoint import RunFolder
from micrornn.errors import ConfigError
from micrornn.inspect import weights as weights_module
from micrornn.inspect.flow import flow
from micrornn.inspect.flow import panels as flow_panels
from micrornn.inspect.measure import Measure
from micrornn.inspect.recorded import by_gate, gate_names, record, states
from micrornn.inspect.subject import open_subject
from micrornn.inspect.weights import panels as weights_panels
from micrornn.inspect.weights import weights
from micrornn.inspect.window import Window
from micrornn.layers import Embedding, Linear
from micrornn.ops import cross_entropy
from micrornn.parameters import Module
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor, no_tape
from micrornn.tapeview import contribution

CELLS = ("rnn", "rnn_relu", "lstm", "gru")
NETWORKS = [(cell, layers, both) for cell in CELLS for layers in (1, 2) for both in (False, True)]
T, B, H, V = 12, 3, 5, 7


class Tagger(Module):
    """What a language model is, but in both directions too, and in float64."""

    def __init__(self, cell: str, num_layers: int = 1, bidirectional: bool = False, granularity: str = "sequence"):
        kind = {"dtype": np.float64}
        self.embedding = Embedding(V, 4, seed=1, **kind)
        self.rnn = Recurrent(cell, 4, H, num_layers, bidirectional, granularity=granularity, seed=2, **kind)
        self.decoder = Linear(H * (1 + bidirectional), V, seed=3, **kind)
        self.parameters()  # gives them their names

    def __call__(self, ids: np.ndarray, state: Any = None) -> tuple[Tensor, Any]:
        y, last = self.rnn(self.embedding(ids), state)
        return self.decoder(y), last

    def loss(self, ids: np.ndarray, targets: np.ndarray, state: Any = None) -> tuple[Tensor, Any]:
        logits, last = self(ids, state)
        return cross_entropy(logits, targets=targets), last


def windows(model: Tagger, n: int = 1, seq_len: int = T) -> list[Window]:
    rng = np.random.default_rng(4)
    rows = model.rnn.num_layers * len(model.rnn.directions)
    return [
        Window(
            *(rng.integers(0, V, (seq_len, B)).astype(np.int32) for _ in range(2)),
            tuple(Tensor(rng.normal(size=(rows, B, H)) / 2) for _ in model.rnn.cell.states),
        )
        for _ in range(n)
    ]


def loss_from(model: Tagger, window: Window, level: int, direction: int, t: int, shift: np.ndarray,
              which: str, losses: slice) -> np.ndarray:  # fmt: skip
    """Each lane's summed loss at the time steps `losses`, if h (or c) of a layer after time step t were shifted.

    Plain steps of the cell, without a tape: nothing of what is tested has a part in it.
    """
    rnn = model.rnn
    with no_tape():
        below = list(model.embedding(window.inputs))
        for layer in range(rnn.num_layers):
            sides = []
            for n, name in enumerate(rnn.directions):
                at = f"_l{layer}{name}"
                own = Weights(rnn.cell.parameters, [rnn.weights[kind + at] for kind in rnn.cell.parameters])
                row = layer * len(rnn.directions) + n
                state = tuple(Tensor(s.data[row]) for s in window.state)
                made: dict[int, Tensor] = {}
                for step in range(T)[:: -1 if n else 1]:
                    state = rnn.cell.step(below[step], state, own)
                    if (layer, n, step) == (level, direction, t):
                        place = rnn.cell.states.index(which)
                        moved = Tensor(state[place].data + shift)
                        state = (*state[:place], moved, *state[place + 1 :])
                    made[step] = state[0]
                sides.append(made)
            below = [Tensor(np.concatenate([side[step].data for side in sides], axis=1)) for step in range(T)]
        logits = np.stack([model.decoder(y).data for y in below])
    logs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    per = -np.take_along_axis(logs, window.targets[:, :, None], axis=2)[:, :, 0]
    return per[losses].sum(axis=0)


@pytest.mark.parametrize("cell, layers, both", [("rnn", 1, False), ("gru", 2, True), ("lstm", 2, True)])
def test_norms_are_those_of_numeric_gradients(cell, layers, both):
    """dL/dh_t, dL/dc_t of all losses and of the last one alone, and dL/dh_t unit by unit."""
    model, eps = Tagger(cell, layers, both), 1e-5
    (window,) = windows(model)
    found, recording = flow(model, [window]), record(model, window)
    recording.tape.cotangents([], [recording.loss], [recording.losses])
    for n, (name, layer) in enumerate(zip(found.axes["layer"].places, recording.layers)):
        level, direction = divmod(n, 1 + both)
        for t in (0, 7):
            last, lag = (slice(0, 1), t) if direction else (slice(T - 1, T), T - 1 - t)
            for losses, end, place in ((slice(None), "", t), (last, "_last", lag)):
                gradient = {}
                for state in model.rnn.cell.states:
                    columns = []
                    for shift in eps * np.eye(H):
                        up, down = (
                            loss_from(model, window, level, direction, t, s, state, losses) for s in (shift, -shift)
                        )
                        columns.append((up - down) / (2 * eps))
                    gradient[state] = np.stack(columns, axis=1)  # (B, H)
                if cell == "lstm":  # a shift of c_t alone leaves h_t = o tanh(c_t) as it was: its part is added
                    o, c = by_gate(layer)[t, :, 3], states(layer, "c")[t]
                    gradient["c"] += gradient["h"] * o * (1 - np.tanh(c) ** 2)
                for state, rows in gradient.items():
                    seen = found[f"d{state}{end}"][n, place]
                    assert seen == pytest.approx(np.linalg.norm(rows, axis=1).mean(), rel=1e-6, abs=1e-9), (name, t)
                if not end:  # what goes into the gates, and further down to what the layer reads
                    a, weight = layer.saved["dgates"][t], layer.saved["weights"][0]
                    assert found["dx"][n, t] == pytest.approx(np.linalg.norm(a @ weight, axis=1).mean(), rel=1e-9)
                    gates = np.linalg.norm(a.reshape(B, -1, H), axis=2).mean(axis=0)
                    assert found["dgates"][n, :, t] == pytest.approx(gates, rel=1e-9)
                    mean = np.abs(gradient["h"]).mean(axis=0)
                    assert found["units"][n, t] == pytest.approx(mean, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("cell, layers, both", NETWORKS)
def test_contributions_of_the_time_steps_are_the_weight_gradients(cell, layers, both):
    model = Tagger(cell, layers, both)
    (window,) = windows(model)
    parameters = model.rnn.parameters()
    with Tape() as tape:
        loss = cross_entropy(model(window.inputs, window.state)[0], targets=window.targets)
    tape.backward(loss)
    recording = record(model, window)
    recording.tape.cotangents([], [recording.loss])
    found = weights(model, [window])
    assert list(found.axes["weight"].places) == [
        f"{kind}_l{level}{side}"
        for level in range(layers)
        for side in model.rnn.directions
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    for layer in recording.layers:
        at = layer.name[layer.name.rindex("_l") :]
        for kind in weights_module.KINDS:
            gradient = parameters[kind + at].grad
            parts = [contribution(layer.record, kind, t) for t in range(T)]
            assert np.abs(sum(parts) - gradient).max() < 1e-12
            row = found.axes["weight"].places.index(kind + at)
            assert found["total"][row] == pytest.approx(np.linalg.norm(gradient), abs=1e-12)
            norms = [np.linalg.norm(part) for part in parts]
            assert found["norm"][row] == pytest.approx(norms, abs=1e-12)
            cosines = [(part * gradient).sum() / (norm * np.linalg.norm(gradient)) for part, norm in zip(parts, norms)]
            assert found["cosine"][row] == pytest.approx(cosines, abs=1e-9)
    assert found["coherence"] == pytest.approx(found["total"] / found["norm"].sum(axis=1))


def test_looking_touches_no_gradient_and_knows_every_granularity():
    """The same model in slow motion gives the same measure, and keeps its granularity and its gradients."""
    measures = []
    for granularity in ("sequence", "cell", "primitive"):
        model = Tagger("lstm", 2, granularity=granularity)
        measures.append((flow(model, windows(model, 2)), weights(model, windows(model, 2))))
        assert model.rnn.granularity == granularity
        assert all(parameter.grad is None for parameter in model.parameters().values())
    for other in measures[1:]:
        for one, two in zip(measures[0], other):
            for name in one.arrays:
                assert one[name] == pytest.approx(two[name], rel=1e-9, abs=1e-12), name


def test_saturated_and_dead_are_counted_by_hand():
    model = Tagger("lstm")
    bias = model.rnn.weights["bias_ih_l0"].data
    bias[0], bias[H], bias[2 * H], bias[3 * H + 1] = -50, 50, 50, -800  # i, f, g of one unit; o of another
    found = flow(model, windows(model, 2))
    recordings = [record(model, window) for window in windows(model, 2)]
    values = np.concatenate([by_gate(r.layers[0]) for r in recordings], axis=1)  # (T, 2 B, gates, H)
    for n, gate in enumerate(gate_names(recordings[0].layers[0])):
        low, high = (-0.95, 0.95) if gate == "g" else (0.1, 0.9)
        assert found["low"][0, n] == pytest.approx((values[:, :, n] < low).mean(axis=(1, 2)))
        assert found["high"][0, n] == pytest.approx((values[:, :, n] > high).mean(axis=(1, 2)))
    # f and g stand at 1; i near 0 still moves, by a part of itself; o and with it h of the other unit are 0 for good
    assert found["dead_gates"][0] == pytest.approx([0, 1 / H, 1 / H, 1 / H])
    assert found["dead"] == pytest.approx([1 / H])


def test_a_unit_that_moves_between_windows_only_is_not_dead():
    model = Tagger("rnn")
    model.rnn.weights["weight_ih_l0"].data[0] = model.rnn.weights["weight_hh_l0"].data[0] = 0
    model.rnn.weights["weight_hh_l0"].data[0, 0] = 1e6  # it stays at 1 or at -1, wherever it starts
    (window,) = windows(model)
    high, low = (Window(window.inputs, window.targets, (Tensor(np.full((1, B, H), end)),)) for end in (0.5, -0.5))
    assert flow(model, [high, high])["dead"] == pytest.approx([1 / H])
    assert flow(model, [high, low])["dead"] == [0]


def test_a_linear_recurrence_has_its_known_half_life():
    """h_t = 0.9 R h_prev + ..., R a rotation, tanh in its linear part: half is left after ln 2 / -ln 0.9 steps."""
    model = Tagger("rnn")
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(H, H)))
    model.rnn.weights["weight_hh_l0"].data[...] = 0.9 * rotation
    for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
        model.rnn.weights[name].data[...] *= 1e-6
    (window,) = windows(model, seq_len=80)
    found = flow(model, [Window(window.inputs, window.targets, None)])
    assert found["decay"] == pytest.approx([0.9], rel=1e-6)
    assert found["half_life"] == pytest.approx([np.log(0.5) / np.log(0.9)], rel=1e-6)
    assert found["reach"] == [44]  # 0.9^43 > 0.01 > 0.9^44
    drawn = {panel.title: panel for panel in flow_panels(found)}
    assert "Above 1" not in drawn["How far back the last loss reaches"].note
    assert drawn["Saturated and dead"].columns[1] == "value" and "a: what" in drawn["Saturated and dead"].note
    found["left"][0, 3] = 1.5
    assert "Above 1 it has grown" in next(iter(flow_panels(found))).note


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    folder = tmp_path_factory.mktemp("made up")
    return {kind: made_up(kind, folder) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seq_len", [12, 32, 90])
def test_made_up_runs_get_the_verdicts_they_deserve(runs, kind, seq_len):
    subject = open_subject(str(runs[kind].path))
    found = flow(subject.model, list(subject.windows(seq_len, 2, 4)), **subject.about())
    assert [verdict.kind for verdict in found.verdicts] == [kind]
    json.dumps(found.to_dict(), allow_nan=False)
    assert len(flow_panels(found)) >= 5
    assert weights_panels(weights(subject.model, subject.windows(seq_len, 2, 4)))


def changed(model: Tagger, name: str, value: float) -> Measure:
    model.parameters()[name].data[...] = value
    return flow(model, windows(model))


def test_what_else_a_verdict_may_be():
    def kinds_of(measure: Measure) -> list[str]:
        return [verdict.kind for verdict in measure.verdicts]

    model = Tagger("lstm")
    assert kinds_of(flow(model, windows(model, seq_len=9))) == ["unsure"]
    assert kinds_of(weights(model, windows(model, seq_len=9))) == ["unsure"]
    assert kinds_of(changed(Tagger("lstm"), "decoder.weight", 0.0)) == ["vanishing"]  # no loss arrives
    assert kinds_of(changed(Tagger("rnn_relu"), "rnn.bias_hh_l0", -1e3)) == ["vanishing", "dead"]
    assert kinds_of(changed(Tagger("gru"), "rnn.weight_hh_l0", np.nan)) == ["nonfinite"]
    model = Tagger("gru")
    model.rnn.weights["bias_ih_l0"].data[H : 2 * H] = 5  # z keeps what is there: saturated, and no fault
    found = flow(model, windows(model))
    assert found["high"][0, 1].mean() > 0.9 and kinds_of(found) == ["healthy"]
    model.rnn.weights["bias_ih_l0"].data[H : 2 * H] = -5
    assert "saturated" in kinds_of(flow(model, windows(model)))

    model = Tagger("rnn_relu")  # each time step back the gradient is three times as large
    model.rnn.weights["weight_hh_l0"].data[...] = 3 * np.eye(H)
    model.rnn.weights["bias_hh_l0"].data[...] = 1e-9
    model.rnn.weights["weight_ih_l0"].data[...] = 0
    still = [Window(w.inputs, w.targets, None) for w in windows(model)]
    assert kinds_of(flow(model, still)) == ["exploding"]
    assert kinds_of(weights(model, still)) == ["uneven"]


def test_nothing_to_look_at_is_told():
    model = Tagger("rnn")
    for measure in (flow, weights):
        with pytest.raises(ConfigError, match="no window"):
            measure(model, [])
        with pytest.raises(ConfigError, match="no recurrent layer"):
            measure(Linear(2, 2), windows(model))


def test_states_are_counted_from_the_beginning_of_the_text_in_both_directions():
    model = Tagger("rnn", bidirectional=True)
    (window,) = windows(model)
    for layer in record(model, window).layers:
        h, before = states(layer, "h"), states(layer, "h", before=True)
        first, rest = (T - 1, slice(0, T - 1)) if layer.reverse else (0, slice(1, T))
        assert np.array_equal(before[first], window.state[0].data[int(layer.reverse)])
        assert np.array_equal(before[rest], np.delete(h, 0 if layer.reverse else T - 1, axis=0))
