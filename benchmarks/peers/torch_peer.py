"""PyTorch, as its own examples use it: nn.LSTM, clip_grad_norm_, Adam."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.cases import Layer, Model

version = torch.__version__


def threads(n: int) -> None:
    torch.set_num_threads(n)


def layer(case: Layer) -> Callable[[], None]:
    torch.manual_seed(0)
    net = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[case.cell](case.input, case.hidden)
    x = torch.randn(case.steps, case.batch, case.input, requires_grad=True)
    dy = torch.randn(case.steps, case.batch, case.hidden)

    def run() -> None:
        net.zero_grad(set_to_none=True)
        x.grad = None
        y, _ = net(x)
        y.backward(dy)

    return run


def model(case: Model) -> Callable[[], float]:
    torch.manual_seed(0)
    embedding = nn.Embedding(case.vocab, case.embedding)
    net = nn.LSTM(case.embedding, case.hidden, case.layers)
    decoder = nn.Linear(case.hidden, case.vocab)
    parameters = [p for m in (embedding, net, decoder) for p in m.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    ids = torch.randint(0, case.vocab, (case.steps + 1, case.batch))
    state = None

    def run() -> float:
        nonlocal state
        y, last = net(embedding(ids[:-1]), state)
        loss = nn.functional.cross_entropy(decoder(y).reshape(-1, case.vocab), ids[1:].reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        state = tuple(s.detach() for s in last)
        return loss.item()

    return run
