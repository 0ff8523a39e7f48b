"""How the measure `jacobian` is drawn."""

from __future__ import annotations

import numpy as np

from micrornn.inspect.jacobian import EXACT_SIZE, SVD_SIZE
from micrornn.inspect.measure import Measure
from micrornn.inspect.words import number
from micrornn.report.panels import Curve, Lines, Mark, Panel, Rows


def panels(measure: Measure) -> list[Panel]:
    """Products over lags, singular values along the sequence, their spectrum, Lyapunov exponents; none of them if
    a state was not finite."""
    if not measure.arrays:
        return []
    layers, lags = measure.axes["layer"].places, np.array(measure.axes["lag"].places)
    t, places = np.array(measure.axes["t"].places), range(len(measure.axes["layer"].places))
    trained = measure.subject.get("trained", {}).get("num_steps") if measure.subject.get("cut", True) else None
    marks = [Mark(trained, f"num_steps {trained}")] if trained and trained <= lags[-1] else []
    largest = [Curve(layers[n], t, measure["largest"][n]) for n in places]
    if "largest_h" in measure.arrays:
        largest += [Curve(f"{layers[n]}, dh/dh alone", t, measure["largest_h"][n]) for n in places]
    computed = np.isfinite(measure["smallest"]).all(axis=0)
    smallest = [Curve(layers[n], t[computed], measure["smallest"][n][computed]) for n in places]
    order, exponents = np.array(measure.axes["exponent"].places), measure["exponents"]
    values = np.array(measure.axes["value"].places)
    whole = measure.subject.get("all_singular_values", True)
    part = "" if whole else f"Of one lane, at {computed.sum()} time steps: layers of more than {EXACT_SIZE} units."
    if not whole and not computed.any():
        part = f"The largest {len(values)} alone: a state of more than {SVD_SIZE:,} numbers."
    return [
        Lines(
            "How much a product of Jacobians stretches", "lag in time steps", "norm",
            [Curve(layers[n], lags, measure["product"][n], measure["product_low"][n], measure["product_high"][n])
             for n in places],
            log_y=True, marks=marks,
            note="Median over starting places, and a band from 10 % to 90 %. Above 1 a change of the state grows.",
        ),
        Lines(
            "Largest singular value along the sequence", "time step", "singular value", largest,
            note="How much one time step stretches at most. Of an LSTM the state is (h, c).",
        ),
        *([Lines("Smallest singular value along the sequence", "time step", "singular value", smallest, log_y=True,
                 note=part)]
          if computed.any() else []),
        Lines(
            "Singular values of one Jacobian", "number", "singular value",
            [Curve(layers[n], values, measure["spectrum"][n]) for n in places], log_y=True,
            note=f"From the largest down; medians over time steps. {part}".rstrip(),
        ),
        Lines(
            "Lyapunov exponents", "number", "nats per time step",
            [Curve(layers[n], order, exponents[n], *_band(exponents[n], measure["error"][n])) for n in places],
            note="Below 0 a change fades at this rate, above 0 it grows. The band is two standard errors.",
        ),
        Rows(
            "Layers", ["layer", "largest exponent", "half-life", "Lyapunov dimension", "largest singular value"],
            [
                [
                    layers[n], f"{number(exponents[n, 0])} +- {measure['error'][n, 0]:.2g}",
                    _time(measure["half_life"][n]), _dimension(measure["dimension"][n], len(order)),
                    number(np.median(measure["largest"][n])),
                ]
                for n in places
            ],
            note="Exponent in nats per time step, with its standard error; half-life in time steps, of what fades "
            "slowest. It cannot be told where less than e^3 is lost over all time steps that count.",
        ),
    ]  # fmt: skip


def _band(middle: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    if not np.isfinite(error).all():
        return None, None
    return middle - 2 * error, middle + 2 * error


def _time(half_life: float) -> str:
    return number(half_life) if np.isfinite(half_life) else "cannot be told"


def _dimension(value: float, exponents: int) -> str:
    """NaN where so many exponents do not reach far enough down."""
    return f"over {exponents}" if np.isnan(value) else number(value)
