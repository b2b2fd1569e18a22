"""The one text of a business key, whether it comes from a request, a table or a file of labels.

A label finds its prediction by this text, so every floor that writes or reads a key calls
`key_text` and nothing else. It is plain Python: no engine, no numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Final

from colonnade.records.model import Field, FieldKind

KeyValue = str | int | float | date | datetime | None


def key_text(values: Sequence[KeyValue], fields: Sequence[Field]) -> str | None:
    """Join the values of a business key into its canonical text.

    The rule, by the column's kind; the parts are joined by ``/``:

    - integer: decimal digits (``5`` and ``5.0`` are both ``5``);
    - number: the same where it is whole, else Python's shortest text that reads back (``0.1``);
    - flag: ``true`` or ``false``;
    - category: the text itself, with ``%`` as ``%25`` and ``/`` as ``%2F``, so that two different
      keys never share a text;
    - date: ``YYYY-MM-DD``;
    - datetime: UTC, ``YYYY-MM-DDTHH:MM:SSZ``, with six decimals of the second only where they are
      not zero; a time without a zone is UTC.

    Args:
        values: one per field; ``None`` or NaN where it is absent.
        fields: the key columns of the signature, in order.

    Returns:
        The text; None if a value is absent or there are no fields.

    Example:
        >>> key_text(["UA", 1545], [Field(name="carrier", kind="category"),
        ...                         Field(name="flight", kind="integer")])
        'UA/1545'
    """
    parts = []
    for value, field in zip(values, fields, strict=True):
        if value is None or value != value:  # noqa: PLR0124 - only NaN differs from itself
            return None
        parts.append(_TEXT[field.kind](value))
    return "/".join(parts) if parts else None


def _whole(value: KeyValue) -> str:
    return str(int(value)) if isinstance(value, (int, float)) else _word(value)


def _number(value: KeyValue) -> str:
    if not isinstance(value, (int, float)) or math.isinf(value):
        return _word(value)
    return str(int(value)) if value == int(value) else repr(float(value))


def _flag(value: KeyValue) -> str:
    return "true" if value else "false"


def _word(value: KeyValue) -> str:
    return str(value).replace("%", "%25").replace("/", "%2F")


def _date(value: KeyValue) -> str:
    if isinstance(value, datetime):
        value = value.date()
    return value.isoformat() if isinstance(value, date) else _word(value)


def _datetime(value: KeyValue) -> str:
    if not isinstance(value, datetime):
        return _word(value)
    if value.tzinfo is None:
        return f"{value.isoformat()}Z"
    try:
        at = value if value.tzinfo is UTC else value.astimezone(UTC)
    except OverflowError:  # in UTC it lies outside the years 1 to 9999
        return value.isoformat()
    return f"{at.isoformat()[:-6]}Z"  # without its +00:00


_TEXT: Final[Mapping[FieldKind, Callable[[KeyValue], str]]] = MappingProxyType(
    {
        "integer": _whole,
        "number": _number,
        "flag": _flag,
        "category": _word,
        "date": _date,
        "datetime": _datetime,
    }
)
