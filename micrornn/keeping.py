"""What a run writes into its folder while it trains: a row for each update, and a checkpoint now and then.

Wherever a signal or an error stops it, a run that goes on from what is on disk comes to the same end.
"""

from __future__ import annotations

import math
import time
from typing import Any

from micrornn.checkpoint import RunFolder
from micrornn.divergence import largest
from micrornn.errors import DivergedError

CHECKPOINT_SECONDS = 30.0


class Keeper:
    """The rows and checkpoints of a Training, if it has a folder."""

    def __init__(self, training: Any, folder: RunFolder | None):
        self.training, self.folder = training, folder
        self.saved_at, self.saved_update = time.monotonic(), training.updates
        self.unsaved, self.best = False, False  # updates came after the checkpoint; the next one is the best
        if folder is not None:
            folder.lock()
            folder.truncate_metrics(training.updates - (training.pending is not None))
            if not folder.has_checkpoint:
                self.save()  # from here on, a run that is killed can be resumed

    def keep(self, report: Any, due: bool, best: bool) -> None:
        """Write the rows of an update and, if it is due, a checkpoint. If an exception comes in between, the update is
        still pending."""
        pending, self.unsaved, self.best = self.training.pending, True, best
        assert pending is not None
        if self.folder is not None:
            if pending.gradients is not None:
                self.folder.gradients.append(pending.gradients)
            self.folder.append_metrics(report.to_dict())
        self.training.pending = None
        if due or self._stays() or time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
            self.save()

    def _stays(self) -> bool:
        """Whether a checkpoint of this update is one of those that are kept."""
        every, update = self.training.config.keep_every, self.training.updates
        return every > 0 and update > 0 and update % every == 0

    def save(self) -> None:
        """Write the checkpoint. DivergedError, with the last one kept, if a parameter is no longer finite."""
        training = self.training
        if self.folder is None:
            return
        if not math.isfinite(largest(training.model.flat.data)):
            name = next(n for n, p in training.model.flat.parameters.items() if not math.isfinite(largest(p.data)))
            raise DivergedError(f"update {training.updates}: a parameter is no longer finite: {name}")
        arrays, meta = training.snapshot()
        self.folder.save(arrays, meta, best=self.best, keep=self._stays())
        self.unsaved, self.best = False, False
        self.saved_at, self.saved_update = time.monotonic(), training.updates

    def leave(self) -> None:
        """When the loop ends or is left: save, if there were updates since the last time and none was cut short."""
        if self.training.whole and (self.unsaved or self.training.updates != self.saved_update):
            self.save()
