"""A contract: what the rows of a source must be. Checked on data, asked of requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

LogicalType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
Severity = Literal["stop", "warn"]
Drift = Literal["stop", "ignore", "add"]
Metric = Literal["rowCount", "nullValues", "duplicateValues", "volume"]
Operator = Literal[
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
]
STOP_ABOVE: Final = 0.05
BATCHES: Final = 7
Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What one column must be. A null passes every rule but `required`.

    Attributes:
        pattern: regular expression (RE2) that a text must match somewhere.
        enum: the only values; empty for any.
        classification: what the contract says of its secrecy, in the contract's own words.
        added: whether it came with a file, not from a person (``drift: add``).
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
    classification: str | None = None
    added: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRule:
    """A rule over several columns of a row: a SQL condition; null passes."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Columns whose values must be a key of another table; a missing cell passes.

    Attributes:
        columns: of this source.
        table: a source or table of the project, in its newest version.
        to: its columns, in the same order.
    """

    columns: tuple[str, ...]
    table: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRule:
    """A number that a whole batch must have.

    Attributes:
        metric: ``rowCount``: rows that landed; ``nullValues``, ``duplicateValues``: good rows
            with a missing cell, or with values that other rows have too; ``volume``: rows that
            landed as a part of the median of the last batches.
        columns: which `metric` looks at.
        values: what `operator` compares with, one or two.
        percent: whether they are percent of the rows.
        batches: how many earlier batches ``volume`` looks at.
    """

    name: str
    metric: Metric
    operator: Operator
    values: tuple[float, ...]
    columns: tuple[str, ...] = ()
    percent: bool = False
    batches: int = BATCHES
    severity: Severity = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The newest value of a time column must be at most so old when a batch is taken over."""

    column: str
    within_s: int
    severity: Severity = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """All that binds a source, and what of it governs the rows later.

    Attributes:
        missing: texts that stand for a missing value in a CSV, beside the empty one.
        stop_above: share of bad rows above which a batch is stopped as a whole.
        primary_key: the columns that together tell one row from another.
        unique: further sets of columns whose values no two rows share.
        drift: what is done with a column that the contract does not name.
        owner: the team, or the person, that answers for the data.
        subject: the column that says whom a row is about.
        retention_d: days after which rows are deleted.
        coded: rules that a schema class states in code; their `sql` is what the engine calls them.
        document: digest of all that the file says; None where there is no file.
    """

    name: str
    version: str
    columns: tuple[Column, ...]
    rules: tuple[RowRule, ...] = ()
    missing: tuple[str, ...] = ()
    stop_above: float = STOP_ABOVE
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    references: tuple[Reference, ...] = ()
    batch: tuple[BatchRule, ...] = ()
    freshness: tuple[Freshness, ...] = ()
    drift: Drift = "stop"
    owner: str | None = None
    purpose: str | None = None
    subject: str | None = None
    retention_d: int | None = None
    coded: tuple[RowRule, ...] = ()
    document: str | None = None
