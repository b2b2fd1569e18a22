"""What becomes of old versions of a table: removed when nothing needs them, never by surprise.

A removal is in the ledger before the first file goes, so that no reader meets half a version; the
files go after it, and what a kill left behind goes with the next sweep. Files that a version
which stays has are never touched, nor is the log that says which those are.
"""

from __future__ import annotations

from dataclasses import dataclass

from colonnade.base.errors import NotFoundError
from colonnade.govern.stores import Stores
from colonnade.records.entry import Entry
from colonnade.records.ref import Ref


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


def _removal(stores: Stores, name: str) -> Entry | None:
    return stores.ledger.last("remove", Ref("table", name))
