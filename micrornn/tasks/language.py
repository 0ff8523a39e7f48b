"""The network of a language model, how much memory it takes, and how it reads token after token.

embedding -> recurrent layers -> linear -> cross-entropy with the next token, at every time step

LanguageModel                    the network
num_parameters, memory_needed    without making one
segment_steps, require_memory    what fits into memory
Stepper                          reads token after token, without a tape
"""

from __future__ import annotations

import bisect
import math

import numpy as np

from micrornn import device, kernels
from micrornn.cells import find_cell
from micrornn.config import Config
from micrornn.data.sequences import Padded
from micrornn.errors import ConfigError, counted
from micrornn.finite import diverged
from micrornn.layers import Dropout, Linear
from micrornn.ops import cross_entropy, linear_cross_entropy
from micrornn.ops.embedding import take_ids
from micrornn.tape import Tensor, no_tape
from micrornn.tasks.parts import Network, embedded, num_recurrent, recurrent

LARGE_VOCABULARY = 1000  # from here on the logits of a window would be its largest array
TOKEN_BYTES = 16  # of a window's inputs, targets, and the text they are cut from


class LanguageModel(Network):
    """ids (seq_len, batch_size), or a Padded of them -> logits (seq_len, batch_size, vocab_size) and the last state."""

    takes_padded = True
    input_dropout: Dropout

    def __init__(self, config: Config, vocab_size: int):
        if config.bidirectional:
            raise ConfigError(
                "`bidirectional`: a language model that also reads backward has seen the token it is to predict; "
                "leave the flag out"
            )
        self.vocab_size, seeds = vocab_size, self.begin(LanguageModel, config, vocab_size, seeds=4)
        self.embedding, width = embedded(vocab_size, config.embedding_size, config, seeds[0])
        self.input_dropout = Dropout(config.input_dropout, seed=seeds[0], mask=config.dropout_mask)
        self.rnn = recurrent(config, width, seeds[1])
        self.dropout = Dropout(config.dropout, seed=seeds[2], mask=config.dropout_mask)
        self.decoder = Linear(config.hidden_size, vocab_size, seed=seeds[3], dtype=np.dtype(config.dtype).type)
        if config.tied:
            if config.embedding_size != config.hidden_size:
                raise ConfigError(
                    f"`tied`: the output layer reads {counted(config.hidden_size, 'number')} and the embedding has "
                    f"{config.embedding_size:,}; make `embedding_size` and `hidden_size` the same"
                )
            # As small as an output layer's weights start: logits of rows of length sqrt(H) would be far too sure.
            self.embedding.weight = self.decoder.weight
        self.end()

    def features(self, ids: np.ndarray) -> Tensor:
        """What the lowest layer reads: (seq_len, batch_size, its input_size)."""
        return self.input_dropout(self.embedding(ids))

    def __call__(self, ids: np.ndarray | Padded, state: tuple[Tensor, ...] | None = None,
                 mask: np.ndarray | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
        if isinstance(ids, Padded):
            ids, mask = ids
        y, last = self.rnn(self.features(ids), state, mask)
        return self.decoder(self.dropout(y)), last

    def loss(self, ids: np.ndarray, targets: np.ndarray,
             state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
        """The mean loss in nats per token, and the last state. The logits of a large vocabulary are never all there.
        With the setting `lines`, where a target is below 0 is padding, which is not looked at."""
        mask = None
        if self.config.lines and (targets < 0).any():
            mask = targets >= 0
            targets = np.where(mask, targets, 0)
        k = kernels.of(self.flat.data)
        if k.device == "cuda":  # both now: a copy to the card waits for the kernels that are queued before it
            ids, targets = (k.asarray(take_ids("tokens", array, self.vocab_size)) for array in (ids, targets))
        if self.vocab_size < LARGE_VOCABULARY:
            logits, last = self(ids, state, mask)
            return cross_entropy(logits, targets=targets, mask=mask), last
        y, last = self.rnn(self.features(ids), state, mask)
        y, weight, bias = self.dropout(y), self.decoder.weight, self.decoder.bias
        return linear_cross_entropy(y, weight, bias, targets=targets, mask=mask, gradient=self.training), last

    def segment_steps(self, config: Config) -> int:
        """How many time steps of a window of these sizes may be on the tape at once."""
        return segment_steps(config, self.vocab_size)

    def require_memory(self, config: Config) -> None:
        """ConfigError where these sizes ask for more memory than there is."""
        require_memory(config, self.vocab_size)

    def stepper(self, state: tuple[Tensor, ...], read: int = 0) -> Stepper:
        """What reads token after token from this state on."""
        return Stepper(self, state, read)

    def read(self, ids: np.ndarray, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, ...]:
        """The last state alone."""
        return self.rnn(self.features(ids), state)[1]


def num_parameters(config: Config, vocab_size: int) -> int:
    """How many numbers a model of these sizes learns, without making one."""
    rows = vocab_size * (config.embedding_size + (0 if config.tied else config.hidden_size) + 1)
    return rows + num_recurrent(config, config.embedding_size or vocab_size)


def memory_needed(config: Config, vocab_size: int) -> int:
    """Bytes of a training update, roughly: parameters, gradients, optimizer, and what the tape holds."""
    fixed, per_step, _ = _memory(config, vocab_size)
    return fixed + config.num_steps * per_step


def _memory(config: Config, vocab_size: int) -> tuple[int, int, int]:
    """Bytes, roughly: of an update whatever its window, of one more time step on the tape, of a state of all lanes."""
    cell = find_cell(config.cell)
    states, gates = len(cell.states), len(cell.gates)
    h, d, layers = config.hidden_size, config.embedding_size or vocab_size, config.num_layers
    parameters = num_parameters(config, vocab_size)
    per_token = layers * h * (3 * gates + 8) + 3 * d + (3 * vocab_size if vocab_size < LARGE_VOCABULARY else h)
    if config.recurrent_dropout:  # two more states (cells/dropped.py), forward and back, and what comes back to y
        per_token += 5 * layers * h
    if config.lines:  # what a mask selects is copied
        per_token += d + (layers - 1) * h + (vocab_size if vocab_size < LARGE_VOCABULARY else h)
    size = np.dtype(config.dtype).itemsize
    lane = size * config.batch_size
    return size * 5 * parameters, lane * per_token, lane * layers * h * states


def segment_steps(config: Config, vocab_size: int) -> int:
    """How many time steps of a window may be on the tape at once: as many as the memory budget allows, all without
    one. ConfigError with the least that would do, where it is too small."""
    steps, budget = config.num_steps, config.memory_budget
    if not budget or memory_needed(config, vocab_size) <= budget:
        return steps
    if config.granularity != "sequence":
        raise ConfigError(f"`memory_budget` needs `granularity=sequence`, not {config.granularity}")
    fixed, per_step, border = _memory(config, vocab_size)
    fixed += TOKEN_BYTES * config.batch_size * steps

    def needed(length: int) -> int:
        return fixed + length * per_step + -(-steps // length) * border

    # Segments take memory by their length, and borders by their number: least at the square root of both.
    least = min(max(1, round(math.sqrt(border * steps / per_step))), steps)
    if needed(least) > budget:
        raise ConfigError(
            f"`memory_budget` is {budget / 1e6:.3g} MB, too little for this model and windows of "
            f"{counted(steps, 'time step')} in {counted(config.batch_size, 'lane')}: {math.ceil(needed(least) / 1e6)} "
            "MB would do"
        )
    most = least + bisect.bisect(range(least, steps + 1), budget, key=needed) - 1
    # Memory is used again for arrays of the same size; a shorter last segment takes its own. So: hardly any rest.
    return min(range(most, most * 3 // 4, -1), key=lambda length: steps % length)


def require_memory(config: Config, vocab_size: int) -> None:
    """ConfigError where the sizes ask for more memory than the machine, or its graphics card, has."""
    needed, where = memory_needed(config, vocab_size), "card" if config.device == "cuda" else "machine"
    there = device.card()["memory_bytes"] if config.device == "cuda" else device.memory()
    if there and needed > there:
        raise ConfigError(
            f"these sizes need about {needed / 1e9:,.0f} GB of memory, and the {where} has {there / 1e9:,.0f} GB; "
            "lower `hidden_size`, `num_layers`, `batch_size` or `num_steps`"
        )


class Stepper:
    """A language model that reads token after token in one lane: the model's own numbers, without a tape.

    For one lane and one time step, what surrounds the arithmetic takes longer than the arithmetic: packed weights,
    arrays, records. Here the kernels are called directly, on arrays that are made once.

    state    what to start from, as the model gives it for one lane; it is copied
    read     how many tokens were read before
    """

    def __init__(self, model: LanguageModel, state: tuple[Tensor, ...], read: int = 0):
        self.model, self.read = model, read
        rnn, dtype = model.rnn, model.flat.data.dtype
        self.k = kernels.of(model.flat.data)
        self.cell, self.turn = rnn.cell, 0
        # a cell that cannot become a kernel runs as it is written, step by step
        self.plain = None if rnn.cell.derivable else tuple(Tensor(rows.data.copy()) for rows in state)
        self.embedding, self.decoder = model.embedding.weight.data, model.decoder
        self.logits = np.empty(model.vocab_size, dtype)
        self.gates, self.hidden = (np.empty(len(rnn.cell.gates) * rnn.hidden_size, dtype) for _ in range(2))
        self.layers = [
            (
                {name: rnn.weights[f"{name}_l{layer}"].data for name in rnn.cell.parameters},
                [np.stack([rows.data[layer, 0]] * 2) for rows in state],  # one row is read, the other one written
            )
            for layer in range(rnn.num_layers)
        ]

    def __call__(self, token: int) -> np.ndarray:
        """The logits (vocab_size,) of what follows the token; the next call overwrites them. DivergedError where they
        are not finite, with the layer and after how many tokens."""
        if self.plain is None:
            self._step(token)
        else:
            with no_tape():
                logits, self.plain = self.model(np.array([[token]], np.int32), self.plain)
            self.logits[...] = logits.data[0, 0]
        self.read += 1
        if not np.isfinite(self.logits).all():
            raise diverged(self.model, self.states(), self.read)
        return self.logits

    def _step(self, token: int) -> None:
        x, program = self.embedding[token], self.cell.program
        for weights, states in self.layers:
            self.k.matvec(self.gates, weights["weight_ih"], x, weights["bias_ih"])
            if self.cell.recurrent:
                self.k.matvec(self.hidden, weights["weight_hh"], states[0][self.turn], weights["bias_hh"])
            vectors = [weights[name] for name in self.cell.vectors]
            self.k.cell_step(program, states, self.turn, self.gates, self.hidden, vectors)
            x = states[0][1 - self.turn]
        self.turn = 1 - self.turn
        self.k.matvec(self.logits, self.decoder.weight.data, x, self.decoder.bias.data)

    def states(self) -> list[np.ndarray]:
        """h, for the LSTM also c, as they are now: a copy (num_layers, hidden_size) of each."""
        if self.plain is not None:
            return [rows.data[:, 0].copy() for rows in self.plain]
        return [np.stack([row[self.turn] for row in rows]) for rows in zip(*(states for _, states in self.layers))]
