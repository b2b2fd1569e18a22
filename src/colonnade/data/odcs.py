"""Contracts as files: YAML of the Open Data Contract Standard, read and written without loss.

A file is two things: the `Contract`, all that is checked or governs the rows, and the document,
everything that it says. What only describes (team, roles, servers, support, prices, notes) is
kept in the document and passed on as it came. A part of the standard that would bind rows and is
not checked is refused, never passed over. `terms` reads what stands beside the columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final, cast, get_args

import yaml
from open_data_contract_standard.model import (
    OpenDataContractStandard,
    SchemaObject,
    SchemaProperty,
)
from pydantic import ValidationError

from colonnade.base.errors import ColonnadeError, RefusedError
from colonnade.base.text import closest
from colonnade.data.terms import ADDED, ENGINE, SUBJECT, Terms, custom_of, unchecked, wrong
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.contract import BatchRule, Column, Contract, LogicalType, Scalar

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
_PERSONAL: Final = re.compile(r"personal|pii|sensitive", re.IGNORECASE)
_MAX_DEPTH: Final = 32
_MAX_LENGTH: Final = 2**32 - 1
_EXACT: Final = 2**53  # a record holds no larger integer
_NESTED: Final = ("properties", "items", "map")
_VERSION: Final = re.compile(r"(v?[0-9]{1,6}\.)([0-9]{1,6})(\.[0-9]+)?")
Document = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A contract and everything that its file says."""

    contract: Contract
    document: Document


def read(path: Path) -> Contract:
    """The contract in a file, such that it may bind.

    Raises:
        UsageError: CN-CONTRACT-001, it is no contract; CN-CONTRACT-002, it asks for something
            that is not checked.
        RefusedError: CN-CONTRACT-003, a column is personal data.
    """
    contract = load(path).contract
    refuse_personal(path, contract)
    return contract


def load(path: Path) -> Loaded:
    """A contract's file, to look at or to compare.

    Raises:
        UsageError: CN-CONTRACT-001, it is no contract; CN-CONTRACT-002, it asks for something
            that is not checked.
    """
    try:
        if not path.is_file():
            raise wrong(path, "it is no regular file")
        text = path.read_text(encoding="utf-8-sig")
        _check_form(path, text)
        found = _plain(yaml.safe_load(text))
        parsed = OpenDataContractStandard.model_validate(found)
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise wrong(path, _first_problem(error)) from error
    return _contract(path, cast("Document", found), parsed)


def of_document(name: str, document: Document) -> Loaded:
    """A contract from a document that was kept.

    Raises:
        UsageError: CN-CONTRACT-001, CN-CONTRACT-002: this version does not understand it.
    """
    path = Path(f"{name}.yaml")
    try:
        parsed = OpenDataContractStandard.model_validate(document)
    except ValidationError as error:
        raise wrong(path, _first_problem(error)) from error
    return _contract(path, document, parsed)


def _contract(path: Path, found: Document, document: OpenDataContractStandard) -> Loaded:
    known = document.kind in (None, "DataContract")
    if not known or not (document.apiVersion or "v3.").startswith("v3."):
        said = f"{document.kind} {document.apiVersion}"
        raise wrong(path, f"kind and apiVersion are {said}, expected DataContract v3.…")
    place = _table(path, document.schema_ or [])
    table = (document.schema_ or [])[place]
    _refuse_unknown(path, cast("Any", found["schema"])[place])
    columns = tuple(_column(path, column) for column in table.properties or [])
    _check_names(path, table.properties or [])
    terms = Terms(path, document, table)
    key = terms.primary_key()
    if len(key) == 1:
        columns = tuple(replace(c, unique=c.unique or c.name in key) for c in columns)
    contract = Contract(
        name=path.stem,
        version=document.version or "1.0.0",
        columns=columns,
        rules=terms.rules(),
        missing=terms.missing(),
        stop_above=terms.stop_above(),
        primary_key=key,
        unique=terms.unique(),
        references=terms.references(),
        batch=terms.batch(),
        freshness=terms.freshness(),
        drift=terms.drift(),
        owner=terms.owner(),
        purpose=terms.purpose(),
        subject=terms.subject(),
        retention_d=terms.retention_d(),
        document=digest(path, found),
    )
    return Loaded(contract, found)


def names_in(loaded: Loaded) -> tuple[str, ...]:
    """What a document calls itself and its table: a source may go by any of these."""
    tables = cast("Any", loaded.document["schema"])
    names = [tables[0].get("name"), tables[0].get("physicalName"), loaded.document.get("id")]
    return tuple(name for name in names if isinstance(name, str))


