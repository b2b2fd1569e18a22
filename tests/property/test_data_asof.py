"""The point-in-time join against the definition, said row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

import colonnade as co

START = datetime(2013, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 12)
KEYS = st.sampled_from(["a", "b", None])
FACTS = st.lists(st.tuples(KEYS, st.one_of(st.none(), MOMENTS), MOMENTS), max_size=25, unique=True)
EXAMPLES = st.lists(st.tuples(KEYS, st.one_of(st.none(), MOMENTS)), max_size=15)


def moment(hours):
    return None if hours is None else START + timedelta(hours=hours)


def frame(rows, columns):
    schema = {name: pl.String if name == "key" else pl.Datetime("us", "UTC") for name in columns}
    values = [(row[0], *map(moment, row[1:])) for row in rows]
    return pl.DataFrame(values, schema=schema, orient="row")


def visible(facts, key, at, max_age):
    """The definition: of the facts about the key that were true and known, the newest."""
    seen = [
        (time, known, place)
        for place, (of, time, known) in enumerate(facts)
        if None not in (of, time, at, key) and of == key and time <= at and known <= at
    ]
    if not seen:
        return None
    time, _, place = max(seen)
    return None if max_age is not None and at - time > max_age else place


@given(FACTS, EXAMPLES, st.one_of(st.none(), st.integers(0, 6)))
def test_an_example_sees_the_newest_fact_that_it_could_have_known(facts, examples, max_age):
    right = frame(facts, ["key", "since", "known"]).with_columns(
        value=pl.int_range(len(facts), dtype=pl.Int64)
    )
    left = frame(examples, ["key", "at"])
    found = co.as_of(
        left,
        right,
        by="key",
        time=("at", "since"),
        known="known",
        max_age=None if max_age is None else timedelta(hours=max_age),
    ).collect()
    assert found.select("key", "at").equals(left)
    expected = [visible(facts, key, at, max_age) for key, at in examples]
    assert found["value"].to_list() == expected


@given(FACTS, FACTS, EXAMPLES)
def test_what_is_not_known_yet_changes_nothing(facts, later, examples):
    """Facts that come to be known behind the last example must not be seen by any."""
    right = frame(facts, ["key", "since", "known"])
    left = frame(examples, ["key", "at"])
    future = (
        frame(later, ["key", "since", "known"])
        .with_columns(known=pl.lit(START + timedelta(hours=13)))
        .unique()
    )

    def joined(rows):
        return co.as_of(left, rows, by="key", time=("at", "since"), known="known").collect()

    assert joined(pl.concat([right, future])).equals(joined(right))
