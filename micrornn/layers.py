"""Layers: LSTM, GRU and RNN over time; Linear, Embedding, OneHot and Dropout without time."""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.arguments import choice, require_precision, sizes
from micrornn.arguments import rate as share
from micrornn.calls import checked
from micrornn.cells import gru, lstm, rnn, rnn_relu
from micrornn.dropmask import MASKS, drop, mix_key
from micrornn.errors import ConfigError
from micrornn.initializers import Initializer, normal, seed_of, starting, uniform
from micrornn.ops import embedding, linear
from micrornn.parameters import Module, Parameter
from micrornn.recurrent import Recurrent
from micrornn.tape import Tensor


class LSTM(Recurrent):
    """Long short-term memory: c_t = f c_prev + i g,  h_t = o tanh(c_t), with the gates i, f, o and g = tanh(...)
    (Hochreiter and Schmidhuber 1997; the forget gate f: Gers, Schmidhuber and Cummins 2000).

    x (seq_len, batch_size, input_size) -> y (seq_len, batch_size, directions * hidden_size), and the last states
    (h_n, c_n), (num_layers * directions, batch_size, hidden_size) each. Options by name: those of `Recurrent`, such as
    bidirectional, dropout, forget_bias, granularity, seed, dtype.

    >>> import numpy as np, micrornn as mr
    >>> y, (h, c) = mr.LSTM(3, 8, num_layers=2)(np.zeros((5, 4, 3)))
    >>> y.shape, h.shape
    ((5, 4, 8), (2, 4, 8))
    """

    @checked
    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any):
        super().__init__(lstm.LSTM.name, input_size, hidden_size, num_layers, **options)


class GRU(Recurrent):
    """Gated recurrent unit: h_t = (1 - z) n + z h_prev, with n = tanh(W x + r U h_prev) (Cho et al. 2014). The reset
    gate r is applied after the product, as in PyTorch and cuDNN; `Recurrent("gru_before", ...)` applies it before.

    x (seq_len, batch_size, input_size) -> y (seq_len, batch_size, directions * hidden_size), and the last states
    (h_n,), (num_layers * directions, batch_size, hidden_size). Options by name: those of `Recurrent`.

    >>> import numpy as np, micrornn as mr
    >>> y, (h,) = mr.GRU(3, 8, bidirectional=True)(np.zeros((5, 4, 3)))
    >>> y.shape, h.shape
    ((5, 4, 16), (2, 4, 8))
    """

    @checked
    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, **options: Any):
        super().__init__(gru.GRU.name, input_size, hidden_size, num_layers, **options)


class RNN(Recurrent):
    """The plain recurrent layer: h_t = tanh(W x_t + U h_prev + b) (Elman 1990); with nonlinearity="relu", max(0, ...),
    whose U starts as the identity (Le, Jaitly and Hinton 2015).

    x (seq_len, batch_size, input_size) -> y (seq_len, batch_size, directions * hidden_size), and the last states
    (h_n,), (num_layers * directions, batch_size, hidden_size). Options by name: those of `Recurrent`.

    >>> import numpy as np, micrornn as mr
    >>> y, (h,) = mr.RNN(3, 8)(np.zeros((5, 4, 3)))
    >>> y.shape, h.shape
    ((5, 4, 8), (1, 4, 8))
    """

    @checked
    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, *, nonlinearity: str = "tanh",
                 **options: Any):  # fmt: skip
        choice("RNN: nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(
            rnn.RNN.name if nonlinearity == "tanh" else rnn_relu.ReluRNN.name,
            input_size,
            hidden_size,
            num_layers,
            **options,
        )


