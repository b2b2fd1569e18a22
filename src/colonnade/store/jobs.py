"""The jobs table: work is enqueued in the transaction that wants it and claimed by one owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from colonnade.base import clock
from colonnade.base.errors import RefusedError
from colonnade.records import canonical
from colonnade.records.job import Job, JobState
from colonnade.store import process
from colonnade.store.database import Database
from colonnade.store.schema import jobs

LEASE_S: Final = 60.0
ATTEMPTS: Final = 3


class Jobs:
    """Enqueue, claim, finish."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enqueue(self, connection: sa.Connection, job: Job) -> None:
        """Want a job; wanting the same key again changes nothing, unless the job has failed."""
        insert = self._database.dialect.insert(jobs).values(
            key=job.key,
            kind=job.kind,
            body=canonical.encode(job.body).decode(),
            wanted_by=job.wanted_by,
            state=job.state,
            fence=0,
            lease_until=0.0,
            attempt=0,
        )
        again = {"state": job.state, "attempt": 0, "failures": 0, "not_before": 0.0}
        failed = jobs.c.state == "failed"
        connection.execute(
            insert.on_conflict_do_update(index_elements=["key"], set_=again, where=failed)
        )

    def claim(self, owner: str, kinds: Sequence[str]) -> Job | None:
        """Take the oldest job of these kinds that waits, or whose owner has gone silent.

        A job that ended `ATTEMPTS` owners is given up: it would end the next one too.
        """
        now_s = clock.now_s()
        free = sa.or_(
            sa.and_(jobs.c.state == "waiting", jobs.c.not_before <= now_s),
            sa.and_(jobs.c.state == "running", jobs.c.lease_until < now_s),
            sa.and_(jobs.c.state == "running", jobs.c.owner.in_(self._gone())),
        )
        if not self._any(free, jobs.c.kind.in_(kinds)):
            return None  # a worker asks all day: that must not be a write each time
        oldest = (
            sa.select(jobs.c.key)
            .where(free, jobs.c.kind.in_(kinds))
            .order_by(jobs.c.wanted_by)
            .limit(1)
            .with_for_update(skip_locked=True)  # SQLite, one writer at a time, leaves this out
            .scalar_subquery()
        )
        taken = (
            jobs.update()
            .where(jobs.c.key == oldest)
            .values(
                state="running",
                owner=owner,
                fence=jobs.c.fence + 1,
                attempt=jobs.c.attempt + 1,
                lease_until=now_s + LEASE_S,
            )
            .returning(jobs)
        )
        given_up = (
            jobs.update()
            .where(free, jobs.c.attempt >= ATTEMPTS)
            .values(state="failed", result=f"given up: {ATTEMPTS} workers ended while they did it")
        )
        with self._database.write() as connection:
            connection.execute(given_up)
            row = connection.execute(taken).first()
        return None if row is None else _job(row)

    def prolong(self, job: Job) -> None:
        """Say that the owner is alive.

        Raises:
            RefusedError: CN-JOB-001, the job is another owner's by now.
        """
        with self._database.write() as connection:
            self.confirm(connection, job)

    def confirm(self, connection: sa.Connection, job: Job) -> None:
        """Prolong a claim inside a transaction that depends on it.

        Raises:
            RefusedError: CN-JOB-001, the job is another owner's by now.
        """
        self._mine(connection, job, {"lease_until": clock.now_s() + LEASE_S})

    def give_back(self, job: Job) -> None:
        """Let a job wait again, as if it had not been claimed.

        Raises:
            RefusedError: CN-JOB-001, the job is another owner's by now.
        """
        with self._database.write() as connection:
            self._mine(connection, job, {"state": "waiting", "attempt": job.attempt - 1})

    def retry(self, connection: sa.Connection, job: Job, not_before: float, result: str) -> None:
        """Let a job that failed in good order wait to be tried again.

        Raises:
            RefusedError: CN-JOB-001, the job is another owner's by now.
        """
        values = {"state": "waiting", "attempt": 0, "failures": job.failures + 1}
        self._mine(connection, job, {**values, "not_before": not_before, "result": result})

    def finish(self, connection: sa.Connection, job: Job, state: JobState, result: str) -> None:
        """Close a job in the transaction that records its result.

        Raises:
            RefusedError: CN-JOB-001, the job is another owner's by now.
        """
        self._mine(connection, job, {"state": state, "result": result})

    def get(self, key: str) -> Job | None:
        """The job with this key."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.key == key)).first()
        return None if row is None else _job(row)

    def open(self) -> list[Job]:
        """What waits, runs or failed, oldest first."""
        query = sa.select(jobs).where(jobs.c.state != "done").order_by(jobs.c.wanted_by)
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def _any(self, *conditions: sa.ColumnElement[bool]) -> bool:
        with self._database.read() as connection:
            found = connection.execute(sa.select(jobs.c.key).where(*conditions).limit(1))
            return found.first() is not None

    def _gone(self) -> list[str]:
        owners = sa.select(jobs.c.owner).where(jobs.c.state == "running").distinct()
        with self._database.read() as connection:
            return [name for name in connection.execute(owners).scalars() if process.is_gone(name)]

    def _mine(self, connection: sa.Connection, job: Job, values: dict[str, Any]) -> None:
        changed = connection.execute(
            jobs.update()
            .where(
                jobs.c.key == job.key,
                jobs.c.owner == job.owner,
                jobs.c.fence == job.fence,
                jobs.c.state == "running",
            )
            .values(**values)
        )
        if changed.rowcount != 1:
            raise RefusedError(
                "CN-JOB-001",
                f"job {job.key!r} was taken over by another worker (fence {job.fence} is stale)",
                "nothing was written; the other worker carries it on",
            )


def _job(row: sa.Row[Any]) -> Job:
    fields = dict(row._mapping)  # noqa: SLF001 (SQLAlchemy's documented name)
    fields["body"] = canonical.decode(fields["body"])
    return Job(**fields)
