"""Values of another program as columns: of one type, nothing rounded, cut or guessed.

Where a column's type is not declared (SQLite, JSON) it follows from all its values. A column of
several kinds becomes text, as the cells of a CSV are: the contract decides what they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import polars as pl

from colonnade.base.errors import UsageError

EXACT: Final = 2**53  # from here on not every integer is a double
INSTANT: Final = pl.Datetime("us", "UTC")
_KINDS: Final[dict[frozenset[str], pl.DataType]] = {
    frozenset({"boolean"}): pl.Boolean(),
    frozenset({"integer"}): pl.Int64(),
    frozenset({"number"}): pl.Float64(),
    frozenset({"integer", "number"}): pl.Float64(),
}


def dtype_of(kinds: Iterable[str]) -> pl.DataType:
    """The type of a column that holds values of these kinds; ``null`` and ``text`` are ones."""
    return _KINDS.get(frozenset(kinds) - {"null"}, pl.String())


def frame(
    rows: Sequence[Sequence[object]], schema: Mapping[str, pl.DataType], what: str
) -> pl.DataFrame:
    """Rows as a frame.

    Raises:
        UsageError: CN-PULL-007, a value does not fit its column without loss.
    """
    values = zip(*rows, strict=True) if rows else ((),) * len(schema)
    return pl.DataFrame(
        [
            _series(name, column, dtype, what)
            for (name, dtype), column in zip(schema.items(), values, strict=True)
        ]
    )


def not_taken(what: str, column: str, why: str, fix: str) -> UsageError:
    """The refusal of a column."""
    return UsageError("CN-PULL-007", f"{what}: column {column[:100]!r} {why}", fix)


def _series(name: str, values: Sequence[object], dtype: pl.DataType, what: str) -> pl.Series:
    convert = _CONVERT.get(dtype.base_type())
    try:
        if convert is not None:
            values = [None if value is None else convert(value) for value in values]
        return pl.Series(name, values, dtype=dtype, strict=True)
    except (TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
        raise not_taken(  # without the cause: it quotes the cell
            what,
            name,
            f"holds a value that is no exact {dtype}",
            f"have it written as a text: SELECT CAST({name[:100]} AS text) AS {name[:100]}, ...",
        ) from None


def _number(value: object) -> float:
    if isinstance(value, float):
        return value
    number = float(value)  # type: ignore[arg-type]
    exact = abs(value) <= EXACT if isinstance(value, int) else Decimal(repr(number)) == value
    if not exact and not math.isnan(number):
        raise ValueError
    return number


def _integer(value: object) -> int:
    number = int(value)  # type: ignore[call-overload]
    if number != value:
        raise ValueError
    return int(number)


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview | list | dict | tuple | set):
        raise TypeError
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _flag(value: object) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)


_CONVERT: Final[dict[type[pl.DataType], Callable[[object], object]]] = {
    pl.Float64: _number,
    pl.Int64: _integer,
    pl.String: _text,
    pl.Boolean: _flag,
}
