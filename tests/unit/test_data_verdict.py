from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from colonnade.base import clock
from colonnade.data.verdict import Rows, Verdict, judge
from colonnade.records.contract import BatchRule, Column, Contract, Freshness

GOOD = pl.DataFrame(
    {"a": [1, 1, 2, None], "b": [1, 1, 1, None], "at": [None] * 4},
    schema={"a": pl.Int64, "b": pl.Int64, "at": pl.Datetime("us", "UTC")},
)


def judged(*, good: pl.DataFrame = GOOD, landed: int = 5, **parts) -> Verdict:
    columns = (Column(name="a", type="integer"),)
    contract = Contract(name="rows", version="1", columns=columns, **parts)
    (verdict,) = judge(None, contract, Rows(good, landed), None)  # no rule of it looks back
    return verdict


def rule(metric: str, operator: str, *values: float, **more) -> tuple[BatchRule]:
    return (BatchRule(name="r", metric=metric, operator=operator, values=values, **more),)


@pytest.mark.parametrize(
    ("operator", "values", "holds", "expected"),
    [
        ("mustBe", (5.0,), True, "5"),
        ("mustBe", (4.0,), False, "4"),
        ("mustNotBe", (5.0,), False, "not 5"),
        ("mustBeGreaterThan", (5.0,), False, "more than 5"),
        ("mustBeGreaterThan", (4.0,), True, "more than 4"),
        ("mustBeGreaterOrEqualTo", (5.0,), True, "at least 5"),
        ("mustBeLessThan", (5.0,), False, "less than 5"),
        ("mustBeLessOrEqualTo", (5.0,), True, "at most 5"),
        ("mustBeBetween", (5.0, 1_000_000.0), True, "5 to 1,000,000"),
        ("mustBeBetween", (6.0, 7.0), False, "6 to 7"),
        ("mustNotBeBetween", (5.0, 7.0), False, "not 5 to 7"),
    ],
)
def test_the_rows_that_landed_are_compared(operator, values, holds, expected):
    found = judged(batch=rule("rowCount", operator, *values))
    assert (found.holds, found.found) == (holds, f"5 rows, expected {expected}")
    assert (found.stops, found.warns) == (not holds, False)


@pytest.mark.parametrize(
    ("metric", "columns", "percent", "found"),
    [
        ("nullValues", ("a",), False, "1 rows"),
        ("nullValues", ("a", "b"), False, "1 rows"),
        ("nullValues", ("a",), True, "25 percent"),
        ("duplicateValues", ("a",), False, "2 rows"),
        ("duplicateValues", ("b",), False, "3 rows"),
        ("duplicateValues", ("a", "b"), True, "50 percent"),
    ],
)
def test_good_rows_are_counted(metric, columns, percent, found):
    verdict = judged(batch=rule(metric, "mustBe", 0.0, columns=columns, percent=percent))
    assert verdict.found == f"{found}, expected 0"
    assert verdict.stops


def test_a_batch_without_good_rows_has_no_share_of_anything():
    verdict = judged(good=GOOD.clear(), batch=rule("nullValues", "mustBe", 0.0, columns=("a",),
                                                   percent=True))  # fmt: skip
    assert verdict.holds


def test_a_rule_that_only_warns_does_not_stop():
    verdict = judged(batch=rule("rowCount", "mustBe", 1.0, severity="warn"))
    assert (verdict.stops, verdict.warns) == (False, True)


def test_a_first_batch_is_compared_with_none():
    verdict = judged(batch=rule("volume", "mustBe", 1.0))
    assert verdict.holds is None
    assert not verdict.stops


@pytest.mark.parametrize(
    ("hours", "holds", "told"), [(1, True, "1.0 hours old"), (72, False, "3.0 days old")]
)
def test_the_newest_row_may_be_so_old(hours, holds, told, monkeypatch):
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    at = [now - timedelta(hours=hours), now - timedelta(days=400), None]
    good = pl.DataFrame({"at": at}, schema={"at": pl.Datetime("us", "UTC")})
    verdict = judged(good=good, freshness=(Freshness(column="at", within_s=36 * 3600),))
    assert verdict.holds is holds
    assert told in verdict.found


def test_a_day_is_its_first_moment():
    good = pl.DataFrame({"at": [clock.now().date()]})
    assert judged(good=good, freshness=(Freshness(column="at", within_s=86_400),)).holds


def test_of_no_time_nothing_is_said():
    verdict = judged(freshness=(Freshness(column="at", within_s=1),))
    assert (verdict.holds, verdict.found) == (None, "no value of at in 4 good rows")
