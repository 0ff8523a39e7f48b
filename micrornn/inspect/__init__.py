"""Measures on a recorded tape: where the gradient goes, and what that means.

register      all measures there are, and what each says of itself
measure       what every measure gives: arrays with named axes and units, verdicts
kinds         what a verdict may say
panels        the pictures that a measure is shown as
subject       a trained model and the data of its task
window        a piece of that data, in time and lanes
recorded      a window on the tape, layer by layer, in the order of time
sweep         all losses of a window on their way back at once

carried       how much of a gradient gets through half a window at most: what is vanishing
saturated     gates at their ends

flow          the gradient at every time step (flow_verdicts); watched: while a run trains
weights       which time step contributed what to a weight gradient
credit        each loss against each state (fading: how it fades over lags)
truncation    what a gradient loses that is cut after K time steps (cuts, bias, truncation_verdict)
jacobian      whether a time step stretches or shrinks (spectrum)
noise         how much of a batch's gradient is chance (noise_scale)
nonfinite     what was NaN or infinite first
states        what the units do over a text (units, properties)
advice        time steps and batch size from all that
diagnosis     one paragraph out of all that
words         how numbers are written

Each is imported when it is first asked for: `mr.inspect.credit`.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if name not in __dir__():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return [file.name for file in pkgutil.iter_modules(__path__)]
