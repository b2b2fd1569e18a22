"""The tables of the metadata database, once, for every database."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()
# Texts are told apart and ordered by their bytes on every database, whatever its language.
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_NUMBER = Integer().with_variant(BigInteger(), "postgresql")


def _text(length: int) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


entries = Table(
    "entries",
    metadata,
    Column("id", _text(36), primary_key=True),
    Column("at", _text(27), nullable=False),
    Column("actor", _TEXT, nullable=False),
    Column("verb", _TEXT, nullable=False),
    Column("kind", _TEXT, nullable=False),
    Column("subject", _TEXT, nullable=False),
    Column("made_from", _TEXT, nullable=False),  # canonical JSON
    Column("body", _TEXT, nullable=False),  # canonical JSON
    Column("seq", _NUMBER, unique=True),
    Column("prev_hash", _text(64)),
    Column("hash", _text(64)),
    Index("entries_by_subject", "subject", "id"),
    Index("entries_by_kind", "kind", "verb", "id"),
    Index(
        "entries_unsealed",
        "id",
        sqlite_where=text("seq IS NULL"),
        postgresql_where=text("seq IS NULL"),
    ),
)

edges = Table(  # lineage, both ways: `child` was made from `parent`
    "edges",
    metadata,
    Column("parent", _TEXT, primary_key=True),
    Column("entry", _text(36), ForeignKey("entries.id"), primary_key=True),
    Column("child", _TEXT, nullable=False),
    Index("edges_by_child", "child"),
)

versions = Table(  # name@version -> the entry that made it
    "versions",
    metadata,
    Column("kind", _TEXT, primary_key=True),
    Column("name", _TEXT, primary_key=True),
    Column("version", _NUMBER, primary_key=True),
    Column("entry", _text(36), ForeignKey("entries.id"), nullable=False),
)

heads = Table(
    "heads",
    metadata,
    Column("last", _NUMBER, primary_key=True),
    Column("head", _TEXT, nullable=False),  # canonical JSON
)

leases = Table(
    "leases",
    metadata,
    Column("name", _TEXT, primary_key=True),
    Column("owner", _TEXT, nullable=False),
    Column("fence", _NUMBER, nullable=False),
    Column("until", Float, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("key", _TEXT, primary_key=True),
    Column("kind", _TEXT, nullable=False),
    Column("body", _TEXT, nullable=False),
    Column("wanted_by", _text(36), ForeignKey("entries.id"), nullable=False),
    Column("state", _text(8), nullable=False),
    Column("owner", _TEXT),
    Column("fence", _NUMBER, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("attempt", _NUMBER, nullable=False),
    Column("result", _TEXT),
    Column("not_before", Float, nullable=False, server_default=text("0")),
    Column("failures", _NUMBER, nullable=False, server_default=text("0")),
    Index("jobs_by_state", "state", "kind", "wanted_by"),
)

pushes = Table(  # receipts: a push is acknowledged once, and taken over in this order
    "pushes",
    metadata,
    Column("source", _TEXT, primary_key=True),
    Column("key", _text(64), primary_key=True),
    Column("number", _NUMBER, nullable=False),
    Column("batch", _text(36), nullable=False),
    Column("actor", _TEXT, nullable=False),
    Column("sha256", _text(64), nullable=False),
    Column("file_sha256", _text(64), nullable=False),
    Column("size_bytes", _NUMBER, nullable=False),
    Column("rows", _NUMBER, nullable=False),
    Column("at", _text(27), nullable=False),
    Column("shape", _TEXT, nullable=False),  # canonical JSON
    Index("pushes_by_number", "source", "number", unique=True),
)

metrics = Table(
    "metrics",
    metadata,
    Column("run", _text(36), primary_key=True),
    Column("name", _TEXT, primary_key=True),
    Column("step", _NUMBER, primary_key=True),
    Column("value", Float, nullable=False),
    Column("at", _text(27), nullable=False),
)

params = Table(
    "params",
    metadata,
    Column("run", _text(36), primary_key=True),
    Column("name", _TEXT, primary_key=True),
    Column("value", _TEXT, nullable=False),
)

segments = Table(  # where a prediction id is, and that a segment is flushed once
    "segments",
    metadata,
    Column("spool", _TEXT, primary_key=True),
    Column("number", _NUMBER, primary_key=True),
    Column("endpoint", _TEXT, nullable=False),
    Column("first_id", _text(36), nullable=False),
    Column("last_id", _text(36), nullable=False),
    Column("rows", _NUMBER, nullable=False),
    Column("version", _NUMBER, nullable=False),
    Index("segments_by_id", "first_id", "last_id"),
)

actors = Table(
    "actors",
    metadata,
    Column("name", _TEXT, primary_key=True),
    Column("roles", _TEXT, nullable=False),  # canonical JSON list
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", _text(36), primary_key=True),
    Column("actor", _TEXT, ForeignKey("actors.name"), nullable=False),
    Column("sha256", _text(64), nullable=False, unique=True),
    Column("made_at", _text(27), nullable=False),
    Column("revoked_at", _text(27)),
)
