"""Pairs of texts, a source and its target: to ids and back, and in batches.

Codec          texts to ids and back
PairBatches    batches of pairs whose sources are of similar length
by_source      each source once, with all of its targets
unlike         different made-up examples, the same for a seed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from micrornn.data.sequences import ByLength, Padded, pad
from micrornn.data.symbols import UNKNOWN, Symbols
from micrornn.decoding import Answer
from micrornn.errors import DataError, counted
from micrornn.tasks.encdec import END, Pair, shifted

END_NAME = "<the end>"  # no symbol of a target is called so: a word has no blank
Example = TypeVar("Example")
Part = Sequence[tuple[str, Sequence[str]]]  # sources, each with its targets


class Codec:
    """Texts to ids and back, and what an answer can be: all that is used of the data by a trained network.

    levels     of source and target: char, or word, which is what stands between blanks
    longest    tokens that an answer has at most
    """

    def __init__(self, levels: tuple[str, str], source: Symbols, target: Symbols, longest: int):
        self.levels, self.source, self.target, self.longest = levels, source, target, longest

    def split(self, text: str, side: int) -> list[str]:
        """The tokens of a source (side 0) or a target (side 1)."""
        return text.split() if self.levels[side] == "word" else list(text)

    def ids(self, source: str) -> np.ndarray:
        """int32 (length,)."""
        return self.source.encode(self.split(source, 0))

    def target_ids(self, target: str) -> np.ndarray:
        """int32 (length + 1,), with the end."""
        return np.append(self.target.encode(self.split(target, 1)), np.int32(END))

    def text(self, answer: Answer) -> str:
        """An answer as it would stand in a file."""
        return (" " if self.levels[1] == "word" else "").join(self.target.decode(answer.tokens))

    def batch(self, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray],
              side: str = "right") -> tuple[Pair, Padded]:  # fmt: skip
        """What the network reads, and what it is to write, padded on this side."""
        padded = pad(targets, side)
        return Pair(pad(sources, side), shifted(padded)), padded

    def unseen(self, part: Part) -> str:
        """What of these pairs has no symbol here, in words; empty: nothing."""
        counts = [[0, 0], [0, 0]]
        for source, targets in part:
            for side, text in ((0, source), *((1, target) for target in targets)):
                tokens, symbols = self.split(text, side), (self.source, self.target)[side]
                counts[side][0] += sum(token not in symbols for token in tokens)
                counts[side][1] += len(tokens)
        told = [
            f"{missing:,} of {counted(total, 'token')} of {side}s"
            for side, (missing, total) in zip(("source", "target"), counts)
            if missing
        ]
        return " and ".join(told) and f"{' and '.join(told)} unseen in training, read as {UNKNOWN}"

    @classmethod
    def of(cls, levels: tuple[str, str], part: Part, limit: int) -> Codec:
        """For what these pairs hold: of the symbols of the sources, and of the targets, so many at most; 0: all."""
        codec = cls(levels, Symbols([]), Symbols([]), 1)
        written = [codec.split(target, 1) for _, targets in part for target in targets]
        codec.source = Symbols.build((codec.split(source, 0) for source, _ in part), limit)
        codec.target = Symbols.build(written, limit, unknown=False, always=(END_NAME, UNKNOWN))
        codec.longest = max(map(len, written))
        return codec

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` needs, besides the levels; fit for JSON."""
        return {"source_tokens": self.source.tokens, "target_tokens": self.target.tokens, "longest": self.longest}

    @classmethod
    def from_dict(cls, levels: tuple[str, str], values: Mapping[str, Any]) -> Codec:
        """DataError where that is not what `to_dict` gave."""
        source, target = Symbols(values["source_tokens"]), Symbols(values["target_tokens"])
        if source.unknown is None or target.tokens[:2] != [END_NAME, UNKNOWN]:
            raise DataError("damaged list of symbols: it lacks the unknown one, or the end")
        return cls(levels, source, target, values["longest"])

    def lanes(self, inputs: Pair, targets: Padded, which: Iterable[int], width: int = 66) -> list[str]:
        """Lanes of a batch as a reader sees them, three lines each."""
        source, target = self.source, self.target
        sign = next(sign for sign in (".", "#", "~", "") if sign not in source and sign not in target)
        rows = [f"{sign} is padding"]
        for lane in which:
            for name, padded, symbols in (
                ("source", inputs.source, source), ("before", inputs.before, target), ("target", targets, target),
            ):  # fmt: skip
                tokens = symbols.decode(padded.values[:, lane])
                names = [
                    ("_" if token == " " else token) if there else sign
                    for token, there in zip(tokens, padded.mask[:, lane])
                ]
                line = " ".join(names)
                rows.append(f"{name}  {line if len(line) <= width else line[: width - 3] + '...'}")
        return rows


class PairBatches(ByLength):
    """Batches of pairs, each of a source and one of its targets.

    part    the sources and their targets, as texts
    """

    def __init__(self, codec: Codec, part: Part, config: Any, epoch: int | None = None):
        self.part = part
        pairs = [
            (ids, codec.target_ids(target))
            for source, targets in part
            for ids in [codec.ids(source)]
            for target in targets
        ]

        def make(chosen: Iterable[int]) -> tuple[Pair, Padded]:
            return codec.batch([pairs[n][0] for n in chosen], [pairs[n][1] for n in chosen], config.pad)

        lengths, counts = ([len(pair[side]) for pair in pairs] for side in (0, 1))
        shuffle = epoch is None
        super().__init__(lengths, make, config.batch_size, config.seed, shuffle=shuffle, epoch=epoch, counts=counts)


def by_source(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Each source once, with its different targets, in the order in which they came."""
    found: dict[str, dict[str, None]] = {}
    for source, target in pairs:
        found.setdefault(source, {})[target] = None
    return [(source, list(targets)) for source, targets in found.items()]


def unlike(draw: Callable[[np.random.Generator], Example], config: Any) -> list[Example]:
    """So many different examples as the setting `examples` says, or fewer where hardly any others are left; the same
    for a seed."""
    rng = np.random.default_rng([config.seed, config.examples])
    found: dict[Example, None] = {}
    for _ in range(10 * config.examples):
        found[draw(rng)] = None
        if len(found) == config.examples:
            break
    return list(found)
