"""Contracts as files: YAML of the Open Data Contract Standard, read and written without loss.

A file is two things: the `Contract`, all that is checked or governs the rows, and the document,
everything that it says. What only describes (team, roles, servers, support, prices, notes) is
kept in the document and passed on as it came. A part of the standard that would bind rows and is
not checked is refused, never passed over. `terms` reads what stands beside the columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast, get_args

import yaml
from open_data_contract_standard.model import (
    CustomProperty,
    DataQuality,
    EnumValue,
    OpenDataContractStandard,
    Relationship,
    SchemaObject,
    SchemaProperty,
    ServiceLevelAgreementProperty,
)
from pydantic import BaseModel, ValidationError

from colonnade.base.errors import RefusedError
from colonnade.base.text import closest
from colonnade.data.document import OPTIONS, Document, bytes_of, document_of, plain, text_of
from colonnade.data.terms import ADDED, Terms, custom_of, unchecked, wrong
from colonnade.records import canonical
from colonnade.records.contract import Column, Contract, LogicalType, Scalar

TYPES: Final = cast("tuple[LogicalType, ...]", get_args(LogicalType))
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
PERSONAL: Final = re.compile(r"personal|pii|sensitive", re.IGNORECASE)
_MAX_DEPTH: Final = 32
_MAX_LENGTH: Final = 2**32 - 1
_EXACT: Final = 2**53  # a record holds no larger integer
_BINDING: Final[dict[str, type[BaseModel]]] = {
    "quality": DataQuality,
    "relationships": Relationship,
    "enum": EnumValue,
    "customProperties": CustomProperty,
}
_NESTED: Final = ("properties", "items", "map")


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
        found = plain(yaml.safe_load(text))
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
    _refuse_unknown(path, found, place)
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
        document=_digest(path, found),
    )
    return Loaded(contract, found)


def names_in(loaded: Loaded) -> tuple[str, ...]:
    """What a document calls itself and its table: a source may go by any of these."""
    tables = cast("Any", loaded.document["schema"])
    names = [tables[0].get("name"), tables[0].get("physicalName"), loaded.document.get("id")]
    return tuple(name for name in names if isinstance(name, str))


def _digest(path: Path, document: Document) -> str:
    try:
        return canonical.sha256(bytes_of(document))
    except ValueError as error:
        raise wrong(path, f"it holds what JSON cannot: {_first_problem(error)}") from error


def write(path: Path, contract: Contract) -> None:
    """Write a contract where there is none yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(text_of(document_of(contract)))


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
        if option not in OPTIONS:
            raise unchecked(path, f"logicalTypeOptions.{option} of column {name}")
        fields[OPTIONS[option]] = _option(path, f"{option} of column {name}", kind, option, value)
    return Column(
        name=name,
        type=kind,
        required=bool(found.required or found.primaryKey),
        unique=bool(found.unique),
        enum=tuple(
            _value(path, f"enum of column {name}", kind, each.value) for each in found.enum or []
        ),
        personal=bool(
            PERSONAL.search(found.classification or "")
            or any(PERSONAL.search(tag) for tag in found.tags or [])
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


def _check_names(path: Path, columns: list[SchemaProperty]) -> None:
    names = [column.name for column in columns]
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        raise wrong(path, f"column {twice[0]} is described twice")


def _refuse_unknown(path: Path, document: Any, place: int) -> None:  # noqa: ANN401 (JSON values)
    """The library passes over words that the standard does not have: a typing error would pass."""
    table = document["schema"][place]
    _refuse_words(path, "the table", table, SchemaObject)
    for column in table["properties"]:
        _refuse_words(path, f"column {column.get('name')}", column, SchemaProperty)
    for part in (table, *table["properties"]):
        for name, model in _BINDING.items():
            for found in part.get(name) or []:
                _refuse_words(path, f"{name} of {part.get('name')}", found, model)
    for found in document.get("slaProperties") or []:
        what = f"slaProperties {found.get('property')}"
        _refuse_words(path, what, found, ServiceLevelAgreementProperty)


def _refuse_words(path: Path, what: str, found: Iterable[str], model: type[BaseModel]) -> None:
    known = [field.alias or name for name, field in model.model_fields.items()]
    for word in found:
        if word not in known:
            hint = closest(str(word), known)
            raise wrong(path, f"{what} has the unknown field {word!r}; {hint}")
