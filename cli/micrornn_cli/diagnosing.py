"""`micrornn inspect RUN` without a measure: the diagnosis, and how to see each measure that it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from micrornn.inspect.diagnosis import diagnosis, findings, well
from micrornn.inspect.measure import Measure
from micrornn.inspect.panels import Panel, Rows
from micrornn.inspect.subject import Subject
from micrornn.printable import shell_word
from micrornn_cli.console import out, program
from micrornn_cli.flags import with_flags


def diagnosed(found: Sequence[tuple[Measure, Sequence[Panel]]], subject: Subject, run: str,
              names: Sequence[str]) -> tuple[Measure, list[Panel]]:  # fmt: skip
    """The diagnosis, and a table with a row for each measure: its verdicts, and the command that shows it.

    run    as it was typed
    """
    measures = [measure for measure, _ in found]
    measure = with_flags(diagnosis(measures, subject.about(), subject.model.config.lr))
    said: dict[str, list[str]] = {}
    for one in measures:
        name = next(name for name in (one.what, one.what.partition("_")[0]) if name in names)
        said.setdefault(name, []).extend(verdict.kind for verdict in one.verdicts)
    rows = [
        (name, ", ".join(dict.fromkeys(said[name])) if name in said else "not taken", _see(name, run)) for name in names
    ]
    left = [name for name in names if name not in said]
    note = f"Not taken: {', '.join(left)}. Those that take longer are taken with --all." if left else ""
    return measure, [Rows("Measures", ("measure", "says", "to see it"), rows, note)]


def _see(name: str, run: str) -> str:
    return f"{program()} inspect {name} {shell_word(run)}"


def show(measure: Measure, panels: Sequence[Panel]) -> None:
    """The paragraph, then the table. A row is one line, which the terminal wraps, so that its command can be copied."""
    from micrornn_cli.panels import title, verdicts

    out.print(title(measure))
    out.print(verdicts(measure.verdicts))
    out.print()
    for panel in panels:
        assert isinstance(panel, Rows)
        rows = [panel.columns, *panel.rows]
        widths = [max(len(row[n]) for row in rows) for n in range(2)]
        for n, (name, says, see) in enumerate(rows):
            line = f"{name:<{widths[0]}}  {says:<{widths[1]}}  {see}"
            out.print(Text(line, "dim" if not n else ""), soft_wrap=True)
        out.print(Text(panel.note, "dim"))


def as_object(measure: Measure, panels: Sequence[Panel],
              found: Sequence[tuple[Measure, Sequence[Panel]]]) -> dict[str, Any]:  # fmt: skip
    """For JSON: the verdict, what is wrong, what is well, and each measure's own verdicts."""
    whole, measures = measure.to_dict(), [one for one, _ in found]
    (table,) = panels
    assert isinstance(table, Rows)
    return {
        "what": "diagnosis", "subject": whole["subject"], "verdicts": whole["verdicts"],
        "well": [{"words": words, "measures": names} for words, names in well(measures)],
        "findings": [finding._asdict() for finding in findings(measures)],
        "measures": {one.what: one.to_dict()["verdicts"] for one in measures},
        "see": {row[0]: row[2] for row in table.rows},
    }  # fmt: skip
