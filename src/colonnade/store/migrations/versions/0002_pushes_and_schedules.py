"""Receipts of pushes; jobs that wait for a time and are tried again.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def text(length: int) -> sa.String:
    """A text of at most so many characters, ordered by its bytes."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Add what is new; every job that is there may be claimed as before."""
    zero = sa.text("0")
    op.add_column("jobs", sa.Column("not_before", sa.Float, nullable=False, server_default=zero))
    op.add_column("jobs", sa.Column("failures", NUMBER, nullable=False, server_default=zero))
    op.create_table(
        "pushes",
        sa.Column("source", TEXT, primary_key=True),
        sa.Column("key", text(64), primary_key=True),
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("batch", text(36), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("sha256", text(64), nullable=False),
        sa.Column("file_sha256", text(64), nullable=False),
        sa.Column("size_bytes", NUMBER, nullable=False),
        sa.Column("rows", NUMBER, nullable=False),
        sa.Column("at", text(27), nullable=False),
        sa.Column("shape", TEXT, nullable=False),
    )
    op.create_index("pushes_by_number", "pushes", ["source", "number"], unique=True)
