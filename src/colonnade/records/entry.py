"""One line of the ledger: who did what to which thing, from what it was made, and the seal.

Appending an entry is the lineage, the record of the run and the audit in one. A sealed entry
has its place in the chain: ``hash = SHA-256(canonical JSON of every other field)``, and
``prev_hash`` is the hash of the entry before it (64 zeros before the first).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.ref import Ref, parse

GENESIS = "0" * 64
Body = TypeVar("Body")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry; ``seq``, ``prev_hash`` and ``hash`` are None until the sealer has come by.

    Attributes:
        at: wall clock, RFC 3339 with microseconds, UTC.
        verb: what was done (``write``, ``register``, ``promote``, ``read``, ...).
        kind: the kind of `subject`.
        subject: reference of the thing.
        made_from: references of what it was made from.
    """

    id: str
    at: str
    actor: str
    verb: str
    kind: str
    subject: str
    made_from: tuple[str, ...]
    body: dict[str, Json]
    seq: int | None = None
    prev_hash: str | None = None
    hash: str | None = None

    @property
    def ref(self) -> Ref:
        """The subject as a reference."""
        return parse(self.subject)

    def read(self, record: type[Body]) -> Body:
        """The body as the record that was appended."""
        return canonical.read(self.body, record)


def seal(entry: Entry, seq: int, prev_hash: str) -> str:
    """The hash that `entry` has as number `seq` behind `prev_hash`."""
    return canonical.digest(
        {
            "actor": entry.actor,
            "at": entry.at,
            "body": entry.body,
            "id": entry.id,
            "kind": entry.kind,
            "made_from": list(entry.made_from),
            "prev_hash": prev_hash,
            "seq": seq,
            "subject": entry.subject,
            "verb": entry.verb,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A signed statement: entries ``first..last`` had this Merkle root, the last this hash.

    Attributes:
        root: Merkle tree hash (RFC 6962) over the entries' hashes of this batch.
        prev: digest of the head before this one (64 zeros before the first).
        signature: Ed25519 over the canonical JSON of all other fields, in hexadecimal.
    """

    first: int
    last: int
    root: str
    last_hash: str
    prev: str
    at: str
    key_id: str
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        fields = canonical.plain(self)
        assert isinstance(fields, dict)  # noqa: S101 (a dataclass is an object)
        del fields["signature"]
        return canonical.encode(fields)


def merkle_root(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash of RFC 6962, section 2.1, over a non-empty list of leaves."""
    level = [canonical.hash_bytes(b"\x00" + leaf) for leaf in leaves]
    while len(level) > 1:
        pairs = [
            canonical.hash_bytes(b"\x01" + level[i] + level[i + 1])
            for i in range(0, len(level) - 1, 2)
        ]
        if len(level) % 2:
            pairs.append(level[-1])
        level = pairs
    return level[0]
