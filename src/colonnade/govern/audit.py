"""Verifying the ledger, from the documented format alone (docs/ledger.md), not with its writer.

Everything is computed again from the stored texts: each hash, each link, each Merkle root, each
signature; then the indexes (versions, edges) against the entries, and the exported heads against
the database, which shows a chain that was cut or rewritten as a whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import rfc8785
import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from colonnade.store.database import Database

_FIELDS = ("id", "at", "actor", "verb", "kind", "subject", "made_from", "body", "seq", "prev_hash")
_VERSION = re.compile(r"[a-z]+/[^@\s]+@[1-9][0-9]*")
_LATER = ("load", "read", "refuse")  # said of a version that another entry made


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
        problems += _lineage(connection)
        problems += _versions(connection)
        unsealed = connection.execute(
            sa.text("SELECT count(*) FROM entries WHERE seq IS NULL")
        ).scalar_one()
    return Verdict(
        sealed=len(hashes), unsealed=unsealed, heads=len(texts), problems=tuple(problems[:100])
    )


def _rows(connection: sa.Connection, query: str) -> Iterator[Mapping[str, object]]:
    with connection.execution_options(yield_per=5_000).execute(sa.text(query)) as rows:
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
            fields[name] = _parse(fields[name])
        return hashlib.sha256(rfc8785.dumps(fields)).hexdigest()  # type: ignore[arg-type]
    except ValueError:  # no JSON any more, or none that can be written canonically
        return None


def _parse(text: object) -> object:
    """The values of a canonical text.

    Raises:
        ValueError: it is not canonical: the same values may hide other bytes, a name given twice.
    """
    values = json.loads(str(text), parse_int=_number)
    if rfc8785.dumps(values) != str(text).encode():
        raise ValueError("not canonical")
    return values


def _number(digits: str) -> int | float:
    """From 2**53 on, a number is a double (RFC 8785)."""
    return int(digits) if abs(int(digits)) < 2**53 else float(digits)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """A head, with the fields that the documented format names."""

    first: int
    last: int
    root: str
    last_hash: str
    prev: str
    at: str
    key_id: str
    signature: str

    def __post_init__(self) -> None:
        """Refuse what is a number or a text in other clothes."""
        for name, kind in (("first", int), ("last", int), ("key_id", str), ("signature", str)):
            if type(getattr(self, name)) is not kind:
                raise TypeError(name)

    def __str__(self) -> str:
        return f"head of entries {self.first} to {self.last}"


def _heads(texts: list[str], hashes: list[str], public: Mapping[str, bytes]) -> Iterator[str]:
    previous, covered = "0" * 64, 0
    for text in texts:
        try:
            head = _Head(**_parse(text))  # type: ignore[arg-type]
        except (ValueError, TypeError):
            yield f"the head behind entry {covered} cannot be read"
            return
        if head.first != covered + 1 or head.last < head.first or head.prev != previous:
            yield f"{head}: does not follow the head before it"
            return
        yield from _signature(head, public)
        leaves = hashes[head.first - 1 : head.last]
        gone = head.last - covered - len(leaves)
        if gone:
            yield f"{head}: {gone} of its entries are gone"
        elif leaves[-1] != head.last_hash or _root(leaves) != head.root:
            yield f"{head}: its entries are not the ones that were signed"
        previous, covered = hashlib.sha256(text.encode()).hexdigest(), head.last
    if covered < len(hashes):
        yield f"entries {covered + 1} to {len(hashes)} are numbered, but no head signs them"


def _signature(head: _Head, public: Mapping[str, bytes]) -> Iterator[str]:
    signed = {name: value for name, value in asdict(head).items() if name != "signature"}
    key = public.get(head.key_id)
    if key is None:
        yield f"{head}: signed by a key that this project does not have"
        return
    try:
        signature = bytes.fromhex(head.signature)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, rfc8785.dumps(signed))
    except (InvalidSignature, ValueError):
        yield f"{head}: the signature is not by the project's key"


def _root(hashes: list[str]) -> str | None:
    """RFC 6962, section 2.1, by its recursive definition."""
    try:
        return _tree([bytes.fromhex(text) for text in hashes]).hex()
    except ValueError:  # a hash that is none: the chain says so already
        return None


def _tree(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _tree(leaves[:split]) + _tree(leaves[split:])).digest()


def _exported(texts: list[str], path: Path) -> Iterator[str]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        if texts:
            yield f"{path}: the exported heads are gone; put the file back from your backup"
        return
    here, there = set(texts), set(lines)
    for line in lines:
        if line not in here:
            yield f"an exported head is not in the database any more: {line[:80]}…"
    newest = max((place for place, text in enumerate(texts) if text in there), default=-1)
    for text in texts[: max(newest, 0)]:  # those behind the newest one wait for their export
        if text not in there:
            yield f"a head is not among the exported ones: {text[:80]}…"


def _lineage(connection: sa.Connection) -> Iterator[str]:
    edges: dict[object, set[str]] = {}
    for row in _rows(connection, "SELECT entry, parent, child FROM edges"):
        edges.setdefault(row["entry"], set()).add(f"{row['parent']} {row['child']}")
    for row in _rows(connection, "SELECT id, subject, made_from FROM entries"):
        try:
            made_from = _parse(row["made_from"])
        except ValueError:
            made_from = None
        if not isinstance(made_from, list):
            yield f"entry {row['id']}: what it was made from cannot be read"
        elif edges.pop(row["id"], set()) != {f"{parent} {row['subject']}" for parent in made_from}:
            yield f"entry {row['id']}: the lineage index differs from the entry"
    yield from (f"the lineage index names the entry {entry}, which is gone" for entry in edges)


def _versions(connection: sa.Connection) -> Iterator[str]:
    versions = {
        f"{row['kind']}/{row['name']}@{row['version']}": row["entry"]
        for row in _rows(connection, "SELECT kind, name, version, entry FROM versions")
    }
    wrong, spoken_of = dict(versions), set()
    for row in _rows(connection, "SELECT id, verb, subject FROM entries"):
        subject = str(row["subject"])
        if wrong.get(subject) == row["id"] and row["verb"] not in _LATER:
            del wrong[subject]
        if row["verb"] != "refuse" and _VERSION.fullmatch(subject):
            spoken_of.add(subject)
    yield from (f"{subject}: the version index names another entry" for subject in wrong)
    yield from (f"{subject} is not in the version index" for subject in spoken_of - set(versions))
