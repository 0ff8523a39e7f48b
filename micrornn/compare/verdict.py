"""What a comparison says in words: which setting is best, from what it can be told, what that cost, and who learned.

verdicts(summary)    a sentence or two each; no more than the numbers allow
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from micrornn.compare.reach import furthest
from micrornn.compare.statistics import Pair
from micrornn.compare.summary import Row, Summary, one
from micrornn.inspect.measure import Verdict
from micrornn.inspect.words import number, percent

MOST_NAMED = 4
WELL = 0.5  # of the baseline's loss: who is below that knows where the answer lies, and is asked


def verdicts(summary: Summary) -> tuple[Verdict, ...]:
    """In the order in which they matter."""
    if summary.plan.rungs:
        return (*_found(summary), *_failed(summary))
    return (*_best(summary), *_learned(summary), *_cost(summary), *_failed(summary))


def _best(summary: Summary) -> Iterator[Verdict]:
    best = summary.best
    if best is None:
        yield Verdict("unsure", "No setting has been trained to its end yet.")
        return
    others = [row for row in summary.rows if row is not best and math.isfinite(row.mean)]
    pairs = [(row, found) for row in others if (found := summary.pair(row, best)) is not None]
    mean, unit = number(best.mean), f" {summary.plan.loss}" if summary.plan.loss else ""
    if not pairs:
        yield Verdict("unsure", f"{best.name} alone has a loss, {mean}{unit}: there is no other to compare it with.")
        return
    seeds = min(found.seeds for _, found in pairs)
    numbers = {"best": best.mean, "seeds": seeds}
    if seeds < 2:
        yield Verdict(
            "unsure",
            f"{best.name} has the lowest loss, {mean}{unit}, of one seed: another seed may say otherwise, and how much "
            "seeds differ is not known.",
            numbers, "Train with more of them: `seeds=3`, or 5 where settings are close.",
        )  # fmt: skip
        return
    apart = [(row, found) for row, found in pairs if found.apart]
    same = [row for row, found in pairs if found.same]
    unsure = [(row, found) for row, found in pairs if not found.apart and not found.same]
    head = f"{best.name} has the lowest loss: {mean}{unit}, the mean of {seeds} seeds."
    if apart:
        yield Verdict("apart", f"{head} It is better than {_named([_told(*found) for found in apart])}.", numbers)
    if same:
        yield Verdict(
            "alike", f"{_named([row.name for row in same])}: the same losses as {best.name}, to the last digit."
        )
    if unsure:
        told = [f"{row.name} ({number(found.mean)}; {number(found.smallest)})" for row, found in unsure]
        start = "It" if apart else head + " But it"
        words = (
            f"{start} cannot be told from {_named(told)}. In brackets: how much lower it is, and from which difference "
            f"on these {seeds} seeds would tell the two apart."
        )
        yield Verdict(
            "unsure", words, {"smallest": min(found.smallest for _, found in unsure)},
            "Nothing speaks for one over the other here but what they cost; or look closer: more seeds "
            f"(`seeds={max(5, 2 * seeds)}`), or longer training.",
        )  # fmt: skip


def _found(summary: Summary) -> Iterator[Verdict]:
    """The best of a search, and what is near to it."""
    best, count = summary.best, len(summary.plan.seeds)
    if best is None:
        yield Verdict("unsure", "No setting has been trained yet.")
        return
    ends = [row for row in summary.rows if math.isfinite(row.mean) and row.updates >= best.updates]
    unit = f" {summary.plan.loss}" if summary.plan.loss else ""
    words = (
        f"Of {len(summary.rows):,} settings, {best.name} has the lowest loss, {number(best.mean)}{unit}, of the "
        f"{len(ends):,} that were trained furthest."
    )
    if len(ends) > 1:
        words += (
            f" Behind it: {_named([f'{row.name} ({number(row.mean)})' for row in ends[1:]]).replace(' or ', ' and ')}."
        )
    words += _of_brackets(summary, best, ends)
    seeds = "one seed" if count == 1 else f"{count} seeds"
    yield Verdict(
        "unsure", f"{words} That is of {seeds}, and the best of many is partly the luckiest.", {"best": best.mean},
        "To know whether it is better than another, compare the two of them: `seeds=5`.",
    )  # fmt: skip


def _of_brackets(summary: Summary, best: Row, ends: Sequence[Row]) -> str:
    """Which of several brackets has found the best, and what the others found."""
    plan, count = summary.plan, len(summary.plan.brackets)
    if count < 2:
        return ""
    won = plan.bracket(best.number)
    others = [next((row for row in ends if plan.bracket(row.number) == n), None) for n in range(count) if n != won]
    told = [f"{number(row.mean)} in bracket {plan.bracket(row.number) + 1}" for row in others if row is not None]
    first = f" before {percent(plan.rungs[won])} of the way" if plan.rungs[won] < 1 else ""
    words = f" Bracket {won + 1} of {count} has found it, which dropped nobody{first}"
    words += f"; the others came to {_named(told).replace(' or ', ' and ')}." if told else "."
    if won:
        words += " The brackets before it drop earlier: what is slow to start may not have outlived that."
    return words


def _told(row: Row, found: Pair) -> str:
    if not math.isfinite(found.low):
        return row.name
    return f"{row.name} (by {number(found.mean)}; 95 %: {number(found.low)} to {number(found.high)})"


def _named(names: Sequence[str]) -> str:
    names = [*names[:MOST_NAMED], *([f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else [])]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


def _learned(summary: Summary) -> Iterator[Verdict]:
    """Who learned nothing, and, where that was measured, how far back each looks."""
    baseline = summary.plan.baseline
    if baseline is None:
        return
    nothing = [row for row in summary.rows if summary.learned(row) is False and not row.failed]
    learned = [row for row in summary.rows if summary.learned(row)]
    if not nothing:
        return
    beside = f"{baseline[0]}, which takes no network, gives {number(baseline[1])}"
    who = _named([f"{row.name} ({number(row.mean)})" for row in nothing]).replace(" or ", " and ")
    words = f"{who} learned nothing: {beside}."
    if learned:
        words += f" {_named([f'{row.name} ({number(row.mean)})' for row in learned]).replace(' or ', ' and ')} learned."
    surely = [row for row in learned if row.known.min() < WELL * baseline[1]]
    words += "".join(" " + sentence for sentence in _why(nothing, surely))
    advice = (
        ""
        if learned
        else "Train longer (`tokens`, `epochs`), with another `lr`, or check that the task can be learned."
    )
    yield Verdict("unlearned", words, {"baseline": baseline[1]}, advice)


def _why(nothing: Sequence[Row], learned: Sequence[Row]) -> Iterator[str]:
    """How far back the inputs lie that a network's outputs answer to, of both kinds."""
    answering = [(row, row.changes) for row in learned if row.changes is not None and furthest(row.changes) is not None]
    strongest = [(row, int(np.nanargmax(changes))) for row, changes in answering]
    if strongest:
        row, at = strongest[0]
        yield f"The outputs of {row.name} answer most to the input {_back(at)}."
    for row in nothing:
        if row.changes is None:
            continue
        back = furthest(row.changes)
        known = row.changes[np.isfinite(row.changes)]
        exact = int(np.flatnonzero(known > 0)[-1]) if (known > 0).any() else 0
        if strongest and exact < strongest[0][1]:
            yield (
                f"Those of {row.name} change with no input more than {_steps(exact)} back: what the task asks for lies "
                "outside of what it sees, and no training mends that."
            )
        elif back is not None and strongest and back < strongest[0][1]:
            yield (
                f"Those of {row.name} hardly change with what lies more than {_steps(back)} back: it has not learned "
                "to look there."
            )


