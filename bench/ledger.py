"""Sealed entries a second from 64 writers, beside bare rows in the same database, interleaved.

Sealed means: appended in a durable transaction of its own, numbered, chained, signed and exported
by a sealer that works beside the writers; the clock stops when nothing waits any more. The limit
is what the driver alone does with the same writers: one row of the same size, one durable commit.
PostgreSQL is started for the measurement; without its programs only SQLite is measured.

    python bench/ledger.py [--each 50] [--repeats 3]
"""

from __future__ import annotations

import argparse
import multiprocessing
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from colonnade.govern import access, audit
from colonnade.govern.change import Change
from colonnade.govern.stores import Stores, open_stores
from colonnade.records.ref import Ref
from colonnade.store import keys
from tests.postgresql import server

PROCESSES, THREADS = 4, 16
SIZE = 400  # bytes of an entry without its body
BODY = {"note": "x" * 100}


def main() -> None:
    """Measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--each", type=int, default=50, help="entries of each writer")
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    print(f"{PROCESSES * THREADS} writers, {chosen.each} each, median of {chosen.repeats}")
    found: dict[str, list[tuple[float, float, float]]] = {"sqlite": [], "postgresql": []}
    for _ in range(chosen.repeats):
        for kind, results in found.items():
            with tempfile.TemporaryDirectory(prefix="colonnade-bench-") as name:
                results.append(_measure(kind, Path(name), chosen.each))
    for kind, results in found.items():
        bare, sealed, p99_ms = (statistics.median(column) for column in zip(*results, strict=True))
        print(
            f"{kind:<12} bare rows {bare:>8,.0f}/s   sealed entries {sealed:>8,.0f}/s   "
            f"ratio {sealed / bare:.2f}   a writer's p99 {p99_ms:,.0f} ms"
        )


def _measure(kind: str, folder: Path, each: int) -> tuple[float, float, float]:
    """Bare rows a second, sealed entries a second, the writers' p99 in milliseconds."""
    count = PROCESSES * THREADS * each
    place = str(folder / "bare.db") if kind == "sqlite" else server().create()
    with _bare(kind, place) as connection:
        connection.execute("CREATE TABLE bare (id INTEGER, body TEXT)")
    bare_s, _ = _run(kind, place, each, _write_bare, sealing=None)
    with _bare(kind, place) as connection:
        ((rows,),) = connection.execute("SELECT count(*) FROM bare").fetchall()
    url = f"sqlite:///{folder / 'meta.db'}" if kind == "sqlite" else server().create()
    keys.make(folder / "root.key")
    stores = _open(url, folder)
    access.first_start(stores, "bench")
    before = stores.sealer.seal()
    sealed_s, waits_s = _run(url, str(folder), each, _write_entries, sealing=(url, str(folder)))
    verdict = audit.verify(stores.database, stores.keys.public(), folder / "heads")
    stores.database.close()
    if rows != count or verdict.problems or verdict.sealed != before + count or verdict.unsealed:
        raise SystemExit(f"wrong: {rows} rows, {verdict}")
    return count / bare_s, count / sealed_s, sorted(waits_s)[int(len(waits_s) * 0.99)] * 1000


Work = Callable[[str, str, int, list[float]], None]


def _run(
    kind: str, place: str, each: int, work: Work, *, sealing: tuple[str, str] | None
) -> tuple[float, list[float]]:
    """Let all writers go at once; seconds until all is done, and what each write took."""
    spawn = multiprocessing.get_context("spawn")
    ready, over, waits = (
        spawn.Barrier(PROCESSES + (2 if sealing else 1)),
        spawn.Event(),
        spawn.Queue(),
    )
    writers = [
        spawn.Process(target=_writer, args=(ready, waits, work, (kind, place, each)))
        for _ in range(PROCESSES)
    ]
    sealers = [spawn.Process(target=_sealer, args=(ready, over, *sealing))] if sealing else []
    for process in writers + sealers:
        process.start()
    ready.wait()
    start = time.perf_counter()
    took = [wait for _ in writers for wait in waits.get()]
    over.set()
    for process in writers + sealers:
        process.join()
    return time.perf_counter() - start, took


def _writer(ready: Barrier, waits: multiprocessing.Queue, work: Work, what: tuple) -> None:
    took: list[float] = []
    threads = [threading.Thread(target=work, args=(*what, took)) for _ in range(THREADS)]
    ready.wait()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waits.put(took)


def _sealer(ready: Barrier, over: Event, url: str, folder: str) -> None:
    stores = _open(url, Path(folder))
    ready.wait()
    while not over.is_set():
        stores.sealer.seal()
    stores.sealer.seal()
    stores.database.close()


_opened: dict[str, Stores] = {}
_lock = threading.Lock()


def _write_entries(url: str, folder: str, each: int, took: list[float]) -> None:
    with _lock:
        stores = _opened.get(url) or _opened.setdefault(url, _open(url, Path(folder)))
    for _ in range(each):
        start = time.perf_counter()
        with stores.database.write() as connection:
            Change(stores, connection, "bench").append("note", Ref("run", "r"), BODY)
        took.append(time.perf_counter() - start)


def _write_bare(kind: str, place: str, each: int, took: list[float]) -> None:
    mark = "?" if kind == "sqlite" else "%s"
    with _bare(kind, place) as connection:
        for number in range(each):
            start = time.perf_counter()
            if kind == "sqlite":
                connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"INSERT INTO bare VALUES ({mark}, {mark})", (number, "x" * SIZE))
            connection.commit()
            took.append(time.perf_counter() - start)


def _bare(kind: str, place: str) -> sqlite3.Connection | psycopg.Connection:
    if kind == "postgresql":
        return psycopg.connect(place)
    connection = sqlite3.connect(place, timeout=30, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _open(url: str, folder: Path) -> Stores:
    return open_stores(url, folder, folder / "root.key", folder / "heads")


if __name__ == "__main__":
    main()
