"""Recurrent cells over a sequence on the card: kernels written by hand, for RNN, LSTM and GRU."""

from __future__ import annotations

from micrornn.errors import DeviceError
from micrornn.kernels.cuda.gru import gru_sequence, gru_sequence_vjp
from micrornn.kernels.cuda.lstm import lstm_sequence, lstm_sequence_vjp
from micrornn.kernels.cuda.rnn import rnn_sequence, rnn_sequence_vjp
from micrornn.kernels.cuda.step import gru_step, lstm_step, rnn_step


def _relu(program):
    return program.activations[0] == "relu"


def cell_sequence(program, states, gates, hidden, x, weights, vectors, mask, reverse):
    if program.name in ("rnn", "rnn_relu"):
        arguments = *states, gates, x, *weights, mask, reverse, _relu(program)
        rnn_sequence(*arguments)
    elif program.name == "lstm":
        arguments = *states, gates, x, *weights, mask, reverse
        lstm_sequence(*arguments)
    elif program.name == "gru":
        arguments = *states, gates, hidden, x, *weights, mask, reverse
        gru_sequence(*arguments)
    else:
        raise DeviceError(f"device cuda: the cell {program.name} has no kernels for the card yet; use --device cpu")


def cell_sequence_vjp(
    program, dgates, dhidden, dstates, dvectors, states, gates, hidden, weight_hh, vectors, mask, reverse, clip
):  # fmt: skip
    if program.name in ("rnn", "rnn_relu"):
        arguments = dgates, *dstates, gates, weight_hh, mask, reverse, clip, _relu(program)
        rnn_sequence_vjp(*arguments)
    elif program.name == "lstm":
        arguments = dgates, *dstates, gates, states[1], weight_hh, mask, reverse, clip
        lstm_sequence_vjp(*arguments)
    else:
        arguments = dgates, dhidden, *dstates, gates, hidden, states[0], weight_hh, mask, reverse, clip
        gru_sequence_vjp(*arguments)


def cell_step(program, states, turn, gates, hidden, vectors):
    rows = [both[1 - turn] for both in states]
    for row, both in zip(rows, states):
        row[...] = both[turn]
    if program.name in ("rnn", "rnn_relu"):
        rnn_step(*rows, gates, hidden, _relu(program))
    elif program.name == "lstm":
        lstm_step(*rows, gates, hidden)
    else:
        gru_step(*rows, gates, hidden)
