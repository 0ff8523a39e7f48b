"""What the units of a model do while it reads: their states over a text, and what in the text they follow.

states(model, vocab, ids)   the measure; how units are read and compared stands in inspect/units.py

After Karpathy, Johnson and Fei-Fei, Visualizing and Understanding Recurrent Networks, 2015 (arXiv:1506.02078), who
looked through the cells of an LSTM by eye. Here they are ranked by |r|, Pearson's correlation over the text between
the property and the unit's value, h or c. Of many units the best does well by luck alone. So the same is done with
the property shifted along the text, end joined to beginning, by many random distances: that keeps how it runs, and
breaks what it has to do with the text. The best |r| that 95 of 100 such shifts stay below is what luck reaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from micrornn.data import Vocab
from micrornn.data.text import Ids
from micrornn.errors import DataError, counted
from micrornn.inspect.flow import MOST_UNITS, STILL
from micrornn.inspect.flow_verdicts import TENTH, never_forgets, stuck
from micrornn.inspect.measure import Array, Axis, Learned, Measure, Number, Verdict, blown_up
from micrornn.inspect.panels import Coloured, Heat, Panel, Rows, Slides
from micrornn.inspect.properties import properties
from micrornn.inspect.register import Measuring
from micrornn.inspect.saturated import KEEPS
from micrornn.inspect.units import SHOWN, Reading, correlation, luck, read, standard
from micrornn.inspect.words import percent
from micrornn.runs import Progress

if TYPE_CHECKING:
    from micrornn.inspect.subject import Subject
    from micrornn.tasks.material import Sizes

READ = 10_000  # tokens: what is rare in a text needs many
LEAST = 500  # fewer tell nothing of what a unit follows
COLOURED = 300  # tokens whose best unit is shown
FRESH = 100  # first tokens that are left out: the state has just begun


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
            f"states: {counted(len(row), 'token is', 'tokens are')} too few, at least 20 are needed; give more, or a "
            "higher `seq_len`"
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
        return Measure("states", about, {}, {}, {}, (blown_up(words),))
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
    measure = Measure("states", about, axes, arrays, numbers)
    return measure.judged(*_verdicts(measure, reading, fresh))


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


def _verdicts(measure: Measure, reading: Reading, fresh: int) -> list[Verdict]:
    found, layers, about, read_tokens = [], reading.layers, measure.subject, measure.subject["tokens"]
    h = reading.states["h"][:, fresh:]
    still = (h.max(axis=1) - h.min(axis=1) <= STILL).mean(axis=1)
    worst = int(still.argmax())
    if still[worst] >= TENTH:
        words = (
            f"{percent(still[worst])} of the units of {layers[worst]} do not move over {counted(read_tokens, 'token')}."
        )
        advice = "They cost time and say nothing: lower `lr`, take fewer with `hidden_size`, or another cell."
        found.append(Verdict("dead", words, {"share": float(still[worst])}, advice))
    saturated, (low, high) = [], (ends.mean(axis=2) for ends in (reading.low, reading.high))
    if not reading.relu:
        saturated = stuck(layers, reading.gates, low, high, Learned.of(about))
    num_steps = about.get("trained", {}).get("num_steps", 0)
    found += saturated or never_forgets(layers, reading.forgets, num_steps)
    if found:
        return found
    if read_tokens < LEAST:
        few = counted(read_tokens, "token is", "tokens are")
        words = f"{few} too few to tell what a unit follows; {LEAST} are the least, 10,000 good."
        return [Verdict("unsure", words, {"tokens": read_tokens}, "Give more text, or a higher `seq_len`.")]
    return [_followers(measure)]


def _followers(measure: Measure) -> Verdict:
    """Which units follow what, the closest first."""
    layers, names, kinds = (measure.axes[name].places for name in ("layer", "property", "state"))
    every, chance = measure["correlation"], measure["luck"]
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


MOST_TEXTS, MOST_ROWS = 3, 48
OBVIOUS = {"whitespace"}  # the token itself says it: a unit that follows it remembers nothing


def panels(measure: Measure) -> list[Panel]:
    """Which unit follows what, the text in the colours of those that follow best, the states of each layer as heat
    maps, how its gates are spread; nothing if a state was not finite."""
    if not measure.arrays:
        return []
    names, layers, kinds = (measure.axes[axis].places for axis in ("property", "layer", "state"))
    correlations, luck = measure["correlation"], measure["luck"]
    found = [(name, best_of(correlations[n]), n) for n, name in enumerate(names)]
    found.sort(key=lambda row: -abs(float(correlations[row[2]][row[1]])))
    rows: list[list[str]] = []
    texts: list[Panel] = []
    for name, (layer, kind, unit), n in found:
        r = float(correlations[n][layer, kind, unit])
        above = "" if abs(r) > luck[n] else "no more than luck"
        rows.append([name, f"{kinds[kind]} of unit {unit} in {layers[layer]}", f"{r:+.2f}", f"{luck[n]:.2f}", above])
        if not above and name not in OBVIOUS and len(texts) < MOST_TEXTS:
            texts.append(_text(measure, name, kinds[kind], f"unit {unit} of {layers[layer]}", r))
    table = Rows(
        "Units that follow something", ["property", "best unit", "r", "by luck", ""], rows,
        note="r: Pearson's correlation over the text. By luck: what the best of all units reaches with the property "
        "shifted along the text.",
    )  # fmt: skip
    return [table, *texts, *_heats(measure), _gates(measure)]


def _text(measure: Measure, name: str, kind: str, unit: str, r: float) -> Coloured:
    values = measure[f"follows {name}"]
    scale = max(1.0, float(np.abs(values).max()))  # c and a relu go beyond 1
    return Coloured(
        f"{name}: {unit}", measure.axes[f"text for {name}"].places, np.round(values / scale, 3),
        kind if scale == 1 else f"{kind} / {scale:.3g}",
        note=f"Where the property varies most; r = {r:+.2f} over the whole text.",
    )  # fmt: skip


def _heats(measure: Measure) -> list[Panel]:
    """Of each layer h, c and the gates over the first tokens: the units whose state moves most, that one on top."""
    layers, tokens = measure.axes["layer"].places, measure.axes["token"].places
    drawn: list[Panel] = []
    for n, layer in enumerate(layers):
        for kind in measure.axes["state"].places:
            values = measure[kind][n].T
            values = np.tanh(values) if kind == "c" else values
            liveliest = np.argsort(-values.std(axis=1), kind="stable")[:MOST_ROWS]
            there = len(measure.axes["unit"].places)
            among = f"the first {len(values)} of {there}" if len(values) < there else f"{there}"
            live = counted(len(liveliest), "unit that moves", "units that move")
            note = f"The {live} most of {among}." if len(liveliest) < there else ""
            drawn.append(
                Heat(
                    f"{layer}: {kind}_t over the text", "token", "unit", "tanh(c)" if kind == "c" else kind,
                    tokens, liveliest.tolist(), np.round(values[liveliest], 3), centred=True, note=note,
                )
            )  # fmt: skip
        names = measure.axes["gate"].places
        order = sorted(range(len(names)), key=lambda m: names[m] in KEEPS)  # a page opens with the last
        gates = [
            Heat(
                "", "token", "unit", f"gate {names[m]}", tokens, liveliest.tolist(),
                np.round(measure["gates"][n, m].T[liveliest], 3), centred=bool(measure["gates"][n, m].min() < 0),
                limits=(-1, 1) if measure["gates"][n, m].min() < 0 else (0, 1),
            )
            for m in order
        ]  # fmt: skip
        if len(gates) > 1:  # the one of an RNN is h
            places = [names[m] for m in order]
            drawn.append(Slides(f"{layer}: gates over the text", "gate", places, gates, note=note))
    return drawn


def _gates(measure: Measure) -> Rows:
    low, high, rows = measure["low"], measure["high"], []
    for n, layer in enumerate(measure.axes["layer"].places):
        for m, gate in enumerate(measure.axes["gate"].places):
            ends = [percent(low[n, m].mean()), percent(high[n, m].mean())]
            always = [f"{(x[n, m] > 0.9).sum()} of {low.shape[2]}" for x in (low, high)]
            rows.append([layer, gate, *ends, *always])
    return Rows(
        "How often gates are at their ends", ["layer", "gate", "low", "high", "units mostly low", "units mostly high"],
        rows, note="A sigmoid is low (closed) below 0.1, high (open) above 0.9; tanh beyond 0.95; relu is low at 0. "
        "Mostly: at more than 9 of 10 tokens.",
    )  # fmt: skip


class States(Measuring):
    """What the units do over a text, and which of them follow quotes, brackets, lines.

    The state over the characters of a text, the units that best follow a property of it (position in the line,
    inside of quotes, of brackets), and the text in the colours of one of them.
    """

    name = "states"
    order = 8
    asks = "what have the units learned?"
    title = "States: what the units do"
    example = "`text=chapter.txt`"
    windows = 1
    seq_len = 10_000
    batch_size = 1
    quick = True
    needs = "text"
    judges = ("saturated", "dead")
    panels = staticmethod(panels)

    def take(self, subject: Subject, sizes: Sizes, progress: Progress | None = None, part: str = "") -> Measure:
        """Of a text from its beginning, in one lane."""
        material = subject.material
        return states(
            subject.model, material.vocab, material.tokens, progress, tokens=sizes.seq_len or READ, **subject.about()
        )
