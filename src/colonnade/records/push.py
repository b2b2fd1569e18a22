"""What a source was sent and has acknowledged: the receipt of one push."""

from __future__ import annotations

from dataclasses import dataclass, field

from colonnade.records.contract import LogicalType


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One acknowledged push.

    Attributes:
        key: SHA-256 of what makes two requests the same push; a key may hold personal data.
        number: counts the pushes of a source in the order of their acknowledgement.
        sha256: of the bytes that were sent.
        file_sha256: of the landing file that they became.
        shape: column -> type, as the rows were read.
        at: when it was acknowledged.
    """

    source: str
    key: str
    number: int
    batch: str
    actor: str
    sha256: str
    file_sha256: str
    size_bytes: int
    rows: int
    at: str
    shape: dict[str, LogicalType] = field(default_factory=dict)
