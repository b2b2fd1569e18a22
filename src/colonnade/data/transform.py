"""Tables that a function or a query makes: a step done once, a result that keeps its promises.

What has to be made is decided in `data.plan`; here it is made, checked and written.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import polars as pl

from colonnade.base.errors import UsageError, VerdictError
from colonnade.base.text import closest
from colonnade.compute.digest import CodeDigest, code_digest
from colonnade.compute.query import run_query
from colonnade.compute.task import LOCK, StepKey, environment, run_user_code, step_key
from colonnade.data import spans
from colonnade.data.merge import meeting
from colonnade.data.plan import Plan, plan, timed_inputs
from colonnade.data.summary import profile_after, profile_of
from colonnade.govern.capture import capture_code
from colonnade.govern.session import Session
from colonnade.govern.writer import Writer
from colonnade.project import Table
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.entry import Entry
from colonnade.records.ref import Ref, named
from colonnade.records.table import GONE, Query, Span, TableVersion, WriteMode


@dataclass(frozen=True, slots=True)
class Built:
    """What a table's step did.

    Attributes:
        entry: the version that holds now.
        done: whether this call made it.
        why: what differed from the version before.
    """

    entry: Entry
    done: bool
    why: tuple[str, ...] = ()


def transform(
    session: Session, table: Table, folder: Path, bounds: tuple[str, str] | None = None
) -> Built:
    """Make the newest version of a table, unless it is up to date.

    Args:
        session: whose actor may write.
        table: the declaration.
        folder: of the project.
        bounds: make the oldest stretch of time from the first to the last of these that is not
            up to date, and no other.

    Raises:
        UsageError: CN-TABLE-004, the function returned no frame; CN-TABLE-005, key or time are
            not among its columns; CN-TABLE-009, the time is none; CN-TABLE-011, 012, its
            stretches of time cannot be made one by one; CN-CODE-001, the function raised;
            CN-SQL-003, the query cannot be carried out.
        VerdictError: CN-TABLE-006, the key is not unique or missing; nothing was written.
    """
    key = _key(session, table, folder)
    newest = session.newest("table", table.name)
    if newest is not None and newest.read(TableVersion).step == key.digest:
        return Built(newest, done=False)
    with session.writer(table.name) as writer:
        before = writer.newest
        found = plan(session, table, key, before, bounds)
        if found is not None and bounds is not None and found.part == "spans":
            found = plan(session, table, key, before, (found.labels[0], found.labels[0]))
        if found is None:
            assert before is not None  # noqa: S101 (or it would have to be made)
            return Built(before, done=False)
        step = _Step(session, table, folder, key, writer)
        return Built(step.make(found, bounded=bounds is not None), done=True, why=step.why)


def _key(session: Session, table: Table, folder: Path) -> StepKey:
    inputs = {name: session.version(Ref("table", name)).ref.short for name in table.inputs}
    settings: dict[str, object] = {"key": list(table.key), "time": table.time}
    if table.mode != "replace":
        settings["mode"] = table.mode
    if table.partition is not None:
        settings["partition"] = table.partition
    if table.online:
        settings |= {"known": table.known, "online": True}
    code = _digest_of(table, folder)
    return step_key(code, inputs, settings, environment(folder / LOCK))


def _digest_of(table: Table, folder: Path) -> CodeDigest:
    if table.function is not None:
        return code_digest(table.function, folder)
    query = _query_of(table)
    parts = {f"query {query.path or 'text'}": canonical.sha256(query.text.encode())}
    return CodeDigest(digest=canonical.digest(parts), parts=parts)


@dataclass
class _Step:
    """One making of a table, under its writer lease."""

    session: Session
    table: Table
    folder: Path
    key: StepKey
    writer: Writer
    why: tuple[str, ...] = ()

    def make(self, found: Plan, *, bounded: bool) -> Entry:
        """Make what the plan says; as a whole where the result has other columns than before."""
        self.why = found.why
        made = {
            "all": self.whole, "rows": self.rows, "spans": self.stretches,
        }[found.part](found)  # fmt: skip
        if made is not None:
            return made
        told = f"the result has other columns than {self.before.ref.short}"
        if bounded:
            raise UsageError(
                "CN-TABLE-002",
                f"table {self.table.name}: {told}",
                f"make it as a whole: colonnade run {self.table.name}",
            )
        self.why = (*found.why, f"made anew as a whole: {told}")
        entry = self.whole(replace(found, labels=()))
        assert entry is not None  # noqa: S101 (as a whole it may have any columns)
        return entry

    @property
    def before(self) -> Entry:
        newest = self.writer.newest
        assert newest is not None  # noqa: S101 (a part is made only where there is a version)
        return newest

    def whole(self, found: Plan) -> Entry | None:
        """All rows, from all rows of the inputs."""
        rows, made = self.result(self.frames(None))
        profile = profile_of(self.session, rows)
        cursor = self.cursor(replace(found, labels=()), made)
        return self.write(rows, "replace", profile, cursor)

    def rows(self, found: Plan) -> Entry | None:
        """What came to the first input; what was made from rows that went leaves the table."""
        first = self.table.inputs[0]
        came, made = self.result({**self.frames(None), first: found.came})
        went = came.clear()
        if found.went.height:
            went, _ = self.result({**self.frames(None), first: found.went.lazy()})
        if self.columns_differ(came):
            return None
        if self.table.mode == "append":
            self.check_new(came)
            profile = profile_of(self.session, came, self.before)
            return self.write(came, "append", profile, {})
        old, rows = self.merged(came, went)
        left = self.session.scan(self.before.ref)
        new = rows.filter(~pl.col(GONE)).drop(GONE)

        def whole() -> pl.DataFrame:
            staying = left.join(rows.lazy(), on=self.table.identity, how="anti")
            return pl.concat([staying.collect(), new], how="diagonal_relaxed")

        profile = profile_after(self.session, self.before, old, new, whole)
        total = cast("int", self.version_before.cursor.get("made", self.version_before.rows))
        return self.write(rows, "merge", profile, {"made": total - went.height + made})

    def stretches(self, found: Plan) -> Entry | None:
        """The stretches of time of the plan, from all rows that the inputs have in them."""
        if self.writer.newest is None:
            return self.first_stretches(found)
        if not found.labels:  # the inputs have new versions with the same rows
            none = self.session.scan(self.before.ref).clear().collect()
            profile = self.version_before.profile or profile_of(self.session, none)
            return self.write(none, "append", profile, self.cursor(found, 0))
        time = self.time
        wanted = spans.joined(found.labels)
        rows, _ = self.result(self.frames(wanted))
        self.check_inside(rows, wanted, found.labels)
        if self.columns_differ(rows):
            return None
        left = self.session.scan(self.before.ref)
        old = spans.inside(left, time, wanted).collect()
        self.check_new(rows, aside=old)

        def whole() -> pl.DataFrame:
            staying = spans.outside(left, time, wanted).collect()
            return pl.concat([staying, rows], how="diagonal_relaxed")

        profile = profile_after(self.session, self.before, old, rows, whole)
        return self.write(rows, "replace", profile, self.cursor(found, 0), wanted)

    def first_stretches(self, found: Plan) -> Entry:
        """The first version of a table, of which only some stretches are wanted."""
        wanted = spans.joined(found.labels)
        rows, _ = self.result(self.frames(wanted))
        self.check_inside(rows, wanted, found.labels)
        return self.write(rows, "replace", profile_of(self.session, rows), self.cursor(found, 0))

    @property
    def time(self) -> str:
        return self.table.time or ""

    @property
    def version_before(self) -> TableVersion:
        return self.before.read(TableVersion)

    def frames(self, wanted: tuple[Span, ...] | None) -> dict[str, pl.LazyFrame]:
        """The rows of the inputs: all, or of some stretches of time where they have one."""
        found = {
            name: self.session.scan(named("table", ref)) for name, ref in self.key.inputs.items()
        }
        if self.table.partition is not None:
            for name in timed_inputs(self.session, self.table, self.key):
                there = found[name].filter(pl.col(self.time).is_not_null())
                found[name] = there if wanted is None else spans.inside(there, self.time, wanted)
        return found

    def result(self, frames: Mapping[str, pl.LazyFrame]) -> tuple[pl.DataFrame, int]:
        """The checked rows that the step makes, and how many there were per key at first."""
        rows = _call(self.table, frames)
        made = rows.height
        if self.table.mode == "merge" and self.table.time is not None:
            rows = _newest(rows, self.table.identity, self.table.time)
        _check_key(self.table, rows)
        key = self.table.identity
        return rows.sort(key, maintain_order=True) if key else rows, made

    def columns_differ(self, rows: pl.DataFrame) -> bool:
        """Whether the result has other columns than the version before has, or other types."""
        stored = self.version_before.columns
        kept = self.session.scan(self.before.ref).collect_schema()
        return set(rows.columns) != set(stored) or any(
            dtype != kept[name] and not _stored_as(dtype, kept[name])
            for name, dtype in rows.schema.items()
        )

    def there(self, keys: pl.DataFrame) -> pl.LazyFrame:
        """The rows of the version before that have one of these keys."""
        return meeting(self.session, self.before, keys, self.table.identity)

    def check_new(self, rows: pl.DataFrame, aside: pl.DataFrame | None = None) -> None:
        """No row may have a key that the table has already, rows aside that are replaced."""
        if not self.table.identity or not rows.height:
            return
        there = self.there(rows).select(self.table.identity)
        if aside is not None:
            there = there.join(aside.lazy(), on=self.table.identity, how="anti")
        if (double := there.select(pl.len()).collect().item()) > 0:
            raise self.not_unique(double)

    def merged(self, came: pl.DataFrame, went: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows of the table that are replaced or leave, and the rows to merge."""
        key, time = list(self.table.identity), self.table.time
        keys = pl.concat([came.select(key), went.select(key)]).unique()
        there = self.there(keys).collect()
        others = there.join(went, on=key, how="anti")
        if time is not None:
            meet = came.join(others.select(*key, pl.col(time).alias(GONE)), on=key)
            if (tied := meet.filter(pl.col(time) == pl.col(GONE)).height) > 0:
                raise self.not_unique(tied)
            older = meet.filter(pl.col(time) < pl.col(GONE))
            came = came.join(older, on=key, how="anti")
        elif (double := came.join(others, on=key, how="semi").height) > 0:
            raise self.not_unique(double)
        leave = there.join(went, on=key, how="semi").join(came, on=key, how="anti")
        rows = pl.concat(
            [
                came.with_columns(pl.lit(False).alias(GONE)),
                leave.select(came.columns).with_columns(pl.lit(True).alias(GONE)),
            ],
            how="vertical_relaxed",
        )
        return there.join(rows, on=key, how="semi").select(came.columns), rows

    def check_inside(
        self, rows: pl.DataFrame, wanted: tuple[Span, ...], labels: tuple[str, ...]
    ) -> None:
        """A step that is given a month makes rows of that month."""
        outside = rows.height - spans.inside(rows.lazy(), self.time, wanted).collect().height
        if outside:
            raise UsageError(
                "CN-TABLE-012",
                f"table {self.table.name}: given the rows of {', '.join(labels[:6])}, it made "
                f"{outside} rows of another {self.table.partition}",
                f"keep {self.time} as it is in the inputs, or take partition= away",
            )

    def not_unique(self, rows: int) -> VerdictError:
        return VerdictError(
            "CN-TABLE-006",
            f"table {self.table.name}: {rows} of the new rows have a key "
            f"({', '.join(self.table.identity)}) that the table has already",
            "leave doubles out (unique()), or name more columns in key=; nothing was written",
        )

    def cursor(self, found: Plan, made: int) -> dict[str, Json]:
        """What the next making of this table has to know of this one."""
        if found.made is not None:
            return cast("dict[str, Json]", canonical.plain(found.made))
        return {"made": made} if self.table.mode == "merge" else {}

    def write(
        self,
        rows: pl.DataFrame,
        mode: WriteMode,
        profile: str,
        cursor: dict[str, Json],
        wanted: tuple[Span, ...] = (),
    ) -> Entry:
        whole = cursor.get("whole", True)
        step = self.key.digest
        if not whole:
            step = canonical.digest([step, cursor["labels"]])
        beside = () if self.table.query is None else (self.table.query.path,)
        version = TableVersion(
            mode=mode,
            step=step,
            step_parts=cast("dict[str, Json]", canonical.plain(self.key)),
            code=capture_code(
                self.session, self.folder, self.key.code.digest, *filter(None, beside)
            ),
            key=self.table.key,
            time=self.table.time,
            cursor=cursor,
            profile=profile,
        )
        made_from = [f"table/{ref}" for ref in self.key.inputs.values()]
        if self.writer.newest is not None and (mode != "replace" or wanted):
            made_from.append(self.before.subject)
        return self.writer.write(
            rows, version, [*made_from, f"code/{self.key.code.digest}"], spans=wanted
        )


