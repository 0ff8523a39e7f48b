"""What products of Jacobians and Lyapunov exponents mean, in words: chaotic, exploding, vanishing."""

from __future__ import annotations

import math

import numpy as np

from micrornn.inspect.carried import LEFT, LIMIT, Carried
from micrornn.inspect.measure import Measure, Verdict
from micrornn.inspect.words import number, steps

# Exponents averaged over fewer time steps depend on which text was read.
LEAST_STEPS = 20


# Exploding: products over half a window stretch by more than this, and would do so if they had always grown as they
# do at the end. An LSTM whose forget gates stand open adds up what comes in: its products grow, but ever more slowly.
GROWN = 10.0


# Nothing is said beyond what was seen: an exponent that makes less than e^3 of a change over all time steps that count
# cannot be told from none. Such sums leave an e or two however many the time steps are.
NATS = 3.0


def verdicts(measure: Measure, bounded: bool, able: Carried) -> tuple[Verdict, ...]:
    """bounded: whether the states are; able: how much of a gradient the layers carry."""
    layers, times, lags = (measure.axes[name].places for name in ("layer", "t", "lag"))
    seq_len, products = len(times), measure["product"]
    slowest, fastest = int(measure["exponents"][:, 0].argmax()), int(products[:, -1].argmax())
    rate, error = (float(measure[name][slowest, 0]) for name in ("exponents", "error"))
    half_life, growth = float(measure["half_life"][slowest]), float(products[fastest, -1])
    layer, sure = layers[slowest], "" if math.isnan(error) else f" +- {error:.2g}"
    told = f"the largest Lyapunov exponent of {layer} is {rate:.3g}{sure} nats per time step"
    if rate == -math.inf:
        told = f"in {layer} a change of the state is cut off altogether"
    numbers = {"exponent": rate, "error": error, "half_life": half_life, "growth": growth, "lag": float(lags[-1])}
    counted, far = seq_len - seq_len // 4, int(np.searchsorted(lags, lags[-1] / 2))
    drifts = rate * counted > NATS and not rate < 2 * error
    with np.errstate(divide="ignore", invalid="ignore"):
        at_the_end = np.log(products[fastest, -1] / products[fastest, far]) / max(1, lags[-1] - lags[far])
    explodes, found = growth > GROWN and at_the_end * lags[-1] > math.log(GROWN), []

    if drifts and bounded:
        words = (
            f"States that start close drift apart: {told}, so a difference grows e-fold every {steps(1 / rate)}, and a "
            "gradient on its way back as well."
        )
        advice = (
            f"A gradient from further back than some {steps(math.ceil(NATS / rate))} says little. Calm the network "
            "with smaller weight_hh or a lower `lr`; `micrornn advise` says which num_steps to train with."
        )
        found.append(Verdict("chaotic", words, numbers, advice))
    if explodes or (drifts and not bounded):
        words = (
            f"Over {lags[-1]} time steps a change of the state of {layers[fastest]}, and a gradient on its way back, "
            f"grows up to {number(growth)} times; {told}."
        )
        if not bounded:
            words += " Nothing bounds a relu, so the state itself runs away."
        found.append(Verdict("exploding", words, numbers, LIMIT))
    else:
        found += able.exploding(f"In the long run: {told}.")
    if found:
        return tuple(found)
    seen = _seen(rate, counted, half_life, told)
    if gone := able.verdicts(seen, rate * able.num_steps / 2 < math.log(LEFT), **numbers):
        return tuple(gone)
    if seq_len < LEAST_STEPS:
        few = f"{steps(seq_len)} {'is' if seq_len == 1 else 'are'} too few"
        words = f"{few} for Lyapunov exponents; {LEAST_STEPS} are the least, 100 are good."
        longer = "Look at longer windows with `seq_len`." if able.cut else ""
        return (Verdict("unsure", words, numbers, longer),)
    lag = int(products.max(axis=0).argmax())
    ending = "" if lag == len(lags) - 1 else ", before it fades"
    peak = (
        f"By the median a change grows up to {number(products[:, lag].max())} times, over a lag of {lags[lag]}{ending}."
    )
    if products[:, lag].max() <= 1:
        peak = "By the median no change grows on its way."
    return (Verdict("healthy", f"{seen} {peak} {able.words}", numbers),)


def _seen(rate: float, counted: int, half_life: float, told: str) -> str:
    """What the largest exponent says of the time steps that were seen, and of no more."""
    if rate == -math.inf:
        return f"Nothing lasts: {told}."
    if math.isnan(half_life):
        return (
            f"Over {steps(counted)} what fades slowest keeps more than e^-{NATS:.0f} of itself, so whether it fades, "
            f"and how fast, cannot be told: {told}."
        )
    return f"What fades slowest halves every {steps(half_life)}: {told}."
