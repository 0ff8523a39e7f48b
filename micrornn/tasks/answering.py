"""What tasks of an encoder and a decoder share: a target for each source, such as the sounds of a word's spelling.

AnsweringSettings   their settings
Answering           a task over pairs of texts, wherever they come from
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from micrornn.attention import KINDS
from micrornn.config import MOST, Config, setting
from micrornn.data.sequences import Padded, hold_out, pad
from micrornn.decoding import Answer, edit_distance
from micrornn.errors import DataError, counted
from micrornn.schema import Rule
from micrornn.tasks.encdec import EncoderDecoder, Pair, TeacherForcing, num_parameters
from micrornn.tasks.pairing import Codec, PairBatches, Part, by_source
from micrornn.tasks.parts import defaults, of_ids, pad_side, require_size
from micrornn.tasks.task import VALIDATION, BySymbol, Metric, Task, losses
from micrornn.tasks.together import gathered

TOGETHER = 128  # sources that are answered at once
_NAMES = Rule(list, items=Rule(str), most=1 << 24)


@dataclass(frozen=True)
@defaults(batch_size=64, hidden_size=128, embedding_size=32, lr=0.005, val_every=200)
class AnsweringSettings(Config):
    """Of Config: batch_size is pairs; hidden_size units of the decoder, and of both directions of the encoder."""

    attention: str = setting(
        "dot", "What the decoder looks at while it writes: the encoder's last state alone (none), or all its outputs.",
        choices=("none", *KINDS),
    )  # fmt: skip
    teacher_forcing: str = setting(
        "1",
        "Probability with which the decoder reads the true token, else its own, while it learns: a number, or a "
        "schedule linear:END:UPDATES, exponential:FACTOR, sigmoid:K.",
    )
    label_smoothing: float = setting(
        0.0, "How much of a target's probability is spread over all tokens while it learns.", low=0, below=1
    )
    pad: str = pad_side()
    beam: int = setting(
        1, "Hypotheses that are kept while an answer is looked for. 1: the greedy choice.", low=1, high=1000
    )
    length_penalty: float = setting(
        1.0, "Answers of different lengths are compared by log p / n^X, of n tokens. 0: the likeliest.", low=0, high=10
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        TeacherForcing(self.teacher_forcing)


class Answering(Task):
    """Pairs of texts in batches of sources of similar length. A source that has several targets is held out, or learned
    from, with all of them; and any of them is right."""

    Settings: ClassVar[type[Config]] = AnsweringSettings
    config: Any
    batches: PairBatches
    uses: ClassVar[Sequence[str]] = ("embedding_size", "bidirectional", "val_fraction", "init_embedding")
    metrics = (
        Metric("loss", "nats per token"), Metric("accuracy", "", "higher"), Metric("token_error_rate"),
        Metric("word_error_rate"),
    )  # fmt: skip
    takes = "a source, without its target"
    shape = (*Task.shape, "attention", "source_level", "target_level")
    unit = "tokens"
    RULES: ClassVar[Mapping[str, Rule]] = {
        "source_tokens": _NAMES, "target_tokens": _NAMES, "longest": Rule(int, low=1, high=MOST),
        "usual": Rule(str, optional=True), "counts": Rule(list, items=Rule(int, low=0), optional=True),
    }  # fmt: skip

    def __init__(self, config: Any, pairs: Sequence[tuple[str, str]]):
        super().__init__(config)
        part = by_source(pairs)
        if not part:
            raise DataError("there is no pair to learn from")
        chosen = hold_out(len(part), config.val_fraction, config.seed)
        learned, held_out = ([part[n] for n in places] for places in chosen)
        self.num_pairs, self.held_out = sum(len(targets) for _, targets in part), held_out
        self.codec = Codec.of(self.levels(config), learned, config.vocab_size)
        self.batches = PairBatches(self.codec, learned, config)
        digest = hashlib.sha256(json.dumps([learned, held_out, self.codec.to_dict()]).encode("utf-8", "surrogatepass"))
        self.fingerprint = digest.hexdigest()
        self.usual = Counter(target for _, targets in learned for target in targets).most_common(1)[0][0]
        self.counts = self._counts(learned)
        self.baseline = self._by_frequency(held_out) if held_out else None

    @classmethod
    def levels(cls, config: Any) -> tuple[str, str]:
        """What a token of a source, and of a target, is."""
        return "char", "char"

    def validation(self) -> PairBatches | None:
        return PairBatches(self.codec, self.held_out, self.config, VALIDATION) if self.held_out else None

    def network(self) -> EncoderDecoder:
        return EncoderDecoder(self.config, len(self.codec.source), len(self.codec.target))

    def by_symbol(self) -> list[BySymbol]:
        read = of_ids(self.config, "source_embedding", both=self.config.bidirectional)
        written = of_ids(self.config, "target_embedding", "decoder") | {"output.weight": 0, "output.bias": 0}
        return [
            BySymbol("symbols of sources", self.codec.source, read),
            BySymbol("symbols of targets", self.codec.target, written),
        ]

    def meta(self) -> dict[str, Any]:
        return self.codec.to_dict() | {"usual": self.usual, "counts": self.counts.tolist()}

    @classmethod
    def check_meta(cls, meta: Mapping[str, Any]) -> None:
        Codec.from_dict(("char", "char"), meta)
        if len(meta.get("counts", meta["target_tokens"])) != len(meta["target_tokens"]):
            raise DataError("damaged counts of tokens")

    @classmethod
    def from_meta(cls, config: Any, meta: Mapping[str, Any]) -> Answering:
        """The task of a trained network, without the pairs it learned from."""
        task = cls.without_data(config)
        task.codec, task.held_out = Codec.from_dict(cls.levels(config), meta), []
        # An old one lacks both.
        task.usual, task.counts = meta.get("usual", ""), np.array(meta.get("counts", []), np.int64)
        return task

    @classmethod
    def network_from(cls, config: Any, meta: Mapping[str, Any], there: int) -> EncoderDecoder:
        sizes = len(meta["source_tokens"]), len(meta["target_tokens"])
        require_size(there, num_parameters(config, *sizes))
        return EncoderDecoder(config, *sizes)

    @property
    def num_losses(self) -> int:
        return max(1, round(int(self.batches.counts.sum()) / self.batches.num_windows))

    @property
    def batch_tokens(self) -> int:
        return round(int(self.batches.counts.sum() + self.batches.lengths.sum()) / self.batches.num_windows)

    def evaluate(self, model: EncoderDecoder, batches: Any = None) -> dict[str, float]:
        """The loss with the true tokens read, and what the answers are worth. By default of what is held out."""
        batches = batches or self.require_validation()
        model.train(False)
        loss = float(np.mean(list(losses(model, batches))))
        answers = self.answers(model, [source for source, _ in batches.part])
        return {"loss": loss} | self._judged([self.codec.text(best[0]) for best in answers], batches.part)

    def _judged(self, answers: Sequence[str], part: Part) -> dict[str, float]:
        """What answers to these sources are worth.

        accuracy            share of the sources that are answered rightly
        token_error_rate    edits per token of the nearest target
        word_error_rate     of targets in characters, edits per word, which is what stands between blanks; of targets
                            whose tokens stand between blanks, such as sounds, all of it is one word: the share of wrong
                            answers
        """
        right, edits, tokens, word_edits, words = 0, 0, 0, 0, 0
        whole = self.codec.levels[1] == "word"
        for answer, (_, targets) in zip(answers, part, strict=True):
            said = self.codec.split(answer, 1)
            off, nearest = min((edit_distance(said, self.codec.split(target, 1)), target) for target in targets)
            right += off == 0
            edits, tokens = edits + off, tokens + len(self.codec.split(nearest, 1))
            one, other = ([self.codec.split(text, 1)] if whole else text.split() for text in (answer, nearest))
            word_edits, words = word_edits + edit_distance(one, other), words + len(other)
        return {
            "accuracy": right / len(part),
            "token_error_rate": edits / max(1, tokens),
            "word_error_rate": word_edits / max(1, words),
        }

    def _by_frequency(self, part: Part) -> tuple[str, float]:
        """(in words, the loss over these pairs) of who knows how often each token comes in what was learned from."""
        seen = self._counts(part)
        log_p = np.log((self.counts + 1) / (self.counts + 1).sum())
        return "by the frequency of tokens alone", -float((seen * log_p).sum() / seen.sum())

    def _counts(self, part: Part) -> np.ndarray:
        """How often each token comes in the targets, (V,)."""
        ids = [self.codec.target_ids(target) for _, targets in part for target in targets]
        return np.bincount(np.concatenate(ids), minlength=len(self.codec.target))

    @cached_property
    def baselines(self) -> Mapping[str, tuple[str, float]]:
        return self._beside(self.held_out) if self.held_out else {}

    def baselines_on(self, batches: Any) -> Mapping[str, tuple[str, float]]:
        return self._beside(batches.part) if self.usual else {}

    def _beside(self, part: Part) -> dict[str, tuple[str, float]]:
        """Metric -> (in words, value) of what takes no network: of always saying the most frequent target, and of
        copying the source, whichever is better."""
        found = {"loss": self._by_frequency(part)}
        always = self._judged([self.usual] * len(part), part)
        copied = self._judged([source for source, _ in part], part)
        for metric in self.metrics[1:]:
            one, other = always[metric.name], copied[metric.name]
            copies = other > one if metric.better == "higher" else other < one
            words = "by copying the source" if copies else "by always saying the most frequent target"
            found[metric.name] = (words, other if copies else one)
        return found

    def answers(self, model: EncoderDecoder, sources: Sequence[str]) -> Iterator[list[Answer]]:
        """Up to `beam` answers to each source, the best one first, in the order of the sources."""
        if model.config.device != "cpu":  # a step of a decoder is no work for a card
            model = model.copy(device="cpu")
        encoded = [self.codec.ids(source) for source in sources]
        order = sorted(range(len(sources)), key=lambda n: len(encoded[n]))
        found: dict[int, list[Answer]] = {}
        beam, penalty = self.config.beam, self.config.length_penalty
        while chosen := order[len(found) : len(found) + TOGETHER]:
            found |= zip(chosen, model.answers(pad([encoded[n] for n in chosen]), self.codec.longest, beam, penalty))
        return (found[n] for n in range(len(sources)))

    def parse(self, line: str) -> str:
        """A source. DataError where there is none."""
        source = line.rstrip("\r\n")
        if "\t" in source:
            raise DataError("there is a tab in it; wanted a source alone, without its target")
        if not self.codec.split(source, 0):
            raise DataError("the source is empty")
        return source

    def predict(self, model: EncoderDecoder, examples: Iterable[str], proba: bool = False,
                at_hand: Callable[[], bool] = lambda: True) -> Iterator[dict[str, Any]]:  # fmt: skip
        """For each source its answer; with `proba` also its probability, and that of the others in the beam. "unknown"
        names what of the source was never seen in training, if anything was."""
        for group in gathered(examples, at_hand):
            for source, (best, *others) in zip(group, self.answers(model, group)):
                told: dict[str, Any] = {"answer": self.codec.text(best)}
                if proba:
                    told["probability"] = math.exp(best.log_p)
                    if others:
                        told["others"] = [[self.codec.text(other), math.exp(other.log_p)] for other in others]
                unknown = [token for token in self.codec.split(source, 0) if token not in self.codec.source]
                yield told | ({"unknown": unknown} if unknown else {})

    def told(self, model: EncoderDecoder) -> dict[str, str]:
        codec, held_out = self.codec, len(self.held_out)
        names = {"char": "characters", "word": "words"}
        sides = [
            f"{len(symbols):,} {names[level]} in {side}s, such as {symbols.some(6)}"
            for side, level, symbols in zip(("source", "target"), codec.levels, (codec.source, codec.target))
        ]
        counts = f"{self.num_pairs:,}, and {held_out:,} of their sources held out"
        return super().told(model) | {"pairs": counts, "symbols": "; ".join(sides)}

    def drawing(self) -> str:
        """The network with the dimensions of one batch at its arrows, and three lanes of this batch with their
        padding: the shortest source, one in the middle, and the longest."""
        lengths = self.batches.lengths
        chosen = max(self.batches.indices(0), key=lambda lanes: np.ptp(lengths[lanes]))
        chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
        inputs, targets = self.batches.make(chosen)
        count = len(chosen)
        some = sorted({0, count // 2, count - 1})
        head, *rows = self.codec.lanes(inputs, targets, some)
        return "\n".join(
            [*self._boxes(inputs, targets), "", f"{len(some)} of {counted(count, 'lane')} of a batch, {head}", *rows]
        )

    def _boxes(self, inputs: Pair, targets: Padded) -> list[str]:
        """The network, with (time steps, batch_size, features) of this batch at each arrow."""
        config = self.config
        (s, b), t = inputs.source.values.shape, len(targets.values)
        h, cell = config.hidden_size, f"{config.num_layers} x {config.hidden_size} {config.cell_title}"
        both = ", both ways" if config.bidirectional else ""
        read = "embedding" if config.embedding_size else "one of all symbols"
        sizes = [config.embedding_size or len(symbols) for symbols in (self.codec.source, self.codec.target)]
        arrow = f" last state ({config.num_layers}, {b}, {h}) "
        rows = [
            (f"source ({s}, {b})", "", f"before ({t}, {b})"),
            ("   |", "", "   |"),
            (read, "", read),
            (f"   | ({s}, {b}, {sizes[0]})", "", f"   | ({t}, {b}, {sizes[1]})"),
            (f"encoder {cell}{both} ", arrow, f"decoder {cell}"),
        ]
        if config.attention != "none":
            rows += [
                (f"   | ({s}, {b}, {h})", "", f"   | ({t}, {b}, {h})"),
                ("   '-", "-", f"{config.attention} attention"),
            ]
        rows += [
            ("", "", f"   | ({t}, {b}, {h})"),
            ("", "", "linear"),
            ("", "", f"   | ({t}, {b}, {len(self.codec.target)})"),
            ("", "", f"cross-entropy with target ({t}, {b})"),
        ]
        width = max(len(left) + len(middle) for left, middle, _ in rows) + 4
        lines = []
        for left, middle, right in rows:
            fill = width - len(left) - len(middle)
            between = f"{'-' * (fill - 3)}{middle}-> " if middle else " " * fill
            lines.append((left + between + right).rstrip())
        return lines
