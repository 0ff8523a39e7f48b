"""Sentiment: whether a text is of one class or of another, such as a review that praises and one that does not.

    the film was not bad at all   -> pos
    they say it is moving , but the plot was dull   -> neg

Many to one: one label for a sequence, read from the last valid step, or from the mean or the maximum over all. From a
file for each class, a folder for each class, or a table (data/labelled.py), or from texts that are made up.

Maas et al., Learning Word Vectors for Sentiment Analysis, ACL 2011, is where the folders `pos` and `neg` come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from micrornn.config import MOST, setting
from micrornn.data import words
from micrornn.data.labelled import read_labelled
from micrornn.data.madeup import said_of_films
from micrornn.data.rows import BadRows, Example
from micrornn.data.sequences import cut
from micrornn.errors import DataError
from micrornn.tasks.labelling import Ids, Labelling, LabelSettings
from micrornn.tasks.parts import READS, defaults
from micrornn.tasks.task import Metric, Progress


@dataclass(frozen=True)
@defaults(vocab_size=20_000)
class SentimentSettings(LabelSettings):
    max_len: int = setting(200, "Words of a text that are read at most. 0: all.", low=0, cap=MOST)
    read: str = setting(
        "last", "What is read of the recurrent layers: the last valid step, or the mean or maximum over all.",
        choices=READS[1:],
    )  # fmt: skip
    each: str = setting(
        "auto", "What a text is: a line, a file, or a file where a class has a folder of several.",
        choices=("auto", "line", "file"),
    )  # fmt: skip
    marks: bool = setting(True, "Punctuation marks are words of their own; else they are left out.")
    text_column: str = setting("", "Of a table: the column with the texts, by name or by number from 1.")
    label_column: str = setting("", "Of a table: the column with the labels, by name or by number from 1.")


class Sentiment(Labelling):
    name, about = "sentiment", "many to one: the class of a text, from a file or a folder for each class, or a table"
    Settings = SentimentSettings
    per_step = False
    noun, nouns = "class", "classes"
    remedy: ClassVar[str] = "give a file or a folder for each class, or choose another `label_column`"
    takes: ClassVar[str] = "a text"
    metrics = (Metric("loss", "nats per text"), *Labelling.metrics[1:])  # type: ignore[misc]
    config: SentimentSettings

    @property
    def read(self) -> str:
        return self.config.read

    @classmethod
    def made_up(cls, config: SentimentSettings) -> list[Example]:
        return [Example(tokens(text, config.marks), [label]) for text, label in said_of_films(config.seed)]

    @classmethod
    def examples(cls, config: SentimentSettings, files: Sequence[Path], bad: BadRows,
                 progress: Progress | None = None) -> tuple[list[Example], dict[str, str]]:  # fmt: skip
        found, how = read_labelled(
            files, bad, config.encoding, config.text_column, config.label_column, config.each, progress
        )
        read = []
        for one in found:
            if said := tokens(one.text, config.marks):
                read.append(Example(said, [one.label], one.path, [one.line]))
            else:
                bad.add(one.path, one.line, "a text of punctuation alone")
        return read, {"files": how}

    def baselines_of(self, data: tuple[Ids, Ids]) -> dict[str, tuple[str, float]]:
        """Always the class that came most often, and the loss of how often each came, in what was learned from."""
        shares = self.counts / self.counts.sum()
        classes = np.concatenate(data[1])
        most = int(self.counts.argmax())
        return {
            "loss": ("by how often each class comes", float(-np.log(shares[classes]).mean())),
            "accuracy": (f"always {self.labels[most]}", float((classes == most).mean())),
        }

    # --- use ---

    def parse(self, line: str) -> list[str]:
        found = tokens(line, self.config.marks)
        if not found:
            raise DataError("there is no word in it; wanted a text a line")
        _, tab, label = line.rstrip("\r\n").rpartition("\t")
        if tab and label in self.labels:  # a row of a table: its class would be read as a word
            wanted = "wanted a text alone. `micrornn eval` reads tables"
            raise DataError(f"it ends in a tab and the class {label}; {wanted}")
        return found

    def encode(self, example: list[str]) -> np.ndarray:
        kept = cut(self.words.encode(example), self.config.max_len, self.config.keep)
        return np.asarray(kept)[:, None]


def tokens(text: str, marks: bool = True) -> list[str]:
    """The words of a text, and its marks if these count, as `level=word` splits it, in small letters and without
    whitespace."""
    found = [words.token_of(piece) for piece in words.split(text.lower())]
    return [token for token in found if not token.isspace() and (marks or not words.is_mark(token))]
