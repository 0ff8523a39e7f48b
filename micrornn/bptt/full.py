"""Backpropagation through the whole sequence: for lanes of a text, back to where the lanes begin.

    g = d/dtheta of the mean of L_t over the sequence

One update an epoch. The sequence is gone over in segments of num_steps time steps (recompute.py): it costs two passes
forward and one back, and the memory of one segment and of a state at each border.
"""

from __future__ import annotations

from micrornn.bptt.way import Step, Way, join, left_of_epoch


class Full(Way):
    whole_windows = True

    def next(self, update: int) -> Step:
        if not getattr(self.batches, "cut", False):  # each batch is a whole sequence
            return self.segments(*self.batches.next(), update, self.segment_steps)
        self.batches_read = left_of_epoch(self.batches)
        length = min(self.config.num_steps, self.segment_steps)
        return self.segments(*join(self.batches, self.batches_read), update, length)

    @property
    def per_epoch(self) -> int | None:
        return 1 if getattr(self.batches, "cut", False) else super().per_epoch
