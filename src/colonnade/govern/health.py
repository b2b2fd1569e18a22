"""Whether the stores of a project would open, without changing anything in them.

No database is made or migrated here and no key is written: a doctor leaves no marks.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from colonnade.base import clock, ids
from colonnade.base.errors import ColonnadeError
from colonnade.govern import probe
from colonnade.records import canonical
from colonnade.records.entry import Head
from colonnade.records.finding import Finding
from colonnade.store import database, process
from colonnade.store.database import Database
from colonnade.store.keys import Keys
from colonnade.store.schema import entries, heads, leases


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a project's things lie, or would.

    Attributes:
        made: whether there is a project in the folder.
        opened: whether a command has opened it once, so that keys and database must be there.
    """

    folder: Path
    made: bool
    opened: bool
    database_url: str
    key_file: Path
    heads_file: Path
    spool: Path
    host: str
    port: int
    server_host: str
    server_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the database says, read in one transaction.

    Attributes:
        revision: of its schema; None where it has none yet.
        newest: stamp of the newest entry.
        heads: the signed heads, the oldest first.
        leases: name and owner of every lease that is held.
    """

    revision: str | None
    newest: str | None = None
    heads: tuple[str, ...] = ()
    leases: tuple[tuple[str, str], ...] = ()


def look(url: str) -> Known | None:
    """Read the database and try to write to it; None where it was never made.

    Raises:
        UsageError: CN-DATABASE-001, no dialect for the URL.
        UnavailableError: CN-DATABASE-002, it does not answer or cannot be written.
    """
    file = sa.make_url(url).database if database.backend(url) == "sqlite" else None
    if file is not None and not Path(file).exists():
        return None
    opened = Database(url, migrate=False)
    try:
        with opened.write() as connection:
            found = _known(connection)
            if found.revision == database.REVISION:
                _try_to_write(connection)
    finally:
        opened.close()
    return found


def _try_to_write(connection: sa.Connection) -> None:
    attempt = connection.begin_nested()
    connection.execute(leases.insert().values(name=ids.uuid7(), owner="", fence=0, until=0.0))
    attempt.rollback()


def database_of(known: Known | None, *, opened: bool) -> Finding:
    """What `look` came to; whether a ledger is lost with it, the exported heads tell.

    Args:
        known: what `look` found.
        opened: whether it must be there, because a command has made it.
    """
    if opened and known is None:
        return Finding(
            check="database",
            state="warning",
            found="there is none, although a command has opened this project",
            fix="put it back from your backup; if the first command was killed, run it again",
        )
    if known is None or known.revision is None:
        return Finding(
            check="database", state="untried", found="not there yet: the first command makes it"
        )
    if known.revision > database.REVISION:
        return _problem(
            "database",
            f"it is at revision {known.revision}, this release knows {database.REVISION}",
            "use the release of colonnade that made it, or a newer one",
        )
    if known.revision < database.REVISION:
        return Finding(
            check="database",
            state="warning",
            found=f"revision {known.revision}: the next command migrates it to {database.REVISION}",
            fix="take a backup first",
        )
    return _ok("database", f"it answers and can be written; {len(known.heads)} signed heads")


def key_file(path: Path, known: Known | None, *, opened: bool) -> Finding:
    """Whether the root keys can be read by their owner alone, and are those of this ledger.

    Args:
        path: of the key file.
        known: what `look` found.
        opened: whether it must be there, because a command has made it.
    """
    if not opened and not path.exists():
        return probe.place("key file", path)
    try:
        public = Keys(path).public()
    except ColonnadeError as error:
        return _problem("key file", error.message, error.fix)
    signed = {_head(text).key_id for text in (known.heads if known else ())}
    if unknown := sorted(signed - set(public)):
        return _problem(
            "key file",
            f"{path} lacks the key {unknown[0]}, with which this project's ledger was signed",
            "put the project's own key file back from your backup",
        )
    owner = path.stat().st_uid
    if owner != os.geteuid():
        return Finding(
            check="key file",
            state="warning",
            found=f"{path} belongs to user {owner}, and this is user {os.geteuid()}",
            fix=f"chown {os.geteuid()} {path}",
        )
    told = "it opens this ledger" if signed else "nothing was signed with it yet"
    return _ok("key file", f"{path}: mode {path.stat().st_mode & 0o777:04o}, {told}")


def exported(path: Path) -> tuple[str, ...] | None:
    """The heads in the export file, None where there is none; to be read before the database.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return tuple(path.read_text(errors="replace").splitlines())
    except FileNotFoundError:
        return None


def heads_of(path: Path, lines: tuple[str, ...] | None, known: Known | None) -> Finding:
    """Whether signed heads can be exported, and the exported ones are the database's.

    Args:
        path: of the export file.
        lines: what `exported` found there before the database was read.
        known: what `look` found behind that.
    """
    if lines is None:
        if known and known.heads:
            return _problem(
                "heads",
                f"{path} is gone, and the ledger has {len(known.heads)} signed heads",
                "put the file back from your backup",
            )
        return probe.place("heads", path)
    here = set(known.heads if known else ())
    if strange := [line for line in lines if line not in here]:
        whole = "the database is new" if not here else "the database is an older or another one"
        return _problem(
            "heads",
            f"{path} names {len(strange)} signed heads that the ledger does not have: {whole}",
            "put the database back from your backup; to begin anew, move that file away",
        )
    try:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fsync(file.fileno())
    except OSError as error:
        return _problem("heads", f"{path}: {error.strerror}", "make it a file that can be written")
    return _ok("heads", f"{path}: {len(lines)} heads, all of them the ledger's")


def spool_keys(path: Path) -> dict[str, bytes]:
    """Key id -> key of the prediction spool.

    Raises:
        ColonnadeError: CN-KEYS-…, the key file cannot be used.
    """
    return Keys(path).secrets("spool")


def leases_of(known: Known) -> Finding:
    """Who holds a lease, and whether it still runs."""
    gone = [name for name, owner in known.leases if process.is_gone(owner)]
    if gone:
        return Finding(
            check="leases",
            state="warning",
            found=f"{', '.join(gone)}: the holder is dead; whoever comes next takes over",
            fix="nothing to do",
        )
    held = ", ".join(f"{name} by {owner}" for name, owner in known.leases)
    return _ok("leases", f"held: {held}" if held else "none is held")


def _known(connection: sa.Connection) -> Known:
    revision = database.revision(connection)
    if revision is None or revision > database.REVISION:
        return Known(revision=revision)
    held = leases.c.until > clock.now_s()
    return Known(
        revision=revision,
        newest=connection.execute(sa.select(sa.func.max(entries.c.at))).scalar(),
        heads=tuple(connection.execute(sa.select(heads.c.head).order_by(heads.c.last)).scalars()),
        leases=tuple(
            (row.name, row.owner)
            for row in connection.execute(sa.select(leases).where(held).order_by(leases.c.name))
        ),
    )


def _head(text: str) -> Head:
    return canonical.read_json(text, Head)


def _ok(check: str, found: str) -> Finding:
    return Finding(check=check, state="ok", found=found)


def _problem(check: str, found: str, fix: str) -> Finding:
    return Finding(check=check, state="problem", found=found, fix=fix)
