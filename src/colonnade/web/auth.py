"""Who calls: API keys looked up in a snapshot, so that no request waits for a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

Headers = Mapping[bytes, bytes]

VALID_S = 86_400.0
_BEARER = b"bearer "


def key_of(headers: Headers) -> bytes | None:
    """The API key of a request: ``authorization: Bearer <key>`` or ``x-api-key: <key>``.

    Args:
        headers: by their names in lower case.
    """
    said = headers.get(b"authorization")
    if said is not None and said[:7].lower() == _BEARER:
        return said[7:].strip()
    return headers.get(b"x-api-key")


@dataclass(frozen=True, slots=True)
class AccessSnapshot:
    """Who may call an endpoint, as it was at one moment.

    It holds digests, never keys. A look-up by digest needs no constant-time comparison: its time
    tells about the digest of the guess alone, and nobody can choose a key by its digest.

    Attributes:
        actors: SHA-256 of a key, hex -> the actor's name.
        made_at_s: when the snapshot was taken, seconds since 1970.
        valid_s: for how long after that it is believed; later every key is refused.
    """

    actors: Mapping[str, str]
    made_at_s: float
    valid_s: float = VALID_S

    def actor(self, headers: Headers) -> str | None:
        """The name of the actor whose key the request carries; None without a known key."""
        key = key_of(headers)
        return None if key is None else self.actors.get(sha256(key).hexdigest())

    def expired(self, now_s: float) -> bool:
        """True when the snapshot is too old to be believed."""
        return now_s > self.made_at_s + self.valid_s
