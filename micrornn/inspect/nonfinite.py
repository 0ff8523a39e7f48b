"""What blew up first: the record on a tape whose value, or else whose gradient, is the first to be NaN or infinite.

    blown          the first record that blew up, on a tape -> Blown or None
    Blown          op, layer, time step, and what went in; `words()` tells it in a line
    nonfinite      the measure: the same over windows, with the sizes of all values and gradients

Values come first, in the order in which they were computed: whatever follows a NaN is NaN as well. If all are finite,
the gradients follow in the order in which they flow back. Inside of a recurrent op it is looked for in what the op
has saved of each time step.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from micrornn.errors import counted
from micrornn.inspect.measure import Array, Axis, Measure, Number, Verdict, plain
from micrornn.inspect.panels import Lines, Panel, Rows, curves
from micrornn.inspect.recorded import Layer, Recording, gate_names, is_sequence, record, states
from micrornn.inspect.register import Measuring
from micrornn.inspect.window import Window, one_by_one
from micrornn.inspect.words import number, of_gradient
from micrornn.runs import Progress
from micrornn.tape import Record, Tape, Tensor

# A loss above this is lost: the right token has a probability below the smallest float32 that there is, 1.4e-45.
# It is finite because ours is computed from logits that differ by more than this. Cells whose states are bounded
# (all but rnn_relu) never overflow, however large their weights; this is how they blow up.
LOST = float(-np.log(np.finfo(np.float32).smallest_subnormal))


@dataclass(frozen=True)
class Operand:
    """What went into an op: its name, its shape, whether all of it is finite, its smallest and largest number that is
    (NaN where none is)."""

    name: str
    shape: tuple[int, ...]
    finite: bool
    low: float
    high: float

    @property
    def size(self) -> float:
        """Its largest number, regardless of sign."""
        return max(abs(self.low), abs(self.high)) if self.finite else np.inf


@dataclass(frozen=True)
class Blown:
    """The first record that blew up.

    what       "value" or "gradient"
    array      whose value or gradient it is: the output, an input, or of a recurrent layer h, c, "gate f"
    number     the number that was found: nan, inf, or merely a huge one
    t          its time step; None where there is none, as in a loss or in a sum over all time steps
    """

    what: str
    op: str
    layer: str
    t: int | None
    array: str
    number: float
    inputs: tuple[Operand, ...]

    def words(self) -> str:
        """In a line: op, layer, time step, and the largest of what went in."""
        where = f"op {self.op}" + (f", layer {self.layer}" if self.layer else "")
        when = f", time step {self.t}" if self.t is not None else ""
        of = self.array if self.what == "value" else f"gradient of {self.array}"
        largest = max(self.inputs, key=lambda operand: operand.size, default=None)
        went_in = ""
        if largest is not None:
            size = f"has values of {number(largest.size)}" if largest.finite else "is itself not finite"
            went_in = f"; the largest that went in: {largest.name} {_shape(largest.shape)} {size}"
        return f"{where}{when}: its {of} is {self.number:.4g}{went_in}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


Fine = Callable[[np.ndarray], np.ndarray]  # which numbers of an array have not blown up


def blown(tape: Tape, loss: Tensor, dloss: Any = None, limit: float | None = None,
          more: Sequence[tuple[Tensor, Any]] = ()) -> Blown | None:  # fmt: skip
    """The first record that blew up; None if all is finite.

    dloss     of the gradient, as for `Tape.backward`
    limit    take what is larger than this for blown up too
    more     other tensors on the tape with the cotangents that they get from outside

    Goes backward over the tape only if all values are finite. No `grad` is touched.
    """

    def fine(x: np.ndarray) -> np.ndarray:
        return np.isfinite(x) if limit is None else np.abs(x) <= limit

    # the (T, B) that arrays with a time axis begin with, as far as recurrent ops tell
    times = {r.saved["x"].shape[:2] for r in tape.records if is_sequence(r)}
    for row in tape.records:
        if is_sequence(row):
            at = _inside(row, _values_of(row), fine, backward=False)
            if at is not None:
                return Blown("value", row.op.name, _layer(row), *at, _operands(row))
        for output in (x.data for x in row.outputs):
            bad = ~fine(output)
            if bad.any():
                t = _first_time(bad, times) if row.t is None else row.t
                return Blown("value", row.op.name, _layer(row), t, "output", float(output[bad][0]), _operands(row))
    return _first_gradient(tape, [(loss, dloss), *more], fine, times)


def _first_gradient(tape: Tape, outputs: Sequence[tuple[Tensor, Any]], fine: Fine,
                    times: set[tuple[int, ...]]) -> Blown | None:  # fmt: skip
    found: list[tuple[Record, Tensor, np.ndarray]] = []

    def watch(row: Record, tensor: Tensor, cotangent: np.ndarray) -> None:
        if not found and not fine(cotangent).all():
            found.append((row, tensor, cotangent))

    tape.cotangents([], [output for output, _ in outputs], [dloss for _, dloss in outputs], watch)
    if not found:
        return None
    row, tensor, cotangent = found[0]
    inputs = _operands(row)
    if is_sequence(row):
        at = _inside(row, _gradients_of(row), fine, backward=True)
        if at is not None:
            return Blown("gradient", row.op.name, _layer(row), *at, inputs)
    bad = ~fine(cotangent)
    name = dict(zip(map(id, row.inputs), _names(row)))[id(tensor)]
    t = _first_time(bad[::-1], times) if row.t is None else row.t
    if row.t is None and t is not None:
        t = len(bad) - 1 - t  # on its way back the last time step comes first
    return Blown("gradient", row.op.name, _layer(row), t, name, float(cotangent[bad][0]), inputs)


def _first_time(bad: np.ndarray, times: set[tuple[int, ...]]) -> int | None:
    return int(bad.reshape(len(bad), -1).any(axis=1).argmax()) if bad.shape[:2] in times else None


def _values_of(row: Record) -> dict[str, np.ndarray]:
    """What a recurrent op has saved of each time step (T, B, ...), in the order in which a time step computes it."""
    layer, found = Layer(row.scope, row), {}
    if not set(layer.program.slots) <= set(layer.program.new):  # else what its one gate gives is h
        found = {name: row.saved[name] for name in ("hidden", "gates") if name in row.saved}
    return found | {name: states(layer, name) for name in reversed(layer.states)}


def _gradients_of(row: Record) -> dict[str, np.ndarray]:
    """The same of the way back."""
    layer = Layer(row.scope, row)
    found = {name: states(layer, name) for name in (f"d{state}" for state in layer.states)}
    return found | {name: row.saved[name] for name in ("dgates", "dhidden") if name in row.saved}


def _inside(row: Record, arrays: Mapping[str, np.ndarray], fine: Fine,
            backward: bool) -> tuple[int, str, float] | None:  # fmt: skip
    """(time step, array, number) of the first that is not fine, in the order in which time was walked."""
    steps = np.arange(len(row.saved["x"]))
    bad = {name: ~fine(array) for name, array in arrays.items()}
    for t in steps[::-1] if bool(row.saved["reverse"]) != backward else steps:
        for name, where in bad.items():
            if where[t].any():
                if name.endswith("gates"):
                    gates = gate_names(Layer(row.scope, row))
                    gate = int(where[t].any(axis=0).argmax()) * len(gates) // where.shape[2]
                    return int(t), f"gate {gates[gate]}", float(arrays[name][t][where[t]][0])
                return int(t), name.removeprefix("d"), float(arrays[name][t][where[t]][0])
    return None


def _layer(row: Record) -> str:
    """The scope of a record; else the layer whose parameters it uses."""
    owners = [x.name.rpartition(".")[0] for x in row.inputs if x.name.count(".")]
    return row.scope or (owners[-1] if owners else "")  # the last: tied weights are the embedding's, the bias is not


def _names(row: Record) -> list[str]:
    """What the inputs are called: their own names, else those that the op gives them."""
    given = list(inspect.signature(row.op.forward).parameters)[1:]
    return [x.name or (given[n] if n < len(given) else f"input {n}") for n, x in enumerate(row.inputs)]


def _operands(row: Record) -> tuple[Operand, ...]:
    found = []
    for name, tensor in zip(_names(row), row.inputs):
        good = tensor.data[np.isfinite(tensor.data)]
        low, high = (float(good.min()), float(good.max())) if good.size else (np.nan, np.nan)
        found.append(Operand(name, tensor.shape, good.size == tensor.data.size, low, high))
    return tuple(found)


def nonfinite(model: Any, windows: Sequence[Window], progress: Progress | None = None, **about: Any) -> Measure:
    """What blows up first when the model reads the windows; up to the first one in which something does.

    value, gradient (record, t) are the largest numbers of each record at each time step, infinite where they are
    not finite, NaN where a record has no time axis; the gradient is that of the loss averaged over time and lanes.
    Those of the window in which something blew up, else of the last one.

    ConfigError if nothing in the model is recurrent, or if there is no window.
    """
    seen = 0
    lost = LOST if of_gradient(about) == "nats" else math.inf  # a squared error may be as large as it is
    for window in one_by_one("nonfinite", windows, progress):
        recording, seen = record(model, window), seen + 1
        found = blown(recording.tape, recording.loss)
        if found is not None or recording.loss.item() > lost:
            break
    loss = recording.loss.item()
    if found is None and loss > lost:
        found = blown(recording.tape, recording.loss, limit=LOST)
    values, gradients, *whole = _sizes(recording)
    rows = [f"{n} {r.op.name} {_layer(r)}".strip() for n, r in enumerate(recording.tape.records, 1)]
    unit = of_gradient(about)
    axes = {"record": Axis.of(rows), "t": Axis.of(range(values.shape[1]), "time step")}
    arrays = {
        "value": Array(values, ("record", "t"), "", "largest seen, regardless of sign"),
        "gradient": Array(gradients, ("record", "t"), unit, "largest seen of its gradient, regardless of sign"),
        "largest_value": Array(whole[0], ("record",), "", "the same over all time steps"),
        "largest_gradient": Array(whole[1], ("record",), unit, "the same over all time steps"),
    }
    told = about | {
        "windows": seen, "seq_len": values.shape[1], "batch_size": recording.shape[1],
        "inputs": [] if found is None else [plain(asdict(operand)) for operand in found.inputs],
    }  # fmt: skip
    numbers = {"loss": Number(loss, str(about.get("unit") or "nats per token"), "loss of the window that is shown")}
    return Measure("nonfinite", told, axes, arrays, numbers, (_verdict(found, seen, loss, arrays),))


def _sizes(recording: Recording) -> Iterator[np.ndarray]:
    """The largest value and the largest gradient of each record: at each time step (records, T), over all (records,).
    Where nothing flows back the gradient is NaN."""
    tape, (seq_len, batch_size) = recording.tape, recording.shape
    outputs = [r.outputs[0] for r in tape.records]
    found = tape.cotangents(outputs, [recording.loss])
    # a recurrent op is shown its outputs' gradient from above; what time adds to that, it has saved
    gradients = [
        states(Layer(r.scope, r), "dh") if is_sequence(r) and g is not None else g for r, g in zip(tape.records, found)
    ]

    def largest(array: np.ndarray | None, times: int) -> np.ndarray:
        if array is None or (times > 1 and array.shape[:2] != (seq_len, batch_size)):
            return np.full(times, np.nan)
        size = np.abs(array.reshape(times, -1)).max(axis=1).astype(np.float64)
        return np.where(np.isfinite(size), size, np.inf)

    both = [x.data for x in outputs], gradients
    yield from (np.stack([largest(array, seq_len) for array in arrays]) for arrays in both)
    yield from (np.concatenate([largest(array, 1) for array in arrays]) for arrays in both)


def _verdict(found: Blown | None, seen: int, loss: float, arrays: Mapping[str, Array]) -> Verdict:
    if found is None:
        largest = {}
        for name in ("value", "gradient"):  # where nothing has a time axis, of all there is
            sizes = arrays[name].values
            sizes = arrays[f"largest_{name}"].values if np.isnan(sizes).all() else sizes
            largest[name] = float(np.nanmax(sizes))
        words = (
            f"All is finite in {counted(seen, 'window')}: over time no value is larger than "
            f"{number(largest['value'])}, and no gradient larger than {number(largest['gradient'])}."
        )
        return Verdict("healthy", words, largest)
    advice = "Lower `lr`, limit the gradient with `clip_norm`, and go on from a checkpoint before this one."
    numbers = {"window": seen, "loss": loss} | ({} if found.t is None else {"t": found.t})
    if np.isfinite(found.number):
        words = (
            f"All is finite in window {seen}, but the loss is {number(loss)} nats: the right token's probability is "
            f"smaller than any float32. The first to be larger than {LOST:.0f}: {found.words()}."
        )
    else:
        words = f"The first to blow up, in window {seen}: {found.words()}."
    return Verdict("nonfinite", words, numbers, advice)


def panels(measure: Measure) -> list[Panel]:
    """The largest values and gradients over time, a table of the records, and what went into the one that blew up."""
    names, times = measure.axes["record"].places, np.array(measure.axes["t"].places)
    found: list[Panel] = []
    for kind, title in (("value", "Largest values"), ("gradient", "Largest gradients")):
        sizes = measure[kind]
        drawn = curves(names, times, np.where(np.isfinite(sizes) & (sizes > 0), sizes, np.nan))
        drawn = [curve for curve, row in zip(drawn, sizes) if not np.isnan(row).all()]
        note = "One curve for each record that has a time axis; it ends where nothing is finite any more."
        found.append(Lines(title, "time step", f"largest {kind}", drawn, log_y=True, note=note))
    largest = zip(names, measure["largest_value"], measure["largest_gradient"])
    rows = [(name, *("" if np.isnan(size) else f"{size:.4g}" for size in sizes)) for name, *sizes in largest]
    found.append(Rows("Records", ("record", "largest value", "largest gradient"), rows))
    inputs = [
        (one["name"], _shape(one["shape"]), "yes" if one["finite"] else "NO",
         *("-" if one[end] is None else f"{one[end]:.4g}" for end in ("low", "high")))
        for one in measure.subject["inputs"]
    ]  # fmt: skip
    if inputs:
        found.append(Rows("What went in", ("input", "shape", "finite", "lowest", "highest"), inputs))
    return found


class Nonfinite(Measuring):
    """The first value or gradient that is NaN or infinite: op, layer, time step.

    Reads window after window and stops at the first NaN or infinity, in a value or in a gradient, and names the
    op, the layer, the time step and what went in.
    """

    name = "nonfinite"
    order = 7
    asks = "did anything blow up?"
    title = "Non-finite: where NaN or infinity came up first"
    example = "`last`"
    windows = 8
    quick = True
    judges = ("nonfinite",)
    measure = staticmethod(nonfinite)
    panels = staticmethod(panels)
