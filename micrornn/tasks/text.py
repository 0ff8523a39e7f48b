"""A language model: predict the next token of a text from all tokens before it."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from micrornn.config import Config
from micrornn.data import UNITS, LineLanes, Tokens, Vocab, layout, read_tokens, split, tokenize, validation_layout
from micrornn.data.files import find_validation, stdlib_sources
from micrornn.data.text import Ids, contains
from micrornn.data.tokens import entropy_of
from micrornn.errors import ConfigError, DataError, counted, some
from micrornn.evaluate import encode_files, evaluate
from micrornn.printable import visible
from micrornn.schema import Rule
from micrornn.tasks.classes import shares
from micrornn.tasks.language import LARGE_VOCABULARY as LARGE_VOCABULARY
from micrornn.tasks.language import LanguageModel, num_parameters, require_memory, segment_steps
from micrornn.tasks.language import Stepper as Stepper
from micrornn.tasks.language import memory_needed as memory_needed
from micrornn.tasks.material import Material
from micrornn.tasks.parts import of_ids, require_size
from micrornn.tasks.task import SPECIAL, BySymbol, Judged, Metric, Progress, Task
from micrornn.windows import Windows

# Of a validation text whose words the text does not have, when no word stands for those.
UNSEEN = "with `vocab_size` the rarest of FILES are read as one token, and what is unknown as that one"
LIKELIEST = 5  # next tokens that `predict` tells of with their probabilities


def line_end(config: Config, vocab: Vocab) -> int | None:
    """The token that ends a line, where each is a sequence of its own; else None. ConfigError, DataError where that
    cannot be."""
    if not config.lines:
        return None
    if config.loss == "sum" or config.watch_gradients:
        flag = "`loss=sum`" if config.loss == "sum" else "`watch_gradients`"
        raise ConfigError(f"{flag} counts all time steps of a window, and `lines` pads them; leave one of the two out")
    if vocab.newline is None:
        raise DataError("`lines`: the text has no line break, or its vocabulary is too small for it (`vocab_size`)")
    return vocab.newline


class Text(Task):
    """A text in lanes and windows, as Lanes has them; the state is carried unless `state` is "fresh".

    tokens, vocab    of the whole text
    lanes            the part that is learned from
    val_lanes        the held-out part; None if there is none
    held_out         the same as ids
    held_from        in words, what is held out
    """

    name, about = "text", "a language model: the next character, word or byte of a text"
    metrics = (Metric("loss", "nats per token"),)
    unit, writes = "token", True
    takes = "a text to go on from; the answer is the next token, and `micrornn sample` writes more"
    uses = SPECIAL
    RULES = {"vocab": Rule(dict)}

    def __init__(self, config: Config, tokens: Tokens):
        super().__init__(config)
        self.tokens, self.vocab = tokens, tokens.vocab
        newline = line_end(config, tokens.vocab)
        training, self.held_out = self._parts(newline)
        self.lanes = layout(training, config.batch_size, config.num_steps, newline)
        self._segment_steps = segment_steps(config, self.vocab.size)
        if self.held_out is not None:
            self.val_lanes = validation_layout(self.held_out, config.batch_size, self.segment_steps, newline)
        self.batches = Windows(self.lanes, carried=config.state == "carried")
        there = self.batches.num_windows * config.num_steps
        at_once = max(self.segment_steps, min(config.way.most_steps or 0, there))
        require_memory(dataclasses.replace(config, num_steps=at_once, backprop="window"), self.vocab.size)
        entropy = tokens.entropy
        if config.validation and self.held_out is not None:  # another text, in which tokens come as often as they do
            entropy = entropy_of(np.bincount(self.held_out[0 : len(self.held_out)]))
        self.baseline = ("by frequency alone", entropy)

    def _parts(self, newline: int | None) -> tuple[Ids, Ids | None]:
        """What is learned from, and what is held out, if anything: a part of the text, or a text of its own."""
        config, tokens = self.config, self.tokens
        self.fingerprint = tokens.fingerprint
        if not config.validation:
            training, validation = split(tokens, config.val_fraction, newline)
            self.held_from = f"{100 * config.val_fraction:g} % of the text, in pieces spread over it"
            return training, validation if config.val_fraction else None
        try:
            found = encode_files(find_validation(config), self.vocab, encoding=config.encoding, remedy=UNSEEN)
        except DataError as error:
            told = str(error)
            raise DataError(told if told.startswith("`") else f"`validation`: {told}") from None
        known = " (it stands in the text: its loss says nothing of new text)" if contains(tokens, found.ids) else ""
        self.held_from = visible(config.validation) + (f" ({found.words()})" if found.unseen else known)
        self.fingerprint += hashlib.blake2b(found.ids.tobytes(), digest_size=16).hexdigest()
        return tokens, found.ids

    @classmethod
    def usual_files(cls) -> list[Path]:
        return stdlib_sources()

    @classmethod
    def prepare(cls, config: Config, files: Sequence[Path] = (), progress: Progress | None = None) -> Text:
        return cls(config, read_tokens(files, config, progress))

    @classmethod
    def example(cls, config: Config) -> Text:
        config = dataclasses.replace(config, validation="")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # a mapped file may still be open
            text = Path(folder, "text.txt")
            text.write_text(
                "to be, or not to be: that is the question.\n" * (1 + config.batch_size * config.num_steps // 20)
            )
            return cls(config, tokenize([text], config.level, Path(folder)))

    def network(self) -> LanguageModel:
        return LanguageModel(self.config, self.vocab.size)

    def validation(self) -> Windows | None:
        return None if self.val_lanes is None else Windows(self.val_lanes)

    def by_symbol(self) -> list[BySymbol]:
        rows = of_ids(self.config) | {"decoder.weight": 0, "decoder.bias": 0}
        if self.config.tied:  # it is the embedding
            del rows["decoder.weight"]
        return [BySymbol(UNITS[self.vocab.kind][1], self.vocab.tokens, rows)]

    def meta(self) -> dict[str, Any]:
        return {"vocab": self.vocab.to_dict()}

    @classmethod
    def check_meta(cls, meta: Mapping[str, Any]) -> None:
        Vocab.from_dict(meta["vocab"])

    @classmethod
    def from_meta(cls, config: Config, meta: Mapping[str, Any]) -> Text:
        """Without a text: it writes, predicts, and is judged on FILES."""
        found = cls.without_data(config)
        found.vocab, found.held_out = Vocab.from_dict(meta["vocab"]), None
        return found

    @classmethod
    def network_from(cls, config: Config, meta: Mapping[str, Any], there: int) -> LanguageModel:
        """No more memory is taken than for as many parameters as there are, whatever sizes the settings ask for."""
        vocab_size = Vocab.from_dict(meta["vocab"]).size
        require_size(there, num_parameters(config, vocab_size))
        require_memory(dataclasses.replace(config, batch_size=1, num_steps=1, backprop="window"), vocab_size)
        return LanguageModel(config, vocab_size)

    def material(self, remade: Callable[..., Task]) -> Material:
        from micrornn.tasks.reading import TextMaterial

        return TextMaterial(self.config, self.vocab, self.lanes.tokens)

    @classmethod
    def material_of(cls, names: Sequence[str], config: Config, meta: Mapping[str, Any], unseen: str = "",
                    encoding: str = "") -> Material:  # fmt: skip
        from micrornn.tasks.reading import of_files

        return of_files(names, config, Vocab.from_dict(meta["vocab"]), unseen, encoding)

    @property
    def segment_steps(self) -> int:
        return self._segment_steps

    @property
    def batch_tokens(self) -> int:
        """Of lines, which are of any length, the mean."""
        if isinstance(self.lanes, LineLanes):
            return round(self.lanes.num_tokens / self.lanes.num_windows)
        return super().batch_tokens

    def judge(self, model: LanguageModel, files: Sequence[Path] = (), progress: Progress | None = None,
              **options: Any) -> Judged:  # fmt: skip
        """The loss per token, and what it is in bits or as a perplexity."""
        encoded, ids = None, self.held_out
        if files:
            encoded = encode_files(
                files, self.vocab, options.get("unseen") or "", options.get("encoding") or "", self.config.encoding
            )
            ids = encoded.ids
        if ids is None:
            raise ConfigError("this run held nothing out (`val_fraction=0`).\nName FILES to evaluate on.")
        batch_size, num_steps = (options.get(n) or getattr(self.config, n) for n in ("batch_size", "num_steps"))
        newline = self.vocab.newline if self.config.lines else None
        found = evaluate(model, ids, batch_size, num_steps, progress, newline)
        (one, many), unknown = UNITS[self.vocab.kind], self.vocab.unknown
        if one == "word":
            more, told = {"perplexity": found.perplexity}, f"perplexity {found.perplexity:.2f}"
        else:
            more, told = {f"bits_per_{one}": found.bits}, f"{found.bits:.4f} bits per {one}"
        values: dict[str, Any] = {"level": self.vocab.kind, "tokens": found.tokens, "predicted": found.predicted}
        rows = {"text": f"{some(files, 3) or 'what the run held out'}: {counted(found.tokens, one, many)}"}
        if encoded is not None:
            values |= {"unseen": encoded.unseen, "of": encoded.total, "skipped": encoded.skipped}
        if unknown is not None:
            values["unknown"] = count = int((ids[0 : len(ids)] == unknown).sum())
            share = 100 * count / found.tokens
            rows["unknown"] = f"{count:,} ({share:.2g} %) are not in its vocabulary, and count as one {one}"
            if not count or (encoded and encoded.words()):
                del rows["unknown"]
        if encoded is not None and encoded.words():
            rows["unseen"] = f"{encoded.words()} (`unseen`)"
        rows["read in"] = (
            f"{counted(found.batch_size, 'lane')}, windows of {counted(found.num_steps, 'time step')}, "
            f"{'each line from zeros' if self.config.lines else 'state carried over'}; "
            f"{counted(found.predicted, one, many)} predicted"
        )
        values |= {"batch_size": found.batch_size, "num_steps": found.num_steps}
        words = {"loss": f"{found.loss:.4f} nats per {one} = {told}"}
        baselines = {"loss": self.baseline or ("by frequency alone", entropy_of(np.bincount(ids[0 : len(ids)])))}
        return Judged({"loss": found.loss} | more, baselines, rows, values, words)

    def parse(self, line: str) -> np.ndarray:
        """The tokens of a text to go on from; without any, what a text begins with."""
        newline, ids = self.vocab.newline, self.vocab.encode(line)
        begin = newline is not None and (self.config.lines or not len(ids))
        return (
            np.concatenate([[newline] if begin else [], ids]).astype(np.int32) if begin or len(ids) else np.array([0])
        )

    def encode(self, example: np.ndarray) -> np.ndarray:
        return example[:, None]

    def answer(self, outputs: np.ndarray, example: np.ndarray, proba: bool) -> dict[str, Any]:
        """The likeliest next token, and with `proba` the likeliest few."""
        share = shares(outputs[-1])
        order = [int(n) for n in np.argsort(-share, kind="stable") if n != self.vocab.unknown] or [0]
        found: dict[str, Any] = {"answer": self.vocab.tokens[order[0]]}
        if proba:
            found["probabilities"] = [[self.vocab.tokens[n], float(share[n])] for n in order[:LIKELIEST]]
        return found