def _call(table: Table, frames: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """The rows that the function or the query makes, with the columns that were promised."""
    what = f"table {table.name}"
    result = _run(table, what, frames)
    for column in (*table.key, *_moments(table)):
        if column not in result.columns:
            raise UsageError(
                "CN-TABLE-005",
                f"{what}: its column {column!r} is not in the result; "
                f"{closest(column, result.columns)}",
                "return the column, or change key= and time= of the table",
            )
    _check_time(table, result)
    return result


def _run(table: Table, what: str, frames: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    function = table.function
    if function is None:
        return run_query(what, _query_of(table), frames)

    @functools.wraps(function)  # a lazy frame raises when it is collected: its line is theirs
    def collected(**inputs: pl.LazyFrame) -> pl.DataFrame:
        return _collect(table, function(**inputs))

    return run_user_code(what, collected, **frames)


def _query_of(table: Table) -> Query:
    assert table.query is not None  # noqa: S101 (what has no function has a query)
    return table.query


def _newest(rows: pl.DataFrame, key: tuple[str, ...], time: str) -> pl.DataFrame:
    """Of the rows of one key the newest; several that are, all."""
    newest = pl.col(time) == pl.col(time).max().over(key)
    return rows.filter(newest | pl.col(time).is_null())


def _stored_as(dtype: pl.DataType, kept: pl.DataType) -> bool:
    """Whether a table keeps the type as this other one (a small count, a category, a zone)."""
    text = (pl.Categorical, pl.Enum)
    if isinstance(dtype, pl.Datetime) and isinstance(kept, pl.Datetime):
        return (dtype.time_zone is None) == (kept.time_zone is None)
    if kept == pl.String:
        return isinstance(dtype, text)
    unsigned: dict[object, object] = {pl.UInt8: pl.Int16, pl.UInt16: pl.Int32, pl.UInt32: pl.Int64}
    return unsigned.get(dtype.base_type()) == kept.base_type()


def _moments(table: Table) -> list[str]:
    return [column for column in (table.time, table.known) if column]


def _check_time(table: Table, rows: pl.DataFrame) -> None:
    for column in _moments(table):
        if rows[column].dtype not in (pl.Date, pl.Datetime):
            raise UsageError(
                "CN-TABLE-009",
                f"table {table.name}: its time {column} has the type {rows[column].dtype}",
                "return it as Date or Datetime, for example with str.to_datetime()",
            )


def _collect(table: Table, result: object) -> pl.DataFrame:
    if isinstance(result, pl.LazyFrame):
        return result.collect()
    if isinstance(result, pl.DataFrame):
        return result
    raise UsageError(
        "CN-TABLE-004",
        f"table {table.name}: the function returned {type(result).__name__}",
        "return a polars LazyFrame or DataFrame",
    )


def _check_key(table: Table, rows: pl.DataFrame) -> None:
    for column in [*table.key, *_moments(table)]:
        if missing := rows[column].null_count():
            raise VerdictError(
                "CN-TABLE-006",
                f"table {table.name}: {column} is missing in {missing} of {rows.height} rows",
                "leave these rows out, or fill the column in; nothing was written",
            )
    key = [*table.identity]
    if key and (distinct := rows.select(pl.struct(key).n_unique()).item()) < rows.height:
        raise VerdictError(
            "CN-TABLE-006",
            f"table {table.name}: {rows.height} rows have only {distinct} different keys "
            f"({', '.join(key)})",
            "leave doubles out (unique()), or name more columns in key=; nothing was written",
        )
