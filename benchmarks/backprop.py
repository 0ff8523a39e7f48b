"""`python -m benchmarks.backprop`: an update of `--backprop K1,K2` beside what it is made of, each by itself.

    forward      the model and its loss over K1 time steps
    back         over K2 time steps on one tape, of which the last K1 have losses: gradients of all parameters
    optimizer    the gradient's norm, and Adam

Milliseconds of processor time, on one thread, in turn; medians. Each part alone is done again and again, so it finds in
the caches what it needs, as an update does not.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from micrornn import kernels
from micrornn.bench.cases import Model
from micrornn.bench.made import made_tokens
from micrornn.config import Config
from micrornn.ops import cross_entropy
from micrornn.optim import clip_scale, global_norm
from micrornn.recompute import Segment, back
from micrornn.tape import Tape
from micrornn.train import Training

VOCAB, EMBEDDING, LANES = 65, 64, 32


def parts(cell: str, k1: int, k2: int, hidden: int) -> dict[str, Callable[[], object]]:
    """The update and its parts, to be timed."""
    sizes = {"hidden_size": hidden, "embedding_size": EMBEDDING, "batch_size": LANES}
    given = {"cell": cell, "clip_norm": 1.0, "schedule": "constant", "val_fraction": 0.0, **sizes}
    with tempfile.TemporaryDirectory() as folder:
        tokens = made_tokens(Model("", "char", VOCAB, EMBEDDING, 1, hidden, LANES, max(k2, 50)), Path(folder))
    shared = Training(Config(num_steps=k1, backprop=f"{k1},{k2}", **given), tokens)
    window = Training(Config(num_steps=k2, **given), tokens)
    model, (ids, targets, _) = window.model, window.batches.next()
    state = model.rnn.zero_state(LANES)
    with Tape(guard=False) as tape:
        y, last = model.rnn(model.features(ids), state)
        loss = cross_entropy(model.decoder(y[k2 - k1 :]), targets=targets[k2 - k1 :])
    whole = Segment(tape, None, last, loss, 1.0)

    def forward() -> float:
        with Tape(guard=False):
            return model.loss(ids[:k1], targets[:k1], state)[0].item()

    def optimizer() -> None:
        window.optimizer.update(1e-3, clip_scale(global_norm(model.flat), 1.0))

    return {
        "update": shared.update, "forward": forward, "back": lambda: back(model, whole, (), new=True),
        "optimizer": optimizer,
    }  # fmt: skip


def timed(runs: dict[str, Callable[[], object]], updates: int) -> dict[str, float]:
    """Median milliseconds of each, in blocks of five, of which the first does not count."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(max(1, updates // 4)):
        for name, run in runs.items():
            for n in range(5):
                start = time.thread_time()
                run()
                if n:
                    found[name].append(time.thread_time() - start)
    return {name: 1e3 * statistics.median(seconds) for name, seconds in found.items()}


@click.command()
@click.option("--cells", default="rnn,gru,lstm", show_default=True)
@click.option("--steps", default="5,50 10,50 1,20", show_default=True, help="K1,K2, with spaces between")
@click.option("--hidden", default=128, show_default=True)
@click.option("--updates", default=240, show_default=True)
def main(cells: str, steps: str, hidden: int, updates: int) -> None:
    """Updates of --backprop K1,K2 beside their parts."""
    kernels.set_threads(1)
    click.echo(
        f"{'cell':6s} {'K1,K2':>7s} {'update':>9s} {'forward':>9s} {'back':>9s} {'optimizer':>9s} {'update/sum':>11s}"
    )
    for cell in cells.split(","):
        for pair in steps.split():
            k1, k2 = map(int, pair.split(","))
            runs = parts(cell, k1, k2, hidden)
            for _ in range(2 * (k2 // k1 + 1)):  # until all K2 time steps are kept
                runs["update"]()
            found = timed(runs, updates)
            whole, *rest = found.values()
            numbers = " ".join(f"{number:9.3f}" for number in found.values())
            click.echo(f"{cell:6s} {pair:>7s} {numbers} {whole / sum(rest):11.2f}")


if __name__ == "__main__":
    main()
