"""Truncated backpropagation: windows of num_steps time steps, cut at their borders.

    g = d/dtheta of the mean of L_t over a window, its first state given

The state's value crosses the border to the next window, the gradient does not (Williams and Peng 1990). `online` is a
window of one time step; `stateless` begins each window with the initial state, which is `state=fresh`.
Costs an update num_steps forward and num_steps back, and the memory of one window.
"""

from __future__ import annotations

from micrornn.bptt.way import Step, Way


class Window(Way):
    needs_carried, whole_windows = False, True

    def next(self, update: int) -> Step:
        return self.segments(*self.batches.next(), update, self.segment_steps)
