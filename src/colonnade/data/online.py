"""Publishing a table: the newest row of each key, and what will take its place.

The rule is that of the point-in-time join: what the online store answers at a moment is what
``as_of`` joins to an example of that moment. So a model meets online what it learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

import polars as pl

from colonnade.base import clock
from colonnade.base.errors import NotFoundError, UsageError
from colonnade.base.text import closest
from colonnade.data import asof
from colonnade.govern.session import Session
from colonnade.project import Project, Table
from colonnade.records.entry import Entry
from colonnade.records.online import Fact, Key, Published
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion


def publish(session: Session, table: Table, version: Entry) -> bool:
    """Put a version of an online table where it is read by key; False where it was there.

    Raises:
        UsageError: CN-FEATURE-001, CN-FEATURE-002, the table's rows are no facts.
        UnavailableError: CN-DISK-001, CN-DISK-002: the version before stays.
    """
    number = version.ref.version or 0
    found = session.published(table.name)
    if found is not None and found.version >= number:
        return False
    rows = session.scan(version.ref).collect()
    columns = tuple(version.read(TableVersion).columns)
    return session.publish(
        version.ref, Published(version=number, columns=columns), facts(rows, table, clock.now())
    )


def look_up(
    session: Session, project: Project, name: str, texts: Sequence[str]
) -> dict[str, object]:
    """What is true of a key now, whose values come as texts, in the order of the table's key.

    Raises:
        NotFoundError: CN-FEATURE-003, the table is not online or was not published;
            CN-FEATURE-004, nothing is true of this key now.
        UsageError: CN-FEATURE-005, the key has other columns.
    """
    table = project.tables.get(name)
    published = session.published(name)
    if table is None or not table.online or published is None:
        known = [other.name for other in project.tables.values() if other.online]
        raise NotFoundError(
            "CN-FEATURE-003",
            f"table {name!r} is not online",
            f"declare it with online=True and run it; {closest(name, known)}",
        )
    columns = session.version(Ref("table", name, published.version)).read(TableVersion).columns
    if len(texts) != len(table.key):
        raise _wrong_key(table, f"{len(texts)} values")
    key = [
        _value(table, text, columns[column]) for column, text in zip(table.key, texts, strict=True)
    ]
    found = session.look_up(name, key)
    if found is None:
        raise NotFoundError(
            "CN-FEATURE-004",
            f"nothing is true of this key in {name}@{published.version} now",
            f"colonnade data show {name} shows its rows",
        )
    return found


def _value(table: Table, text: str, dtype: str) -> object:
    if dtype.startswith(("Int", "UInt")):
        try:
            return int(text)
        except ValueError as error:
            raise _wrong_key(table, f"a text where a column is {dtype}") from error
    return text


def _wrong_key(table: Table, found: str) -> UsageError:
    return UsageError(
        "CN-FEATURE-005",
        f"table {table.name} is read by its key ({', '.join(table.key)}), found {found}",
        "give one value a column of the key, in this order",
    )


def facts(rows: pl.DataFrame, table: Table, now: datetime) -> Iterator[tuple[Key, Sequence[Fact]]]:
    """What is true of each key now, then what becomes so later; nothing for a key of the past."""
    keys = [*table.key]
    if table.time is None:
        known = rows.drop_nulls(keys)
        for of, row in zip(known.select(keys).rows(), known.rows(), strict=True):
            yield of, [Fact(0, row)]
        return
    ranked = asof.rank(asof.moments(rows, keys, table.time, table.known), keys)
    steps = (
        asof.steps(ranked, keys)
        .join(ranked.select("# rank", "# place"), on="# rank")
        .sort(*keys, "# seen")
        # The last of what is seen by now, and what takes its place later.
        .filter(
            (pl.col("# seen") > now)
            | (
                pl.col("# seen")
                == pl.col("# seen").filter(pl.col("# seen") <= now).max().over(keys)
            )
        )
        .filter(pl.col("# rank") != pl.col("# rank").shift().over(keys).fill_null(-1))
    )
    values = rows.select(pl.all().gather(steps["# place"])).rows()
    found = zip(steps.select(*keys, "# seen").rows(), values, strict=True)
    for key, group in groupby(found, key=lambda pair: pair[0][:-1]):
        yield key, [Fact(_microseconds(seen), row) for (*_, seen), row in group]


def _microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=at.tzinfo)) // timedelta(microseconds=1)
