"""An encoder reads a source, and a decoder that starts from its last state writes the target, token after token.

    source ids (S, B) -> embedding -> encoder -> its last state ----------.
                                         `- outputs (S, B, H) ---.        |
    END, target ids  -> embedding -> decoder, from that state -> attention -> linear -> logits (T, B, V)

EncoderDecoder    the network
num_parameters    of it, without making one
TeacherForcing    how often the decoder reads the true token while it learns
shifted           what the decoder reads: END, then the target without its last token

Sutskever, Vinyals, Le, Sequence to Sequence Learning with Neural Networks, 2014, arXiv:1409.3215; Cho et al. 2014,
arXiv:1406.1078. Attention is optional (attention.py).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from micrornn import device
from micrornn.attention import Attention
from micrornn.data.sequences import Padded
from micrornn.decoding import Answer, State, search
from micrornn.errors import ConfigError, DivergedError, quoted
from micrornn.layers import Dropout, Linear
from micrornn.ops import log_softmax, reshape, transpose
from micrornn.recurrent import Recurrent
from micrornn.tape import Tensor, no_tape
from micrornn.tasks.parts import Network, classes, embedded, num_recurrent, recurrent

END = 0  # of a target; also what the decoder reads first


class Pair(NamedTuple):
    """What the network reads: the source, and what the decoder is told came before each token of the target."""

    source: Padded
    before: Padded


def shifted(targets: Padded) -> Padded:
    """What comes before each token of the targets: END before the first one, on whatever side the padding is."""
    before = np.full_like(targets.values, END)
    before[1:] = np.where(targets.mask[:-1], targets.values[:-1], END)
    return Padded(before, targets.mask)


class EncoderDecoder(Network):
    """A Pair of ids (S, B) and (T, B) -> logits (T, B, V) and the encoder's last state.

    With the setting `bidirectional` each direction of the encoder has half of the units, and its state is both halves
    side by side: so the decoder starts from it and attention reads it as it is, whatever the cell.

    rnn     the encoder's Recurrent; rnns: {"encoder": ..., "decoder": ...}
    """

    def __init__(self, config: Any, source_size: int, target_size: int):
        if config.bidirectional and config.hidden_size % 2:
            raise ConfigError(
                f"`bidirectional`: each direction has half of the units, and `hidden_size={config.hidden_size:,}` is "
                "odd; make it even"
            )
        dtype, units = np.dtype(config.dtype).type, config.hidden_size
        seeds = self.begin(EncoderDecoder, config, source_size, target_size, seeds=7)
        self.source_embedding, source = embedded(source_size, config.embedding_size, config, seeds[0])
        self.target_embedding, target = embedded(target_size, config.embedding_size, config, seeds[1])
        each = units // 2 if config.bidirectional else units
        self.rnn = recurrent(config, source, seeds[2], each, config.bidirectional)
        self.decoder = recurrent(config, target, seeds[3])
        self.rnn.part, self.decoder.part = "encoder", "decoder"
        self.attention = None
        if config.attention != "none":
            self.attention = Attention(config.attention, units, seed=seeds[4], dtype=dtype)
        self.dropout = Dropout(config.dropout, seed=seeds[5], mask=config.dropout_mask)
        self.output = Linear(units, target_size, seed=seeds[6], dtype=dtype)
        self.forcing, self.update = TeacherForcing(config.teacher_forcing), 0
        self.end()

    @property
    def rnns(self) -> dict[str, Recurrent]:
        """Its recurrent layers by what they are for."""
        return {"encoder": self.rnn, "decoder": self.decoder}

    def draw_dropout(self, update: int, start: int = 0) -> None:
        """New dropout masks, and other tokens at which the decoder reads its own; the same for the same update."""
        self.update = update
        self._dropout_start(start)
        self.rnn.dropout_key = self.decoder.dropout_key = self.dropout.key = update

    def _dropout_start(self, start: int) -> None:
        self.decoder.dropout_start = self.dropout.start = start

    def encode(self, source: Padded) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Any]:
        """(the encoder's last state, the one the decoder starts from, what attention looks at)."""
        ids = np.where(source.mask, source.values, 0)
        outputs, last = self.rnn(self.source_embedding(ids), mask=source.mask)
        memory = None if self.attention is None else self.attention.memory(outputs, source.mask)
        return last, tuple(self._side_by_side(rows) for rows in last), memory

    def _side_by_side(self, rows: Tensor) -> Tensor:
        """(layers * directions, B, H / directions) -> (layers, B, H)."""
        if len(self.rnn.directions) == 1:
            return rows
        layers, (_, lanes, size) = self.rnn.num_layers, rows.shape
        both = transpose(reshape(rows, shape=(layers, 2, lanes, size)), axes=(0, 2, 1, 3))
        return reshape(both, shape=(layers, lanes, 2 * size))

    def decode(self, before: Padded, state: tuple[Tensor, ...], memory: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (T, B, V) of what follows each of these tokens (T, B), and the last state."""
        mask = None if before.mask.all() else before.mask
        outputs, state = self.decoder(self.target_embedding(np.where(before.mask, before.values, 0)), state, mask)
        if self.attention is not None:
            outputs, _ = self.attention(outputs, memory)
        return self.output(self.dropout(outputs)), state

    def __call__(self, inputs: Pair, state: None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        last, first, memory = self.encode(inputs.source)
        return self.decode(inputs.before, first, memory)[0], last

    def loss(self, inputs: Pair, targets: Padded, state: None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The mean cross-entropy in nats per token of the targets, their ends among them. Where it does not learn, the
        decoder reads the true tokens."""
        last, first, memory = self.encode(inputs.source)
        before, share = inputs.before, self.forcing(self.update)
        if self.training and share < 1:
            before = self._own(before, share, first, memory)
        logits, _ = self.decode(before, first, memory)
        loss_of = classes(self.config.label_smoothing if self.training else 0.0)
        return loss_of(logits, targets=targets.values, mask=targets.mask), last

    def _own(self, before: Padded, share: float, state: tuple[Tensor, ...], memory: Any) -> Padded:
        """What the decoder reads under scheduled sampling: each token is the true one with this probability, else what
        it holds for the likeliest itself (Bengio et al. 2015).

        No gradient goes through that choice. So it is made beforehand, time step by time step without a tape; then all
        steps are gone over at once, with what was chosen.
        """
        true = np.random.default_rng([self.config.seed, self.update]).random(before.values.shape) < share
        true |= before.values == END
        values = before.values.copy()
        with no_tape():
            for t in range(len(values) - 1):
                self._dropout_start(t)
                logits, state = self.decode(Padded(values[t : t + 1], before.mask[t : t + 1]), state, memory)
                own = device.host(logits.data)[0].argmax(axis=1)
                values[t + 1] = np.where(true[t + 1], values[t + 1], own)
        self._dropout_start(0)
        return Padded(values, before.mask)

    def with_padding(self, inputs: Pair, targets: Padded, before: int, after: int) -> tuple[Pair, Padded]:
        """The same batch with so many more steps of padding before and after."""

        def longer(part: Padded) -> Padded:
            values, mask = (np.pad(rows, ((before, after), (0, 0))) for rows in part)
            return Padded(values, mask)

        targets = longer(targets)
        return Pair(longer(inputs.source), shifted(targets)), targets

    def answers(self, source: Padded, longest: int, beam: int = 1, penalty: float = 1.0) -> list[list[Answer]]:
        """For each source its best targets, the best one first (decoding.py). On the CPU. DivergedError where its
        numbers are not finite."""
        self.train(False)
        with no_tape():
            _, first, memory = self.encode(source)
            memory = None if memory is None else memory.repeated(beam)

            def step(ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
                tokens = Padded(ids[None], np.ones((1, len(ids)), bool))
                logits, after = self.decode(tokens, tuple(Tensor(part) for part in state), memory)
                if not np.isfinite(logits.data).all():
                    raise DivergedError("the network's numbers became NaN or infinite on this input")
                return log_softmax(logits).data[0], tuple(part.data for part in after)

            state = tuple(np.repeat(part.data, beam, axis=1) for part in first)
            return search(step, state, width=beam, longest=longest, end=END, penalty=penalty)


class TeacherForcing:
    """With which probability the decoder reads the true token at an update; else it reads its own.

    A number: always that. linear:END:UPDATES: from 1 down to END within so many updates. exponential:FACTOR: FACTOR
    to the power of the update. sigmoid:K: K / (K + e^(update / K)).

    Bengio, Vinyals, Jaitly, Shazeer, Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks, 2015,
    arXiv:1506.03099, section 2.4.
    """

    COUNTS = {"linear": 2, "exponential": 1, "sigmoid": 1}

    def __init__(self, text: str):
        kind, *given = text.split(":")
        if kind not in self.COUNTS:
            kind, given = "", [text]
        try:
            self.kind, self.numbers = kind, [float(number) for number in given]
        except ValueError:
            self.numbers = []
        if len(self.numbers) != self.COUNTS.get(kind, 1) or not self._possible():
            raise ConfigError(
                f"`teacher_forcing` is {quoted(text)}; it must be a probability such as 0.5, or linear:END:UPDATES, "
                "exponential:FACTOR (in 0..1) or sigmoid:K (1 or more)"
            )

    def _possible(self) -> bool:
        first, *rest = self.numbers
        if self.kind == "sigmoid":
            return 1 <= first < math.inf
        return 0 <= first <= 1 and all(1 <= updates < math.inf for updates in rest)

    def __call__(self, update: int) -> float:
        first = self.numbers[0]
        if self.kind == "linear":
            return first + (1 - first) * max(0.0, 1 - update / self.numbers[1])
        if self.kind == "exponential":
            return float(first**update)
        if self.kind == "sigmoid":
            return first / (first + math.exp(min(update / first, 700.0)))
        return first


def num_parameters(config: Any, source_size: int, target_size: int) -> int:
    """How many numbers an EncoderDecoder of these sizes learns, without making one."""
    h, d, two = config.hidden_size, config.embedding_size, config.bidirectional
    recurrent = num_recurrent(config, d or target_size)
    recurrent += num_recurrent(config, d or source_size, h // 2 if two else h, two)
    attention = {"none": 0, "dot": h * (2 * h + 1), "additive": h * (2 * h + 1) + 2 * h * (h + 1) + h}[config.attention]
    return recurrent + attention + (source_size + target_size) * d + target_size * (h + 1)
