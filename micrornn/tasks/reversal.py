"""Numbers read backward, made by the program, for an encoder and a decoder.

    source    40815
    target    51804

The first digit to be written is the last one that was read: nothing can be written before all is read.

Grefenstette, Hermann, Suleyman, Blunsom, Learning to Transduce with Unbounded Memory, 2015, arXiv:1506.02516, has it as
one of its tasks (section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

from micrornn.config import setting
from micrornn.tasks.answering import Answering, AnsweringSettings
from micrornn.tasks.pairing import unlike


@dataclass(frozen=True)
class ReversalSettings(AnsweringSettings):
    digits: int = setting(8, "The most digits of a number: each has 1 to N.", low=1, high=1000)
    examples: int = setting(20_000, "Different numbers that are made, those held out among them.", low=2, high=10**7)


class Reversal(Answering):
    name, about = "reversal", "encoder and decoder: a number read backward, made on the fly"
    Settings = ReversalSettings
    config: ReversalSettings

    def __init__(self, config: ReversalSettings, data: None = None):
        sources = unlike(lambda rng: "".join(map(str, rng.integers(0, 10, rng.integers(1, config.digits + 1)))), config)
        super().__init__(config, [(source, source[::-1]) for source in sources])
