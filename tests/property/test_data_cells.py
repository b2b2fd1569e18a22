"""Times are read as the standard library reads them, whatever stands beside them in the column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from colonnade.data.cells import read_text

ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)  # noqa: DTZ001
FORMS = st.sampled_from(["T", " "])
SPECS = st.sampled_from(["auto", "minutes", "seconds", "milliseconds", "microseconds"])


@given(st.lists(st.tuples(MOMENTS, FORMS, SPECS, st.booleans()), max_size=8))
def test_a_time_is_the_instant_that_its_text_names(found):
    texts, expected = ["no time"], [None]
    for moment, between, spec, zoned in found:
        at = moment if zoned else moment.replace(tzinfo=UTC)
        text = at.isoformat(between, spec)
        expected.append(datetime.fromisoformat(text).astimezone(UTC))
        texts.append(text if zoned else text.replace("+00:00", "Z"))
    read = pl.DataFrame({"cell": texts}).select(read_text(pl.col("cell"), "timestamp"))
    assert read["cell"].to_list() == expected
