"""A table's writer: Delta commit and ledger entry as one, whatever is killed in between.

The writer lease spans both. A Delta version that no entry names does not exist: the next holder
adopts it when its draft was built on the newest named version, and undoes it otherwise (a writer
that lost its lease wrote it, or a stranger did).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final, Literal

import msgspec
import polars as pl
from sqlalchemy.exc import IntegrityError

from colonnade.base import clock
from colonnade.base.errors import RefusedError, UnavailableError, VerdictError
from colonnade.govern.beat import beating
from colonnade.govern.change import Change
from colonnade.govern.stores import Stores
from colonnade.records import canonical
from colonnade.records.entry import Entry
from colonnade.records.job import Lease
from colonnade.records.ref import Ref
from colonnade.records.table import GONE, Span, TableVersion
from colonnade.store import leases, process
from colonnade.store.tables import Overtaken

LEASE_S: Final = 60.0
_BEAT_S: Final = 15.0
_WAIT_S: Final = 120.0
_POLL_S: Final = 0.05
_TRIES: Final = 3
_COMPACT_EVERY: Final = 50  # commits; so an append stays as fast as the first ones were

Named = Callable[[Change, Entry], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """The entry that a Delta commit will get; `parent` is the Delta version it was built on.

    A compaction makes no version: its rows are those of the newest one.
    """

    actor: str
    parent: int
    made_from: tuple[str, ...]
    version: TableVersion
    kind: Literal["write", "compact"] = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """What an entry says of a compaction: the Delta version that writers go on from.

    Attributes:
        parts: SHA-256 of every data file that it added.
    """

    delta_version: int
    parent: int
    parts: dict[str, str]


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
        spans: Sequence[Span] = (),
    ) -> Entry:
        """Commit rows and name them; `then` adds to the same ledger transaction.

        Where a stranger commits to the table meanwhile, its commit is undone and the rows are
        written again, a few times.

        Args:
            frame: the rows; of a merge one a key, `GONE` in those whose key leaves the table.
            version: what is known of the version; its mode says how the rows come in, its key
                what a merge goes by.
            made_from: what it was made from.
            then: adds to the transaction that names the version.
            spans: the stretches of the version's time that the rows replace; none: all.

        Raises:
            RefusedError: CN-LEASE-001, another writer took over meanwhile; nothing is visible.
                CN-TABLE-007, rows of another program got below these; nothing is visible.
            VerdictError: CN-TABLE-010, a merge has a key twice, or none; nothing is written.
        """
        if version.mode == "merge":
            check_merge(self._name, frame, version.key)
        made = tuple(made_from)
        within = (version.time, spans) if version.time and spans else None
        for _ in range(_TRIES):
            came = frame.height - (int(frame[GONE].sum()) if GONE in frame.columns else 0)
            draft = _Draft(
                actor=self._actor,
                parent=self._parent(),
                made_from=made,
                version=replace(
                    version,
                    rows_added=came,
                    took_ms=round((time.monotonic() - self._began_s) * 1000),
                ),
            )
            delta_version = self._commit(draft, frame, within)
            if delta_version == draft.parent + 1:
                entry = self._name_version("write", draft, delta_version, then)
                self._tidy(delta_version)
                return entry
            if not self._cleared():
                break
        raise RefusedError(
            "CN-TABLE-007",
            f"table {self._name}: another program committed to it while this one wrote",
            "nothing was written; run the command again, it undoes what is not the ledger's",
        )

    def compact(self) -> Entry | None:
        """Make few files of many small ones; None where that changes nothing.

        No version comes of it: the rows are the same, and whoever reads a version reads the
        files that it always had.

        Raises:
            RefusedError: CN-LEASE-001; CN-TABLE-007, another program got in between.
        """
        newest = self.newest
        if newest is None:
            return None
        draft = _Draft(
            actor=self._actor,
            parent=self._parent(),
            made_from=(newest.subject,),
            version=newest.read(TableVersion),
            kind="compact",
        )
        text = canonical.encode(
            replace(draft, version=TableVersion(mode="append", step=""))
        ).decode()
        try:
            delta_version = self._stores.tables.compact(self._name, text)
        except Overtaken:
            delta_version = -1
        if delta_version == draft.parent:
            return None
        if delta_version == draft.parent + 1:
            return self._name_compaction(draft, delta_version)
        self._confirm()
        self.recover()
        raise RefusedError(
            "CN-TABLE-007",
            f"table {self._name}: another program committed to it while it was compacted",
            "nothing was lost; run the command again",
        )

    def _commit(
        self, draft: _Draft, frame: pl.DataFrame, within: tuple[str, Sequence[Span]] | None
    ) -> int:
        """The number that the commit got; -1 where another one stood in its way."""
        text = canonical.encode(draft).decode()
        version = draft.version
        try:
            return self._stores.tables.write(
                self._name, frame, version.mode, text, key=version.key, spans=within
            )
        except Overtaken:
            return -1

    def _cleared(self) -> bool:
        """Undo what a stranger committed; whether the newest version has the rows it had."""
        self._confirm()  # who lost the lease must not undo what its new holder does
        before = self.newest
        if before is None:
            return False
        self.recover()
        newest = self.newest
        return (
            newest is not None and newest.verb == "undo" and newest.made_from == (before.subject,)
        )

    def _confirm(self) -> None:
        _prolong(self._stores, self._lease)

    def _tidy(self, delta_version: int) -> None:
        """Compact now and then; a write that is named stands whatever becomes of that."""
        if (delta_version + 1) % _COMPACT_EVERY == 0:
            with suppress(UnavailableError, RefusedError):
                self.compact()

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
        files = self._stores.tables.files(self._name, delta_version)
        if not all(file.is_file() for file in files):  # swept since as what nobody had named
            return False
        if draft.kind == "compact":
            self._name_compaction(draft, delta_version)
            return True
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
            parent=self._parent(),
            made_from=(newest.subject,),
            version=replace(
                was,
                landed=(),
                segments=(),
                settled=(),
                settled_before=was.settled_by(newest.ref.version),
                rows_added=0,
            ),
        )
        text = canonical.encode(draft).decode()
        for _ in range(_TRIES):
            with suppress(Overtaken):  # by a stranger's next commit, which is undone too
                delta_version = self._stores.tables.undo(self._name, draft.parent, text)
                self._name_version("undo", draft, delta_version, None)
                return
        raise RefusedError(
            "CN-TABLE-007",
            f"table {self._name}: another program commits to it again and again",
            "stop the other program, then run the command again: what it committed is undone",
        )

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

    def record(
        self, verb: str, body: object, made_from: Iterable[str] = (), subject: Ref | None = None
    ) -> Entry:
        """Append an entry about the table, if the lease is still held.

        Args:
            verb: what was done.
            body: of the entry.
            made_from: references of what it was made from.
            subject: of the entry, where it is another than the table.

        Raises:
            RefusedError: CN-LEASE-001.
        """
        with self._stores.database.write() as connection:
            leases.confirm(connection, self._lease, LEASE_S)
            change = Change(self._stores, connection, self._actor)
            return change.append(verb, subject or Ref("table", self._name), body, made_from)

    @property
    def head(self) -> int:
        """The Delta version that the next commit goes on from; -1 for none."""
        return self._parent()

    def _name_compaction(self, draft: _Draft, delta_version: int) -> Entry:
        self._stores.tables.settle(self._name, delta_version, draft.parent)
        parts = self._stores.tables.parts(self._name, delta_version, draft.parent)
        done = Compaction(delta_version=delta_version, parent=draft.parent, parts=parts)
        with self._stores.database.write() as connection:
            leases.confirm(connection, self._lease, LEASE_S)
            change = Change(self._stores, connection, draft.actor)
            return change.append("compact", Ref("table", self._name), done, draft.made_from)

    def _parent(self) -> int:
        """The newest Delta version that an entry names."""
        newest = self.newest
        if newest is None:
            return -1
        named = newest.read(TableVersion).delta_version
        compacted = self._stores.ledger.last("compact", Ref("table", self._name))
        return max(named, -1 if compacted is None else compacted.read(Compaction).delta_version)


def check_merge(name: str, frame: pl.DataFrame, key: Sequence[str]) -> None:
    """Refuse rows of which a merge could not say what becomes of them.

    Raises:
        VerdictError: CN-TABLE-010, a key is missing or comes twice.
    """
    missing = sum(frame[column].null_count() for column in key)
    twice = frame.height - frame.select(pl.struct(key).n_unique()).item() if key else 1
    if missing or twice:
        found = f"{missing} of its cells are missing" if missing else f"{twice} rows have one twice"
        raise VerdictError(
            "CN-TABLE-010",
            f"table {name}: rows are merged by the key ({', '.join(key)}), and of {frame.height} "
            f"{found}",
            "leave doubles out, or name more columns in key=; nothing was written",
        )


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
        return None if text is None else canonical.read(canonical.decode(text), _Draft)
    except (msgspec.MsgspecError, ValueError):  # another program's metadata under our name
        return None
