"""A landed file against its contract: read strictly at first, line by line where that fails.

A clean file costs one pass. Only one that the engine refuses, or in which a row may be too short
(the engine fills it up without a word), is read line by line; JSON lines always are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.data import check, propose
from colonnade.data.arrive import Piece
from colonnade.data.check import NOTHING, Checked, Known
from colonnade.govern.session import Session
from colonnade.records.contract import Contract
from colonnade.records.source import JSON_SUFFIXES

_UNREADABLE = "CN-SOURCE-003"


def read(session: Session, contract: Contract, piece: Piece, known: Known = NOTHING) -> Checked:
    """Split the rows of a file; a line that cannot be read is a bad row with a reason of its own.

    Raises:
        UsageError: CN-SOURCE-…, the file cannot be read, not even line by line; CN-CONTRACT-…, its
            columns are not the contract's.
    """
    if piece.path.name.endswith(JSON_SUFFIXES):
        return _by_line(session, contract, piece, known)
    try:
        rows = session.open_file(piece.path, contract.missing)
        found = check.check(rows, contract, piece.name, known)
    except UsageError as error:
        if error.code != _UNREADABLE:
            raise
        return _by_line(session, contract, piece, known, error)
    names, height = rows.collect_schema().names(), found.good.height + found.bad.height
    last = names[-1]
    may_be_short = (
        found.bad.height or last not in found.good.columns or found.good[last].null_count()
    )
    if may_be_short and session.is_ragged(piece.path, len(names), height):
        return _by_line(session, contract, piece, known)
    return found


def proposal(session: Session, name: str, pieces: Sequence[Piece]) -> Contract:
    """A contract from what can be read of the files (see ``propose``)."""
    try:
        return propose.propose(name, [session.open_file(piece.path, ()) for piece in pieces])
    except UsageError as error:
        found = [] if error.code != _UNREADABLE else _readable(session, pieces)
        if not found:
            raise
        return propose.propose(name, found)


def _readable(session: Session, pieces: Sequence[Piece]) -> list[pl.LazyFrame]:
    frames = []
    for piece in pieces:
        lines = session.open_lines(piece.path, (), {})
        frames.append(session.open_file(piece.path, ()) if lines is None else lines.rows)
    return frames


def _by_line(
    session: Session,
    contract: Contract,
    piece: Piece,
    known: Known,
    error: UsageError | None = None,
) -> Checked:
    types = {column.name: column.type for column in contract.columns}
    lines = session.open_lines(piece.path, contract.missing, types)
    if lines is None:
        assert error is not None  # noqa: S101 (of a binary format no row is too short)
        raise error
    found = check.check(lines.rows, contract, piece.name, known)
    if found.good.height + found.bad.height != len(lines.places):
        raise UsageError(
            _UNREADABLE,
            f"{piece.name} cannot be read: where its rows begin and end cannot be told",
            "mend the file: quote each cell that holds a quote, a comma or a line feed",
        )
    bad = found.bad.with_columns(pl.lit(lines.places).gather(pl.col("row")).alias("row"))
    spoiled = lines.spoiled["reasons"].list.explode().value_counts().iter_rows()
    reasons = dict(found.reasons)
    for reason, count in spoiled:
        reasons[reason] = reasons.get(reason, 0) + count
    return replace(found, bad=pl.concat([bad, lines.spoiled]).sort("row"), reasons=reasons)
