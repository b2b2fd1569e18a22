"""The name of one thing in the ledger: ``kind/name`` or ``kind/name@version``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from colonnade.base import clock
from colonnade.base.errors import UsageError

KINDS = (
    "source", "file", "code", "contract", "table", "run", "model", "deployment", "prediction",
    "label", "report", "action", "actor", "key", "job", "project", "row",
)  # fmt: skip
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_TEXT = re.compile(r"(?P<kind>[a-z]+)/(?P<name>[^@\s]+)(@(?P<version>[1-9][0-9]{0,8}))?")


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference; without a version it names the thing through all its versions."""

    kind: str
    name: str
    version: int | None = None

    def __str__(self) -> str:
        at = "" if self.version is None else f"@{self.version}"
        return f"{self.kind}/{self.name}{at}"

    @property
    def short(self) -> str:
        """What a person writes where the kind is known: ``name@version``."""
        return str(self).partition("/")[2]


def named(kind: str, text: str) -> Ref:
    """Read ``name`` or ``name@version`` of a kind that is known.

    Raises:
        UsageError: CN-REF-001, the text names nothing.
    """
    try:
        return parse(f"{kind}/{text}")
    except UsageError:
        raise UsageError(
            "CN-REF-001",
            f"{text!r} names no {kind}",
            "write NAME or NAME@VERSION (counted from 1), or NAME@2013-05-01 for what was then",
        ) from None


def moment_of(text: str) -> str | None:
    """The instant that a person writes in place of a version; None where it is none.

    A day is its end, UTC; an instant without an offset is UTC.

    >>> moment_of("2013-05-01"), moment_of("2013-05-01T12:00+02:00"), moment_of("3")
    ('2013-05-01T23:59:59.999999Z', '2013-05-01T10:00:00.000000Z', None)

    Raises:
        UsageError: CN-REF-001, it begins like a day and is none.
    """
    if not _DAY.match(text):
        return None
    try:
        at = clock.instant(text)
        if _DAY.fullmatch(text):
            at += timedelta(days=1, microseconds=-1)
    except (ValueError, OverflowError):
        raise UsageError(
            "CN-REF-001",
            f"{text!r} is no day and no instant",
            "write NAME@2013-05-01, or NAME@2013-05-01T12:00Z",
        ) from None
    return clock.stamp(at)


def parse(text: str) -> Ref:
    """Read what `str` of a `Ref` wrote.

    Raises:
        UsageError: CN-REF-001, the text names nothing.
    """
    match = _TEXT.fullmatch(text)
    if match is None or match["kind"] not in KINDS:
        raise UsageError(
            "CN-REF-001",
            f"{text!r} is no reference",
            f"write kind/name or kind/name@version; kinds: {', '.join(KINDS)}",
        )
    version = match["version"]
    return Ref(match["kind"], match["name"], None if version is None else int(version))
