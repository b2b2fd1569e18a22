"""A dataframely schema class as a contract: its columns and bounds, and its rules as code.

What a contract has a word for becomes that word, so that it is compared, shown and asked of
requests like any other. Every further rule of the class stays the expression that it is: the
record names it, and the check evaluates it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.data.cells import logical
from colonnade.data.check import is_schema
from colonnade.data.odcs import PERSONAL
from colonnade.records.contract import Column, Contract, LogicalType, RowRule, Scalar

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]+")
_EXACT: Final = 2**53  # a record holds no larger integer
_WORDS: Final = {"min": "minimum", "max": "maximum", "regex": "pattern"}
_KEY: Final = "primary_key"


@dataclass(frozen=True, slots=True)
class Stated:
    """What a class states: a contract, and the rules of it that are code."""

    contract: Contract
    coded: Mapping[str, pl.Expr]


def contract_of(name: str, schema: object) -> Stated:
    """The contract that a class states.

    Args:
        name: of the source.
        schema: a subclass of ``dataframely.Schema``.

    Raises:
        UsageError: CN-CONTRACT-014, it is no such class, or it states what cannot be checked;
            CN-CONTRACT-004, a column has a type that a contract cannot name.
    """
    if not is_schema(schema):
        raise _wrong(name, f"contract is {schema!r}, expected a class of dataframely.Schema")
    columns = tuple(_column(name, found) for found in schema.columns().values())
    if not columns:
        raise _wrong(name, f"{schema.__name__} has no column")
    key = tuple(schema.primary_key())
    if len(key) == 1:
        columns = tuple(replace(c, unique=c.unique or c.name in key) for c in columns)
    coded = _coded(name, schema, columns)
    contract = Contract(
        name=name,
        version="1.0.0",
        columns=columns,
        primary_key=key,
        coded=tuple(RowRule(name=n, sql=_said(rule)) for n, rule in coded.items()),
        purpose=schema.__doc__ and " ".join(schema.__doc__.split()),
    )
    return Stated(contract, coded)


def _column(source: str, found: Any) -> Column:  # noqa: ANN401 (a column of dataframely)
    kind = logical(f"{found.name} of source {source}", found.dtype)
    low, high = _range(found.dtype)
    facts = found.metadata or {}
    classification = facts.get("classification")
    column = Column(
        name=found.name,
        type=kind,
        required=not found.nullable,
        unique=bool(found.unique),
        minimum=_bound(kind, getattr(found, "min", None), low, max),
        maximum=_bound(kind, getattr(found, "max", None), high, min),
        pattern=getattr(found, "regex", None),
        enum=_enum(kind, found),
        classification=None if classification is None else str(classification),
    )
    return replace(column, personal=bool(PERSONAL.search(column.classification or "")))


def _range(dtype: Any) -> tuple[int | None, int | None]:  # noqa: ANN401 (a type of Polars)
    """What an integer of fewer bits can hold; a contract has one type of integers."""
    if not dtype.is_integer() or dtype in (pl.Int64, pl.UInt64, pl.Int128):
        return (0, None) if dtype == pl.UInt64 else (None, None)
    low, high = pl.select(low=dtype.min(), high=dtype.max()).row(0)
    return low, high


def _bound(
    kind: LogicalType, value: object, limit: int | None, narrower: Callable[..., Scalar]
) -> Scalar | None:
    said = _scalar(kind, value)
    if said is None or limit is None:
        return limit if said is None else said
    return narrower(said, limit)


def _enum(kind: LogicalType, found: Any) -> tuple[Scalar, ...]:  # noqa: ANN401
    """The values that a column admits, where a record can hold them all."""
    dtype = found.dtype
    said = dtype.categories.to_list() if isinstance(dtype, pl.Enum) else None
    values = [_scalar(kind, v) for v in (said or getattr(found, "is_in", None) or ())]
    return tuple(v for v in values if v is not None) if None not in values else ()


def _scalar(kind: LogicalType, value: object) -> Scalar | None:
    """A value as a record holds it; None where it would not be the same."""
    if isinstance(value, date):
        return value.isoformat() if kind in ("date", "timestamp") else None
    if isinstance(value, str | bool | float):
        return value
    return value if isinstance(value, int) and abs(value) < _EXACT else None


def _coded(name: str, schema: Any, columns: tuple[Column, ...]) -> dict[str, pl.Expr]:  # noqa: ANN401
    """The rules that no word of a contract says."""
    rules: dict[str, pl.Expr] = {}
    stated = {column.name: column for column in columns}
    for rule, made in schema._validation_rules(with_cast=False).items():  # noqa: SLF001
        column, _, kind = rule.rpartition("|")
        if rule == _KEY or (column in stated and _is_said(stated[column], kind)):
            continue
        try:
            expression = made.expr
        except Exception as error:  # the user's own function
            raise _wrong(name, f"its rule {rule} raises {type(error).__name__}") from error
        if not isinstance(expression, pl.Expr):
            raise _wrong(name, f"its rule {rule} gives no expression")
        rules[rule if column in stated else f"row|{rule}"] = expression
    return rules


def _is_said(column: Column, rule: str) -> bool:
    if rule in ("nullability", "unique", "nan", "inf"):  # a number of ours is finite
        return True
    if rule == "is_in":
        return bool(column.enum)
    return rule in _WORDS and getattr(column, _WORDS[rule]) is not None


def _said(rule: pl.Expr) -> str:
    return _ADDRESS.sub("0x…", str(rule))


def _wrong(source: str, found: str) -> UsageError:
    return UsageError(
        "CN-CONTRACT-014",
        f"source {source}: {found}",
        f"see docs/contracts.md, or leave contract= out and write contracts/{source}.yaml instead",
    )
