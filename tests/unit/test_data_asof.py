"""What the point-in-time join refuses, and the forms of its words."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

import colonnade as co
from colonnade.base.errors import UsageError

EXAMPLES = pl.DataFrame({"plane": ["N1", "N2", "N1"], "day": [date(2013, 1, d) for d in (5, 5, 1)]})
FACTS = pl.DataFrame(
    {
        "plane": ["N1", "N1"],
        "day": ["2013-01-02T00:00", "2013-01-09T00:00"],
        "seats": [100, 120],
    }
).with_columns(pl.col("day").str.to_datetime())


def test_rows_stay_in_their_place_and_a_day_begins_at_midnight_utc():
    found = co.as_of(EXAMPLES.lazy(), FACTS.lazy(), by=["plane"], time="day").collect()
    assert found["seats"].to_list() == [100, None, None]
    assert found.columns == ["plane", "day", "seats"]


def test_a_time_with_a_zone_is_the_instant_it_names():
    facts = FACTS.with_columns(pl.col("day").dt.replace_time_zone("Asia/Tokyo"))
    moments = pl.Series(["2013-01-01T14:00", "2013-01-01T15:00"]).str.to_datetime()
    examples = pl.DataFrame({"plane": ["N1"] * 2, "at": moments})
    found = co.as_of(examples, facts, by="plane", time=("at", "day")).collect()
    assert found["seats"].to_list() == [None, 100]


def test_a_fact_that_is_too_old_is_none():
    for days, seats in ((3, 100), (2, None)):
        age = timedelta(days=days)
        found = co.as_of(EXAMPLES, FACTS, by="plane", time="day", max_age=age).collect()
        assert found["seats"][0] == seats


def test_facts_without_rows_leave_every_example_without():
    found = co.as_of(EXAMPLES, FACTS.clear(), by="plane", time="day").collect()
    assert found["seats"].to_list() == [None] * 3


@pytest.mark.parametrize(
    ("examples", "facts", "words", "says"),
    [
        (EXAMPLES, FACTS, {"by": "plain"}, "did you mean 'plane'"),
        (EXAMPLES, FACTS, {"time": ("day", "dya")}, "the facts have no column 'dya'"),
        (EXAMPLES, FACTS, {"known": "known"}, "no column 'known'"),
        (EXAMPLES.with_columns(seats=1), FACTS, {}, "'seats' is in the examples and in the facts"),
        (EXAMPLES.with_columns(plane=1), FACTS, {}, "'plane' is Int32 in the examples, String"),
        (EXAMPLES, FACTS.with_columns(day=1), {}, "'day' is Int32, expected a date or a time"),
    ],
)
def test_columns_that_do_not_fit_are_said(examples, facts, words, says):
    with pytest.raises(UsageError, match="CN-FEATURE-001") as caught:
        co.as_of(examples, facts, **{"by": "plane", "time": "day", **words})
    assert says in str(caught.value)


def test_two_facts_of_one_moment_are_refused_unless_one_was_known_later():
    twice = pl.concat([FACTS, FACTS.head(1).with_columns(seats=pl.lit(101, pl.Int64))])
    with pytest.raises(UsageError, match="CN-FEATURE-002"):
        co.as_of(EXAMPLES, twice, by="plane", time="day")
    later = pl.Series(["2013-01-02", "2013-01-09", "2013-01-04"]).str.to_date()
    found = co.as_of(
        EXAMPLES, twice.with_columns(known=later), by="plane", time="day", known="known"
    )
    assert found.collect()["seats"].to_list() == [101, None, None]
