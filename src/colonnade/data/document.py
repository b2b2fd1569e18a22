"""The document of a contract: everything that its file says, as JSON values, and as text.

A contract without a file gets one from what it binds; a document that was read is passed on as it
came, its parts in their order.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any, Final, cast

import yaml

from colonnade.data.terms import ADDED, ENGINE, SUBJECT
from colonnade.records.canonical import Json
from colonnade.records.contract import BatchRule, Column, Contract

API_VERSION: Final = "v3.1.0"
OPTIONS: Final = {
    "minimum": "minimum",
    "maximum": "maximum",
    "minLength": "min_length",
    "maxLength": "max_length",
    "pattern": "pattern",
}
Document = dict[str, Json]


def plain(value: object) -> Json:
    """What YAML reads as JSON values; what it takes for a date is its text."""
    if isinstance(value, dict):
        return {str(plain(name)): plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else cast("Json", value)


def bytes_of(document: Document) -> bytes:
    """A document as it is kept: JSON, its parts in their order.

    Raises:
        ValueError: JSON cannot hold it.
    """
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def from_bytes(data: bytes) -> Document:
    """What `bytes_of` wrote."""
    return cast("Document", json.loads(data))


def text_of(document: Document) -> str:
    """A document as the text of a file, its parts in their order."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def document_of(contract: Contract) -> Document:
    """A document that says what a contract says."""
    table: dict[str, Any] = {
        "name": contract.name,
        "properties": [property_of(column, contract) for column in contract.columns],
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
            rulesInCode={rule.name: rule.sql for rule in contract.coded} or None,
            rowRules={rule.name: rule.sql for rule in contract.rules} or None,
            drift=None if contract.drift == "stop" else contract.drift,
            uniqueKeys=[list(key) for key in contract.unique] or None,
        ),
    }
    return cast("Document", plain({name: v for name, v in said.items() if v is not None}))


def property_of(column: Column, contract: Contract) -> dict[str, Any]:
    """A column as the standard writes it."""
    options = {
        option: getattr(column, field)
        for option, field in OPTIONS.items()
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
