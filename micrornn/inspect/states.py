"""What the units of a model do while it reads: their states over a text, and what in the text they follow.

states(model, vocab, ids)   the measure
read                        the states, and the gates' ends, of every layer over a text
correlation, luck           how closely units follow a property; how closely the best of them would by chance

After Karpathy, Johnson and Fei-Fei, Visualizing and Understanding Recurrent Networks, 2015 (arXiv:1506.02078), who
looked through the cells of an LSTM by eye. Here they are ranked by |r|, Pearson's correlation over the text between
the property and the unit's value, h or c. Of many units the best does well by luck alone. So the same is done with
the property shifted along the text, end joined to beginning, by many random distances: that keeps how it runs, and
breaks what it has to do with the text. The best |r| that 95 of 100 such shifts stay below is what luck reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.data import Vocab
from micrornn.data.text import Ids
from micrornn.errors import DataError
from micrornn.inspect.flow import MOST_UNITS, STILL
from micrornn.inspect.flow_verdicts import TENTH, never_forgets, stuck
from micrornn.inspect.measure import Array, Axis, Learned, Measure, Number, Verdict
from micrornn.inspect.properties import properties
from micrornn.inspect.recorded import by_gate, gate_names, record
from micrornn.inspect.recorded import states as states_of
from micrornn.inspect.saturated import ends, forgets
from micrornn.inspect.window import Window, recurrents_of
from micrornn.inspect.words import percent
from micrornn.runs import Progress
from micrornn.tape import Tensor

READ = 10_000  # tokens: what is rare in a text needs many
LEAST = 500  # fewer tell nothing of what a unit follows
AT_ONCE = 500  # time steps on a tape
FRESH = 100  # first tokens that are left out: the state has just begun
SHOWN, COLOURED = 100, 300  # tokens whose states are kept to be looked at; whose best unit is
SHIFTS, CERTAIN = 100, 0.95


@dataclass(frozen=True)
class Reading:
    """What the layers did over n tokens.

    layers, gates   their names
    states          {"h": (layers, n, H)} and each further state
    values          (layers, gates, first tokens, H) the gates over the first SHOWN tokens behind the fresh ones
    relu            whether a relu makes a gate
    low, high       (layers, gates, H) how often each unit's gate is at its lower and upper end: a sigmoid below 0.1
                    and above 0.9, tanh beyond 0.95. Of a relu, how often it is 0; it has no upper end
    forgets         (layers,) the mean of 1 - f, of a GRU 1 - z; NaN of cells without
    """

    layers: tuple[str, ...]
    gates: tuple[str, ...]
    states: dict[str, np.ndarray]
    values: np.ndarray
    relu: bool
    low: np.ndarray
    high: np.ndarray
    forgets: np.ndarray


def read(model: Any, ids: np.ndarray, fresh: int = 0, tell: Callable[[int], None] = lambda done: None) -> Reading:
    """Read the ids in one lane from the initial state. `tell` is called with the tokens that are done."""
    recurrents_of(model)
    state, rows, low, high, values = None, dict[str, list[np.ndarray]](), 0.0, 0.0, list[np.ndarray]()
    forgotten: Any = 0.0
    for start in range(0, len(ids), AT_ONCE):
        inputs = np.ascontiguousarray(ids[start : start + AT_ONCE, None].astype(np.int32))
        layers = record(model, Window(inputs, np.zeros_like(inputs), state)).layers
        kinds = layers[0].states
        for name in kinds:
            here = np.stack([states_of(layer, name)[:, 0] for layer in layers])
            rows.setdefault(name, []).append(here)
        state = tuple(Tensor(np.ascontiguousarray(rows[name][-1][:, -1:])) for name in kinds)
        gates = np.stack([by_gate(layer)[:, 0] for layer in layers]).swapaxes(1, 2)  # (layers, gates, time steps, H)
        if start < fresh + SHOWN:
            values.append(gates.copy())
        activations = layers[0].program.activations
        bottom, top = _ends(activations)
        low = low + (gates <= bottom[:, None, None]).sum(axis=2)
        high = high + (gates >= top[:, None, None]).sum(axis=2)
        forgotten = forgotten + np.array([forgets(layer) for layer in layers]) * len(inputs)
        tell(min(start + AT_ONCE, len(ids)))
    return Reading(
        tuple(layer.name for layer in layers), gate_names(layers[0]),
        {name: np.concatenate(parts, axis=1) for name, parts in rows.items()},
        np.concatenate(values, axis=2)[:, :, fresh : fresh + SHOWN], "relu" in activations,
        np.asarray(low) / len(ids), np.asarray(high) / len(ids), np.asarray(forgotten) / len(ids),
    )  # fmt: skip


def _ends(activations: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    bottom, top = np.array([(0.0, np.inf) if kind == "relu" else ends(kind) for kind in activations]).T
    return bottom, top


def standard(x: np.ndarray) -> np.ndarray:
    """x (n, ...) with mean 0 and deviation 1 along its first axis; 0 where it does not vary."""
    x = x - x.mean(axis=0)
    deviation = np.sqrt(np.mean(np.square(x), axis=0))
    still = deviation <= 1e-6
    scaled: np.ndarray = np.where(still, 0, x / np.where(still, 1, deviation))
    return scaled


def correlation(units: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Pearson's r of each unit with x: `standard` units (n, U), x (k, n) -> (k, U)."""
    rows = np.ascontiguousarray(standard(x.T).T.astype(units.dtype))
    out = np.empty((len(rows), units.shape[1]), units.dtype)
    kernels.of(units).matmul(out, rows, units)
    return out / len(units)


