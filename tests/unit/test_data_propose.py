from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from colonnade.base.errors import UsageError
from colonnade.data.propose import propose


def texts(**columns: list[str | None]) -> pl.LazyFrame:
    return pl.LazyFrame(columns, schema=dict.fromkeys(columns, pl.String))


def types(*frames: pl.LazyFrame) -> dict[str, str]:
    return {column.name: column.type for column in propose("rows", frames).columns}


def test_the_narrowest_type_that_every_text_has_is_proposed():
    frame = texts(
        whole=["1", "-2"],
        real=["1", "2.5"],
        flag=["true", "false"],
        day=["2013-01-01", "2013-01-02"],
        at=["2013-01-01T00:00:00", "2013-01-02 05:00Z"],
        word=["1", "x"],
    )
    assert types(frame) == {
        "whole": "integer",
        "real": "number",
        "flag": "boolean",
        "day": "date",
        "at": "timestamp",
        "word": "string",
    }


def test_a_code_with_leading_zeros_stays_a_text():
    assert types(texts(zip=["01234", "99999"], real=["00.5", "1"], zero=["0", "-0"])) == {
        "zip": "string",
        "real": "string",
        "zero": "integer",
    }


def test_a_column_without_a_value_is_proposed_as_text():
    assert types(texts(x=[None, None])) == {"x": "string"}


def test_stored_types_keep_their_word():
    frame = pl.LazyFrame(
        {"a": [1], "b": [1.5], "c": [True], "d": [date(2013, 1, 1)]},
    ).with_columns(e=pl.col("d").cast(pl.Datetime))
    assert list(types(frame).values()) == ["integer", "number", "boolean", "date", "timestamp"]


def test_a_column_is_required_where_nothing_is_missing():
    found = propose("rows", [texts(x=["1", "2"], y=["1", None])])
    assert [column.required for column in found.columns] == [True, False]


def test_all_files_of_a_source_are_looked_at():
    found = propose("rows", [texts(x=["1"], y=["1"]), texts(x=["1.5"], y=[None])])
    assert [(c.type, c.required) for c in found.columns] == [("number", True), ("integer", False)]


def test_a_file_with_other_columns_is_left_to_the_check():
    assert types(texts(x=["1"]), texts(x=["a"], z=["b"])) == {"x": "integer"}


def test_nothing_is_proposed_from_files_without_rows():
    with pytest.raises(UsageError, match="source rows: its files have no rows") as caught:
        propose("rows", [texts(x=[])])
    assert caught.value.code == "CN-CONTRACT-009"


def test_a_type_without_a_word_is_named_with_its_column():
    with pytest.raises(UsageError, match="column x has the type List") as caught:
        propose("rows", [pl.LazyFrame({"x": [[1]]})])
    assert caught.value.code == "CN-CONTRACT-004"


def test_na_among_numbers_flags_or_times_means_a_missing_value():
    found = propose(
        "rows",
        [texts(x=["1", "NA"], y=["true", "null"], z=["2013-01-01", "NaT"], w=["?", "a"])],
    )
    assert [(c.type, c.required) for c in found.columns] == [
        ("integer", False), ("boolean", False), ("date", False), ("string", True),
    ]  # fmt: skip
    assert found.missing == ("NA", "NaT", "null")  # ? stands among words, and may be one


def test_a_word_column_that_holds_what_is_missing_elsewhere_is_not_required():
    found = propose("rows", [texts(x=["1", "NA"], w=["NA", "a"])])
    assert [column.required for column in found.columns] == [False, False]


def test_na_alone_proves_nothing():
    found = propose("rows", [texts(x=["NA", "NA"], w=["NA", "Namibia"])])
    assert [column.type for column in found.columns] == ["string", "string"]
    assert found.missing == ()


def test_a_code_is_a_code_beside_a_missing_one():
    assert types(texts(x=["007", "NA"])) == {"x": "string"}
