"""What becomes of a small change of the state: is it forgotten, does it grow, and at what rate?

jacobian(model, windows)   singular values of the recurrent Jacobians along the sequence, norms of their products
                           over lags, Lyapunov exponents, for every layer and direction -> Measure

A layer's state s is h, of an LSTM (h, c) together, and J_t = ds_t / ds_{t-1} with the layer's inputs held fixed.
With lambda the largest Lyapunov exponent, both a small change of the state on its way forward and a gradient on its
way back go as e^(lambda k) over many time steps k. Three things are told apart:

    lambda < 0      the state forgets where it came from, and halves a change every ln 2 / -lambda time steps. What is
                    vanishing is judged as by all measures, by what is left over half of num_steps (inspect/carried.py)
    lambda > 0      states that start close drift apart. Where a state is bounded (tanh, LSTM, GRU) that is chaos,
                    where it is not (relu) the state itself runs away
    products        may grow over some time steps whatever lambda is, as long as J_t is not a normal matrix. It is
                    their growth over the time steps of a window that makes its gradient explode
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from micrornn.errors import ConfigError, counted
from micrornn.inspect import carried as carrying
from micrornn.inspect.carried import LEFT, LIMIT, Carried
from micrornn.inspect.measure import Array, Axis, Measure, Verdict, blown_up
from micrornn.inspect.panels import Curve, Lines, Panel, Rows, curves, marked
from micrornn.inspect.recorded import record, states
from micrornn.inspect.register import Measuring
from micrornn.inspect.spectrum import (
    VECTORS,
    Jacobians,
    alike,
    dimension,
    lyapunov,
    norms_of_products,
    singular,
    stretches,
    top_singular,
)
from micrornn.inspect.window import Window
from micrornn.inspect.words import number, steps
from micrornn.runs import Progress

LANES = 8  # so many lanes in all are looked at, from all windows
EXACT_SIZE = 64  # up to this hidden_size, all singular values of every time step are computed
SVD_SIZE, SVD_STEPS = 1024, 12  # beyond it, those of so many time steps, of states no larger than this
STARTS, LAGS = 4, 12  # products from so many starting places, over so many lags
EXPONENTS = 16

# Exponents averaged over fewer time steps depend on which text was read.
LEAST_STEPS = 20

# Exploding: products over half a window stretch by more than this, and would do so if they had always grown as they
# do at the end. An LSTM whose forget gates stand open adds up what comes in: its products grow, but ever more slowly.
GROWN = 10.0

# Nothing is said beyond what was seen: an exponent that makes less than e^3 of a change over all time steps that count
# cannot be told from none. Such sums leave an e or two however many the time steps are.
NATS = 3.0


def jacobian(model: Any, windows: Iterable[Window], progress: Progress | None = None, part: str = "", *,
             exponents: int = EXPONENTS, exact: bool | None = None, **about: Any) -> Measure:  # fmt: skip
    """Singular values, products and Lyapunov exponents of each recurrent layer.

    windows      up to 8 lanes of them are looked at
    exponents    how many Lyapunov exponents, from the largest down; at most the size of the state
    exact        all singular values of all time steps; by default where hidden_size is 64 or less. Otherwise the
                 largest of every time step by block power iteration, and all of them at 12 time steps of one lane
    others       as of every measure (`Measuring`)

    Exponents are averages over the last three quarters of the time steps, those that count. Products cover lags up to
    T / 2, so that each lag has the same starting places. Medians are over lanes and starting places: one that explodes
    does not hide what the others do, and the band around the median shows it.

    ConfigError if nothing in the model is recurrent, or if there is no window.
    """
    windows = list(windows)
    if not windows:
        raise ConfigError("jacobian: there is no window to look at")
    found: dict[str, list[Jacobians]] = {}
    every, bounded = [record(model, window, part).layers for window in windows], True
    recorded, seq_len = alike(every)
    lanes = -(-LANES // len(recorded))
    for done, layers in enumerate(recorded, 1):
        for layer in layers:
            bad = np.argwhere(~np.isfinite(states(layer, "h")))
            if len(bad) or not (each := Jacobians.unpadded(layer, lanes, seq_len)).finite.all():
                what, where = ("state", f" at time step {bad[0, 0]}") if len(bad) else ("Jacobian", "")
                words = f"A {what} of {layer.name} is NaN or infinite{where}."
                return Measure("jacobian", about, {}, {}, {}, (blown_up(words),))
            found.setdefault(layer.name, []).append(each)
            bounded = {"sigmoid", "tanh"} >= set(layer.program.activations)
        if progress is not None:
            progress(done, len(windows) + len(found))
    able, rows = carrying.told(about, every, model), []
    for n, parts in enumerate(found.values(), 1):
        rows.append(_look(_side_by_side(parts, seq_len), seq_len, exponents, exact))
        if progress is not None:
            progress(len(windows) + n, len(windows) + len(found))
    all_lanes = sum(map(len, next(iter(found.values())))) // seq_len
    whole = bool(np.isfinite(rows[0]["smallest"]).all())
    told = {"windows": len(windows), "seq_len": seq_len, "lanes": all_lanes, "all_singular_values": whole}
    about = about | told | ({"part": part} if part else {})
    return _measure(tuple(found), rows, bounded, able, about)


def _side_by_side(parts: list[Jacobians], seq_len: int) -> Jacobians:
    """The lanes of several windows as if they were of one."""

    def join(name: str) -> np.ndarray:
        arrays = [getattr(part, name) for part in parts]
        lanes = np.concatenate([array.reshape(seq_len, -1, *array.shape[1:]) for array in arrays], axis=1)
        return lanes.reshape(-1, *lanes.shape[2:])

    return replace(parts[0], carry=join("carry"), gain=join("gain"))


def _look(jacobians: Jacobians, seq_len: int, exponents: int, exact: bool | None) -> dict[str, np.ndarray]:
    """What one layer shows. The Jacobians are in the order in which it walks; arrays over t are put back in order."""
    rng, lanes, size = np.random.default_rng(0), len(jacobians) // seq_len, jacobians.size

    def by_step(values: np.ndarray) -> np.ndarray:
        middle = np.median(values.reshape(seq_len, lanes, -1), axis=1)
        return middle[::-1] if jacobians.reverse else middle

    def top(part: Jacobians) -> np.ndarray:
        start = rng.normal(size=(len(part), min(VECTORS, part.size), part.size))
        return top_singular(part.jvp, part.vjp, start)[0]

    exact = jacobians.weight.shape[1] <= EXACT_SIZE if exact is None else exact
    values = by_step(singular(jacobians) if exact else top(jacobians))
    found = {"largest": values[:, 0], "smallest": values[:, -1], "spectrum": np.median(values, axis=0)}
    if not exact:
        found["smallest"] = np.full(seq_len, np.nan)
    if not exact and size <= SVD_SIZE:
        few = np.unique(np.linspace(0, seq_len - 1, SVD_STEPS).astype(int))
        values = singular(jacobians[few * lanes])
        found["smallest"][seq_len - 1 - few if jacobians.reverse else few] = values[:, -1]
        found["spectrum"] = np.median(values, axis=0)
    if size > jacobians.weight.shape[1]:
        found["largest_h"] = by_step(top(jacobians.of_h()))[:, 0]

    each = [jacobians[t * lanes : (t + 1) * lanes] for t in range(seq_len)]
    series = stretches(each, min(exponents, size), rng)[seq_len // 4 :]  # before, a change turns, and grows for once
    found["exponents"], found["spread"] = lyapunov(series)
    found["dimension"] = np.array(dimension(found["exponents"]))

    found["lags"] = np.unique(np.geomspace(1, max(1, seq_len // 2), LAGS).astype(int))
    norms = norms_of_products(jacobians, seq_len, found["lags"].tolist(), STARTS, rng)
    with np.errstate(over="ignore"):
        found["products"] = np.exp(np.quantile(norms, (0.1, 0.5, 0.9), axis=1, method="nearest"))
    return found


def _measure(layers: tuple[str, ...], rows: list[dict[str, np.ndarray]], bounded: bool, able: Carried,
             about: Mapping[str, Any]) -> Measure:  # fmt: skip
    all_of = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    low, middle, high = np.moveaxis(all_of["products"], 1, 0)
    exponents, seq_len = all_of["exponents"], all_of["largest"].shape[1]
    used = seq_len - seq_len // 4
    with np.errstate(divide="ignore", invalid="ignore"):
        half_life = np.where(exponents[:, 0] * used < -NATS, math.log(2) / -exponents[:, 0], np.nan)
    axes = {
        "layer": Axis.of(layers), "t": Axis.of(range(seq_len), "time step"),
        "lag": Axis.of(rows[0]["lags"], "time steps"), "exponent": Axis.of(range(1, exponents.shape[1] + 1)),
        "value": Axis.of(range(1, all_of["spectrum"].shape[1] + 1)),
    }  # fmt: skip
    seen = "" if about["all_singular_values"] else f", of one lane at {SVD_STEPS} time steps"
    if not np.isfinite(all_of["smallest"]).any():
        seen = f", the largest {all_of['spectrum'].shape[1]} alone"
    time, lag, rate = ("layer", "t"), ("layer", "lag"), "nats per time step"
    arrays = {
        "largest": Array(all_of["largest"], time, "", "largest singular value of J_t, median over lanes"),
        "smallest": Array(all_of["smallest"], time, "", f"smallest one{seen}; NaN where it was not computed"),
        "spectrum": Array(all_of["spectrum"], ("layer", "value"), "", f"singular values, median over time steps{seen}"),
        "product": Array(middle, ("layer", "lag"), "", "norm of J_{t+k} ... J_{t+1}, median over starting places"),
        "product_low": Array(low, lag, "", "the same, 10 % of starting places are below"),
        "product_high": Array(high, lag, "", "the same, 10 % of starting places are above"),
        "exponents": Array(exponents, ("layer", "exponent"), rate, "Lyapunov exponents, largest first"),
        "error": Array(all_of["spread"], ("layer", "exponent"), rate, "their standard error"),
        "half_life": Array(half_life, ("layer",), "time steps", "of what fades slowest; NaN where it cannot be told"),
        "dimension": Array(all_of["dimension"], ("layer",), "", "Lyapunov dimension; NaN: more exponents are needed"),
    }
    if "largest_h" in all_of:
        words = "largest singular value of the block dh_t/dh_{t-1} alone"
        arrays["largest_h"] = Array(all_of["largest_h"], time, "", words)
    measure = Measure("jacobian", about, axes, arrays)
    return measure.judged(*verdicts(measure, bounded, able))


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
    used, far = seq_len - seq_len // 4, int(np.searchsorted(lags, lags[-1] / 2))
    drifts = rate * used > NATS and not rate < 2 * error
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
            f"Over {counted(lags[-1], 'time step')} a change of the state of {layers[fastest]}, and a gradient on its "
            f"way back, grows up to {number(growth)} times; {told}."
        )
        if not bounded:
            words += " Nothing bounds a relu, so the state itself runs away."
        found.append(Verdict("exploding", words, numbers, LIMIT))
    else:
        found += able.exploding(f"In the long run: {told}.")
    if found:
        return tuple(found)
    seen = _seen(rate, used, half_life, told)
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


def _seen(rate: float, used: int, half_life: float, told: str) -> str:
    """What the largest exponent says of the time steps that were seen, and of no more."""
    if rate == -math.inf:
        return f"Nothing lasts: {told}."
    if math.isnan(half_life):
        return (
            f"Over {steps(used)} what fades slowest keeps more than e^-{NATS:.0f} of itself, so whether it fades, "
            f"and how fast, cannot be told: {told}."
        )
    return f"What fades slowest halves every {steps(half_life)}: {told}."


def panels(measure: Measure) -> list[Panel]:
    """Products over lags, singular values along the sequence, their spectrum, Lyapunov exponents; none of them if
    a state was not finite."""
    if not measure.arrays:
        return []
    layers, *axes = (measure.axes[name].places for name in ("layer", "t", "lag", "value", "exponent"))
    t, lags, values, order = map(np.array, axes)
    largest = curves(layers, t, measure["largest"])
    if "largest_h" in measure.arrays:
        largest += curves([f"{layer}, dh/dh alone" for layer in layers], t, measure["largest_h"])
    computed = np.isfinite(measure["smallest"]).all(axis=0)
    whole = measure.subject.get("all_singular_values", True)
    at = counted(computed.sum(), "time step")
    part = "" if whole else f"Of one lane, at {at}: layers of more than {EXACT_SIZE} units."
    if not whole and not computed.any():
        part = f"The largest {len(values)} alone: a state of more than {SVD_SIZE:,} numbers."
    rates, errors = measure["exponents"], measure["error"]
    bands = [
        (row - 2 * error, row + 2 * error) if np.isfinite(error).all() else () for row, error in zip(rates, errors)
    ]
    return [
        Lines(
            "How much a product of Jacobians stretches", "lag in time steps", "norm",
            curves(layers, lags, *(measure[name] for name in ("product", "product_low", "product_high"))),
            log_y=True, marks=marked(measure, lags),
            note="Median over starting places, and a band from 10 % to 90 %. Above 1 a change of the state grows.",
        ),
        Lines(
            "Largest singular value along the sequence", "time step", "singular value", largest,
            note="How much one time step stretches at most. Of an LSTM the state is (h, c).",
        ),
        *([Lines("Smallest singular value along the sequence", "time step", "singular value",
                 curves(layers, t[computed], measure["smallest"][:, computed]), log_y=True, note=part)]
          if computed.any() else []),
        Lines(
            "Singular values of one Jacobian", "number", "singular value",
            curves(layers, values, measure["spectrum"]), log_y=True,
            note=f"From the largest down; medians over time steps. {part}".rstrip(),
        ),
        Lines(
            "Lyapunov exponents", "number", "nats per time step",
            [Curve(layer, order, row, *band) for layer, row, band in zip(layers, rates, bands)],
            note="Below 0 a change fades at this rate, above 0 it grows. The band is two standard errors.",
        ),
        Rows(
            "Layers", ["layer", "largest exponent", "half-life", "Lyapunov dimension", "largest singular value"],
            [
                [
                    layer, f"{number(rate[0])} +- {error[0]:.2g}",
                    number(half_life) if np.isfinite(half_life) else "cannot be told",
                    f"over {len(order)}" if np.isnan(dimension) else number(dimension),  # too few to say
                    number(np.median(most)),
                ]
                for layer, rate, error, half_life, dimension, most in zip(
                    layers, rates, errors, measure["half_life"], measure["dimension"], measure["largest"]
                )
            ],
            note="Exponent in nats per time step, with its standard error; half-life in time steps, of what fades "
            "slowest. It cannot be told where less than e^3 is lost over all time steps that count.",
        ),
    ]  # fmt: skip


class Jacobian(Measuring):
    """Does a time step stretch or shrink? Singular values and Lyapunov exponents.

    Singular values of dh_{t+1}/dh_t along the sequence, norms of their products over lags, and Lyapunov
    exponents: vanishing, exploding and chaotic regimes told apart.
    """

    name = "jacobian"
    order = 5
    asks = "why does it fade, or grow?"
    title = "Jacobian: what one time step does to the gradient"
    example = "`seq_len=400`"
    windows = 1
    seq_len = 200
    batch_size = 8
    by_part = True
    judges = ("exploding", "chaotic", "vanishing")
    measure = staticmethod(jacobian)
    panels = staticmethod(panels)
