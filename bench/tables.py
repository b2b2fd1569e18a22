"""Tables: appends that stay fast, a merge into many rows, a step against a whole making.

    python bench/tables.py [appends|merge|steps]

Each figure is a ratio within one run, or beside its aim; what was made is checked.
"""

from __future__ import annotations

import datetime as dt
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import polars as pl

from colonnade.data.merge import profile_of_rows
from colonnade.data.transform import transform
from colonnade.govern import access
from colonnade.govern.session import Session
from colonnade.govern.stores import open_stores
from colonnade.project import Source, Table
from colonnade.records.ref import Ref
from colonnade.records.source import Files
from colonnade.records.table import TableVersion
from colonnade.store import keys

START = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
HERE = Path(__file__).parent


@contextmanager
def project() -> Iterator[Session]:
    """The stores of a fresh project."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        keys.make(root / "root.key")
        stores = open_stores(
            f"sqlite:///{root / 'meta.db'}", root, root / "root.key", root / "heads"
        )
        access.first_start(stores, "bench")
        yield Session(stores, access.ADMIN, "bench")
        stores.database.close()


def flights(first: int, count: int, days: int = 365) -> pl.DataFrame:
    """Rows like flights, in the order of their number, which is also that of time."""
    number = pl.int_range(first, first + count, eager=True)
    step_us = days * 86_400_000_000 // 10_000_000
    return pl.DataFrame({"id": number}).with_columns(
        (
            pl.lit(START).cast(pl.Datetime("us", "UTC"))
            + pl.duration(microseconds=number * step_us)
        ).alias("at"),
        (pl.col("id") * 7919 % 1000).cast(pl.Float64).alias("delay"),
        (pl.col("id") * 104_729 % 5000).alias("distance"),
        (pl.col("id") % 16).replace_strict(dict(enumerate("ABCDEFGHIJKLMNOP"))).alias("carrier"),
        (pl.col("id") % 3).replace_strict({0: "EWR", 1: "JFK", 2: "LGA"}).alias("origin"),
    )


def write(session: Session, name: str, rows: pl.DataFrame, mode: str) -> float:
    """Seconds that a write takes, with its lease, its entry and its fsyncs."""
    begin = time.perf_counter()
    with session.writer(name) as held:
        held.write(rows, TableVersion(mode=mode, step="s", key=("id",)), ())
    return time.perf_counter() - begin


def appends() -> None:
    """500 appends of 1,000 rows: the last 50 against the first 50."""
    with project() as session:
        took = [write(session, "t", flights(n * 1000, 1000), "append") for n in range(500)]
        assert session.newest("table", "t").read(TableVersion).rows == 500_000
    first, last = statistics.median(took[:50]), statistics.median(took[-50:])
    whole = sum(took[-50:]) / sum(took[:50])
    print(f"500 appends of 1,000 rows, median of the first 50: {first * 1e3:.0f} ms")
    print(f"  of the last 50: {last * 1e3:.0f} ms, {last / first:.2f}x; summed {whole:.2f}x")
    print("  aim: <= 1.5x")


def merge(rows: int = 10_000_000) -> None:
    """100k rows into 10M: the newest ones, as corrections come, and keys from all over."""
    with project() as session:
        for part in range(10):
            write(session, "t", flights(part * rows // 10, rows // 10), "append")
        source = Source(
            name="t", origin=Files(path="t*.csv"), schedule=None, mode="merge", key=("id",)
        )
        near = flights(rows - 90_000, 100_000).with_columns(pl.col("delay") + 1)
        took = write(session, "t", near, "merge")
        print(f"merge of 100k into {rows:,}, neighbours: {took:.2f} s (aim <= 1 s)")
        newest = session.newest("table", "t")
        begin = time.perf_counter()
        profile_of_rows(session, source, near, newest)
        print(f"  which rows they meet, and the profile after: {time.perf_counter() - begin:.2f} s")
        stride = rows // 100_000
        far = flights(0, rows).gather_every(stride).with_columns(pl.col("delay") + 1)
        print(f"merge of 100k into {rows:,}, every {stride}th: "
              f"{write(session, 't', far, 'merge'):.2f} s (each file is written anew)")  # fmt: skip
        assert session.newest("table", "t").read(TableVersion).rows == rows + 10_000


def late(rows: pl.LazyFrame) -> pl.LazyFrame:
    """What the tables of `steps` are made by."""
    hour = pl.col("at").dt.hour().cast(pl.Int64)
    return rows.filter(pl.col("delay") < 990).with_columns(hour=hour, late=pl.col("delay") > 500)


def steps(rows: int = 10_000_000) -> None:
    """1 % more rows: a step against a whole making."""
    for mode, partition in (("append", None), ("merge", None), ("replace", "day")):
        with project() as session:
            write(session, "rows", flights(0, rows), "append")
            table = Table(
                name="made", function=late, inputs=("rows",), key=("id",), time="at", mode=mode,
                partition=partition,
            )  # fmt: skip
            whole = timed(partial(transform, session, table, HERE))
            write(session, "rows", flights(rows, rows // 100), "append")
            step = timed(partial(transform, session, table, HERE))
            made = session.version(Ref("table", "made")).read(TableVersion)
            assert made.rows == rows + rows // 100 - (rows + rows // 100) // 100
            what = f"{mode} by {partition}" if partition else mode
            print(f"{what}: whole {whole:.2f} s for {rows:,} rows, 1 % more {step:.2f} s")
            print(f"  {step / whole:.1%}, aim: <= 5 %")


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    parts = {"appends": appends, "merge": merge, "steps": steps}
    for name in sys.argv[1:] or parts:
        parts[name]()
