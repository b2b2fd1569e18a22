"""One way to write a value as bytes (RFC 8785), so that equal values have equal digests."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec
import rfc8785

from colonnade.base.errors import UsageError

if TYPE_CHECKING:
    Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
else:
    Json = Any  # what msgspec reads it as: it knows no recursive alias

_EXACT: Final = 2**53  # from here on a JSON number is a double and no integer (RFC 8785)
_LONG: Final = re.compile(rb"[0-9]{16}")
# msgspec looks at a record's fields when it first reads one, and meanwhile lets other threads see
# the half of it: two that read the same record for the first time at once end the process.
_READING: Final = threading.Lock()
_Record = TypeVar("_Record")


def plain(value: object) -> Json:
    """A record as JSON values: dataclasses become objects, tuples and sets arrays, times texts."""
    return _listed(msgspec.to_builtins(value, str_keys=True, order="deterministic"))


def _listed(value: object) -> Json:
    """JSON values as a reader of the text finds them: msgspec leaves tuples as they are."""
    if isinstance(value, dict):
        return {name: _listed(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(inner) for inner in value]
    return cast("Json", value)


def encode(value: object) -> bytes:
    """The canonical JSON of a record or of plain JSON values.

    Raises:
        UsageError: CN-JSON-001, it holds NaN, an infinity, an integer of 2**53 or more, or a
            text that is no Unicode.
    """
    try:
        return rfc8785.dumps(cast("dict[str, str]", plain(value)))
    except rfc8785.CanonicalizationError as error:
        raise UsageError(
            "CN-JSON-001",
            f"a record cannot be written as JSON: {error}",
            "use finite numbers and integers below 2**53; write anything else as a text",
        ) from error


def decode(text: str | bytes) -> Json:
    """The JSON values of a canonical text, such that `encode` writes the same text again.

    The canonical form of the double 1e20 is ``100000000000000000000``: read as an integer it
    could not be written again.
    """
    data = text.encode() if isinstance(text, str) else text
    if _LONG.search(data) is None:
        return cast("Json", msgspec.json.decode(data))
    return cast("Json", json.loads(data, parse_int=number))


def read(values: Json, record: type[_Record]) -> _Record:
    """JSON values as a record.

    Raises:
        msgspec.ValidationError: they are none.
    """
    with _READING:
        return msgspec.convert(values, record)


def read_json(data: str | bytes, record: type[_Record]) -> _Record:
    """A JSON text as a record.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    with _READING:
        return msgspec.json.decode(data, type=record)


def number(digits: str) -> int | float:
    """The digits of a JSON integer as the number that RFC 8785 means by them."""
    value = int(digits)
    return value if abs(value) < _EXACT else float(digits)


def digest(value: object) -> str:
    """SHA-256 over `encode`, in hexadecimal."""
    return sha256(encode(value))


def sha256(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def hash_bytes(data: bytes) -> bytes:
    """SHA-256 of bytes, as 32 bytes."""
    return hashlib.sha256(data).digest()
