"""Rows that are asked for: from where the last pull ended, each once, the late ones too.

A pull begins a lag before its last end, ties included, and leaves out what was taken. Then it
counts: where the origin has other than the expected number of rows up to that end, all are
looked at again, and those that were never taken are taken. The position (value, counts, which
rows) is in the table version that holds the rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.data import taken
from colonnade.data.taken import Marker, Taken
from colonnade.govern.asking import Rows
from colonnade.govern.session import Session
from colonnade.project import Source
from colonnade.records.canonical import Json
from colonnade.records.source import CursorValue, Pulled, Rest, lag_s
from colonnade.records.table import TableVersion

_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:([T ])(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?"
)
_DAY_S: Final = 86_400
ALL_OF: Final = 100_000  # rows that are looked at one by one in each pull, in about a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What one pull found.

    Attributes:
        path: the file of its rows.
        rows: in it.
        late: of these, how many lie before the end of the last pull.
        cursor: the position behind it.
    """

    path: Path
    rows: int
    late: int
    cursor: dict[str, Json]


def pull(session: Session, source: Source, before: TableVersion | None, number: int) -> Slice:
    """Ask a source's origin for what its table has not.

    Args:
        session: whose actor may write.
        source: the declaration; its origin is one that is asked.
        before: the newest version of its table.
        number: of the version that will hold the rows.

    Raises:
        UsageError: CN-PULL-…, declaration, rights, query, columns or answers are wrong.
        RefusedError: CN-PULL-010, the address is one that must not be asked.
        UnavailableError: CN-PULL-004, 009, 012: it does not answer.
    """
    name = f"{number}.parquet"
    if (kept := session.kept_landing(source.name, name)) is not None:
        path, note = kept
        found = cast("dict[str, Any]", note)
        return Slice(path=path, rows=found["rows"], late=found["late"], cursor=found["cursor"])
    session.clear_landing(source.name)
    origin = cast("Pulled", source.origin)
    if origin.cursor is None:
        return _whole(session, source, before, name)
    return _Look(session, source, before).take(name)


def keep(session: Session, source: Source, found: Slice) -> None:
    """From here on the same bytes are taken over, also after a kill."""
    note: dict[str, Json] = {"rows": found.rows, "late": found.late, "cursor": found.cursor}
    session.keep_landing(source.name, found.path, note)


def _whole(session: Session, source: Source, before: TableVersion | None, name: str) -> Slice:
    """All rows, which take the place of the table's."""
    with (
        session.ask(source, None) as origin,
        session.landing_sheet(source.name, name) as sheet,
    ):
        fit = _Fit(origin, source, before)
        sheet.add(fit(pl.DataFrame(schema=dict(origin.columns))))
        for rows in origin.rows(None):
            sheet.add(fit(rows))
    return Slice(path=sheet.path, rows=sheet.rows, late=0, cursor={})


