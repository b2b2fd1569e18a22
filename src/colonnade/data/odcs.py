"""Contracts as files: YAML of the Open Data Contract Standard, read and written.

What the standard has no place for stands under ``customProperties``: ``missing`` (texts that mean
nothing), ``stopAbove`` (share of bad rows that stops a batch) and ``rowRules`` (SQL conditions
over several columns, by name). A part of the standard that is not checked is refused, never
passed over.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Final, cast, get_args

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
_LENGTHS: Final = ("minLength", "maxLength", "pattern")
_BOUNDS: Final = ("minimum", "maximum")
_PYTHON: Final[dict[LogicalType, tuple[type, ...]]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_APPLY: Final[dict[LogicalType, tuple[str, ...]]] = {
    "string": _LENGTHS,
    "integer": _BOUNDS,
    "number": _BOUNDS,
    "boolean": (),
    "date": _BOUNDS,
    "timestamp": _BOUNDS,
}
_CUSTOM: Final = ("missing", "stopAbove", "rowRules")
_PERSONAL: Final = re.compile(r"personal|pii|sensitive", re.IGNORECASE)
_MAX_DEPTH: Final = 32
_MAX_LENGTH: Final = 2**32 - 1
_EXACT: Final = 2**53  # a record holds no larger integer
_UNCHECKED_TABLE: Final = ("quality", "relationships", "customProperties")
_UNCHECKED_COLUMN: Final = (*_UNCHECKED_TABLE, "properties", "items", "map")


def read(path: Path) -> Contract:
    """The contract in a file.

    Raises:
        UsageError: CN-CONTRACT-001, it is no contract; CN-CONTRACT-002, it asks for something
            that is not checked.
        RefusedError: CN-CONTRACT-003, a column is personal data.
    """
    try:
        if not path.is_file():
            raise _wrong(path, "it is no regular file")
        text = path.read_text(encoding="utf-8-sig")
        _check_form(path, text)
        document = OpenDataContractStandard.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise _wrong(path, _first_problem(error)) from error
    known = document.kind in (None, "DataContract")
    if not known or not (document.apiVersion or "v3.").startswith("v3."):
        found = f"{document.kind} {document.apiVersion}"
        raise _wrong(path, f"kind and apiVersion are {found}, expected DataContract v3.…")
    tables = document.schema_ or []
    if len(tables) != 1 or not tables[0].properties:
        raise _wrong(path, f"schema lists {len(tables)} tables, expected one with its properties")
    _refuse_unknown(path, yaml.safe_load(text)["schema"][0])
    _refuse_unchecked(path, tables[0], _UNCHECKED_TABLE)
    columns = tuple(_column(path, column) for column in tables[0].properties)
    _check_names(path, tables[0].properties)
    _refuse_personal(path, columns)
    custom = _custom(path, document.customProperties or [])
    return Contract(
        name=path.stem,
        version=document.version or "1.0.0",
        columns=columns,
        rules=_rules(path, custom.get("rowRules", {})),
        missing=_texts(path, custom.get("missing", [])),
        stop_above=_share(path, custom.get("stopAbove", STOP_ABOVE)),
    )


def write(path: Path, contract: Contract) -> None:
    """Write a contract where there is none yet."""
    custom = [
        CustomProperty(property=name, value=value)
        for name, value in (
            ("missing", list(contract.missing) or None),
            ("stopAbove", contract.stop_above),
            ("rowRules", {rule.name: rule.sql for rule in contract.rules} or None),
        )
        if value is not None
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
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(document.to_yaml())


def _check_form(path: Path, text: str) -> None:
    """What YAML allows and a contract does not: depth, aliases (they multiply), a key twice."""
    open_: list[list[str] | None] = []  # of each open part: a mapping's keys and values; None
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.CollectionEndEvent):
            open_.pop()
        if not isinstance(event, yaml.NodeEvent):
            continue
        if isinstance(event, yaml.AliasEvent):
            raise _wrong(path, f"line {line}: *{event.anchor} repeats a part: write it out")
        said = open_[-1] if open_ else None
        if said is not None:
            word = event.value if isinstance(event, yaml.ScalarEvent) else ""
            if len(said) % 2 == 0 and word in said[::2]:
                raise _wrong(path, f"line {line}: {word!r} is said twice")
            said.append(word)
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append([] if isinstance(event, yaml.MappingStartEvent) else None)
        if len(open_) > _MAX_DEPTH:
            raise _wrong(path, f"line {line}: more than {_MAX_DEPTH} parts in one another")


def _first_problem(error: Exception) -> str:
    """What a library says, in one line, without its own advice."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        return f"{place}: {first['msg']}, found {str(first['input'])[:60]!r}"
    return " ".join(str(error).split())[:300]


