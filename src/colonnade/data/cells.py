"""Cells: from the text in a CSV, or the type in a Parquet file, to the type of the contract.

Strict: a text is an integer, a number, a time, or it is not; nothing is rounded, guessed or cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.records.contract import LogicalType
from colonnade.records.source import why_unreadable

ROW: Final = "# row"
"""Column that counts the rows of a file, from 0."""
READABLE: Final = "? "
"""Prefix of the flag that a cell could be read."""
_OURS: Final = re.compile(rf"|# .*|{re.escape(READABLE)}.*|\*|\^.*\$", re.DOTALL)
DTYPES: Final[dict[LogicalType, pl.DataType]] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
}
_FLAGS: Final = {"true": True, "false": False, "1": True, "0": False}
# A parser alone would take 13-1-5 for a day of the year 13, and cut what is finer than 1 µs.
_DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_HOURS: Final = r"([01][0-9]|2[0-3]):?[0-5][0-9]"
_CLOCK: Final = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6}0*)?)?"
_TIME: Final = f"^{_DAY}[T ]{_CLOCK}(Z|[+-]{_HOURS})?$"


def read_text(cell: pl.Expr, kind: LogicalType) -> pl.Expr:
    """The value of a text, null where it is none of this type.

    Times are ISO 8601 with ``T`` or a space, to the microsecond; without an offset they are UTC.
    Numbers are finite.
    """
    if kind == "integer":
        return cell.cast(pl.Int64, strict=False)
    if kind == "number":
        number = cell.cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number)
    if kind == "boolean":
        return cell.str.to_lowercase().replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean)
    if kind == "date":
        return _only(cell, f"^{_DAY}$").str.to_date("%Y-%m-%d", strict=False)
    if kind == "timestamp":
        return _read_time(cell)
    return cell


def readable_as(cell: pl.Expr, kind: LogicalType) -> pl.Expr:
    """Whether a text is missing or of this type."""
    return cell.is_null() | read_text(cell, kind).is_not_null()


def logical(column: str, dtype: pl.DataType) -> LogicalType:
    """The contract's word for a stored type.

    Raises:
        UsageError: CN-CONTRACT-004, there is none.
    """
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "number"
    if isinstance(dtype, pl.Datetime):
        return "timestamp"
    words: dict[type[pl.DataType], LogicalType] = {
        pl.Boolean: "boolean",
        pl.Date: "date",
        pl.String: "string",
        pl.Categorical: "string",
        pl.Enum: "string",
    }
    if dtype.base_type() not in words:
        raise UsageError(
            "CN-CONTRACT-004",
            f"column {column} has the type {dtype}, which a contract cannot name",
            "write the column as text, number, date or time, or leave it out",
        )
    return words[dtype.base_type()]


def as_text(column: str, dtype: pl.DataType) -> pl.Expr:
    """A cell of a stored type as the text that `read_text` reads as the same value."""
    cell = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        return cell.dt.to_string("iso:strict")
    return (cell.cast(pl.Float64) if dtype.is_float() else cell).cast(pl.String)


def check_names(columns: Iterable[str], what: str) -> None:
    """Refuse column names that the engine or we read as something else than a name.

    Raises:
        UsageError: CN-CONTRACT-010.
    """
    for name in columns:
        if _OURS.fullmatch(name):
            raise UsageError(
                "CN-CONTRACT-010",
                f"{what}: a column is called {name!r}, which does not name a column here",
                "rename the column in the file and in the contract",
            )


def read_column(column: pl.Series, kind: LogicalType) -> pl.Series:
    """The values of a column outside a contract, null where a cell is none of this type.

    What is written as another type is taken where nothing is lost: whole numbers as integers, 0
    and 1 as flags, a date as its first moment. NaN is a missing number.
    """
    if column.dtype.is_float():
        column = column.fill_nan(None)
    value = _exact(pl.col("cell"), column.dtype, kind)
    return pl.DataFrame({"cell": column}).select(value.alias(column.name)).to_series()


def misread(column: pl.Series, found: pl.Series) -> pl.Series:
    """Which cells of a column hold something that `read_column` did not find."""
    present = column.is_not_null()
    if column.dtype.is_float():
        present &= column.is_not_nan()
    return present & found.is_null()


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Say what the engine says of a file's bytes, which it reads only when rows are wanted.

    Raises:
        UsageError: CN-SOURCE-003.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise UsageError(
            "CN-SOURCE-003",
            f"{what} cannot be read: {why_unreadable(error)}",
            "mend the file (a CSV in UTF-8 with commas, or Parquet) and run again",
        ) from error


def _exact(cell: pl.Expr, dtype: pl.DataType, kind: LogicalType) -> pl.Expr:
    """The value of a cell of a stored type; null where that would lose something."""
    if dtype == pl.String:
        value = read_text(cell, kind)
        day = read_text(cell, "date").cast(DTYPES["timestamp"])
        return pl.coalesce(value, day) if kind == "timestamp" else value
    value = cell.cast(DTYPES[kind], strict=False)
    whole = dtype.is_integer() or (dtype.is_numeric() and cell == cell.round())
    admitted = {
        "integer": whole,
        "number": dtype.is_numeric() and value.is_finite(),
        "boolean": dtype == pl.Boolean or (dtype.is_numeric() and cell.is_in([0, 1])),
        "string": dtype in (pl.Categorical, pl.Enum),
        "date": dtype == pl.Date,
        "timestamp": dtype == pl.Date or isinstance(dtype, pl.Datetime),
    }[kind]
    return pl.when(admitted).then(value) if admitted is not False else pl.lit(None, DTYPES[kind])


def _only(cell: pl.Expr, form: str) -> pl.Expr:
    return pl.when(cell.str.contains(form)).then(cell)


def _read_time(cell: pl.Expr) -> pl.Expr:
    return cell.map_batches(_times, return_dtype=DTYPES["timestamp"], is_elementwise=True)


def _times(cells: pl.Series) -> pl.Series:
    """What the form admits, from its digits: the engine's parser takes five times as long.

    A part that no cell has (an offset, a fraction of a second) costs nothing.
    """
    text = cells.to_frame("t").select(_only(pl.col("t"), _TIME)).to_series()
    rest, offset = text.str.slice(16), None
    if rest.str.contains("[+-]").any():
        offset = _minutes(rest.str.extract("([+-].*)$"))
        rest = rest.str.replace("[+-].*$", "")
    seconds = _number(text.str.slice(11, 2)) * 3600 + _number(text.str.slice(14, 2)) * 60
    seconds += _number(rest.str.slice(1, 2)).fill_null(0)
    if offset is not None:
        seconds -= offset * 60
    microseconds = seconds * 1_000_000
    if rest.str.contains(".", literal=True).any():
        fraction = rest.str.slice(4).str.strip_chars_end("Z").str.head(6).str.pad_end(6, "0")
        microseconds += _number(fraction)
    day = text.str.head(10).str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    return (day + microseconds.cast(pl.Duration("us"))).dt.replace_time_zone("UTC")


def _number(digits: pl.Series) -> pl.Series:
    return digits.cast(pl.Int64, strict=False)


def _minutes(offset: pl.Series) -> pl.Series:
    """Of ``+05:30`` or ``-0530``; none for UTC."""
    sign = offset.str.starts_with("-").cast(pl.Int64) * -2 + 1
    hours, minutes = _number(offset.str.slice(1, 2)), _number(offset.str.slice(-2))
    return (sign * (hours * 60 + minutes)).fill_null(0)
