"""A stopped batch may pass: somebody who may promote says so, of exactly these files."""

from __future__ import annotations

import json

from colonnade.base.errors import NotFoundError, RefusedError
from colonnade.govern.session import Session
from colonnade.records.entry import Entry
from colonnade.records.quarantine import Release
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion


def release(session: Session, source: str, because: str | None = None) -> Entry:
    """Let the next run take over the batch that was stopped last: good rows in, bad ones kept.

    Raises:
        NotFoundError: CN-INGEST-007, no batch of the source is stopped; CN-REF-002.
        RefusedError: CN-INGEST-008, who stopped it is the same person, and others may release it;
            CN-ACCESS-001.
    """
    subject = Ref("table", source)
    session.require("promote", subject)
    stop = next(
        iter(session.entries(kind="table", verb="stop", subject=str(subject), limit=1)), None
    )
    files = () if stop is None else _files(stop)
    newest = session.newest("table", source)
    known = set() if newest is None else set(newest.read(TableVersion).files.values())
    if stop is None or known.issuperset(files):
        raise NotFoundError(
            "CN-INGEST-007",
            f"source {source}: no batch is stopped",
            "see what is: colonnade status; a batch is stopped by colonnade run",
        )
    others = [name for name in session.who_may("promote") if name != session.actor.name]
    if stop.actor == session.actor.name and others:
        raise RefusedError(
            "CN-INGEST-008",
            f"source {source}: {session.actor.name} ran into the stop, and may not release it too",
            f"ask one of {', '.join(others[:10])}",
        )
    report = json.loads(session.blob(str(stop.body["report"])))
    body = Release(stop=stop.id, contract=report["contract"], files=files, because=because)
    return session.record("promote", "release", subject, body, stop.made_from)


def released(session: Session, source: str, contract: Ref, files: set[str]) -> Entry | None:
    """The release of exactly these files under this contract, None where there is none."""
    subject = str(Ref("table", source))
    for entry in session.entries(kind="table", verb="release", subject=subject, limit=1):
        found = entry.read(Release)
        if found.contract == str(contract) and set(found.files) == files:
            return entry
    return None


def _files(stop: Entry) -> tuple[str, ...]:
    return tuple(ref.removeprefix("file/") for ref in stop.made_from)
