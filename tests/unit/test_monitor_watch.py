from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from colonnade.base.errors import UsageError
from colonnade.monitor import watch
from colonnade.monitor.watch import window_of
from colonnade.records.model import Feature, Signature


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2013-04", (2013, 4, 1), (2013, 5, 1)),
        ("2013-12", (2013, 12, 1), (2014, 1, 1)),
        ("2012-02", (2012, 2, 1), (2012, 3, 1)),
        ("2013-04-01..2013-04-08", (2013, 4, 1), (2013, 4, 8)),
        ("2013-04-01T06:30..2013-04-02", (2013, 4, 1, 6, 30), (2013, 4, 2)),
        ("2013-04-01T02:00+02:00..2013-04-02", (2013, 4, 1), (2013, 4, 2)),
    ],
)
def test_a_window_is_a_month_or_two_moments_in_utc(text, first, last):
    assert window_of(text) == (datetime(*first, tzinfo=UTC), datetime(*last, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    ["", "April", "2013-13", "2013", "2013-04-01", "2013-04-01..", "..", "2013-04-31..2013-05-01",
     "2013-04-08..2013-04-01", "2013-04-01..2013-04-01"],
)  # fmt: skip
def test_what_is_no_window_says_what_one_is(text):
    with pytest.raises(UsageError, match="is no window of event time") as caught:
        window_of(text)
    assert caught.value.code == "CN-REPORT-001"
    assert "2013-04-01..2013-04-08" in caught.value.fix


def test_a_prediction_that_was_answered_with_null_judges_nothing():
    signature = Signature(
        features=(Feature(name="x", kind="number"),), task="binary", classes=("false", "true")
    )
    rows = pl.DataFrame(
        {
            "score": [0.1, 0.9, None, 0.4, 0.8],
            "label": ["false", "true", "true", "false", "true"],
        },
        schema={"score": pl.Float64, "label": pl.String},
    )
    assert watch._unscored(rows, signature) == 1
    assert watch._metrics(rows, signature)["auc"].value == 1.0
    assert watch._metrics(rows, signature)["auc"].n == 4
