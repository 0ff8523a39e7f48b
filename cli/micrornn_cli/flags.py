"""Settings as they are typed. The library writes them as in Python; the command line turns that into flags.

    `hidden_size`      ->  --hidden-size
    `dropout=0.3`      ->  --dropout 0.3

flags(text, own)       a message with its settings as flags
with_flags(measure)    the same for the verdicts of a measure
flag_of(name)          the flag of a setting
typed(values)          what is typed for settings of these values
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Container, Mapping
from typing import Any

from micrornn.config import Config

# A user's own text that a message repeats is in quotation marks, so that it is not changed.
_SETTING = re.compile(r"(?<![\w`'\"])`([a-z][a-z_0-9]*)(?:=([^`]+))?`(?!\w)")


def flags(text: str, own: Container[str] = ()) -> str:
    """A message of the library, with `hidden_size` as --hidden-size and `dropout=0.3` as --dropout 0.3. own: settings
    of one task that are typed as --set echo=3, because the command has no flags for them."""

    def typed_as(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name in own:
            return f"--set {name}" + (f"={value}" if value else "")
        return flag_of(name) + (f" {value}" if value else "")

    return _SETTING.sub(typed_as, text)


def with_flags(measure: Any) -> Any:
    """The measure, with flags in what its verdicts say and advise."""
    told = ("words", "advice", "beside")
    verdicts = (dataclasses.replace(v, **{name: flags(getattr(v, name)) for name in told}) for v in measure.verdicts)
    return dataclasses.replace(measure, verdicts=tuple(verdicts))


def flag_of(name: str) -> str:
    """--hidden-size of hidden_size."""
    return "--" + name.replace("_", "-")


def typed(values: Mapping[str, Any]) -> list[str]:
    """The words to type for settings, by name. Those that only one task has are typed as `--set NAME=VALUE`."""
    words: list[str] = []
    for name, value in values.items():
        text = str(value)
        if isinstance(value, float) and float(f"{value:g}") == value:
            text = f"{value:g}"  # 5, not 5.0
        if name not in Config.__dataclass_fields__:
            words += ["--set", f"{name}={text.lower() if isinstance(value, bool) else text}"]
        elif isinstance(value, bool):
            words.append(flag_of(name) if value else flag_of(f"no_{name}"))
        else:
            words += [flag_of(name), text]
    return words