class _Fit:
    """The columns as the table has them, where the origin's values have types of their own."""

    def __init__(self, origin: Rows, source: Source, before: TableVersion | None) -> None:
        known = {} if before is None or not origin.loose else before.columns
        self._texts = [
            pl.col(name).cast(pl.String)
            for name, dtype in origin.columns.items()
            if known.get(name) == "String" or (known.get(name) == "Boolean" and dtype == pl.Int64)
        ]
        lacking = known if isinstance(source.origin, Rest) else {}
        self._nulls = [  # JSON leaves out what has no value
            pl.lit(None, dtype=pl.String).alias(name)
            for name in lacking
            if name not in origin.columns
        ]

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The frame with these columns."""
        return rows.with_columns(*self._texts, *self._nulls)


class _Look:
    """One pull from where the last one ended."""

    def __init__(self, session: Session, source: Source, before: TableVersion | None) -> None:
        self._session = session
        self._source = source
        self._origin = cast("Pulled", source.origin)
        self._before = before
        self._was = {} if before is None else before.cursor
        self._end = _end_of(self._was)
        if before is not None and self._was.get("by") != self._by:
            raise _changed(source, self._was, self._by)
        self._since = None if self._end is None else _earlier(source, self._end, self._origin.lag)
        self._taken = Taken.of(self._was)
        self._known = self._taken.read(session)
        self._fresh: list[pl.DataFrame] = []

    @property
    def _by(self) -> list[Json]:
        return [self._origin.cursor, *self._source.key]

    def take(self, name: str) -> Slice:
        """Pull, look for late rows, and write all that is new to a file."""
        with (
            self._session.ask(self._source, self._since) as origin,
            self._session.landing_sheet(self._source.name, name) as sheet,
        ):
            self._check_kind(origin)
            fit = _Fit(origin, self._source, self._before)
            sheet.add(fit(pl.DataFrame(schema=dict(origin.columns))))
            for rows in self._new(origin, origin.rows(self._since), self._ids(origin)):
                sheet.add(fit(rows))
            late = self._late()
            for rows in self._missed(origin, late):
                sheet.add(fit(rows))
                late += rows.height
            cursor = self._position(origin)
        return Slice(path=sheet.path, rows=sheet.rows, late=late, cursor=cursor)

    def _ids(self, origin: Rows) -> set[bytes]:
        """What was taken of the rows that are looked at again."""
        known = self._known
        if origin.ordered and self._since is not None:
            known = known.filter(pl.col("at").is_null() | (pl.col("at") >= _at(self._since)))
        return set(known["id"])

    def _new(
        self, origin: Rows, frames: Iterator[pl.DataFrame], known: set[bytes]
    ) -> Iterator[pl.DataFrame]:
        """The rows that were not taken; they count as taken from now on."""
        marker = self._marker(origin)
        for rows in frames:
            marks = marker.ids(rows)
            new = pl.Series([row not in known for row in marks["id"]], dtype=pl.Boolean)
            self._fresh.append(marks.filter(new))
            yield rows.filter(new)

    def _marker(self, origin: Rows) -> Marker:
        return Marker.new(self._source.key, str(self._origin.cursor), ordered=origin.ordered)

    def _late(self) -> int:
        """Rows that came behind the lag but before the last end."""
        end = self._end
        if end is None:
            return 0
        return sum(
            marks.filter(pl.col("at").is_null() | (pl.col("at") <= _at(end))).height
            for marks in self._fresh
        )

    def _missed(self, origin: Rows, late: int) -> Iterator[pl.DataFrame]:
        """Rows before the lag that were never taken.

        Of few rows all are looked at. Of many only where the origin's count says that there is
        something to find: it is expected to be that of the last pull, without rows that have
        moved on since, with the late ones that were found.
        """
        there, end, since = self._was.get("there"), self._end, self._since
        if not isinstance(there, int) or end is None or since is None:
            return
        if self._taken.rows > ALL_OF and self._is_expected(origin, end, there + late):
            return
        key = (*self._source.key, str(self._origin.cursor)) if self._source.key else ()
        marker = self._marker(origin)
        seen = [marker.ids(rows).select("id") for rows in origin.rows(None, since, only=key)]
        lacking = pl.concat([pl.DataFrame(schema={"id": pl.Binary}), *seen])
        wanted = set(lacking.join(self._known, on="id", how="anti")["id"])
        if not wanted:
            return
        marker = self._marker(origin)
        for rows in origin.rows(None, since):
            marks = marker.ids(rows)
            found = pl.Series([row in wanted for row in marks["id"]], dtype=pl.Boolean)
            self._fresh.append(marks.filter(found))
            yield rows.filter(found)

    def _is_expected(self, origin: Rows, end: CursorValue, there: int) -> bool:
        fresh = pl.concat(self._fresh)
        moved = taken.moved(self._known, fresh, _at(end)) if self._source.key else 0
        return origin.count(end) == there - moved

    def _position(self, origin: Rows) -> dict[str, Json]:
        places = [marks["at"].max() for marks in self._fresh]
        ends = [str(place) for place in places if place is not None]
        ends += [] if self._end is None else [_at(self._end)]
        kind = self._kind(origin)
        grown = self._taken.and_these(self._session, self._fresh)
        position: dict[str, Json] = {
            "by": self._by,
            "rows": grown.rows,
            "taken": grown.told,
        }
        if not ends:  # no row has a place yet: all are looked at again
            return position
        end = _point(kind, max(ends))
        return position | {"kind": kind, "end": str(end.value), "there": origin.count(end)}

    def _kind(self, origin: Rows) -> str:
        dtype = origin.columns.get(str(self._origin.cursor), pl.Null())
        if isinstance(dtype, pl.Datetime):
            return "timestamp" if dtype.time_zone else "zoneless"
        kinds = {pl.Int64: "integer", pl.Date: "date", pl.String: "text"}
        return kinds.get(dtype.base_type(), "none")

    def _check_kind(self, origin: Rows) -> None:
        kind, cursor = self._kind(origin), self._origin.cursor
        if not origin.columns:  # an answer without rows
            return
        was = kind if self._end is None else self._end.kind
        if kind == "none" or kind != was:
            raise UsageError(
                "CN-PULL-008",
                f"source {self._source.name}: the cursor {cursor} is "
                f"{origin.columns.get(str(cursor), 'not there')}, expected "
                f"{'an integer, a time or a text' if kind == was else was}",
                "mend the column, or declare the source under a new name",
            )


def _end_of(cursor: dict[str, Json]) -> CursorValue | None:
    kind, end = cursor.get("kind"), cursor.get("end")
    if not isinstance(kind, str) or not isinstance(end, str):
        return None
    return CursorValue(kind=kind, value=end if kind == "text" else int(end))


def _at(point: CursorValue) -> str:
    """Where a point is among the places of rows."""
    return point.value if isinstance(point.value, str) else taken.sortable(point.value)


def _point(kind: str, at: str) -> CursorValue:
    return CursorValue(kind=kind, value=at if kind == "text" else int(at) - 2**63)


def _earlier(source: Source, end: CursorValue, lag: str | int | None) -> CursorValue:
    """Where a pull begins.

    Raises:
        UsageError: CN-PULL-008, this lag means nothing for this cursor.
    """
    if lag is None:
        return end
    seconds = lag_s(lag)
    if isinstance(end.value, str):
        moved = None if seconds is None else _earlier_text(end.value, seconds)
        if moved is not None:
            return replace(end, value=moved)
    elif end.kind == "integer":
        if isinstance(lag, int):
            return replace(end, value=max(end.value - lag, -(2**63)))
    elif seconds is not None:
        unit = -(-seconds // _DAY_S) if end.kind == "date" else seconds * 1_000_000
        return replace(end, value=end.value - unit)
    raise UsageError(
        "CN-PULL-008",
        f"source {source.name}: the lag {lag!r} means nothing for a cursor that is {end.kind}",
        "write a number for a cursor of integers, a duration such as 1 hour for times (as texts: "
        "2013-01-31 or 2013-01-31T10:00:00)",
    )


def _earlier_text(text: str, seconds: int) -> str | None:
    """A time in the form that it has, so that it compares with its neighbours."""
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    day, between, clock, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00:00'}")
        moment -= timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return None
    if clock is None:
        return moment.strftime("%Y-%m-%d")
    moved = moment.strftime(f"%Y-%m-%d{between}%H:%M:%S")
    return moved + (f".{fraction}" if fraction else "") + (zone or "")


def _changed(source: Source, was: dict[str, Json], now: list[Json]) -> UsageError:
    return UsageError(
        "CN-PULL-008",
        f"source {source.name}: cursor and key are {', '.join(map(str, now))}; its rows were "
        f"taken by {', '.join(map(str, was.get('by') or ['no cursor']))}",  # type: ignore[arg-type]
        "put them back, or declare the source under a new name",
    )
