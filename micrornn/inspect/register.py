"""All measures there are, and what each says of itself: every file of this folder that has one. Nothing knows a measure
by name.

Measuring    what a measure is: how it is taken and drawn, and what the command line says of it
names        of all there are, in the order in which they are shown
about        what a measure says of itself, read without running it: help needs neither NumPy nor Numba
find         the measure itself, or one in a file of one's own: FILE.py:CLASS
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from micrornn.errors import ConfigError, instead, quoted
from micrornn.owncode import OwnCode, is_own_code

if TYPE_CHECKING:
    from micrornn.inspect.measure import Measure
    from micrornn.inspect.panels import Panel
    from micrornn.inspect.subject import Subject
    from micrornn.tasks.material import Sizes

Progress = Callable[[int, int], None]


class Measuring:
    """One line: what is measured.

    Then in some more words. A subclass says what is marked with *; all else is as it stands here.

    order          in the list of all: the small ones come first
    asks           the question that it answers
    title          of its part of a page
    example        what is typed behind the run in an example: settings, as `seq_len=400`
    windows, seq_len, batch_size    how much is looked at unless told otherwise; None: as in training
    quick          whether a diagnosis takes it without being asked for more
    needs          "": any task; "cut": one whose windows are cut out of longer sequences; "text"
    by_part        whether it looks at the layers of one recurrent part: of an encoder and a decoder it is taken twice
    judges         the kinds of verdict (kinds.py) that are well where it does not say them
    measure(...)   * measure(model, windows, progress, **about) -> Measure; with by_part also part=, the part's name.
                   model is called as model.loss(inputs, targets, state) -> (loss, last); its parameters and gradients
                   are left alone. windows are as Subject.windows gives them, all of one size. progress(done, total)
                   hears of each. about is what the Measure says of its subject, such as Subject.about()
    panels(found)  the pictures of what it measured
    """

    name: ClassVar[str] = ""
    order: ClassVar[int] = 99
    asks: ClassVar[str] = ""
    title: ClassVar[str] = ""
    example: ClassVar[str] = ""
    windows: ClassVar[int] = 4
    seq_len: ClassVar[int | None] = None
    batch_size: ClassVar[int | None] = None
    quick: ClassVar[bool] = False
    needs: ClassVar[str] = ""
    by_part: ClassVar[bool] = False
    judges: ClassVar[tuple[str, ...]] = ()

    def measure(self, model: Any, windows: Any, progress: Progress | None = None, **about: Any) -> Measure:
        raise NotImplementedError

    def panels(self, measure: Measure) -> list[Panel]:
        """By default all arrays of one or two axes."""
        from micrornn.inspect.panels import plainly

        return plainly(measure)

    @classmethod
    def why_not(cls, subject: Subject) -> str:
        """Why it means nothing to the task of a run; empty where it does."""
        material = subject.material
        if cls.needs == "text" and material.vocab is None:
            return f"{cls.name} reads a text token by token, and this run's task has none; `inspect flow` reads any"
        if cls.needs == "cut" and not material.cut:
            return (
                f"{cls.name} asks what is cut off at the borders of windows, and this run's task has none: each of its "
                "sequences is gone over as a whole"
            )
        return ""

    def take(self, subject: Subject, sizes: Sizes, progress: Progress | None = None, part: str = "") -> Measure:
        """Measure a subject on windows of these sizes."""
        windows, seq_len, batch_size = (size or 1 for size in sizes)
        pieces = subject.windows(seq_len, windows, batch_size)
        of_part = {"part": part} if part else {}
        return self.measure(subject.model, pieces, progress, **of_part, **subject.about(part))

    def besides(self, subject: Subject) -> Iterator[Measure]:
        """What else is known of the subject and shown with it."""
        return iter(())


BASE = Measuring.__name__
_OWN = OwnCode("measure", Measuring, ConfigError, "micrornn inspect")


@cache
def about(name: str) -> Any:
    """What the class of a measure says of itself, without running it: the attributes of `Measuring`; line and words, of
    its docstring; kind, the name of the class."""
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text("utf-8"))
    (body,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and [ast.unparse(b) for b in n.bases] == [BASE])
    line, _, words = (ast.get_docstring(body) or "").partition("\n")
    facts = {key: getattr(Measuring, key) for key in Measuring.__annotations__}
    for row in body.body:
        if isinstance(row, ast.Assign) and isinstance(row.targets[0], ast.Name) and row.targets[0].id in facts:
            facts[row.targets[0].id] = ast.literal_eval(row.value)
    return SimpleNamespace(**facts | {"name": name, "line": line, "words": " ".join(words.split()), "kind": body.name})


@cache
def names() -> tuple[str, ...]:
    """Of all measures there are, in the order in which they are shown."""
    files = Path(__file__).parent.glob("*.py")
    found = [file.stem for file in files if re.search(rf"^class \w+\({BASE}\):", file.read_text("utf-8"), re.MULTILINE)]
    return tuple(sorted(found, key=lambda name: (about(name).order, name)))


def find(name: str) -> Measuring:
    """The measure of that name, or the one that FILE.py:CLASS names, which somebody has typed. ConfigError if there is
    none."""
    if is_own_code(name):
        path, kind_name, _ = _OWN.find(name)
        kind = _OWN.load(f"{path.resolve()}:{kind_name}")
        if kind.measure is Measuring.measure and kind.take is Measuring.take:
            raise ConfigError(f"{path}: the measure {kind_name} lacks measure")
        kind.name = kind.name or kind.__name__.lower()
        own: Measuring = kind()
        return own
    if name not in names():
        raise ConfigError(f"there is no measure {quoted(name)}{instead(name, [*names(), 'FILE.py:CLASS'])}")
    found: Measuring = getattr(importlib.import_module(f"micrornn.inspect.{name}"), about(name).kind)()
    return found
