"""Landing files into a table version: each file once, good rows in, bad rows kept with reasons.

The position (which files are in) is part of the version that holds their rows, read under the
table's writer lease: a file cannot be taken twice, nor be skipped. Quarantined rows are written
first and have a position of their own, so that a kill in between neither loses nor doubles them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from colonnade.base.errors import UsageError, VerdictError
from colonnade.data import arrive, check, odcs, propose
from colonnade.data.cells import DTYPES
from colonnade.data.summary import profile_of
from colonnade.govern.session import Session
from colonnade.govern.writer import Writer
from colonnade.project import Source
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.contract import Contract
from colonnade.records.entry import Entry
from colonnade.records.ref import Ref
from colonnade.records.source import LandedFile
from colonnade.records.table import TableVersion

QUARANTINE: Final = "quarantine."
_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Ingested:
    """What a source's step did.

    Attributes:
        entry: the table version that holds now.
        done: whether this call made it.
        good: rows that this call took over.
        bad: rows that it put into quarantine.
    """

    entry: Entry
    done: bool
    good: int = 0
    bad: int = 0


@dataclass(frozen=True, slots=True)
class _Batch:
    """The checked rows of the files that are new."""

    good: pl.DataFrame
    bad: pl.DataFrame
    landed: tuple[LandedFile, ...]
    reasons: dict[str, int]


def ingest(session: Session, source: Source, folder: Path) -> Ingested:
    """Take over what has landed since the last time.

    Raises:
        NotFoundError: CN-INGEST-001, no file has landed yet.
        UsageError: CN-INGEST-002, a file that was taken over has changed; CN-INGEST-004, one is
            still being written; CN-INGEST-005, one is a copy of another; CN-CONTRACT-…, the
            contract or a file's columns are wrong; CN-SOURCE-…, a file cannot be read.
        VerdictError: CN-INGEST-003, more bad rows than the contract admits: the batch is stopped.
    """
    with session.writer(source.name) as writer:
        newest = writer.newest
        before = None if newest is None else newest.read(TableVersion)
        arrival = arrive.look(session, source, folder, before)
        contract, bound = _contract(session, source, folder, arrival)
        if newest is not None and not arrival.pieces:
            return Ingested(newest, done=False)
        batch = _read(session, contract, arrival)
        arrive.check_unchanged(session, source, arrival.pieces)
        known = arrive.known(source, before)
        _check_new(source, known, batch)
        report = _report(session, contract, bound, batch)
        if batch.bad.height > contract.stop_above * max(1, batch.bad.height + batch.good.height):
            _stop(session, source, contract, batch, report)
        if batch.bad.height:
            _quarantine(session, source, batch)
        made = _Made(bound, report, known, arrival.cursor)
        entry = _write(session, writer, source, batch, made)
        arrive.clear(session, source, arrival)
    return Ingested(entry, done=True, good=batch.good.height, bad=batch.bad.height)


def _contract(
    session: Session, source: Source, folder: Path, arrival: arrive.Arrival
) -> tuple[Contract, Ref]:
    """The contract that binds; the first time, one that is proposed from what is there."""
    path = folder / "contracts" / f"{source.name}.yaml"
    if not os.path.lexists(path):
        frames = [session.open_file(piece.path, ()) for piece in arrival.present]
        proposed = propose.propose(source.name, frames)
        with session.new_file("write", path) as temporary:
            odcs.write(temporary, proposed)
    contract = odcs.read(path)
    newest = session.newest("contract", source.name)
    if newest is None or newest.read(Contract) != contract:
        subject = Ref("contract", source.name)
        with session.change("write", subject) as change:
            newest = change.version("bind", subject, lambda _: contract)
    return contract, newest.ref


def _read(session: Session, contract: Contract, arrival: arrive.Arrival) -> _Batch:
    good, bad, landed = [], [], []
    reasons: dict[str, int] = {}
    for piece in arrival.pieces:
        rows = session.open_file(piece.path, contract.missing)
        checked = check.check(rows, contract, piece.name)
        good.append(checked.good)
        bad.append(checked.bad.with_columns(pl.lit(piece.name).alias("file")))
        landed.append(
            LandedFile(
                path=piece.name,
                sha256=piece.sha256,
                size_bytes=piece.path.stat().st_size,
                rows=checked.good.height + checked.bad.height,
            )
        )
        for reason, count in checked.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    schema = {column.name: DTYPES[column.type] for column in contract.columns}
    return _Batch(
        good=pl.concat([pl.DataFrame(schema=schema), *good]),
        bad=pl.concat(bad),
        landed=tuple(landed),
        reasons=reasons,
    )


def _check_new(source: Source, before: dict[str, str], batch: _Batch) -> None:
    """The same rows under another name would count twice; files without rows may be alike."""
    known = {digest: name for name, digest in before.items()}
    for file in batch.landed:
        if file.sha256 in known and file.rows:
            raise UsageError(
                "CN-INGEST-005",
                f"source {source.name}: {file.path} holds the same bytes as {known[file.sha256]}, "
                "so each of its rows would count twice; nothing was taken over",
                "take the copy away; rows that really came twice land in one file",
            )
        known[file.sha256] = file.path


def _report(session: Session, contract: Contract, bound: Ref, batch: _Batch) -> str:
    report = {
        "contract": str(bound),
        "files": canonical.plain(batch.landed),
        "rows": batch.good.height + batch.bad.height,
        "good": batch.good.height,
        "bad": batch.bad.height,
        "reasons": batch.reasons,
        "stop_above": contract.stop_above,
    }
    return session.put_blob(canonical.encode(report))


def _stop(session: Session, source: Source, contract: Contract, batch: _Batch, report: str) -> None:
    bad, rows = batch.bad.height, batch.bad.height + batch.good.height
    files = [f"file/{file.sha256}" for file in batch.landed]
    session.record("write", "stop", Ref("table", source.name), {"report": report}, files)
    worst = sorted(batch.reasons.items(), key=lambda item: -item[1])[:_EXAMPLES]
    raise VerdictError(
        "CN-INGEST-003",
        f"source {source.name}: {bad} of {rows} rows break contracts/{source.name}.yaml, more "
        f"than {contract.stop_above:.0%}: {', '.join(f'{name} {count}' for name, count in worst)}",
        "nothing was taken over; mend the files, or the contract (stopAbove admits more)",
    )


def _quarantine(session: Session, source: Source, batch: _Batch) -> None:
    with session.writer(QUARANTINE + source.name) as writer:
        newest = writer.newest
        before = {} if newest is None else newest.read(TableVersion).files
        landed = tuple(file for file in batch.landed if before.get(file.path) != file.sha256)
        if not landed:
            return
        now_in = {file.path: file.sha256 for file in landed}
        rows = batch.bad.filter(pl.col("file").is_in(now_in.keys())).with_columns(
            pl.col("file").replace_strict(now_in).alias("file_sha256")
        )
        version = TableVersion(
            mode="append",
            step=canonical.digest(now_in),
            files=before | now_in,
            landed=landed,
        )
        writer.write(
            rows.select("file", "file_sha256", "row", "reasons", "cells"),
            version,
            [f"file/{digest}" for digest in now_in.values()],
        )


@dataclass(frozen=True, slots=True)
class _Made:
    """What the new version was made from.

    Attributes:
        before: the files that were in already, as far as they stay.
    """

    contract: Ref
    report: str
    before: dict[str, str]
    cursor: dict[str, Json]


def _write(session: Session, writer: Writer, source: Source, batch: _Batch, made: _Made) -> Entry:
    newest = writer.newest
    files = {file.path: file.sha256 for file in batch.landed}
    appended = source.mode == "append"
    version = TableVersion(
        mode=source.mode,
        step=canonical.digest({"contract": str(made.contract), "files": files}),
        files=made.before | files,
        cursor=made.cursor,
        landed=batch.landed,
        profile=profile_of(session, batch.good, newest if appended else None),
        report=made.report,
    )
    made_from = [str(made.contract), *(f"file/{digest}" for digest in files.values())]
    if newest is not None and appended:
        made_from.append(newest.subject)
    return writer.write(batch.good, version, made_from)
