"""One diagnosis out of several measures: what is well, what is not, what to try first, and which of them say so.

diagnosis(found, ...)   -> Measure "diagnosis", of one verdict: a paragraph, the gravest kind, the first thing to try
findings(found)         what is wrong, the gravest first, each with the measures that say so
well(found)             what is not wrong, likewise
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from micrornn.errors import counted
from micrornn.inspect import register
from micrornn.inspect.kinds import KINDS, grave
from micrornn.inspect.measure import Learned, Measure, Verdict
from micrornn.inspect.words import number

# What is worth knowing and no fault: most gradients are noisy once the loss has fallen, and train well.
REMARKS = {"noisy": "Worth knowing", "unsure": "Not told"}

SLOW_LR = 1e-4  # below it, a model that has learned nothing is first of all given a higher one


class Finding(NamedTuple):
    """kind: of a verdict. measures: which say so. words, advice: of the one that says it first."""

    kind: str
    measures: tuple[str, ...]
    words: str
    advice: str


def findings(found: Sequence[Measure]) -> list[Finding]:
    """What is wrong, the gravest kind first. That a model has learned nothing is left to the loss."""
    rows = []
    for kind in KINDS:
        said = [(measure, v) for measure in found for v in measure.verdicts if v.kind == kind]
        if said and kind not in ("unlearned", "healthy"):
            first = said[0][1]
            rows.append(Finding(kind, _names([measure for measure, _ in said]), first.short, first.advice))
    return rows


def well(found: Sequence[Measure]) -> list[tuple[str, tuple[str, ...]]]:
    """(what is well, which measures say so). Of what a measure could not tell, nothing is said."""
    rows, judges = [], {name: register.about(name).judges for name in register.names()}
    for words in dict.fromkeys(kind.well for kind in KINDS.values() if kind.well):
        kinds = {name for name, kind in KINDS.items() if kind.well == words}
        told = [m for m in found if all(v.kind not in ("unsure", "nonfinite") for v in m.verdicts)]
        asked = [m for m in told if kinds & {*judges.get(m.what, ())}]
        if asked and not any(v.kind in kinds for m in found for v in m.verdicts):
            rows.append((words, _names(asked)))
    return rows


def _names(measures: Sequence[Measure]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(measure.what for measure in measures))


def diagnosis(found: Sequence[Measure], subject: Mapping[str, Any], lr: float = 0.0) -> Measure:
    """The measures of one run in a paragraph.

    subject  as `Subject.about()` gives it: the run, and what it has learned
    lr       that it was trained with
    """
    learned = Learned.of(subject)
    wrong, right, updates = findings(found), well(found), int(subject.get("updates") or 0)
    nothing = learned is not None and not learned.anything
    by = f"{number(learned.baseline)} {learned.by}" if learned else ""
    told, advice = [], [finding.advice for finding in wrong if finding.advice]
    serious = [finding for finding in wrong if finding.kind not in REMARKS]
    kinds = [finding.kind for finding in serious]
    if nothing:
        kinds = sorted([*kinds, "unlearned"], key=grave)
        told.append(f"After {counted(updates, 'update')} the model does no better than {by}.")
        if kinds[0] == "unlearned":
            advice.insert(0, _learn(updates, lr))
    elif learned is not None:
        gain = 1 - learned.loss / learned.baseline if learned.baseline else 0.0
        told.append(
            f"The model has learned: its loss is {100 * gain:.0f} % below {by}."
            if learned.beside else f"The model's loss is {number(learned.loss)} {learned.unit}."
        )  # fmt: skip
    if right:
        told.append("Well: " + "; ".join(f"{words} ({', '.join(names)})" for words, names in right) + ".")
    if serious:
        told.append("Not well: " + " ".join(f"{f.kind} ({', '.join(f.measures)}): {f.words}" for f in serious))
    elif not nothing:
        told.append("Nothing is found that is not well.")
    for finding in wrong:
        if finding.kind in REMARKS:
            told.append(f"{REMARKS[finding.kind]} ({', '.join(finding.measures)}): {finding.words}")
    others = "; `micrornn advise` says whether other sizes would be quicker" if subject.get("cut", True) else ""
    first = advice[0] if advice else f"Nothing needs mending{others}."
    numbers = {"findings": float(len(serious)), "well": float(len(right))}
    verdict = Verdict(kinds[0] if kinds else "healthy", " ".join(told), numbers, first)
    return Measure("diagnosis", subject, {}, {}, {}, (verdict,))


def _learn(updates: int, lr: float) -> str:
    """What to try first where nothing is learned and nothing else is wrong."""
    if 0 < lr < SLOW_LR:
        return f"A higher `lr`: it was {number(lr)}; the default is 0.006."
    return (
        f"Train longer than {counted(updates, 'update')}. If the loss does not fall, try another `lr`, three times as "
        "much and a third; if that does not help, the data may hold nothing more to be learned."
    )
