from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest

from colonnade.stats.frame import columns
from colonnade.stats.profile import summarise


def test_numbers_and_flags_become_arrays_with_nan_for_missing():
    found = columns(pl.DataFrame({"a": [1, None], "b": [0.5, float("nan")], "c": [True, None]}))
    np.testing.assert_array_equal(found["a"], [1.0, np.nan])
    np.testing.assert_array_equal(found["b"], [0.5, np.nan])
    np.testing.assert_array_equal(found["c"], [1.0, np.nan])


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([datetime(1970, 1, 2, tzinfo=UTC), None]),
        pl.Series([datetime(1970, 1, 2, tzinfo=UTC), None]).dt.convert_time_zone("Asia/Tokyo"),
        pl.Series([date(1970, 1, 2), None]),
        pl.Series([date(1970, 1, 2), None]).cast(pl.Datetime("ns")),
    ],
)
def test_times_count_in_seconds(values):
    np.testing.assert_array_equal(columns(pl.DataFrame({"at": values}))["at"], [86400.0, np.nan])


@pytest.mark.parametrize("dtype", [pl.String(), pl.Categorical(), pl.Enum(["a", "b"])])
def test_words_become_counts(dtype):
    frame = pl.DataFrame({"w": pl.Series(["a", "b", "a", None], dtype=dtype)})
    assert columns(frame)["w"] == {"a": 2, "b": 1, None: 1}


@pytest.mark.parametrize("name", ["rows", "count", "w"])
def test_a_word_column_may_have_any_name(name):
    assert columns(pl.DataFrame({name: ["a"]})) == {name: {"a": 1}}


def test_only_the_wanted_columns_are_looked_at():
    assert list(columns(pl.DataFrame({"a": [1], "b": [2]}), ["b"])) == ["b"]


def test_types_without_a_profile_are_left_out():
    frame = pl.DataFrame(
        {"t": [time(5)], "d": [timedelta(1)], "l": [[1]], "s": [{"a": 1}], "n": [None]}
    )
    assert columns(frame) == {}


def test_what_comes_out_can_be_summarised():
    found = summarise(columns(pl.DataFrame({"x": [1.0, None], "w": ["a", None]})))
    assert found.rows == 2
    assert found.numbers["x"].missing == 1
    assert found.words["w"].missing == 1


def test_an_empty_frame_has_empty_columns():
    schema = {"x": pl.Float64, "w": pl.String}
    found = columns(pl.DataFrame(schema=schema))
    assert len(found["x"]) == 0
    assert found["w"] == {}
