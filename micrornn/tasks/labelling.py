"""What tasks share that give labels to sequences of words: settings, vocabulary, batches, network, metrics.

LabelSettings    rows of settings
Labelling        a Task with a label for each word, or for each sequence
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from micrornn.config import MOST, Config, setting
from micrornn.data.files import find_validation
from micrornn.data.rows import BadRows, Example, skip_bad_rows
from micrornn.data.sequences import ByLength, Padded, cut, hold_out, pad
from micrornn.data.symbols import Symbols
from micrornn.errors import DataError, counted, quoted, some
from micrornn.schema import Rule
from micrornn.tasks.classes import Classifying
from micrornn.tasks.parts import Features, classes, defaults, of_ids, pad_side
from micrornn.tasks.picture import network_picture, padded_picture
from micrornn.tasks.task import VALIDATION, BySymbol, Judged, Metric, Progress

MOST_NAMED = 6  # labels that are told with their counts
Ids = list[np.ndarray]


@dataclass(frozen=True)
@defaults(hidden_size=64, bidirectional=True, dropout=0.3, lr=0.003, val_fraction=0.1, val_every=100)
class LabelSettings(Config):
    """A sequence is as long as it is, or as max_len allows: there are no windows."""

    min_count: int = setting(2, "Words that occur less than N times are read as unknown.", low=1, cap=MOST)
    max_len: int = setting(0, "Words of a sequence that are read at most. 0: all.", low=0, cap=MOST)
    keep: str = setting("first", "Which words of a longer one are kept.", choices=("first", "last"))
    pad: str = pad_side()
    class_weights: str = setting(
        "none", "Labels count the same in the loss, or the less the more often they come (balanced).",
        choices=("none", "balanced"),
    )  # fmt: skip
    label_smoothing: float = setting(0.0, "Share of each target that all labels get evenly.", low=0, below=1)
    skip_bad_rows: bool = skip_bad_rows()


class Labelling(Classifying):
    """A label for each word of a sequence (`per_step`), or one for all of it.

    words, labels        Symbols
    again                how many of those that are held out are, with their labels, among the others, too
    counts               how often each label comes in what is learned from, (V,)
    learned, held_out    (ids of words, ids of labels) of each sequence to learn from, and of each that is held out
    noun, nouns, remedy  what a label is called, and what to do where there is only one
    """

    noun: ClassVar[str] = "label"
    nouns: ClassVar[str] = "labels"
    remedy: ClassVar[str] = ""
    unit = "words"
    Settings: ClassVar[type[Config]] = LabelSettings
    uses = ("embedding_size", "bidirectional", "encoding", "vocab_size", "val_fraction", "validation", "init_embedding")
    metrics: Sequence[Metric] = (Metric("loss", "nats per label"), *Classifying.metrics[1:])  # type: ignore[misc]
    RULES: ClassVar[Mapping[str, Rule]] = {
        "words": Rule(list, items=Rule(str), most=1 << 24),
        "labels": Rule(list, items=Rule(str), most=1 << 20),
        "counts": Rule(list, items=Rule(int, low=0)),
    }
    config: Any
    batches: ByLength
    learned: tuple[Ids, Ids] = [], []
    held_out: tuple[Ids, Ids] = [], []

    def __init__(self, config: Any, learned: Sequence[Example], held_out: Sequence[Example],
                 how: Mapping[str, str] | None = None):  # fmt: skip
        super().__init__(config)
        self.how = dict(how or {})
        self.labels: Symbols = Symbols.build((one.labels for one in learned), unknown=False)
        if len(self.labels) < 2:
            only = quoted(self.labels[0])
            raise DataError(f"there is no {self.noun} but {only}, and so nothing to learn; {self.remedy}")
        self.words = Symbols.build((one.words for one in learned), config.vocab_size, config.min_count)
        self.learned, self.held_out = self._ids(learned), self._ids(held_out)
        known = {(*one.words, None, *one.labels) for one in learned}
        self.again = sum((*one.words, None, *one.labels) in known for one in held_out)
        self.counts = np.bincount(np.concatenate(self.learned[1]), minlength=len(self.labels))
        self.batches = self._batches(self.learned)
        content = hashlib.blake2b(json.dumps([self.words.tokens, self.labels.tokens]).encode(), digest_size=16)
        for rows in (*self.learned, *self.held_out):
            content.update(b"".join(b"%d:%b" % (len(row), row.tobytes()) for row in rows) + b"|")
        self.fingerprint = content.hexdigest()

    # --- data ---

    @classmethod
    def made_up(cls, config: Any) -> list[Example]:
        """Examples where no files are named."""
        raise NotImplementedError

    @classmethod
    def examples(cls, config: Any, files: Sequence[Path], bad: BadRows,
                 progress: Progress | None = None) -> tuple[list[Example], dict[str, str]]:  # fmt: skip
        """What the files hold, and a word -> how they were understood."""
        raise NotImplementedError

    @classmethod
    def prepare(cls, config: Any, files: Sequence[Path] = (), progress: Progress | None = None) -> Self:
        cls.require_used(config)
        bad = BadRows(config.skip_bad_rows)
        if not files:
            if config.validation:
                raise DataError("`validation` is for FILES to learn from; name them too")
            read, how = cls.made_up(config), {"data": "made up, since no FILES are named"}
        else:
            read, how = cls.examples(config, files, bad, progress)
        if config.validation:
            other, _ = cls.examples(config, find_validation(config), bad)
            learned, held_out = read, cls.known(other, {label for one in read for label in one.labels}, bad)
        else:
            parts = hold_out(len(read), config.val_fraction, config.seed, [one.labels for one in read])
            learned, held_out = ([read[n] for n in part] for part in parts)
        return cls(config, learned, held_out, how | bad.told())

    @classmethod
    def known(cls, examples: Sequence[Example], labels: set[str], bad: BadRows) -> list[Example]:
        """Those whose labels are all among these; another label makes a row a bad one."""
        found = []
        for one in examples:
            other = next((n for n, label in enumerate(one.labels) if label not in labels), None)
            if other is None:
                found.append(one)
                continue
            of = f" of {quoted(one.words[other])}" if cls.per_step else ""
            line = one.lines[other] if one.lines else 0
            told = f"the {cls.noun} {quoted(one.labels[other])}{of} is none of those that were learned"
            bad.add(one.path, line, told)
        return found

    def _ids(self, examples: Sequence[Example]) -> tuple[Ids, Ids]:
        return [self.words.encode(one.words) for one in examples], [self.labels.encode(one.labels) for one in examples]

    def _batches(self, data: tuple[Ids, Ids], epoch: int | None = None) -> ByLength:
        sequences, targets = data
        config, table = self.config, self.class_weights
        kept = [cut(row, config.max_len, config.keep) for row in targets] if self.per_step else targets
        # As much as its labels count in a mean over all: words, sequences, or the weights of their classes.
        counts = [len(row) if table is None else float(table[row].sum()) for row in kept]

        def make(chosen: np.ndarray) -> tuple[Padded, np.ndarray]:
            inputs = pad([sequences[n] for n in chosen], config.pad, config.max_len, config.keep)
            if self.per_step:
                return inputs, pad([kept[n] for n in chosen], config.pad).values
            return inputs, np.array([kept[n][0] for n in chosen], np.int32)

        lengths = [len(cut(row, config.max_len)) for row in sequences]
        return ByLength(lengths, make, config.batch_size, config.seed, epoch=epoch, counts=counts)

    def validation(self) -> ByLength | None:
        return self._batches(self.held_out, VALIDATION) if self.held_out[0] else None

    @property
    def num_losses(self) -> int:
        chosen = self.batches.chosen
        return int(self.batches.lengths[chosen].sum()) if self.per_step else len(chosen)

    @property
    def batch_tokens(self) -> int:
        lengths = self.batches.lengths
        return round(float(lengths.mean()) * min(self.config.batch_size, len(lengths)))

    # --- network ---

    @property
    def class_weights(self) -> np.ndarray | None:
        """(V,): such that all labels together count the same, and 1 is the mean over what is learned from."""
        if self.config.class_weights == "none":
            return None
        return np.asarray(self.counts.sum() / (len(self.counts) * np.maximum(1, self.counts)))

    @property
    def read(self) -> str:
        """What the read-out reads: see Features."""
        return "every"

    def network(self) -> Features:
        weights = self.class_weights
        loss = classes(self.config.label_smoothing, None if weights is None else weights.tolist())
        size = self.config.embedding_size
        return Features(self.config, size, len(self.labels), loss, self.read, embedding=len(self.words))

    def by_symbol(self) -> list[BySymbol]:
        read = of_ids(self.config, both=self.config.bidirectional)
        output = {"decoder.weight": 0, "decoder.bias": 0}
        return [BySymbol("words", self.words, read), BySymbol(self.nouns, self.labels, output)]

    def meta(self) -> dict[str, Any]:
        return {"words": self.words.tokens, "labels": self.labels.tokens, "counts": self.counts.tolist()}

    @classmethod
    def check_meta(cls, meta: Mapping[str, Any]) -> None:
        words, labels = Symbols(meta["words"]), Symbols(meta["labels"])
        if words.unknown is None or len(labels) < 2 or len(meta["counts"]) != len(labels):
            raise DataError("damaged lists of words and labels")

    @classmethod
    def from_meta(cls, config: Any, meta: Mapping[str, Any]) -> Self:
        task = cls.without_data(config)
        task.words, task.labels = Symbols(meta["words"]), Symbols(meta["labels"])
        task.counts = np.array(meta["counts"], np.int64)
        return task

    # --- judging ---

    def judge(self, model: Features, files: Sequence[Path] = (), progress: Progress | None = None,
              **options: Any) -> Judged:  # fmt: skip
        encoding = options.pop("encoding", None) if files else None
        self.refuse(options)
        if not files:
            return super().judge(model)
        config = dataclasses.replace(self.config, encoding=encoding or self.config.encoding)
        bad = BadRows(config.skip_bad_rows)
        read, how = self.examples(config, files, bad, progress)
        data = self._ids(self.known(read, set(self.labels), bad))
        if not data[0]:
            raise DataError(f"nothing is left of {files[0]}")
        told = {"read": f"{counted(len(data[0]), 'sequence')}, {counted(sum(map(len, data[0])), 'word')}"}
        return Judged(self.evaluate(model, self._batches(data, VALIDATION)), self.baselines_of(data),
                      how | told | bad.told(), {"sequences": len(data[0]), "left_out": bad.count})  # fmt: skip

    def baselines_of(self, data: tuple[Ids, Ids]) -> dict[str, tuple[str, float]]:
        """Metric -> (in words, its value on these sequences) of what takes no network."""
        raise NotImplementedError

    @property
    def baselines(self) -> Mapping[str, tuple[str, float]]:
        data = self.held_out if self.held_out[0] else self.learned
        return self.baselines_of(data) if data[0] else {}

    def answer(self, outputs: np.ndarray, example: list[str], proba: bool) -> dict[str, Any]:
        """The label of each word, or of all of it; "unknown" names the words that were never seen in training."""
        told = super().answer(outputs, example, proba)
        unknown = [word for word in dict.fromkeys(example) if word not in self.words]
        return told | ({"unknown": unknown} if unknown else {})

    # --- what is told ---

    def told(self, model: Features) -> dict[str, str]:
        (rows, _), lengths = self.learned, self.batches.lengths
        sizes = np.array([len(row) for row in rows])
        cuts, unknown = int((sizes > lengths).sum()), sum(int((row == self.words.unknown).sum()) for row in rows)
        told = super().told(model) | self.how
        told["sequences"] = (
            f"{len(rows):,} to learn from, {len(self.held_out[0]):,} held out"
            + (f", {self.again:,} of them learned from, too" if self.again else "")
            + f"; {sizes.min():,} to {counted(sizes.max(), 'word')}, {sizes.mean():.1f} on average"
            + (f"; {cuts:,} are cut to the {self.config.keep} {self.config.max_len:,}" if cuts else "")
        )
        told["words"] = f"{len(self.words):,} different ones; {100 * unknown / sizes.sum():.2g} % are read as unknown"
        each = some((f"{label} {n:,}" for label, n in zip(self.labels, self.counts)), MOST_NAMED)
        told[self.nouns] = f"{len(self.labels):,}: {each}"
        if self.held_out[0]:
            seen = np.bincount(np.concatenate(self.held_out[1]), minlength=len(self.labels))
            lacking = [label for label, n in zip(self.labels, seen) if not n]
            if lacking:
                told["not judged"] = f"what is held out has no {self.noun} {some(lacking, MOST_NAMED)}"
        return told

    def drawing(self) -> str:
        lengths, batches = self.batches.lengths, self.batches.indices(0)
        inputs, targets = self.batches.make(
            max(batches, key=lambda of: lengths[of].max() * len(of) - lengths[of].sum())
        )
        words = np.array(self.words.tokens, object)[inputs.values]
        names = np.array(self.labels, object)[targets]
        batch = padded_picture(words, inputs.mask, names)
        network = network_picture(self.config, inputs.mask.shape, len(self.words), len(self.labels), self.read,
                                  ("words", self.nouns))  # fmt: skip
        return f"{batch}\n\n{network}"
