"""Damaged texts, settings, checkpoints and JSON lines; each with what is known of it: whether it must be refused."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tomllib
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.values import VALUES, changed, damaged
from micrornn.checkpoint import load, save
from micrornn.config import Config

TEXT = "the fox, the dog and the hen: who sings best of the three? " * 12


class Raw(str):
    """A value as TOML writes it."""


RAW = [
    Raw(value)
    for value in (
        "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "0x" + "f" * 9999, "9" * 9999, "[" * 9999, "{a=" * 999,
        "{a" + ".a" * 30_000 + "=1}",
        "inf", "-nan", "1e400", "0b101", "1_000", "''", r'"\u0000"', r'"\ud800"', "[[1], ['x']]", "{a.b.c = 1}",
        "['~nouser/x']", r'["a\u0000b"]', "['/dev/zero']", "['']", "['-']", "['text.txt', 'text.txt']", "['*']",
    )
]  # fmt: skip
META_TYPES: dict[str, tuple[type, ...]] = {
    "task": (str,), "config": (dict,), "vocab": (dict,), "text": (str,), "updates": (int,), "seconds": (int, float),
    "epoch": (int,), "window": (int,), "best_val_loss": (int, float, type(None)), "history": (list,),
    "pending": (dict, type(None)),
}  # fmt: skip


def text(path: Path, rng: Random) -> bool:
    """A damaged text; whether it must be refused."""
    data = damaged((TEXT if rng.random() < 0.7 else TEXT[: rng.randint(0, 60)]).encode(), rng)
    path.write_bytes(data)
    try:
        return not data.decode().removeprefix("\ufeff") or "\0" in data.decode()
    except UnicodeDecodeError:
        return True


def _toml(value: Any) -> str:
    """As TOML has it; what it cannot hold becomes a text."""
    if value is None:
        return "{}"
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float) and not np.isfinite(value):
        return repr(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**300:
        return hex(value)
    return json.dumps(value)


def settings(path: Path, table: dict[str, Any], rng: Random) -> bool:
    """A damaged file of settings; whether it must be refused."""
    lines = {name: f"{name} = {_toml(value)}" for name, value in table.items()}
    how = rng.random()
    if how < 0.6:
        name = "files" if rng.random() < 0.1 else rng.choice(list(lines))
        lines[name] = f"{name} = {_toml(rng.choice(VALUES + RAW))}"
    elif how < 0.7:
        name = rng.choice(["x", '""', "a.b", '"x\\ny"', "Lr", "hidden-size"])
        lines["more"] = f"{name} = {_toml(rng.choice(VALUES))}"
    data = "\n".join(lines.values()).encode()
    path.write_bytes(damaged(data, rng) if how > 0.7 else data)
    return _refused(path.read_bytes())


def _refused(data: bytes) -> bool:
    try:
        table = tomllib.loads(data.decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return True
    defaults: dict[str, Any] = {entry.name: entry.default for entry in dataclasses.fields(Config)} | {
        "task": "",
        "out": "",
    }
    for name, value in table.items():
        if name == "files":
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                return True
            continue
        if name not in defaults:
            return True
        kinds = {float: (float, int), int: (int,)}.get(type(defaults[name]), (type(defaults[name]),))
        written = isinstance(value, str) and name in ("memory_budget", "watch_gradients")
        if not written and type(value) not in kinds:
            return True
    return False


def meta(path: Path, rng: Random) -> bool:
    """A checkpoint with a damaged meta and a hash that fits; whether it must be refused."""
    arrays, held = load(path)
    other = changed(held, rng)
    if not isinstance(other, dict):
        other = {}
    save(path, arrays, other)
    read = load(path)[1]  # JSON makes a list of a tuple
    wrong = (name for name, kinds in META_TYPES.items() if type(read.get(name, ...)) not in kinds)
    return any(name != "pending" or "pending" in read for name in wrong)


def arrays(path: Path, rng: Random) -> bool:
    """A checkpoint with damaged arrays and a hash that fits; whether a model cannot be made of it."""
    held, about = load(path)
    name = rng.choice(list(held))
    array = held[name]
    how = rng.randrange(9)
    if how == 0:
        del held[name]
    elif how == 1:
        held[name] = array[..., :-1] if array.ndim else array
    elif how == 2:
        held[name] = array.astype(rng.choice(["f8", "i4", "u1", "?", "c8", "S3", "U2", ">f4", "f2"]))
    elif how == 3:
        held[name] = array.reshape(-1, 1)
    elif how == 4:
        held[name] = np.zeros(rng.choice([(), (0,), (1,), (1, 1, 1), (10_000,), (0, 3)]), array.dtype)
    elif how == 5:
        held[rng.choice(["x", "", "parameter/x", "optimizer/x", "carried/9", "carried/x", "x" * 9999])] = array
    elif how == 6:
        held[name] = np.full_like(array, rng.choice([np.nan, np.inf, -np.inf, 1e38]))
        save(path, held, about)
        return False
    elif how == 7:
        other = rng.choice(list(held))
        held[name], held[other] = held[other], held[name]
    else:
        held = {}
    before = {key: (a.shape, a.dtype) for key, a in load(path)[0].items() if key.startswith("parameter/")}
    save(path, held, about)
    return before != {key: (a.shape, a.dtype) for key, a in held.items() if key.startswith("parameter/")}


def payload(path: Path, rng: Random) -> bool:
    """A checkpoint whose zip is damaged, with a hash that fits: one bit may be in a number, so it may be good."""
    data = path.read_bytes()
    head, body = data[:22], data[87:]
    how = rng.random()
    if how < 0.5:
        places = [n for n in range(len(body)) if body[n : n + 2] == b"PK"]
        at = rng.choice(places) + rng.randrange(46)
        body = body[:at] + rng.randbytes(rng.randint(1, 4)) + body[at + 4 :]
    elif how < 0.8:
        body = damaged(body, rng)
    else:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(out, "w", rng.choice([0, 8, 12, 14])) as new:
            for entry in old.infolist():
                content = old.read(entry)
                new.writestr(entry.filename, damaged(content, rng) if rng.random() < 0.3 else content)
        body = out.getvalue()
    path.write_bytes(head + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    return False


def lines(path: Path, rng: Random) -> bool:
    """A damaged file of JSON lines; whether it must be refused when it is truncated."""
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    if rng.random() < 0.6:
        at = rng.randrange(len(rows))
        rows[at] = changed(rows[at], rng)
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    else:
        data = damaged(path.read_bytes(), rng)
    path.write_bytes(data)
    for line in data.split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return True
        if not isinstance(row, dict) or type(row.get("update")) is not int or row["update"] < 0:
            return True
    return False
