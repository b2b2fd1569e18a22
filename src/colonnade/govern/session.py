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

from colonnade.base import clock
from colonnade.base.errors import NotFoundError, RefusedError
from colonnade.base.text import closest
from colonnade.govern import asking, upkeep, writer
from colonnade.govern.asking import Rows, Sheet
from colonnade.govern.beat import beating
from colonnade.govern.change import Change
from colonnade.govern.inbox import Inbox
from colonnade.govern.stores import Stores
from colonnade.govern.upkeep import Sweep
from colonnade.govern.writer import Writer
from colonnade.project import Source
from colonnade.records.actor import Action, Actor
from colonnade.records.canonical import Json
from colonnade.records.contract import LogicalType
from colonnade.records.entry import Entry
from colonnade.records.job import Job
from colonnade.records.online import Fact, Key, Published
from colonnade.records.ref import Ref, moment_of, named
from colonnade.records.source import CursorValue, Files, Push
from colonnade.records.table import TableVersion
from colonnade.store import durable, leases, process, sources
from colonnade.store.lines import Lines
from colonnade.store.origins.landing import read_frame
from colonnade.store.runs import Point

_LEDGER: Final = Ref("project", "ledger")
_ACTORS: Final = Ref("project", "actors")
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

    def who_may(self, action: Action) -> list[str]:
        """The names of the actors that may do something."""
        self.require("read", _ACTORS)
        return [actor.name for actor, _ in self._stores.people.all() if actor.may(action)]

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

    def then(self, ref: Ref, stamp: str) -> Entry:
        """The entry of the version that was the newest at an instant of the wall clock.

        Raises:
            NotFoundError: CN-REF-002, there was none yet, or there is no such thing.
        """
        self.version(Ref(ref.kind, ref.name))
        entry = self._stores.ledger.then(ref, stamp)
        if entry is None:
            first = self.version(Ref(ref.kind, ref.name, 1))
            raise NotFoundError(
                "CN-REF-002",
                f"there was no version of {ref.kind} {ref.name} at {stamp}",
                f"its first one, {first.ref.short}, was made at {first.at}",
            )
        return entry

    def find(self, kind: str, text: str) -> Entry:
        """What a person names: ``name``, ``name@3``, or ``name@2013-05-01`` for what was then.

        Raises:
            UsageError: CN-REF-001, the text names nothing.
            NotFoundError: CN-REF-002, there is, or was, no such version.
        """
        name, _, moment = text.partition("@")
        stamp = moment_of(moment)
        if stamp is None:
            return self.version(named(kind, text))
        return self.then(named(kind, name), stamp)

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
        entry = self._present(ref)
        version = entry.read(TableVersion)
        wanted = tuple(columns or version.columns)
        self._reading(entry.ref, wanted)
        return self._stores.tables.scan(ref.name, version.delta_version).select(wanted)

    def changed(self, before: Ref, now: Ref) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """The rows in files that came between two versions of a table, and in files that went.

        A row may be in both: where its file was written anew.

        Raises:
            NotFoundError: CN-REF-002; CN-REF-003, one of them was removed.
        """
        old, new = self._present(before), self._present(now)
        version = new.read(TableVersion)
        self._reading(new.ref, tuple(version.columns))
        numbers = (old.read(TableVersion).delta_version, version.delta_version)
        return self._stores.tables.changed(now.name, *numbers)

    def files(self, ref: Ref) -> list[Path]:
        """The Parquet files of a table version, for programs that read them by themselves.

        Raises:
            NotFoundError: CN-REF-002; CN-REF-003, it was removed.
        """
        entry = self._present(ref)
        version = entry.read(TableVersion)
        self._reading(entry.ref, tuple(version.columns))
        return self._stores.tables.files(ref.name, version.delta_version)

    def _present(self, ref: Ref) -> Entry:
        """The entry of a table version whose files are there."""
        entry = self.version(ref)
        upkeep.check_there(self._stores, entry)
        return entry

    def _reading(self, ref: Ref, columns: Sequence[str]) -> None:
        read = (str(ref), frozenset(columns))
        if read not in self._reads:
            body = {"columns": list(columns), "purpose": self.purpose}
            self.record("read", "read", ref, body)
            self._reads.add(read)

    @contextmanager
    def writer(self, table: str) -> Iterator[Writer]:
        """Hold the writer lease of a table."""
        self.require("write", Ref("table", table))
        with writer.hold(self._stores, table, self.actor.name) as held:
            yield held

    def publish(
        self, ref: Ref, published: Published, facts: Iterable[tuple[Key, Sequence[Fact]]]
    ) -> bool:
        """Put a table version where it is read by key; False where it, or a newer one, is."""
        self.require("write", ref)
        if not self._stores.online.publish(ref.name, published, facts):
            return False
        self.record("write", "publish", ref, {"columns": list(published.columns)})
        return True

    def published(self, table: str) -> Published | None:
        """Which version of a table is read by key, None where none is."""
        self.require("read", Ref("table", table))
        return self._stores.online.published(table)

    def look_up(self, table: str, key: Key) -> dict[str, object] | None:
        """What is true of a key of an online table now; the read is recorded once a session."""
        published = self.published(table)
        if published is None:
            return None
        self._reading(Ref("table", table, published.version), published.columns)
        return self._stores.online.get(table, key, int(clock.now_s() * 1e6))

    def versions(self, table: str) -> list[Entry]:
        """The entries of all versions of a table, the oldest first."""
        self.require("read", Ref("table", table))
        return self._stores.ledger.versions(Ref("table", table))

    def removed(self, table: str) -> set[int]:
        """The numbers of the versions of a table whose rows were removed."""
        self.require("read", Ref("table", table))
        return upkeep.removed(self._stores, table)

    def remove(self, writer: Writer, table: str, versions: Iterable[int], *, full: bool) -> Sweep:
        """Remove versions of a table and delete what no other version needs.

        Args:
            writer: of the table.
            table: its name.
            versions: the numbers to remove; the newest one stays in any case.
            full: also delete files that no version ever had.

        Returns:
            What was deleted.
        """
        self.require("write", Ref("table", table))
        upkeep.remove(self._stores, writer, table, versions)
        return upkeep.sweep(self._stores, writer, table, full=full)

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

    def open_lines(
        self, path: Path, missing: Sequence[str], types: Mapping[str, LogicalType]
    ) -> Lines | None:
        """A landing file as far as it can be read, and the lines that cannot; None if binary."""
        self.require("read", Ref("file", path.name))
        return sources.open_lines(path, missing, types)

    def is_ragged(self, path: Path, columns: int, rows: int) -> bool:
        """Whether a row of a landing CSV has fewer cells than columns."""
        self.require("read", Ref("file", path.name))
        return sources.is_ragged(path, columns, rows)

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

    # Origins that are asked

    @contextmanager
    def ask(self, source: Source, since: CursorValue | None) -> Iterator[Rows]:
        """Ask a source's origin for rows from a point on."""
        self.require("write", Ref("table", source.name))
        origin, folder = source.origin, self._stores.landing.folder(source.name)
        if isinstance(origin, Files | Push):
            raise TypeError(origin)
        with asking.ask(origin, source.name, source.key, since, folder) as rows:
            yield rows

    @contextmanager
    def landing_sheet(self, source: str, name: str) -> Iterator[Sheet]:
        """A new file in a source's landing folder."""
        self.require("write", Ref("table", source))
        with self._stores.landing.sheet(source, name) as sheet:
            yield sheet

    def keep_landing(self, source: str, path: Path, note: Json) -> None:
        """Say that a file is being taken over: a kill does not let it be asked for anew."""
        self.require("write", Ref("table", source))
        self._stores.landing.keep(path, note)

    def kept_landing(self, source: str, name: str) -> tuple[Path, Json] | None:
        """The file of this name that is being taken over, and its note."""
        self.require("read", Ref("table", source))
        return self._stores.landing.kept(source, name)

    def clear_landing(self, source: str) -> None:
        """Remove what a source's landing folder holds."""
        self.require("write", Ref("table", source))
        self._stores.landing.clear(source)

    # Blobs and keys

    def put_blob(self, data: bytes) -> str:
        """Store bytes before an entry names them; returns their SHA-256."""
        self.require("write", Ref("project", "blobs"))
        return self._stores.blobs.put(data)

    def blob(self, digest: str) -> bytes:
        """Stored bytes, verified against their digest."""
        self.require("read", Ref("project", "blobs"))
        return self._stores.blobs.get(digest)

    def frame_of(self, digest: str) -> pl.DataFrame:
        """A frame that was stored as Parquet."""
        return read_frame(self.blob(digest))

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
