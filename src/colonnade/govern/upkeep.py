"""What becomes of old versions of a table: removed when nothing needs them, never by surprise.

A removal is in the ledger before the first file goes, so that no reader meets half a version; the
files go after it, and what a kill left behind goes with the next sweep. Files that a version
which stays has are never touched, nor is the log that says which those are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from colonnade.base.errors import NotFoundError
from colonnade.govern.stores import Stores
from colonnade.govern.writer import Compaction, Writer
from colonnade.records.entry import Entry
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What an entry says of versions that were removed.

    Attributes:
        versions: all that were removed of this table until now, as stretches: first and last.
        removed: how many of them by this entry.
    """

    versions: tuple[tuple[int, int], ...]
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What an entry says of files that were deleted.

    Attributes:
        full: whether files that no version ever named were looked for too.
    """

    files: int
    bytes: int
    full: bool


def check_there(stores: Stores, entry: Entry) -> None:
    """Refuse a version that was removed.

    Raises:
        NotFoundError: CN-REF-003.
    """
    found = _removal(stores, entry.ref.name)
    number = entry.ref.version or 0
    if found is None or not any(
        first <= number <= last for first, last in found.read(Removal).versions
    ):
        return
    raise NotFoundError(
        "CN-REF-003",
        f"the rows of table {entry.ref.short} of {entry.at} were removed; "
        f"the last removal was by {found.actor} at {found.at}",
        f"see what is there: colonnade data versions {entry.ref.name}",
    )


def removed(stores: Stores, name: str) -> set[int]:
    """The numbers of the versions of a table that were removed."""
    found = _removal(stores, name)
    spans = () if found is None else found.read(Removal).versions
    return {number for first, last in spans for number in range(first, last + 1)}


def remove(stores: Stores, writer: Writer, name: str, numbers: Iterable[int]) -> int:
    """Say in the ledger that versions are no more; returns how many were there until now.

    The newest version stays whatever is asked.
    """
    newest = writer.newest
    gone = removed(stores, name)
    wanted = set(numbers) - gone - {None if newest is None else newest.ref.version}
    if wanted:
        body = Removal(versions=_stretches(gone | wanted), removed=len(wanted))
        writer.record("remove", body, [f"table/{name}@{number}" for number in sorted(wanted)])
    return len(wanted)


def sweep(stores: Stores, writer: Writer, name: str, *, full: bool) -> Sweep:
    """Delete the files that only removed versions had, under the table's writer lease.

    Args:
        stores: of the project.
        writer: which holds the lease.
        name: of the table.
        full: also delete what no version ever had: what a killed writer left behind. Another
            program that writes into the table's folder would lose what it has not committed.
    """
    entries = stores.ledger.versions(Ref("table", name))
    if not entries:
        return Sweep(files=0, bytes=0, full=full)
    listed = stores.tables.everything(name) if full else _named(stores, name, entries)
    needed = _needed(stores, writer, name, entries)
    files = [path for path in listed if path.resolve() not in needed and path.is_file()]
    done = Sweep(files=len(files), bytes=stores.tables.delete(name, files), full=full)
    if files:
        writer.record("sweep", done)
    return done


def _needed(stores: Stores, writer: Writer, name: str, entries: list[Entry]) -> set[Path]:
    """The files of the versions that stay, and of what the next commit goes on from."""
    gone = removed(stores, name)
    numbers = {
        entry.read(TableVersion).delta_version for entry in entries if entry.ref.version not in gone
    }
    return {
        path.resolve()
        for number in {*numbers, writer.head}
        for path in stores.tables.files(name, number)
    }


def _named(stores: Stores, name: str, entries: list[Entry]) -> list[Path]:
    """The files that versions and compactions brought, as the ledger says."""
    parts = {part for entry in entries for part in entry.read(TableVersion).parts}
    for entry in stores.ledger.select(kind="table", verb="compact", subject=f"table/{name}"):
        if entry.subject == f"table/{name}":
            parts |= set(entry.read(Compaction).parts)
    return sorted(stores.tables.place(name, part) for part in parts)


def _stretches(numbers: set[int]) -> tuple[tuple[int, int], ...]:
    spans: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][1] + 1 == number:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return tuple(spans)


def _removal(stores: Stores, name: str) -> Entry | None:
    return stores.ledger.last("remove", Ref("table", name))
