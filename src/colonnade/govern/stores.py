"""The stores of one project, opened together and handed to sessions by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from colonnade.store import process
from colonnade.store.blobs import Blobs
from colonnade.store.database import Database
from colonnade.store.inbox import Inbox
from colonnade.store.jobs import Jobs
from colonnade.store.keys import Keys
from colonnade.store.ledger import Ledger
from colonnade.store.online import Online
from colonnade.store.origins.landing import Landing
from colonnade.store.people import People
from colonnade.store.runs import Runs
from colonnade.store.sealer import Sealer
from colonnade.store.segments import Segments
from colonnade.store.tables import Tables


@dataclass(frozen=True, slots=True)
class Stores:
    """Every store of a project."""

    database: Database
    keys: Keys
    ledger: Ledger
    sealer: Sealer
    jobs: Jobs
    runs: Runs
    people: People
    segments: Segments
    tables: Tables
    blobs: Blobs
    online: Online
    landing: Landing
    inbox: Inbox


def open_stores(url: str, root: Path, key_file: Path, heads_file: Path) -> Stores:
    """Open the stores of a project.

    Args:
        url: the metadata database.
        root: folder of tables, blobs and landing folders.
        key_file: the root keys, outside the project.
        heads_file: where signed heads are exported, outside the database.
    """
    keys = Keys(key_file)
    database = Database(url)
    return Stores(
        database=database,
        keys=keys,
        ledger=Ledger(database),
        sealer=Sealer(database, keys, process.me(), heads_file),
        jobs=Jobs(database),
        runs=Runs(database),
        people=People(database),
        segments=Segments(database),
        tables=Tables(root / "tables"),
        blobs=Blobs(root / "blobs", keys),
        online=Online(root / "online"),
        landing=Landing(root / "landing"),
        inbox=Inbox(database, root / "landing"),
    )
