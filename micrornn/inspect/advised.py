"""The measure `advise`: what was measured, the sizes that follow from it, and what is said of them.

advice(found, about)    Measured (inspect/advice.py) -> Measure
verdicts                what it says of num_steps, of batch_size, of lr, and of the text
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from micrornn.errors import counted
from micrornn.inspect.advice import STAGES, Chosen, Measured, choose_steps, plain_gradients, scaled_lr, times
from micrornn.inspect.measure import COOLED, Array, Axis, Measure, Number, Verdict
from micrornn.inspect.words import percent

SATURATED = 0.9  # of the most tokens per second
NEAR = 1.1  # a time within 10 % of the least is as good: other things weigh more
WIDE = 4  # the best batch_size is unsure if the noise scale's uncertainty moves it by more than this factor
# Times of the same update, quartile to quartile: told from the first on, and from the second on nothing follows.
BUSY, TOO_BUSY = 0.3, 1.0
STARTS = {"token": "for a run from the start, give FILES."}  # by what a time step holds; else:
EARLIER = "measure a checkpoint from before the rate fell."


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
        "point": Axis.of([f"seed {p.seed}, {counted(p.updates, 'update')}" for p in found.points]),
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


def verdicts(measure: Measure, found: Measured, chosen: Chosen) -> list[Verdict]:
    """On the text, if there is something to say, and on num_steps, batch_size and lr."""
    n = {name: float(number.value) for name, number in measure.numbers.items()}
    return [
        *_text_verdict(measure, n, found), _steps_verdict(measure, n, found, chosen),
        _batch_verdict(measure, n, found), _lr_verdict(n, found, chosen),
    ]  # fmt: skip


def _text_verdict(measure: Measure, n: dict[str, float], found: Measured) -> list[Verdict]:
    """That the text is short: overfitted, or too short for the sizes that were asked for; or that there was no time."""
    said, advice, text = [], [], _text(measure)
    turned = [one for one in found.briefs if one.turned]
    if found.own != found.asked:
        sizes = "too short for {} lanes of {} time steps; it was started from {} of {}"
        said.append(f"The {text} is {sizes.format(*found.asked, *found.own)}.")
    if turned:
        nats = " nats" if text == "text" else ""
        updates, epochs = (sum(getattr(one, f"best_{name}") for one in turned) / len(turned)
                           for name in ("updates", "epochs"))  # fmt: skip
        said.append(
            f"The {text} is so short that the model learns it by heart: after {updates:,.0f} updates, "
            f"{epochs:,.0f} epochs, the validation loss ({min(one.best for one in turned):.2f}{nats}) rose again."
        )
        advice.append(
            f"All is measured up to there. Stop there when you train, with `patience=3`; more {text}, a smaller model "
            "or `dropout=0.3` would help more than any size below."
        )
    stopped = [one.updates for one in found.briefs if one.updates < one.planned and not one.turned]
    if stopped:
        inside = ", with one seed all within the warm-up of lr" if any(one.inside for one in found.briefs) else ""
        said.append(
            f"There was time for no more than {min(stopped):,} of "
            f"{counted(found.briefs[0].planned, 'update')}{inside}: a model that has learned more needs more time "
            "steps and more lanes than this."
        )
        advice.append("Give more `minutes`.")
    return [Verdict("unsure", " ".join(said), n, " ".join(advice))] if said else []


def after(found: Measured) -> list[str]:
    """What early and later mean: `after 120 updates`, `after 575 and 600`; empty where nothing was measured."""
    told = []
    for stage in (0, 1):
        updates = sorted({point.updates for point in found.points if point.stage == stage})
        told.append(" and ".join(f"{n:,}" for n in updates))
    return told


def _text(measure: Measure) -> str:
    """What the data is called, in words."""
    return "text" if measure.subject.get("item", "token") == "token" else "data"


def _start(measure: Measure) -> str:
    return STARTS.get(str(measure.subject.get("item", "token")), EARLIER)


def _range(low: float, high: float) -> str:
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _steps_verdict(measure: Measure, n: dict[str, float], found: Measured, chosen: Chosen) -> Verdict:
    steps, K = list(found.steps), chosen.num_steps
    bias, high, cost = measure["bias"], measure["high"], measure["time_of_steps"]
    here = [
        f"{_share(row, up, steps.index(K))} after {updates}"
        for row, up, updates in zip(bias, high, after(found))
        if math.isfinite(row[steps.index(K)])
    ]
    bends = f"windows of {K} time steps bend the mean gradient by {', '.join(here)} updates"
    words = f"num_steps {K}: {bends}"
    ranges = f"By two standard errors{' and by each seed' if len(found.briefs) > 1 else ''}: "
    ranges += f"{_range(chosen.low, chosen.high)}."
    if chosen.why == "nothing":
        loss = min(one.best for one in found.briefs)
        words = (
            f"num_steps {K}: the loss came to rest at {loss:.2f} nats, and a count of pairs of neighbours gives "
            f"{found.lags.pairs:.2f}: nothing from further back was learned, and no lag stands out. So the fewest do."
        )
        return Verdict("healthy", words, n, "If you know of something further back, give it the time steps it takes.")
    text = _text(measure)
    if chosen.why == "untold":
        words = (
            f"num_steps {K}: the mean gradient cannot be told from 0 in this much {text}, so no bias of it can. This "
            "is what it was started from."
        )
        return Verdict("unsure", words, n, f"Give more {text}, or more `minutes`.")
    if chosen.why == "lag":
        gain = found.lags.gains[found.lag - 1]
        words = (
            f"num_steps {K}: the token {counted(found.lag, 'place')} back tells {gain:.2g} nats about the next by "
            f"itself, far more than those around it. Windows must reach it, and half of the losses in {2 * found.lag} "
            "time steps do" + (f". By what the model has learned so far, {bends}" if here else "")
        )
        return Verdict("healthy" if found.lag <= K else "unsure", words + ".", n, ranges)
    if chosen.why == "beyond":
        words += f". None up to that stays below the {percent(found.tolerance)} tolerated, and no more were tried."
        if np.nanmax(measure["low"][:, -1]) <= found.tolerance:
            words += f" But this much {text} cannot tell."
            return Verdict("unsure", words, n, f"Measure on more of it. {ranges}")
        return Verdict("biased", words, n, f"Bear more with `bias`, or measure on more {text}.")
    words += (
        f", and keep {percent(n['kept'])} of it. It is the smallest that is surely below {percent(found.tolerance)}."
    )
    more = []
    for word, k in (("Half", K // 2), ("Twice", 2 * K)):
        if k in steps:
            at = steps.index(k)
            more.append(f"{word} takes x {cost[at]:.2f} the time and bends it by {percent(np.nanmax(bias[:, at]))}. ")
    kind = "healthy"
    if found.lr_left < COOLED:
        kind = "unsure"
        ranges += (
            f" The schedule had left {percent(found.lr_left)} of lr: training comes to rest where the truncated "
            f"gradient is 0, and what is left is what its windows cut off. So this is too large: {_start(measure)}"
        )
    return Verdict(kind, words, n, "".join(more) + ranges)


def _share(bias: np.ndarray, high: np.ndarray, at: int) -> str:
    return percent(bias[at]) if bias[at] > 0 else f"at most {percent(high[at])}"


def _batch_verdict(measure: Measure, n: dict[str, float], found: Measured) -> Verdict:
    sizes, time = list(measure.axes["batch_size"].places), measure["time"]
    N, scale = int(n["batch_size"]), n["scale"]
    each = []
    for stage, updates in enumerate(after(found)):
        of = [lanes_of(value) for value, point in zip(measure["scale"][:, 0], found.points) if point.stage == stage]
        each += [f"{' and '.join(of)} after {updates}"] if of else []
    go = f"1 + {lanes_of(scale)} / N" if math.isfinite(scale) else "1 / N"
    words = (
        f"batch_size {N}: the noise scale is {', '.join(each)} updates, so updates go as {go}; throughput saturates at "
        f"{n['saturated']:.0f} lanes. Together, {N} is the quickest."
    )
    advice = "".join(
        f"{word} takes x {time[sizes.index(size)]:.2f} the time. "
        for word, size in (("Half", N // 2), ("Twice", 2 * N))
        if size in sizes
    )
    good = [size for size, value in zip(sizes, time) if value <= NEAR]
    advice += f"Within 10 %: {_range(good[0], good[-1])}; by the uncertainty of the noise scale"
    advice += " and the seeds: " if len(found.briefs) > 1 else ": "
    advice += f"{_range(n['batch_size_low'], n['batch_size_high'])}."
    if n["spread"] > BUSY:
        advice += f" The times of an update vary by {percent(n['spread'])}: is the machine busy?"
    if N in (sizes[0], sizes[-1]):
        advice += f" {'More' if sizes[-1] == N else 'Fewer'} lanes were not tried."
    cooled = n["lr_left"] < COOLED
    if cooled:
        advice += (
            f" The schedule had left {percent(n['lr_left'])} of lr, which raises the noise scale: {_start(measure)}"
        )
    unsure = (
        cooled
        or n["spread"] > TOO_BUSY
        or not math.isfinite(scale)
        or n["batch_size_high"] > WIDE * n["batch_size_low"]
    )
    return Verdict("unsure" if unsure else "healthy", words, n, advice)


def _lr_verdict(n: dict[str, float], found: Measured, chosen: Chosen) -> Verdict:
    own = "{} lanes of {} time steps".format(*found.own)
    rule = "1 / (1 + noise scale / batch)"
    if not plain_gradients(found.optimizer):
        rule = "the square root of " + rule
    words = f"lr {n['lr']:g}: {found.lr:g} is for {own}, and with {found.optimizer} it goes as {rule}."
    times = f"x {n['gain']:.2f} the time ({n['gain_low']:.2f} to {n['gain_high']:.2f}, by the uncertainty of all that)"
    advice = f"By the same measures, {own} take {times} of what is advised here"
    if n["as_good"]:
        advice = f"Your settings are as good: by the same measures, {own} take {times} of these."
    elif found.own[1] < chosen.low:
        advice += ", and do not reach far enough back."
    else:
        advice += "."
    return Verdict("healthy", words, n, advice)


def lanes_of(scale: float) -> str:
    """A noise scale as people write it."""
    return f"{scale:,.0f}" if scale >= 1 else f"{scale:.2g}"
