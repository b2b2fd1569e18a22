"""Quarantine as a place: every bad row of a source, its reasons, and what became of it.

The table ``quarantine.<source>`` holds each row as it landed (attempt 0) and as it was tried
again. Which of them came into the source's table is said by the table's own versions, in the
commit that holds the rows; which were dropped, by the ledger. So a row is settled once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from colonnade.base.errors import NotFoundError
from colonnade.govern.session import Session
from colonnade.records.entry import Entry
from colonnade.records.quarantine import ID_DIGITS, PREFIX, Dropped, numbers
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion

_KEY: Final = ("file_sha256", "row")
_SETTLED: Final = pl.Schema(
    {
        "file_sha256": pl.String(),
        "row": pl.Int64(),
        "state": pl.String(),
        "settled": pl.Int64(),
        "by": pl.String(),
        "at": pl.String(),
        "because": pl.String(),
        "became": pl.String(),
    }
)
_KEPT: Final = pl.Schema(
    {
        "file": pl.String(),
        "file_sha256": pl.String(),
        "row": pl.Int64(),
        "reasons": pl.List(pl.String),
        "cells": pl.String(),
        "attempt": pl.Int64(),
    }
)
_Event = tuple[str, int, str, int | None, str, str, str | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The quarantine of one source.

    Attributes:
        bad: rows of files that are in the table; the sum of the four that follow.
        left_out: rows of files that are not in the table: replaced, or not taken over yet.
        reasons: of the rows that are open: how many break each rule.
    """

    source: str
    bad: int
    open: int
    mended: int
    replayed: int
    dropped: int
    left_out: int
    reasons: dict[str, int]


def sources(session: Session) -> list[str]:
    """The sources of which rows are or were in quarantine."""
    names = session.names("table")
    return [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]


def summary(session: Session, source: str) -> Summary:
    """How many rows of a source are in which state.

    Raises:
        NotFoundError: CN-REF-002, there is no such source.
    """
    found = rows(session, source)
    states = dict(found["state"].value_counts().iter_rows())
    waiting = found.filter(pl.col("state") == "open")["reasons"].list.explode(
        empty_as_null=False, keep_nulls=False
    )
    worst = waiting.value_counts().sort(["count", "reasons"], descending=[True, False])
    return Summary(
        source=source,
        bad=found.height - states.get("left out", 0),
        open=states.get("open", 0),
        mended=states.get("mended", 0),
        replayed=states.get("replayed", 0),
        dropped=states.get("dropped", 0),
        left_out=states.get("left out", 0),
        reasons=dict(worst.iter_rows()),
    )


def rows(session: Session, source: str) -> pl.DataFrame:
    """Every row of a source that was ever bad, as it stands now.

    Returns:
        ``id``, ``file``, ``file_sha256``, ``row``, ``attempt``, ``reasons``, ``cells`` (of the
        newest attempt, or of the one that passed), ``state``, ``by``, ``at``, ``because``,
        ``became`` (the table version that it came with).

    Raises:
        NotFoundError: CN-REF-002, there is no such source.
    """
    newest = session.newest("table", source)
    if newest is None and session.newest("table", PREFIX + source) is None:
        session.version(Ref("table", source))
    events = pl.DataFrame(list(_events(session, source, newest)), schema=_SETTLED, orient="row")
    events = events.unique(_KEY, keep="first", maintain_order=True)
    kept = attempts(session, source).join(events, on=_KEY, how="left")
    inside = _inside(session, source, newest, kept["file_sha256"].unique())
    last = pl.coalesce("settled", pl.col("attempt").max().over(_KEY))
    state = (
        pl.when(~pl.col("file_sha256").is_in(inside))
        .then(pl.lit("left out"))
        .otherwise(pl.col("state").fill_null("open"))
    )
    return (
        kept.filter(pl.col("attempt") == last)
        .unique(_KEY, keep="last", maintain_order=True)
        .with_columns(state.alias("state"), _ids())
        .select("id", *_KEPT.names(), "state", "by", "at", "because", "became")
        .sort("file", "row")
    )


def _inside(session: Session, source: str, newest: Entry | None, files: Iterable[str]) -> list[str]:
    """Of the files with bad rows those of which the table has the good ones.

    A version of a source that is pushed to names its last pushes only; those of all versions are
    in the ledger. What is replaced is not in the table any more.
    """
    if newest is None:
        return []
    there = set(newest.read(TableVersion).files.values())
    if _is_replaced(session, newest):
        return list(there)
    return [
        digest
        for digest in files
        if digest in there
        or any(
            entry.kind == "table" and entry.ref.name == source
            for entry in session.made_from(f"file/{digest}")
            if entry.verb in ("write", "adopt")
        )
    ]


def _is_replaced(session: Session, newest: Entry) -> bool:
    """Whether what lands takes the place of the table: said by the last version that landed."""
    ref = newest.ref
    for number in range(ref.version or 0, 0, -1):
        version = session.version(Ref("table", ref.name, number)).read(TableVersion)
        if version.landed:
            return version.mode == "replace"
    return False


def attempts(session: Session, source: str) -> pl.DataFrame:
    """Every attempt of every row: as it landed, then as it was tried again."""
    newest = session.newest("table", PREFIX + source)
    if newest is None:
        return pl.DataFrame(schema=_KEPT)
    kept = session.scan(newest.ref).collect()
    if "attempt" not in kept.columns:  # written before rows could be tried again
        kept = kept.with_columns(attempt=pl.lit(None, pl.Int64))
    return kept.select(pl.col(_KEPT.names())).with_columns(pl.col("attempt").fill_null(0))


def chosen(
    found: pl.DataFrame,
    *,
    ids: Sequence[str] = (),
    reason: str | None = None,
    file: str | None = None,
) -> pl.DataFrame:
    """The rows with these ids, of this reason, of this file (by its path, name or digest).

    Raises:
        NotFoundError: CN-QUARANTINE-001, an id is none of a row in this quarantine.
    """
    if unknown := sorted(set(ids) - set(found["id"])):
        raise NotFoundError(
            "CN-QUARANTINE-001",
            f"{', '.join(unknown[:5])} names no row in this quarantine",
            "see the ids: colonnade data quarantine show SOURCE",
        )
    wanted = pl.lit(value=True)
    if ids:
        wanted &= pl.col("id").is_in(list(ids))
    if reason is not None:
        wanted &= pl.col("reasons").list.contains(reason)
    if file is not None:
        named = (pl.col("file") == file) | pl.col("file").str.ends_with(f"/{file}")
        wanted &= named | (pl.col("file_sha256") == file.removeprefix("file/"))
    return found.filter(wanted)


def _ids() -> pl.Expr:
    digits = pl.col("file_sha256").str.slice(0, ID_DIGITS)
    return pl.format("{}-{}", digits, "row").alias("id")


def _events(session: Session, source: str, newest: Entry | None) -> Iterator[_Event]:
    """What became of rows; of a row that says two things the newest counts."""
    entry = newest
    while entry is not None:
        version = entry.read(TableVersion)
        for part in version.settled:
            for row in numbers(part.rows):
                yield (
                    part.file_sha256, row, part.state, part.attempt, entry.actor, entry.at,
                    part.because, entry.ref.short,
                )  # fmt: skip
        before = version.settled_before
        entry = None if before is None else session.version(Ref("table", source, before))
    subject = str(Ref("table", PREFIX + source))
    for entry in session.entries(kind="table", verb="drop", subject=subject):
        dropped = entry.read(Dropped)
        for digest, spans in dropped.rows.items():
            for row in numbers(spans):
                yield digest, row, "dropped", None, entry.actor, entry.at, dropped.because, None
