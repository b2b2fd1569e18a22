"""What a contract says of a whole batch: how many rows, how much more than usual, how fresh.

Such a rule has no bad row to set apart. One that does not hold stops the batch, or only warns,
as the contract says.
"""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import polars as pl

from colonnade.base import clock
from colonnade.govern.session import Session
from colonnade.records.contract import BatchRule, Contract, Freshness, Operator, Severity
from colonnade.records.entry import Entry
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion

ENOUGH: Final = 3  # batches from which on there is a median
_HOLDS: Final[dict[Operator, Callable[..., bool]]] = {
    "mustBe": operator.eq,
    "mustNotBe": operator.ne,
    "mustBeGreaterThan": operator.gt,
    "mustBeGreaterOrEqualTo": operator.ge,
    "mustBeLessThan": operator.lt,
    "mustBeLessOrEqualTo": operator.le,
    "mustBeBetween": lambda found, low, high: low <= found <= high,
    "mustNotBeBetween": lambda found, low, high: not low <= found <= high,
}
_WORDS: Final[dict[Operator, str]] = {
    "mustBe": "{}",
    "mustNotBe": "not {}",
    "mustBeGreaterThan": "more than {}",
    "mustBeGreaterOrEqualTo": "at least {}",
    "mustBeLessThan": "less than {}",
    "mustBeLessOrEqualTo": "at most {}",
    "mustBeBetween": "{} to {}",
    "mustNotBeBetween": "not {} to {}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one rule found.

    Attributes:
        holds: None where there is nothing to judge yet.
        found: what was found and what was expected, in words and without a cell.
    """

    rule: str
    holds: bool | None
    severity: Severity
    found: str

    @property
    def stops(self) -> bool:
        """Whether the batch may not be taken over."""
        return self.holds is False and self.severity == "stop"

    @property
    def warns(self) -> bool:
        """Whether it is taken over and a person should know."""
        return self.holds is False and self.severity == "warn"


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch: its good rows, and how many landed."""

    good: pl.DataFrame
    landed: int


def judge(
    session: Session, contract: Contract, rows: Rows, newest: Entry | None
) -> tuple[Verdict, ...]:
    """Every rule of the contract over the whole batch.

    Args:
        session: whose actor may read the versions before.
        contract: with its rules.
        rows: the batch.
        newest: the table's newest version: its batches are what ``volume`` compares with.
    """
    return tuple(_verdicts(session, contract, rows, newest))


def _verdicts(
    session: Session, contract: Contract, rows: Rows, newest: Entry | None
) -> Iterator[Verdict]:
    for rule in contract.batch:
        if rule.metric == "volume":
            yield _volume(session, rule, rows, newest)
        else:
            yield _compared(rule, _measured(rule, rows), "percent" if rule.percent else "rows")
    for age in contract.freshness:
        yield _age(age, rows)


def _measured(rule: BatchRule, rows: Rows) -> float:
    if rule.metric == "rowCount":
        return rows.landed
    columns = pl.struct(rule.columns)
    found = pl.any_horizontal(pl.col(name).is_null() for name in rule.columns)
    if rule.metric == "duplicateValues":
        found = columns.is_duplicated() & ~found
    count = rows.good.select(found.sum()).item() or 0
    return 100 * count / max(1, rows.good.height) if rule.percent else count


def _compared(rule: BatchRule, found: float, unit: str) -> Verdict:
    expected = _WORDS[rule.operator].format(*(f"{value:,.12g}" for value in rule.values))
    return Verdict(
        rule=rule.name,
        holds=_HOLDS[rule.operator](found, *rule.values),
        severity=rule.severity,
        found=f"{found:,.12g} {unit}, expected {expected}",
    )


def _volume(session: Session, rule: BatchRule, rows: Rows, newest: Entry | None) -> Verdict:
    counts = _batches(session, rule.batches, newest)
    if len(counts) < min(ENOUGH, rule.batches):
        few = f"{rows.landed:,} rows; {len(counts)} batches before are too few to compare with"
        return Verdict(rule=rule.name, holds=None, severity=rule.severity, found=few)
    median = statistics.median(counts)
    part = rows.landed / max(1, median)
    unit = f"times the median of the last {len(counts)} batches ({median:,g} rows)"
    return _compared(rule, round(part, 6), unit)


def _batches(session: Session, wanted: int, newest: Entry | None) -> list[int]:
    """The rows that landed with each of the last versions; what was only rewritten is none."""
    counts: list[int] = []
    number = 0 if newest is None else newest.ref.version or 0
    while number and newest is not None and len(counts) < wanted:
        version = session.version(Ref("table", newest.ref.name, number)).read(TableVersion)
        if version.landed:
            counts.append(sum(file.rows for file in version.landed))
        number -= 1
    return counts


def _age(age: Freshness, rows: Rows) -> Verdict:
    rule = f"{age.column}|freshness"
    limit = timedelta(seconds=age.within_s)
    value = rows.good.select(pl.col(age.column).cast(pl.Datetime("us", "UTC")).max()).item()
    if value is None:
        none = f"no value of {age.column} in {rows.good.height:,} good rows"
        return Verdict(rule=rule, holds=None, severity=age.severity, found=none)
    old = clock.now() - value
    return Verdict(
        rule=rule,
        holds=old <= limit,
        severity=age.severity,
        found=f"the newest {age.column} is {_span(old)} old, expected at most {_span(limit)}",
    )


def _span(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:,.1f} days" if abs(hours) >= 48 else f"{hours:,.1f} hours"
