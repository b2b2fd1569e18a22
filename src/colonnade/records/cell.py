"""Cells as they came: the members of a JSON object by kind, and a line that cannot be read.

A row that could not be read as cells is kept as one member that no column can be called by:
``# line`` (its text), ``# bytes`` (base64 of what is no text) or ``# json`` (an object in which
a member is of another kind than the contract says).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Final

import msgspec

from colonnade.records.contract import LogicalType

MALFORMED: Final = "line|malformed"
LINE: Final = "# line"
BYTES: Final = "# bytes"
OBJECT: Final = "# json"
_KIND: Final[dict[LogicalType, str]] = {
    "string": "text",
    "integer": "number",
    "number": "number",
    "boolean": "flag",
    "date": "text",
    "timestamp": "text",
}


class _Decimal(str):
    """A number with a point or an exponent, as it is written."""

    __slots__ = ()


_DECODER: Final = msgspec.json.Decoder(dict[str, object], float_hook=_Decimal)
Cells = dict[str, tuple[str, str | None]]
"""Name -> kind (text, number, flag, nested, null) and text."""


def raw_line(line: bytes) -> str:
    """A line that cannot be read, as what is kept of its row."""
    try:
        return json.dumps({LINE: line.decode()}, ensure_ascii=False)
    except UnicodeDecodeError:
        return json.dumps({BYTES: base64.b64encode(line).decode()})


def raw_object(line: bytes) -> str:
    """An object with a member of another kind, as what is kept of its row."""
    return json.dumps({OBJECT: line.decode()}, ensure_ascii=False)


def members(line: bytes) -> Cells | None:
    """The members of a JSON object, None where the line is none that names each member once."""
    try:
        found = _DECODER.decode(line)
    except (msgspec.MsgspecError, ValueError):
        return None
    cells = {name: _cell(value) for name, value in found.items()}
    return None if _names_twice(line, cells) else cells


def texts(cells: Cells) -> dict[str, str | None]:
    """The members as texts."""
    return {name: text for name, (_, text) in cells.items()}


def wrong(cells: Cells, types: Mapping[str, LogicalType]) -> list[str]:
    """``column|type`` of every member of another kind than the contract says."""
    return [
        f"{name}|{kind}"
        for name, kind in types.items()
        if cells.get(name, ("null", None))[0] not in ("null", _KIND[kind])
    ]


def _cell(value: object) -> tuple[str, str | None]:
    if value is None:
        return "null", None
    if isinstance(value, str):
        return ("number", str(value)) if isinstance(value, _Decimal) else ("text", value)
    if isinstance(value, bool):
        return "flag", "true" if value else "false"
    if isinstance(value, int):
        return "number", str(value)
    return "nested", msgspec.json.encode(value).decode()


def _names_twice(line: bytes, cells: Cells) -> bool:
    """Whether a member is named again; mostly the colons tell that none can be."""
    colons = line.count(b":")
    if colons == len(cells):
        return False
    known = sum(1 + name.count(":") + (text or "").count(":") for name, (_, text) in cells.items())
    if colons == known and b"\\u" not in line:
        return False
    pairs = json.loads(line, object_pairs_hook=lambda pairs: pairs)
    return len(pairs) != len(cells)
