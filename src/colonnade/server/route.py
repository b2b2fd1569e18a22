"""What a route is: the address, who may come in, and what answers. Permissions are data."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from colonnade.govern.session import Session
from colonnade.records.actor import Action
from colonnade.records.canonical import Json
from colonnade.records.ref import Ref
from colonnade.web.auth import Headers
from colonnade.web.limits import Receive
from colonnade.web.problem import HeaderPairs

_encode = msgspec.json.Encoder().encode
_HOLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    media_type: bytes = b"application/json"
    headers: HeaderPairs = ()


@dataclass(slots=True, kw_only=True)
class Call:
    """One request.

    Attributes:
        holes: what stands in the holes of the route's address.
        session: of the caller; None where everybody may come in.
    """

    method: str
    path: str
    headers: Headers
    receive: Receive
    holes: Mapping[str, str] = field(default_factory=dict)
    session: Session | None = None

    @property
    def caller(self) -> Session:
        """The session of a caller who was let in."""
        assert self.session is not None  # noqa: S101 (a route without a door has no use of it)
        return self.session


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An address and what answers it.

    Attributes:
        path: with holes: ``/v1/sources/{name}/rows``.
        handle: called when the caller may do `action` to `subject`.
        action: what is asked of the caller's roles; None: everybody may come in.
        subject: what it is done to; ``{name}`` is the hole of that name.
        summary: a line for the description of the API.
        takes: media types of a body; none: there is no body.
        statuses: what it answers, and what that means.
    """

    method: Literal["GET", "POST"]
    path: str
    handle: Callable[[Call], Awaitable[Answer]]
    action: Action | None
    subject: str
    summary: str
    takes: tuple[str, ...] = ()
    statuses: Mapping[int, str] = field(default_factory=dict)

    def match(self, path: str) -> dict[str, str] | None:
        """What stands in the holes; None for another address."""
        pattern = _HOLE.sub(r"(?P<\1>[^/]+)", self.path)
        found = re.fullmatch(pattern, path)
        return None if found is None else found.groupdict()

    def ref(self, holes: Mapping[str, str]) -> Ref:
        """What a caller does something to."""
        kind, _, name = self.subject.partition("/")
        return Ref(kind, name.format_map(holes))


def as_json(status: int, body: Json) -> Answer:
    """An answer with this body."""
    return Answer(status=status, body=_encode(body))