def _back(steps: int) -> str:
    return "at hand" if steps == 0 else f"{_steps(steps)} back"


def _steps(count: int) -> str:
    return f"{count:,} time step{'' if count == 1 else 's'}"


def _cost(summary: Summary) -> Iterator[Verdict]:
    """Time to the same loss, and the loss at equal tokens, where settings differ in that."""
    rows = [row for row in summary.rows if math.isfinite(row.mean) and math.isfinite(row.token_seconds)]
    if len(rows) < 2:
        return
    unit = one(summary.plan.unit)
    quick, slow = min(rows, key=lambda row: row.token_seconds), max(rows, key=lambda row: row.token_seconds)
    words = []
    if slow.token_seconds > 1.1 * quick.token_seconds:
        words.append(
            f"A {unit} takes {number(1e6 * quick.token_seconds)} us with {quick.name} and "
            f"{number(1e6 * slow.token_seconds)} us with {slow.name}."
        )
    times = [(row, float(np.mean(row.reached))) for row in rows if np.isfinite(row.reached).all()]
    if len(times) > 1:
        first, last = min(times, key=lambda pair: pair[1]), max(times, key=lambda pair: pair[1])
        if last[1] > 1.1 * first[1] > 0:
            words.append(
                f"The loss {number(summary.target)} is reached first by {first[0].name}, after {number(first[1])} s of "
                f"training; last by {last[0].name}, after {number(last[1])} s."
            )
    never = [row.name for row in rows if not np.isfinite(row.reached).any()]
    if never:
        words.append(f"{_named(never).replace(' or ', ' and ')} never reached {number(summary.target)}.")
    if not summary.even:
        equal = [(row, float(np.mean(row.equal))) for row in rows if np.isfinite(row.equal).all()]
        if len(equal) > 1:
            first = min(equal, key=lambda pair: pair[1])
            words.append(
                f"After {summary.shared:,.0f} {unit}s, as many as all have read, {first[0].name} has the lowest loss, "
                f"{number(first[1])}."
            )
    if words:
        yield Verdict("cost", " ".join(words), {"target": summary.target})


def _failed(summary: Summary) -> Iterator[Verdict]:
    for row in summary.rows:
        if row.failed:
            count, all_ = len(row.failed), len(row.losses)
            yield Verdict("failed", f"{row.name} failed in {count} of {all_} runs: {row.failed[0]}")
