"""The kernels, told in plain NumPy: what each one means.

cpu/ and cuda/ hold the same names with the same parameters, made fast; tests hold them against this page.
Conventions, the same everywhere:

    out first     results are written into arrays that the caller made; nothing is allocated for the caller
    no checks     shapes, types and order (C-contiguous) are the caller's duty
    accumulate    add to `out` instead of overwriting it
    *_vjp         the cotangent d<x> of an input, from the cotangent d<y> of the output and what was saved

Shapes: rows (R, V), a reduction (outer, n, inner), time-major sequences (seq_len T, batch_size B, hidden_size H).
"""

from __future__ import annotations

import numpy as np

# --- elementwise -----------------------------------------------------------------------------------------------


def fill(out, value):
    out[...] = value


def add(out, a, b):
    out[...] = a + b


def sub(out, a, b):
    out[...] = a - b


def mul(out, a, b):
    out[...] = a * b


def div(out, a, b):
    out[...] = a / b


def neg(out, x):
    out[...] = -x


def scale(out, x, factor):
    out[...] = x * out.dtype.type(factor)


def scale_by(out, x, factor):
    """factor (1,): a number that may be on a graphics card, and stays there."""
    out[...] = x * factor[0]


def accumulate(out, x):
    out += x


def clip(out, x, limit):
    out[...] = np.clip(x, -limit, limit)


def exp(out, x):
    out[...] = np.exp(x)


def log(out, x):
    out[...] = np.log(x)


def sqrt(out, x):
    out[...] = np.sqrt(x)


def sigmoid(out, x):
    e = np.exp(-np.abs(x))  # never exp of a positive number, so it cannot overflow
    out[...] = np.where(x >= 0, 1, e) / (1 + e)


def sigmoid_vjp(dx, dy, y):
    dx[...] = dy * y * (1 - y)


def tanh(out, x):
    out[...] = np.tanh(x)


def tanh_vjp(dx, dy, y):
    dx[...] = dy * (1 - y * y)


def relu(out, x):
    out[...] = np.where(x <= 0, 0, x)


def relu_vjp(dx, dy, y):
    dx[...] = np.where(y > 0, dy, 0)


def abs(out, x):
    out[...] = np.abs(x)


def abs_vjp(dx, dy, x):
    """The slope at 0 is 0."""
    dx[...] = dy * np.sign(x)


def pow(out, a, b):
    """a ^ b, number by number; NaN where a is negative and b no whole number."""
    with np.errstate(all="ignore"):
        out[...] = a**b


def pow_vjp(da, dy, a, b):
    """dy b a^(b-1). The slope of a^0 is 0, also where a is 0."""
    with np.errstate(all="ignore"):
        da[...] = dy * b * np.where(b == 0, 1, a ** (b - 1))


def pow_vjp_exponent(db, dy, a, b, y):
    """dy y ln a. The slope of 0^b is 0 for b >= 0."""
    with np.errstate(all="ignore"):
        db[...] = np.where((a == 0) & (b >= 0), dy * b * a, dy * y * np.log(a))


def where(out, mask, a, b):
    out[...] = np.where(mask, a, b)


def dropout(out, x, rate, key):
    """Keep x[i] / (1 - rate) with probability 1 - rate, else 0. Its own VJP, with the same key.

    The i-th number of the stream `key` is splitmix64 of (key, i) (Steele, Lea, Flood, Fast Splittable
    Pseudorandom Number Generators, 2014): no state, so every device and every thread draws the same mask.
    """
    with np.errstate(over="ignore"):
        z = np.uint64(key) + np.arange(1, x.size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    kept = (z >> np.uint64(32)) >= np.uint64(rate * 4294967296.0)
    out[...] = np.where(kept.reshape(x.shape), x * out.dtype.type(1 / (1 - rate)), 0)


def binary_cross_entropy(loss, logits, targets):
    """-y log s(x) - (1 - y) log(1 - s(x)), in the form that cannot overflow."""
    loss[...] = np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))


def binary_cross_entropy_vjp(dlogits, dloss, logits, targets):
    sigmoid(dlogits, logits)
    dlogits[...] = dloss * (dlogits - targets)