def digest(path: Path, document: Document) -> str:
    """The digest of a document.

    Raises:
        UsageError: CN-CONTRACT-001, a record cannot hold it.
    """
    try:
        return canonical.digest(document)
    except ColonnadeError as error:
        raise wrong(path, error.message) from error


def write(path: Path, contract: Contract) -> None:
    """Write a contract where there is none yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(text_of(document_of(contract)))


def text_of(document: Document) -> str:
    """A document as the text of a file, its parts in their order."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def with_columns(loaded: Loaded, columns: Sequence[Column]) -> Document:
    """The document with further columns and the next minor version; all else as it was."""
    document = cast("dict[str, Any]", canonical.plain(loaded.document))
    names = {column.name for column in loaded.contract.columns}
    table = next(
        table
        for table in document["schema"]
        if {column["name"] for column in table.get("properties") or []} == names
    )
    table["properties"] += [_property(column, loaded.contract) for column in columns]
    document["version"] = next_version(loaded.contract.version)
    return document


def next_version(version: str) -> str:
    """The version that an addition gets: the next minor one."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return f"{version}.1"
    return f"{match[1]}{int(match[2]) + 1}" + (".0" if match[3] else "")


def document_of(contract: Contract) -> Document:
    """A document that says what a contract says."""
    table: dict[str, Any] = {
        "name": contract.name,
        "properties": [_property(column, contract) for column in contract.columns],
    }
    if contract.references:
        table["relationships"] = [
            {
                "type": "foreignKey",
                "from": [f"{contract.name}.{column}" for column in reference.columns],
                "to": [f"{reference.table}.{column}" for column in reference.to],
            }
            for reference in contract.references
        ]
    if contract.batch:
        table["quality"] = [_quality(rule) for rule in contract.batch]
    said = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": contract.name,
        "version": contract.version,
        "status": "active",
        "description": {"purpose": contract.purpose} if contract.purpose else None,
        "schema": [table],
        "team": {"name": contract.owner} if contract.owner else None,
        "slaProperties": _ages(contract) or None,
        "customProperties": _listed(
            missing=list(contract.missing) or None,
            stopAbove=contract.stop_above,
            rowRules={rule.name: rule.sql for rule in contract.rules} or None,
            drift=None if contract.drift == "stop" else contract.drift,
            uniqueKeys=[list(key) for key in contract.unique] or None,
        ),
    }
    return cast(
        "Document",
        canonical.plain({name: value for name, value in said.items() if value is not None}),
    )


def refuse_personal(path: Path, contract: Contract) -> None:
    """Refuse to read rows that only a vault may keep.

    Raises:
        RefusedError: CN-CONTRACT-003.
    """
    personal = [column.name for column in contract.columns if column.personal]
    if personal:
        raise RefusedError(
            "CN-CONTRACT-003",
            f"{path.name}: {', '.join(personal)} is classified as personal data, and this version "
            "has no vault to pseudonymise it; nothing was read",
            "leave the column out of the landing files and of the contract",
        )


def _plain(value: object) -> Json:
    """What YAML reads as JSON values; what it takes for a date is its text."""
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else cast("Json", value)


def _table(path: Path, tables: Sequence[SchemaObject]) -> int:
    """The place of the table that a file is for: its only one, or the one of its name."""
    places = list(range(len(tables)))
    if len(tables) > 1:
        places = [p for p in places if path.stem in (tables[p].name, tables[p].physicalName)]
    if len(places) != 1 or not tables[places[0]].properties:
        raise wrong(
            path,
            f"schema lists {len(tables)} tables, expected one with its properties, or one that "
            f"is called {path.stem}",
        )
    return places[0]


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
            raise wrong(path, f"line {line}: *{event.anchor} repeats a part: write it out")
        said = open_[-1] if open_ else None
        if said is not None:
            word = event.value if isinstance(event, yaml.ScalarEvent) else ""
            if len(said) % 2 == 0 and word in said[::2]:
                raise wrong(path, f"line {line}: {word!r} is said twice")
            said.append(word)
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append([] if isinstance(event, yaml.MappingStartEvent) else None)
        if len(open_) > _MAX_DEPTH:
            raise wrong(path, f"line {line}: more than {_MAX_DEPTH} parts in one another")


def _first_problem(error: Exception) -> str:
    """What a library says, in one line, without its own advice."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        return f"{place}: {first['msg']}, found {str(first['input'])[:60]!r}"
    return " ".join(str(error).split())[:300]


