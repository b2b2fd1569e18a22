"""One way to write a value as bytes (RFC 8785), so that equal values have equal digests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

import msgspec
import rfc8785

if TYPE_CHECKING:
    Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
else:
    Json = Any  # what msgspec reads it as: it knows no recursive alias


def plain(value: object) -> Json:
    """A record as JSON values: dataclasses become objects, tuples arrays, times texts."""
    return cast("Json", msgspec.to_builtins(value, str_keys=True))


def encode(value: object) -> bytes:
    """The canonical JSON of a record or of plain JSON values."""
    return rfc8785.dumps(cast("dict[str, str]", plain(value)))


def digest(value: object) -> str:
    """SHA-256 over `encode`, in hexadecimal."""
    return sha256(encode(value))


def sha256(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def hash_bytes(data: bytes) -> bytes:
    """SHA-256 of bytes, as 32 bytes."""
    return hashlib.sha256(data).digest()
