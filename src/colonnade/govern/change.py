"""One transaction of records: entries, versions and jobs that appear together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import sqlalchemy as sa

from colonnade.base import clock, ids
from colonnade.govern.stores import Stores
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.entry import Entry
from colonnade.records.job import Job
from colonnade.records.ref import Ref


class Change:
    """What a session appends; made by ``Session.change``."""

    def __init__(self, stores: Stores, connection: sa.Connection, actor: str) -> None:
        self._stores = stores
        self._connection = connection
        self._actor = actor

    def queue(self, subject: Ref) -> None:
        """Let nobody else decide about `subject` until this transaction ends.

        What a session reads of it behind this is what was committed before.
        """
        self._stores.database.dialect.queue(self._connection, f"{subject.kind}/{subject.name}")

    def append(self, verb: str, subject: Ref, body: object, made_from: Iterable[str] = ()) -> Entry:
        """Append one entry; `body` is a record or plain JSON values."""
        entry = Entry(
            id=ids.uuid7(),
            at=clock.stamp(clock.now()),
            actor=self._actor,
            verb=verb,
            kind=subject.kind,
            subject=str(subject),
            made_from=tuple(made_from),
            body=_object(body),
        )
        self._stores.ledger.append(self._connection, entry)
        return entry

    def version(
        self,
        verb: str,
        subject: Ref,
        body: Callable[[int], object],
        made_from: Iterable[str] = (),
    ) -> Entry:
        """Append the next version of `subject`; `body` is made from the number that it gets."""
        number = self._stores.ledger.next_version(self._connection, subject.kind, subject.name)
        ref = Ref(subject.kind, subject.name, number)
        entry = self.append(verb, ref, body(number), made_from)
        self._stores.ledger.claim(self._connection, ref, entry.id)
        return entry

    def enqueue(self, kind: str, key: str, body: dict[str, Json], wanted_by: Entry) -> None:
        """Want a job, in the same transaction as the entry that wants it."""
        job = Job(key=key, kind=kind, body=body, wanted_by=wanted_by.id)
        self._stores.jobs.enqueue(self._connection, job)

    def retry(self, job: Job, not_before: float, result: str) -> None:
        """Let a job that failed wait until a moment; refused when its lease is lost."""
        self._stores.jobs.retry(self._connection, job, not_before, result)

    def finish(self, job: Job, result: str, *, failed: bool = False) -> None:
        """Close a job together with its result; refused when its lease is lost."""
        self._stores.jobs.finish(self._connection, job, "failed" if failed else "done", result)


def _object(body: object) -> dict[str, Json]:
    """The body as every later reader of the entry will find it."""
    values = canonical.decode(canonical.encode(body))
    assert isinstance(values, dict)  # noqa: S101 (records and mappings are objects)
    return values
