"""A request on its way through the stack, and what it is answered with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from colonnade.serve.revision import Revision
from colonnade.web.auth import Headers
from colonnade.web.limits import Receive

HeaderList = list[tuple[bytes, bytes]]

_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """Status, media type, body and further headers of a response."""

    status: int
    media_type: bytes
    body: bytes
    headers: HeaderList | tuple[()] = ()


@dataclass(slots=True)
class Call:
    """One request; the layers of the stack fill it in.

    Attributes:
        headers: by their names in lower case; of one that came twice the last.
        peer: the address of the other side of the connection.
        route: what answers this path.
        actor: who calls, as the access snapshot names it.
        body: complete, once the limits have let it in.
    """

    method: str
    path: str
    headers: Headers
    peer: str | None
    receive: Receive
    route: Route
    actor: str = ""
    body: bytes = b""


Handler = Callable[[Call], Awaitable[Answer]]
Door = Literal["key", "loopback", "open"]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a path.

    Attributes:
        method: the one that it answers; None for all.
        revision: what it is answered with; None for what concerns the whole server.
        door: who may come in: a known key, a process of this machine too, or everybody.
    """

    method: Literal["GET", "POST"] | None
    handle: Handler
    revision: Revision | None = None
    door: Door = "key"


def as_json(body: object, headers: HeaderList | tuple[()] = ()) -> Answer:
    """A 200 with this body."""
    return Answer(200, b"application/json", _encode(body), headers)
