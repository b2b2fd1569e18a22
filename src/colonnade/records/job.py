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
        attempt: claims that came to no end.
        not_before: nobody claims it earlier, seconds since 1970.
        failures: how often it failed in good order and waits to be tried again.
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
    not_before: float = 0.0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write something, until it is lost."""

    name: str
    owner: str
    fence: int