def luck(units: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> float:
    """The best |r| that any of the units (n, U) has with x (n,) shifted at random, in 95 of 100 shifts."""
    n = len(x)
    shifts = rng.integers(min(n // 10, 1000), n - min(n // 10, 1000), SHIFTS)
    shifted = np.stack([np.roll(x, shift) for shift in shifts])
    return float(np.quantile(np.abs(correlation(units, shifted)).max(axis=1), CERTAIN))


def states(model: Any, vocab: Vocab, ids: Ids, progress: Progress | None = None, *, tokens: int = READ,
           **about: Any) -> Measure:  # fmt: skip
    """The states of a model over a text, its units that follow something, and its gates that are stuck.

    model     called as model(inputs, state) -> (logits, last); left alone
    vocab     what the ids stand for. Of words some properties make no sense; they are left out
    ids       the text, read in one lane from its beginning and from the initial state
    tokens    so many of them at most
    about     what the measure says of its subject

    The first 100 tokens (of a short text a tenth) are read, and then left out of everything but the gates' shares.
    DataError if there are fewer than 20 tokens. ConfigError if nothing in the model is recurrent.
    """
    row = np.asarray(ids[0 : min(tokens, len(ids))])
    if len(row) < 20:
        raise DataError(
            f"states: {len(row)} tokens are too few, at least 20 are needed; give more, or a higher --seq-len"
        )
    fresh = min(FRESH, len(row) // 10)
    tell = (lambda done: None) if progress is None else (lambda done: progress(done, len(row)))
    reading, text = read(model, row, fresh, tell), [vocab.tokens[i] for i in row.tolist()]
    followed = {name: x[fresh:] for name, x in properties(text, vocab.kind).items()}
    text = vocab.pieces(row)  # as they are to be read
    about = about | {"tokens": len(row), "left_out": fresh}
    bad = [name for name, values in reading.states.items() if not np.isfinite(values).all()]
    if bad:
        words = f"A state {bad[0]}_t is NaN or infinite."
        advice = "`micrornn inspect nonfinite` says what blew up first."
        return Measure("states", about, {}, {}, {}, (Verdict("nonfinite", words, {}, advice),))
    return _measure(reading, text, fresh, followed, about)


def _measure(reading: Reading, text: list[str], fresh: int, followed: Mapping[str, np.ndarray],
             about: Mapping[str, Any]) -> Measure:  # fmt: skip
    kinds, (layers, _, hidden_size) = list(reading.states), reading.states["h"].shape
    values = np.stack([reading.states[kind][:, fresh:] for kind in kinds], axis=1)  # (layers, kinds, n, H)
    units = np.ascontiguousarray(standard(np.moveaxis(values, 2, 0)).reshape(values.shape[2], -1))
    rng, heads = np.random.default_rng(0), min(hidden_size, MOST_UNITS)
    axes = {
        "layer": Axis.of(reading.layers), "token": Axis.of(text[fresh : fresh + SHOWN]),
        "unit": Axis.of(range(hidden_size)), "shown unit": Axis.of(range(heads)), "gate": Axis.of(reading.gates),
        "state": Axis.of(kinds), "property": Axis.of(followed),
    }  # fmt: skip
    time, every_gate = ("token", "shown unit"), ("layer", "gate", "unit")
    r = np.zeros((len(followed), layers, len(kinds), hidden_size))
    for n, x in enumerate(followed.values()):
        r[n] = correlation(units, x[None]).reshape(r.shape[1:])
    chance = np.array([luck(units, x, rng) for x in followed.values()])
    arrays = {
        kind: Array(_short(values[:, n, :SHOWN, :heads]), ("layer", *time), "", f"{kind}_t of the first units")
        for n, kind in enumerate(kinds)
    }
    arrays |= {
        "gates": Array(_short(reading.values[..., :heads]), ("layer", "gate", *time), "", "values of the gates"),
        "low": Array(reading.low, every_gate, "", "share of time steps at which a gate is at its lower end"),
        "high": Array(reading.high, every_gate, "", "share of time steps at which a gate is at its upper end"),
        "correlation": Array(r, ("property", "layer", "state", "unit"), "", "Pearson's r with a property"),
        "luck": Array(chance, ("property",), "", "|r| that the best unit reaches by luck"),
    }
    for n, (name, x) in enumerate(followed.items()):
        layer, kind, unit = best_of(r[n])
        start = _liveliest(x)
        span = slice(start, start + COLOURED)
        axes[f"text for {name}"] = Axis.of(text[fresh:][span])
        along, whose = (f"text for {name}",), f"unit {unit} of {reading.layers[layer]}, which follows it best"
        arrays[name] = Array(x[span], along, "", f"{name}, where it varies most")
        best = _short(values[layer, kind, span, unit])
        arrays[f"follows {name}"] = Array(best, along, "", f"{kinds[kind]}_t of {whose}")
    numbers = {"tokens": Number(len(text), "tokens", "that were read")}
    return Measure("states", about, axes, arrays, numbers, _verdicts(axes, arrays, reading, fresh, len(text), about))


def _short(values: np.ndarray) -> np.ndarray:
    """To four decimals: they are for looking at, and there are many."""
    return np.round(values.astype(np.float64), 4)


def best_of(correlations: np.ndarray) -> tuple[int, int, int]:
    """(layer, state, unit) where |r| (layers, states, H) is largest."""
    layer, kind, unit = np.unravel_index(int(np.abs(correlations).argmax()), correlations.shape)
    return int(layer), int(kind), int(unit)


def _liveliest(x: np.ndarray) -> int:
    """Where the COLOURED tokens begin over which x varies most."""
    starts = np.arange(0, max(1, len(x) - COLOURED), COLOURED // 4)
    return int(starts[np.argmax([x[start : start + COLOURED].std() for start in starts])])


def _verdicts(axes: Mapping[str, Axis], arrays: Mapping[str, Array], reading: Reading, fresh: int,
              read_tokens: int, about: Mapping[str, Any]) -> tuple[Verdict, ...]:  # fmt: skip
    found, layers, gates = [], reading.layers, reading.gates
    h = reading.states["h"][:, fresh:]
    still = (h.max(axis=1) - h.min(axis=1) <= STILL).mean(axis=1)
    worst = int(still.argmax())
    if still[worst] >= TENTH:
        words = f"{percent(still[worst])} of the units of {layers[worst]} do not move over {read_tokens:,} tokens."
        advice = "They cost time and say nothing: lower --lr, take fewer with --hidden-size, or another cell."
        found.append(Verdict("dead", words, {"share": float(still[worst])}, advice))
    learned = Learned(**about["learned"]) if about.get("learned") else None
    saturated = []
    if not reading.relu:
        saturated = stuck(layers, gates, reading.low.mean(axis=2), reading.high.mean(axis=2), learned)
    num_steps = about.get("trained", {}).get("num_steps", 0)
    found += saturated or never_forgets(layers, reading.forgets, num_steps)
    if found:
        return tuple(found)
    if read_tokens < LEAST:
        words = f"{read_tokens:,} tokens are too few to tell what a unit follows; {LEAST} are the least, 10,000 good."
        return (Verdict("unsure", words, {"tokens": read_tokens}, "Give more text, or a higher --seq-len."),)
    return (_followers(axes, arrays, layers),)


def _followers(axes: Mapping[str, Axis], arrays: Mapping[str, Array], layers: tuple[str, ...]) -> Verdict:
    """Which units follow what, the closest first."""
    names, kinds = axes["property"].places, axes["state"].places
    every, chance = arrays["correlation"].values, arrays["luck"].values
    best = np.abs(every).reshape(len(names), -1).max(axis=1)
    order = [n for n in np.argsort(-best) if best[n] > chance[n]]
    numbers = {f"{names[n]}: {what}": float(x[n]) for n in order for what, x in (("r", best), ("luck", chance))}
    if not order:
        words = f"No single unit follows {', '.join(names)} more closely than luck would." if names else ""
        return Verdict("healthy", words or "The text has nothing in it that a unit was looked for to follow.")
    told = []
    for n in order[:3]:
        layer, kind, unit = best_of(every[n])
        told.append(
            f"{names[n]} (unit {unit} of {layers[layer]}, {kinds[kind]}: |r| = {best[n]:.2f}, by luck {chance[n]:.2f})"
        )
    words = f"For {len(order)} of {len(names)} properties there is a unit that follows it, closest {'; '.join(told)}."
    return Verdict("healthy", words, numbers)
