from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from colonnade.base.errors import UsageError
from colonnade.data.cells import (
    DTYPES,
    logical,
    misread,
    read_column,
    read_text,
    readable_as,
    reading,
)

NOON = datetime(2013, 1, 31, 12, 0, tzinfo=UTC)


def read(kind: str, *texts: str | None) -> list:
    frame = pl.DataFrame({"cell": texts}, schema={"cell": pl.String})
    return frame.select(read_text(pl.col("cell"), kind))["cell"].to_list()


def test_a_text_is_an_integer_only_as_it_is_written():
    assert read("integer", "7", "-7", "+7", "007", "9223372036854775807") == [
        7,
        -7,
        7,
        7,
        2**63 - 1,
    ]


@pytest.mark.parametrize(
    "text", ["7.0", "2.75", " 7", "7 ", "", "1e3", "0x10", "1_000", "1,000", "9223372036854775808"]
)
def test_a_text_that_would_have_to_be_rounded_or_cut_is_no_integer(text):
    assert read("integer", text) == [None]


def test_a_text_is_a_number_in_every_plain_notation():
    assert read("number", "7", "2.75", "-.5", "1e3", "+1.5E-2") == [7.0, 2.75, -0.5, 1000.0, 0.015]


@pytest.mark.parametrize(
    "text", ["NaN", "nan", "inf", "-inf", "Infinity", "1e400", "1,5", "1e", " 1", "", "0x1p3"]
)
def test_what_is_not_finite_or_not_plain_is_no_number(text):
    assert read("number", text) == [None]


def test_a_text_is_a_flag_as_a_word_or_a_digit():
    assert read("boolean", "true", "FALSE", "True", "1", "0") == [True, False, True, True, False]
    assert read("boolean", "yes", "t", "2", "1.0", "") == [None] * 5


def test_a_text_is_a_date_only_in_full():
    assert read("date", "2013-01-31") == [date(2013, 1, 31)]
    wrong = ["2013-1-5", "13-01-01", "2013-02-30", "20130131", " 2013-01-31", "2013-01-31T00:00"]
    assert read("date", *wrong) == [None] * len(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "2013-01-31T12:00:00",
        "2013-01-31 12:00:00",
        "2013-01-31T12:00:00Z",
        "2013-01-31 12:00:00Z",
        "2013-01-31T12:00",
        "2013-01-31 12:00Z",
        "2013-01-31T13:00:00+01:00",
        "2013-01-31T13:00:00.000000+0100",
        "2013-01-31T13:00+01:00",
        "2013-01-31 05:30:00.000-06:30",
        "2013-01-31T12:00:00.000000000",
    ],
)
def test_a_time_may_have_a_t_or_a_space_and_an_offset_or_none(text):
    assert read("timestamp", text) == [NOON]


def test_a_time_keeps_its_microseconds():
    assert read("timestamp", "2013-01-31T12:00:00.5") == [NOON.replace(microsecond=500_000)]
    assert read("timestamp", "2013-01-31 12:00:00.123456Z") == [NOON.replace(microsecond=123_456)]


@pytest.mark.parametrize(
    "text",
    [
        "2013-01-31",
        "2013-1-31T12:00:00",
        "2013-01-31T12:00:00.123456789",
        "2013-01-31T24:00:00",
        "2013-01-31T12:00:60",
        "2013-01-31T12:00:00 +01:00",
        "2013-01-31t12:00:00z",
        "31.01.2013 12:00",
        "",
    ],
)
def test_a_time_that_would_have_to_be_guessed_or_cut_is_none(text):
    assert read("timestamp", text) == [None]


def test_a_text_is_itself():
    assert read("string", "x", " x ", "", None) == ["x", " x ", "", None]


def test_a_missing_text_is_readable_as_everything():
    frame = pl.DataFrame({"cell": [None, "x"]}, schema={"cell": pl.String})
    for kind in DTYPES:
        found = frame.select(readable_as(pl.col("cell"), kind)).to_series().to_list()
        assert found == [True, kind == "string"]


