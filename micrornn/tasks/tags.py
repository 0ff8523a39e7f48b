"""Tags: a label for each word of a sentence, such as its part of speech, or the name of the span that it is part of.

    word   flights  to  san     francisco  from  dallas
    tag    O        O   B-goal  I-goal     O     B-start

In step: as many labels as words, from CoNLL and CoNLL-U files (data/conll.py), or from sentences that are made up. Both
directions may be read, since the whole sentence is there. Spans are judged as conlleval does (data/spans.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from micrornn.config import setting
from micrornn.data.conll import FORMATS, read_tagged
from micrornn.data.madeup import tagged_sentences
from micrornn.data.rows import BadRows, Example
from micrornn.data.spans import f1, is_spans
from micrornn.errors import DataError
from micrornn.schema import Rule
from micrornn.tasks.labelling import Ids, Labelling, LabelSettings
from micrornn.tasks.parts import Features
from micrornn.tasks.task import Metric, Progress

SPAN_F1 = Metric("span_f1", "", "higher")
SMOOTH = 0.1  # of a count: how often labels come in all, added for each word, so that none has the probability 0


@dataclass(frozen=True)
class TagSettings(LabelSettings):
    format: str = setting("auto", "Of FILES: told by the first row of each, or as named.", choices=FORMATS)
    word_column: str = setting("", "The words' column: a number from 1, or of CoNLL-U a name. By default 1, or form.")
    tag_column: str = setting("", "The tags' column, as 4, as -1 (the last one), or as upos. By default -1, or upos.")
    lower: bool = setting(False, "Read words in small letters.")


class Tags(Labelling):
    """usual    the most frequent tag of each word, (words,)"""

    name, about = "tags", "in step: a tag for each word of a sentence, from CoNLL and CoNLL-U files"
    Settings = TagSettings
    noun, nouns = "tag", "tags"
    remedy: ClassVar[str] = "choose another `tag_column`"
    takes: ClassVar[str] = "a sentence, its words separated by blanks"
    RULES: ClassVar[Mapping[str, Rule]] = {**Labelling.RULES, "usual": Rule(list, items=Rule(int, low=0))}
    config: TagSettings

    def __init__(self, config: TagSettings, learned: Sequence[Example], held_out: Sequence[Example],
                 how: Mapping[str, str] | None = None):  # fmt: skip
        super().__init__(config, learned, held_out, how)
        counts = np.zeros((len(self.words), len(self.labels)))
        for row, tags in zip(*self.learned):
            np.add.at(counts, (row, tags), 1)
        counts += SMOOTH * self.counts / self.counts.sum()
        self.by_word = counts / counts.sum(axis=1, keepdims=True)
        self.usual = self.by_word.argmax(axis=1)
        self._judge_spans()

    def _judge_spans(self) -> None:
        if is_spans(self.labels):
            self.metrics = (*Labelling.metrics, SPAN_F1)

    def meta(self) -> dict[str, Any]:
        return super().meta() | {"usual": self.usual.tolist()}

    @classmethod
    def check_meta(cls, meta: Mapping[str, Any]) -> None:
        super().check_meta(meta)
        if len(meta["usual"]) != len(meta["words"]) or max(meta["usual"]) >= len(meta["labels"]):
            raise DataError("damaged list of usual tags")

    @classmethod
    def from_meta(cls, config: TagSettings, meta: Mapping[str, Any]) -> Tags:
        task = super().from_meta(config, meta)
        task.usual = np.array(meta["usual"], np.int64)
        task._judge_spans()
        return task

    @classmethod
    def made_up(cls, config: TagSettings) -> list[Example]:
        return [Example(words, tags) for words, tags in tagged_sentences(config.seed)]

    @classmethod
    def examples(cls, config: TagSettings, files: Sequence[Path], bad: BadRows,
                 progress: Progress | None = None) -> tuple[list[Example], dict[str, str]]:  # fmt: skip
        read = read_tagged(files, bad, config.format, config.word_column, config.tag_column, config.encoding)
        return [one._replace(words=cls._spelled(config, one.words)) for one in read], {}

    @staticmethod
    def _spelled(config: TagSettings, words: list[str]) -> list[str]:
        return [word.lower() for word in words] if config.lower else words

    # --- judging ---

    def evaluate(self, model: Features, batches: Any = None) -> dict[str, float]:
        found = super().evaluate(model, batches)
        batches = batches or self.validation()
        if SPAN_F1 in self.metrics:
            right: list[list[str]] = []
            guessed: list[list[str]] = []
            for _ in range(batches.num_windows):
                tags, said, mask, _ = self.found(model, *batches.next())
                for lane, valid in enumerate(mask.T):
                    right.append(self.labels.decode(tags[valid, lane]))
                    guessed.append(self.labels.decode(said[valid, lane]))
            found[SPAN_F1.name] = f1(right, guessed)[2]
        return found

    def baselines_of(self, data: tuple[Ids, Ids]) -> dict[str, tuple[str, float]]:
        """Each word has its most frequent tag; the loss is that of how often it has each tag, in what was learned."""
        ids, tags = (np.concatenate(rows) for rows in data)
        how, found = "each word's most frequent tag", {}
        if any(data is part for part in (self.held_out, self.learned)):
            found["loss"] = "by how often each word has each tag", float(-np.log(self.by_word[ids, tags]).mean())
        found["accuracy"] = how, float((self.usual[ids] == tags).mean())
        if SPAN_F1 in self.metrics:
            right, said = ([self.labels.decode(row) for row in part]
                           for part in (data[1], [self.usual[row] for row in data[0]]))  # fmt: skip
            found[SPAN_F1.name] = how, f1(right, said)[2]
        return found

    # --- use ---

    def parse(self, line: str) -> list[str]:
        words, wanted = line.split(), "wanted a sentence a line, its words separated by blanks"
        if not words:
            raise DataError(f"there is no word; {wanted}")
        if "\t" in line:  # a file with tags: each word would be a sentence, and its tag a word of it
            raise DataError(f"there is a tab in it; {wanted}. `micrornn eval` reads files with tags")
        return self._spelled(self.config, words)

    def encode(self, example: list[str]) -> np.ndarray:
        return self.words.encode(example)[:, None]
