"""Which versions of a table are still needed, and the upkeep that follows: compact and vacuum.

Kept are the newest version; what was the newest at any time within the retention, so that time
travel is exact there; what a live model, the one before it (a roll-back's goal), the newest
version of a model (it may wait for approval) or an open job was made from; what the newest
version of another table was made from; and what a person holds. Of the tables that the platform
writes itself (``predictions.``, ``labels.``, ``quarantine.``) every version stays: `trace` answers
from the version in which a thing was recorded, and as rows are only added it costs no file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from colonnade.base import clock
from colonnade.base.errors import UsageError
from colonnade.govern.session import Session
from colonnade.records.deployment import Deployment
from colonnade.records.entry import Entry
from colonnade.records.model import ModelVersion
from colonnade.records.ref import Ref, parse
from colonnade.records.run import Run

RETENTION_DAYS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A version that stays although it is older than the retention.

    Attributes:
        version: ``name@version``.
        why: what needs it.
    """

    version: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed:
    """What became of a table.

    Attributes:
        removed: numbers of the versions that were removed, or would be.
        kept: older ones that stay.
        files: deleted files.
        bytes: how large they were.
    """

    table: str
    removed: tuple[int, ...]
    kept: tuple[Kept, ...]
    files: int = 0
    bytes: int = 0


def compact(session: Session, table: str) -> Entry | None:
    """Make few files of many small ones; None where that changes nothing.

    Raises:
        NotFoundError: CN-REF-002, there is no such table.
    """
    session.version(Ref("table", table))
    with session.writer(table) as writer:
        return writer.compact()


def vacuum(
    session: Session, table: str, days: float, *, full: bool = False, plan: bool = False
) -> Vacuumed:
    """Remove the versions of a table that nothing needs and that are older than the retention.

    Args:
        session: whose actor may write.
        table: its name.
        days: for how long a version stays after it was the newest.
        full: also delete files that no version ever had.
        plan: only say what would be removed.

    Raises:
        NotFoundError: CN-REF-002, there is no such table.
        UsageError: CN-TABLE-013, the retention is none.
    """
    if not 0 <= days < 1e6:
        raise UsageError(
            "CN-TABLE-013",
            f"a retention of {days} days is none",
            "give days: 0 keeps only what is needed, 30 is the default",
        )
    session.version(Ref("table", table))
    with session.writer(table) as writer:
        old = [] if _is_record(table) else _older(session, table, days)
        needs = dict(_needs(session, table))
        kept = tuple(Kept(version=f"{table}@{n}", why=needs[n]) for n in old if n in needs)
        versions = tuple(number for number in old if number not in needs)
        if plan:
            return Vacuumed(table=table, removed=versions, kept=kept)
        done = session.remove(writer, table, versions, full=full)
    return Vacuumed(table=table, removed=versions, kept=kept, files=done.files, bytes=done.bytes)


def _is_record(table: str) -> bool:
    """Whether the platform writes it: no name that a user gives has a dot."""
    return "." in table


def _older(session: Session, table: str, days: float) -> list[int]:
    """The versions that were not the newest for longer than the retention, and are there."""
    entries = session.versions(table)
    gone = session.removed(table)
    limit_s = clock.now_s() - days * 86_400
    return [
        entry.ref.version
        for entry, after in pairwise(entries)
        if clock.instant(after.at).timestamp() <= limit_s
        and entry.ref.version is not None
        and entry.ref.version not in gone
    ]


def _needs(session: Session, table: str) -> Iterator[tuple[int, str]]:
    """The versions of a table that something needs, with what that is."""
    for subject, why in _snapshots(session):
        for ref in _made_from(session, subject):
            if ref.name == table and ref.version is not None:
                yield ref.version, why
    for name in session.names("table"):
        newest = session.version(Ref("table", name))
        for parent in map(parse, newest.made_from):
            if (parent.kind, parent.name) == ("table", table) and name != table and parent.version:
                yield parent.version, f"{newest.ref.short} was made from it"
    for number, reason in holds(session, table).items():
        yield number, f"held: {reason}"


def holds(session: Session, table: str) -> dict[int, str]:
    """The versions of a table that a person holds, with the reason."""
    found: dict[int, str] = {}
    for entry in reversed(session.entries(kind="table", subject=f"table/{table}")):
        number = entry.ref.version
        if entry.verb == "hold" and number is not None:
            found[number] = str(entry.body.get("reason", ""))
        elif entry.verb == "lift" and number is not None:
            found.pop(number, None)
    return found


def _snapshots(session: Session) -> Iterator[tuple[str, str]]:
    """The training tables of models that answer, answered before, or may answer next."""
    for name in session.names("model"):
        newest = session.version(Ref("model", name))
        yield from _snapshot(session, newest, f"{newest.ref.short} is the newest version")
    for endpoint in session.names("deployment"):
        live = session.version(Ref("deployment", endpoint))
        deployment = live.read(Deployment)
        earlier = _before(session, deployment)
        for made, why in ((deployment, "answers"), (earlier, "answered before")):
            if made is not None:
                version = session.version(parse(f"model/{made.model}"))
                yield from _snapshot(session, version, f"{made.model} {why} as {endpoint}")
    for job in session.open_jobs():
        wanted = session.entry(job.wanted_by)
        for parent in () if wanted is None else wanted.made_from:
            yield parent, f"the job {job.kind} is open"
        if wanted is not None and isinstance(wanted.body.get("snapshot"), str):
            yield f"table/{wanted.body['snapshot']}", f"the job {job.kind} is open"


def _before(session: Session, deployment: Deployment) -> Deployment | None:
    if deployment.previous is None:
        return None
    return session.version(parse(f"deployment/{deployment.previous}")).read(Deployment)


def _snapshot(session: Session, version: Entry, why: str) -> Iterator[tuple[str, str]]:
    run = version.read(ModelVersion).run
    for start in session.entries(kind="run", verb="start", subject=f"run/{run}"):
        yield f"table/{start.read(Run).table}", why


def _made_from(session: Session, subject: str) -> Iterator[Ref]:
    """A table version and those of other tables that it was made from, and they."""
    waiting, seen = [subject], set()
    while waiting:
        text = waiting.pop()
        if text in seen or not text.startswith("table/"):
            continue
        seen.add(text)
        ref = parse(text)
        yield ref
        entry = session.version(ref)
        waiting += [parent for parent in entry.made_from if parse(parent).name != ref.name]
