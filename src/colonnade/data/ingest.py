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

from colonnade.base.errors import NotFoundError, UsageError, VerdictError
from colonnade.data import check, odcs, propose
from colonnade.data.cells import DTYPES
from colonnade.data.summary import profile_of
from colonnade.govern.session import Session
from colonnade.govern.writer import Writer
from colonnade.project import Source
from colonnade.records import canonical
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
    files = session.landing(folder, source.path)
    if not files:
        raise NotFoundError(
            "CN-INGEST-001",
            f"source {source.name}: no file matches {source.path}",
            f"put a CSV or Parquet file there, below {folder}",
        )
    with session.writer(source.name) as writer:
        newest = writer.newest
        before = {} if newest is None else newest.read(TableVersion).files
        landed = {path.relative_to(folder).as_posix(): path for path in files}
        digests = {name: files[path] for name, path in landed.items()}
        wanted = _wanted(source, before, digests)
        contract, bound = _contract(session, source, folder, [landed[name] for name in digests])
        if newest is not None and not wanted:
            return Ingested(newest, done=False)
        batch = _read(session, contract, {name: landed[name] for name in wanted}, digests)
        _check_unchanged(session, source, {landed[name]: digests[name] for name in wanted})
        _check_new(source, {} if source.mode == "replace" else before, batch)
        report = _report(session, contract, bound, batch)
        if batch.bad.height > contract.stop_above * max(1, batch.bad.height + batch.good.height):
            _stop(session, source, contract, batch, report)
        if batch.bad.height:
            _quarantine(session, source, batch, digests)
        entry = _write(session, writer, source, batch, _Made(bound, report, before, digests))
    return Ingested(entry, done=True, good=batch.good.height, bad=batch.bad.height)


def _wanted(source: Source, before: dict[str, str], digests: dict[str, str]) -> list[str]:
    if source.mode == "replace":
        return list(digests) if before != digests else []
    for name, digest in digests.items():
        if before.get(name, digest) != digest:
            raise UsageError(
                "CN-INGEST-002",
                f"source {source.name}: {name} has changed since it was taken over "
                f"(it was {before[name][:12]}…, it is {digest[:12]}…)",
                "put the old file back and land the new rows under a new name, "
                'or declare the source with mode="replace"',
            )
    return [name for name in digests if name not in before]


def _contract(
    session: Session, source: Source, folder: Path, files: list[Path]
) -> tuple[Contract, Ref]:
    path = folder / "contracts" / f"{source.name}.yaml"
    if not os.path.lexists(path):
        frames = [session.open_file(file, ()) for file in files]
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


def _read(
    session: Session, contract: Contract, files: dict[str, Path], digests: dict[str, str]
) -> _Batch:
    good, bad, landed = [], [], []
    reasons: dict[str, int] = {}
    for name, path in files.items():
        rows = session.open_file(path, contract.missing)
        checked = check.check(rows, contract, name)
        good.append(checked.good)
        bad.append(checked.bad.with_columns(pl.lit(name).alias("file")))
        landed.append(
            LandedFile(
                path=name,
                sha256=digests[name],
                size_bytes=path.stat().st_size,
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


def _check_unchanged(session: Session, source: Source, files: dict[Path, str]) -> None:
    """The rows that were read are those that the digest names."""
    for path, digest in files.items():
        if not path.is_file() or session.digest_of(path) != digest:
            raise UsageError(
                "CN-INGEST-004",
                f"source {source.name}: {path.name} was written to while it was read",
                "run again when it is whole; write it elsewhere and rename it into place",
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


def _quarantine(session: Session, source: Source, batch: _Batch, digests: dict[str, str]) -> None:
    with session.writer(QUARANTINE + source.name) as writer:
        newest = writer.newest
        before = {} if newest is None else newest.read(TableVersion).files
        landed = tuple(file for file in batch.landed if before.get(file.path) != file.sha256)
        if not landed:
            return
        rows = batch.bad.filter(pl.col("file").is_in([file.path for file in landed])).with_columns(
            pl.col("file").replace_strict(digests).alias("file_sha256")
        )
        now_in = {file.path: file.sha256 for file in landed}
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
    """What the new version was made from."""

    contract: Ref
    report: str
    before: dict[str, str]
    digests: dict[str, str]


def _write(session: Session, writer: Writer, source: Source, batch: _Batch, made: _Made) -> Entry:
    newest = writer.newest
    files = {file.path: file.sha256 for file in batch.landed}
    appended = source.mode == "append"
    version = TableVersion(
        mode=source.mode,
        step=canonical.digest({"contract": str(made.contract), "files": files}),
        files=made.before | files if appended else files,
        landed=batch.landed,
        profile=profile_of(session, batch.good, newest if appended else None),
        report=made.report,
    )
    made_from = [str(made.contract), *(f"file/{digest}" for digest in files.values())]
    if newest is not None and appended:
        made_from.append(newest.subject)
    return writer.write(batch.good, version, made_from)
