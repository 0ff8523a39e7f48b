"""Tables of numbers: what is read of them, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from micrornn.data.dates import falls_at, is_date
from micrornn.data.rows import BadRows
from micrornn.data.table import Form, Table, delimiter_of, read_table
from micrornn.errors import ConfigError, DataError


def table(folder: Path, *texts: str | bytes, skip: bool = False, **options: object) -> Table:
    paths = [folder / f"t{n}.csv" for n in range(1, len(texts) + 1)]
    for path, text in zip(paths, texts):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    form = Form(**{name: options.pop(name) for name in Form._fields if name in options})  # type: ignore[arg-type]
    return read_table(paths, BadRows(skip), form=form, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text, options, names, values",
    [
        ("day,a,b\n2020-01,1,2\n2020-02,3,4\n", {}, "day a b", [[1, 2], [3, 4]]),
        ("2020-01;1;2\n2020-02;3;4", {}, "", [[1, 2], [3, 4]]),
        ("# a note\n\nday\ta\tb\r\nx\t1\t2\r\n# one more\r\ny\t3\t4\r\n", {}, "day a b", [[1, 2], [3, 4]]),
        ("  1958 1.5   2\n  1959 3 -4e0\n", {}, "", [[1.5, 2], [3, -4]]),
        ('"day, or so","a","b"\n"1 ""Jan""\n1920",1,2\nx,3,4\n', {}, "day, or so|a|b", [[1, 2], [3, 4]]),
        ("1.1.2020;1,5;2\n2.1.2020;3;4,25\n", {"decimal": ","}, "", [[1.5, 2], [3, 4.25]]),
        ("day|a|b\nx|1|2\n", {"delimiter": "|"}, "day a b", [[1, 2]]),
        ("day,a,b\n1,1,2\n", {"header": False, "skip": True}, "", [[1, 2]]),
        ("\ufeffd,a,b\n\u0661,1,2\n".encode("utf-16"), {"encoding": "utf-16"}, "d a b", [[1, 2]]),
    ],
)
def test_what_is_read(text: str | bytes, options: dict, names: str, values: list, tmp_path: Path) -> None:
    found = table(tmp_path, text, **options)
    assert found.names == tuple(names.split("|") if "|" in names else names.split())
    np.testing.assert_array_equal(found.numbers([1, 2])[0], values)


def test_several_files_are_one_table_and_each_row_knows_its_place(tmp_path: Path) -> None:
    found = table(tmp_path, "d,a\n1,2\n", "d,a\n# no\n2,3\n")
    assert [(path.name, line) for path, line in found.where] == [("t1.csv", 2), ("t2.csv", 3)]
    assert found.find("a", "target") == found.find("2", "target") == 1 and found.name(1) == "a"


CO2_LIKE = "Date,Mean,Trend\n2020-01,411.5,410.0,3,0.2\n2020-02,412.25,410.1,4,0.1\n"


def test_a_header_that_names_too_few_columns_is_told_and_positions_will_do(tmp_path: Path) -> None:
    found = table(tmp_path, CO2_LIKE)
    with pytest.raises(DataError) as told:
        found.find("Mean", "target")
    assert "t1.csv:1: the header names 3 columns, and the rows hold 5 cells" in str(told.value)
    assert "choose columns by position from 1, as in `target=3`; the first row is 2020-01, 411.5" in str(told.value)
    np.testing.assert_array_equal(found.numbers([found.find("2", "target")])[0][:, 0], [411.5, 412.25])


@pytest.mark.parametrize(
    "text, options, words",
    [
        ("d,a,b\n1,2,3\n2,3\n3,4,5\n", {}, r"t1.csv:3: 2 cells, where the header names 3\n.*`skip_bad_rows`"),
        ("1;2\n2;3\n3;4;5\n", {}, "t1.csv:3: 3 cells, where most rows hold 2"),
        ("d,a\n1,2\n2,two\n", {}, "t1.csv:3: a is 'two', wanted a number"),
        ("1;2,5\n2;3,5\n", {}, r"column 2 is '2,5', wanted a number \(a decimal comma\? `decimal=,`\)"),
        ("d,a\n1,2\n2,\n", {}, "t1.csv:3: a is missing; `missing=skip` leaves such rows out, `missing=previous`"),
        ("d,a\n1,2\n2,-99.990\n", {"missing": ["-99.99"]}, r"a is missing \(-99.990\)"),
        ("d,a\n1,2\n2,1_0\n", {}, "'1_0', wanted a number"),
        ("d,a\n1,2\n2,inf\n", {}, "'inf', wanted a number"),
        ("d,a\n", {}, "t1.csv holds the names of columns, and no row"),
        ("# a\n\n", {}, "t1.csv holds no row"),
        ("", {}, r"the text is empty \(.*t1.csv\)"),
        ('d,a\n1,"2\n2,3\n', {}, "t1.csv:2: a quote is opened and not closed"),
        ("d,a\n1,2\n", {"find": "c"}, r"`target`: there is no column 'c'; the table has 1 d, 2 a"),
        ("1,2\n", {"find": "0"}, r"`target`: there is no column '0'; the table has 1 to 2: 1, 2"),
        ("a,a\n1,2\n", {"find": "a"}, "two columns are named 'a'; choose by position"),
        ("d,\u00e4\n1,2\n".encode() + "d\u00e9j\u00e0,3\n".encode("latin-1") * 9, {}, "is not UTF-8"),
        ("d,\u00e4\n1,2\n".encode() * 50 + b"\xe9,3\n", {}, "is UTF-8 but for 1 byte that is not: .*line 101"),
    ],
)
def test_what_is_refused(text: str | bytes, options: dict, words: str, tmp_path: Path) -> None:
    wanted = options.pop("find", None)
    with pytest.raises(DataError, match=words) as told:
        found = table(tmp_path, text, **options)
        found.numbers([1]) if wanted is None else found.find(wanted, "target")
    assert len(str(told.value).splitlines()) <= 2


def test_files_of_different_columns_and_unknown_delimiters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t2.csv has other columns than .*t1.csv: d, b"):
        table(tmp_path, "d,a\n1,2\n", "d,b\n1,2\n")
    with pytest.raises(ConfigError, match="`delimiter` is 'colon'; it must be auto, tab"):
        delimiter_of("colon")


def test_bad_rows_are_counted_and_missing_numbers_replaced(tmp_path: Path) -> None:
    text = "d,a,b\n1,2,x\n2,,y\n3,4\n4,many,z\n5,6,z\n"
    found = table(tmp_path, text, skip=True, absent="previous")
    values, kept = found.numbers([1])
    assert values[:, 0].tolist() == [2, 2, 6] and [found.where[n][1] for n in kept] == [2, 3, 6]
    told = found.bad.told()["left out"]
    assert told.startswith("2; ") and "t1.csv:4: 2 cells" in told and "t1.csv:5: a is 'many'" in told
    assert table(tmp_path, text, skip=True, absent="skip").numbers([1])[0][:, 0].tolist() == [2, 6]
    with pytest.raises(DataError, match=r"t1.csv:2: a is missing .NA., and there is no row before it"):
        table(tmp_path, "d,a\n1,NA\n2,3\n", absent="previous").numbers([1])


@pytest.mark.parametrize(
    "cells, found",
    [
        (["2020-01", "2020-02", "2021-01-05"], None),
        (["2020-01", "2020-03", "2020-02"], (2, "2020-02 comes after 2020-03")),
        (["31.12.2019", "01.01.2020", "1.1.2020"], (2, "1.1.2020 comes twice")),
        (["12/31/2019", "1/1/2020", "2/1/2020"], None),
        (["2020-01-01 23:59", "2020-01-02T00:00:01.5Z", "2020-01-02T00:00:01.25Z"],
         (2, "2020-01-02T00:00:01.25Z comes after 2020-01-02T00:00:01.5Z")),
        (["1958.5", "1959"], None),
        (["2020-01", "soon"], (1, "soon is no date")),
    ],
)  # fmt: skip
def test_dates_rise(cells: list[str], found: tuple[int, str] | None) -> None:
    assert falls_at(cells) == found


def test_what_is_a_date_and_a_number() -> None:
    assert [is_date(cell) for cell in ("1749-01", "2020-13", "1.2.2020", "a", "2020")] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert Form().number("-01") == -1 and Form().number("N/A") is Form(missing=["9.99"]).number("9.990") is None
