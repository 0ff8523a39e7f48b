"""The measure `advise`: what was measured, the sizes that follow from it, and what is said of them.

advice(found, about)    Measured (inspect/advice.py) -> Measure
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from micrornn.inspect.advice import STAGES, Chosen, Measured, choose_steps, scaled_lr, times
from micrornn.inspect.advice_words import NEAR, verdicts
from micrornn.inspect.measure import Array, Axis, Measure, Number

SATURATED = 0.9  # of the most tokens per second


def advice(found: Measured, about: Mapping[str, Any]) -> Measure:
    """The measure `advise`: what was measured, what follows from it, and in words."""
    chosen = choose_steps(found)
    K, sizes, seconds = chosen.num_steps, found.batch_sizes, found.seconds[:, 0]
    scales = np.clip(found.scale, 1e-3, None)
    relative = times(scales[:, 0], sizes, seconds)
    at = int(relative.argmin())
    N, scale = int(sizes[at]), float(scales[:, 0].mean())
    # how far the best one moves with the noise scale: the lowest of all, the highest of all
    ends = [
        int(sizes[times(np.array([end]), sizes, seconds).argmin()]) for end in (scales[:, 1].min(), scales[:, 2].max())
    ]
    speed = K * sizes / seconds
    own_tokens = found.own[0] * found.own[1]
    lr = scaled_lr(found.lr, found.optimizer, own_tokens, N * K, scale * K)
    spread = float(np.median((found.seconds[:, 2] - found.seconds[:, 1]) / seconds))

    def gain(scale: float) -> float:
        own, best = (_updates(scale * K, tokens) for tokens in (own_tokens, N * K))
        return float(own * found.own_seconds / (best * seconds[at]))

    gains = [gain(value) for value in (scale, *scales[:, 1:].reshape(-1), *scales[:, 0])]
    square, error = found.pooled()
    low, high = (np.sqrt(np.maximum(square + sign * 2 * error, 0)) for sign in (-1, 1))
    bias, here = np.sqrt(np.maximum(square, 0)), list(found.steps).index(K)
    told = [one.cosine for one in found.biases if one.told]
    kept = np.min(told, axis=0) if told else np.full(len(found.steps), np.nan)
    numbers = {
        "num_steps": Number(K, "time steps", "advised"),
        "num_steps_low": Number(chosen.low, "time steps", "by two standard errors, and by each seed alone"),
        "num_steps_high": Number(chosen.high, "time steps", "the same, upward"),
        "bias": Number(_worst(bias[:, here]), "", "truncation bias at the advised num_steps, the worse stage"),
        "kept": Number(float(kept[here]), "", "cosine of the truncated mean gradient with the whole one there"),
        "tolerance": Number(found.tolerance, "", "the largest bias that is tolerated"),
        "lag": Number(found.lag, "time steps", "furthest lag at which a single token tells much by itself; 0: none"),
        "batch_size": Number(N, "lanes", "advised"),
        "batch_size_low": Number(min(ends), "lanes", "best at the low end of the noise scale"),
        "batch_size_high": Number(max(ends), "lanes", "best at its high end"),
        "scale": Number(scale, "lanes", "gradient noise scale, mean of what was measured"),
        "saturated": Number(int(sizes[speed >= SATURATED * speed.max()][0]), "lanes", "where throughput saturates"),
        "lr": Number(lr, "", "learning rate that goes with it"),
        "lr_left": Number(found.lr_left, "", "of the learning rate, by the schedule, where it was measured last"),
        "own_batch_size": Number(found.own[0], "lanes", "compared with"),
        "own_num_steps": Number(found.own[1], "time steps", "compared with"),
        "gain": Number(gains[0], "", "how many times as long those take to reach a loss"),
        "gain_low": Number(min(gains) / (1 + spread), "", "the same at one end of the noise scale and of the times"),
        "gain_high": Number(max(gains) * (1 + spread), "", "and at the other"),
        "spread": Number(spread, "", "of the times of an update, quartile to quartile"),
    }  # fmt: skip
    numbers["as_good"] = Number(
        float(as_good(found, chosen, numbers)), "", "1 if those are as good, as far as is known"
    )
    arrays = {
        "bias": Array(bias, ("stage", "K"), "", "norm of E g_K - E g by the norm of E g, windows of K; over the seeds"),
        "low": Array(low, ("stage", "K"), "", "two standard errors down"),
        "high": Array(high, ("stage", "K"), "", "two standard errors up"),
        "kept": Array(kept, ("K",), "", "cosine of E g_K and E g, the least of all"),
        "scale": Array(found.scale, ("point", "range"), "lanes", "gradient noise scale at the advised num_steps"),
        "lag_gain": Array(found.lags.gains, ("lag",), "nats", "what a token so far back tells about the next"),
        "seconds": Array(found.seconds, ("batch_size", "quartile"), "s", "of an update at the advised num_steps"),
        "speed": Array(speed, ("batch_size",), f"{about.get('item', 'token')}s/s", "throughput there"),
        "time": Array(relative, ("batch_size",), "", "time to reach a loss, times the least"),
        "time_of_steps": Array(
            np.array([_updates(scale * K, N * k) * k for k in found.steps]) / (_updates(scale * K, N * K) * K), ("K",),
            "", "time to reach a loss with the advised batch_size and this num_steps, times that of the advised one, "
            "if a time step costs the same and the noise scale in tokens stays; the bias left aside",
        ),
    }  # fmt: skip
    axes = {
        "stage": Axis.of(STAGES),
        "K": Axis.of(found.steps, "time steps"),
        "point": Axis.of([f"seed {p.seed}, {p.updates:,} updates" for p in found.points]),
        "range": Axis.of(("measured", "low", "high")),
        "lag": Axis.of(range(1, len(found.lags.gains) + 1), "time steps"),
        "batch_size": Axis.of(sizes, "lanes"),
        "quartile": Axis.of(("median", "lower", "upper")),
    }
    measure = Measure("advise", about, axes, arrays, numbers)
    return measure.judged(*verdicts(measure, found, chosen))


def _worst(values: np.ndarray) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else math.nan


def as_good(found: Measured, chosen: Chosen, numbers: Mapping[str, Number]) -> bool:
    """Whether the settings that were started from do as well: no slower than the measures can tell, and with a
    num_steps that reaches as far as the lower end of what is advised."""
    slower = numbers["gain_low"].value > 1 and numbers["gain"].value > NEAR
    return not slower and found.own[1] >= chosen.low


def _updates(scale: float, tokens: float) -> float:
    """Updates to reach a loss, up to a factor; both in tokens."""
    return 1 + scale / tokens if math.isfinite(scale) else 1 / tokens
