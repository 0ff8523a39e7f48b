"""Values that are wrong somewhere, and ways to damage bytes. All from a random.Random: a case can be repeated."""

from __future__ import annotations

from random import Random
from typing import Any


def deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


# What JSON and TOML can hold, and somewhere should not.
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 7, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 0.0, -0.0, 0.5, -1.5, 1e308,
    1e-320, float("inf"), float("-inf"), float("nan"), "", " ", "x", "0", "-1", "nan", "12", "x" * 10_000, "é",
    "\U0001f600", "\x1b]0;title\x07", "\x00", "a\x00b", "../..", "~nouser/x", "/dev/zero", "/dev/null", "lstm",
    "char", "word", "text", [], [1], ["x"], [None], [[]], [[["x"]]], ["x"] * 2000, [1.5, "x"], {}, {"x": 1},
    {"kind": "char"}, {"": {}}, deep(50),
]  # fmt: skip

# What a shell can hand over.
WORDS = [
    "", " ", "-", "--", "-1", "0", "1", "2", "0.5", "-0.0", "nan", "inf", "-inf", "1e999", "1e-999", "1_0", "+5",
    "0x10", "１２", "9" * 30, "9" * 400, "9" * 5000, "x" * 10_000, "true", "None", "[[[[", "a=b", "every=", "every=3",
    "every=-1", "500MB", "1e9GB", "0B", "adam", "adam:", "adam:beta1=", "adam:beta1=nan", "adam:beta1=0.5,",
    "sgd:x=1", "momentum:mu=1", ":", "+", "constant+", "warmup:0", "warmup:inf", "warmup:3+warmup:3", "step:0:1",
    "step:5:0.5", "cosine:2", "exponential:1e-300:0.5", "char", "word", "lstm", "cuda", "cpu", "é", "\U0001f600",
    "\x1b[2J", "\udcff", "..", ".", "/", "/dev/null", "/dev/zero", "~nouser", "no such thing", "*", "[", "**", "%s",
    "{}", "$HOME", "a\nb",
]  # fmt: skip

SNIPPETS = [
    b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80",
    b"\r\n", b"\r", b"\x1b[2J", b"\xc2\x9b", b"\xe2\x80\xae", b"e\xcc\x81" * 9, b" " * 500, b"\n" * 500, b"x" * 3000,
    b"\x85", b"\xe3\x81\x82" * 50, b"[" * 4000, b"{" * 4000, b'"' * 99, b"=" * 99, b"\\u0000", b"#", b"9" * 5000,
    b"1e999", b"NaN", b"-Infinity", b"null", b"'''", b"a.b.c=1\n",
]  # fmt: skip


def damaged(data: bytes, rng: Random) -> bytes:
    """The bytes with one to four things done to them."""
    for _ in range(rng.randint(1, 4)):
        a, b = sorted(rng.randint(0, len(data)) for _ in range(2))
        how = rng.randrange(7)
        if how == 0 and data:  # one bit
            at = rng.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        elif how == 1:
            data = data[:a]
        elif how == 2:
            data = data[:a] + data[b:]
        elif how == 3:
            data = data[:a] + rng.choice(SNIPPETS) + data[a:]
        elif how == 4:
            data = data[:a] + rng.choice(SNIPPETS) + data[b:]
        elif how == 5:
            data = data[:b] + data[a : min(b, a + 2000)] + data[b:]
        else:
            data = data[:a] + rng.randbytes(rng.randint(1, 20)) + data[a:]
    return data


def changed(value: Any, rng: Random) -> Any:
    """A JSON value with one thing in it replaced, taken away or added, at any depth."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        how = rng.random()
        if how < 0.2:
            return {name: inner for name, inner in value.items() if name != key}
        if how < 0.3:
            return value | {rng.choice(["x", "", "x" * 5000, "\x1b[2J"]): rng.choice(VALUES)}
        return value | {key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], changed(value[at], rng), *value[at + 1 :]]
    return rng.choice(VALUES)
