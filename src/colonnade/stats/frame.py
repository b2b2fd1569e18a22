"""From a Polars frame to what `profile.summarise` takes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from colonnade.stats.profile import Column


def columns(frame: pl.DataFrame, names: Sequence[str] | None = None) -> dict[str, Column]:
    """Arrays of numbers (missing = NaN) and counts of words, by column.

    Times count as seconds since 1970; columns of other types (lists, structs) are left out.
    """
    found: dict[str, Column] = {}
    for name in names or frame.columns:
        series = frame[name]
        dtype = series.dtype
        if dtype.is_numeric() or dtype in (pl.Boolean, pl.Date, pl.Datetime):
            values = frame.select(number(pl.col(name), dtype)).to_series()
            found[name] = values.fill_null(float("nan")).to_numpy()
        elif dtype in (pl.String, pl.Categorical, pl.Enum):
            counts = series.cast(pl.String).alias("word").value_counts(name="rows")
            found[name] = dict(counts.rows())
    return found


def number(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A column of numbers, flags or times as the numbers that a profile counts."""
    if dtype in (pl.Date, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
    return column.cast(pl.Float64)