# --- products --------------------------------------------------------------------------------------------------


def matmul(out, a, b, trans_a=False, trans_b=False, accumulate=False):
    """out (M, N) (+)= op(a) (M, K) @ op(b) (K, N), where op transposes if asked."""
    product = (a.T if trans_a else a) @ (b.T if trans_b else b)
    out[...] = out + product if accumulate else product


def add_bias(out, bias):
    """out (R, N) += bias (N,), row by row."""
    out += bias


# --- reductions ------------------------------------------------------------------------------------------------


def sum(out, x, accumulate):
    """x (outer, n, inner) -> out (outer, inner)."""
    out[...] = out + x.sum(axis=1) if accumulate else x.sum(axis=1)


def max(out, where, x):
    """x (outer, n, inner) -> the largest along n and its first place, (outer, inner) each."""
    where[...] = x.argmax(axis=1)
    out[...] = x.max(axis=1)


def max_vjp(dx, dy, where):
    dx[...] = 0
    np.put_along_axis(dx, where[:, None, :].astype(np.intp), dy[:, None, :], axis=1)


def sum_of_squares(out, x):
    """out (1,) float64: the squared Euclidean norm."""
    out[0] = np.square(x, dtype=np.float64).sum()


def softmax(out, x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    out[...] = e / e.sum(axis=1, keepdims=True)


def softmax_vjp(dx, dy, y):
    dx[...] = y * (dy - (dy * y).sum(axis=1, keepdims=True))


def log_softmax(out, x):
    z = x - x.max(axis=1, keepdims=True)
    out[...] = z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def log_softmax_vjp(dx, dy, y):
    dx[...] = dy - np.exp(y) * dy.sum(axis=1, keepdims=True)


def cross_entropy(loss, probabilities, logits, targets):
    """loss (R,) = -log softmax(logits)[r, targets[r]]; probabilities (R, V) are kept for the way back, and may be
    written over the logits."""
    z = logits - logits.max(axis=1, keepdims=True)
    loss[...] = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), targets]
    softmax(probabilities, logits)


def cross_entropy_vjp(dlogits, dloss, probabilities, targets):
    """dlogits may be written over the probabilities."""
    dlogits[...] = probabilities * dloss[:, None]
    dlogits[np.arange(len(targets)), targets] -= dloss


def gather(out, table, ids):
    """out (R, D) = the rows of table (V, D) named by ids (R,)."""
    out[...] = table[ids]


def scatter_add(table, ids, rows):
    """table[ids[r]] += rows[r], in the order of r: the same bits every time."""
    np.add.at(table, ids, rows)


# --- recurrent sequences ---------------------------------------------------------------------------------------
#
# States have T + 1 rows. Forward in time, step t reads row t ("prev") and writes row t + 1 ("cur"); in reverse it
# reads row t + 1 and writes row t. The caller puts the initial state into the first row read.
# `gates` receives the values of the gates for every t; x is (T, B, D), weight_ih (G H, D).
# `mask` (T, B) is True where the step counts; elsewhere the state is carried over unchanged and every gradient
# of the step is exactly zero. An empty mask means that all steps count.
#
# On the way back, dh holds the cotangent of every row from its own use, and the message that comes from the step
# after it is added: when done, dh[row] is the whole of dL/dh at that row. c is used by nobody but its own layer, so
# of dc only the last row is given, and the others are written. `clip` > 0 limits each number of a message (not of
# the rest) to +-clip. dgates are the cotangents of the gates' pre-activations.


def _rows(seq_len, reverse):
    """(t, prev, cur) in the order of the forward pass."""
    return [(t, t + 1, t) for t in range(seq_len)][::-1] if reverse else [(t, t, t + 1) for t in range(seq_len)]


def _counts(mask, t, like):
    """(B, 1) bool: which lanes' step t counts."""
    return mask[t][:, None] if mask.size else np.ones((len(like), 1), bool)


def _clip(message, clip):
    return np.clip(message, -clip, clip) if clip > 0 else message


def _sigmoid(x):
    y = np.empty_like(x)
    sigmoid(y, x)
    return y


