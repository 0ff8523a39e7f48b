"""Panels of every kind, the usual and the awkward, and measures to go with them: what each renderer must cope with."""

from __future__ import annotations

import numpy as np

from micrornn.inspect.measure import Measure, Verdict
from micrornn.inspect.panels import Coloured, Curve, Heat, Lines, Mark, Panel, Rows, Slides

T, K = 60, 20
NASTY = "<script>alert(1)</script>&amp;<b>\x1b[31m"  # a name that must show as it is
times = np.arange(T)
fading = 10 * np.exp(-times / 8)


def credit_matrix(seq_len: int = T) -> np.ndarray:
    """C[s, t] of a gradient that fades by e every 8 time steps; 0 for t > s."""
    s, t = np.indices((seq_len, seq_len))
    return np.where(t <= s, np.exp(-(s - t) / 8.0), 0.0)


def kept(matrix: np.ndarray, k: int) -> float:
    """Which share of all credit windows of k keep, as `micrornn.inspect.credit` tells it."""
    profile = np.array([np.diagonal(matrix, -lag).mean() for lag in range(len(matrix))])
    inside = np.clip(1 - np.arange(len(matrix)) / k, 0, None)
    return float((inside * profile).sum() / profile.sum())


def frame(n: int) -> Lines:
    return Lines("", "time step", "norm", [Curve("lstm_l0", times, fading * n), Curve("lstm_l1", times, fading)])


USUAL: dict[str, Panel] = {
    "band": Lines(
        "Fading", "lag", "norm", [Curve("h", times, fading, fading / 2, fading * 2), Curve("c", times, fading / 9)],
        log_y=True, marks=[Mark(K, "num_steps 20"), Mark(22, "half-life 22 time steps")], note="A note. " * 20,
    ),
    "bias": Lines("Bias", "K", "bias", [Curve("windows", times + 1, 1 / (times + 1))], log_x=True),
    "credit": Heat("Credit", "state", "loss", "norm", range(T), range(T), credit_matrix(), log=True, window=K),
    "gates": Heat("Saturated", "time step", "gate", "share", times, list("ifgo"),
                  np.random.default_rng(0).random((4, T)), marks=[Mark(30, "here")]),
    "units": Heat("Units", "character", "unit", "h_t", list("to be, or not to be\n <&>"), range(40),
                  np.random.default_rng(1).uniform(-1, 1, (40, 24)), centred=True),
    "rows": Rows("Units", ["property", "unit"], [["inside of quotes", "17"], ["position", "-3"]], "Of 40 units."),
    "text": Coloured("A text", list("to be, or\nnot \t日本 <b>to be</b>") + ["word "] * 30,
                     np.linspace(-1, 1, 26 + 30), "h_t of unit 17"),
    "slides": Slides("Flow", "update", [1, 50, 100], [frame(1), frame(5), frame(9)]),
}  # fmt: skip

none, nan = np.empty(0), np.full(5, np.nan)
AWKWARD: dict[str, Panel] = {
    "no curve": Lines("None", "x", "y", []),
    "no point": Lines("Empty", "x", "y", [Curve("a", none, none)], log_y=True),
    "one point": Lines("One", "x", "y", [Curve("a", np.array([3.0]), np.array([0.0]))]),
    "constant": Lines("Constant", "x", "y", [Curve("a", times, np.zeros(T)), Curve("b", times, np.ones(T))]),
    "nan": Lines("NaN", "x", "y", [Curve("a", np.arange(5.0), nan, nan, nan)], log_x=True, log_y=True),
    "zeros by logarithm": Lines("Zeros", "x", "y", [Curve("a", times, np.zeros(T))], log_y=True),
    "wide": Lines("Wide", "x", "y", [Curve("a", times, 10.0 ** -times), Curve("b", times, np.full(T, np.inf))],
                  log_y=True),
    "limits": Lines("Share", "x", "y", [Curve("a", times, times / T)], limits=(0.0, 1.0)),
    "many": Lines("Many", "x", "y", [Curve(f"a curve of the name {n}", times, times * n) for n in range(12)]),
    "heat nan": Heat("NaN", "x", "y", "v", range(5), range(5), np.full((5, 5), np.nan), log=True),
    "heat zero": Heat("Zero", "x", "y", "v", range(5), range(5), np.zeros((5, 5)), log=True),
    "heat constant": Heat("Constant", "x", "y", "v", range(5), list("abcde"), np.ones((5, 5)), centred=True),
    "heat one": Heat("One", "x", "y", "v", [0.5], ["a"], np.ones((1, 1))),
    "heat infinite": Heat("Infinite", "x", "y", "v", range(3), range(2), np.array([[1, np.inf, 2], [np.nan, 1, 0]])),
    "heat large": Heat("Large", "x", "y", "v", range(700), range(300), np.random.default_rng(2).random((300, 700))),
    "no row": Rows("None", ["a", "b"], []),
    "no token": Coloured("None", [], none, "v"),
    "nasty": Coloured(NASTY, [NASTY], np.array([np.nan]), NASTY, NASTY),
    "nasty rows": Rows(NASTY, [NASTY], [[NASTY]], NASTY),
    "nasty lines": Lines(NASTY, NASTY, NASTY, [Curve(NASTY, times, times)] * 2, marks=[Mark(3, NASTY)], note=NASTY),
    "nasty heat": Heat(NASTY, NASTY, NASTY, NASTY, [NASTY, "b"], [NASTY, "\n"], np.eye(2), note=NASTY),
    "no slide": Slides("None", "update", [], []),
}  # fmt: skip
PANELS = USUAL | AWKWARD


def measure(what: str, *kinds: str) -> Measure:
    """A measure without numbers, with a verdict of each kind."""
    about = {"run": NASTY, "updates": 600, "text": "a text", "windows": 4, "seq_len": T, "trained": {"num_steps": K}}
    words = "The gradient halves every 4.2 time steps; 1 % of it is left 28 time steps back, and that is that."
    verdicts = tuple(Verdict(kind, words, {"half_life": 4.2}, "Take --num-steps 30.") for kind in kinds)
    return Measure(what, about, {}, {}, {}, verdicts)
