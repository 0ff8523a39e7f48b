"""What is read back is checked before it is used; and no message repeats more than a part of a line."""

from __future__ import annotations

import dataclasses
import math

import pytest

from micrornn.config import Config, setting
from micrornn.errors import CheckpointError, ConfigError, named, quoted
from micrornn.schema import Rule, check_table

DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]

REFUSED = [
    (Rule(int), True, "must be a whole number, not True"),
    (Rule(int), 1.0, "must be a whole number, not 1.0"),
    (Rule(int, low=0), -1, "is -1; it must be 0 or more"),
    (Rule(int, high=9), 10**5000, "it must be at most 9"),
    (Rule(float), "1", "must be a number, not '1'"),
    (Rule(float), math.nan, "is nan; it must be a finite number"),
    (Rule(float, finite=True), 10**400, "is inf; it must be a finite number"),
    (Rule(float, above=0, below=1), 1, "is 1.0; it must be above 0, below 1"),
    (Rule(str, choices=("a", "b")), "c", "there is no 'c'; choose one of a, b"),
    (Rule(str, most=3), "four", "has 4 characters; it may have at most 3"),
    (Rule(list, most=1), [1, 2], "has 2 items; it may have at most 1"),
    (Rule(list, items=Rule(int)), [1, "x"], "name[1] must be a whole number, not 'x'"),
    (Rule(dict, items=Rule(str)), {"a": None}, "name['a'] must be a text, not None"),
    (Rule(list), None, "must be a list, not None"),
    (Rule(bool), DEEP, "must be true or false, not [[[["),
]


@pytest.mark.parametrize("rule, value, words", REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_a_rule_refuses(rule, value, words):
    with pytest.raises(CheckpointError) as caught:
        rule.check(value, "name", CheckpointError)
    assert words in str(caught.value) and len(str(caught.value)) < 200


def test_what_a_rule_takes():
    assert Rule(float, items=None).check(3, "x", ConfigError) == 3.0
    assert Rule(int, none=True).check(None, "x", ConfigError) is None
    assert Rule(list, items=Rule(float)).check([1, 2.5], "x", ConfigError) == [1.0, 2.5]


def test_a_table():
    rules = {"a": Rule(int), "b": Rule(str, optional=True)}
    assert check_table({"a": 1, "more": DEEP}, rules, "here", CheckpointError)["a"] == 1
    for values, words in [({"b": "x"}, "here: a is missing"), (None, "here must be a table"), ([("a", 1)], "a table")]:
        with pytest.raises(CheckpointError, match=words):
            check_table(values, rules, "here", CheckpointError)


LONG = ["x" * 10_000, "\x1b]0;title\x07" * 99, -(10**4000), 16**9999, DEEP, {"k": ["v" * 999] * 99}, object(), 0.1]


@pytest.mark.parametrize("number", range(len(LONG)))
def test_no_value_is_repeated_whole(number):
    text = quoted(LONG[number])
    assert len(text) <= 80 and text.isprintable()
    assert len(named("/folder" * 999 + "/end")) < 240 and named("/folder" * 999 + "/end").endswith("/end")


SETTINGS = {
    "number": {"lr": "9" * 9999},
    "digits": {"seed": 16**9999},
    "name": {"x" * 9999: 1},
    "choice": {"level": "y" * 9999},
    "deep": {"epochs": DEEP},
    "size": {"memory_budget": "1" * 9999 + "XB"},
    "float": {"lr": 16**9999},
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_long_setting_is_told_in_a_line(case):
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(SETTINGS[case])
    assert len(str(caught.value)) < 250


@dataclasses.dataclass(frozen=True)
class Made(Config):
    """Settings as a task may add them."""

    capped: int = setting(5, "With a bound that nobody comes near.", low=2, cap=10**12)
    bounded: float = setting(0.5, "With a bound to know.", above=0, high=4)
    least: int = setting(0, "None is told by the words. 0: none.", low=0, cap=10**12)


def test_help_tells_a_range_and_not_a_cap() -> None:
    from micrornn_cli.options import flag

    rows = {entry.name: flag(entry)[1]["help"] for entry in dataclasses.fields(Made)}
    assert rows["capped"].endswith("[5; 2 or more]")
    assert rows["bounded"].endswith("[0.5; above 0, at most 4]")
    assert rows["least"].endswith("[0]")
    assert not [name for name, told in rows.items() if "e+" in told]


@pytest.mark.parametrize("name, value", [("capped", 10**12 + 1), ("capped", 1), ("bounded", 4.5), ("least", -1)])
def test_a_cap_is_a_bound_all_the_same(name: str, value: float) -> None:
    assert getattr(Made(**{name: 3}), name) == 3
    with pytest.raises(ConfigError, match=f"`{name}` is .*; it must be"):
        Made(**{name: value})
