"""The recurrent layer: it owns time. It unrolls a cell, stamps each record with its time step, and stacks layers.

One recurrence, three granularities, the same numbers:
    primitive   every product and every activation is a record
    cell        one fused record per time step
    sequence    one record per layer, direction and window; the loop over time is inside the kernel
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from micrornn import device, kernels
from micrornn.arguments import choice, flag, numbers, rate, real, require_precision, short, sizes, wholes
from micrornn.calls import checked
from micrornn.cells import BOTH_SIDES, Cell, State, Weights, bias_with_forget, declared, find_cell, take_step
from micrornn.dropmask import MASKS, drop, drop_mask, mix_key
from micrornn.errors import ConfigError, ShapeError, counted, instead
from micrornn.initializers import Initializer, seed_of, starting, zeros
from micrornn.ops import clip_message, concatenate, mask_message, reshape, stack, where
from micrornn.ops.linear import Instead
from micrornn.ops.masks import take_mask
from micrornn.parameters import Module, Parameter
from micrornn.tape import Tape, Tensor, stamp

BIASES = ("bias_ih", "bias_hh")
GRANULARITIES = ("primitive", "cell", "sequence")


class Recurrent(Module):
    """Layers of one cell over time-major sequences.

    x (seq_len, batch_size, input_size) -> y (seq_len, batch_size, directions * hidden_size), and the last states:
    h_n (num_layers * directions, batch_size, hidden_size), and one for each further state, in PyTorch's order.

    cell               a name of cells.CELLS, such as lstm; FILE.py:CLASS; or a Cell
    num_layers         each layer reads the outputs of the one below
    bidirectional      a second set of weights walks from the last step to the first
    dropout            rate between layers, while training. Each call draws other masks; with a number as the attribute
                       dropout_key, the masks of that key, from time step dropout_start on
    recurrent_dropout  rate on h_prev where it goes through weights, while training, the same at all time steps
                       (cells/dropped.py)
    dropout_mask       step: dropout between layers drops other numbers at each time step; sequence: the same at all
    granularity        primitive, cell or sequence
    learn_initial      h_0 (and c_0) are parameters, one row for all lanes, instead of zeros
    forget_bias        None: as the other biases. A number: where bias_ih of a forget gate f starts
    initializers       {"weight_ih": ..., "weight_hh": ..., "bias": ...} in the place of the cell's own
    clip_message       limit of each number passed back from a time step to the one before it; 0: none
    seed               of the first weights and of dropout; by default one that no other layer has (initializers.py)

    Parameters are named as in PyTorch: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, ..._l0_reverse, ...

    >>> y, (h, c) = Recurrent("lstm_peephole", 3, 8)(np.zeros((5, 4, 3)))
    >>> y.shape, h.shape
    ((5, 4, 8), (1, 4, 8))
    """

    @checked
    def __init__(self, cell: str | Cell, input_size: int, hidden_size: int, num_layers: int = 1,
                 bidirectional: bool = False, dropout: float = 0.0, *, recurrent_dropout: float = 0.0,
                 dropout_mask: str = "step", granularity: str = "sequence", learn_initial: bool = False,
                 forget_bias: float | None = None,
                 initializers: dict[str, Initializer] | None = None, clip_message: float = 0.0,
                 seed: int | None = None, dtype: type = np.float32):  # fmt: skip
        what = type(self).__name__
        sizes(what, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        choice(f"{what}: granularity", granularity, GRANULARITIES)
        choice(f"{what}: dropout_mask", dropout_mask, MASKS)
        dropout = rate(f"{what}: dropout", dropout)
        recurrent_dropout = rate(f"{what}: recurrent_dropout", recurrent_dropout)
        if not real(f"{what}: clip_message", clip_message) >= 0:
            raise ConfigError(f"{what}: clip_message must be 0 or more, not {clip_message}")
        if not isinstance(cell, (str, Cell)):
            raise ConfigError(f"{what}: a cell is a name, such as 'lstm', or a Cell, not {short(cell)}")
        require_precision(what, dtype)
        seed = seed_of(what, seed)
        bidirectional = flag(f"{what}: bidirectional", bidirectional)
        forget_bias = None if forget_bias is None else real(f"{what}: forget_bias", forget_bias)
        self.cell = find_cell(cell) if isinstance(cell, str) else declared(cell)
        self.granularity = granularity
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.directions = ("", "_reverse") if bidirectional else ("",)
        if recurrent_dropout and not (self.cell.recurrent and self.cell.derivable):
            why = "no kernel can be derived of its step" if self.cell.recurrent else "its state goes through no weights"
            raise ConfigError(f"`recurrent_dropout`: of the cell {self.cell.name} {why}; leave it out")
        if recurrent_dropout and clip_message:
            raise ConfigError("`clip_message` limits one message, and `recurrent_dropout` makes it two; leave one out")
        self.dropout, self.clip_message, self.seed = dropout, clip_message, seed
        self.recurrent_dropout, self.dropout_mask = recurrent_dropout, dropout_mask
        self.dropout_key: int | None = None  # None: other masks at each call
        self.calls, self.dropout_start = 0, 0
        self.part = ""  # of a network that has several, such as "encoder": its records are named after it
        rng = np.random.default_rng(seed)
        chosen = dict(self.cell.initializers(hidden_size))
        for name, initializer in (initializers or {}).items():
            if name not in chosen and name not in BOTH_SIDES:  # a cell may have no use for one of those
                raise ConfigError(f"{what}: there is no initializer of {name!r}{instead(name, chosen)}")
            chosen[name] = starting(f"{what}: the initializer of {name}", initializer)
        self.weights: dict[str, Parameter] = {}
        self._names: dict[str, list[str]] = {}  # of the weights of a layer and direction, in the cell's order
        for layer in range(num_layers):
            shapes = self.cell.shapes(hidden_size * len(self.directions) if layer else input_size, hidden_size)
            order = sorted(shapes, key=lambda name: not name.startswith("bias"))  # seeds of old runs give their weights
            for direction in self.directions:
                start = {name: chosen["bias" if name in BIASES else name](rng, shapes[name]) for name in order}
                if forget_bias is not None:
                    for name, value in zip(BIASES, (forget_bias, 0.0)):
                        if name in start:
                            bias_with_forget(start[name], self.cell, value)
                at = f"_l{layer}{direction}"
                self._names[at] = [name + at for name in self.cell.parameters]
                self.weights.update({name + at: Parameter(start[name], dtype) for name in shapes})
        if flag(f"{what}: learn_initial", learn_initial):
            for state in self.cell.states:
                rows = zeros(rng, (num_layers * len(self.directions), 1, hidden_size))
                self.weights[state + "_0"] = Parameter(rows, dtype)

    def initial(self, batch_size: int) -> State:
        """The states a sequence starts from if none are given: zeros, or the learned ones."""
        shape = (self.num_layers * len(self.directions), batch_size, self.hidden_size)
        blank = self._blank(shape)
        return tuple(
            self.weights[state + "_0"] + blank if state + "_0" in self.weights else blank for state in self.cell.states
        )

    def zero_state(self, batch_size: int) -> State:
        """The state that is zero throughout, one tensor (layers * directions, batch_size, hidden_size) for each of h,
        c, ...; that of `initial` is another where it is learned."""
        sizes("zero_state", batch_size=batch_size)
        blank = self._blank((self.num_layers * len(self.directions), batch_size, self.hidden_size))
        return (blank,) * len(self.cell.states)

    def _blank(self, shape: tuple[int, ...]) -> Tensor:
        """Zeros on the device of the weights, in their precision."""
        weight = self.weights["weight_ih_l0"].data
        return Tensor(kernels.of(weight).zeros(shape, weight.dtype))

    def _rows(self, batch_size: int, state: Sequence[Tensor] | None) -> list[list[Tensor]]:
        """For h, and for c, what each layer and direction starts from."""
        if state is None and self.cell.states[0] + "_0" not in self.weights:  # all of them are learned, or none
            blank = self._blank((batch_size, self.hidden_size))
            return [[blank] * len(self._names)] * len(self.cell.states)
        return [list(rows) for rows in (self.initial(batch_size) if state is None else state)]

    @checked
    def __call__(self, x: Tensor, state: Sequence[Tensor] | None = None, mask: Any = None,
                 lengths: Sequence[int] | None = None) -> tuple[Tensor, State]:  # fmt: skip
        """Outputs of every step and the last states.

        state     what `initial` gives: one tensor (layers * directions, B, H) for h, for the LSTM a second for c
        mask      (seq_len, batch_size) bool. A masked step carries the state over; its gradient is exactly zero.
                  What stands in x there, NaN for one, is never looked at; the output there repeats the state, and
                  what comes back to it goes to that state, unless it is NaN or infinite
        lengths   how many first steps of each lane count: the usual mask, made here
        """
        x = self.tensor(x)
        if state is not None:
            state = [self.tensor(part) for part in self._states(state)]
        self._check(x, state)
        if mask is not None or lengths is not None:
            mask = self._mask(x, mask, lengths)
        states = self._rows(x.shape[1], state)
        last: list[Sequence[Tensor]] = []
        self.calls += 1
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                key = mix_key(self.seed, self._key(), layer)
                x = drop(x, self.dropout, key, self.dropout_start, self.dropout_mask)
            outputs = []
            for n, direction in enumerate(self.directions):
                at = f"_l{layer}{direction}"
                weights = [self.weights[name] for name in self._names[at]]
                first = [rows[len(last)] for rows in states]
                with stamp(scope=f"{self.part}.{self.cell.name}{at}" if self.part else self.cell.name + at):
                    y, end = self._run(x, first, weights, mask, bool(n), self._keep(first[0], layer, n))
                outputs.append(y)
                last.append(end)
            x = concatenate(*outputs, axis=2) if len(outputs) > 1 else outputs[0]
        return x, tuple([stack(*rows) for rows in zip(*last)])

    def _key(self) -> int:
        return self.calls if self.dropout_key is None else self.dropout_key

    def _keep(self, h: Tensor, layer: int, direction: int) -> Tensor | None:
        """(B, H): what h_prev is multiplied by before it goes through weights; None: it is not dropped."""
        if not (self.recurrent_dropout and self.training):
            return None
        key = mix_key(self.seed, self._key(), layer, direction, 1)
        return drop_mask(h, h.shape, self.recurrent_dropout, key)

    def _run(self, x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor], mask: np.ndarray | None,
             reverse: bool, keep: Tensor | None) -> tuple[Tensor, Sequence[Tensor]]:  # fmt: skip
        """One layer in one direction."""
        clip, op = self.clip_message, self.cell.op if keep is None else self.cell.dropped.op
        kept = () if keep is None else (keep,)
        if self.granularity == "sequence":
            y, *end = op(x, *state, *kept, *weights, mask=mask, reverse=reverse, clip=clip)
            return y, end
        inputs = list(x)
        outputs: list[Tensor] = [x] * len(inputs)
        for t in reversed(range(len(inputs))) if reverse else range(len(inputs)):
            with stamp(t=t):
                row = None if mask is None else mask[t : t + 1]
                if self.granularity == "cell" and self.cell.derivable:
                    _, *end = op(stack(inputs[t]), *state, *kept, *weights, mask=row, reverse=reverse, clip=clip)
                    state = tuple(end)
                elif self.granularity == "cell":
                    state = self.cell.whole_step(inputs[t], *state, *weights, run=partial(self._step, mask=row))
                else:
                    state = self._step(inputs[t], *state, *weights, mask=row, keep=keep)
                outputs[t] = state[0]
        y = stack(*outputs)
        return (y if mask is None else mask_message(y, mask=mask)), state

    def _step(self, x: Tensor, *given: Tensor, mask: np.ndarray | None, keep: Tensor | None = None) -> State:
        """One time step out of primitive ops, from x, the states and the weights. Lanes that are masked (1, B) step
        from zeros to nowhere: what stands in their x and state meets no product, on the way forward or back, and their
        state is carried over."""
        count = len(self.cell.states)
        state, weights = given[:count], dict[str, Any](zip(self.cell.parameters, given[count:]))
        if self.clip_message:
            state = tuple(clip_message(s, limit=self.clip_message) for s in state)
        before, counts = state, None if mask is None else mask[0][:, None]
        if counts is not None:
            x, *rest = (where(part, 0.0, mask=counts) for part in (x, *state))
            before = tuple(rest)
        if keep is not None:
            weights["weight_hh"] = Instead(before[0] * keep, weights["weight_hh"])
        new = take_step(self.cell, x, before, Weights([*weights], [*weights.values()]))
        return new if counts is None else tuple(where(n, s, mask=counts) for n, s in zip(new, state))

    def tensor(self, x: Any) -> Tensor:
        """An array is as good as a tensor, in the precision of the weights."""
        if isinstance(x, Tensor):
            return x
        weight = self.weights["weight_ih_l0"].data
        return Tensor(kernels.of(weight).asarray(numbers(self.cell.name, x, weight.dtype)))

    def _states(self, state: Any) -> list[Any]:
        """The states as a list: h, and for the LSTM c."""
        names = ", ".join(self.cell.states)
        if not isinstance(state, (list, tuple)):
            raise ShapeError(f"{self.cell.name}: the state is a list of {names}, not one array; write [h]")
        return list(state)

    def _check(self, x: Tensor, state: Sequence[Tensor] | None) -> None:
        given = x.shape
        if len(given) != 3 or given[2] != self.input_size or 0 in given:
            raise ShapeError(f"{self.cell.name}: x has shape {given}, wanted (seq_len, batch_size, {self.input_size})")
        shape = (self.num_layers * len(self.directions), given[1], self.hidden_size)
        if state is not None and [s.shape for s in state] != [shape] * len(self.cell.states):
            raise ShapeError(
                f"{self.cell.name}: states have shapes {[s.shape for s in state]}, wanted one of {shape} "
                f"for each of {', '.join(self.cell.states)}"
            )

    def _mask(self, x: Tensor, mask: Any, lengths: Any) -> np.ndarray | None:
        """The mask as (seq_len, batch_size) bool: the one given, or that of the lengths."""
        name, (seq_len, batch_size, _) = self.cell.name, x.shape
        if lengths is not None:
            if mask is not None:
                raise ConfigError(f"{name}: give a mask or lengths, not both")
            mask = np.arange(seq_len)[:, None] < take_lengths(name, lengths, batch_size, 0, seq_len)
        if mask is not None:
            mask = take_mask(name, mask)
            if mask.shape != x.shape[:2]:
                raise ShapeError(f"{name}: mask {mask.shape}, wanted (seq_len, batch_size) = {x.shape[:2]}")
        return mask


class Scopes(dict[str, np.ndarray]):
    """Scope -> array. Who asks for another is told which there are."""

    def __missing__(self, scope: str) -> NoReturn:
        raise KeyError(f"there is no {scope!r}; there are {', '.join(self)}")


def state_gradients(tape: Tape) -> dict[str, np.ndarray]:
    """dL/dh_t of each recurrent layer on a tape, as the last way back over it has left them: scope -> (seq_len,
    batch_size, hidden_size). Total derivatives, through all later time steps and the layers above. A layer that walks
    from the last step to the first ends in `_reverse`. Scopes are lstm_l0, lstm_l1 and so on; where one comes again, of
    another layer or of another call, it ends in `.2`, `.3` and so on, in the order of the calls. ConfigError where no
    layer went over its whole sequence at once.

    >>> import numpy as np, micrornn as mr
    >>> rnn = mr.GRU(1, 4)
    >>> with mr.Tape() as tape:
    ...     loss = mr.mean(rnn(np.ones((6, 2, 1)))[0][-1] ** 2)
    >>> tape.backward(loss)
    >>> mr.state_gradients(tape)["gru_l0"].shape
    (6, 2, 4)
    """
    found, times = Scopes(), Counter[str]()
    for record in tape.records:
        if isinstance(record.saved, dict) and "dh" in record.saved:
            reverse, rows = record.saved["reverse"], device.host(record.saved["dh"])
            times[record.scope] += 1
            again = f".{times[record.scope]}" if times[record.scope] > 1 else ""
            found[record.scope + again] = rows[:-1] if reverse else rows[1:]
    if not found:
        raise ConfigError("there is no gradient of a state on this tape: go backward first, with granularity sequence")
    return found


def take_lengths(name: str, lengths: Any, batch_size: int, least: int, seq_len: int) -> np.ndarray:
    """The length of each lane as (batch_size,) integers, from `least` to `seq_len`."""
    found = wholes(f"{name}: lengths", lengths)
    if np.ndim(lengths) != 1 or len(found) != batch_size or not all(least <= n <= seq_len for n in found):
        count = counted(batch_size, "number")
        raise ShapeError(f"{name}: lengths {short(lengths)}, wanted {count} in {least}..{seq_len}")
    return np.array(found, np.int64)


def last_valid(y: Tensor, lengths: Sequence[int]) -> Tensor:
    """The output of each lane's last valid step: y (T, B, H) -> (B, H), row y[lengths[b] - 1, b]."""
    if y.ndim != 3:
        raise ShapeError(f"last_valid: y has shape {y.shape}, wanted (seq_len, batch_size, hidden_size)")
    seq_len, batch_size, size = y.shape
    steps = take_lengths("last_valid", lengths, batch_size, 1, seq_len)
    return reshape(y, shape=(seq_len * batch_size, size))[(steps - 1) * batch_size + np.arange(batch_size)]
