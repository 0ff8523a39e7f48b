"""Settings as TOML: a flat table, written and read back."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np

from micrornn.errors import quoted

MOST_BYTES = 1 << 20  # of a file of settings; one of ours has some two thousand


MOST_PARTS = 64  # dots outside of texts in one line


def toml_loads(data: bytes) -> dict[str, Any]:
    """The table in a file's bytes, also one with file names that are not Unicode. ValueError says what is wrong."""
    text = data.decode(errors="surrogateescape")
    # The time that Python takes for a key a.a.a... grows with the square of its parts: minutes for a few kilobytes.
    if any(line.count(".") > MOST_PARTS and _dots(line) > MOST_PARTS for line in text.splitlines()):
        raise ValueError("it is nested too deeply")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(str(error).replace("\n", " ")) from None
    except RecursionError:  # [[[[...
        raise ValueError("it is nested too deeply") from None


def _dots(line: str) -> int:
    """How many dots stand in a line of TOML outside of texts and comments."""
    count, quote, escaped = 0, "", False
    for character in line:
        if quote:
            if character == quote and not escaped:
                quote = ""
            escaped = character == "\\" and quote == '"' and not escaped
        elif character in "\"'":
            quote = character
        elif character == "#":
            break
        else:
            count += character == "."
    return count


def toml_dumps(table: Mapping[str, Any]) -> str:
    """A flat table of str, int, float, bool and lists of those as TOML; a None is left out."""
    return "".join(
        f"{key if re.fullmatch('[A-Za-z0-9_-]+', key) else _toml(key)} = {_toml(value)}\n"
        for key, value in table.items()
        if value is not None
    )


def _toml(value: object) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, dict):
        raise TypeError(f"{quoted(value)} has no place in a flat TOML table")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    # All the rest is spelled as in JSON, but that TOML wants DEL escaped, and nothing beyond U+FFFF.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