class Linear(Module):
    """y = x W^T + b. x (..., input_size) -> (..., output_size). Starts uniform in +-1/sqrt(input_size), by default with
    a seed that no other layer has.

    >>> import numpy as np, micrornn as mr
    >>> mr.Linear(3, 2)(np.zeros((5, 4, 3))).shape
    (5, 4, 2)
    """

    @checked
    def __init__(self, input_size: int, output_size: int, *, seed: int | None = None, dtype: type = np.float32,
                 initializer: Initializer | None = None):  # fmt: skip
        sizes("Linear", input_size=input_size, output_size=output_size)
        require_precision("Linear", dtype)
        rng = np.random.default_rng(seed_of("Linear", seed))
        start = starting("Linear: initializer", initializer or uniform(input_size**-0.5))
        self.weight = Parameter(start(rng, (output_size, input_size)), dtype)
        self.bias = Parameter(uniform(input_size**-0.5)(rng, (output_size,)), dtype)

    @checked
    def __call__(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class Embedding(Module):
    """A learned row for each of vocab_size symbols: ids (...) -> (..., size). Starts normal with standard deviation 1.

    >>> import micrornn as mr
    >>> mr.Embedding(10, 3)([[1, 2], [3, 4]]).shape
    (2, 2, 3)
    """

    @checked
    def __init__(self, vocab_size: int, size: int, *, seed: int | None = None, dtype: type = np.float32,
                 initializer: Initializer | None = None):  # fmt: skip
        sizes("Embedding", vocab_size=vocab_size, size=size)
        require_precision("Embedding", dtype)
        rng = np.random.default_rng(seed_of("Embedding", seed))
        start = starting("Embedding: initializer", initializer or normal(1.0))
        self.weight = Parameter(start(rng, (vocab_size, size)), dtype)

    @checked
    def __call__(self, ids: np.ndarray) -> Tensor:
        return embedding(self.weight, ids=ids)


class OneHot(Module):
    """Each of vocab_size symbols as a 1 among zeros: ids (...) -> (..., vocab_size). Nothing is learned.

    weight    the identity, (vocab_size, vocab_size), in the role of an embedding's weights
    """

    MOST = 1000  # symbols; each time step multiplies so many numbers, nearly all of them 0

    @checked
    def __init__(self, vocab_size: int, *, dtype: type = np.float32, device: str = "cpu"):
        sizes("OneHot", vocab_size=vocab_size)
        if vocab_size > self.MOST:
            raise ConfigError(
                f"`embedding_size=0`: there are {vocab_size:,} symbols, and without an embedding at most {self.MOST:,} "
                "can be read"
            )
        self.weight = Tensor(kernels.for_device(device).asarray(np.eye(vocab_size, dtype=dtype)))

    @checked
    def __call__(self, ids: np.ndarray) -> Tensor:
        return embedding(self.weight, ids=ids)


class Dropout(Module):
    """Zeroes each number with probability `rate` while training, and scales the rest by 1 / (1 - rate).

    Each call draws another mask (Srivastava et al. 2014). If `key` is a number, the mask is that of the key, the same
    on every device. Where a window is read in segments, `start` is the number of rows x[t] before this segment, which
    then gets its part of the mask. With mask="sequence", the same numbers are dropped at all time steps of x (seq_len,
    batch_size, ...) (Gal, Ghahramani 2016).

    >>> import numpy as np, micrornn as mr
    >>> mr.Dropout(0.5)(np.ones(1000)).shape
    (1000,)
    """

    @checked
    def __init__(self, rate: float, *, seed: int | None = None, mask: str = "step"):
        choice("Dropout: mask", mask, MASKS)
        self.rate, self.seed, self.mask = share("Dropout: rate", rate), seed_of("Dropout", seed), mask
        self.key: int | None = None
        self.calls, self.start = 0, 0

    @checked
    def __call__(self, x: Tensor) -> Tensor:
        x = x if isinstance(x, Tensor) else Tensor(x)
        if not self.rate or not self.training:
            return x
        self.calls += 1
        key = mix_key(self.seed, self.calls if self.key is None else self.key)
        return drop(x, self.rate, key, self.start, self.mask)
