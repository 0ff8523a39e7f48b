"""Cut at random, with compensation: the expectation is the gradient of the whole sequence.

After each batch of num_steps time steps the sequence is cut with probability P, which makes an update of what lies
since the last cut. A cotangent that goes back across a border where no cut was made is multiplied by 1 / (1 - P): so
often a path is cut, so much more the others count. A path from L_s back to time step t, across n borders, survives
with probability (1 - P)^n and then counts (1 - P)^-n times:

    E[ sum of g over the updates of an epoch ] = P d/dtheta of the sum of the mean L of each batch

An update reads num_steps / P time steps on average; each loss is divided by that mean, not by the length at hand,
which would be a bias. The price is variance: the factor grows with each border.
Costs a time step forward and one back for each, the memory of the longest piece.

ARTBP: Tallec and Ollivier, Unbiasing Truncated Backpropagation Through Time, 2017, arXiv:1705.08209, with the same
probability at each border.
"""

from __future__ import annotations

import numpy as np

from micrornn.bptt.chain import Chain, Link
from micrornn.bptt.way import Step, Way, left_of_epoch

STREAM = 13  # tells these random numbers from others of the same seed


class Random(Way):
    def next(self, update: int) -> Step:
        share = self.typed.numbers[0]
        count = int(np.random.default_rng([self.config.seed, STREAM, update]).geometric(share))
        self.batches_read = min(count, left_of_epoch(self.batches))
        links, scale = [], self.config.num_steps if self.config.loss == "sum" else 1.0
        for n in range(self.batches_read):
            inputs, targets, state = self.batches.next()
            read = np.array(inputs), np.array(targets), None if n else state
            links.append(Link(*read, update, n * len(inputs), dloss=scale * share))
        return Chain(self.model, links, 1 / (1 - share))

    @property
    def per_epoch(self) -> int | None:
        return None