def _column(path: Path, found: SchemaProperty) -> Column:
    if not found.name:
        raise wrong(path, "a column has no name")
    name = found.name
    if found.logicalType not in TYPES:
        hint = closest(str(found.logicalType), TYPES)
        raise wrong(path, f"column {name} has the logicalType {found.logicalType!r}; {hint}")
    for part in _NESTED:
        if getattr(found, part):
            raise unchecked(path, f"{part} of {name}")
    kind = found.logicalType
    fields: dict[str, Any] = {}
    for option, value in (found.logicalTypeOptions or {}).items():
        if option not in _OPTIONS:
            raise unchecked(path, f"logicalTypeOptions.{option} of column {name}")
        fields[_OPTIONS[option]] = _option(path, f"{option} of column {name}", kind, option, value)
    return Column(
        name=name,
        type=kind,
        required=bool(found.required or found.primaryKey),
        unique=bool(found.unique),
        enum=tuple(
            _value(path, f"enum of column {name}", kind, each.value) for each in found.enum or []
        ),
        personal=bool(
            _PERSONAL.search(found.classification or "")
            or any(_PERSONAL.search(tag) for tag in found.tags or [])
        ),
        classification=found.classification,
        added=custom_of(found).get(ADDED) is True,
        **fields,
    )


def _option(path: Path, what: str, kind: LogicalType, option: str, value: object) -> Scalar:
    if option not in _APPLY[kind]:
        raise wrong(path, f"{what} means nothing for the logicalType {kind}")
    if option in ("minLength", "maxLength"):
        length = _value(path, what, "integer", value)
        if not 0 <= cast("int", length) <= _MAX_LENGTH:
            raise wrong(path, f"{what} is {value!r}, expected 0 to {_MAX_LENGTH}")
        return length
    return _value(path, what, kind, value)


def _value(path: Path, what: str, kind: LogicalType, value: object) -> Scalar:
    """A bound or an allowed value."""
    right = isinstance(value, _PYTHON.get(kind, (str,)))
    right &= kind == "boolean" or not isinstance(value, bool)
    right &= not isinstance(value, int) or abs(value) < _EXACT
    if not right or (isinstance(value, float) and not math.isfinite(value)):
        raise wrong(path, f"{what} is {value!r}, expected a value of the type {kind}")
    return cast("Scalar", value)


def _property(column: Column, contract: Contract) -> dict[str, Any]:
    options = {
        option: getattr(column, field)
        for option, field in _OPTIONS.items()
        if getattr(column, field) is not None
    }
    key = column.name in contract.primary_key
    place = contract.primary_key.index(column.name) + 1 if key else None
    said = {
        "name": column.name,
        "logicalType": column.type,
        "logicalTypeOptions": options or None,
        "required": column.required or None,
        "unique": column.unique or None,
        "primaryKey": key or None,
        "primaryKeyPosition": place,
        "classification": column.classification,
        "tags": ["personal"] if column.personal and not column.classification else None,
        "enum": [{"value": value} for value in column.enum] or None,
        "customProperties": _listed(
            **{SUBJECT: column.name == contract.subject or None, ADDED: column.added or None}
        ),
    }
    return {name: value for name, value in said.items() if value is not None}


def _listed(**values: object) -> list[dict[str, object]] | None:
    """Custom properties that are said."""
    said = [{"property": name, "value": v} for name, v in values.items() if v is not None]
    return said or None


def _quality(rule: BatchRule) -> dict[str, Any]:
    values = list(rule.values)
    said: dict[str, Any] = {
        "name": rule.name,
        rule.operator: values if len(values) > 1 else values[0],
        "severity": "error" if rule.severity == "stop" else "warning",
    }
    if rule.metric == "volume":
        implementation = {"metric": "volume", "batches": rule.batches}
        return {**said, "type": "custom", "engine": ENGINE, "implementation": implementation}
    said |= {"type": "library", "metric": rule.metric}
    if rule.columns:
        said |= {"arguments": {"properties": list(rule.columns)}}
        said |= {"unit": "percent" if rule.percent else "rows"}
    return said


def _ages(contract: Contract) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = [
        {
            "property": "latency",
            "value": age.within_s,
            "unit": "s",
            "element": f"{contract.name}.{age.column}",
            "customProperties": _listed(severity="warning" if age.severity == "warn" else "error"),
        }
        for age in contract.freshness
    ]
    if contract.retention_d is not None:
        said.append({"property": "retention", "value": contract.retention_d, "unit": "d"})
    return said


def _check_names(path: Path, columns: list[SchemaProperty]) -> None:
    names = [column.name for column in columns]
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        raise wrong(path, f"column {twice[0]} is described twice")


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
            raise wrong(path, f"{what} has the unknown field {word!r}; {hint}")
