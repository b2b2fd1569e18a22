"""The reading side of the spool: what workers have closed, or left behind when they died.

Whoever collects a segment commits it under its spool's id and its number, and discards it after
that. A segment that is seen again (a crash between the two) has a number that was committed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from colonnade.serve.log import Cell, Entry, Group, Source
from colonnade.serve.segment import CLOSED, read_segment
from colonnade.serve.spool import LOCK, OPEN

ASIDE = ".bad"

Value = Cell | datetime | list[float]

_decode_group = msgspec.msgpack.Decoder(Group).decode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A segment's file that nobody writes any more."""

    spool: str
    number: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One prediction as it was answered.

    Attributes:
        predicted_at: UTC.
        event_time: UTC; None where the request carried none.
        key: the canonical text of the business key; None where the request carried none.
        score: the probability of the second class, the prediction, or one number per class.
        features: raw values as the request carried them; absent ones are None.
    """

    prediction_id: str
    predicted_at: datetime
    event_time: datetime | None
    key: str | None
    revision: str
    model: str
    version: int
    caller: str
    route: str
    latency_us: int
    score: float | list[float]
    features: dict[str, Cell]


FIXED = tuple(name for name in Row.__dataclass_fields__ if name != "features")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The rows of one segment, and the name under which they are committed exactly once."""

    spool: str
    number: int
    path: Path
    rows: list[Row]

    def columns(self) -> dict[str, list[Value]]:
        """The fields of the rows as columns, without the features."""
        return {name: [getattr(row, name) for row in self.rows] for name in FIXED}

    def features(self) -> dict[str, list[Cell]]:
        """The features as columns; where revisions differ, None fills what a row does not have."""
        names = dict.fromkeys(name for row in self.rows for name in row.features)
        return {name: [row.features.get(name) for row in self.rows] for name in names}


def segments(folder: Path) -> Iterator[Found]:
    """What can be collected: closed segments, and the open one of a spool whose worker is dead.

    Args:
        folder: the spools of one endpoint, ``.colonnade/spool/<endpoint>``.

    Yields:
        Spool by spool in the order of their making, each in the order of its numbers.
    """
    for spool in _spools(folder):
        with _held(spool) as dead:
            names = _listing(spool)
        for path in names:
            if path.suffix == OPEN and not dead:
                break  # nothing behind an open segment may overtake it
            yield Found(spool=spool.name, number=int(path.stem), path=path)


def collect(folder: Path, keys: dict[str, bytes]) -> Iterator[Segment]:
    """Read everything that can be collected.

    Args:
        folder: the spools of one endpoint.
        keys: spool keys by their ids; those of before a rotation too.

    Raises:
        VerdictError: CN-SPOOL-001 to 003, a segment is damaged or altered; `set_aside` it.
        RefusedError: CN-SPOOL-004, its key is not at hand.
    """
    for found in segments(folder):
        yield read(found, keys)


def read(found: Found, keys: dict[str, bytes]) -> Segment:
    """Read one segment.

    Raises:
        VerdictError: CN-SPOOL-001 to 003, it is damaged or altered; `set_aside` it.
        RefusedError: CN-SPOOL-004, its key is not at hand.
    """
    _, frames = read_segment(found.path, keys)
    rows = [row for frame in frames for row in _rows(frame)]
    return Segment(spool=found.spool, number=found.number, path=found.path, rows=rows)


def discard(segment: Segment | Found) -> None:
    """Delete a segment whose rows are committed; a second time does nothing."""
    segment.path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Give a damaged segment a name that nobody collects; returns the new path."""
    return path.rename(path.with_suffix(ASIDE))


def sweep(folder: Path) -> None:
    """Remove the empty folders of dead workers."""
    for spool in _spools(folder):
        with _held(spool) as dead:
            if dead and all(path.name == LOCK for path in spool.iterdir()):
                (spool / LOCK).unlink(missing_ok=True)
                with suppress(FileNotFoundError):
                    spool.rmdir()


def _spools(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _listing(spool: Path) -> list[Path]:
    """The segments' names; read until two readings agree, for a rename may hide from one."""
    names: list[Path] = []
    again = [spool]
    while names != again:
        names, again = again, sorted(p for p in spool.iterdir() if p.suffix in (OPEN, CLOSED))
    return names


@contextmanager
def _held(spool: Path) -> Iterator[bool]:
    """Hold a spool's lock if its worker does not: True when the worker is dead."""
    try:
        lock = os.open(spool / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)


def _rows(frame: bytes) -> Iterator[Row]:
    group = _decode_group(frame)
    sources = {source.revision: source for source in group.sources}
    for raw in group.entries:
        entry = _decode_entry(raw)
        yield from _entry_rows(sources[entry.revision], entry)


def _entry_rows(source: Source, entry: Entry) -> Iterator[Row]:
    predicted_at = datetime.fromtimestamp(entry.at_us // 1_000_000, tz=UTC).replace(
        microsecond=entry.at_us % 1_000_000
    )
    absent = [None] * len(entry.ids)
    per_row = (entry.ids, entry.scores, entry.rows, entry.keys or absent, entry.times or absent)
    for identifier, score, values, key, event_time in zip(*per_row, strict=True):
        yield Row(
            prediction_id=identifier,
            predicted_at=predicted_at,
            event_time=event_time,
            key=key,
            revision=source.revision,
            model=source.model,
            version=source.version,
            caller=entry.caller,
            route=entry.route,
            latency_us=entry.latency_us,
            score=score,
            features=dict(zip(source.features, values, strict=True)),
        )
