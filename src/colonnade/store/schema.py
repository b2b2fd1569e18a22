"""The tables of the metadata database, once, for every database."""

from __future__ import annotations

from sqlalchemy import (
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

entries = Table(
    "entries",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("at", String(27), nullable=False),
    Column("actor", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("made_from", Text, nullable=False),  # canonical JSON
    Column("body", Text, nullable=False),  # canonical JSON
    Column("seq", Integer, unique=True),
    Column("prev_hash", String(64)),
    Column("hash", String(64)),
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
    Column("parent", Text, primary_key=True),
    Column("entry", String(36), ForeignKey("entries.id"), primary_key=True),
    Column("child", Text, nullable=False),
    Index("edges_by_child", "child"),
)

versions = Table(  # name@version -> the entry that made it
    "versions",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("entry", String(36), ForeignKey("entries.id"), nullable=False),
)

heads = Table(
    "heads",
    metadata,
    Column("last", Integer, primary_key=True),
    Column("head", Text, nullable=False),  # canonical JSON
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("until", Float, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("wanted_by", String(36), ForeignKey("entries.id"), nullable=False),
    Column("state", String(8), nullable=False),
    Column("owner", Text),
    Column("fence", Integer, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("result", Text),
    Index("jobs_by_state", "state", "kind", "wanted_by"),
)

metrics = Table(
    "metrics",
    metadata,
    Column("run", String(36), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("value", Float, nullable=False),
    Column("at", String(27), nullable=False),
)

params = Table(
    "params",
    metadata,
    Column("run", String(36), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

segments = Table(  # where a prediction id is, and that a segment is flushed once
    "segments",
    metadata,
    Column("spool", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("first_id", String(36), nullable=False),
    Column("last_id", String(36), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Index("segments_by_id", "first_id", "last_id"),
)

actors = Table(
    "actors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("roles", Text, nullable=False),  # canonical JSON list
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("actor", Text, ForeignKey("actors.name"), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("made_at", String(27), nullable=False),
    Column("revoked_at", String(27)),
)
