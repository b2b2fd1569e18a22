"""What the online store answers at a moment is what the point-in-time join gives it then."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

import colonnade as co
from colonnade.data.online import facts
from colonnade.project import Table
from colonnade.records.online import Published
from colonnade.store.online import Online

START = datetime(2013, 1, 1, tzinfo=UTC)
HOURS = st.integers(0, 12)
ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), HOURS, HOURS), max_size=20, unique=True)
TABLE = Table(
    name="states",
    function=lambda: None,
    inputs=(),
    key=("key",),
    time="since",
    known="known",
    online=True,
)


def moment(hours):
    return START + timedelta(hours=hours)


@settings(deadline=None)
@given(ROWS, HOURS, st.lists(st.integers(0, 30), min_size=1, max_size=6))
def test_online_is_the_point_in_time_value_at_that_moment(rows, published, later):
    """Asked at the publishing and behind it, without being published again."""
    frame = pl.DataFrame(
        [
            (key, moment(since), moment(known), place)
            for place, (key, since, known) in enumerate(rows)
        ],
        schema={
            "key": pl.String,
            "since": pl.Datetime("us", "UTC"),
            "known": pl.Datetime("us", "UTC"),
            "value": pl.Int64,
        },
        orient="row",
    )
    asked = [(key, moment(published + hours)) for hours in (0, *later) for key in "abcd"]
    expected = co.as_of(
        pl.DataFrame(
            asked, schema={"key": pl.String, "at": pl.Datetime("us", "UTC")}, orient="row"
        ),
        frame,
        by="key",
        time=("at", "since"),
        known="known",
    ).collect()["value"]
    with tempfile.TemporaryDirectory() as name:
        online = Online(Path(name))
        about = Published(version=1, columns=tuple(frame.columns))
        assert online.publish("states", about, facts(frame, TABLE, moment(published)))
        found = [online.get("states", [key], int(at.timestamp() * 1e6)) for key, at in asked]
        online.close()
    assert [row and row["value"] for row in found] == [
        None if value is None else value for value in expected.to_list()
    ]
