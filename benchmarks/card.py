"""What is measured on a graphics card, and what is to be reached there.

LAYERS, AGREE           cases
layer_goals(rows)       sentences: means of the ratios by cell and precision, and the goals for the LSTM
model_goals(rows)       the goal for whole training
agreement(row)          whether the card trains as the processor does
precisions(frameworks)  the peers: each framework twice
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.runner import framework, label, precision
from micrornn.bench.cases import MODELS, Layer
from micrornn.config import TIMED_CELLS as CELLS

LANES, UNITS, STEPS = (1, 8, 32, 64), (64, 128, 256), 50  # where recurrent networks live
SMALL = [Layer(cell, lanes, STEPS, units, units) for lanes in LANES for units in UNITS for cell in CELLS]
LARGE = [Layer(cell, 128, STEPS, 512, 512) for cell in CELLS]
LAYERS = SMALL + LARGE
AGREE = MODELS[0]  # trained on the processor and on the card
AGREE_UPDATES, AGREE_WITHIN = 200, 1e-4  # nats

# Times faster than cuDNN in float32: each of the small LSTMs, their geometric mean, the large one, whole training.
EACH, MEAN, LARGE_ONE, TRAINING = 1.0, 1.3, 0.5, 1.2
TRAINED = MODELS[0].name

Row = dict[str, Any]


def layer_goals(rows: Sequence[Row]) -> list[str]:
    """How many times faster, by device events; then the goals. Of what was not measured nothing is said."""
    peers = list(dict.fromkeys(peer for row in rows for peer in row["faster"]))
    said = []
    for peer in peers:
        for cell in CELLS:
            found = _ratios(rows, peer, {case.name for case in SMALL + LARGE if case.cell == cell})
            if found:
                said.append(f"{cell}, {precision(peer)}, against {framework(peer)}: {_mean_and_least(found)}")
    for peer in peers:
        if precision(peer) != "float32":
            continue
        small = _ratios(rows, peer, {case.name for case in SMALL if case.cell == "lstm"})
        large = _ratios(rows, peer, {case.name for case in LARGE if case.cell == "lstm"})
        lanes, units = f"{LANES[0]} to {LANES[-1]} lanes", f"{UNITS[0]} to {UNITS[-1]} units"
        if small:
            good = min(small.values()) >= EACH and _mean(small) >= MEAN
            said.append(
                f"goal, lstm, {lanes}, {units}, float32: {_mean_and_least(small)}; wanted mean {MEAN}, least {EACH}: "
                + _reached(good, len(small), len(LANES) * len(UNITS))
            )
        for name, ratio in large.items():
            said.append(f"goal, {name}, float32: {ratio:.2f}; wanted {LARGE_ONE}: {_reached(ratio >= LARGE_ONE)}")
    return said


def model_goals(rows: Sequence[Row]) -> list[str]:
    """Tokens per second of the model that the goal names, against each of the others in float32."""
    return [
        f"goal, {row['case']}, float32: {ratio:.2f} times the tokens per second of {peer}; wanted {TRAINING}: "
        + _reached(ratio >= TRAINING)
        for row in rows
        if row["case"] == TRAINED
        for peer, ratio in row["faster"].items()
        if precision(peer) == "float32"
    ]


def agreement(row: Row) -> str:
    """What a row of --agree comes to, in a sentence."""
    near = "as wanted" if row["apart"] < AGREE_WITHIN else "NOT AS WANTED"
    bits = "the same bits" if row["differ"] is None else f"OTHER BITS from update {row['differ']} on"
    return (
        f"{row['case']}, {row['updates']} updates, float32: the losses of the processor and of the card are at most "
        f"{row['apart']:.1e} apart (relatively {row['relative']:.1e}); below {AGREE_WITHIN:g} is wanted: {near}. "
        f"Two runs on the card: {bits}"
    )


def _ratios(rows: Sequence[Row], peer: str, names: set[str]) -> dict[str, float]:
    return {row["case"]: row["faster"][peer] for row in rows if row["case"] in names and peer in row["faster"]}


def _mean(ratios: dict[str, float]) -> float:
    return math.exp(sum(map(math.log, ratios.values())) / len(ratios))


def _mean_and_least(ratios: dict[str, float]) -> str:
    least = min(ratios, key=lambda name: ratios[name])
    return f"geometric mean {_mean(ratios):.2f}, least {ratios[least]:.2f} ({least})"


def _reached(good: bool, measured: int = 1, all_of: int = 1) -> str:
    part = "" if measured == all_of else f", of only {measured} of {all_of} shapes"
    return ("reached" if good else "NOT REACHED") + part


def precisions(frameworks: Sequence[str]) -> tuple[str, ...]:
    """Each framework in each precision, told apart."""
    return tuple(label(name, kind) for name in frameworks for kind in ("float32", "tf32"))
