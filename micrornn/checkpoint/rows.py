"""JSON lines that survive a kill."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from micrornn.checkpoint.archive import plain
from micrornn.checkpoint.files import not_written, read_file, write_atomically
from micrornn.errors import CheckpointError, named
from micrornn.schema import Rule, check_table


class JsonLines:
    """A file of rows, one JSON object a line, each out of our hands once it is added. Read, truncated or added to
    after a kill, it is whole again but for the row that the kill tore."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row. NaN is written as NaN."""
        line = json.dumps(dict(row), default=plain) + "\n"
        try:
            if self._file is None:
                if os.path.lexists(self.path) and not self._whole():
                    self._write(self.read())  # else the new row would be glued to a torn one
                self._file = open(self.path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115
            self._file.write(line)
        except OSError as error:
            with contextlib.suppress(OSError):  # closed, so that the next row mends what this one tore
                self.close()
            raise not_written(self.path, error) from error

    def read(self) -> list[dict[str, Any]]:
        """All rows, without the last one if a kill tore it; no row if there is no file."""
        if not os.path.lexists(self.path):
            return []
        lines = read_file(self.path).split(b"\n")
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError
                rows.append(row)
            except (ValueError, RecursionError) as error:  # RecursionError: [[[[...
                if number < len(lines):  # the last one has no newline: empty, or torn
                    where = f"{named(self.path)}:{number}"
                    raise CheckpointError(f"{where}: not one JSON object. Remove that line.") from error
        return rows

    def truncate(self, update: int) -> None:
        """Drop the rows whose "update" is greater than `update`."""
        self.close()
        if not os.path.lexists(self.path):
            return
        rows, rule = self.read(), {"update": Rule(int, low=0)}
        for number, row in enumerate(rows, 1):
            check_table(row, rule, f"{named(self.path)}:{number}", CheckpointError)
        kept = [row for row in rows if row["update"] <= update]
        if len(kept) < len(rows) or not self._whole():
            self._write(kept)

    def _whole(self) -> bool:
        """Whether the file ends with a whole line."""
        with open(self.path, "rb") as file:
            file.seek(0, os.SEEK_END)
            if not file.tell():
                return True
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _write(self, rows: list[dict[str, Any]]) -> None:
        write_atomically(self.path, [(json.dumps(row) + "\n").encode() for row in rows])

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
