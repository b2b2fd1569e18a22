"""Cells: from the text in a CSV, or the type in a Parquet file, to the type of the contract.

Strict: a text is an integer, a number, a time, or it is not; nothing is rounded, guessed or cut.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from colonnade.records.contract import LogicalType

DTYPES: Final[dict[LogicalType, pl.DataType]] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
}
_FLAGS: Final = {"true": True, "false": False, "1": True, "0": False}


def read_text(cell: pl.Expr, kind: LogicalType) -> pl.Expr:
    """The value of a text, null where it is none of this type.

    Times are ISO 8601 with ``T`` or a space; without an offset they are UTC. Numbers are finite.
    """
    if kind == "integer":
        return cell.cast(pl.Int64, strict=False)
    if kind == "number":
        number = cell.cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number)
    if kind == "boolean":
        return cell.str.to_lowercase().replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean)
    if kind == "date":
        return cell.str.to_date("%Y-%m-%d", strict=False)
    if kind == "timestamp":
        return _read_time(cell)
    return cell


def readable_as(cell: pl.Expr, kind: LogicalType) -> pl.Expr:
    """Whether a text is missing or of this type."""
    return cell.is_null() | read_text(cell, kind).is_not_null()


def _read_time(cell: pl.Expr) -> pl.Expr:
    """One form for all texts, then one parse: alternatives would each be computed on all rows."""
    text = cell.str.replace(" ", "T", literal=True)
    text = text.str.replace(r"^(.{10}T\d\d:\d\d)(Z|[+-].*)?$", "${1}:00${2}")
    text = text.str.replace(r"Z$", "+00:00")
    zoned = text.str.contains(r"[+-]\d\d:\d\d$")
    text = pl.when(zoned).then(text).otherwise(text + "+00:00")
    return text.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False
    )
