"""The first tables.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table of the first release."""
    _ledger()
    _work()
    _runs()
    _people()


def _ledger() -> None:
    op.create_table(
        "entries",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("made_from", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, unique=True),
        sa.Column("prev_hash", sa.String(64)),
        sa.Column("hash", sa.String(64)),
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
        sa.Column("parent", sa.Text, primary_key=True),
        sa.Column("entry", sa.String(36), sa.ForeignKey("entries.id"), primary_key=True),
        sa.Column("child", sa.Text, nullable=False),
    )
    op.create_index("edges_by_child", "edges", ["child"])
    op.create_table(
        "versions",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("entry", sa.String(36), sa.ForeignKey("entries.id"), nullable=False),
    )
    op.create_table(
        "heads",
        sa.Column("last", sa.Integer, primary_key=True),
        sa.Column("head", sa.Text, nullable=False),
    )


def _work() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("wanted_by", sa.String(36), sa.ForeignKey("entries.id"), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Float, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("result", sa.Text),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "kind", "wanted_by"])


def _runs() -> None:
    op.create_table(
        "metrics",
        sa.Column("run", sa.String(36), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
    )
    op.create_table(
        "params",
        sa.Column("run", sa.String(36), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "segments",
        sa.Column("spool", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("first_id", sa.String(36), nullable=False),
        sa.Column("last_id", sa.String(36), nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_index("segments_by_id", "segments", ["first_id", "last_id"])


def _people() -> None:
    op.create_table(
        "actors",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("roles", sa.Text, nullable=False),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("actor", sa.Text, sa.ForeignKey("actors.name"), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("made_at", sa.String(27), nullable=False),
        sa.Column("revoked_at", sa.String(27)),
    )
