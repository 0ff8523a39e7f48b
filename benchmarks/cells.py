"""`python -m benchmarks.cells`: all cells beside each other. One layer forward and backward, the adding problem, and
Shakespeare (or any text) at equal parameters.

    python -m benchmarks.cells                      the layer, and the adding problem
    python -m benchmarks.cells --text book.txt      and a language model of each cell, as many parameters each
"""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from micrornn import kernels
from micrornn.cells import CELLS
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.layers import Linear
from micrornn.ops import mean_squared_error
from micrornn.optim import Optimizer
from micrornn.parameters import Flat
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor
from micrornn.tasks.text import num_parameters
from micrornn.train import Training

SHAPE = (32, 50, 128, 128)  # batch_size, seq_len, input_size, hidden_size
SIZE, STEPS, UPDATES = 64, 40, 600  # of the adding problem
PARAMETERS = 150_000  # of each language model, about


def layer(cell: str, granularity: str = "sequence") -> Callable[[], None]:
    """Forward and backward of one layer: the gradients of the input and of all parameters."""
    batch, steps, inputs, hidden = SHAPE
    rng = np.random.default_rng(0)
    net = Recurrent(cell, inputs, hidden, granularity=granularity)
    flat = Flat(net.parameters())
    x = Tensor(rng.standard_normal((steps, batch, inputs)).astype(np.float32), requires_grad=True)
    dy = rng.standard_normal((steps, batch, hidden)).astype(np.float32)

    def run() -> None:
        flat.zero_grad()
        x.grad = None
        with Tape() as tape:
            y, _ = net(x)
        tape.backward(y, dy)

    return run


def timed(rounds: int) -> dict[str, float]:
    """Median milliseconds of processor time, on one thread, of each cell, and of the LSTM with peepholes in primitive
    ops; all in turn."""
    runs = {name: layer(name, "sequence" if cell.derivable else "cell") for name, cell in CELLS.items()}
    runs["lstm_peephole, primitive"] = layer("lstm_peephole", "primitive")
    with contextlib.suppress(ImportError):
        runs["lstm_peephole, PyTorch loop"] = torch_loop()
    times: dict[str, list[float]] = {name: [] for name in runs}
    order = random.Random(0)
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name in order.sample([*runs], len(runs)):
            start = time.process_time()
            runs[name]()
            times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(row) for name, row in times.items()}


def torch_loop() -> Callable[[], None]:
    """The LSTM with peepholes as one writes it in PyTorch: a loop over time steps of its ops. On CUDA it would run too;
    here it is on the processor, with as many threads as the others."""
    import torch

    batch, steps, inputs, hidden = SHAPE
    torch.set_num_threads(1)
    w_ih, w_hh = (torch.randn(4 * hidden, n).mul(0.1).requires_grad_() for n in (inputs, hidden))
    bias = torch.zeros(4 * hidden, requires_grad=True)
    p_i, p_f, p_o = (torch.zeros(hidden, requires_grad=True) for _ in range(3))
    x, dy = torch.randn(steps, batch, inputs, requires_grad=True), torch.randn(steps, batch, hidden)

    def run() -> None:
        h = c = torch.zeros(batch, hidden)
        from_x, rows = x @ w_ih.T + bias, []
        for t in range(steps):
            i, f, g, o = (from_x[t] + h @ w_hh.T).chunk(4, 1)
            i, f = torch.sigmoid(i + p_i * c), torch.sigmoid(f + p_f * c)
            c = f * c + i * torch.tanh(g)
            h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
            rows.append(h)
        torch.stack(rows).backward(dy)

    return run


def adding(cell: str, seed: int = 0) -> float:
    """The loss of the adding problem after UPDATES; 1/6 = 0.167 is what one gets without looking."""
    rng = np.random.default_rng(seed)
    net = Recurrent(
        cell, 2, SIZE, granularity="sequence" if CELLS[cell].derivable else "cell", forget_bias=1.0, seed=seed
    )
    decoder = Linear(SIZE, 1, seed=seed + 1)
    flat = Flat({**net.weights, "w": decoder.weight, "b": decoder.bias})
    optimizer, losses = Optimizer(flat, "adam"), []
    for _ in range(UPDATES):
        x = rng.uniform(0, 1, (STEPS, 32, 2)).astype(np.float32)
        x[:, :, 1] = 0
        half = STEPS // 2
        x[rng.integers(0, half, 32), np.arange(32), 1] = 1
        x[rng.integers(half, STEPS, 32), np.arange(32), 1] = 1
        flat.zero_grad()
        with Tape() as tape:
            _, (h, *_) = net(Tensor(x))
            loss = mean_squared_error(decoder(h[0]), targets=(x[:, :, 0] * x[:, :, 1]).sum(axis=0)[:, None])
        tape.backward(loss)
        optimizer.update(0.005, 1.0, np.inf)
        losses.append(loss.item())
    return float(np.mean(losses[-50:]))


def read(cell: str, text: str, updates: int) -> tuple[int, float]:
    """(hidden_size, validation loss in nats per character) of a language model of about PARAMETERS parameters."""
    tokens = tokenize([Path(text)], "char")
    granularity = "sequence" if CELLS[cell].derivable else "cell"

    def config(hidden: int) -> Config:
        return Config(
            cell=cell, hidden_size=hidden, embedding_size=32, granularity=granularity, num_updates=updates, threads=1,
            schedule="constant", lr=3e-3,
        )  # fmt: skip

    sizes = range(16, 2048, 8)
    hidden = min(sizes, key=lambda h: abs(num_parameters(config(h), tokens.vocab.size) - PARAMETERS))
    training = Training(config(hidden), tokens)
    for _ in range(updates):
        training.update()
    return hidden, training.validate()


@click.command()
@click.option("--rounds", default=15, help="Of the timing.")
@click.option("--text", type=click.Path(exists=True), help="A text to read.")
@click.option("--updates", default=600, help="Of each language model.")
def main(rounds: int, text: str | None, updates: int) -> None:
    """A table of all cells, in Markdown."""
    kernels.set_threads(1)
    times = timed(rounds)
    lstm = times["lstm"]
    head = ["cell", "layer, ms", "speed, lstm = 1", "adding, loss"] + (["units", "text, nats"] if text else [])
    click.echo(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name, took in times.items():
        row = [name, f"{took:.2f}", f"{lstm / took:.2f}"]
        if name in CELLS:
            row.append(f"{adding(name):.4f}")
            if text:
                hidden, loss = read(name, text, updates)
                row += [str(hidden), f"{loss:.3f}"]
        click.echo(f"| {' | '.join(row + [''] * (len(head) - len(row)))} |")


if __name__ == "__main__":
    main()
