"""Which rows of a source were taken already: 16 bytes a row, so that none is taken twice.

A pull looks again at rows that it may have seen. A row is known by its key and its place on the
cursor; without a key by all that is in it. What was taken is kept beside the table and not asked
of it: there a row may lie in quarantine, be replaced by a newer one, or be erased.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import polars as pl

from colonnade.govern.session import Session
from colonnade.records.canonical import Json

_ID_BYTES: Final = 16
_SCHEMA: Final[dict[str, pl.DataType]] = {
    "id": pl.Binary(),
    "key": pl.Binary(),
    "at": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Marker:
    """Gives rows their ids, in the order in which they come.

    Two rows that are alike in all are two rows: the second is told from the first by its number.

    Attributes:
        key: the columns that tell one row from another; empty: all of them do.
        cursor: the column of the cursor.
        ordered: whether rows come in its order, so that rows that are alike are near each other.
    """

    key: tuple[str, ...]
    cursor: str
    ordered: bool
    _alike: dict[bytes, int]
    _last: list[str | None]

    @classmethod
    def new(cls, key: tuple[str, ...], cursor: str, *, ordered: bool) -> Marker:
        """Of one stream of rows."""
        return cls(key, cursor, ordered, {}, [None])

    def ids(self, rows: pl.DataFrame) -> pl.DataFrame:
        """``id``, ``key`` and ``at`` of each row."""
        by = list(self.key) or sorted(rows.columns)
        at = place(rows[self.cursor])
        values = rows.select(pl.col(by).to_physical()).iter_rows()
        keys, found, alike = [], [], self._alike
        for value, where in zip(values, at, strict=True):
            key = _hash(repr(value).encode(errors="surrogatepass"))
            if self.ordered and where != self._last[0]:
                alike.clear()
                self._last[0] = where
            row = _hash(key + (b"-" if where is None else where.encode(errors="surrogatepass")))
            number = alike.get(row, 0)
            alike[row] = number + 1
            found.append(_hash(b"%b %d" % (row, number)) if number else row)
            keys.append(key)
        return pl.DataFrame({"id": found, "key": keys, "at": at}, schema=_SCHEMA)


def place(column: pl.Series) -> list[str | None]:
    """Places on a cursor as texts that sort as the values do."""
    if column.dtype == pl.String:
        return column.to_list()
    values = column.to_physical().cast(pl.Int64).to_list()
    return [None if value is None else sortable(value) for value in values]


def sortable(value: int) -> str:
    """An integer of 64 bits as a text that sorts as it does."""
    return f"{value + 2**63:020d}"


@dataclass(frozen=True, slots=True)
class Taken:
    """All rows that were taken.

    Attributes:
        parts: blob -> rows in it, oldest first.
    """

    parts: dict[str, int]

    @classmethod
    def of(cls, cursor: dict[str, Json]) -> Taken:
        """As a table version's cursor tells it."""
        parts = cast("list[tuple[str, int]]", cursor.get("taken") or [])
        return cls(dict(parts))

    @property
    def told(self) -> list[Json]:
        """For a table version's cursor; a list, because an object there has no order."""
        return [[digest, count] for digest, count in self.parts.items()]

    @property
    def rows(self) -> int:
        """How many."""
        return sum(self.parts.values())

    def read(self, session: Session) -> pl.DataFrame:
        """``id``, ``key`` and ``at`` of all of them, oldest first."""
        return _read(session, self.parts)

    def and_these(self, session: Session, rows: Sequence[pl.DataFrame]) -> Taken:
        """With more; parts that have grown small beside them are joined, so that few stay."""
        added = pl.concat([pl.DataFrame(schema=_SCHEMA), *rows])
        if not added.height:
            return self
        parts = dict(self.parts)
        joined: list[str] = []
        height = added.height
        for digest, count in reversed(self.parts.items()):
            if count > 2 * height:
                break
            joined.insert(0, digest)
            height += parts.pop(digest)
        whole = pl.concat([_read(session, joined), added])
        file = io.BytesIO()
        whole.write_parquet(file)
        parts[session.put_blob(file.getvalue())] = whole.height
        return Taken(parts)


def moved(taken: pl.DataFrame, fresh: pl.DataFrame, upto: str) -> int:
    """How many keys that stood at or before a place are behind it now."""
    ahead = fresh.filter(pl.col("at") > upto).select("key").unique()
    known = taken.join(ahead, on="key", how="semi").unique("key", keep="last", maintain_order=True)
    return known.filter(pl.col("at").is_null() | (pl.col("at") <= upto)).height


def _read(session: Session, parts: Sequence[str] | dict[str, int]) -> pl.DataFrame:
    frames = [session.frame_of(digest) for digest in parts]
    return pl.concat([pl.DataFrame(schema=_SCHEMA), *frames])


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_ID_BYTES).digest()
