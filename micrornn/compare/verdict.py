"""What a comparison says in words: which setting is best, from what it can be told, what that cost, and who learned.

verdicts(summary)    a sentence or two each; no more than the numbers allow
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from micrornn.compare.reach import furthest
from micrornn.compare.statistics import Pair
from micrornn.compare.summary import EVEN, LEARNED, Row, Summary, one
from micrornn.config import is_window
from micrornn.errors import counted
from micrornn.inspect.measure import Verdict
from micrornn.inspect.words import number, percent

MOST_NAMED = 4
WELL = 0.5  # of the baseline's loss: who has won as much knows where the answer lies, and is asked
LITTLE = 0.01, 0.001  # of the worse loss, of the baseline's: who is ahead by less is "a little better"


def verdicts(summary: Summary) -> tuple[Verdict, ...]:
    """In the order in which they matter."""
    if summary.best is None:
        failed = all(row.failed for row in summary.rows)
        words = "A run of every setting failed." if failed else "No setting has a loss yet."
        return (Verdict("unsure", words), *_failed(summary))
    if summary.plan.rungs:
        return (*_found(summary, summary.best), *_failed(summary))
    first, *others = _best(summary, summary.best)
    if (amounts := _amounts(summary, summary.best)) is not None:
        words, advice = amounts
        start = "Besides," if first.kind == "unsure" else "But"
        first = replace(first, words=f"{first.words} {start} {words}", advice=f"{first.advice} {advice}".strip())
    return (first, *others, *_learned(summary), *_cost(summary), *_failed(summary))


def _best(summary: Summary, best: Row) -> Iterator[Verdict]:
    """What can be told of the best beside the others."""
    others = [row for row in summary.rows if row is not best and math.isfinite(row.mean)]
    pairs = [(row, found) for row in others if (found := summary.pair(row, best)) is not None]
    same = [best.name, *(row.name for row, found in pairs if found.same)]
    lowest = "the lowest loss" + ("" if summary.held_out else " in training, for nothing is held out")
    lowest += ", the same to the last digit" if len(same) > 1 else ""
    head = f"{_named(same)} {_were(same, 'has', 'have')} {lowest}, {number(best.mean)}{_unit(summary)}"
    seeds, numbers = best.known.size, {"best": best.mean, "seeds": best.known.size}
    if not others:
        yield Verdict("unsure", f"{head}, but alone: the others have none yet, or a run that failed.")
    elif summary.over < summary.runs:
        runs = counted(summary.runs, "run")
        words = f"{summary.over} of {runs} are at their end. So far {head}; what can be told apart is told"
        yield Verdict("unsure", f"{words} when all are.", numbers)
    elif seeds < 2:
        yield Verdict(
            "unsure", f"{head}, of one seed: another seed may say otherwise, and how much seeds differ is not known.",
            numbers, "Train with more of them: `seeds=3`, or 5 where settings are close.",
        )  # fmt: skip
    else:
        yield from _apart(summary, pairs, same, f"{head}, the mean of {seeds} seeds.", numbers)


def _apart(summary: Summary, pairs: Sequence[tuple[Row, Pair]], same: Sequence[str], head: str,
           numbers: dict[str, float]) -> Iterator[Verdict]:  # fmt: skip
    """What can be told of the best, or of those that are all the `same`, beside each other setting."""
    apart = [_told(summary, *pair) for pair in pairs if pair[1].apart]
    better, little = ([words for words, small in apart if small == is_small] for is_small in (False, True))
    told = [f"{how} than {_named(rows)}" for how, rows in (("better", better), ("a little better", little)) if rows]
    if told:
        yield Verdict("apart", f"{head} {_were(same, 'It is', 'They are')} {', and '.join(told)}.", numbers)
    if len(same) > 1:
        yield Verdict("alike", f"{_named(same)} have the same losses, to the last digit." if told else head)
    unsure = [(row, found) for row, found in pairs if not found.apart and not found.same]
    if unsure:
        start = _were(same, "It", "They") if told or len(same) > 1 else f"{head} But it"
        each, these = _were(unsure, "a difference", "differences"), _were(unsure, "this one is", "these are")
        words = (
            f"{start} cannot be told from {_named([row.name for row, _ in unsure], 'or')}: with "
            f"{counted(numbers['seeds'], 'seed')} that vary as these do, only {each} of "
            f"{_named([number(found.smallest) for _, found in unsure])} or more could be told, and {these} "
            f"{_named([number(found.mean) for _, found in unsure])}."
        )
        more, hopeless = f"`seeds={max(5, 2 * numbers['seeds'])}`", _hopeless(summary, [found for _, found in unsure])
        advice = f"Look closer, with more seeds ({more}) or longer training; or let costs decide."
        yield Verdict(
            "unsure", words + hopeless, {"smallest": min(found.smallest for _, found in unsure)},
            f"Take more seeds: {more}." if hopeless else advice,
        )  # fmt: skip


def _hopeless(summary: Summary, unsure: Sequence[Pair]) -> str:
    """Where what these seeds could tell is more than anybody can learn: from what takes no network down to 0."""
    name, lowest = summary.plan.baseline or ("", 0.0)
    beyond = [number(found.smallest) for found in unsure if found.smallest > lowest]
    if lowest <= 0 or not beyond or any(row.mean < 0 for row in summary.rows):  # losses below 0 have no such end
        return ""
    return (
        f" And {_named(beyond)} {_were(beyond, 'is', 'are')} more than all there is to learn, from {number(lowest)} "
        f"({name}) to 0: so few seeds could not have told."
    )


def _amounts(summary: Summary, best: Row) -> tuple[str, str] | None:
    """Where settings have read different amounts of data: who read how many, what holds of as many, and what to do so
    that all read as many. None where they have read the same, or are not at their end."""
    rows = [row for row in summary.rows if math.isfinite(row.mean)]
    rows.sort(key=lambda row: -row.tokens)
    if len(rows) < 2 or summary.over < summary.runs or rows[0].tokens <= EVEN * rows[-1].tokens:
        return None
    unit = f"{one(summary.plan.unit)}s"
    told = [f"{row.tokens:,.0f} {unit} with {row.name}" for row in rows]
    told = told if len(told) <= MOST_NAMED else [told[0], told[-1]]
    words = f"they have read different amounts: {'' if len(told) == len(rows) else 'from '}"
    words += f"{_named(told) if len(told) == len(rows) else ' to '.join(told)}. "
    words += _at_equal(summary, best, [row for row in summary.rows if row is not best and math.isfinite(row.mean)])
    return words, f"To compare after as many {unit} each: `tokens={rows[0].tokens:.0f}` in place of other limits."


def _at_equal(summary: Summary, best: Row, others: Sequence[Row]) -> str:
    """How the best stands beside each other setting after as many tokens as all have read."""
    unit = f"{one(summary.plan.unit)}s"
    start = f"After {summary.shared:,.0f} {unit} each"
    late = [row.name for row in (best, *others) if not np.isfinite(row.equal).all()]
    known = "validation" if summary.held_out else "loss"
    without = f"{_named(late)} had no {known} by then" if late else ""
    others = [row for row in others if row.name not in late]
    if best.name in late or not others:
        return f"How they stand after {summary.shared:,.0f} {unit} each is not known: {without}."
    without = f"; {without}" if late else ""
    if len(summary.plan.seeds) < 2:
        first = min((best, *others), key=lambda row: row.equal[0])
        return f"{start}, {first.name} has the lowest loss, {number(first.equal[0])}{without}."
    kinds: dict[str, list[str]] = {"is better than": [], "is worse than": [], "cannot be told from": []}
    for row in others:
        equal = summary.equal_pair(row, best)
        how = ("is worse than" if equal.mean < 0 else "is better than") if equal.apart else "cannot be told from"
        kinds[how].append(f"{row.name} ({number(float(row.equal.mean()))})")
    parts = [
        f"{how} {_named(rows, 'or' if how.startswith('cannot') else 'and')}" for how, rows in kinds.items() if rows
    ]
    all_apart = all((found := summary.pair(row, best)) is not None and found.apart for row in others)
    how = " it is the other way round:" if len(kinds["is worse than"]) == len(others) else ""
    how = " it is the same:" if all_apart and len(kinds["is better than"]) == len(others) else how
    return f"{start},{how} {best.name} ({number(float(best.equal.mean()))}) {_named(parts)}{without}."


def _told(summary: Summary, row: Row, found: Pair) -> tuple[str, bool]:
    """A setting that is apart from the best, by how much, and whether that is little. A share of a loss that may be
    below zero says nothing."""
    name, lowest = summary.plan.baseline or ("", 0.0)
    share, part = (found.mean / whole if whole > 0 else math.inf for whole in (row.mean, lowest))
    size = f", {percent(share)} of its loss" if math.isfinite(share) else ""
    if part < LITTLE[1] and share >= LITTLE[0]:  # both are nearly at zero
        size = f", {percent(part)} of the {number(lowest)} {name}"
    ends = f"95 %: {number(found.low)} to {number(found.high)}"
    return f"{row.name} (by {number(found.mean)}{size}; {ends})", share < LITTLE[0] or part < LITTLE[1]


def _unit(summary: Summary) -> str:
    return f" {summary.plan.loss}" if summary.plan.loss else ""


def _found(summary: Summary, best: Row) -> Iterator[Verdict]:
    """The best of a search, and what is near to it."""
    count, settings = len(summary.plan.seeds), len(summary.rows)
    ends = [row for row in summary.rows if math.isfinite(row.mean) and row.updates >= best.updates]
    words = (
        f"Of {counted(settings, 'setting')}, {best.name} has the lowest loss, {number(best.mean)}{_unit(summary)}"
        f"{f', of the {len(ends):,} that {_were(ends)} trained furthest' if settings > 1 else ''}."
    )
    if summary.over < summary.runs:
        words = f"The search is not at its end. {words}"
    if len(ends) > 1:
        words += f" Behind it: {_with_loss(ends[1:])}."
    words += _of_brackets(summary, best, ends)
    seeds = "one seed" if count == 1 else f"{count} seeds"
    lucky = ", and the best of many is partly the luckiest" if settings > 1 else "; there was no other to draw"
    yield Verdict(
        "unsure", f"{words} That is of {seeds}{lucky}.", {"best": best.mean},
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
    words += f"; the others came to {_named(told)}." if told else "."
    if won:
        words += " The brackets before it drop earlier: what is slow to start may not have outlived that."
    return words


def _named(names: Sequence[str], word: str = "and") -> str:
    names = [*names[:MOST_NAMED], *([f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else [])]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" {word} " + names[-1]


def _with_loss(rows: Sequence[Row]) -> str:
    return _named([f"{row.name} ({number(row.mean)})" for row in rows])


def _learned(summary: Summary) -> Iterator[Verdict]:
    """Who does no better than what takes no network, and, where that was measured, how far back each looks."""
    if summary.plan.baseline is None:
        return
    name, loss = summary.plan.baseline
    nothing = [row for row in summary.rows if summary.learned(row) == 0 and not row.failed]
    learned = [row for row in summary.rows if summary.learned(row) and not row.failed]
    if not nothing:
        return
    told = []
    for below, how in ((True, "within 2 % of"), (False, "no better than")):
        rows = [row for row in nothing if (row.mean < loss) == below]
        who = [f"{row.name} ({number(row.mean)}{_down(row)})" for row in rows]
        if who:
            told.append(f"{_named(who)} {_were(who, 'is', 'are')} {how} what takes no network: {name} {number(loss)}.")
    if learned:
        shares = [(row, round((summary.learned(row) or 0) * row.known.size), row.known.size) for row in learned]
        parts = [
            f"{row.name} ({number(row.mean)}{f', in {won} of {seeds} seeds' if won < seeds else ''})"
            for row, won, seeds in shares
        ]
        told.append(f"{_named(parts)} {_were(learned, 'does', 'do')} better.")
    half = loss - (1 - WELL) * abs(loss)
    told += _why(summary, nothing, [row for row in learned if row.known.min() < half])
    longer = "Train longer (`tokens`, `epochs`), with another `lr`, or check that the task can be learned."
    yield Verdict("unlearned", " ".join(told), {"baseline": loss}, "" if learned else longer)


def _down(row: Row) -> str:
    return f", down from {number(row.first)}" if row.first - row.mean > LEARNED * abs(row.first) else ""


def _were(rows: Sequence[Any], one: str = "was", many: str = "were") -> str:
    return one if len(rows) == 1 else many


def _why(summary: Summary, nothing: Sequence[Row], learned: Sequence[Row]) -> Iterator[str]:
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
        exact = int(np.flatnonzero(row.changes > 0).max(initial=0))
        cell = summary.plan.config(summary.plan.variants[row.number], summary.plan.seeds[0]).cell
        if strongest and exact < strongest[0][1] and is_window(cell):  # of others, what is too small for a float32
            yield (
                f"Those of {row.name} change with no input more than {counted(exact, 'time step')} back: what the task "
                "asks for lies outside of what it sees, and no training mends that."
            )
        elif back is not None and strongest and back < strongest[0][1]:
            yield (
                f"Those of {row.name} hardly change with what lies more than {counted(back, 'time step')} back: it has "
                "not learned to look there."
            )


def _back(steps: int) -> str:
    return "at hand" if steps == 0 else f"{counted(steps, 'time step')} back"


def _cost(summary: Summary) -> Iterator[Verdict]:
    """Time of a token and to the same loss, where settings differ in that."""
    rows = [row for row in summary.rows if math.isfinite(row.mean) and math.isfinite(row.token_seconds)]
    if len(rows) < 2:
        return
    unit = one(summary.plan.unit)
    quick, slow = min(rows, key=lambda row: row.token_seconds), max(rows, key=lambda row: row.token_seconds)
    words = []
    if _slower(slow.times, quick.times):
        words.append(
            f"A {unit} takes {number(1e6 * quick.token_seconds)} us with {quick.name} and "
            f"{number(1e6 * slow.token_seconds)} us with {slow.name}."
        )
    there = sorted((row for row in rows if np.isfinite(row.reached).all()), key=lambda row: float(row.reached.mean()))
    if len(there) > 1 and _slower(there[-1].reached, there[0].reached):
        who = " on average, of those that reach it with every seed," if len(summary.plan.seeds) > 1 else ""
        words.append(
            f"The loss {number(summary.target)} is reached first{who} by {there[0].name}, within "
            f"{number(float(there[0].reached.mean()))} s of training; last by {there[-1].name}, within "
            f"{number(float(there[-1].reached.mean()))} s."
        )
    never = [row.name for row in rows if not np.isfinite(row.reached).any()]
    if never:
        words.append(f"{_named(never)} did not reach {number(summary.target)}.")
    if words:
        yield Verdict("cost", " ".join(words), {"target": summary.target})


def _slower(slow: np.ndarray, quick: np.ndarray) -> bool:
    """Whether seconds of one setting are more than those of another, whatever else the machine did: with each seed by a
    quarter, and by half where one or two seeds hardly tell how much they vary."""
    slow, quick = slow[np.isfinite(slow)], quick[np.isfinite(quick)]
    return bool(slow.min() > (1.25 if min(len(slow), len(quick)) > 2 else 1.5) * quick.max())


def _failed(summary: Summary) -> Iterator[Verdict]:
    for row in summary.rows:
        if row.failed:
            count, all_ = len(row.failed), len(row.losses)
            yield Verdict("failed", f"{row.name} failed in {count} of {counted(all_, 'run')}: {row.failed[0]}")
