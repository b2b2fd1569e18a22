"""A session: one actor with one purpose, and the only door that the pillars have to the stores.

Each call asks the permission, does the work and leaves its entry. There is no import by which a
pillar could reach a row around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl
import sqlalchemy as sa

from colonnade.base.errors import NotFoundError, RefusedError
from colonnade.base.text import closest
from colonnade.govern import writer
from colonnade.govern.beat import beating
from colonnade.govern.change import Change
from colonnade.govern.inbox import Inbox
from colonnade.govern.stores import Stores
from colonnade.govern.writer import Writer
from colonnade.records.actor import Action, Actor
from colonnade.records.entry import Entry
from colonnade.records.job import Job
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.store import durable, leases, process, sources
from colonnade.store.runs import Point

_LEDGER: Final = Ref("project", "ledger")
_JOBS: Final = Ref("project", "jobs")

BEAT_S: Final = 15.0


class Session:
    """What the pillars work with."""

    def __init__(self, stores: Stores, actor: Actor, purpose: str) -> None:
        self._stores = stores
        self._reads: set[tuple[str, frozenset[str]]] = set()
        self._rights: list[Callable[[sa.Connection], None]] = []
        self.actor = actor
        self.purpose = purpose

    def require(self, action: Action, subject: Ref) -> None:
        """Refuse, and record the refusal, unless the actor may do `action`.

        Raises:
            RefusedError: CN-ACCESS-001.
        """
        if self.actor.may(action):
            return
        with self._stores.database.write() as connection:
            change = Change(self._stores, connection, self.actor.name)
            change.append("refuse", subject, {"action": action, "purpose": self.purpose})
        raise RefusedError(
            "CN-ACCESS-001",
            f"{self.actor.name} ({', '.join(sorted(self.actor.roles)) or 'no role'}) may not "
            f"{action} {subject}",
            "ask an administrator for a role that may",
        )

    # The ledger

    @contextmanager
    def change(self, action: Action, subject: Ref) -> Iterator[Change]:
        """One transaction of records about `subject`.

        Raises:
            RefusedError: CN-LEASE-001, CN-JOB-001: what this session holds (`alone`, `holding`)
                is another's by now; nothing is recorded.
        """
        self.require(action, subject)
        with self._stores.database.write() as connection:
            for confirm in self._rights:
                confirm(connection)
            yield Change(self._stores, connection, self.actor.name)

    def record(
        self,
        action: Action,
        verb: str,
        subject: Ref,
        body: object,
        made_from: Iterable[str] = (),
    ) -> Entry:
        """Append one entry in a transaction of its own."""
        with self.change(action, subject) as change:
            return change.append(verb, subject, body, made_from)

    def newest(self, kind: str, name: str) -> Entry | None:
        """The entry of the newest version, None where there is none."""
        self.require("read", Ref(kind, name))
        return self._stores.ledger.version(Ref(kind, name))

    def version(self, ref: Ref) -> Entry:
        """The entry of ``name@version``, or of the newest version.

        Raises:
            NotFoundError: CN-REF-002.
        """
        self.require("read", ref)
        entry = self._stores.ledger.version(ref)
        if entry is None:
            known = self._stores.ledger.names(ref.kind)
            hint = closest(ref.name, known) if ref.name not in known else "see its versions"
            raise NotFoundError("CN-REF-002", f"there is no {ref.kind} {ref.short}", hint)
        return entry

    def entry(self, identifier: str) -> Entry | None:
        """The entry with this id."""
        self.require("read", _LEDGER)
        return self._stores.ledger.get(identifier)

    def entries(
        self,
        *,
        kind: str | None = None,
        verb: str | None = None,
        subject: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> list[Entry]:
        """Entries, newest first; `before` is the wall-clock stamp of *then*."""
        self.require("read", _LEDGER)
        return self._stores.ledger.select(
            kind=kind, verb=verb, subject=subject, before=before, limit=limit
        )

    def made_from(self, ref: str) -> list[Entry]:
        """The entries whose subjects were made from `ref`."""
        self.require("read", _LEDGER)
        return self._stores.ledger.made_from(ref)

    def seal(self) -> int:
        """Chain and sign what was appended; returns how many entries."""
        return self._stores.sealer.seal()

    def names(self, kind: str) -> list[str]:
        """The names that have versions of this kind."""
        self.require("read", _LEDGER)
        return self._stores.ledger.names(kind)

    @contextmanager
    def alone(self, action: Action, subject: Ref) -> Iterator[None]:
        """Be the only one that works on `subject`; who wants the same waits.

        Raises:
            UnavailableError: CN-LEASE-002, another one has been at it for two minutes.
        """
        self.require(action, subject)
        with (
            writer.leased(self._stores, str(subject)) as lease,
            self._while(lambda connection: leases.confirm(connection, lease, writer.LEASE_S)),
        ):
            yield

    @contextmanager
    def _while(self, confirm: Callable[[sa.Connection], None]) -> Iterator[None]:
        """Record nothing in the block without confirming a right first."""
        self._rights.append(confirm)
        try:
            yield
        finally:
            self._rights.remove(confirm)

    # Tables

    def scan(self, ref: Ref, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """The rows of a table version; the read is recorded once a session and column set.

        Raises:
            NotFoundError: CN-REF-002, no such version.
            RefusedError: CN-ACCESS-001.
        """
        entry = self.version(ref)
        version = entry.read(TableVersion)
        wanted = tuple(columns or version.columns)
        read = (entry.subject, frozenset(wanted))
        if read not in self._reads:
            body = {"columns": list(wanted), "purpose": self.purpose}
            self.record("read", "read", entry.ref, body)
            self._reads.add(read)
        return self._stores.tables.scan(ref.name, version.delta_version).select(wanted)

    @contextmanager
    def writer(self, table: str) -> Iterator[Writer]:
        """Hold the writer lease of a table."""
        self.require("write", Ref("table", table))
        with writer.hold(self._stores, table, self.actor.name) as held:
            yield held

    def flushed(self, spool: str) -> set[int]:
        """The segment numbers of a spool that are in the prediction table already."""
        self.require("read", _LEDGER)
        return self._stores.segments.known(spool)

    def segments_of(self, prediction: str) -> list[tuple[str, int]]:
        """Endpoint and version of its prediction table that may hold a prediction id."""
        self.require("read", _LEDGER)
        return self._stores.segments.find(prediction)

    # Landing files

    def landing(self, folder: Path, pattern: str) -> dict[Path, str]:
        """The files of a source and their SHA-256, in the order of their names."""
        self.require("read", Ref("file", pattern))
        return {path: sources.digest(path) for path in sources.find(folder, pattern)}

    def digest_of(self, path: Path) -> str:
        """The SHA-256 of one file."""
        self.require("read", Ref("file", path.name))
        return sources.digest(path)

    def open_file(self, path: Path, missing: Sequence[str]) -> pl.LazyFrame:
        """The rows of a landing file; the cells of a CSV stay texts."""
        self.require("read", Ref("file", path.name))
        return sources.open_file(path, missing)

    def inbox(self, action: Action, source: str) -> Inbox:
        """What is pushed to a source; `action` is what is done to its table.

        Raises:
            RefusedError: CN-ACCESS-001.
        """
        self.require(action, Ref("table", source))
        return Inbox(self._stores, self.actor.name, source)

    @contextmanager
    def new_file(self, action: Action, path: Path) -> Iterator[Path]:
        """The name to write a file of the user's under; it is at `path` whole, or not at all.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002.
        """
        self.require(action, Ref("file", path.name))
        with durable.whole(path) as temporary:
            yield temporary

    # Blobs and keys

    def put_blob(self, data: bytes) -> str:
        """Store bytes before an entry names them; returns their SHA-256."""
        self.require("write", Ref("project", "blobs"))
        return self._stores.blobs.put(data)

    def blob(self, digest: str) -> bytes:
        """Stored bytes, verified against their digest."""
        self.require("read", Ref("project", "blobs"))
        return self._stores.blobs.get(digest)

    def sign(self, data: bytes) -> tuple[str, bytes]:
        """The project's signature under `data`: key id and Ed25519 signature."""
        self.require("register", Ref("project", "signature"))
        return self._stores.keys.key_id, self._stores.keys.sign(data)

    def trusted_keys(self) -> dict[str, bytes]:
        """Key id -> raw Ed25519 public key of every key that this project signed with."""
        return self._stores.keys.public()

    def spool_keys(self) -> dict[str, bytes]:
        """Key id -> key of the prediction spool, the newest last; for the endpoint's supervisor."""
        self.require("predict", Ref("project", "spool"))
        return self._stores.keys.secrets("spool")

    def access_snapshot(self) -> Mapping[str, str]:
        """SHA-256 of every API key that opens -> actor; for the endpoint's supervisor."""
        self.require("predict", Ref("project", "access"))
        return self._stores.people.keys()

    # Runs and jobs

    def log_metrics(self, run: str, points: Iterable[Point]) -> None:
        """Add metric points ``(name, step, value)`` to a run."""
        self.require("train", Ref("run", run))
        self._stores.runs.log(run, points)

    def log_params(self, run: str, values: Mapping[str, str]) -> None:
        """Set params of a run."""
        self.require("train", Ref("run", run))
        self._stores.runs.set(run, values)

    def run_rows(self, run: str) -> tuple[dict[str, str], list[Point], str]:
        """Params, metric points and their digest."""
        self.require("read", Ref("run", run))
        runs = self._stores.runs
        return runs.params(run), runs.points(run), runs.digest(run)

    def claim_job(self, kinds: Sequence[str]) -> Job | None:
        """Take the oldest waiting job of these kinds."""
        self.require("train", _JOBS)
        return self._stores.jobs.claim(process.me(), kinds)

    def give_back(self, job: Job) -> None:
        """Let a claimed job wait again: what it needs is not there now."""
        self.require("train", _JOBS)
        self._stores.jobs.give_back(job)

    @contextmanager
    def holding(self, job: Job) -> Iterator[None]:
        """Keep a claimed job's lease alive while the block works."""
        jobs = self._stores.jobs
        with (
            beating(lambda: jobs.prolong(job), BEAT_S),
            self._while(lambda connection: jobs.confirm(connection, job)),
        ):
            yield

    def open_jobs(self) -> list[Job]:
        """What waits, runs or failed."""
        self.require("read", _JOBS)
        return self._stores.jobs.open()
