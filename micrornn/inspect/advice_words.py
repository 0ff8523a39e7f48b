"""What `advise` says of num_steps, of batch_size, of lr, and of the text."""

from __future__ import annotations

import math

import numpy as np

from micrornn.inspect.advice import Chosen, Measured, plain_gradients
from micrornn.inspect.measure import Measure, Verdict
from micrornn.inspect.words import percent

NEAR = 1.1  # a time within 10 % of the least is as good: other things weigh more
WIDE = 4  # the best batch_size is unsure if the noise scale's uncertainty moves it by more than this factor
COOLED = 0.5  # less of the learning rate: the noise scale is of another temperature (McCandlish et al., appendix C)
# Times of the same update, quartile to quartile: told from the first on, and from the second on nothing follows.
BUSY, TOO_BUSY = 0.3, 1.0
STARTS = {"token": "for a run from the start, give FILES."}  # by what a time step holds; else:
EARLIER = "measure a checkpoint from before the rate fell."


def verdicts(measure: Measure, found: Measured, chosen: Chosen) -> tuple[Verdict, ...]:
    """On the text, if there is something to say, and on num_steps, batch_size and lr."""
    about = _text_verdict(measure, found)
    return (
        *([about] if about else []),
        _steps_verdict(measure, found, chosen), _batch_verdict(measure, found), _lr_verdict(measure, found, chosen),
    )  # fmt: skip


def _plain(measure: Measure) -> dict[str, float]:
    return {name: float(number.value) for name, number in measure.numbers.items()}


def _text_verdict(measure: Measure, found: Measured) -> Verdict | None:
    """That the text is short: overfitted, or too short for the sizes that were asked for; or that there was no time."""
    n, said, advice, text = _plain(measure), [], [], _text(measure)
    turned = [one for one in found.briefs if one.turned]
    if found.own != found.asked:
        sizes = "too short for {} lanes of {} time steps; it was started from {} of {}"
        said.append(f"The {text} is {sizes.format(*found.asked, *found.own)}.")
    if turned:
        nats = " nats" if text == "text" else ""
        updates, epochs = (sum(getattr(one, f"best_{name}") for one in turned) / len(turned)
                           for name in ("updates", "epochs"))  # fmt: skip
        said.append(
            f"The {text} is so short that the model learns it by heart: after {updates:,.0f} updates, {epochs:,.0f} "
            f"epochs, the validation loss ({min(one.best for one in turned):.2f}{nats}) rose again."
        )
        advice.append(
            f"All is measured up to there. Stop there when you train, with `patience=3`; more {text}, a smaller model "
            "or `dropout=0.3` would help more than any size below."
        )
    stopped = [one.updates for one in found.briefs if one.updates < one.planned and not one.turned]
    if stopped:
        inside = ", with one seed all within the warm-up of lr" if any(one.inside for one in found.briefs) else ""
        said.append(
            f"There was time for no more than {min(stopped):,} of {found.briefs[0].planned:,} updates{inside}: a model "
            "that has learned more needs more time steps and more lanes than this."
        )
        advice.append("Give more `minutes`.")
    return Verdict("unsure", " ".join(said), n, " ".join(advice)) if said else None


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


def _steps_verdict(measure: Measure, found: Measured, chosen: Chosen) -> Verdict:
    n, steps, K = _plain(measure), list(found.steps), chosen.num_steps
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
            f"num_steps {K}: the token {found.lag} places back tells {gain:.2g} nats about the next by itself, far "
            f"more than those around it. Windows must reach it, and half of the losses in {2 * found.lag} time steps do"
            + (f". By what the model has learned so far, {bends}" if here else "")
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


def _batch_verdict(measure: Measure, found: Measured) -> Verdict:
    n, sizes, time = _plain(measure), list(measure.axes["batch_size"].places), measure["time"]
    N, scale = int(n["batch_size"]), n["scale"]
    each = []
    for stage, updates in enumerate(after(found)):
        of = [lanes_of(value) for value, point in zip(measure["scale"][:, 0], found.points) if point.stage == stage]
        each += [f"{' and '.join(of)} after {updates}"] if of else []
    go = f"1 + {lanes_of(scale)} / N" if math.isfinite(scale) else "1 / N"
    words = (
        f"batch_size {N}: the noise scale is {', '.join(each)} updates, "
        f"so updates go as {go}; throughput saturates at {n['saturated']:.0f} lanes. Together, {N} is the quickest."
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


def _lr_verdict(measure: Measure, found: Measured, chosen: Chosen) -> Verdict:
    n, own = _plain(measure), "{} lanes of {} time steps".format(*found.own)
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
