"""Work that is wanted: claimed by one owner at a time, fenced when its lease is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from colonnade.records.canonical import Json

JobState = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job.

    Attributes:
        key: what makes two requests the same job.
        wanted_by: the entry in whose transaction it was enqueued.
        fence: grows with each claim; an append with an older fence is refused.
    """

    key: str
    kind: str
    body: dict[str, Json]
    wanted_by: str
    state: JobState = "waiting"
    owner: str | None = None
    fence: int = 0
    lease_until: float = 0.0
    attempt: int = 0
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write something, until it is lost."""

    name: str
    owner: str
    fence: int
