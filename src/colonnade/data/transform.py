"""Table functions: inputs by parameter name, a step done once, a result that keeps its promises."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import polars as pl

from colonnade.base.errors import UsageError, VerdictError
from colonnade.base.text import closest
from colonnade.compute.digest import code_digest
from colonnade.compute.task import LOCK, StepKey, environment, run_user_code, step_key, why
from colonnade.data.summary import profile_of
from colonnade.govern.capture import capture_code
from colonnade.govern.session import Session
from colonnade.project import Table
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.entry import Entry
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion


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


def transform(session: Session, table: Table, folder: Path) -> Built:
    """Make the newest version of a table, unless it is up to date.

    Raises:
        UsageError: CN-TABLE-004, the function returned no frame; CN-TABLE-005, key or time are
            not among its columns; CN-TABLE-009, the time is none; CN-CODE-001, the function
            raised.
        VerdictError: CN-TABLE-006, the key is not unique or missing; nothing was written.
    """
    inputs = {name: session.version(Ref("table", name)) for name in table.inputs}
    key = step_key(
        code_digest(table.function, folder),
        {name: entry.ref.short for name, entry in inputs.items()},
        _settings(table),
        environment(folder / LOCK),
    )
    newest = session.newest("table", table.name)
    before = None if newest is None else newest.read(TableVersion)
    if newest is not None and before is not None and before.step == key.digest:
        return Built(newest, done=False)
    with session.writer(table.name) as writer:
        if writer.newest is not None and writer.newest.read(TableVersion).step == key.digest:
            return Built(writer.newest, done=False)
        rows = _call(session, table, inputs)
        version = TableVersion(
            mode="replace",
            step=key.digest,
            step_parts=cast("dict[str, Json]", canonical.plain(key)),
            code=capture_code(session, folder, key.code.digest),
            key=table.key,
            time=table.time,
            profile=profile_of(session, rows),
        )
        made_from = [entry.subject for entry in inputs.values()]
        entry = writer.write(rows, version, [*made_from, f"code/{key.code.digest}"])
    return Built(entry, done=True, why=tuple(why(_earlier(before), key)))


def _settings(table: Table) -> dict[str, object]:
    """What is declared beside the function and changes what it may return."""
    settings: dict[str, object] = {"key": list(table.key), "time": table.time}
    if table.online:
        settings |= {"known": table.known, "online": True}
    return settings


def _call(session: Session, table: Table, inputs: dict[str, Entry]) -> pl.DataFrame:
    frames = {name: session.scan(entry.ref) for name, entry in inputs.items()}
    what = f"table {table.name}"

    @functools.wraps(table.function)  # a lazy frame raises when it is collected: its line is theirs
    def collected(**inputs: pl.LazyFrame) -> pl.DataFrame:
        return _collect(table, table.function(**inputs))

    result = run_user_code(what, collected, **frames)
    for column in (*table.key, *_moments(table)):
        if column not in result.columns:
            raise UsageError(
                "CN-TABLE-005",
                f"{what}: its column {column!r} is not in the result; "
                f"{closest(column, result.columns)}",
                "return the column, or change key= and time= of the table",
            )
    _check_time(table, result)
    _check_key(table, result)
    return result.sort(table.key, maintain_order=True) if table.key else result


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
    key = [*table.key, *_moments(table)] if table.online else [*table.key]  # a thing has a history
    if key and (distinct := rows.select(pl.struct(key).n_unique()).item()) < rows.height:
        raise VerdictError(
            "CN-TABLE-006",
            f"table {table.name}: {rows.height} rows have only {distinct} different keys "
            f"({', '.join(key)})",
            "leave doubles out (unique()), or name more columns in key=; nothing was written",
        )


def _earlier(before: TableVersion | None) -> StepKey | None:
    if before is None or not before.step_parts:
        return None
    return msgspec.convert(before.step_parts, StepKey)
