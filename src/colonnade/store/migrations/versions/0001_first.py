"""The first tables.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def text(length: int) -> sa.String:
    """A text of at most so many characters, ordered by its bytes."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Make every table of the first release."""
    _ledger()
    _work()
    _runs()
    _people()


def _ledger() -> None:
    op.create_table(
        "entries",
        sa.Column("id", text(36), primary_key=True),
        sa.Column("at", text(27), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("verb", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("made_from", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("seq", NUMBER, unique=True),
        sa.Column("prev_hash", text(64)),
        sa.Column("hash", text(64)),
    )
    op.create_index("entries_by_subject", "entries", ["subject", "id"])
    op.create_index("entries_by_kind", "entries", ["kind", "verb", "id"])
    unsealed = sa.text("seq IS NULL")
    op.create_index(
        "entries_unsealed",
        "entries",
        ["id"],
        sqlite_where=unsealed,
        postgresql_where=unsealed,
    )
    op.create_table(
        "edges",
        sa.Column("parent", TEXT, primary_key=True),
        sa.Column("entry", text(36), sa.ForeignKey("entries.id"), primary_key=True),
        sa.Column("child", TEXT, nullable=False),
    )
    op.create_index("edges_by_child", "edges", ["child"])
    op.create_table(
        "versions",
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("version", NUMBER, primary_key=True),
        sa.Column("entry", text(36), sa.ForeignKey("entries.id"), nullable=False),
    )
    op.create_table(
        "heads",
        sa.Column("last", NUMBER, primary_key=True),
        sa.Column("head", TEXT, nullable=False),
    )


def _work() -> None:
    op.create_table(
        "leases",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("fence", NUMBER, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("key", TEXT, primary_key=True),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("wanted_by", text(36), sa.ForeignKey("entries.id"), nullable=False),
        sa.Column("state", text(8), nullable=False),
        sa.Column("owner", TEXT),
        sa.Column("fence", NUMBER, nullable=False),
        sa.Column("lease_until", sa.Float, nullable=False),
        sa.Column("attempt", NUMBER, nullable=False),
        sa.Column("result", TEXT),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "kind", "wanted_by"])


def _runs() -> None:
    op.create_table(
        "metrics",
        sa.Column("run", text(36), primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("step", NUMBER, primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("at", text(27), nullable=False),
    )
    op.create_table(
        "params",
        sa.Column("run", text(36), primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("value", TEXT, nullable=False),
    )
    op.create_table(
        "segments",
        sa.Column("spool", TEXT, primary_key=True),
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("endpoint", TEXT, nullable=False),
        sa.Column("first_id", text(36), nullable=False),
        sa.Column("last_id", text(36), nullable=False),
        sa.Column("rows", NUMBER, nullable=False),
        sa.Column("version", NUMBER, nullable=False),
    )
    op.create_index("segments_by_id", "segments", ["first_id", "last_id"])


def _people() -> None:
    op.create_table(
        "actors",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("roles", TEXT, nullable=False),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", text(36), primary_key=True),
        sa.Column("actor", TEXT, sa.ForeignKey("actors.name"), nullable=False),
        sa.Column("sha256", text(64), nullable=False, unique=True),
        sa.Column("made_at", text(27), nullable=False),
        sa.Column("revoked_at", text(27)),
    )
