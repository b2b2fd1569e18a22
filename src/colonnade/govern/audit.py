"""Verifying the ledger, from the documented format alone (docs/ledger.md), not with its writer.

Everything is computed again from the stored texts: each hash, each link, each Merkle root, each
signature; then the indexes (versions, edges) against the entries, and the exported heads against
the database, which shows a chain that was cut or rewritten as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import rfc8785
import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from colonnade.store.database import Database

_FIELDS = ("id", "at", "actor", "verb", "kind", "subject", "made_from", "body", "seq", "prev_hash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What verifying found.

    Attributes:
        sealed: entries in the chain.
        unsealed: entries that wait for the sealer, covered by nothing yet.
        heads: signed heads that were verified.
        problems: one sentence each, the first hundred; empty means that the chain holds.
    """

    sealed: int
    unsealed: int
    heads: int
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify(database: Database, public: Mapping[str, bytes], exported: Path) -> Verdict:
    """Verify the whole ledger.

    Args:
        database: the metadata database, read in one transaction.
        public: key id -> raw Ed25519 public key that is trusted.
        exported: the file to which heads were exported.
    """
    problems: list[str] = []
    with database.read() as connection:
        hashes: list[str] = []
        problems += _chain(connection, hashes)
        heads = _rows(connection, "SELECT head FROM heads ORDER BY last")
        texts = [str(row["head"]) for row in heads]
        problems += _heads(texts, hashes, public)
        problems += _exported(texts, exported)
        problems += _indexes(connection)
        unsealed = connection.execute(
            sa.text("SELECT count(*) FROM entries WHERE seq IS NULL")
        ).scalar_one()
    return Verdict(
        sealed=len(hashes), unsealed=unsealed, heads=len(texts), problems=tuple(problems[:100])
    )


def _rows(connection: sa.Connection, query: str) -> Iterator[Mapping[str, object]]:
    rows = connection.execution_options(yield_per=5_000).execute(sa.text(query))
    for row in rows.mappings():
        yield {str(name): value for name, value in row.items()}


def _chain(connection: sa.Connection, hashes: list[str]) -> Iterator[str]:
    previous = "0" * 64
    for place, row in enumerate(
        _rows(connection, "SELECT * FROM entries WHERE seq IS NOT NULL ORDER BY seq"), start=1
    ):
        name = f"entry {row['seq']} ({row['verb']} {row['subject']}, id {row['id']})"
        if row["seq"] != place:
            yield f"{name}: number {place} is missing before it"
            return
        if row["prev_hash"] != previous:
            yield f"{name}: does not follow the entry before it"
        if _hash(row) != row["hash"]:
            yield f"{name}: its content does not have the hash that was sealed"
        previous = str(row["hash"])
        hashes.append(previous)


def _hash(row: Mapping[str, object]) -> str | None:
    fields = {name: row[name] for name in _FIELDS}
    try:
        for name in ("made_from", "body"):
            fields[name] = json.loads(str(fields[name]))
        return hashlib.sha256(rfc8785.dumps(fields)).hexdigest()  # type: ignore[arg-type]
    except ValueError:  # no JSON any more, or none that can be written canonically
        return None


def _heads(texts: list[str], hashes: list[str], public: Mapping[str, bytes]) -> Iterator[str]:
    previous, covered = "0" * 64, 0
    for text in texts:
        try:
            head = json.loads(text)
            first, last = int(head["first"]), int(head["last"])
            signature = bytes.fromhex(head.pop("signature"))
            signed = rfc8785.dumps(head)
        except (ValueError, KeyError, TypeError, AttributeError):
            yield f"a head behind entry {covered} cannot be read"
            return
        name = f"head of entries {first} to {last}"
        if first != covered + 1 or head["prev"] != previous:
            yield f"{name}: does not follow the head before it"
        yield from _signature(name, public.get(str(head["key_id"])), signature, signed)
        leaves = hashes[first - 1 : last]
        if len(leaves) != last - first + 1:
            yield f"{name}: {last - first + 1 - len(leaves)} of its entries are gone"
        elif leaves[-1] != head["last_hash"] or _root(leaves) != head["root"]:
            yield f"{name}: its entries are not the ones that were signed"
        previous, covered = hashlib.sha256(text.encode()).hexdigest(), last
    if covered != len(hashes):
        yield f"entries {covered + 1} to {len(hashes)} are numbered, but no head signs them"


def _signature(name: str, key: bytes | None, signature: bytes, signed: bytes) -> Iterator[str]:
    if key is None:
        yield f"{name}: signed by a key that this project does not have"
        return
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except InvalidSignature:
        yield f"{name}: the signature is not by the project's key"


def _root(hashes: list[str]) -> str:
    """RFC 6962, section 2.1, by its recursive definition."""
    return _tree([bytes.fromhex(text) for text in hashes]).hex()


def _tree(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _tree(leaves[:split]) + _tree(leaves[split:])).digest()


def _exported(texts: list[str], path: Path) -> Iterator[str]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        if texts:
            yield f"{path}: the exported heads are gone; put the file back from your backup"
        return
    here = set(texts)
    for line in lines:
        if line not in here:
            yield f"an exported head is not in the database any more: {line[:80]}…"
    for text in texts[: len(texts) - 1]:  # the newest may be between commit and export
        if text not in lines:
            yield f"a head is not among the exported ones: {text[:80]}…"


def _indexes(connection: sa.Connection) -> Iterator[str]:
    wrong = _rows(
        connection,
        "SELECT v.kind, v.name, v.version FROM versions v LEFT JOIN entries e ON e.id = v.entry "
        "WHERE e.subject IS NULL OR e.subject <> v.kind || '/' || v.name || '@' || v.version",
    )
    for row in wrong:
        yield f"{row['kind']}/{row['name']}@{row['version']} points to another thing's entry"
    edges: dict[str, set[str]] = {}
    for row in _rows(connection, "SELECT entry, parent, child FROM edges"):
        edges.setdefault(str(row["entry"]), set()).add(f"{row['parent']} {row['child']}")
    for row in _rows(connection, "SELECT id, subject, made_from FROM entries"):
        try:
            made_from = json.loads(str(row["made_from"]))
        except ValueError:
            continue  # the chain says so already
        wanted = {f"{parent} {row['subject']}" for parent in made_from}
        if edges.pop(str(row["id"]), set()) != wanted:
            yield f"entry {row['id']}: the lineage index differs from the entry"