def _column(path: Path, found: SchemaProperty) -> Column:
    if not found.name:
        raise _wrong(path, "a column has no name")
    name = found.name
    if found.logicalType not in TYPES:
        hint = closest(str(found.logicalType), TYPES)
        raise _wrong(path, f"column {name} has the logicalType {found.logicalType!r}; {hint}")
    _refuse_unchecked(path, found, _UNCHECKED_COLUMN)
    kind = found.logicalType
    fields: dict[str, Any] = {}
    for option, value in (found.logicalTypeOptions or {}).items():
        if option not in _OPTIONS:
            raise _unchecked(path, f"logicalTypeOptions.{option} of column {name}")
        fields[_OPTIONS[option]] = _option(path, f"{option} of column {name}", kind, option, value)
    return Column(
        name=name,
        type=kind,
        required=bool(found.required or found.primaryKey),
        unique=bool(found.unique or found.primaryKey),
        enum=tuple(
            _value(path, f"enum of column {name}", kind, each.value) for each in found.enum or []
        ),
        personal=bool(
            _PERSONAL.search(found.classification or "")
            or any(_PERSONAL.search(tag) for tag in found.tags or [])
        ),
        **fields,
    )


def _option(path: Path, what: str, kind: LogicalType, option: str, value: object) -> Scalar:
    if option not in _APPLY[kind]:
        raise _wrong(path, f"{what} means nothing for the logicalType {kind}")
    if option in ("minLength", "maxLength"):
        length = _value(path, what, "integer", value)
        if not 0 <= cast("int", length) <= _MAX_LENGTH:
            raise _wrong(path, f"{what} is {value!r}, expected 0 to {_MAX_LENGTH}")
        return length
    return _value(path, what, kind, value)


def _value(path: Path, what: str, kind: LogicalType, value: object) -> Scalar:
    """A bound or an allowed value; what YAML reads as a date is written as its text."""
    if kind in ("date", "timestamp") and isinstance(value, date):
        return value.isoformat()
    right = isinstance(value, _PYTHON.get(kind, (str,)))
    right &= kind == "boolean" or not isinstance(value, bool)
    right &= not isinstance(value, int) or abs(value) < _EXACT
    if not right or (isinstance(value, float) and not math.isfinite(value)):
        raise _wrong(path, f"{what} is {value!r}, expected a value of the type {kind}")
    return cast("Scalar", value)


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


def _texts(path: Path, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise _wrong(path, f"customProperties.missing is {value!r}, expected a list of texts")
    return tuple(value)


def _share(path: Path, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _wrong(path, f"customProperties.stopAbove is {value!r}, expected 0 to 1")
    return float(value)


def _rules(path: Path, value: object) -> tuple[RowRule, ...]:
    if not isinstance(value, dict) or not all(isinstance(sql, str) for sql in value.values()):
        raise _wrong(path, "customProperties.rowRules is no list of `name: SQL condition`")
    return tuple(RowRule(name=str(name), sql=sql) for name, sql in value.items())


def _check_names(path: Path, columns: list[SchemaProperty]) -> None:
    names = [column.name for column in columns]
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        raise _wrong(path, f"column {twice[0]} is described twice")
    keys = [str(column.name) for column in columns if column.primaryKey]
    if len(keys) > 1:
        raise _unchecked(path, f"a primaryKey of several columns ({', '.join(keys)})")


def _refuse_unknown(path: Path, table: Mapping[str, list[dict[str, object]]]) -> None:
    """The library passes over words that the standard does not have: a typing error would pass."""
    _refuse_words(path, "the table", table, SchemaObject.model_fields)
    for column in table["properties"]:
        what = f"column {column.get('name')}"
        _refuse_words(path, what, column, SchemaProperty.model_fields)


def _refuse_words(path: Path, what: str, found: Iterable[str], known: Iterable[str]) -> None:
    for word in found:
        if word not in known:
            hint = closest(str(word), known)
            raise _wrong(path, f"{what} has the unknown field {word!r}; {hint}")


def _refuse_unchecked(
    path: Path, part: SchemaProperty | SchemaObject, names: tuple[str, ...]
) -> None:
    for name in names:
        if getattr(part, name, None):
            raise _unchecked(path, f"{name} of {part.name}")


def _refuse_personal(path: Path, columns: Sequence[Column]) -> None:
    personal = [column.name for column in columns if column.personal]
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
