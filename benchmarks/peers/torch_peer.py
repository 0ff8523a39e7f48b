"""PyTorch, as its own examples use it: nn.LSTM, cross_entropy, clip_grad_norm_, Adam. On a graphics card with cuDNN."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from benchmarks.clock import Clock, Events
from micrornn.bench.cases import LENGTH, LR, Layer, Model

version = torch.__version__


where = torch.device("cpu")


def threads(n: int) -> None:
    torch.set_num_threads(n)


def place(device: str, precision: str) -> Clock:
    global where
    if device == "cpu":
        return Clock()
    if not torch.cuda.is_available():
        raise RuntimeError("this PyTorch sees no graphics card")
    if not torch.backends.cudnn.is_available():
        raise RuntimeError("this PyTorch has no cuDNN, and without it its layers would be slower than need be")
    where = torch.device(device)
    # Both: cuDNN's may compute in tf32 where nobody asked for it.
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    return Events(partial(torch.cuda.Event, enable_timing=True), torch.cuda.current_stream())


def layer(case: Layer) -> Callable[[], None]:
    torch.manual_seed(0)
    net = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[case.cell](case.input, case.hidden).to(where)
    x = torch.randn(case.steps, case.batch, case.input, device=where, requires_grad=True)
    dy = torch.randn(case.steps, case.batch, case.hidden, device=where)

    def run() -> None:
        net.zero_grad(set_to_none=True)
        x.grad = None
        y, _ = net(x)
        y.backward(dy)

    return run


def _parts(case: Model):
    """(embedding, LSTM, decoder) with the weights that all start from, and the text."""
    from benchmarks import material

    text = material.tokens(case)
    net = nn.ModuleDict(
        {
            "embedding": nn.Embedding(text.vocab.size, case.embedding),
            "rnn": nn.LSTM(case.embedding, case.hidden, case.layers),
            "decoder": nn.Linear(case.hidden, text.vocab.size),
        }
    )
    start = material.weights(case, text.vocab.size)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in start.items()})
    return net.to(where), text


def model(case: Model) -> Callable[[], float]:
    from benchmarks import material

    net, text = _parts(case)
    parameters = list(net.parameters())
    optimizer = torch.optim.Adam(parameters, lr=LR)
    windows = material.batches(case, text)
    state = None

    def run() -> float:
        nonlocal state
        inputs, targets, fresh = next(windows)
        y, last = net["rnn"](net["embedding"](torch.from_numpy(inputs).to(where)), None if fresh else state)
        logits = net["decoder"](y).flatten(0, 1)
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(targets).to(where).long().flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        state = tuple(s.detach() for s in last)
        return loss.item()

    return run


def sample(case: Model) -> Callable[[], None]:
    net, text = _parts(case)
    net.eval()

    def run() -> None:
        written, token, state = [], torch.zeros(1, 1, dtype=torch.long), None
        with torch.no_grad():
            for _ in range(LENGTH):
                y, state = net["rnn"](net["embedding"](token), state)
                likely = torch.softmax(net["decoder"](y[0, 0]), dim=0)
                token = torch.multinomial(likely, 1).view(1, 1)
                written.append(text.vocab.tokens[token.item()])

    return run