def rnn_sequence(h, gates, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse, relu):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_prev + b_hh), or relu in the place of tanh (Elman 1990).

    h (T+1, B, H), gates (T, B, H), weight_hh (H, H), biases (H,).
    """
    for t, prev, cur in _rows(len(gates), reverse):
        a = x[t] @ weight_ih.T + bias_ih + h[prev] @ weight_hh.T + bias_hh
        gates[t] = np.where(a <= 0, 0, a) if relu else np.tanh(a)
        h[cur] = np.where(_counts(mask, t, a), gates[t], h[prev])


def rnn_sequence_vjp(dgates, dh, gates, weight_hh, mask, reverse, clip, relu):
    for t, prev, cur in _rows(len(gates), reverse)[::-1]:
        counts = _counts(mask, t, gates[t])
        da = np.where(gates[t] > 0, dh[cur], 0) if relu else dh[cur] * (1 - gates[t] ** 2)
        dgates[t] = np.where(counts, da, 0)
        dh[prev] += _clip(dgates[t] @ weight_hh + np.where(counts, 0, dh[cur]), clip)


def lstm_sequence(h, c, gates, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse):
    """i, f, o = sigmoid, g = tanh of W_ih x_t + b_ih + W_hh h_prev + b_hh;  c_t = f c_prev + i g;  h_t = o tanh(c_t).

    Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    h, c (T+1, B, H), gates (T, B, 4H) in the order i f g o, weight_hh (4H, H), biases (4H,).
    """
    for t, prev, cur in _rows(len(gates), reverse):
        i, f, g, o = np.split(x[t] @ weight_ih.T + bias_ih + h[prev] @ weight_hh.T + bias_hh, 4, axis=1)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        gates[t] = np.concatenate([i, f, g, o], axis=1)
        counts = _counts(mask, t, i)
        c[cur] = np.where(counts, f * c[prev] + i * g, c[prev])
        h[cur] = np.where(counts, o * np.tanh(c[cur]), h[prev])


def lstm_sequence_vjp(dgates, dh, dc, gates, c, weight_hh, mask, reverse, clip):
    for t, prev, cur in _rows(len(gates), reverse)[::-1]:
        i, f, g, o = np.split(gates[t], 4, axis=1)
        counts, tanh_c = _counts(mask, t, i), np.tanh(c[cur])
        dc[cur] += np.where(counts, dh[cur] * o * (1 - tanh_c**2), 0)
        di, df, dg, do = dc[cur] * g, dc[cur] * c[prev], dc[cur] * i, dh[cur] * tanh_c
        parts = [di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)]
        dgates[t] = np.where(counts, np.concatenate(parts, axis=1), 0)
        dh[prev] += _clip(dgates[t] @ weight_hh + np.where(counts, 0, dh[cur]), clip)
        dc[prev] = _clip(np.where(counts, dc[cur] * f, dc[cur]), clip)


def gru_sequence(h, gates, hidden, x, weight_ih, weight_hh, bias_ih, bias_hh, mask, reverse):
    """r, z = sigmoid(W_ih x_t + b_ih + W_hh h_prev + b_hh);  n = tanh(W_in x_t + b_in + r (W_hn h_prev + b_hn));
    h_t = (1 - z) n + z h_prev.

    Cho et al. 2014, with the reset gate behind the product, as cuDNN and PyTorch have it.
    h (T+1, B, H), gates (T, B, 3H) in the order r z n, hidden (T, B, 3H) = W_hh h_prev + b_hh, weight_hh (3H, H).
    """
    for t, prev, cur in _rows(len(gates), reverse):
        hidden[t] = h[prev] @ weight_hh.T + bias_hh
        (xr, xz, xn), (hr, hz, hn) = (np.split(a, 3, axis=1) for a in (x[t] @ weight_ih.T + bias_ih, hidden[t]))
        r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
        n = np.tanh(xn + r * hn)
        gates[t] = np.concatenate([r, z, n], axis=1)
        h[cur] = np.where(_counts(mask, t, r), n + z * (h[prev] - n), h[prev])


def gru_sequence_vjp(dgates, dhidden, dh, gates, hidden, h, weight_hh, mask, reverse, clip):
    """dgates: cotangents on the side of x, dhidden: on the side of h_prev; they differ in n alone, by r."""
    for t, prev, cur in _rows(len(gates), reverse)[::-1]:
        (r, z, n), hn = np.split(gates[t], 3, axis=1), np.split(hidden[t], 3, axis=1)[2]
        counts = _counts(mask, t, r)
        dn = dh[cur] * (1 - z) * (1 - n**2)
        dz = dh[cur] * (h[prev] - n) * z * (1 - z)
        dr = dn * hn * r * (1 - r)
        dgates[t] = np.where(counts, np.concatenate([dr, dz, dn], axis=1), 0)
        dhidden[t] = np.where(counts, np.concatenate([dr, dz, dn * r], axis=1), 0)
        dh[prev] += _clip(dhidden[t] @ weight_hh + dh[cur] * np.where(counts, z, 1), clip)


# --- one time step of one lane ---------------------------------------------------------------------------------
#
# As sampling needs it: no time axis, no lanes, states (H,) replaced in place, nothing kept for a way back.
# `gates` is what comes from the input, W_ih x + b_ih, and `hidden` what comes from the state, W_hh h + b_hh.


def matvec(out, weight, x, bias):
    """out (N,) = weight (N, K) @ x (K,) + bias (N,)."""
    out[...] = weight @ x + bias


def rnn_step(h, gates, hidden, relu):
    """h (H,), gates and hidden (H,)."""
    a = gates + hidden
    h[...] = np.where(a <= 0, 0, a) if relu else np.tanh(a)


def lstm_step(h, c, gates, hidden):
    """h, c (H,), gates and hidden (4H,) in the order i f g o."""
    i, f, g, o = np.split(gates + hidden, 4)
    c[...] = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    h[...] = _sigmoid(o) * np.tanh(c)


def gru_step(h, gates, hidden):
    """h (H,), gates and hidden (3H,) in the order r z n."""
    (xr, xz, xn), (hr, hz, hn) = np.split(gates, 3), np.split(hidden, 3)
    n = np.tanh(xn + _sigmoid(xr + hr) * hn)
    h[...] = n + _sigmoid(xz + hz) * (h - n)


# --- optimizers ------------------------------------------------------------------------------------------------
#
# Each sees the gradient as g = clip(grad * scale, +-limit): `scale` carries clipping by global norm, `limit` by value.


def _clipped(grad, scale, limit):
    return np.clip(grad * grad.dtype.type(scale), -limit, limit)


def sgd(p, grad, lr, scale, limit):
    """p -= lr g."""
    p -= lr * _clipped(grad, scale, limit)


def momentum(p, grad, v, lr, mu, scale, limit):
    """v = mu v + g;  p -= lr v (Polyak 1964)."""
    v[...] = mu * v + _clipped(grad, scale, limit)
    p -= lr * v


def adagrad(p, grad, s, lr, eps, scale, limit):
    """s += g^2;  p -= lr g / (sqrt(s) + eps) (Duchi, Hazan, Singer 2011)."""
    g = _clipped(grad, scale, limit)
    s += g * g
    p -= lr * g / (np.sqrt(s) + eps)


def rmsprop(p, grad, s, lr, decay, eps, scale, limit):
    """s = decay s + (1 - decay) g^2;  p -= lr g / (sqrt(s) + eps) (Tieleman and Hinton 2012)."""
    g = _clipped(grad, scale, limit)
    s[...] = decay * s + (1 - decay) * g * g
    p -= lr * g / (np.sqrt(s) + eps)


def adam(p, grad, m, v, lr, beta1, beta2, eps, shrink, step, scale, limit):
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p = shrink p - lr m^ / (sqrt(v^) + eps), where
    m^ = m / (1 - b1^step), v^ = v / (1 - b2^step) (Kingma and Ba 2015). shrink = 1 - lr * weight_decay makes
    it AdamW (Loshchilov and Hutter 2019)."""
    g = _clipped(grad, scale, limit)
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    p *= shrink
    p -= lr * (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)
