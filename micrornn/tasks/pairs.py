"""Pairs from files: spelling to sounds, a sentence to its translation. Each line is SOURCE <tab> TARGET.

    cat     K AE1 T
    cats    K AE1 T S

A line whose source stood there before adds a second target to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micrornn.config import MOST, setting
from micrornn.data.files import shown
from micrornn.data.rows import BadRows, lines, skip_bad_rows
from micrornn.errors import DataError, counted, named
from micrornn.tasks.answering import Answering, AnsweringSettings
from micrornn.tasks.pairing import PairBatches, by_source
from micrornn.tasks.task import VALIDATION, Judged, Progress

LEVELS = ("char", "word")


@dataclass(frozen=True)
class PairsSettings(AnsweringSettings):
    """vocab_size limits the symbols of the sources, and those of the targets."""

    source_level: str = setting(
        "char", "What a token of a source is: a character, or a word, which is what stands between blanks.",
        choices=LEVELS,
    )  # fmt: skip
    target_level: str = setting("char", "The same of a target; a word may be a sound, as in K AE1 T.", choices=LEVELS)
    max_len: int = setting(
        250, "Tokens of a source, or of a target, at most; a longer one is a bad row.", low=1, cap=MOST
    )
    skip_bad_rows: bool = skip_bad_rows()


class Pairs(Answering):
    """bad: rows that were left out; unseen: what of the pairs evaluated last was never seen in training, in words."""

    name, about = "pairs", "encoder and decoder: a target for each source, from lines SOURCE <tab> TARGET"
    Settings = PairsSettings
    unseen = ""
    uses = (*Answering.uses, "encoding", "vocab_size")

    def __init__(self, config: PairsSettings, pairs: Sequence[tuple[str, str]], bad: BadRows | None = None):
        super().__init__(config, pairs)
        self.bad = bad or BadRows(skip=False)

    @classmethod
    def levels(cls, config: PairsSettings) -> tuple[str, str]:
        return config.source_level, config.target_level

    @classmethod
    def prepare(cls, config: Any, files: Sequence[Path] = (), progress: Progress | None = None) -> Pairs:
        cls.require_used(config)
        if not files:
            raise DataError("the task pairs learns from files; name one with lines SOURCE <tab> TARGET")
        bad = BadRows(config.skip_bad_rows)
        return cls(config, read_pairs(files, config, bad, progress), bad)

    @classmethod
    def example(cls, config: Any) -> Pairs:
        words = ("an", "ant", "ate", "neat", "tan", "ten", "eaten", "tea")
        return cls(config, [(word, " ".join(word.upper())) for word in words])

    def batches_of(self, files: Sequence[Path]) -> PairBatches:
        self.bad = BadRows(self.config.skip_bad_rows)
        pairs = read_pairs(files, self.config, self.bad)
        return PairBatches(self.codec, by_source(pairs), self.config, VALIDATION)

    def evaluate(self, model: Any, batches: Any = None) -> dict[str, float]:
        batches = batches or self.validation()
        self.unseen = self.codec.unseen(batches.part) if batches else ""
        return super().evaluate(model, batches)

    def judge(self, model: Any, files: Sequence[Path] = (), progress: Progress | None = None, **options: Any) -> Judged:
        found = super().judge(model, files, progress, **options)
        rows = self.bad.told() | ({"unseen": self.unseen} if self.unseen else {})
        return dataclasses.replace(found, rows=rows, values={"skipped": self.bad.count, "unseen": self.unseen})

    def told(self, model: Any) -> dict[str, str]:
        return super().told(model) | self.bad.told()


def read_pairs(files: Sequence[Path], config: PairsSettings, bad: BadRows,
               progress: Progress | None = None) -> list[tuple[str, str]]:  # fmt: skip
    """(source, target) of each line of the files. DataError with file and line where one is no pair, or where there is
    none at all."""
    pairs = []
    for n, path in enumerate(files, 1):
        for number, line in lines(path, config.encoding):
            wrong = _wrong(line, config)
            if wrong:
                bad.add(path, number, wrong)
            elif line.strip():
                source, target = line.split("\t")
                pairs.append((source, target))
        if progress is not None:
            progress(n, len(files))
    if not pairs:
        raise DataError(f"{named(shown(files[0]))}: no line of it is a pair, SOURCE <tab> TARGET")
    return pairs


def _wrong(line: str, config: PairsSettings) -> str:
    """What is wrong with a line; empty: nothing. A blank line is no pair, and no mistake."""
    fields = line.split("\t")
    if not line.strip():
        return ""
    if len(fields) != 2:
        return f"{counted(len(fields), 'field')}, wanted 2: SOURCE <tab> TARGET"
    for name, text, level in zip(("source", "target"), fields, Pairs.levels(config)):
        length = len(text.split()) if level == "word" else len(text)
        if not text.strip():
            return f"the {name} is empty"
        if length > config.max_len:
            return f"the {name} has {counted(length, 'token')}, more than `max_len={config.max_len:,}`"
    return ""
