"""A table version: which rows, checked how, made by which step. The ledger names it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final, Literal

from colonnade.records.canonical import Json
from colonnade.records.code import Code
from colonnade.records.quarantine import Settled
from colonnade.records.source import LandedFile

WriteMode = Literal["append", "replace", "merge"]
Partition = Literal["month", "day"]
GONE: Final = "# gone"
"""Column of the rows of a merge: true in a row whose key leaves the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The SQL that makes a table.

    Attributes:
        text: the query; empty until its file was read.
        path: of its file, relative to the project's folder; None where the declaration holds it.
    """

    text: str
    path: str | None

    @property
    def where(self) -> str:
        """What a person calls it."""
        return self.path or "the query"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of time, whose rows are replaced as a whole: from `start`, before `end` (UTC)."""

    start: dt.date
    end: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class TableVersion:
    """What an entry says of a table version.

    Attributes:
        delta_version: the Delta commit; -1 in a draft that is not committed yet.
        step: key of the step that made it (see ``compute.task``).
        rows: rows in the whole version.
        columns: column name -> type.
        files: landing files in the version: all that a reader of it may see rows of.
        landed: of these, the files that came with this version.
        cursor: where the next look at the source begins; of a table that is made step by step,
            what each part of it was made from.
        segments: prediction log segments that came with this version.
        settled: quarantined rows that came with this version.
        settled_before: the newest version before this one with such rows among its own; None
            behind one that replaced the table.
        code: the user's code that made it; None where only ours did.
        profile: digest of the profile blob.
        report: digest of the validation report blob.
        took_ms: how long its writer worked, from the lease to the commit.
        parts: SHA-256 of every data file that this commit added.
    """

    mode: WriteMode
    step: str
    delta_version: int = -1
    rows: int = 0
    rows_added: int = 0
    took_ms: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    time: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    landed: tuple[LandedFile, ...] = ()
    cursor: dict[str, Json] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    settled: tuple[Settled, ...] = ()
    settled_before: int | None = None
    step_parts: dict[str, Json] = field(default_factory=dict)
    code: Code | None = None
    profile: str | None = None
    report: str | None = None
    parts: dict[str, str] = field(default_factory=dict)

    def settled_by(self, number: int | None) -> int | None:
        """What a version that is built on this one, which is version `number`, points back to."""
        return number if self.settled else self.settled_before


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A flushed piece of the prediction log.

    Attributes:
        first_id: smallest prediction id in it.
        last_id: largest prediction id in it.
        digest: SHA-256 over the canonical JSON of its rows, so that compaction keeps it true.
    """

    endpoint: str
    spool: str
    number: int
    rows: int
    first_id: str
    last_id: str
    digest: str
