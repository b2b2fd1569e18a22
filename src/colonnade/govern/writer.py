"""A table's writer: Delta commit and ledger entry as one, whatever is killed in between.

The writer lease spans both. A Delta version that no entry names does not exist: the next holder
adopts it when its draft was built on the newest named version, and undoes it otherwise (a writer
that lost its lease wrote it, or a stranger did).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import polars as pl
from sqlalchemy.exc import IntegrityError

from colonnade.base import clock
from colonnade.base.errors import RefusedError, UnavailableError
from colonnade.govern.beat import beating
from colonnade.govern.change import Change
from colonnade.govern.stores import Stores
from colonnade.records import canonical
from colonnade.records.entry import Entry
from colonnade.records.job import Lease
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.store import leases, process

LEASE_S: Final = 60.0
_BEAT_S: Final = 15.0
_WAIT_S: Final = 120.0
_POLL_S: Final = 0.05

Named = Callable[[Change, Entry], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """The entry that a Delta commit will get; `parent` is the Delta version it was built on."""

    actor: str
    parent: int
    made_from: tuple[str, ...]
    version: TableVersion


class Writer:
    """Writes versions of one table while it holds the lease; made by `hold`."""

    def __init__(self, stores: Stores, name: str, actor: str, lease: Lease) -> None:
        self._stores = stores
        self._name = name
        self._actor = actor
        self._lease = lease
        self._began_s = time.monotonic()

    @property
    def newest(self) -> Entry | None:
        """The entry of the newest version, read under the lease."""
        return self._stores.ledger.version(Ref("table", self._name))

    def write(
        self,
        frame: pl.DataFrame,
        version: TableVersion,
        made_from: Iterable[str],
        then: Named | None = None,
    ) -> Entry:
        """Commit rows and name them; `then` adds to the same ledger transaction.

        Raises:
            RefusedError: CN-LEASE-001, another writer took over meanwhile; nothing is visible.
                CN-TABLE-007, rows of another program got below these; nothing is visible.
        """
        draft = _Draft(
            actor=self._actor,
            parent=self._parent(),
            made_from=tuple(made_from),
            version=replace(
                version,
                rows_added=frame.height,
                took_ms=round((time.monotonic() - self._began_s) * 1000),
            ),
        )
        text = canonical.encode(draft).decode()
        delta_version = self._stores.tables.write(self._name, frame, version.mode, text)
        if delta_version != draft.parent + 1:
            raise RefusedError(
                "CN-TABLE-007",
                f"table {self._name}: another program committed Delta version {draft.parent + 1} "
                "while this one wrote",
                "nothing was written; run the command again, it undoes what is not the ledger's",
            )
        return self._name_version("write", draft, delta_version, then)

    def recover(self) -> None:
        """Adopt or undo what an earlier holder committed and did not name."""
        for commit in self._stores.tables.unnamed(self._name, self._parent()):
            draft = _read_draft(commit.draft)
            if draft is None or not self._adopt(draft, commit.delta_version):
                self._undo()
                return

    def _adopt(self, draft: _Draft, delta_version: int) -> bool:
        if draft.parent != self._parent():
            return False
        try:
            self._name_version("adopt", draft, delta_version, None)
        except IntegrityError:  # its segments were flushed by somebody else since
            return False
        return True

    def _undo(self) -> None:
        newest = self.newest
        if newest is None:
            raise UnavailableError(
                "CN-TABLE-003",
                f"table {self._name} has Delta files, but no entry names any of them",
                f"move the folder tables/{self._name} away: another program wrote it",
            )
        was = newest.read(TableVersion)
        draft = _Draft(
            actor=self._actor,
            parent=was.delta_version,
            made_from=(newest.subject,),
            version=replace(was, landed=(), segments=(), rows_added=0),
        )
        text = canonical.encode(draft).decode()
        delta_version = self._stores.tables.undo(self._name, was.delta_version, text)
        self._name_version("undo", draft, delta_version, None)

    def _name_version(
        self, verb: str, draft: _Draft, delta_version: int, then: Named | None
    ) -> Entry:
        tables = self._stores.tables
        tables.settle(self._name, delta_version, draft.parent)
        version = replace(
            draft.version,
            delta_version=delta_version,
            rows=tables.rows(self._name, delta_version),
            columns={
                column: str(dtype)
                for column, dtype in tables.scan(self._name, delta_version).collect_schema().items()
            },
            parts=tables.parts(self._name, delta_version, draft.parent),
        )
        with self._stores.database.write() as connection:
            leases.confirm(connection, self._lease, LEASE_S)
            change = Change(self._stores, connection, draft.actor)
            ref = Ref("table", self._name)
            entry = change.version(verb, ref, lambda _: version, draft.made_from)
            self._stores.segments.add(connection, entry.ref.version or 0, version.segments)
            if then is not None:
                then(change, entry)
        return entry

    def _parent(self) -> int:
        newest = self.newest
        return -1 if newest is None else newest.read(TableVersion).delta_version


@contextmanager
def hold(stores: Stores, name: str, actor: str) -> Iterator[Writer]:
    """Wait for the table's writer lease, mend what a dead holder left, and write.

    Raises:
        UnavailableError: CN-LEASE-002, another writer held it for two minutes.
    """
    with leased(stores, f"table/{name}") as lease:
        writer = Writer(stores, name, actor, lease)
        writer.recover()
        yield writer


@contextmanager
def leased(stores: Stores, name: str) -> Iterator[Lease]:
    """Wait for a lease and keep it alive while the block works.

    Raises:
        UnavailableError: CN-LEASE-002, another process held it for two minutes.
    """
    lease = _acquire(stores, name)
    try:
        with beating(lambda: _prolong(stores, lease), _BEAT_S):
            yield lease
    finally:
        with stores.database.write() as connection:
            leases.release(connection, lease)


def _prolong(stores: Stores, lease: Lease) -> None:
    with stores.database.write() as connection:
        leases.confirm(connection, lease, LEASE_S)


def _acquire(stores: Stores, name: str) -> Lease:
    until_s = clock.now_s() + _WAIT_S
    while True:
        with stores.database.write() as connection:
            lease = leases.acquire(stores.database, connection, name, process.me(), LEASE_S)
        if lease is not None:
            return lease
        if clock.now_s() > until_s:
            raise UnavailableError(
                "CN-LEASE-002",
                f"another process has been at {name} for {_WAIT_S:.0f} s",
                "wait for the other command, or see who it is: colonnade status",
            )
        time.sleep(_POLL_S)


def _read_draft(text: str | None) -> _Draft | None:
    try:
        return None if text is None else msgspec.convert(canonical.decode(text), _Draft)
    except (msgspec.MsgspecError, ValueError):  # another program's metadata under our name
        return None
