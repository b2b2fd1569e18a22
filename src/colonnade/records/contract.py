"""A contract: what the rows of a source must be. Checked on data, asked of requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

LogicalType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
STOP_ABOVE: Final = 0.05
Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What one column must be. A null passes every rule but `required`.

    Attributes:
        pattern: regular expression (RE2) that a text must match somewhere.
        enum: the only values; empty for any.
    """

    name: str
    type: LogicalType
    required: bool = False
    unique: bool = False
    minimum: Scalar | None = None
    maximum: Scalar | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    enum: tuple[Scalar, ...] = ()
    personal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRule:
    """A rule over several columns of a row: a SQL condition; null passes."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """All that binds a source.

    Attributes:
        missing: texts that stand for a missing value in a CSV, beside the empty one.
        stop_above: share of bad rows above which a batch is stopped as a whole.
    """

    name: str
    version: str
    columns: tuple[Column, ...]
    rules: tuple[RowRule, ...] = ()
    missing: tuple[str, ...] = ()
    stop_above: float = STOP_ABOVE
