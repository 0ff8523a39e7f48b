"""How much of a gradient a network can carry over half a window: what all measures call vanishing.

carried(recorded, num_steps)   -> Carried, of layers that have read some windows
carried_by(model, windows)     the same of a model and some windows
told(about, recorded, model)   what the subject says, else of what was recorded
Carried.verdicts(...)          vanishing, or nothing

Two things make a gradient small on its way back, and only one of them is a fault. A network may forget because the
loss asks for no more: the LSTM that has learned characters for some hundred updates has 1 % of its loss's gradient
left after 9 time steps, as a plain RNN has after 8. But a change of the LSTM's state still lasts: of some direction
80 % is left after 16 time steps, so the loss could reach it if it were worth it. In the RNN nothing lasts, and what
lies further back cannot be learned however much it would help. So it is judged by what would arrive at most, whatever
the loss: the norm of the product of Jacobians (Hochreiter 1991; Bengio, Simard and Frasconi 1994).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from micrornn.cells import CELLS
from micrornn.errors import counted
from micrornn.inspect.measure import Verdict
from micrornn.inspect.recorded import Layer, from_last, record
from micrornn.inspect.saturated import stuck_of
from micrornn.inspect.spectrum import VECTORS, Jacobians, alike, norms_of_products
from micrornn.inspect.window import Window
from micrornn.inspect.words import number, percent, steps

# Vanishing: of no direction 1 % is left over half of num_steps. A loss stands anywhere in its window, so half of
# num_steps is what it has behind it on average; where nothing gets that far, the other half of the window is paid for
# and teaches nothing. Plain RNNs that have learned characters keep 0.001 to 0.4 % over 16 time steps, LSTMs all of it.
LEFT = 0.01

# Where gates are stuck at their ends, a network does not forget because it may: nothing has a slope to get through. So
# a gradient that is gone before half of num_steps counts as vanishing there too, even if a single unit is kept.
ALL = 0.99

# Exploding, whatever a measure sees in its own windows: in the mean over lanes a gradient grows to more than this many
# times its size. A few lanes may explode while the others fade, and their gradient is what an update then consists of.
GROWN = 10.0

LANES, WINDOWS = 8, 4  # lanes of which products are looked at; windows of them
LIMIT = "Limit it with `clip_norm`, or at each time step with `clip_message`; lower `lr`; or take `cell=lstm`."
STARTS = 4  # places in a window from which products go
WORK = 1e9  # multiplications that a pass through the Jacobians may cost: fewer lanes and places where it would be more


@dataclass(frozen=True)
class Carried:
    """lag: over so many time steps. num_steps: what the run asks for. share: of each layer, what is left at most of
    a gradient: the largest singular value of the product of so many Jacobians, median over lanes and places; growth:
    how many times larger a gradient becomes on its way at most: the mean of those norms over some of 1, 2, 4, ... and
    `lag` time steps against one, or the gradient of the last loss. cell: of the layers. stuck: the largest share of a
    gate's values that are saturated where that is no good. cut: whether windows are cut out of longer sequences; where
    they are not, num_steps is how long the sequences are."""

    lag: int
    num_steps: int
    share: Mapping[str, float]
    growth: Mapping[str, float]
    cell: str = ""
    stuck: float = 0.0
    cut: bool = True

    def most(self, reverse: bool = False) -> tuple[str, float] | None:
        """(layer, share) of the layer of that direction that carries most; None without one."""
        there = {
            name: share
            for name, share in self.share.items()
            if name.endswith("_reverse") == reverse and math.isfinite(share)
        }
        return max(there.items(), key=lambda item: item[1]) if there else None

    @property
    def enough(self) -> bool:
        """Whether it covers half of what the run asks for."""
        return self.lag >= self.num_steps // 2

    @property
    def all_of_it(self) -> str:
        """What the lag is half of."""
        return f"num_steps {self.num_steps:,}" if self.cut else f"a sequence of {self.num_steps:,}"

    def exploding(self, found: str = "", **numbers: float) -> list[Verdict]:
        """Exploding, where the mean over lanes grows. `found`, `numbers`: what a measure adds."""
        worst = max(self.growth, key=lambda name: self.growth[name], default="")
        if not worst or not self.growth[worst] > GROWN:
            return []
        windows = (
            f"windows of num_steps {self.num_steps:,}"
            if self.cut
            else f"sequences of {counted(self.num_steps, 'time step')}"
        )
        words = (
            f"In {windows} a gradient in {worst} grows to {number(self.growth[worst])} "
            f"times its size on its way back, in the mean over lanes. {found}"
        )
        advice = LIMIT.replace("; or take `cell=lstm`", "") if self.forgets else LIMIT
        return [Verdict("exploding", words.rstrip(), numbers | {"growth": self.growth[worst]}, advice)]

    def verdicts(self, found: str = "", short: bool = False, **numbers: float) -> list[Verdict]:
        """Vanishing, for each direction in which no layer carries 1 %.

        found    a sentence that a measure adds, and `numbers` that go with it
        short    whether what it measured is gone before half of num_steps: a fault where gates are stuck
        """
        verdicts = []
        for reverse in (False, True):
            best = self.most(reverse)
            layer, share = best or ("", math.nan)
            if not share < LEFT:
                continue
            asks = f"num_steps is {self.num_steps:,}" if self.cut else f"sequences have {self.num_steps:,}"
            asks = f"half of {self.all_of_it}" if self.enough else asks
            behind = "half of num_steps behind it on average" if self.cut else "as much behind it, and more"
            words = (
                f"Over {steps(self.lag)} ({asks}) {layer} keeps {_little(share)} of a gradient, whatever "
                f"its direction. A loss has {behind}; less than 1 % left over that is "
                "vanishing: what lies further back is not learned, however much it would help."
            )
            own = {"carried": share, "lag": float(self.lag), "num_steps": float(self.num_steps)}
            verdicts.append(Verdict("vanishing", f"{words} {found}".rstrip(), numbers | own, self._advice()))
        if not verdicts and short and self.stuck >= ALL:
            words = (
                f"{found} That is short of half of {self.all_of_it}, and {percent(self.stuck)} of a gate's "
                "values are saturated, so hardly anything has a slope to get through: vanishing."
            )
            advice = "Lower `lr`, or start from smaller weights."
            verdicts.append(Verdict("vanishing", words, numbers | {"stuck": self.stuck}, advice))
        return verdicts

    @property
    def forgets(self) -> bool:
        """Whether the cell has a forget gate already."""
        return self.cell in CELLS and "f" in CELLS[self.cell].gates

    def _advice(self) -> str:
        if self.forgets:
            change = "Raise `forget_bias` (1 or more), or lower `lr` if gates are saturated"
        else:
            other = "" if self.cell == "gru" else ", or gru; or start from an orthogonal weight_hh"
            change = f"Take `cell=lstm` with `forget_bias=1` or more{other}"
        if not self.cut:
            return f"{change}."
        return f"{change}. If the text needs no more, fewer time steps cost less: `micrornn advise` measures that."

    @property
    def words(self) -> str:
        """One sentence for a network that carries enough."""
        best = max(filter(None, (self.most(False), self.most(True))), key=lambda item: item[1], default=None)
        if best is None:
            return ""
        share = "all" if best[1] >= 1 else f"up to {percent(best[1])}"
        return f"{best[0]} can carry {share} of a gradient over {steps(self.lag)}, so a loss could reach that far."


def _little(share: float) -> str:
    return "less than 0.01 %" if 0 < share < 5e-5 else f"at most {percent(share)}" if share else "nothing"


def carried(recorded: Sequence[Sequence[Layer]], num_steps: int | None = None,
            most: int = 2 * LANES * WINDOWS, cut: bool = True) -> Carried:  # fmt: skip
    """Of layers (one list of them for each window) that have read windows of one size.

    num_steps    what the run asks for; by default the length of the windows. The lag is half of it, or what the
                 windows have room for
    most         so many products are looked at, fewer where layers are large
    cut          whether the windows are cut out of longer sequences

    Of sequences with padding, the longest of the longer windows are looked at.
    """
    every = recorded
    recorded, seq_len = alike(every)
    num_steps = num_steps or seq_len
    lag = max(1, min(num_steps // 2, seq_len - 1))
    lags = [2**n for n in range(lag.bit_length()) if 2**n < lag] + [lag]
    share, growth = {}, {}
    for n, first in enumerate(recorded[0]):
        # multiplications of one product there and back, for all vectors of the iteration
        work = 2 * lag * first.saved["gates"].shape[2] * first.saved["h"].shape[2] * VECTORS
        rows = int(np.clip(WORK / work, min(4, most), most))
        windows = recorded[: min(WINDOWS, rows)]
        parts = []
        for layers in windows:
            lanes = max(1, min(LANES, rows // len(windows)))
            starts = max(1, min(STARTS, rows // (len(windows) * lanes)))
            jacobians = Jacobians.unpadded(layers[n], lanes, seq_len)
            parts.append(norms_of_products(jacobians, seq_len, lags, starts, np.random.default_rng(0)))
        norms = np.concatenate(parts, axis=1)
        known = np.isfinite(norms).all(axis=0) | np.isneginf(norms).any(axis=0)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            sizes = np.exp(norms[:, known])
            mean = sizes.mean(axis=1) if known.any() else np.zeros(1)
            share[first.name] = float(np.median(sizes[-1])) if known.any() else math.nan
            growth[first.name] = float(mean.max() / mean[0]) if mean[0] > 0 else 0.0
    cell = recorded[0][0].cell.name
    stuck = max(stuck_of(layer) for layers in every for layer in layers)
    return Carried(lag, num_steps, share, growth, cell, stuck, cut)


def told(about: Mapping[str, Any], recorded: Sequence[Sequence[Layer]], model: Any) -> Carried:
    """As `Subject.about()` tells it, so that all measures of one run say the same; else of these windows."""
    if about.get("carried"):
        return Carried(**about["carried"])
    trained = about.get("trained", {}).get("num_steps")
    steps = trained or getattr(getattr(model, "config", None), "num_steps", None)
    cut = bool(about.get("cut", True))
    return carried(recorded, steps if cut else None, cut=cut)


def carried_by(model: Any, windows: Sequence[Window], cut: bool = True, part: str = "") -> Carried:
    """Of a model in evaluation mode that reads these windows, of its num_steps if they are `cut` out of longer
    sequences; of the layers of one part."""
    recorded, last_losses = [], list[list[dict[str, np.ndarray]]]()
    for window in windows:
        recording = record(model, window, part)
        recorded.append(recording.layers)
        last_losses.append(from_last(recording))
    able, growth = carried(recorded, model.config.num_steps if cut else None, cut=cut), {}
    for n, name in enumerate(able.growth):
        memory = "dc" if "dc" in last_losses[0][n] else "dh"
        profile = np.mean([found[n][memory] for found in last_losses], axis=0)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            grown = float(np.nanmax(profile) / profile[0]) if profile[0] > 0 else 0.0
        growth[name] = max(able.growth[name], grown)
    return replace(able, growth=growth)
