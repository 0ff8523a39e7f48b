"""What the measures say of models of which it is known what is wrong with them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from micrornn.inspect.learned import frequencies
from micrornn.inspect.measure import Learned, Measure, Verdict


@pytest.mark.parametrize("counts", [[1], [5, 5], [1, 2, 3, 0, 10]])
def test_frequencies_are_the_unigram_entropy(counts):
    ids = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    shares = [n / sum(counts) for n in counts if n]
    assert frequencies(ids, len(counts)) == pytest.approx(-sum(p * math.log(p) for p in shares))


@pytest.mark.parametrize("loss, kind", [(0.5, "healthy"), (1.9, "healthy"), (1.99, "unlearned"), (9.0, "unlearned")])
def test_a_loss_near_the_frequencies_is_never_healthy(loss, kind):
    about = {"learned": {"loss": loss, "frequencies": 2.0, "ln_V": 3.0, "token": "word"}}
    found = Measure("flow", about, {}, {}, {}, (Verdict("healthy", "Fine."), Verdict("dead", "A tenth.")))
    assert [verdict.kind for verdict in found.verdicts] == [kind, "dead"]
    for verdict in found.verdicts:
        assert verdict.words.endswith(
            f"Loss {loss:.3g} nats per word; 2 by word frequencies alone, 3 by chance (ln V)."
        )
        assert "Loss" not in verdict.short and verdict.numbers["ln_V"] == 3
    assert Learned(0.0, 0.0, 0.0).anything  # one symbol: nothing is there to be learned
