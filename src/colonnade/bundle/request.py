"""The body of a prediction request: a typed decode that is fast, and a second look that explains.

`RequestReader` makes one struct type from the signature. msgspec checks every field in C while it
decodes: kinds, whole numbers, the range of single precision, unknown names, the number of rows.
It stops at the first problem and does not know what was meant; so a body that fails is read again
field by field, and the caller gets all problems (ten at most), each with row, field and reason.
No reason repeats a value: it may be personal.
"""

from __future__ import annotations

import contextlib
import json
import keyword
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Annotated, ClassVar, Final, Literal, Protocol, TypeAlias, cast

import msgspec
from msgspec import Meta

from colonnade.base.errors import UsageError
from colonnade.base.text import closest
from colonnade.bundle.key import KeyValue
from colonnade.records.model import Admitted, FieldKind, Signature

MAX_ROWS: Final = 10_000
MAX_PROBLEMS: Final = 10

Row: TypeAlias = msgspec.Struct

_FLOAT32_MAX: Final = 3.4028234663852886e38
_Number = Annotated[float, Meta(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)]
_Whole = (
    Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[float, Meta(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX, multiple_of=1)]
)
_TYPES: Final[dict[FieldKind, object]] = {
    "number": _Number | None,
    "integer": _Whole | None,
    "flag": bool | None,
    "category": str | None,
    "date": date | None,
    "datetime": datetime | None,
}
_EXPECTED: Final[dict[FieldKind, str]] = {
    "number": "expected a number within single precision, or null",
    "integer": "expected a whole number, or null",
    "flag": "expected true, false or null",
    "category": "expected a text, or null",
    "date": "expected a date as YYYY-MM-DD, or null",
    "datetime": "expected a time as YYYY-MM-DDTHH:MM:SSZ, or null",
}
_UNREADABLE: Final = (ValueError, RecursionError)  # msgspec's own, bytes that are no UTF-8, depth
_MISSING: Final = "missing; send null where the value is not known"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a request.

    Attributes:
        row: index from 0; None if it concerns the whole body.
        field: the name; None if it concerns the whole row.
    """

    row: int | None
    field: str | None
    reason: str


class RequestError(UsageError):
    """A request that cannot be scored, with everything that is wrong with it.

    Args:
        code: CN-REQUEST-001 (not readable), 002 (rows that do not fit the signature).
        problems: in the order of the body, ten at most.
    """

    http_status: ClassVar[int] = 422

    def __init__(self, code: str, problems: Sequence[Problem], fix: str) -> None:
        told = [_sentence(each) for each in problems[:3]]
        if len(problems) > len(told):
            told.append(f"and {len(problems) - len(told)} more")
        super().__init__(code, "; ".join(told), fix)
        self.problems = tuple(problems)


class RequestReader:
    """Decodes ``{"rows": [{feature: value, ...}, ...]}`` for one signature.

    Args:
        signature: names and kinds of the features, the key and the time.
        max_rows: rows that one request may carry.

    Attributes:
        row_type: the struct of one row: features, then key columns, then the time.
        names: the columns in that order; `msgspec.structs.astuple` of a row has the values in the
            same order. Key and time are None where the request does not carry them.
    """

    def __init__(self, signature: Signature, *, max_rows: int = MAX_ROWS) -> None:
        self._kinds = _kinds(signature)
        self._admitted = {
            feature.name: feature.admitted for feature in signature.features if feature.admitted
        }
        self._types = {
            name: _type_of(kind, self._admitted.get(name)) for name, kind in self._kinds.items()
        }
        self._required = frozenset(feature.name for feature in signature.features)
        self.names = tuple(self._kinds)
        self._attributes = {name: _attribute(name, i) for i, name in enumerate(self.names)}
        self._optional = [
            attrgetter(self._attributes[name]) for name in self.names if name not in self._required
        ]
        self.row_type = self._struct()
        self.max_rows = max_rows
        request = msgspec.json.Decoder(self._request_type())
        self._read = cast("Callable[[bytes], _Request]", request.decode)
        self._row = msgspec.json.Decoder(self.row_type)
        self._cells = {name: msgspec.json.Decoder(kind) for name, kind in self._types.items()}

    def decode(self, body: bytes) -> list[Row]:
        """Read a body, or say everything that is wrong with it.

        Raises:
            RequestError: CN-REQUEST-001 or 002.
        """
        try:
            rows = self._read(body).rows
        except _UNREADABLE as error:
            raise self._explained(body, error) from None
        if body.count(b'":') != self._names_in(rows) and (name := said_twice(body)) is not None:
            reason = f"the name {name[:64]!r} is said twice in one object"
            raise _refusal("CN-REQUEST-001", [Problem(None, None, reason)])
        return rows

    def _names_in(self, rows: list[Row]) -> int:
        """How many names a body has that says each once and none as null that may be left out."""
        count = 1 + len(rows) * len(self._required)
        for optional in self._optional:
            count += len(rows) - list(map(optional, rows)).count(None)
        return count

    def getter(self, names: Sequence[str]) -> Callable[[Row], tuple[KeyValue, ...]]:
        """A function that takes these columns' values out of a row, as a tuple."""
        if not names:
            return lambda _row: ()
        places = [self._attributes[name] for name in names]
        if len(places) == 1:
            one: Callable[[Row], KeyValue] = attrgetter(places[0])
            return lambda row: (one(row),)
        return cast("Callable[[Row], tuple[KeyValue, ...]]", attrgetter(*places))

    def _struct(self) -> type[Row]:
        fields: list[tuple[str, object] | tuple[str, object, None]] = []
        for name, kind in self._types.items():
            place = (self._attributes[name], kind)
            fields.append(place if name in self._required else (*place, None))
        return msgspec.defstruct(
            "Row",
            cast("list[str]", fields),
            rename={attribute: name for name, attribute in self._attributes.items()},
            forbid_unknown_fields=True,
            gc=False,  # a row holds no containers, so it cannot be part of a cycle
        )

    def _request_type(self) -> type[msgspec.Struct]:
        size = Meta(min_length=1, max_length=self.max_rows)
        rows = Annotated[list[self.row_type], size]  # type: ignore[name-defined]
        return msgspec.defstruct("Request", [("rows", rows)], forbid_unknown_fields=True)

    def _explained(self, body: bytes, error: Exception) -> RequestError:
        """Read a body that failed once more, slowly, and collect what is wrong."""
        try:
            rows = self._open(body)
        except _WholeBody as reason:
            return _refusal("CN-REQUEST-001", [Problem(None, None, str(reason))])
        problems: list[Problem] = []
        for index, raw in enumerate(rows):
            if len(problems) >= MAX_PROBLEMS:
                break
            problems += self._row_problems(index, raw)
        if not problems:
            problems = [Problem(None, None, str(error))]
        return _refusal("CN-REQUEST-002", problems[:MAX_PROBLEMS])

    def _open(self, body: bytes) -> list[msgspec.Raw]:
        """The rows as raw JSON."""
        try:
            parts = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError:
            raise _WholeBody('expected an object {"rows": [...]}') from None
        except _UNREADABLE as error:
            raise _WholeBody(f"not readable as JSON: {error}") from None
        if unknown := sorted(parts.keys() - {"rows"}):
            raise _WholeBody(f"unknown field {unknown[0][:64]!r} beside 'rows'")
        try:
            rows = msgspec.json.decode(parts["rows"], type=list[msgspec.Raw])
        except (KeyError, *_UNREADABLE):
            raise _WholeBody("'rows' is missing or is not a list") from None
        if not 1 <= len(rows) <= self.max_rows:
            raise _WholeBody(f"{len(rows)} rows; expected 1 to {self.max_rows}")
        return rows

    def _row_problems(self, index: int, raw: msgspec.Raw) -> list[Problem]:
        with contextlib.suppress(*_UNREADABLE):
            self._row.decode(raw)
            return []
        try:
            cells = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except _UNREADABLE:
            return [Problem(index, None, "expected an object of features")]
        missing = [name for name in self.names if name in self._required - cells.keys()]
        problems = [Problem(index, name, _MISSING) for name in missing]
        for name, cell in cells.items():
            if reason := self._cell_problem(name, cell, missing):
                problems.append(Problem(index, name[:64], reason))
        return problems

    def _cell_problem(self, name: str, cell: msgspec.Raw, missing: Sequence[str]) -> str | None:
        kind = self._kinds.get(name)
        if kind is None:
            return f"unknown field; {closest(name, missing or self.names)}"
        try:
            self._cells[name].decode(cell)
        except _UNREADABLE:
            return _expected(kind, self._admitted.get(name))
        return None