@pytest.mark.parametrize(
    ("dtype", "word"),
    [
        (pl.UInt8(), "integer"),
        (pl.Int64(), "integer"),
        (pl.Float32(), "number"),
        (pl.Boolean(), "boolean"),
        (pl.Date(), "date"),
        (pl.Datetime("ns", "Europe/Paris"), "timestamp"),
        (pl.String(), "string"),
        (pl.Categorical(), "string"),
        (pl.Enum(["a"]), "string"),
    ],
)
def test_a_stored_type_has_a_word_in_the_contract(dtype, word):
    assert logical("x", dtype) == word


@pytest.mark.parametrize("dtype", [pl.Decimal(9, 2), pl.Duration(), pl.Time(), pl.List(pl.Int8)])
def test_a_stored_type_without_a_word_is_refused(dtype):
    with pytest.raises(UsageError, match="column x has the type") as caught:
        logical("x", dtype)
    assert caught.value.code == "CN-CONTRACT-004"


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pl.Series([5.0, None, float("nan")]), "integer", [5, None, None]),
        (pl.Series([Decimal("5.00")]), "integer", [5]),
        (pl.Series([5], dtype=pl.UInt8), "integer", [5]),
        (pl.Series([5, None]), "number", [5.0, None]),
        (pl.Series([0, 1, None]), "boolean", [False, True, None]),
        (pl.Series([True, None]), "boolean", [True, None]),
        (pl.Series(["a"], dtype=pl.Categorical), "string", ["a"]),
        (pl.Series([date(2013, 1, 31)]), "date", [date(2013, 1, 31)]),
        (pl.Series([date(2013, 1, 31)]), "timestamp", [datetime(2013, 1, 31, tzinfo=UTC)]),
        (pl.Series([NOON]).dt.replace_time_zone(None), "timestamp", [NOON]),
        (pl.Series([NOON]).dt.convert_time_zone("Asia/Tokyo"), "timestamp", [NOON]),
        (pl.Series(["2013-01-31 12:00"]), "timestamp", [NOON]),
        (pl.Series(["2013-01-31"]), "timestamp", [datetime(2013, 1, 31, tzinfo=UTC)]),
    ],
)
def test_a_column_of_another_type_is_taken_where_nothing_is_lost(column, kind, expected):
    found = read_column(column.alias("x"), kind)
    assert found.name == "x"
    assert found.dtype == DTYPES[kind]
    assert found.to_list() == expected


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pl.Series([2.75]), "integer"),
        (pl.Series([float("inf")]), "integer"),
        (pl.Series([True]), "integer"),
        (pl.Series([float("inf")]), "number"),
        (pl.Series([True]), "number"),
        (pl.Series([2]), "boolean"),
        (pl.Series([7]), "string"),
        (pl.Series([NOON]), "date"),
        (pl.Series([1]), "timestamp"),
        (pl.Series(["x"]), "integer"),
    ],
)
def test_a_column_of_another_type_is_refused_where_something_would_be_lost(column, kind):
    found = read_column(column, kind)
    assert found.dtype == DTYPES[kind]
    assert found.to_list() == [None]


def test_a_missing_number_is_not_misread():
    column = pl.Series([1.0, 2.5, None, float("nan")])
    found = misread(column, read_column(column, "integer"))
    assert found.to_list() == [False, True, False, False]
    words = pl.Series(["1", "x", None])
    assert misread(words, read_column(words, "integer")).to_list() == [False, True, False]


def test_what_the_engine_says_of_a_file_is_one_line():
    with (
        pytest.raises(UsageError, match=r"^CN-SOURCE-003: a.csv cannot be read: torn\n") as caught,
        reading("a.csv"),
    ):
        raise pl.exceptions.ComputeError("torn\nand much more")
    assert caught.value.code == "CN-SOURCE-003"
