"""Rows that are merged into a table by their key: which rows they meet, and what is then there."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from colonnade.base.errors import UsageError, VerdictError
from colonnade.base.text import closest
from colonnade.data.summary import profile_after, profile_of
from colonnade.govern.session import Session
from colonnade.govern.writer import check_merge
from colonnade.project import Source
from colonnade.records.entry import Entry
from colonnade.records.table import TableVersion


def meeting(
    session: Session, before: Entry, keys: pl.DataFrame, key: Sequence[str]
) -> pl.LazyFrame:
    """The rows of a version that have one of these keys."""
    rows = session.scan(before.ref)
    for column in key:
        low, high = keys[column].min(), keys[column].max()
        if low is not None:  # files without any are not opened
            rows = rows.filter(pl.col(column).is_between(low, high))
    return rows.join(keys.lazy().select(key).unique(), on=list(key), how="semi")


def check_file(source: Source, name: str, rows: pl.DataFrame) -> None:
    """Refuse a file whose rows cannot be merged: which of two rows with one key is the newer?

    Raises:
        UsageError: CN-INGEST-006, the key is not among the columns.
        VerdictError: CN-TABLE-010, a key is missing, or comes twice.
    """
    if source.mode != "merge":
        return
    for column in source.key:
        if column not in rows.columns:
            raise UsageError(
                "CN-INGEST-006",
                f"source {source.name}: its key {column!r} is no column of its contract; "
                f"{closest(column, rows.columns)}",
                f"name a column of contracts/{source.name}.yaml in key=",
            )
    check_merge(f"{source.name}, {name}", rows, source.key)


def newest_rows(source: Source, rows: pl.DataFrame) -> pl.DataFrame:
    """Of the rows of several files the last one of each key, as if the files had come singly."""
    if source.mode != "merge":
        return rows
    return rows.unique(subset=list(source.key), keep="last", maintain_order=True)


def profile_of_rows(
    session: Session, source: Source, rows: pl.DataFrame, newest: Entry | None
) -> str:
    """The profile that a source's table has with these rows.

    Raises:
        VerdictError: CN-TABLE-010, rows are to be merged into a table in which a key comes twice.
    """
    if newest is None or source.mode == "replace":
        return profile_of(session, rows)
    if source.mode == "append":
        return profile_of(session, rows, newest)
    _check_table(session, source, newest)
    there = meeting(session, newest, rows, source.key).collect()

    def whole() -> pl.DataFrame:
        staying = session.scan(newest.ref).join(rows.lazy(), on=list(source.key), how="anti")
        return pl.concat([staying.collect(), rows], how="diagonal_relaxed")

    return profile_after(session, newest, there, rows, whole)


def _check_table(session: Session, source: Source, newest: Entry) -> None:
    """A table that was not merged before may have doubles, which a merge would both change."""
    before = newest.read(TableVersion)
    if before.mode == "merge" and before.key == source.key:
        return
    if set(source.key) <= set(before.columns):
        keys = session.scan(newest.ref, list(source.key))
        twice = keys.select(pl.len() - pl.struct(source.key).n_unique()).collect().item()
        if not twice:
            return
        found = f"{twice} rows have one twice"
    else:
        found = "it has no such column"
    raise VerdictError(
        "CN-TABLE-010",
        f"table {source.name}: rows are merged by the key ({', '.join(source.key)}), and of the "
        f"{before.rows} rows that are there {found}",
        "give the source another name, so that its table begins anew; nothing was written",
    )
