"""The shape of rows that are sent: a frame of them, or everything that is wrong, by row and field.

Shape is what a sender can mend at once: names, types, missing fields. What the contract says of
values is checked when the rows are taken over, and breaks into quarantine. No reason repeats a
value: it may be personal.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import polars as pl

from colonnade.base.errors import ColonnadeError
from colonnade.base.text import closest
from colonnade.bundle.request import Problem, RequestError, said_twice
from colonnade.data.cells import DTYPES, check_names, logical
from colonnade.records.contract import LogicalType
from colonnade.records.source import why_unreadable

Shape = Mapping[str, LogicalType]

MAX_PROBLEMS: Final = 20
MAX_COLUMNS: Final = 2_000
_CHUNK: Final = 10_000  # rows that are values at one time; a frame of them is far smaller
_Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_TYPES: Final[dict[LogicalType, Any]] = {
    "string": str | None,
    "integer": _Whole | Annotated[float, msgspec.Meta(ge=-(2**53), le=2**53, multiple_of=1)] | None,
    "number": float | None,
    "boolean": bool | None,
    "date": str | None,
    "timestamp": str | None,
}
_EXPECTED: Final[dict[LogicalType, str]] = {
    "string": "expected a text, or null",
    "integer": "expected a whole number of 64 bits, or null",
    "number": "expected a number, or null",
    "boolean": "expected true, false or null",
    "date": "expected a date as text, YYYY-MM-DD, or null",
    "timestamp": "expected a time as text, YYYY-MM-DDTHH:MM:SSZ, or null",
}
_MISSING: Final = "missing; send null where the value is not known"
_UNREADABLE: Final = (ValueError, RecursionError)  # msgspec's own, bytes that are no UTF-8, depth
_FIX_ROWS: Final = 'send {"rows": [{column: value, …}, …]} with every column of the contract'
_FIX_ARROW: Final = "send an Arrow IPC stream with every column of the contract, in its types"
_Row = dict[str, msgspec.Raw]


def from_json(path: Path, shape: Shape | None) -> tuple[pl.DataFrame, Shape]:
    """The rows of ``{"rows": [...]}`` in a file.

    Args:
        path: what was sent.
        shape: column -> type as it must be; None where nothing says, then the rows do.

    Raises:
        RequestError: CN-PUSH-001, it cannot be read; CN-PUSH-002, rows have another shape.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise _unreadable("the body is empty", _FIX_ROWS)
        # Each row is a view of the map, which goes with the last of them.
        rows = _rows(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    found = _inferred(rows) if shape is None else shape
    return _frame(rows, found), found


def from_arrow(path: Path, shape: Shape | None) -> tuple[pl.DataFrame, Shape]:
    """The rows of an Arrow IPC stream in a file; see `from_json`."""
    try:
        frame = pl.read_ipc_stream(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unreadable(
            f"not readable as an Arrow IPC stream: {why_unreadable(error)[:200]}", _FIX_ARROW
        ) from None
    if not frame.height:
        raise _unreadable("there are no rows, expected one at least", _FIX_ARROW)
    _check_columns(frame.columns)
    problems = [] if shape is None else list(_names(frame.columns, shape))
    found: dict[str, LogicalType] = {}
    for name, dtype in frame.schema.items():
        if shape is not None and name not in shape:
            continue
        try:
            found[name] = logical(name, dtype)
        except ColonnadeError:
            problems.append(Problem(None, name[:64], f"{dtype} is no type that a table can hold"))
            continue
        if shape is not None and not _fits(found[name], shape[name], dtype):
            reason = f"{dtype} is no {shape[name]}"
            problems.append(Problem(None, name[:64], reason))
    if problems:
        raise RequestError("CN-PUSH-002", problems[:MAX_PROBLEMS], _FIX_ARROW)
    return frame, found


def _fits(found: LogicalType, wanted: LogicalType, dtype: pl.DataType) -> bool:
    """As the check of a file has it: texts are read, whole numbers are numbers."""
    return found == wanted or dtype == pl.String or (found, wanted) == ("integer", "number")


def _rows(body: memoryview) -> list[msgspec.Raw]:
    try:
        parts = msgspec.json.decode(body, type=_Row)
    except msgspec.ValidationError:
        raise _unreadable('expected an object {"rows": [...]}', _FIX_ROWS) from None
    except _UNREADABLE:
        raise _unreadable("not readable as JSON", _FIX_ROWS) from None
    if unknown := sorted(parts.keys() - {"rows"}):
        raise _unreadable(f"unknown field {unknown[0][:64]!r} beside 'rows'", _FIX_ROWS)
    try:
        rows = msgspec.json.decode(parts["rows"], type=list[msgspec.Raw])
    except (KeyError, *_UNREADABLE):
        raise _unreadable("'rows' is missing or is not a list", _FIX_ROWS) from None
    if not rows:
        raise _unreadable("there are no rows, expected one at least", _FIX_ROWS)
    return rows


def _inferred(rows: Sequence[msgspec.Raw]) -> Shape:
    """What the rows themselves say: the first row's columns, and for each the type of all."""
    first = _cells(0, rows[0])
    _check_columns(list(first))
    kinds: dict[str, set[type]] = {name: set() for name in first}
    plain = msgspec.json.Decoder(dict[str, str | int | float | bool | None])
    for raw in rows:
        try:
            cells = plain.decode(raw)
        except _UNREADABLE:
            continue  # told with its place when the rows are read
        for name in cells.keys() & kinds.keys():
            kinds[name].add(type(cells[name]))
    return {name: _kind(found - {type(None)}) for name, found in kinds.items()}


def _kind(found: set[type]) -> LogicalType:
    """One type for all of a column's values; where they disagree it is the first reason to tell."""
    if found and found <= {int, float}:
        return "integer" if found == {int} else "number"
    return "boolean" if found == {bool} else "string"


def _frame(rows: list[msgspec.Raw], shape: Shape) -> pl.DataFrame:
    names = list(shape)
    fields = [f"f{number}" for number in range(len(names))]
    row = msgspec.defstruct(
        "Row",
        [(field, _TYPES[shape[name]]) for field, name in zip(fields, names, strict=True)],
        rename=dict(zip(fields, names, strict=True)),
        forbid_unknown_fields=True,
        gc=False,
    )
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row)
    problems: list[Problem] = []
    frames = []
    for start in range(0, len(rows), _CHUNK):
        values = []
        for index, raw in enumerate(rows[start : start + _CHUNK], start):
            value = _read(decoder, raw, len(names))
            if value is None:
                problems += _problems(index, raw, shape)
            elif not problems:
                values.append(msgspec.structs.astuple(value))
            if len(problems) >= MAX_PROBLEMS:
                break
        if not problems:
            frames.append(pl.DataFrame(values, schema=_schema(shape), orient="row"))
    if problems:
        raise RequestError("CN-PUSH-002", problems[:MAX_PROBLEMS], _FIX_ROWS)
    return pl.concat(frames, rechunk=False)


def _read(
    decoder: msgspec.json.Decoder[Any], raw: msgspec.Raw, columns: int
) -> msgspec.Struct | None:
    """The row; None where something is wrong with it."""
    try:
        value: msgspec.Struct = decoder.decode(raw)
    except _UNREADABLE:
        return None
    # A name that is said twice counts one more; so may a text, then the row is looked at again.
    text = bytes(raw)
    return None if text.count(b'":') != columns and said_twice(text) is not None else value


def _problems(index: int, raw: msgspec.Raw, shape: Shape) -> Iterator[Problem]:
    try:
        cells = _cells(index, raw)
    except RequestError as error:
        yield from error.problems
        return
    if (twice := said_twice(bytes(raw))) is not None:
        yield Problem(index, twice[:64], "the name is said twice in one row")
    for problem in _names(list(cells), shape):
        yield Problem(index, problem.field, problem.reason)
    for name in cells.keys() & shape.keys():
        try:
            msgspec.json.decode(cells[name], type=_TYPES[shape[name]])
        except _UNREADABLE:
            yield Problem(index, name[:64], _EXPECTED[shape[name]])


def _cells(index: int, raw: msgspec.Raw) -> _Row:
    try:
        return msgspec.json.decode(raw, type=_Row)
    except _UNREADABLE:
        problem = Problem(index, None, "expected an object of columns")
        raise RequestError("CN-PUSH-002", [problem], _FIX_ROWS) from None


def _names(names: Sequence[str], shape: Shape) -> Iterator[Problem]:
    lacking = [name for name in shape if name not in names]
    for name in lacking:
        yield Problem(None, name, _MISSING)
    for name in names:
        if name not in shape:
            yield Problem(None, name[:64], f"unknown column; {closest(name, lacking or shape)}")


def _check_columns(names: Sequence[str]) -> None:
    if not 1 <= len(names) <= MAX_COLUMNS:
        reason = f"{len(names):,} columns, expected 1 to {MAX_COLUMNS:,}"
        raise RequestError("CN-PUSH-002", [Problem(0, None, reason)], _FIX_ROWS)
    for name in names:
        try:
            check_names([name], "the rows")
        except ColonnadeError:
            problem = Problem(0, name[:64], "a column cannot be called so; rename it")
            raise RequestError("CN-PUSH-002", [problem], _FIX_ROWS) from None


def _schema(shape: Shape) -> dict[str, pl.DataType]:
    """Dates and times stay texts, which the contract reads as it reads a file's."""
    texts = ("date", "timestamp")
    return {name: pl.String() if kind in texts else DTYPES[kind] for name, kind in shape.items()}


def _unreadable(reason: str, fix: str) -> RequestError:
    return RequestError("CN-PUSH-001", [Problem(None, None, reason)], fix)