def said_twice(body: bytes) -> str | None:
    """A name that one object of a JSON text says twice: of two values a reader takes either.

    It reads all of the text, which has been read before, in Python: for bodies of which a count
    of names says that there may be one.
    """
    try:
        json.loads(
            body, object_pairs_hook=_pairs, parse_int=str, parse_float=str, parse_constant=str
        )
    except _TwiceError as twice:
        return twice.name
    return None


def _pairs(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise _TwiceError(next(name for name in names if names.count(name) > 1))


class _TwiceError(Exception):
    """Carries a name out of the JSON reader."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Request(Protocol):
    """A decoded body."""

    rows: list[Row]


class _WholeBody(Exception):  # noqa: N818 - carries one reason, never leaves this module
    """There are no rows to look at."""


def _kinds(signature: Signature) -> dict[str, FieldKind]:
    """Every column of a row: features, then key columns, then the time; a name comes once."""
    kinds: dict[str, FieldKind] = {feature.name: feature.kind for feature in signature.features}
    for field in signature.key:
        kinds.setdefault(field.name, field.kind)
    if signature.time is not None:
        kinds.setdefault(signature.time, "datetime")
    return kinds


def _type_of(kind: FieldKind, admitted: Admitted | None) -> object:
    """The type of a cell, as narrow as the contract of its source says."""
    if admitted is None:
        return _TYPES[kind]
    least = max(-_FLOAT32_MAX, _or(admitted.minimum, -_FLOAT32_MAX))
    most = min(_FLOAT32_MAX, _or(admitted.maximum, _FLOAT32_MAX))
    if kind == "number":
        return Annotated[float, Meta(ge=least, le=most)] | None
    if kind == "integer":
        smallest, largest = max(-(2**63), math.ceil(least)), min(2**63 - 1, math.floor(most))
        whole = Annotated[int, Meta(ge=smallest, le=largest)]
        return whole | Annotated[float, Meta(ge=least, le=most, multiple_of=1)] | None
    if kind != "category":
        return _TYPES[kind]
    if admitted.values:
        return Literal[admitted.values] | None
    size = Meta(min_length=admitted.min_length, max_length=admitted.max_length)
    return Annotated[str, size] | None


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _expected(kind: FieldKind, admitted: Admitted | None) -> str:
    """What a cell should have been; of the contract its bounds, and never what came."""
    if admitted is None:
        return _EXPECTED[kind]
    says = [
        f"{word} {value:.12g}"
        for word, value in (("at least", admitted.minimum), ("at most", admitted.maximum))
        if value is not None and kind in ("number", "integer")
    ]
    if kind == "category":
        lengths = (("at least", admitted.min_length), ("at most", admitted.max_length))
        says = [f"{word} {value} characters" for word, value in lengths if value is not None]
        if admitted.values:
            says = [f"one of the {len(admitted.values)} values"]
    told = f", {' and '.join(says)} as contract {admitted.contract} says" if says else ""
    return _EXPECTED[kind].replace(", or null", f"{told}, or null")


def _attribute(name: str, index: int) -> str:
    """The struct's attribute for a column: its name, where Python can have such a name."""
    usable = name.isidentifier() and not name.startswith("_") and not keyword.iskeyword(name)
    return name if usable else f"_{index}"


def _sentence(problem: Problem) -> str:
    place = [] if problem.row is None else [f"row {problem.row}"]
    place += [] if problem.field is None else [f"field {problem.field!r}"]
    return f"{', '.join(place)}: {problem.reason}" if place else problem.reason


def _refusal(code: str, problems: Sequence[Problem]) -> RequestError:
    return RequestError(code, problems, "send the fields of the model's signature, by name")
