"""The ledger: entries, lineage edges and versions. Append-only; `store.sealer` chains it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from colonnade.records import canonical
from colonnade.records.entry import Entry, Head
from colonnade.records.ref import Ref
from colonnade.store.database import Database
from colonnade.store.schema import edges, entries, heads, versions

BATCH: Final = 5_000


class Ledger:
    """Reading and appending; every append runs in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, connection: sa.Connection, entry: Entry) -> None:
        """Insert an unsealed entry and its edges."""
        connection.execute(
            entries.insert().values(
                id=entry.id,
                at=entry.at,
                actor=entry.actor,
                verb=entry.verb,
                kind=entry.kind,
                subject=entry.subject,
                made_from=canonical.encode(list(entry.made_from)).decode(),
                body=canonical.encode(entry.body).decode(),
            )
        )
        if entry.made_from:
            rows = [
                {"parent": parent, "entry": entry.id, "child": entry.subject}
                for parent in dict.fromkeys(entry.made_from)
            ]
            connection.execute(edges.insert(), rows)

    def claim(self, connection: sa.Connection, ref: Ref, entry: str) -> None:
        """Bind ``name@version`` to the entry that makes it.

        Raises:
            sqlalchemy.exc.IntegrityError: the version is taken.
        """
        connection.execute(
            versions.insert().values(kind=ref.kind, name=ref.name, version=ref.version, entry=entry)
        )

    def next_version(self, connection: sa.Connection, kind: str, name: str) -> int:
        """The number behind the newest version; others that want it wait for this transaction."""
        self._database.dialect.queue(connection, f"{kind}/{name}")
        newest = sa.select(sa.func.max(versions.c.version)).where(
            versions.c.kind == kind, versions.c.name == name
        )
        return (connection.execute(newest).scalar() or 0) + 1

    def get(self, identifier: str) -> Entry | None:
        """The entry with this id."""
        return next(iter(self._entries(sa.select(entries).where(entries.c.id == identifier))), None)

    def version(self, ref: Ref) -> Entry | None:
        """The entry that made ``name@version``, or the newest version where none is named."""
        query = (
            sa.select(entries)
            .join(versions, versions.c.entry == entries.c.id)
            .where(versions.c.kind == ref.kind, versions.c.name == ref.name)
        )
        if ref.version is not None:
            query = query.where(versions.c.version == ref.version)
        query = query.order_by(versions.c.version.desc()).limit(1)
        return next(iter(self._entries(query)), None)

    def last(self, verb: str, subject: Ref) -> Entry | None:
        """The newest entry with this verb about exactly this subject."""
        query = (
            sa.select(entries)
            .where(entries.c.subject == str(subject), entries.c.verb == verb)
            .order_by(entries.c.id.desc())
            .limit(1)
        )
        return next(iter(self._entries(query)), None)

    def then(self, ref: Ref, stamp: str) -> Entry | None:
        """The entry of the version that was the newest at an instant of the wall clock."""
        query = (
            sa.select(entries)
            .join(versions, versions.c.entry == entries.c.id)
            .where(versions.c.kind == ref.kind, versions.c.name == ref.name)
            .where(entries.c.at <= stamp)
            .order_by(versions.c.version.desc())
            .limit(1)
        )
        return next(iter(self._entries(query)), None)

    def versions(self, ref: Ref) -> list[Entry]:
        """The entries of all versions, the oldest first."""
        query = (
            sa.select(entries)
            .join(versions, versions.c.entry == entries.c.id)
            .where(versions.c.kind == ref.kind, versions.c.name == ref.name)
            .order_by(versions.c.version)
        )
        return self._entries(query)

    def names(self, kind: str) -> list[str]:
        """The names that have a version of this kind."""
        query = sa.select(versions.c.name).where(versions.c.kind == kind).distinct()
        with self._database.read() as connection:
            return sorted(connection.execute(query).scalars())

    def select(
        self,
        *,
        kind: str | None = None,
        verb: str | None = None,
        subject: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> list[Entry]:
        """Entries, newest first; `before` is a wall-clock stamp that they must not be later than.

        A `subject` without a version also finds the entries of all its versions.
        """
        query = sa.select(entries).order_by(entries.c.at.desc(), entries.c.id.desc()).limit(limit)
        if kind is not None:
            query = query.where(entries.c.kind == kind)
        if verb is not None:
            query = query.where(entries.c.verb == verb)
        if subject is not None:
            query = query.where(_about(subject))
        if before is not None:
            query = query.where(entries.c.at <= before)
        return self._entries(query)

    def made_from(self, ref: str) -> list[Entry]:
        """The entries whose subject was made from `ref`: one step forwards."""
        query = (
            sa.select(entries)
            .join(edges, edges.c.entry == entries.c.id)
            .where(edges.c.parent == ref)
            .order_by(entries.c.id)
        )
        return self._entries(query)

    def unsealed(self) -> int:
        """How many entries wait for the sealer."""
        query = sa.select(sa.func.count()).where(entries.c.seq.is_(None))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def stream(self) -> Iterator[Entry]:
        """All sealed entries in the order of the chain, in bounded memory."""
        last = 0
        while True:
            query = (
                sa.select(entries).where(entries.c.seq > last).order_by(entries.c.seq).limit(BATCH)
            )
            batch = self._entries(query)
            yield from batch
            if len(batch) < BATCH:
                return
            last = batch[-1].seq or last

    def heads(self) -> list[Head]:
        """The signed heads, oldest first."""
        with self._database.read() as connection:
            texts = connection.execute(sa.select(heads.c.head).order_by(heads.c.last)).scalars()
            return [canonical.read_json(text, Head) for text in texts]

    def _entries(self, query: sa.Select[Any]) -> list[Entry]:
        with self._database.read() as connection:
            return [read_entry(row) for row in connection.execute(query)]


def _about(subject: str) -> sa.ColumnElement[bool]:
    if "@" in subject:
        return entries.c.subject == subject
    return sa.or_(
        entries.c.subject == subject,
        sa.and_(entries.c.subject >= subject + "@", entries.c.subject < subject + "A"),
    )


def read_entry(row: sa.Row[Any]) -> Entry:
    """A row of the table ``entries`` as a record."""
    fields = dict(row._mapping)  # noqa: SLF001 (SQLAlchemy's documented name)
    fields["made_from"] = tuple(msgspec.json.decode(fields["made_from"]))
    fields["body"] = canonical.decode(fields["body"])
    return Entry(**fields)
