"""The terms of a contract beyond its columns: keys, references, rules of a batch, who and why.

Each is read from the place that the Open Data Contract Standard has for it, and written there.
What only describes is left alone: it is kept in the document, and binds nothing.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, cast, get_args

from open_data_contract_standard.model import (
    CustomProperty,
    DataQuality,
    OpenDataContractStandard,
    Relationship,
    SchemaObject,
    SchemaProperty,
    ServiceLevelAgreementProperty,
    Team,
)

from colonnade.base.errors import UsageError
from colonnade.base.text import closest
from colonnade.records.contract import (
    BATCHES,
    STOP_ABOVE,
    BatchRule,
    Drift,
    Freshness,
    Metric,
    Operator,
    Reference,
    RowRule,
    Severity,
)

ENGINE: Final = "colonnade"
SUBJECT: Final = "subjectKey"
ADDED: Final = "addedByDrift"
_CONTRACT: Final = ("missing", "stopAbove", "rowRules", "drift", "uniqueKeys")
_COLUMN: Final = (SUBJECT, ADDED)
_AGE: Final = ("latency", "freshness")
_DRIFTS: Final = cast("tuple[Drift, ...]", get_args(Drift))
_OPERATORS: Final = cast("tuple[Operator, ...]", get_args(Operator))
_RANGES: Final = ("mustBeBetween", "mustNotBeBetween")
_METRICS: Final = ("rowCount", "nullValues", "duplicateValues")
_SEVERITIES: Final[dict[str, Severity]] = {
    "error": "stop",
    "critical": "stop",
    "warning": "warn",
    "warn": "warn",
    "info": "warn",
}
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_UNITS: Final = {  # the standard's words for a span of time -> ours
    "sec": "s", "second": "s", "seconds": "s", "minute": "min", "minutes": "min", "hr": "h",
    "hour": "h", "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w", "yr": "y",
    "year": "y", "years": "y",
}  # fmt: skip
_QUALIFIED: Final = re.compile(r"/?schema/([^/]+)/properties/([^/]+)")
_MOST_BATCHES: Final = 100
_LONGEST_S: Final = 10**10


def wrong(path: Path, found: str) -> UsageError:
    """The file is no contract that can be used."""
    return UsageError(
        "CN-CONTRACT-001",
        f"{path.name} is no contract that can be used: {found}",
        "see docs/contracts.md, or delete the file and let the next run propose one",
    )


def unchecked(path: Path, what: str) -> UsageError:
    """It would bind rows, and nothing here checks it."""
    return UsageError(
        "CN-CONTRACT-002",
        f"{path.name}: {what} is not checked by this version",
        "take it out, or say it as logicalTypeOptions, enum, required, unique or a rowRule",
    )


class Terms:
    """Reads the terms of one table of a document.

    Args:
        path: of the file, for messages.
        document: the whole contract.
        table: the table that it is read for.
    """

    def __init__(self, path: Path, document: OpenDataContractStandard, table: SchemaObject) -> None:
        self._path = path
        self._document = document
        self._table = table
        self._only = len(document.schema_ or []) == 1  # whatever is named is named of this table
        self._types = {str(c.name): c.logicalType for c in table.properties or []}
        self._columns = list(self._types)
        self._custom = self._own(document.customProperties, _CONTRACT, "the contract")
        self._own(table.customProperties, (), f"table {table.name}")
        for column in table.properties or []:
            self._own(column.customProperties, _COLUMN, f"column {column.name}")

    def missing(self) -> tuple[str, ...]:
        """The texts that mean nothing."""
        value = self._custom.get("missing", [])
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self._wrong(f"customProperties.missing is {value!r}, expected a list of texts")
        return tuple(value)

    def stop_above(self) -> float:
        """The share of bad rows that stops a batch."""
        value = self._custom.get("stopAbove", STOP_ABOVE)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise self._wrong(f"customProperties.stopAbove is {value!r}, expected 0 to 1")
        return float(value)

    def rules(self) -> tuple[RowRule, ...]:
        """The conditions over several columns of a row."""
        value = self._custom.get("rowRules", {})
        if not isinstance(value, dict) or not all(isinstance(sql, str) for sql in value.values()):
            raise self._wrong("customProperties.rowRules is no list of `name: SQL condition`")
        return tuple(RowRule(name=str(name), sql=sql) for name, sql in value.items())

    def drift(self) -> Drift:
        """What is done with a column that nobody named."""
        value = self._custom.get("drift", "stop")
        if value not in _DRIFTS:
            raise self._wrong(f"customProperties.drift is {value!r}, expected stop, ignore or add")
        return cast("Drift", value)

    def primary_key(self) -> tuple[str, ...]:
        """The columns of the key, by position where the contract says one."""
        keys = [column for column in self._table.properties or [] if column.primaryKey]
        keys.sort(key=lambda column: column.primaryKeyPosition or len(keys))
        return tuple(str(column.name) for column in keys)

    def unique(self) -> tuple[tuple[str, ...], ...]:
        """Further keys of several columns."""
        value = self._custom.get("uniqueKeys", [])
        lists = isinstance(value, list) and all(isinstance(key, list) for key in value)
        if not lists or not all(isinstance(name, str) for key in value for name in key):
            raise self._wrong("customProperties.uniqueKeys is no list of lists of columns")
        for key in value:
            self._known("customProperties.uniqueKeys", key)
            if len(set(key)) < max(2, len(key)):
                raise self._wrong(f"customProperties.uniqueKeys: {key} is no key of two or more")
        return tuple(tuple(key) for key in value)

    def references(self) -> tuple[Reference, ...]:
        """The keys of other tables that rows must name."""
        found = [
            self._reference(relation, [str(column.name)])
            for column in self._table.properties or []
            for relation in column.relationships or []
        ]
        found += [self._reference(relation, None) for relation in self._table.relationships or []]
        return tuple(found)

    def batch(self) -> tuple[BatchRule, ...]:
        """The rules over all rows of a batch; what is said in words only binds nothing."""
        found = [self._quality(rule, ()) for rule in self._table.quality or []]
        for column in self._table.properties or []:
            found += [self._quality(rule, (str(column.name),)) for rule in column.quality or []]
        return tuple(rule for rule in found if rule is not None)

    def freshness(self) -> tuple[Freshness, ...]:
        """How old the newest row may be; an age of no column of this table is a description."""
        found = []
        for sla in self._document.slaProperties or []:
            if sla.property in _AGE:
                elements = sla.element or self._document.slaDefaultElement or ""
                for column in self._elements(elements):
                    if self._types[column] not in ("date", "timestamp"):
                        raise self._wrong(f"{sla.property} is said of {column}, which is no time")
                found += [
                    Freshness(
                        column=column,
                        within_s=self._span_s(sla),
                        severity=self._severity(_severity_of(sla), f"{sla.property} of {column}"),
                    )
                    for column in self._elements(elements)
                ]
        return tuple(found)

    def owner(self) -> str | None:
        """The team, or the member whose role says so."""
        team = self._document.team
        if isinstance(team, Team):
            if team.name:
                return team.name
            team = team.members
        owners = [m for m in team or [] if "owner" in (m.role or "").lower() and not m.dateOut]
        return next((member.username or member.name for member in owners), None)

    def purpose(self) -> str | None:
        """What the data is kept for."""
        return self._document.description.purpose if self._document.description else None

    def subject(self) -> str | None:
        """The column that says whom a row is about."""
        found = [
            str(column.name)
            for column in self._table.properties or []
            if custom_of(column).get(SUBJECT) is True
        ]
        if len(found) > 1:
            raise self._wrong(f"{SUBJECT} is said of {', '.join(found)}, expected one column")
        return next(iter(found), None)

    def retention_d(self) -> int | None:
        """Days for which rows are kept."""
        for sla in self._document.slaProperties or []:
            if sla.property == "retention":
                days = self._span_s(sla) // _SECONDS["d"]
                if not days:
                    raise self._wrong("slaProperties.retention is shorter than a day")
                return days
        return None

    def _own(
        self, found: Sequence[CustomProperty] | None, known: Sequence[str], what: str
    ) -> dict[str, Any]:
        """The properties that are ours; a typing error in one of them must not pass as a note."""
        values = {}
        for item in found or []:
            name = str(item.property)
            if name in known:
                if name in values:
                    raise self._wrong(f"customProperties.{name} is said twice")
                values[name] = item.value
            elif near := difflib.get_close_matches(name, (*_CONTRACT, *_COLUMN), 1, 0.8):
                hint = f"did you mean {near[0]!r}?"
                if near[0] == name:
                    hint = f"it belongs to {'a column' if name in _COLUMN else 'the contract'}"
                raise self._wrong(f"{what} has the customProperties.{name}: {hint}")
        return values

    def _reference(self, found: Relationship, columns: list[str] | None) -> Reference:
        said = [found.from_] if isinstance(found.from_, str) else found.from_ or []
        if columns is None:
            columns = [name for text in said for name in self._elements(text, must=True)]
        elif said:
            raise self._wrong(f"a relationship of column {columns[0]} says from, which is itself")
        to = [found.to] if isinstance(found.to, str) else found.to or []
        what = f"the relationship of {', '.join(columns) or self._table.name}"
        if found.type not in (None, "foreignKey"):
            raise self._wrong(f"{what} has the type {found.type!r}, expected foreignKey")
        targets = [self._target(text, what) for text in to]
        tables = {table for table, _ in targets}
        if len(tables) != 1 or len(targets) != len(columns):
            raise self._wrong(f"{what} must name as many columns of one table as it has itself")
        return Reference(
            columns=tuple(columns), table=tables.pop(), to=tuple(column for _, column in targets)
        )

    def _target(self, text: str, what: str) -> tuple[str, str]:
        qualified = _QUALIFIED.fullmatch(text)
        if qualified:
            return qualified[1], qualified[2]
        if "/" in text or "#" in text:
            raise unchecked(self._path, f"{what} to another file ({text})")
        table, _, column = text.partition(".")
        if not table or not column:
            raise self._wrong(f"{what} is to {text!r}, expected table.column")
        return table, column

    def _elements(self, text: str, *, must: bool = False) -> list[str]:
        """The columns of this table in ``table.column, column``; others are not meant here."""
        found = []
        for element in (part.strip() for part in text.split(",") if part.strip()):
            table, _, column = element.partition(".")
            known = (self._table.name, self._table.physicalName, self._path.stem)
            name = column if column and table in known else element
            if name in self._columns:
                found.append(name)
            elif must or (column and table in known) or (self._only and element not in known):
                raise self._wrong(f"{element!r} is no column; {closest(name, self._columns)}")
        return found

    def _quality(self, found: DataQuality, columns: tuple[str, ...]) -> BatchRule | None:
        of = f"column {columns[0]}" if columns else self._table.name
        metric = found.metric or found.rule
        what = f"quality {found.name or metric or found.type} of {of}"
        kind = found.type or "library"
        if kind == "text":
            return None
        if kind == "custom" and found.engine == ENGINE:
            return self._volume(found, what)
        if kind != "library" or metric not in _METRICS:
            raise unchecked(self._path, what)
        arguments = dict(found.arguments or {})
        listed = arguments.pop("properties", None)
        if listed is not None:
            if not isinstance(listed, list):
                raise self._wrong(f"{what}: properties is {listed!r}, expected a list of columns")
            self._known(f"{what}: properties", listed)
            columns = tuple(listed)
        if arguments:
            raise unchecked(self._path, f"{what}: arguments.{next(iter(arguments))}")
        if bool(columns) == (metric == "rowCount"):
            raise self._wrong(f"{what}: {metric} is said of {', '.join(columns) or 'no column'}")
        if found.unit not in (None, "rows", "percent") or (found.unit, metric) == (
            "percent",
            "rowCount",
        ):
            raise self._wrong(f"{what}: its unit is {found.unit!r}, expected rows or percent")
        operator, values = self._bounds(found, what)
        return BatchRule(
            name=found.name or "|".join([*([",".join(columns)] if columns else []), metric]),
            metric=cast("Metric", metric),
            operator=operator,
            values=values,
            columns=columns,
            percent=found.unit == "percent",
            severity=self._severity(found.severity, what),
        )

    def _volume(self, found: DataQuality, what: str) -> BatchRule:
        said = found.implementation if isinstance(found.implementation, dict) else {}
        batches = said.get("batches", BATCHES)
        if said.get("metric") != "volume" or set(said) - {"metric", "batches"}:
            raise self._wrong(f"{what}: implementation is no {{metric: volume, batches: 7}}")
        if isinstance(batches, bool) or not isinstance(batches, int):
            raise self._wrong(f"{what}: batches is {batches!r}, expected a whole number")
        if not 1 <= batches <= _MOST_BATCHES:
            raise self._wrong(f"{what}: batches is {batches}, expected 1 to {_MOST_BATCHES}")
        operator, values = self._bounds(found, what)
        return BatchRule(
            name=found.name or "volume",
            metric="volume",
            operator=operator,
            values=values,
            batches=batches,
            severity=self._severity(found.severity, what),
        )

    def _bounds(self, found: DataQuality, what: str) -> tuple[Operator, tuple[float, ...]]:
        said = [name for name in _OPERATORS if getattr(found, name) is not None]
        if len(said) != 1:
            raise self._wrong(f"{what} has {len(said)} conditions, expected one, such as mustBe")
        value = getattr(found, said[0])
        values = value if said[0] in _RANGES else [value]
        for number in values:
            right = isinstance(number, int | float) and not isinstance(number, bool)
            if not right or not math.isfinite(number):
                raise self._wrong(f"{what}: {said[0]} is {value!r}, expected a number")
        if list(values) != sorted(values):
            raise self._wrong(f"{what}: {said[0]} is {value!r}, expected the smaller number first")
        return said[0], tuple(map(float, values))

    def _severity(self, said: object, what: str) -> Severity:
        word = "error" if said is None else str(said).lower()
        if word not in _SEVERITIES:
            raise self._wrong(f"{what}: severity is {said!r}, expected error, warning or info")
        return _SEVERITIES[word]

    def _span_s(self, sla: ServiceLevelAgreementProperty) -> int:
        value, unit = sla.value, (sla.unit or "d").lower()
        unit = _UNITS.get(unit, unit)
        right = isinstance(value, int | float) and not isinstance(value, bool)
        span_s = float(str(value)) * _SECONDS.get(unit, 0) if right else 0.0
        if not 1 <= span_s <= _LONGEST_S:
            raise self._wrong(
                f"slaProperties.{sla.property} is {value!r} {sla.unit or 'd'}, expected a number "
                f"and one of {', '.join(_SECONDS)}"
            )
        return int(span_s)

    def _known(self, what: str, names: Iterable[object]) -> None:
        for name in names:
            if name not in self._columns:
                hint = closest(str(name), self._columns)
                raise self._wrong(f"{what}: {name!r} is no column; {hint}")

    def _wrong(self, found: str) -> UsageError:
        return wrong(self._path, found)


def custom_of(column: SchemaProperty) -> dict[str, object]:
    """The custom properties of a column by name."""
    return {str(item.property): item.value for item in column.customProperties or []}


def _severity_of(sla: ServiceLevelAgreementProperty) -> object:
    said = {item.property: item.value for item in sla.customProperties or []}
    return said.get("severity")
