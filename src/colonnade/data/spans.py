"""The months or days of a table that are made one by one: their names, bounds and rows.

A stretch of time is UTC. It is called as people write it: ``2013-01`` or ``2013-01-31``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Final

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.records.table import Partition, Span

_TRUNCATED: Final[dict[Partition, str]] = {"month": "1mo", "day": "1d"}


def labels_in(frames: Iterable[pl.LazyFrame], time: str, partition: Partition) -> set[str]:
    """What stretches the rows of these frames are in; rows without a time are in none."""
    start = pl.col(time).drop_nulls().dt.truncate(_TRUNCATED[partition]).cast(pl.Date).unique()
    found = pl.collect_all([frame.select(start.alias("start")) for frame in frames])
    return {label_of(day, partition) for days in found for day in days["start"].to_list()}


def label_of(day: dt.date, partition: Partition) -> str:
    """The stretch that a day is in."""
    return day.isoformat()[: 7 if partition == "month" else 10]


def span_of(label: str) -> Span:
    """The bounds of a month or a day.

    Raises:
        UsageError: CN-RUN-004, the text names none.
    """
    try:
        start = dt.date.fromisoformat(label if len(label) > 7 else f"{label}-01")
        last = start if len(label) > 7 else start.replace(day=28) + dt.timedelta(days=4)
        end = last + dt.timedelta(days=1) if len(label) > 7 else last.replace(day=1)
    except (ValueError, OverflowError):
        raise UsageError(
            "CN-RUN-004",
            f"{label!r} is no month and no day",
            "write a month such as 2013-01, or a day such as 2013-01-31",
        ) from None
    return Span(start, end)


def joined(labels: Iterable[str]) -> tuple[Span, ...]:
    """The bounds of some stretches; neighbours become one."""
    spans: list[Span] = []
    for span in sorted(map(span_of, labels)):
        if spans and spans[-1].end == span.start:
            spans[-1] = Span(spans[-1].start, span.end)
        else:
            spans.append(span)
    return tuple(spans)


def inside(rows: pl.LazyFrame, time: str, spans: Sequence[Span]) -> pl.LazyFrame:
    """The rows of these stretches of time."""
    return rows.filter(_is_inside(rows, time, spans))


def outside(rows: pl.LazyFrame, time: str, spans: Sequence[Span]) -> pl.LazyFrame:
    """All other rows."""
    return rows.filter(~_is_inside(rows, time, spans))


def _is_inside(rows: pl.LazyFrame, time: str, spans: Sequence[Span]) -> pl.Expr:
    dtype = rows.collect_schema()[time]
    column = pl.col(time)
    terms = [
        (column >= _moment(span.start, dtype)) & (column < _moment(span.end, dtype))
        for span in spans
    ]
    return reduce(or_, terms)


def _moment(day: dt.date, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Date:
        return pl.lit(day)
    moment = dt.datetime.combine(day, dt.time())
    return (
        pl.lit(moment)
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone(dtype.time_zone if isinstance(dtype, pl.Datetime) else None)
    )
