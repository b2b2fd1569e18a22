"""Landing files into a table version: each file once, good rows in, bad rows kept with reasons.

The position (which files are in) is part of the version that holds their rows, read under the
table's writer lease: a file cannot be taken twice, nor be skipped. Quarantined rows are written
first and have a position of their own, so that a kill in between neither loses nor doubles them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from colonnade.base.errors import UsageError, VerdictError
from colonnade.data import arrive, bind, merge, verdict
from colonnade.data.bind import Bound
from colonnade.data.cells import DTYPES
from colonnade.data.read import read
from colonnade.data.release import released
from colonnade.data.verdict import Verdict
from colonnade.govern.session import Session
from colonnade.govern.writer import Writer
from colonnade.project import Source
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.entry import Entry
from colonnade.records.quarantine import PREFIX
from colonnade.records.ref import Ref
from colonnade.records.source import LandedFile
from colonnade.records.table import TableVersion

_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Ingested:
    """What a source's step did.

    Attributes:
        entry: the table version that holds now.
        done: whether this call made it.
        good: rows that this call took over.
        bad: rows that it put into quarantine.
        notes: what a person should know of it: rules that only warn, columns that were left out.
        late: of both, rows that lie before the end of the last pull.
    """

    entry: Entry
    done: bool
    good: int = 0
    bad: int = 0
    notes: tuple[str, ...] = ()
    late: int = 0


@dataclass(frozen=True, slots=True)
class _Batch:
    """The checked rows of the files that are new."""

    good: pl.DataFrame
    bad: pl.DataFrame
    landed: tuple[LandedFile, ...]
    reasons: dict[str, int]
    left_out: tuple[str, ...]
    against: tuple[str, ...]


def ingest(session: Session, source: Source, folder: Path) -> Ingested:
    """Take over what has landed since the last time.

    Raises:
        NotFoundError: CN-INGEST-001, no file has landed yet.
        UsageError: CN-INGEST-002, a file that was taken over has changed; CN-INGEST-004, one is
            still being written; CN-INGEST-005, one is a copy of another; CN-CONTRACT-…, the
            contract or a file's columns are wrong; CN-SOURCE-…, a file cannot be read.
        VerdictError: the batch is stopped: CN-INGEST-003, more bad rows than the contract admits;
            CN-CONTRACT-011, a rule of the contract over the whole batch does not hold.
    """
    with session.writer(source.name) as writer:
        newest = writer.newest
        before = None if newest is None else newest.read(TableVersion)
        arrival = arrive.look(session, source, folder, newest)
        bound = bind.bind(session, source, folder, arrival)
        if newest is not None and not arrival.pieces:
            arrive.done(session, source, arrival)
            return Ingested(newest, done=False)
        batch = _read(session, source, bound, arrival, before)
        arrive.check_unchanged(session, source, arrival.pieces)
        known = arrive.known(source, before)
        _check_new(source, known, batch)
        rows = verdict.Rows(batch.good, batch.good.height + batch.bad.height)
        verdicts = verdict.judge(session, bound.contract, rows, newest)
        report = _report(session, bound, batch, verdicts)
        _stop_where_it_must(session, source, bound, batch, (verdicts, report))
        arrive.keep(session, source, arrival)
        if batch.bad.height:
            _quarantine(session, source, batch)
        made = _Made(bound.ref, report, known, arrival.cursor)
        entry = _write(session, writer, source, batch, made)
        arrive.done(session, source, arrival)
    return Ingested(
        entry,
        done=True,
        good=batch.good.height,
        bad=batch.bad.height,
        notes=_notes(batch, verdicts),
        late=0 if arrival.pulled is None else arrival.pulled.late,
    )


def _read(
    session: Session,
    source: Source,
    bound: Bound,
    arrival: arrive.Arrival,
    before: TableVersion | None,
) -> _Batch:
    contract = bound.contract
    known = bind.known(session, bound, before, source.mode)
    good, bad, landed = [], [], []
    left_out: dict[str, None] = {}
    reasons: dict[str, int] = {}
    for piece in arrival.pieces:
        checked = read(session, contract, piece, known)
        merge.check_file(source, piece.name, checked.good)
        left_out |= dict.fromkeys(checked.left_out)
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
        left_out=tuple(left_out),
        against=known.versions,
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


def _report(session: Session, bound: Bound, batch: _Batch, verdicts: tuple[Verdict, ...]) -> str:
    report = {
        "contract": str(bound.ref),
        "files": canonical.plain(batch.landed),
        "rows": batch.good.height + batch.bad.height,
        "good": batch.good.height,
        "bad": batch.bad.height,
        "reasons": batch.reasons,
        "stop_above": bound.contract.stop_above,
        "verdicts": canonical.plain(verdicts),
        "against": list(batch.against),
        "left_out": list(batch.left_out),
    }
    return session.put_blob(canonical.encode(report))


def _notes(batch: _Batch, verdicts: tuple[Verdict, ...]) -> tuple[str, ...]:
    notes = [f"warning: {v.rule}: {v.found}" for v in verdicts if v.warns]
    if batch.left_out:
        notes.append(f"left out, not in the contract: {', '.join(batch.left_out)}")
    return tuple(notes)


def _stop_where_it_must(
    session: Session,
    source: Source,
    bound: Bound,
    batch: _Batch,
    judged: tuple[tuple[Verdict, ...], str],
) -> None:
    """Stop a batch of too many bad rows, or one that as a whole is not what was agreed."""
    verdicts, report = judged
    bad, rows = batch.bad.height, batch.bad.height + batch.good.height
    broken = [f"{v.rule}: {v.found}" for v in verdicts if v.stops]
    too_bad = bad > bound.contract.stop_above * max(1, rows)
    if not too_bad and not broken:
        return
    if released(session, source.name, bound.ref, {file.sha256 for file in batch.landed}):
        return
    files = [f"file/{file.sha256}" for file in batch.landed]
    session.record("write", "stop", Ref("table", source.name), {"report": report}, files)
    if not too_bad:
        raise VerdictError(
            "CN-CONTRACT-011",
            f"source {source.name}: the batch of {rows:,} rows is not what "
            f"contracts/{source.name}.yaml says: {'; '.join(broken[:_EXAMPLES])}",
            "nothing was taken over; mend the files, or the rule (severity: warning only warns), "
            f"or let an approver release the batch: colonnade data release {source.name}",
        )
    worst = sorted(batch.reasons.items(), key=lambda item: -item[1])[:_EXAMPLES]
    raise VerdictError(
        "CN-INGEST-003",
        f"source {source.name}: {bad} of {rows} rows break contracts/{source.name}.yaml, more "
        f"than {bound.contract.stop_above:.0%}: "
        f"{', '.join(f'{name} {count}' for name, count in worst)}",
        "nothing was taken over; mend the files, or the contract (stopAbove admits more), or let "
        f"an approver release the batch: colonnade data release {source.name}",
    )


def _quarantine(session: Session, source: Source, batch: _Batch) -> None:
    with session.writer(PREFIX + source.name) as writer:
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


def _settled(newest: Entry | None) -> int | None:
    return None if newest is None else newest.read(TableVersion).settled_by(newest.ref.version)


def _write(session: Session, writer: Writer, source: Source, batch: _Batch, made: _Made) -> Entry:
    newest = writer.newest
    files = {file.path: file.sha256 for file in batch.landed}
    rows = merge.newest_rows(source, batch.good)
    version = TableVersion(
        mode=source.mode,
        step=canonical.digest({"contract": str(made.contract), "files": files}),
        files=made.before | files,
        cursor=made.cursor,
        settled_before=_settled(newest) if source.mode != "replace" else None,
        landed=batch.landed,
        key=source.key,
        profile=merge.profile_of_rows(session, source, rows, newest),
        report=made.report,
    )
    made_from = [str(made.contract), *(f"file/{digest}" for digest in files.values())]
    if newest is not None and source.mode != "replace":
        made_from.append(newest.subject)
    return writer.write(rows, version, made_from)
