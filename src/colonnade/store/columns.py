"""The columns of a table: every type that Delta would change silently is made exact beforehand."""

from __future__ import annotations

from typing import Final

import polars as pl

from colonnade.base.errors import UsageError

_LOSSLESS: Final[dict[type[pl.DataType], type[pl.DataType]]] = {
    pl.UInt8: pl.Int16,
    pl.UInt16: pl.Int32,
    pl.UInt32: pl.Int64,
    pl.Categorical: pl.String,
    pl.Enum: pl.String,
}
_STORABLE: Final = (
    pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.String, pl.Date,
    pl.Binary,
)  # fmt: skip


def storable(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with every type that Delta would change silently made exact beforehand.

    Raises:
        UsageError: CN-TABLE-001, a column's type cannot be stored without loss; CN-TABLE-008,
            two columns would be one.
    """
    twins = {column.lower(): column for column in frame.columns}
    for column in frame.columns:
        if twins[column.lower()] != column:
            raise UsageError(
                "CN-TABLE-008",
                f"table {name}: columns {column} and {twins[column.lower()]} differ only in case",
                "rename one of them in the step that makes the table",
            )
    return frame.with_columns(_exact(name, column, dtype) for column, dtype in frame.schema.items())


def _exact(name: str, column: str, dtype: pl.DataType) -> pl.Expr:
    expression = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_unit != "ns":  # Delta keeps an instant as UTC, whatever its zone
            expression = expression.cast(pl.Datetime("us", dtype.time_zone))
            return expression.dt.convert_time_zone("UTC") if dtype.time_zone else expression
    elif dtype.base_type() in _LOSSLESS:
        return expression.cast(_LOSSLESS[dtype.base_type()])
    elif dtype.base_type() in _STORABLE or _holds_storable(dtype):
        return expression
    raise UsageError(
        "CN-TABLE-001",
        f"table {name}: column {column} has the type {dtype}, which a table cannot hold exactly",
        "cast it: numbers to Int64 or Float64, times to Datetime('us'), anything else to String",
    )


def _holds_storable(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return dtype.inner.base_type() in _STORABLE
    if isinstance(dtype, pl.Struct):
        return all(field.dtype.base_type() in _STORABLE for field in dtype.fields)
    return False
