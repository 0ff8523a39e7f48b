"""A call with arguments that a layer or an optimizer does not take: an error that says what may have been meant.

checked(function)    the same function, which raises OptionError where Python would raise TypeError
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from micrornn.errors import OptionError, instead, quoted

F = TypeVar("F", bound=Callable[..., Any])


def checked(function: F) -> F:
    """The same function or method; called with arguments that it does not take, it raises OptionError."""

    @functools.wraps(function)
    def call(*given: Any, **options: Any) -> Any:
        try:
            return function(*given, **options)
        except TypeError:  # it may come from anywhere inside, so look whether the call is to blame
            wrong = _wrong(function, given, options)
            if wrong is None:
                raise
        raise OptionError(wrong)

    return call  # type: ignore[return-value]


def _wrong(function: Callable[..., Any], given: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """What is wrong with the arguments of a call; None if they are right."""
    try:
        inspect.signature(function).bind(*given, **options)
        return None
    except TypeError:
        pass
    name, takes = function.__name__, dict(inspect.signature(function).parameters)
    if "." in function.__qualname__ and given:  # a method
        kind, given = type(given[0]), given[1:]
        takes = _constructor(kind) if name == "__init__" else dict(list(takes.items())[1:])
        name = kind.__name__ if name == "__init__" else f"{kind.__name__}.{name}"
    places = [p for p in takes.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    shown = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in places]
    usage = f"; write {name}({', '.join(shown)}{', ...' if len(takes) > len(places) else ''})"
    for option in options:
        if option not in takes:
            return f"{name} has no option {quoted(option)}{instead(option, takes, 'it has')}"
    if len(given) > len(places):
        return f"{name} takes {len(places)} without a name at most, and was given {len(given)}{usage}"
    missing = [p.name for p in places[len(given) :] if p.default is p.empty and p.name not in options]
    if missing:
        return f"{name} needs {' and '.join(missing)}{usage}"
    return f"{name}: {', '.join(p.name for p in places[: len(given)] if p.name in options)} is given twice{usage}"


def _constructor(kind: type) -> dict[str, inspect.Parameter]:
    """The parameters of a class's constructor, by name. Where it passes **options on, those of the next class, too."""
    found: dict[str, inspect.Parameter] = {}
    for base in (base for base in kind.__mro__ if "__init__" in vars(base)):
        _, *takes = inspect.signature(vars(base)["__init__"]).parameters.values()
        if not found:
            found = {p.name: p for p in takes if p.kind is not p.VAR_KEYWORD}
        else:  # what has no default was given by the class before
            more = (p.replace(kind=p.KEYWORD_ONLY) for p in takes if p.default is not p.empty)
            found |= {p.name: p for p in more if p.name not in found}
        if not any(p.kind is p.VAR_KEYWORD for p in takes):
            break
    return found
