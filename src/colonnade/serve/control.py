"""What the supervisor and its workers say to each other, over a socket pair.

A message is msgpack behind its length (8 bytes, big-endian). A worker answers `Load`, `Switch`
and `Enter` in their order; everything a worker needs, secrets included, comes this way and is in
no argument, environment or file.
"""

from __future__ import annotations

from struct import Struct

import msgspec

from colonnade.serve.log import Mode

LENGTH = Struct(">Q")


class Access(msgspec.Struct, frozen=True, tag=str.lower):
    """Who may call an endpoint from now on.

    Attributes:
        actors: SHA-256 of a key, hex -> the actor's name.
        made_at_s: when that was so, seconds since 1970.
        valid_s: for how long it is believed.
    """

    endpoint: str
    actors: dict[str, str]
    made_at_s: float
    valid_s: float


class Begin(msgspec.Struct, frozen=True, tag=str.lower):
    """The first message: what holds for the whole life of the worker.

    Attributes:
        spool: the folder of all spools of this replica.
        secret: the 32 bytes of the spool key.
    """

    spool: str
    key_id: str
    secret: bytes
    mode: Mode
    delay_s: float
    age_s: float
    segment_bytes: int
    body_bytes: int
    in_flight: int
    drain_s: float


class Load(msgspec.Struct, frozen=True, tag=str.lower):
    """Open a bundle, try it, keep it ready. Answered by `Loaded` or `Refused`."""

    endpoint: str
    revision: str
    files: dict[str, bytes]
    trusted: dict[str, bytes]
    access: Access


class Switch(msgspec.Struct, frozen=True, tag=str.lower):
    """Answer an endpoint with a revision that was loaded. Answered by `Switched`."""

    endpoint: str
    revision: str


class Drop(msgspec.Struct, frozen=True, tag=str.lower):
    """Forget a revision that was loaded and will not be switched to."""

    revision: str


class Enter(msgspec.Struct, frozen=True, tag=str.lower):
    """Accept connections. Answered by `Entered`."""


class Stop(msgspec.Struct, frozen=True, tag=str.lower):
    """Drain and end, as after SIGTERM."""


class Loaded(msgspec.Struct, frozen=True, tag=str.lower):
    """The bundle is verified, answers, and waits for `Switch`.

    Attributes:
        digest: SHA-256 of the manifest's bytes.
        key_id: the key whose signature was verified.
        took_ms: verifying, opening and trying it.
    """

    revision: str
    digest: str
    key_id: str
    took_ms: float


class Refused(msgspec.Struct, frozen=True, tag=str.lower):
    """The worker did not do it; what was live stays live."""

    revision: str
    code: str
    message: str
    fix: str


class Switched(msgspec.Struct, frozen=True, tag=str.lower):
    """The endpoint answers with this revision."""

    revision: str


class Entered(msgspec.Struct, frozen=True, tag=str.lower):
    """The worker accepts connections."""


Order = Begin | Load | Switch | Drop | Access | Enter | Stop
Reply = Loaded | Refused | Switched | Entered

_encode = msgspec.msgpack.Encoder().encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode


def pack(message: Order | Reply) -> bytes:
    """The bytes of a message on the wire."""
    body = _encode(message)
    return LENGTH.pack(len(body)) + body
