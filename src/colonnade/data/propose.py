"""The first contract of a source, proposed from the rows that landed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.data.cells import check_names, logical, readable_as, reading
from colonnade.records.contract import Column, Contract, LogicalType

_GUESSES: Final[tuple[LogicalType, ...]] = ("integer", "number", "boolean", "date", "timestamp")
_CODE: Final = r"^[+-]?0[0-9]"  # a code such as a postcode: as a number it would lose its zeros
_MISSING: Final = ("NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "NaT", "NULL", "null", "None", "?")
"""Texts that programs write for a missing value; believed only among numbers, flags and times."""


def propose(name: str, frames: Sequence[pl.LazyFrame]) -> Contract:
    """A contract that the rows at hand fulfil: types, and which columns are never missing.

    A text such as ``NA`` means a missing value where all other cells of some column are numbers,
    flags or times; among words it may be one. Ranges and sets of values are for people to state:
    what came once is no rule.

    Args:
        name: of the source.
        frames: its files; what differs from the first in its columns is left to the check.

    Raises:
        UsageError: CN-CONTRACT-004, a column has a type without a word; CN-CONTRACT-009, there is
            no row to propose from; CN-CONTRACT-010, a column has a name of ours; CN-SOURCE-003,
            a file cannot be read.
    """
    schema = frames[0].collect_schema()
    check_names(schema, f"source {name}")
    frame = pl.concat([frame for frame in frames if frame.collect_schema() == schema])
    with reading(f"source {name}"):
        facts = frame.select(pl.len().alias("rows"), *_facts(schema)).collect().row(0, named=True)
    if not facts["rows"]:
        raise UsageError(
            "CN-CONTRACT-009",
            f"source {name}: its files have no rows, so no contract can be proposed from them",
            f"land a file with rows, or write contracts/{name}.yaml",
        )
    types = {column: _proposed(column, dtype, facts) for column, dtype in schema.items()}
    signs = {name: facts.get(f"signs {name}") or [] for name in types}
    missing = {sign for name, kind in types.items() if kind != "string" for sign in signs[name]}
    columns = tuple(
        Column(
            name=column,
            type=kind,
            required=facts[f"missing {column}"] == 0 and missing.isdisjoint(signs[column]),
        )
        for column, kind in types.items()
    )
    return Contract(name=name, version="1.0.0", columns=columns, missing=tuple(sorted(missing)))


def _facts(schema: pl.Schema) -> Iterator[pl.Expr]:
    for column, dtype in schema.items():
        cell = pl.col(column)
        yield cell.null_count().alias(f"missing {column}")
        if dtype == pl.String:
            sign = cell.is_in(_MISSING)
            value = pl.when(~sign).then(cell)
            yield cell.filter(sign).unique().implode().alias(f"signs {column}")
            yield value.is_not_null().any().alias(f"present {column}")
            yield value.str.contains(_CODE).any().alias(f"code {column}")
            for kind in _GUESSES:
                yield readable_as(value, kind).all().alias(f"{kind} {column}")


def _proposed(column: str, dtype: pl.DataType, facts: Mapping[str, Any]) -> LogicalType:
    if dtype != pl.String:
        return logical(column, dtype)
    if not facts[f"present {column}"]:
        return "string"
    for kind in _GUESSES:
        if facts[f"{kind} {column}"]:
            code = kind in ("integer", "number") and facts[f"code {column}"]
            return "string" if code else kind
    return "string"
