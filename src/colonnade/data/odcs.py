"""Contracts as files: YAML of the Open Data Contract Standard, read, written and proposed.

What the standard has no place for stands under ``customProperties``: ``missing`` (texts that mean
nothing), ``stopAbove`` (share of bad rows that stops a batch) and ``rowRules`` (SQL conditions
over several columns, by name). A part of the standard that is not checked is refused, never
passed over.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, cast, get_args

import polars as pl
import yaml
from open_data_contract_standard.model import (
    CustomProperty,
    EnumValue,
    OpenDataContractStandard,
    SchemaObject,
    SchemaProperty,
)
from pydantic import ValidationError

from colonnade.base.errors import RefusedError, UsageError
from colonnade.base.text import closest
from colonnade.data.cells import readable_as
from colonnade.records.contract import STOP_ABOVE, Column, Contract, LogicalType, RowRule, Scalar

API_VERSION: Final = "v3.1.0"
TYPES: Final = cast("tuple[LogicalType, ...]", get_args(LogicalType))
_OPTIONS: Final = {
    "minimum": "minimum",
    "maximum": "maximum",
    "minLength": "min_length",
    "maxLength": "max_length",
    "pattern": "pattern",
}
_CUSTOM: Final = ("missing", "stopAbove", "rowRules")
_PERSONAL: Final = re.compile(r"personal|pii|sensitive", re.IGNORECASE)
_UNCHECKED_COLUMN: Final = ("quality", "relationships", "properties", "items", "map")
_UNCHECKED_TABLE: Final = ("quality", "relationships")


def read(path: Path) -> Contract:
    """The contract in a file.

    Raises:
        UsageError: CN-CONTRACT-001, it is no contract; CN-CONTRACT-002, it asks for something
            that is not checked.
        RefusedError: CN-CONTRACT-003, a column is personal data.
    """
    try:
        document = OpenDataContractStandard.from_string(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValidationError, TypeError, UnicodeDecodeError) as error:
        raise _wrong(path, " ".join(str(error).split())[:300]) from error
    tables = document.schema_ or []
    if len(tables) != 1 or not tables[0].properties:
        raise _wrong(path, f"schema lists {len(tables)} tables, expected one with its properties")
    _refuse_unchecked(path, tables[0], _UNCHECKED_TABLE)
    custom = _custom(path, document.customProperties or [])
    contract = Contract(
        name=path.stem,
        version=document.version or "1.0.0",
        columns=tuple(_column(path, column) for column in tables[0].properties),
        rules=tuple(
            RowRule(name=str(name), sql=str(sql))
            for name, sql in cast("Mapping[str, str]", custom.get("rowRules", {})).items()
        ),
        missing=tuple(map(str, cast("list[str]", custom.get("missing", [])))),
        stop_above=float(cast("float", custom.get("stopAbove", STOP_ABOVE))),
    )
    _refuse_personal(path, contract)
    return contract


def write(path: Path, contract: Contract) -> None:
    """Write a contract where there is none yet."""
    custom = [
        CustomProperty(property=name, value=value)
        for name, value in (
            ("missing", list(contract.missing)),
            ("stopAbove", contract.stop_above),
            ("rowRules", {rule.name: rule.sql for rule in contract.rules}),
        )
        if value
    ]
    table = SchemaObject(name=contract.name, properties=[_property(c) for c in contract.columns])
    document = OpenDataContractStandard(
        apiVersion=API_VERSION,
        kind="DataContract",
        id=contract.name,
        version=contract.version,
        status="active",
        schema=[table],
        customProperties=custom,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8") as file:
        file.write(document.to_yaml())
        file.flush()
        with suppress(FileExistsError):  # another run proposed it meanwhile: that one binds
            os.link(file.name, path)


def propose(name: str, frame: pl.LazyFrame) -> Contract:
    """A contract that the rows at hand fulfil: types, and which columns are never missing.

    Ranges and sets of values are for people to state: what came once is no rule.
    """
    schema = frame.collect_schema()
    rows = frame.select(pl.len()).collect().item()
    facts = frame.select(
        expression
        for column, dtype in schema.items()
        for expression in (
            pl.col(column).null_count().alias(f"missing {column}"),
            *(
                readable_as(pl.col(column), kind).all().alias(f"{kind} {column}")
                for kind in TYPES
                if dtype == pl.String and kind != "string"
            ),
        )
    ).collect()
    columns = tuple(
        Column(
            name=column,
            type=_proposed(column, dtype, facts, rows),
            required=facts[f"missing {column}"].item() == 0,
        )
        for column, dtype in schema.items()
    )
    return Contract(name=name, version="1.0.0", columns=columns)


def _proposed(column: str, dtype: pl.DataType, facts: pl.DataFrame, rows: int) -> LogicalType:
    if dtype != pl.String:
        return logical(column, dtype)
    if facts[f"missing {column}"].item() == rows:
        return "string"
    order: tuple[LogicalType, ...] = ("integer", "number", "boolean", "date", "timestamp")
    return next((kind for kind in order if facts[f"{kind} {column}"].item()), "string")


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


def _column(path: Path, found: SchemaProperty) -> Column:
    name = found.name or "?"
    if found.logicalType not in TYPES:
        hint = closest(str(found.logicalType), TYPES)
        raise _wrong(path, f"column {name} has the logicalType {found.logicalType!r}; {hint}")
    _refuse_unchecked(path, found, _UNCHECKED_COLUMN)
    options = found.logicalTypeOptions or {}
    for option in options:
        if option not in _OPTIONS:
            raise _unchecked(path, f"logicalTypeOptions.{option} of column {name}")
    fields = {_OPTIONS[option]: value for option, value in options.items()}
    return Column(
        name=name,
        type=found.logicalType,
        required=bool(found.required),
        unique=bool(found.unique or found.primaryKey),
        enum=tuple(cast("Scalar", value.value) for value in found.enum or []),
        personal=bool(
            _PERSONAL.search(found.classification or "")
            or any(_PERSONAL.search(tag) for tag in found.tags or [])
        ),
        **fields,
    )


def _property(column: Column) -> SchemaProperty:
    options = {
        option: getattr(column, field)
        for option, field in _OPTIONS.items()
        if getattr(column, field) is not None
    }
    return SchemaProperty(
        name=column.name,
        logicalType=column.type,
        logicalTypeOptions=options or None,
        required=column.required or None,
        unique=column.unique or None,
        enum=[EnumValue(value=value) for value in column.enum] or None,
    )


def _custom(path: Path, found: list[CustomProperty]) -> dict[str, object]:
    values = {}
    for item in found:
        if item.property not in _CUSTOM:
            raise _unchecked(path, f"customProperties.{item.property}")
        values[item.property] = item.value
    return values


def _refuse_unchecked(
    path: Path, part: SchemaProperty | SchemaObject, names: tuple[str, ...]
) -> None:
    for name in names:
        if getattr(part, name, None):
            raise _unchecked(path, f"{name} of {part.name}")


def _refuse_personal(path: Path, contract: Contract) -> None:
    personal = [column.name for column in contract.columns if column.personal]
    if personal:
        raise RefusedError(
            "CN-CONTRACT-003",
            f"{path.name}: {', '.join(personal)} is classified as personal data, and this version "
            "has no vault to pseudonymise it; nothing was read",
            "leave the column out of the landing files and of the contract",
        )


def _unchecked(path: Path, what: str) -> UsageError:
    return UsageError(
        "CN-CONTRACT-002",
        f"{path.name}: {what} is not checked by this version",
        "take it out, or say it as logicalTypeOptions, enum, required, unique or a rowRule",
    )


def _wrong(path: Path, found: str) -> UsageError:
    return UsageError(
        "CN-CONTRACT-001",
        f"{path.name} is no contract that can be used: {found}",
        "see docs/contracts.md, or delete the file and let the next run propose one",
    )
